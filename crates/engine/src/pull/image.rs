//! One image: resolved, its layers brought, named.

use super::choose::{candidates, check_kind, is_document, nothing_for};
use super::{Teller, show};
use crate::core::{Core, blocking};
use crate::view::TransferEvent;
use dhow_distribution::{Fetched, Repository, Wanted};
use dhow_store::{Hold, ReceivedImage, WantedLayer};
use dhow_types::image::{Document, Manifest};
use dhow_types::{Digest, Error, ErrorKind, ImageConfig, Platform, Reference, Result};
use std::collections::HashSet;
use std::sync::Arc;

/// How deep indexes may lie in one another.
const MAX_DEPTH: usize = 3;
/// Manifests and indexes that are fetched for one image.
const MAX_DOCUMENTS: usize = 32;
/// How often a layer is asked for that went while it was waited for.
const MAX_TRIES: usize = 3;

/// Pulls the image that `reference` names by a tag or a digest. Says whether that name means another image now.
pub(super) async fn pull(
    core: &Arc<Core>,
    repository: &Repository,
    reference: &Reference,
    platform: Option<&Platform>,
    teller: &Teller,
) -> Result<bool> {
    let hold = Arc::new(core.store.hold());
    // Docker leaves the tag out of account where there is a digest.
    let (wanted, shown) = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => (Wanted::Digest(*digest), reference.with_digest(*digest).to_string()),
        (None, tag) => {
            let tag = tag.unwrap_or(dhow_types::reference::DEFAULT_TAG).to_owned();
            (Wanted::Tag(tag.clone()), tag)
        }
    };
    let target = platform.cloned().unwrap_or_else(Platform::best_host);
    let pulling = TransferEvent::status(shown, format!("Pulling from {}", reference.path()));
    let names = |top: Digest| {
        let by_digest = reference.with_digest(top);
        match (reference.digest(), reference.tag()) {
            (None, Some(_)) => vec![by_digest, reference.clone()],
            _ => vec![by_digest],
        }
    };
    // One request is enough to learn that a name is what it was, and that it is still given to this user.
    let top = match is_known(core, reference).await? {
        true => Some(repository.head(&wanted).await?.digest),
        false => None,
    };
    if let Some(top) = top {
        let (hold, target, names) = (hold.clone(), target.clone(), names(top));
        let renamed = blocking(move || match hold.resolved(&top, &target)? {
            Some(id) => hold.rename(&id, &names),
            None => Ok(None),
        });
        if let Some(changed) = renamed.await? {
            teller.tell(pulling).await;
            teller.tell(TransferEvent::line(format!("Digest: {top}"))).await;
            return Ok(changed);
        }
    }
    let fetched = repository.manifest(&top.map_or(wanted, Wanted::Digest)).await?;
    let top = fetched.digest;
    if let Document::Manifest(manifest) = &fetched.document {
        check_kind(manifest).map_err(|e| of(repository, e))?;
    }
    teller.tell(pulling).await;
    let (manifest, digest, bytes) = choose_manifest(repository, fetched, platform, &target).await?;
    let changed = bring(core, repository, &hold, (&manifest, digest, bytes), names(top), teller).await?;
    let id = manifest.config.digest;
    blocking(move || hold.note(&top, &target, &id)).await?;
    teller.tell(TransferEvent::line(format!("Digest: {top}"))).await;
    Ok(changed)
}

/// What is wrong with an image by its documents, with its name.
fn of(repository: &Repository, error: Error) -> Error {
    error.prefixed(repository.name().familiar_name())
}

/// Whether the name means an image already.
async fn is_known(core: &Arc<Core>, reference: &Reference) -> Result<bool> {
    let (core, reference) = (core.clone(), reference.clone());
    blocking(move || core.store.is_named(&reference)).await
}

/// The manifest for the platform, its digest and its bytes.
pub(crate) async fn choose_manifest(
    repository: &Repository,
    fetched: Fetched,
    asked: Option<&Platform>,
    target: &Platform,
) -> Result<(Manifest, Digest, Vec<u8>)> {
    let mut left = MAX_DOCUMENTS;
    match choose(repository, fetched, asked, target, 0, &mut left).await? {
        Choice::Image(image) => Ok(*image),
        Choice::Nothing(words) => Err(of(repository, Error::not_found(words))),
    }
}

/// What a document gives for a platform.
enum Choice {
    /// The manifest of an image: what it says, its digest and its bytes.
    Image(Box<(Manifest, Digest, Vec<u8>)>),
    /// Nothing, in words.
    Nothing(String),
}

/// The manifest for the platform, by way of indexes. `left` is how many documents may still be asked for.
async fn choose(
    repository: &Repository,
    fetched: Fetched,
    asked: Option<&Platform>,
    target: &Platform,
    depth: usize,
    left: &mut usize,
) -> Result<Choice> {
    let index = match fetched.document {
        Document::Manifest(manifest) => {
            check_kind(&manifest).map_err(|e| of(repository, e))?;
            return Ok(Choice::Image(Box::new((*manifest, fetched.digest, fetched.bytes))));
        }
        Document::Index(index) => index,
    };
    let too = |what: String| of(repository, Error::invalid(what));
    if depth == MAX_DEPTH {
        return Err(too(format!("indexes lie in one another more than {MAX_DEPTH} deep")));
    }
    for descriptor in candidates(&index, target) {
        if !is_document(descriptor) {
            continue;
        }
        *left = left.checked_sub(1).ok_or_else(|| too(format!("its indexes name more than {MAX_DOCUMENTS} others")))?;
        let found = repository.manifest(&Wanted::Described(descriptor.clone())).await?;
        // An index in this one that has nothing is passed over: the next may have it.
        if let Choice::Image(image) = Box::pin(choose(repository, found, asked, target, depth + 1, left)).await? {
            return Ok(Choice::Image(image));
        }
    }
    Ok(Choice::Nothing(nothing_for(&index, asked)))
}

