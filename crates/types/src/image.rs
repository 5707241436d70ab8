//! Image documents: configuration, manifest, index, descriptors, and a docker archive's manifest.json.
//!
//! Rule: OCI image-spec 1.1 (config.md, manifest.md, image-index.md) and Docker's extensions to the
//! configuration. These types are read-only views: bytes as received are kept beside them and every
//! digest is one of bytes, never of a document written anew.

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::platform::Platform;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The largest image document accepted: what registries promise to take as a manifest.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// Media types of manifests, indexes, configurations and layers.
pub mod media_type {
    #![allow(missing_docs)]
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// Go writes absent lists and maps as `null`.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes; `what` names it in errors.
fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(Error::invalid(format!("{what} has {} bytes, the limit is {MAX_DOCUMENT}", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(e.to_string())).with_context(|| format!("invalid {what}"))
}

/// What a container of the image runs and how: `config` of the image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and group: `user[:group]`, names or numbers.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `port[/protocol]` → nothing.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What is always run, before the command.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The default command, or the entry point's arguments.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Paths which become anonymous volumes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free data about the image; never control input.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal which stops it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds to wait after the stop signal (Docker).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How its health is probed (Docker).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of it (Docker).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of shell-form instructions (Docker).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Whether the command is already escaped (Docker, Windows).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// Go's `struct{}`: an object without members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health probe as Docker's images carry it; times in nanoseconds, 0 = inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between probes.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time a probe may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between probes in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row which make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// An image's configuration; its digest is the image's id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Go's name of the architecture.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// Go's name of the operating system.
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// The variant of the architecture.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The version of the operating system (Windows).
    #[serde(rename = "os.version", deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// What a container runs.
    #[serde(deserialize_with = "nullable")]
    pub config: RunConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How it was made, step by step.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// The Docker version that made it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// A note of whoever committed it (Docker).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl ImageConfig {
    /// Reads a configuration and checks what everything else relies on.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let config: Self = parse(bytes, "image configuration")?;
        if config.rootfs.kind != "layers" {
            return Err(Error::invalid(format!(
                "invalid image configuration: rootfs.type is {:?}, want \"layers\"",
                config.rootfs.kind
            )));
        }
        if config.rootfs.diff_ids.len() > MAX_LAYERS {
            return Err(Error::invalid(format!(
                "invalid image configuration: {} layers, the limit is {MAX_LAYERS}",
                config.rootfs.diff_ids.len()
            )));
        }
        Ok(config)
    }
    /// The platform it is for.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, &self.variant)
    }
}

/// The most layers an image may have: overlayfs takes 500 lower directories.
pub const MAX_LAYERS: usize = 500;

/// The layers of an image, lowest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tars.
    #[serde(deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A note.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Points to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free data; never control input except for the names of images.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Other places of the blob. They are never followed.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// A manifest: configuration and layers of an image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Free data.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index: manifests for several platforms, or the images of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The manifests.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// Free data.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index, told apart by content and by media type, which must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads `bytes`, described as `media_type` (empty if nothing was said).
    /// A document which could be read as both is refused (GHSA-mc8v-mgrf-8f4m, GHSA-5j5w-g665-5m35).
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default, deserialize_with = "nullable")]
            media_type: String,
            config: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
            fs_layers: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = parse(bytes, "manifest")?;
        let said = match (shape.media_type.as_str(), media_type) {
            ("", said) => said,
            (own, "") => own,
            (own, said) if own == said => own,
            (own, said) => {
                return Err(Error::invalid(format!(
                    "ambiguous manifest: it calls itself {own:?} but is described as {said:?}"
                )));
            }
        };
        if shape.fs_layers.is_some() {
            return Err(Error::not_implemented("manifest schema 1 is not supported: save the image with a newer tool"));
        }
        let index = match said {
            media_type::OCI_INDEX | media_type::DOCKER_INDEX => true,
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => false,
            "" => shape.manifests.is_some(),
            other => return Err(Error::invalid(format!("unknown manifest media type {other:?}"))),
        };
        let other = if index { shape.config.is_some() || shape.layers.is_some() } else { shape.manifests.is_some() };
        if other {
            return Err(Error::invalid("ambiguous manifest: it has the members of a manifest and of an index"));
        }
        let (document, version) = if index {
            let i: Index = parse(bytes, "image index")?;
            let v = i.schema_version;
            (Self::Index(i), v)
        } else {
            let m: Manifest = parse(bytes, "manifest")?;
            let v = m.schema_version;
            (Self::Manifest(Box::new(m)), v)
        };
        if version != 2 {
            return Err(Error::invalid(format!("manifest schema version {version} is not supported, want 2")));
        }
        Ok(document)
    }
}

/// One image of a docker archive: an element of its `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ArchiveImage {
    /// The configuration's name in the archive.
    pub config: String,
    /// Names and tags.
    #[serde(deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// The layers' names in the archive, lowest first.
    #[serde(deserialize_with = "nullable")]
    pub layers: Vec<String>,
}

/// Reads a docker archive's `manifest.json`.
pub fn parse_archive_manifest(bytes: &[u8]) -> Result<Vec<ArchiveImage>> {
    parse(bytes, "manifest.json")
}

/// The chain id of each prefix of `diff_ids`, lowest first: what Docker calls a layer in `rmi`'s output.
/// Rule: OCI image-spec, config.md "Layer ChainID".
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut out: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        out.push(match out.last() {
            None => *diff,
            Some(parent) => Digest::of(format!("{parent} {diff}").as_bytes()),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_config_with_nulls() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"],"Volumes":{"/d":{}},
            "Healthcheck":{"Test":["CMD","x"],"Interval":5},"OnBuild":null,"ArgsEscaped":true,"Unknown":1},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let c = ImageConfig::parse(text).unwrap();
        assert_eq!((c.config.cmd.as_slice(), c.config.env.len()), (["sh".to_owned()].as_slice(), 0));
        assert!(c.config.volumes.contains_key("/d") && c.config.args_escaped);
        assert_eq!(c.config.healthcheck.unwrap().interval, 5);
        for bad in [&b"{}"[..], b"[]", b"{", br#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#] {
            assert!(ImageConfig::parse(bad).is_err());
        }
    }

    #[test]
    fn ambiguous_documents_are_refused() {
        let d = Digest::of(b"");
        let desc = format!(r#"{{"digest":"{d}","size":0}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{desc},"layers":[]}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let both = format!(r#"{{"schemaVersion":2,"config":{desc},"manifests":[]}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), ""), Ok(Document::Manifest(_))));
        assert!(matches!(Document::parse(index.as_bytes(), media_type::OCI_INDEX), Ok(Document::Index(_))));
        assert!(Document::parse(both.as_bytes(), "").is_err());
        assert!(Document::parse(manifest.as_bytes(), media_type::OCI_INDEX).is_err());
        assert!(Document::parse(index.as_bytes(), media_type::OCI_MANIFEST).is_err());
        let liar = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::OCI_INDEX);
        assert!(Document::parse(liar.as_bytes(), media_type::OCI_MANIFEST).is_err());
        assert!(Document::parse(br#"{"schemaVersion":1,"manifests":[]}"#, "").is_err());
        assert!(Document::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#, "").is_err());
    }

    #[test]
    fn chain_id_of_one_layer_is_its_diff_id() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_ids(&[a, b]), [a, Digest::of(format!("{a} {b}").as_bytes())]);
        assert!(chain_ids(&[]).is_empty());
    }
}
