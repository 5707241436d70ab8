//! Mounts as asked for (`HostConfig.Mounts`) and as they are (`Mounts` of inspect and list).

use crate::document::{document, is_zero};
use std::collections::BTreeMap;

document! {
    /// A mount as asked for. `type`: bind, volume, tmpfs, image, cluster or npipe.
    pub struct Mount {
        #[serde(skip_serializing_if = "is_zero")]
        r#type: String,
        #[serde(skip_serializing_if = "is_zero")]
        source: String,
        #[serde(skip_serializing_if = "is_zero")]
        target: String,
        #[serde(skip_serializing_if = "is_zero")]
        read_only: bool,
        #[serde(skip_serializing_if = "is_zero")]
        consistency: String,
        #[serde(skip_serializing_if = "is_zero")]
        bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        tmpfs_options: Option<TmpfsOptions>,
        #[serde(skip_serializing_if = "is_zero")]
        cluster_options: Option<ClusterOptions>,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        #[serde(skip_serializing_if = "is_zero")]
        propagation: String,
        #[serde(skip_serializing_if = "is_zero")]
        non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_zero")]
        read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        read_only_force_recursive: bool,
    }

    /// Options of a volume.
    pub struct VolumeOptions {
        #[serde(skip_serializing_if = "is_zero")]
        no_copy: bool,
        #[serde(skip_serializing_if = "is_zero")]
        labels: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        subpath: String,
        #[serde(skip_serializing_if = "is_zero")]
        driver_config: Option<DriverConfig>,
    }

    /// The driver that makes a volume.
    pub struct DriverConfig {
        #[serde(skip_serializing_if = "is_zero")]
        name: String,
        #[serde(skip_serializing_if = "is_zero")]
        options: Option<BTreeMap<String, String>>,
    }

    /// Options of an image mount.
    pub struct ImageOptions {
        #[serde(skip_serializing_if = "is_zero")]
        subpath: String,
    }

    /// Options of a tmpfs.
    pub struct TmpfsOptions {
        #[serde(skip_serializing_if = "is_zero")]
        size_bytes: i64,
        #[serde(skip_serializing_if = "is_zero")]
        mode: u32,
        #[serde(skip_serializing_if = "is_zero")]
        options: Option<Vec<Vec<String>>>,
    }

    /// Options of a cluster volume (none).
    pub struct ClusterOptions {
    }

    /// A mount of a container as it is.
    pub struct MountPoint {
        #[serde(skip_serializing_if = "is_zero")]
        r#type: String,
        #[serde(skip_serializing_if = "is_zero")]
        name: String,
        source: String,
        destination: String,
        #[serde(skip_serializing_if = "is_zero")]
        driver: String,
        mode: String,
        #[serde(rename = "RW")]
        rw: bool,
        propagation: String,
    }
}
