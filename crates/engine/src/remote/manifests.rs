//! Manifests themselves, as `manifest inspect`, `create` and `push` need them: read byte for byte, and lists that were
//! made by hand put beside what they name.

use super::copy::Way;
use super::wanted;
use crate::core::Core;
use crate::pull::{Teller, choose::is_document};
use dhow_distribution::{Actions, Credentials, Fetched, Repository, Wanted};
use dhow_types::image::{Document, Manifest};
use dhow_types::{Digest, Error, Reference, Result};
use tokio::sync::mpsc;

/// Images of one list.
const MAX_IMAGES: usize = 1000;

/// Whose manifests, and as whom.
#[derive(Clone, Debug)]
pub struct ManifestRequest {
    /// The name.
    pub reference: Reference,
    /// What the registry is shown.
    pub credentials: Credentials,
    /// Whether TLS may be missing.
    pub insecure: bool,
}

/// A manifest or list, and the images of it.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// What the name means.
    pub top: RawManifest,
    /// Where that is a list, its images.
    pub images: Option<Vec<RawManifest>>,
}

/// A manifest as it is.
#[derive(Clone, Debug)]
pub struct RawManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Of an image: the bytes of its configuration.
    pub config: Option<Vec<u8>>,
}

/// A list that was made by hand.
#[derive(Clone, Debug)]
pub struct ListPush {
    /// Where it goes.
    pub to: ManifestRequest,
    /// What it is.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its images that are in other repositories of the same registry.
    pub images: Vec<(Reference, Vec<u8>)>,
}

impl ManifestRequest {
    async fn open(&self, core: &Core, name: &Reference, actions: Actions) -> Result<Repository> {
        let registries = &core.settings.registries;
        Ok(match self.insecure {
            true => registries.insecure_repository(name, self.credentials.clone(), actions).await?,
            false => registries.repository(name, self.credentials.clone(), actions).await?,
        })
    }
}

/// Reads them.
pub(crate) async fn read(core: &Core, request: ManifestRequest) -> Result<Manifests> {
    let repository = request.open(core, &request.reference, Actions::Pull).await?;
    let fetched = repository.manifest(&wanted(&request.reference)).await?;
    let images = match &fetched.document {
        Document::Manifest(_) => None,
        Document::Index(index) => {
            if index.manifests.len() > MAX_IMAGES {
                return Err(Error::invalid(format!("the list has more than {MAX_IMAGES} images")));
            }
            let mut images = Vec::new();
            for entry in index.manifests.iter().filter(|d| is_document(d)) {
                let image = repository.manifest(&Wanted::Described(entry.clone())).await?;
                images.push(raw(&repository, image).await?);
            }
            Some(images)
        }
    };
    Ok(Manifests { top: raw(&repository, fetched).await?, images })
}

async fn raw(repository: &Repository, fetched: Fetched) -> Result<RawManifest> {
    let config = match &fetched.document {
        Document::Manifest(manifest) => Some(repository.config(&manifest.config).await?),
        Document::Index(_) => None,
    };
    Ok(RawManifest { digest: fetched.digest, media_type: fetched.media_type, bytes: fetched.bytes, config })
}

/// Puts a list, and before it what it names of other repositories: blobs are mounted, or copied where the registry does
/// not do that. Gives the digests of the images, and the list's.
pub(crate) async fn push(core: &Core, push: ListPush) -> Result<(Vec<Digest>, Digest)> {
    let ListPush { to, media_type, bytes, images } = push;
    if images.len() > MAX_IMAGES {
        return Err(Error::invalid(format!("the list has more than {MAX_IMAGES} images")));
    }
    let target = to.open(core, &to.reference, Actions::PullPush).await?;
    // Whoever waits gets one answer: how far it is goes nowhere.
    let (nobody, _) = mpsc::channel(1);
    let mut pushed = Vec::new();
    for (name, bytes) in images {
        if name.domain() != to.reference.domain() {
            return Err(Error::invalid(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                name.domain(),
                to.reference.domain()
            )));
        }
        let (manifest, media_type) = image(&bytes)?;
        let source = to.open(core, &name, Actions::Pull).await?;
        let way = Way::new(source, target.clone(), Teller::new(nobody.clone()));
        way.blobs(&manifest).await?;
        pushed.push(target.put_manifest(None, &media_type, bytes.into()).await?);
    }
    let Document::Index(_) = Document::parse(&bytes, &media_type)? else {
        return Err(Error::invalid("that is a manifest, no list"));
    };
    let tag = to.reference.tag().unwrap_or(dhow_types::reference::DEFAULT_TAG);
    let digest = target.put_manifest(Some(tag), &media_type, bytes.into()).await?;
    Ok((pushed, digest))
}

fn image(bytes: &[u8]) -> Result<(Manifest, String)> {
    match Document::parse(bytes, "")? {
        Document::Manifest(manifest) => {
            let media_type = match manifest.media_type.as_str() {
                "" => dhow_types::image::media_type::OCI_MANIFEST.to_owned(),
                said => said.to_owned(),
            };
            Ok((*manifest, media_type))
        }
        Document::Index(_) => Err(Error::invalid("a list in a list can't be pushed: name the images themselves")),
    }
}
