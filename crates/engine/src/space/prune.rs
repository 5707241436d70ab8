//! Prunes: what nobody uses goes, by Docker's rules and by dhow's own bounds. All return when names are gone; the
//! bytes follow in the background.

use super::view::{Pruned, PrunedItem};
use super::{image_is_used, last_used, layers, measure, volumes_of};
use crate::config::PruneRequest;
use crate::container::Container;
use crate::core::{Core, blocking};
use crate::images::tell_removed;
use crate::plan::evict::{Candidate, What, choose};
use crate::plan::prune::{Filters, Thing};
use crate::record::Record;
use crate::view::{ImageRemoved, Status};
use crate::{stop, volumes};
use dhow_store::{ImageRecord, Removed};
use dhow_types::{Digest, Error, ErrorKind, Reference, Result};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Removes images that no container uses: those without a name, or all with `dangling=false`.
pub(crate) async fn images(core: &Arc<Core>, request: PruneRequest) -> Result<Pruned> {
    let filters = Filters::read(&request, &["dangling", "label", "label!", "until"], Timestamp::now())?;
    refuse_after_containers(&request)?;
    let core = core.clone();
    blocking(move || prune_images(&core, &request, &filters)).await
}

/// When an image was last used; one that never was counts from when it came.
pub(crate) fn image_last_used(record: &ImageRecord) -> i64 {
    if record.last_used_unix > 0 { record.last_used_unix } else { record.loaded_unix }
}

fn prune_images(core: &Core, request: &PruneRequest, filters: &Filters) -> Result<Pruned> {
    let only_dangling = filters.dangling != Some(false);
    let records: BTreeMap<Digest, ImageRecord> = core.store.images()?.into_iter().map(|r| (r.id, r)).collect();
    let usage = measure(core)?;
    let held = layers(core, &usage)?;
    let by_image = core.store.layers_of_images()?;
    let stay = staying(core, request, filters);
    let is_used = |id: &Digest| match &stay {
        None => image_is_used(core, id),
        Some(stay) => core.holds.image(id) || stay.iter().any(|c| c.shared().record.root.image() == Some(*id)),
    };
    let candidates: Vec<Candidate> = records
        .values()
        .filter(|r| (!only_dangling || r.references.is_empty()) && !is_used(&r.id))
        .filter(|r| {
            let at = |seconds| Timestamp::from_second(seconds).ok();
            let created = r.created.as_deref().and_then(|c| c.parse().ok());
            let labels = r.damaged.is_none().then_some(&r.image.config.config.labels);
            filters.pass(Thing { created, used: at(image_last_used(r)), labels })
        })
        .map(|r| {
            let own = by_image.get(&r.id).cloned().unwrap_or_default();
            Candidate { what: What::Image(r.id, own), last_used: image_last_used(r) }
        })
        .collect();
    let chosen = match request.keep_bytes {
        Some(keep) => choose(candidates, usage.layers.values().sum::<u64>().saturating_sub(keep), held),
        None => in_order(candidates, held),
    };
    // What nobody narrowed down takes along what came of images that are not whole.
    let mut pruned = match filters.are_narrow() || request.keep_bytes.is_some() {
        true => Pruned::default(),
        false => Pruned { reclaimed: discard_unfinished(core, &usage, request.dry_run)?, ..Pruned::default() },
    };
    for (candidate, bytes) in chosen {
        let What::Image(id, own) = &candidate.what else { continue };
        let Some(record) = records.get(id) else { continue };
        let names = record.references.iter().chain(&record.digests).map(Reference::familiar);
        let names: Vec<String> = names.collect();
        let removed = if request.dry_run {
            names.iter().cloned().map(Removed::Untagged).chain([Removed::Deleted(*id)]).collect()
        } else {
            match core.store.remove_unused(id, only_dangling, &|id| image_is_used(core, id)) {
                Ok(removed) => removed,
                // Used or named meanwhile, or gone.
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => continue,
                Err(e) => return Err(e),
            }
        };
        if !request.dry_run {
            tell_removed(core, id, &removed);
        }
        let size = if request.dry_run { bytes } else { gone(&removed, own, &usage.layers) };
        pruned.reclaimed += size;
        pruned.items.push(PrunedItem {
            id: id.to_string(),
            names,
            size,
            last_used: Timestamp::from_second(record.last_used_unix).ok().filter(|_| record.last_used_unix > 0),
        });
        pruned.images.extend(removed.into_iter().map(|r| match r {
            Removed::Untagged(name) => ImageRemoved::Untagged(name),
            Removed::Deleted(id) => ImageRemoved::Deleted(id),
        }));
    }
    if !request.dry_run {
        core.events.pruned("image", pruned.reclaimed);
    }
    Ok(pruned)
}

