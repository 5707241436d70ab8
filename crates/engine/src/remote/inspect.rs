//! What an image is, read at its registry.

use super::{RemoteRequest, wanted};
use crate::core::Core;
use crate::pull::choose_manifest;
use dhow_distribution::{Cause, Referrer};
use dhow_types::image::{Descriptor, Document};
use dhow_types::{Digest, ErrorKind, ImageConfig, Platform, Reference, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The image.
#[derive(Clone, Debug)]
pub struct RemoteImage {
    /// Its name.
    pub reference: Reference,
    /// What the name means: a manifest, or an index of several.
    pub top: Blob,
    /// The manifests of the index; `None` where the name means one manifest.
    pub index: Option<Vec<Descriptor>>,
    /// The image for the platform; `None` where the index has none for this machine and none was asked for.
    pub image: Option<OneImage>,
    /// Free data of what the name means.
    pub annotations: BTreeMap<String, String>,
    /// What refers to it, if that was asked for: each with the digest that it refers to.
    pub referrers: Option<Vec<(Digest, Referrer)>>,
}

/// What bytes are.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Their media type.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// How many.
    pub size: u64,
}

/// The image for one platform.
#[derive(Clone, Debug)]
pub struct OneImage {
    /// Its manifest.
    pub manifest: Blob,
    /// Its configuration.
    pub config: Descriptor,
    /// The configuration's bytes.
    pub document: Vec<u8>,
    /// The uncompressed digests of its layers.
    pub diff_ids: Vec<Digest>,
    /// Its layers as they are packed there.
    pub layers: Vec<Descriptor>,
    /// Free data of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Reads it. `referrers` has the type that is asked for, or nothing in it for all.
pub(crate) async fn inspect(
    core: &Arc<Core>,
    request: RemoteRequest,
    referrers: Option<Option<String>>,
) -> Result<RemoteImage> {
    let repository = request.repository(core).await?;
    let asked = request.platform.as_ref();
    let target = request.platform.clone().unwrap_or_else(Platform::best_host);
    let fetched = repository.manifest(&wanted(&request.reference)).await?;
    let top = Blob { media_type: fetched.media_type.clone(), digest: fetched.digest, size: fetched.bytes.len() as u64 };
    let (index, annotations) = match &fetched.document {
        Document::Index(index) => (Some(index.manifests.clone()), index.annotations.clone()),
        Document::Manifest(manifest) => (None, manifest.annotations.clone()),
    };
    let image = match choose_manifest(&repository, fetched, asked, &target).await {
        Ok((manifest, digest, bytes)) => {
            let document = repository.config(&manifest.config).await?;
            let diff_ids = ImageConfig::parse(&document)?.rootfs.diff_ids;
            let media_type = match manifest.media_type.as_str() {
                "" => dhow_types::image::media_type::OCI_MANIFEST.to_owned(),
                said => said.to_owned(),
            };
            Some(OneImage {
                manifest: Blob { media_type, digest, size: bytes.len() as u64 },
                config: manifest.config,
                document,
                diff_ids,
                layers: manifest.layers,
                annotations: manifest.annotations,
            })
        }
        Err(e) if index.is_some() && asked.is_none() && e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let referrers = match referrers {
        None => None,
        Some(kind) => {
            let mut subjects = vec![top.digest];
            subjects.extend(image.as_ref().map(|i| i.manifest.digest).filter(|d| *d != top.digest));
            let mut all = Vec::new();
            for subject in subjects {
                let found = repository.referrers(&subject, kind.as_deref()).await;
                let found = match found {
                    // A mirror or registry that lets the image be read and this not has none to show.
                    Err(failure) if matches!(failure.cause, Cause::Refused { status: 404, .. }) => Vec::new(),
                    found => found?,
                };
                all.extend(found.into_iter().map(|referrer| (subject, referrer)));
            }
            Some(all)
        }
    };
    Ok(RemoteImage { reference: request.reference.or_latest(), top, index, image, annotations, referrers })
}
