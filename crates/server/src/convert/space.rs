//! Disk usage and prunes, in the shape of each version.

use super::{container, image, or_null, time};
use dhow_api as api;
use dhow_api::ApiVersion;
use dhow_engine::space::view::{DiskView, Pruned, VolumeDisk};
use jiff::Timestamp;

/// The kinds of things that a client may ask about, by their words in the query.
pub(crate) const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// What of the answer was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Kinds, of [`KINDS`]; empty is all.
    pub(crate) kinds: &'a [&'a str],
    /// Lists, not only sums.
    pub(crate) verbose: bool,
    /// The client's version.
    pub(crate) version: ApiVersion,
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The answer to `GET /system/df`. Until 1.51 lists, in 1.52 both, since 1.53 sums and, if asked for, lists in them.
pub(crate) fn usage(view: DiskView, asked: Asked<'_>, now: Timestamp) -> api::DiskUsage {
    let wants = |kind: &str| asked.kinds.is_empty() || asked.kinds.contains(&kind);
    let (typed, legacy) = (asked.version >= ApiVersion::new(1, 52), asked.version < ApiVersion::new(1, 53));
    let mut out = api::DiskUsage::default();
    if asked.kinds.is_empty() {
        out.log_usage = typed.then(|| logs(&view, asked.verbose));
        out.store_usage = typed.then(|| store(&view));
        out.total_size = typed.then(|| size(view.total));
    }
    if wants("image") {
        let active = view.images.iter().filter(|i| i.view.containers > 0).count();
        let items: Vec<api::ImageSummary> = view
            .images
            .into_iter()
            .map(|disk| {
                let containers = count(disk.view.containers);
                let mut one = image::summary(disk.view, asked.version);
                // The size on disk, unlike the size of the content in `GET /images/json`.
                one.size = size(disk.size);
                one.virtual_size = if one.virtual_size == 0 { 0 } else { one.size };
                one.shared_size = size(disk.shared);
                one.containers = containers;
                one
            })
            .collect();
        out.image_usage = typed.then(|| api::ImagesDiskUsage {
            active_count: count(active),
            total_count: count(items.len()),
            reclaimable: size(view.layers_reclaimable),
            total_size: size(view.layers),
            items: asked.verbose.then(|| items.clone()),
        });
        out.layers_size = legacy.then(|| size(view.layers));
        out.images = legacy.then_some(items);
    }
    if wants("container") {
        let running = |c: &&dhow_engine::space::view::ContainerDisk| c.view.state.status.is_up();
        let active = view.containers.iter().filter(running).count();
        let all: u64 = view.containers.iter().map(|c| c.files).sum();
        let of_running: u64 = view.containers.iter().filter(running).map(|c| c.files).sum();
        let items: Vec<api::ContainerSummary> = view
            .containers
            .into_iter()
            .map(|disk| {
                let mut one = container::summary(disk.view, now, asked.version);
                one.size_rw = size(disk.files);
                one
            })
            .collect();
        out.container_usage = typed.then(|| api::ContainersDiskUsage {
            active_count: count(active),
            total_count: count(items.len()),
            reclaimable: size(all - of_running),
            total_size: size(all),
            items: asked.verbose.then(|| items.clone()),
        });
        out.containers = legacy.then_some(items);
    }
    if wants("volume") {
        let used = |v: &&VolumeDisk| v.uses > 0;
        let all: u64 = view.volumes.iter().map(|v| v.size).sum();
        let of_used: u64 = view.volumes.iter().filter(used).map(|v| v.size).sum();
        let active = view.volumes.iter().filter(used).count();
        let items: Vec<api::Volume> = view.volumes.into_iter().map(volume).collect();
        out.volume_usage = typed.then(|| api::VolumesDiskUsage {
            active_count: count(active),
            total_count: count(items.len()),
            reclaimable: size(all - of_used),
            total_size: size(all),
            items: asked.verbose.then(|| items.clone()),
        });
        out.volumes = legacy.then_some(items);
    }
    if wants("build-cache") {
        // There is no build cache, so nothing of it is on disk.
        let none = || Some(Vec::new());
        out.build_cache_usage =
            typed.then(|| api::BuildCacheDiskUsage { items: none().filter(|_| asked.verbose), ..Default::default() });
        out.build_cache = none().filter(|_| legacy);
    }
    out
}