/// Throws away what came of images that are not whole; gives the bytes of it.
pub(crate) fn discard_unfinished(core: &Core, usage: &dhow_store::Usage, dry_run: bool) -> Result<u64> {
    let unfinished = core.store.unfinished()?;
    let gone = match dry_run || unfinished == Default::default() {
        true => unfinished.layers,
        false => core.store.discard_unfinished(true)?,
    };
    Ok(unfinished.parts + gone.iter().map(|l| usage.layers.get(l).copied().unwrap_or(0)).sum::<u64>())
}

/// All candidates, the least recently used first, with what each gives back.
fn in_order(mut candidates: Vec<Candidate>, mut layers: crate::plan::evict::Layers) -> Vec<(Candidate, u64)> {
    candidates.sort_by_key(|c| c.last_used);
    candidates
        .into_iter()
        .map(|c| {
            let bytes = match &c.what {
                What::Image(_, own) => layers.let_go(own),
                What::Own(_, bytes) => *bytes,
            };
            (c, bytes)
        })
        .collect()
}

/// Bytes of the layers that went with an image: they are told by their chain ids.
pub(crate) fn gone(removed: &[Removed], own: &[Digest], sizes: &BTreeMap<Digest, u64>) -> u64 {
    let chains = dhow_types::image::chain_ids(own);
    let deleted: BTreeSet<Digest> = removed
        .iter()
        .filter_map(|r| match r {
            Removed::Deleted(id) => Some(*id),
            Removed::Untagged(_) => None,
        })
        .collect();
    let layers: BTreeSet<&Digest> =
        own.iter().zip(&chains).filter(|(_, chain)| deleted.contains(*chain)).map(|(layer, _)| layer).collect();
    layers.into_iter().map(|l| sizes.get(l).copied().unwrap_or(0)).sum()
}

/// The containers there are after a prune of containers, if the dry run is to begin there.
fn staying(core: &Core, request: &PruneRequest, filters: &Filters) -> Option<Vec<Arc<Container>>> {
    (request.dry_run && request.after_containers).then(|| {
        let mut all = core.registry().all();
        all.retain(|c| !goes(c, filters));
        all
    })
}

/// Whether a prune of containers removes it.
fn goes(container: &Container, filters: &Filters) -> bool {
    let record = container.record();
    matches!(container.status(), Status::Created | Status::Exited | Status::Dead)
        && !container.is_busy()
        && filters.pass(Thing {
            created: Some(record.created),
            used: Some(last_used(&record)),
            labels: Some(&record.config.labels),
        })
}

