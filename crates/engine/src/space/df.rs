//! `system df`: the parts of the root, each with its owner's own view.

use super::view::{ContainerDisk, DiskView, ImageDisk, VolumeDisk};
use super::{layers, measure, used_images, volumes_of};
use crate::core::{Core, blocking};
use crate::{images, shown, volumes};
use dhow_types::{Digest, Result};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Everything below the root.
pub(crate) async fn disk(core: &Arc<Core>) -> Result<DiskView> {
    let core = core.clone();
    blocking(move || view(&core)).await
}

fn view(core: &Arc<Core>) -> Result<DiskView> {
    let usage = measure(core)?;
    let uses = used_images(core);
    let held = layers(core, &usage)?;
    let by_image = core.store.layers_of_images()?;
    let images = images::views(core, &uses)?
        .into_iter()
        .map(|view| {
            let own: BTreeSet<Digest> = by_image.get(&view.id).into_iter().flatten().copied().collect();
            let size = |l: &Digest| usage.layers.get(l).copied().unwrap_or(0);
            let others = |l: &&Digest| by_image.iter().any(|(id, layers)| *id != view.id && layers.contains(l));
            ImageDisk { size: own.iter().map(size).sum(), shared: own.iter().filter(others).map(size).sum(), view }
        })
        .collect();
    let mut left = held;
    for (id, own) in &by_image {
        if !uses.contains_key(id) {
            left.let_go(own);
        }
    }
    let layers_reclaimable = usage
        .layers
        .iter()
        .filter(|(l, _)| left.holders.get(*l).is_none_or(|n| *n == 0))
        .map(|(_, bytes)| *bytes)
        .sum();
    let mut volume_uses: HashMap<String, usize> = HashMap::new();
    let mut containers = Vec::new();
    let mut own = usage.own;
    let mut of_containers = usage.containers.clone();
    for container in core.registry().all() {
        let paused = container.is_paused();
        let view = shown::summary(&core.root_id, &container.shared().record, paused);
        for name in volumes_of(&container.shared().record) {
            *volume_uses.entry(name.to_owned()).or_default() += 1;
        }
        let c = of_containers.remove(view.id.as_str()).unwrap_or_default();
        containers.push(ContainerDisk { files: c.files, logs: c.logs, view });
    }
    containers.sort_by_key(|c| std::cmp::Reverse(c.view.created));
    // Of containers in the making, and of those whose row can't be read.
    own.other += of_containers.values().map(|c| c.files + c.logs).sum::<u64>();
    let mut of_volumes = usage.volumes.clone();
    let volumes = volumes::all(&core.store)?
        .into_iter()
        .map(|v| VolumeDisk {
            size: of_volumes.remove(&v.name).unwrap_or(0),
            uses: volume_uses.get(&v.name).copied().unwrap_or(0),
            mountpoint: volumes::place(&core.dirs, &v.name).to_string_lossy().into_owned(),
            ..v
        })
        .collect();
    own.other += of_volumes.values().sum::<u64>();
    let (disk, free) = core.store.disk()?;
    Ok(DiskView {
        images,
        layers: usage.layers.values().sum(),
        layers_reclaimable,
        containers,
        volumes,
        own,
        total: usage.total(),
        left_out: usage.left_out,
        disk,
        free,
        budget: core.budget.limit(disk),
    })
}