fn logs(view: &DiskView, verbose: bool) -> api::LogsDiskUsage {
    let with: Vec<_> = view.containers.iter().filter(|c| c.logs > 0).collect();
    let sum =
        |running: bool| -> u64 { with.iter().filter(|c| c.view.state.status.is_up() == running).map(|c| c.logs).sum() };
    api::LogsDiskUsage {
        active_count: count(with.iter().filter(|c| c.view.state.status.is_up()).count()),
        total_count: count(with.len()),
        reclaimable: size(sum(false)),
        total_size: size(sum(true) + sum(false)),
        items: verbose.then(|| {
            let one = |c: &&dhow_engine::space::view::ContainerDisk| api::LogUsage {
                id: c.view.id.to_string(),
                name: c.view.name.clone(),
                size: size(c.logs),
            };
            with.iter().map(one).collect()
        }),
    }
}

fn store(view: &DiskView) -> api::StoreDiskUsage {
    let own = &view.own;
    api::StoreDiskUsage {
        total_size: size(own.total()),
        database: size(own.database),
        recipes: size(own.recipes),
        blobs: size(own.blobs),
        incoming: size(own.incoming),
        outgoing: size(own.outgoing),
        other: size(own.other),
        left_out: size(view.left_out),
        disk_size: size(view.disk),
        disk_free: size(view.free),
        disk_budget: view.budget.map(size),
    }
}

fn volume(disk: VolumeDisk) -> api::Volume {
    api::Volume {
        created_at: disk.created.map_or_else(String::new, |at| time(Some(at))),
        driver: "local".to_owned(),
        labels: or_null(disk.labels),
        mountpoint: disk.mountpoint,
        name: disk.name,
        options: None,
        scope: "local".to_owned(),
        usage_data: Some(api::VolumeUsageData { ref_count: count(disk.uses), size: size(disk.size) }),
    }
}

/// What was pruned; the lists that each kind has are filled in by its route.
pub(crate) fn pruned(pruned: &Pruned, dry_run: bool) -> api::PruneReport {
    let item = |item: &dhow_engine::space::view::PrunedItem| api::PrunedItem {
        id: item.id.clone(),
        names: item.names.clone(),
        size: size(item.size),
        last_used: item.last_used.map_or_else(String::new, |at| at.to_string()),
    };
    api::PruneReport {
        space_reclaimed: pruned.reclaimed,
        items: dry_run.then(|| pruned.items.iter().map(item).collect()),
        dry_run,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view() -> DiskView {
        DiskView {
            images: Vec::new(),
            layers: 100,
            layers_reclaimable: 40,
            containers: Vec::new(),
            volumes: vec![
                VolumeDisk { name: "a".into(), size: 7, uses: 1, ..VolumeDisk::default() },
                VolumeDisk { name: "b".into(), size: 5, ..VolumeDisk::default() },
            ],
            own: Default::default(),
            total: 112,
            left_out: 0,
            disk: 1000,
            free: 500,
            budget: None,
        }
    }

    fn answer(kinds: &[&str], verbose: bool, minor: u16) -> serde_json::Value {
        json!(usage(view(), Asked { kinds, verbose, version: ApiVersion::new(1, minor) }, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn shapes_follow_the_version() {
        let old = answer(&[], false, 51);
        assert_eq!((&old["LayersSize"], &old["Volumes"][0]["UsageData"]["Size"]), (&json!(100), &json!(7)));
        assert_eq!((&old["Images"], &old["BuildCache"], old.get("ImageUsage")), (&json!([]), &json!([]), None));
        let both = answer(&[], false, 52);
        assert!(both.get("LayersSize").is_some() && both.get("ImageUsage").is_some());
        let new = answer(&[], false, 53);
        assert_eq!(
            (&new["ImageUsage"], new.get("LayersSize")),
            (&json!({"ActiveCount": 0, "TotalCount": 0, "Reclaimable": 40, "TotalSize": 100}), None)
        );
        assert_eq!(new["VolumeUsage"], json!({"ActiveCount": 1, "TotalCount": 2, "Reclaimable": 5, "TotalSize": 12}));
        assert_eq!((&new["TotalSize"], &new["StoreUsage"]["DiskFree"]), (&json!(112), &json!(500)));
        assert_eq!(answer(&[], true, 56)["VolumeUsage"]["Items"][1]["Name"], "b");
    }

    #[test]
    fn only_the_kinds_asked_for() {
        let one = answer(&["volume"], false, 56);
        assert_eq!(one.as_object().unwrap().keys().collect::<Vec<_>>(), ["VolumeUsage"]);
        let old = answer(&["image", "container"], false, 44);
        assert_eq!(old.as_object().unwrap().keys().collect::<Vec<_>>(), ["Containers", "Images", "LayersSize"]);
    }
}
