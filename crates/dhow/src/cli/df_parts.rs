//! Disk usage as a daemon tells it, in the shape of any version, as parts with sizes. Pure.

use super::units;
use dhow_api::{BuildCache, ContainerSummary, DiskUsage, ImageSummary, LogUsage, Volume};

/// One row of Docker's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As Docker calls it.
    pub kind: &'static str,
    /// How many there are.
    pub total: i64,
    /// How many are in use.
    pub active: i64,
    /// Bytes.
    pub size: i64,
    /// Bytes that a prune would give back.
    pub free: i64,
}

impl Part {
    /// `12MB (40%)`.
    pub fn reclaimable(&self) -> String {
        let size = units::human_sum(self.free);
        match self.kind {
            "Build Cache" => size,
            _ if self.size > 0 => format!("{size} ({}%)", i128::from(self.free) * 100 / i128::from(self.size)),
            _ => size,
        }
    }
}

/// The images listed.
pub fn images(usage: &DiskUsage) -> &[ImageSummary] {
    let typed = usage.image_usage.as_ref().and_then(|u| u.items.as_deref());
    typed.or(usage.images.as_deref()).unwrap_or_default()
}

/// The containers listed.
pub fn containers(usage: &DiskUsage) -> &[ContainerSummary] {
    let typed = usage.container_usage.as_ref().and_then(|u| u.items.as_deref());
    typed.or(usage.containers.as_deref()).unwrap_or_default()
}

/// The volumes listed.
pub fn volumes(usage: &DiskUsage) -> &[Volume] {
    let typed = usage.volume_usage.as_ref().and_then(|u| u.items.as_deref());
    typed.or(usage.volumes.as_deref()).unwrap_or_default()
}

/// The build cache listed.
pub fn caches(usage: &DiskUsage) -> &[BuildCache] {
    let typed = usage.build_cache_usage.as_ref().and_then(|u| u.items.as_deref());
    typed.or(usage.build_cache.as_deref()).unwrap_or_default()
}

/// The logs listed.
pub fn logs(usage: &DiskUsage) -> &[LogUsage] {
    usage.log_usage.as_ref().and_then(|u| u.items.as_deref()).unwrap_or_default()
}