/// Removes containers that do not run.
pub(crate) async fn containers(core: &Arc<Core>, request: PruneRequest) -> Result<Pruned> {
    let filters = Filters::read(&request, &["label", "label!", "until"], Timestamp::now())?;
    let shared = core.clone();
    let usage = blocking(move || measure(&shared)).await?;
    let size = |r: &Record| usage.containers.get(r.id.as_str()).map_or(0, |c| c.files + c.logs);
    let stopped: BTreeMap<String, Record> = core
        .registry()
        .all()
        .iter()
        .filter(|c| goes(c, &filters))
        .map(|c| c.record())
        .map(|r| (r.id.to_string(), r))
        .collect();
    let candidates: Vec<Candidate> = stopped
        .values()
        .map(|r| Candidate { what: What::Own(r.id.clone(), size(r)), last_used: last_used(r).as_second() })
        .collect();
    let chosen = match request.keep_bytes {
        Some(keep) => {
            let all = usage.containers.values().map(|c| c.files + c.logs).sum::<u64>();
            choose(candidates, all.saturating_sub(keep), Default::default())
        }
        None => in_order(candidates, Default::default()),
    };
    let mut pruned = Pruned::default();
    for (candidate, bytes) in chosen {
        let What::Own(id, _) = &candidate.what else { continue };
        let Some(record) = stopped.get(id.as_str()) else { continue };
        if !request.dry_run {
            match stop::remove(core, id.as_str(), false, false).await {
                Ok(()) => {}
                // Started or removed meanwhile.
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => continue,
                Err(e) => return Err(e),
            }
        }
        pruned.reclaimed += bytes;
        pruned.items.push(PrunedItem {
            id: id.to_string(),
            names: vec![record.name.clone()],
            size: bytes,
            last_used: Some(last_used(record)),
        });
    }
    if !request.dry_run {
        core.events.pruned("container", pruned.reclaimed);
    }
    Ok(pruned)
}

/// Removes volumes that no container uses: those that nobody named, or all with `all=true`.
pub(crate) async fn volumes(core: &Arc<Core>, request: PruneRequest) -> Result<Pruned> {
    let filters = Filters::read(&request, &["label", "label!", "all"], Timestamp::now())?;
    refuse_bounds(&request, "volumes")?;
    refuse_after_containers(&request)?;
    let core = core.clone();
    blocking(move || prune_volumes(&core, &request, &filters)).await
}

fn prune_volumes(core: &Core, request: &PruneRequest, filters: &Filters) -> Result<Pruned> {
    let usage = measure(core)?;
    let stay = staying(core, request, filters);
    let uses =
        |all: &[Arc<Container>], name: &str| all.iter().any(|c| volumes_of(&c.shared().record).any(|v| v == name));
    let is_used = |name: &str| {
        core.holds.volume(name)
            || stay.as_ref().map_or_else(|| uses(&core.registry().all(), name), |stay| uses(stay, name))
    };
    let mut pruned = Pruned::default();
    for volume in volumes::all(&core.store)? {
        let thing = Thing { created: volume.created, used: None, labels: Some(&volume.labels) };
        if !(volume.anonymous || filters.all) || !filters.pass(thing) || is_used(&volume.name) {
            continue;
        }
        if !request.dry_run && !core.volumes.remove_if(core, &volume.name, &|| !is_used(&volume.name))? {
            continue;
        }
        let size = usage.volumes.get(&volume.name).copied().unwrap_or(0);
        pruned.reclaimed += size;
        pruned.items.push(PrunedItem { id: volume.name, names: Vec::new(), size, last_used: None });
    }
    if !request.dry_run {
        core.events.pruned("volume", pruned.reclaimed);
    }
    Ok(pruned)
}

/// Removes networks that no container uses. Those that are always there stay, and others there are none.
pub(crate) fn networks(core: &Core, request: &PruneRequest) -> Result<Pruned> {
    Filters::read(request, &["label", "label!", "until"], Timestamp::now())?;
    refuse_bounds(request, "networks")?;
    if !request.dry_run {
        core.events.pruned("network", 0);
    }
    Ok(Pruned::default())
}

/// Bounds that mean nothing for a kind are refused by name.
fn refuse_bounds(request: &PruneRequest, kind: &str) -> Result<()> {
    let given = [("unused-for", request.unused_for.is_some()), ("keep-bytes", request.keep_bytes.is_some())];
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => {
            Err(Error::invalid(format!("{name} does not work for {kind}: their last use is not recorded")))
        }
        None => Ok(()),
    }
}

/// It asks for a view, and removing by it would take what is still used.
fn refuse_after_containers(request: &PruneRequest) -> Result<()> {
    match request.after_containers && !request.dry_run {
        true => Err(Error::invalid("after-containers works together with dry-run only: prune containers first")),
        false => Ok(()),
    }
}