/// Brings what is missing of an image, and names it.
async fn bring(
    core: &Arc<Core>,
    repository: &Repository,
    hold: &Arc<Hold>,
    (manifest, digest, bytes): (&Manifest, Digest, Vec<u8>),
    names: Vec<Reference>,
    teller: &Teller,
) -> Result<bool> {
    let (shared, id) = (hold.clone(), manifest.config.digest);
    let renamed = names.clone();
    let here = blocking(move || if shared.image(&id)? { shared.rename(&id, &renamed) } else { Ok(None) });
    if let Some(changed) = here.await? {
        return Ok(changed);
    }
    let config = repository.config(&manifest.config).await?;
    let parsed = ImageConfig::parse(&config).map_err(|e| of(repository, e))?;
    if !matches!(parsed.os.to_ascii_lowercase().as_str(), "" | "linux") {
        let text = format!("cannot download image with operating system {:?} when requesting \"linux\"", parsed.os);
        return Err(of(repository, Error::invalid(text)));
    }
    let diff_ids = parsed.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        let text = format!(
            "layers from manifest don't match image configuration: manifest {} names {}, the configuration {}",
            digest.short(),
            manifest.layers.len(),
            diff_ids.len()
        );
        return Err(of(repository, Error::new(ErrorKind::DataLoss, text)));
    }
    // Those are refused, by name.
    for foreign in manifest.layers.iter().filter(|layer| !layer.urls.is_empty()) {
        repository.layer(foreign)?;
    }
    let mut seen = HashSet::new();
    let wanted: Vec<WantedLayer> = manifest
        .layers
        .iter()
        .zip(&diff_ids)
        .map(|(layer, diff_id)| WantedLayer {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
            diff_id: *diff_id,
        })
        .filter(|layer| seen.insert(layer.clone()))
        .collect();
    for layer in &wanted {
        layer.check().map_err(|e| of(repository, e.prefixed(format!("layer {}", layer.digest.short()))))?;
    }
    layers(core, repository, hold, wanted, teller).await?;
    let image = ReceivedImage { config, manifest: (digest, bytes), layers: diff_ids, references: names };
    let (shared, store) = (hold.clone(), core.store.clone());
    let (registry, path) = (repository.name().domain().to_owned(), repository.name().path().to_owned());
    let forms: Vec<Digest> = manifest.layers.iter().map(|l| l.digest).collect();
    blocking(move || {
        let changed = shared.publish(image)?.changed;
        // A push may find there what it needs not send.
        if let Err(error) = store.note_sources(&forms, &registry, &path) {
            tracing::warn!(%error, "where layers came from could not be noted");
        }
        Ok(changed)
    })
    .await
}

/// Brings all layers that are not here, at the same time.
async fn layers(
    core: &Arc<Core>,
    repository: &Repository,
    hold: &Arc<Hold>,
    mut wanted: Vec<WantedLayer>,
    teller: &Teller,
) -> Result<()> {
    for first in (0..MAX_TRIES).map(|n| n == 0) {
        let (shared, asked) = (hold.clone(), wanted);
        let looked = blocking(move || {
            asked.into_iter().map(|layer| Ok((shared.layer(&layer)?, layer))).collect::<Result<Vec<_>>>()
        });
        let mut missing = Vec::new();
        for (here, layer) in looked.await? {
            if first {
                let text = if here { "Already exists" } else { "Pulling fs layer" };
                teller.tell(TransferEvent::status(layer.digest.short(), text)).await;
            }
            if !here {
                missing.push(layer);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // All of the room is kept before the first byte is written.
        let (shared, asked, wishes) = (core.clone(), missing, hold.clone());
        let reserve = blocking(move || {
            asked.iter().for_each(|layer| wishes.wish(layer));
            let reserved = asked.into_iter().map(|l| Ok((shared.store.reserve(shared.store.room_for(&l))?, l)));
            reserved.collect::<Result<Vec<_>>>()
        });
        let mut flights = tokio::task::JoinSet::new();
        wanted = Vec::new();
        for (reservation, layer) in reserve.await? {
            wanted.push(layer.clone());
            let joined = core.flights.join(core, repository, &layer, reservation.clone());
            let (core, repository, teller, hold) = (core.clone(), repository.clone(), teller.clone(), hold.clone());
            flights.spawn(async move {
                let (mut flight, others) = joined;
                let mut landed = show::follow(&flight, &layer, &teller).await;
                if landed.is_err() && others {
                    // It failed by another's way and another's credentials; there are one's own.
                    flight = core.flights.join(&core, &repository, &layer, reservation).0;
                    landed = show::follow(&flight, &layer, &teller).await;
                }
                // It stays for as long as its flight is seen, and from now on because it is held.
                let landed = landed?;
                let held = blocking(move || hold.layer(&layer)).await;
                drop((landed, flight));
                held
            });
        }
        // The first failure is the one that is told; the others are called off by it.
        while let Some(landed) = flights.join_next().await {
            landed.map_err(|e| Error::system(format!("an internal task failed: {e}")))??;
        }
    }
    Err(Error::system("layers go as fast as they come: something removes them all the time"))
}
