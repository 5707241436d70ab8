//! dhow's own: images that stay at their registry. Credentials come as `X-Registry-Auth`, as with a pull.
//!
//! `GET /dhow/images/remote?name=&platform=&referrers=1&artifact-type=` has the form of an image's inspect with
//! [`RemoteImage`] beside it, `GET /dhow/images/check?name=&platform=` is an [`ImageCheck`].
//! `POST /dhow/images/copy?from=&to=&platform=&all-tags=1&referrers=1` answers with lines of progress; the target's
//! credentials come as `X-Registry-Auth-Target`. `GET /dhow/manifests?name=&insecure=1` is a [`ManifestRead`],
//! `POST /dhow/manifests?name=&insecure=1` takes a [`ManifestPush`] and gives a [`ManifestPushed`].

use crate::document::{document, is_zero};
use crate::image::OciDescriptor;
use std::collections::BTreeMap;

document! {
    /// What only the registry knows of an image; the member `Remote`.
    pub struct RemoteImage {
        /// What the name means: a manifest, or an index.
        descriptor: OciDescriptor,
        /// The index's manifests; absent where the name means one manifest.
        #[serde(skip_serializing_if = "is_zero")]
        manifests: Option<Vec<OciDescriptor>>,
        /// The manifest for the platform; absent where the index has none for this machine.
        #[serde(skip_serializing_if = "is_zero")]
        manifest: Option<OciDescriptor>,
        /// Its configuration.
        #[serde(skip_serializing_if = "is_zero")]
        config: Option<OciDescriptor>,
        /// Its layers as they are packed, the lowest first.
        layers: Vec<OciDescriptor>,
        /// Of the index and of the manifest; the manifest's count.
        #[serde(skip_serializing_if = "is_zero")]
        annotations: BTreeMap<String, String>,
        /// What refers to it; absent unless it was asked for.
        #[serde(skip_serializing_if = "is_zero")]
        referrers: Option<Vec<RemoteReferrer>>,
    }

    /// A signature, a bill of materials, or whatever else refers to an image.
    pub struct RemoteReferrer {
        /// The digest of what it refers to.
        subject: String,
        /// Its manifest.
        descriptor: OciDescriptor,
    }

    /// Whether a pull would work, and why not.
    pub struct ImageCheck {
        name: String,
        platform: String,
        /// Whether a pull would bring the image.
        pullable: bool,
        /// What the name means; empty if nobody says.
        digest: String,
        /// The manifest for the platform.
        manifest_digest: String,
        /// Bytes of configuration and layers, packed.
        size: i64,
        layers: i64,
        /// Everybody who is asked, in that order.
        endpoints: Vec<ImageCheckEndpoint>,
        /// What there is to know, the worst first.
        findings: Vec<ImageCheckFinding>,
    }

    /// One who is asked.
    pub struct ImageCheckEndpoint {
        address: String,
        /// `registry`, `mirror` or `registry without TLS`.
        kind: String,
        steps: Vec<ImageCheckStep>,
    }

    /// A step on the way to the image.
    pub struct ImageCheckStep {
        /// `name`, `connection`, `api`, `login`, `manifest`, `platform` or `content`.
        step: String,
        /// `ok`, `warning` or `error`.
        state: String,
        seen: String,
        milliseconds: i64,
    }

    /// A manifest byte for byte.
    pub struct RawManifest {
        digest: String,
        media_type: String,
        /// Its bytes, in base64.
        raw: String,
        /// Of an image: its configuration, in base64.
        #[serde(skip_serializing_if = "is_zero")]
        config: String,
    }

    /// What a name means.
    pub struct ManifestRead {
        top: RawManifest,
        /// Where that is a list: its images.
        #[serde(skip_serializing_if = "is_zero")]
        images: Option<Vec<RawManifest>>,
    }

    /// A list to be put under the name.
    pub struct ManifestPush {
        media_type: String,
        /// Its bytes, in base64.
        raw: String,
        /// Its images that are in other repositories of the registry.
        images: Vec<ManifestPushImage>,
    }

    /// An image that is in another repository.
    pub struct ManifestPushImage {
        /// That repository.
        name: String,
        /// The image's manifest, in base64.
        raw: String,
    }

    /// What was put.
    pub struct ManifestPushed {
        digest: String,
        /// The images that went before it.
        images: Vec<String>,
    }

    /// Something to know.
    pub struct ImageCheckFinding {
        /// `error`, `warning` or `note`.
        state: String,
        /// The endpoint's address, or the registry.
        about: String,
        what: String,
        /// What to do, the best first.
        advice: Vec<String>,
    }
}
