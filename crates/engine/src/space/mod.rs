//! Disk space: who has how much of it, what may go, and the budget that is kept.
//!
//! What goes first is decided in [`crate::plan::evict`] and [`crate::plan::prune`]; bytes are counted by the store.

pub(crate) mod budget;
pub(crate) mod df;
pub(crate) mod prune;
pub mod view;

use crate::core::{Core, SEGMENTS};
use crate::plan::evict::Layers;
use crate::plan::mounts::Source;
use crate::record::Record;
use crate::trash::PREFIX;
use dhow_store::Usage;
use dhow_types::{Digest, Result};
use std::collections::HashMap;
use std::ffi::OsStr;

/// What the name of a log file holds, behind the container's id.
const LOG: &str = "-json.log";

/// Everything below the root, by owner. What was renamed on its way out belongs to the store.
pub(crate) fn measure(core: &Core) -> Result<Usage> {
    let is_log = |name: &OsStr| name == SEGMENTS || name.to_string_lossy().contains(LOG);
    let mut usage = core.store.usage(&is_log)?;
    let mut outgoing = 0;
    usage.containers.retain(|name, c| {
        let stays = !name.starts_with(PREFIX);
        outgoing += if stays { 0 } else { c.files + c.logs };
        stays
    });
    usage.volumes.retain(|name, bytes| {
        let stays = !name.starts_with(PREFIX);
        outgoing += if stays { 0 } else { *bytes };
        stays
    });
    usage.own.outgoing += outgoing;
    Ok(usage)
}

/// Layers with their sizes, and who holds them: images and running loads.
pub(crate) fn layers(core: &Core, usage: &Usage) -> Result<Layers> {
    let mut layers = Layers { sizes: usage.layers.clone(), ..Layers::default() };
    for own in core.store.layers_of_images()?.values() {
        layers.hold(own);
    }
    layers.hold(&core.store.leased());
    Ok(layers)
}

/// Images that containers use, with the number of them; those in the making count as one.
pub(crate) fn used_images(core: &Core) -> HashMap<Digest, usize> {
    let mut uses = HashMap::new();
    for container in core.registry().all() {
        if let Some(id) = container.shared().record.root.image() {
            *uses.entry(id).or_insert(0) += 1;
        }
    }
    uses
}

/// Whether a container, also one in the making, uses the image.
pub(crate) fn image_is_used(core: &Core, id: &Digest) -> bool {
    // Holds first: a container in the making goes from them to the index, never the other way.
    core.holds.image(id) || core.registry().all().iter().any(|c| c.shared().record.root.image() == Some(*id))
}

/// The volumes that a container uses.
pub(crate) fn volumes_of(record: &Record) -> impl Iterator<Item = &str> {
    record.mounts.iter().filter_map(|(mount, _)| match &mount.source {
        Source::Volume { name, .. } => name.as_deref(),
        _ => None,
    })
}

/// When the container was last used: made, started or ended.
pub(crate) fn last_used(record: &Record) -> jiff::Timestamp {
    let state = &record.state;
    [state.started_at, state.finished_at].into_iter().flatten().fold(record.created, std::cmp::max)
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
