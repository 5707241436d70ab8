//! Disk usage, prunes, and volumes as far as these show them.

use crate::document::{document, is_zero};
use crate::{ContainerSummary, ImageDeleteItem, ImageSummary};
use std::collections::BTreeMap;

document! {
    /// The answer to `GET /system/df`: before API 1.52 the lists, from 1.52 on a summary of each kind. `LogUsage`,
    /// `StoreUsage` and `TotalSize` are dhow's own: with them the sizes add up to what `du` says of the root.
    pub struct DiskUsage {
        #[serde(skip_serializing_if = "is_zero")]
        image_usage: Option<ImagesDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        container_usage: Option<ContainersDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        volume_usage: Option<VolumesDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        build_cache_usage: Option<BuildCacheDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        log_usage: Option<LogsDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        store_usage: Option<StoreDiskUsage>,
        #[serde(skip_serializing_if = "is_zero")]
        total_size: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        layers_size: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        images: Option<Vec<ImageSummary>>,
        #[serde(skip_serializing_if = "is_zero")]
        containers: Option<Vec<ContainerSummary>>,
        #[serde(skip_serializing_if = "is_zero")]
        volumes: Option<Vec<Volume>>,
        #[serde(skip_serializing_if = "is_zero")]
        build_cache: Option<Vec<BuildCache>>,
    }

    /// Images together.
    pub struct ImagesDiskUsage {
        active_count: i64,
        total_count: i64,
        reclaimable: i64,
        total_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<ImageSummary>>,
    }

    /// Containers together.
    pub struct ContainersDiskUsage {
        active_count: i64,
        total_count: i64,
        reclaimable: i64,
        total_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<ContainerSummary>>,
    }

    /// Volumes together.
    pub struct VolumesDiskUsage {
        active_count: i64,
        total_count: i64,
        reclaimable: i64,
        total_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<Volume>>,
    }

    /// The build cache.
    pub struct BuildCacheDiskUsage {
        active_count: i64,
        total_count: i64,
        reclaimable: i64,
        total_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<BuildCache>>,
    }

    /// Logs of containers together; dhow's own.
    pub struct LogsDiskUsage {
        active_count: i64,
        total_count: i64,
        reclaimable: i64,
        total_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<LogUsage>>,
    }

    /// The log of one container; dhow's own.
    pub struct LogUsage {
        #[serde(rename = "ID")]
        id: String,
        name: String,
        size: i64,
    }

    /// What the store needs for itself; dhow's own.
    pub struct StoreDiskUsage {
        total_size: i64,
        database: i64,
        recipes: i64,
        blobs: i64,
        incoming: i64,
        outgoing: i64,
        other: i64,
        /// Directories that could not be counted.
        left_out: i64,
        /// Size of the file system that holds the root.
        disk_size: i64,
        disk_free: i64,
        #[serde(skip_serializing_if = "is_zero")]
        disk_budget: Option<i64>,
    }

    /// One record of the build cache.
    pub struct BuildCache {
        #[serde(rename = "ID")]
        id: String,
        #[serde(skip_serializing_if = "is_zero")]
        parents: Option<Vec<String>>,
        r#type: String,
        description: String,
        in_use: bool,
        shared: bool,
        size: i64,
        created_at: String,
        #[serde(skip_serializing_if = "is_zero")]
        last_used_at: Option<String>,
        usage_count: i64,
    }

    /// A volume.
    pub struct Volume {
        #[serde(skip_serializing_if = "is_zero")]
        created_at: String,
        driver: String,
        labels: Option<BTreeMap<String, String>>,
        mountpoint: String,
        name: String,
        options: Option<BTreeMap<String, String>>,
        scope: String,
        #[serde(skip_serializing_if = "is_zero")]
        usage_data: Option<VolumeUsageData>,
    }

    /// What a volume takes; only in the answer to `GET /system/df`.
    pub struct VolumeUsageData {
        ref_count: i64,
        size: i64,
    }

    /// The answer to a prune of any kind: each fills in its own list. `Items` and `DryRun` are dhow's own.
    pub struct PruneReport {
        #[serde(skip_serializing_if = "is_zero")]
        images_deleted: Option<Vec<ImageDeleteItem>>,
        #[serde(skip_serializing_if = "is_zero")]
        containers_deleted: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        volumes_deleted: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        networks_deleted: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        caches_deleted: Option<Vec<String>>,
        space_reclaimed: u64,
        #[serde(skip_serializing_if = "is_zero")]
        items: Option<Vec<PrunedItem>>,
        #[serde(skip_serializing_if = "is_zero")]
        dry_run: bool,
    }

    /// One thing that went, or would go; dhow's own.
    pub struct PrunedItem {
        #[serde(rename = "ID")]
        id: String,
        #[serde(skip_serializing_if = "is_zero")]
        names: Vec<String>,
        size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        last_used: String,
    }
}
