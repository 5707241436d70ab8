//! Images at their registry, as documents.

use super::image;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_api as api;
use dhow_api::{ApiVersion, remote};
use dhow_engine::remote::inspect::{Blob, RemoteImage};
use dhow_engine::remote::judge::{Endpoint, Finding, Report, Step};
use dhow_engine::remote::manifests::{ListPush, ManifestRequest, Manifests, RawManifest};
use dhow_engine::view::ImageView;
use dhow_types::image::Descriptor;
use dhow_types::{Error, ImageConfig, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// An image's inspect, and what only the registry knows.
#[derive(Serialize)]
pub(crate) struct Inspect {
    #[serde(flatten)]
    image: image::Inspect,
    #[serde(rename = "Remote")]
    remote: remote::RemoteImage,
}

/// What is to be said about an image at its registry. What is known of images in the store only has no value.
pub(crate) fn inspect(view: RemoteImage, version: ApiVersion) -> Result<Inspect> {
    let RemoteImage { reference, top, index, image, annotations, referrers } = view;
    let config = image.as_ref().map(|i| ImageConfig::parse(&i.document)).transpose()?.unwrap_or_default();
    let local = ImageView {
        id: image.as_ref().map_or(top.digest, |i| i.config.digest),
        tags: if reference.tag().is_some() && reference.digest().is_none() {
            vec![reference.familiar()]
        } else {
            vec![]
        },
        digests: vec![reference.with_digest(top.digest).familiar()],
        parent: None,
        created: config.created.as_deref().and_then(|text| text.parse().ok()),
        size: image.as_ref().map_or(0, |i| i.layers.iter().map(|l| l.size).fold(0, u64::saturating_add)),
        damaged: None,
        shared: 0,
        containers: 0,
        labels: BTreeMap::new(),
        document: image.as_ref().map(|i| i.document.clone().into()),
        layers: image.as_ref().map(|i| i.diff_ids.clone()).unwrap_or_default(),
        graph: BTreeMap::new(),
        last_tagged: None,
        last_used: None,
    };
    let mut all = annotations;
    if let Some(image) = &image {
        all.extend(image.annotations.clone());
    }
    Ok(Inspect {
        image: image::inspect(local, version)?.of_nowhere(),
        remote: remote::RemoteImage {
            descriptor: blob(top),
            manifests: index.map(|list| list.into_iter().map(descriptor).collect()),
            manifest: image.as_ref().map(|i| blob(i.manifest.clone())),
            config: image.as_ref().map(|i| descriptor(i.config.clone())),
            layers: image.map(|i| i.layers.into_iter().map(descriptor).collect()).unwrap_or_default(),
            annotations: all,
            referrers: referrers.map(|list| {
                let one = |(subject, r): (dhow_types::Digest, dhow_engine::remote::Referrer)| remote::RemoteReferrer {
                    subject: subject.to_string(),
                    descriptor: api::OciDescriptor { artifact_type: r.artifact_type, ..descriptor(r.descriptor) },
                };
                list.into_iter().map(one).collect()
            }),
        },
    })
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn blob(blob: Blob) -> api::OciDescriptor {
    let Blob { media_type, digest, size: bytes } = blob;
    api::OciDescriptor { media_type, digest: digest.to_string(), size: size(bytes), ..Default::default() }
}

/// A pointer to content.
pub(crate) fn descriptor(of: Descriptor) -> api::OciDescriptor {
    let Descriptor { media_type, digest, size: bytes, platform, annotations, urls } = of;
    api::OciDescriptor {
        media_type,
        digest: digest.to_string(),
        size: size(bytes),
        urls: super::or_null(urls),
        annotations: super::or_null(annotations),
        platform: platform.map(|p| api::OciPlatform {
            architecture: p.architecture,
            os: p.os,
            os_version: p.os_version.unwrap_or_default(),
            variant: p.variant,
            ..Default::default()
        }),
        artifact_type: String::new(),
    }
}

/// A check's judgement.
pub(crate) fn check(report: Report) -> remote::ImageCheck {
    let Report { name, platform, pullable, found, bytes, layers, endpoints, findings } = report;
    let (digest, manifest_digest) = found.map(|(top, one)| (top.to_string(), one.to_string())).unwrap_or_default();
    let step = |s: Step| remote::ImageCheckStep {
        step: s.step.to_owned(),
        state: s.state.as_str().to_owned(),
        seen: s.seen,
        milliseconds: size(s.millis),
    };
    let endpoint = |e: Endpoint| remote::ImageCheckEndpoint {
        address: e.address,
        kind: e.kind.to_owned(),
        steps: e.steps.into_iter().map(step).collect(),
    };
    let finding = |f: Finding| remote::ImageCheckFinding {
        state: f.state.as_str().to_owned(),
        about: f.about,
        what: f.what,
        advice: f.advice,
    };
    remote::ImageCheck {
        name,
        platform,
        pullable,
        digest,
        manifest_digest,
        size: size(bytes),
        layers: i64::try_from(layers).unwrap_or(i64::MAX),
        endpoints: endpoints.into_iter().map(endpoint).collect(),
        findings: findings.into_iter().map(finding).collect(),
    }
}

/// Manifests byte for byte.
pub(crate) fn manifests(of: Manifests) -> remote::ManifestRead {
    let one = |m: RawManifest| remote::RawManifest {
        digest: m.digest.to_string(),
        media_type: m.media_type,
        raw: STANDARD.encode(m.bytes),
        config: m.config.map(|bytes| STANDARD.encode(bytes)).unwrap_or_default(),
    };
    remote::ManifestRead { top: one(of.top), images: of.images.map(|list| list.into_iter().map(one).collect()) }
}

/// A list to be put.
pub(crate) fn list_push(to: ManifestRequest, push: remote::ManifestPush) -> Result<ListPush> {
    let remote::ManifestPush { media_type, raw, images } = push;
    let bytes =
        |what: &str, text: &str| STANDARD.decode(text).map_err(|e| Error::invalid(format!("{what} is no base64: {e}")));
    let images = images.into_iter().map(|image| {
        let remote::ManifestPushImage { name, raw } = image;
        Ok((name.parse()?, bytes("Raw of an image", &raw)?))
    });
    Ok(ListPush { to, media_type, bytes: bytes("Raw", &raw)?, images: images.collect::<Result<_>>()? })
}