/// Docker's four rows: from the sums that newer daemons tell, else from the lists, by the rules of Docker's client.
pub fn of_docker(usage: &DiskUsage) -> [Part; 4] {
    let part = |kind, total, active, size, free| Part { kind, total, active, size, free };
    macro_rules! told {
        ($kind:literal, $field:ident) => {
            usage.$field.as_ref().map(|u| part($kind, u.total_count, u.active_count, u.total_size, u.reclaimable))
        };
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let from_images = || {
        let list = images(usage);
        let used = list.iter().filter(|i| i.containers > 0);
        let size = usage.layers_size.unwrap_or(0);
        let own: i64 = used.clone().filter(|i| i.size >= 0 && i.shared_size >= 0).map(|i| i.size - i.shared_size).sum();
        part("Images", count(list.len()), count(used.count()), size, size - own)
    };
    let from_containers = || {
        let list = containers(usage);
        let active = |c: &&ContainerSummary| matches!(c.state.as_str(), "running" | "paused" | "restarting");
        let size: i64 = list.iter().map(|c| c.size_rw).sum();
        let free = list.iter().filter(|c| !active(c)).map(|c| c.size_rw).sum();
        part("Containers", count(list.len()), count(list.iter().filter(active).count()), size, free)
    };
    let from_volumes = || {
        let list = volumes(usage);
        let data = || list.iter().filter_map(|v| v.usage_data.as_ref());
        let size = data().map(|d| d.size.max(0)).sum();
        let free = data().filter(|d| d.ref_count == 0).map(|d| d.size.max(0)).sum();
        part("Local Volumes", count(list.len()), count(data().filter(|d| d.ref_count > 0).count()), size, free)
    };
    let from_caches = || {
        let list = caches(usage);
        let own = || list.iter().filter(|c| !c.shared);
        let size = own().map(|c| c.size).sum();
        let free = own().filter(|c| !c.in_use).map(|c| c.size).sum();
        part("Build Cache", count(list.len()), count(list.iter().filter(|c| c.in_use).count()), size, free)
    };
    [
        told!("Images", image_usage).unwrap_or_else(from_images),
        told!("Containers", container_usage).unwrap_or_else(from_containers),
        told!("Local Volumes", volume_usage).unwrap_or_else(from_volumes),
        told!("Build Cache", build_cache_usage).unwrap_or_else(from_caches),
    ]
}

/// Everything below the root, and the sum at the end; empty if the daemon does not tell it.
pub fn everything(usage: &DiskUsage) -> Vec<(&'static str, i64)> {
    let (Some(logs), Some(store), Some(total)) = (&usage.log_usage, &usage.store_usage, usage.total_size) else {
        return Vec::new();
    };
    let mut parts: Vec<(&str, i64)> = of_docker(usage).into_iter().map(|part| (part.kind, part.size)).collect();
    parts.extend([
        ("Logs", logs.total_size),
        ("Store: database", store.database),
        ("Store: recipes of layers", store.recipes),
        ("Store: configurations, copies as received", store.blobs),
        ("Store: coming in", store.incoming),
        ("Store: going out", store.outgoing),
        ("Store: other", store.other),
        ("Total", total),
    ]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::{LogsDiskUsage, StoreDiskUsage, VolumeUsageData, VolumesDiskUsage};

    #[test]
    fn lists_give_the_sums_that_old_daemons_do_not_tell() {
        let image =
            |containers, size, shared_size| ImageSummary { containers, size, shared_size, ..ImageSummary::default() };
        let container =
            |state: &str, size_rw| ContainerSummary { state: state.into(), size_rw, ..ContainerSummary::default() };
        let volume =
            |ref_count, size| Volume { usage_data: Some(VolumeUsageData { ref_count, size }), ..Volume::default() };
        let usage = DiskUsage {
            layers_size: Some(100),
            images: Some(vec![image(1, 70, 20), image(0, 50, 20)]),
            containers: Some(vec![container("running", 4), container("exited", 6)]),
            volumes: Some(vec![volume(1, 7), volume(0, 5), volume(0, -1)]),
            ..DiskUsage::default()
        };
        let rows = of_docker(&usage).map(|p| (p.total, p.active, p.size, p.reclaimable()));
        let row = |total, active, size, free: &str| (total, active, size, free.to_owned());
        assert_eq!(
            rows,
            [row(2, 1, 100, "50B (50%)"), row(2, 1, 10, "6B (60%)"), row(3, 1, 12, "5B (41%)"), row(0, 0, 0, "0B")]
        );
        assert_eq!(everything(&usage), []);
    }

    #[test]
    fn sums_that_are_told_win_and_all_parts_are_listed() {
        let told = VolumesDiskUsage { total_count: 9, active_count: 8, total_size: 7, reclaimable: 6, items: None };
        let usage = DiskUsage {
            volume_usage: Some(told),
            log_usage: Some(LogsDiskUsage { total_size: 3, ..LogsDiskUsage::default() }),
            store_usage: Some(StoreDiskUsage { total_size: 5, database: 4, other: 1, ..StoreDiskUsage::default() }),
            total_size: Some(15),
            ..DiskUsage::default()
        };
        let [_, _, volumes, _] = of_docker(&usage);
        assert_eq!((volumes.total, volumes.active, volumes.size, volumes.free), (9, 8, 7, 6));
        let all = everything(&usage);
        assert_eq!(all.last(), Some(&("Total", 15)));
        assert_eq!(all[..all.len() - 1].iter().map(|(_, bytes)| bytes).sum::<i64>(), 15);
    }
}
