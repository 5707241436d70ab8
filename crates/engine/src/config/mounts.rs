//! Mounts in the long form (`--mount`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// `bind`, `volume` or `tmpfs`; others are refused by name.
    pub kind: String,
    /// Path or name of a volume.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Not writable.
    pub read_only: bool,
    /// `default`, `consistent`, `cached`, `delegated`: all the same on Linux.
    pub consistency: String,
    /// Only with `bind`.
    pub bind: Option<BindOptions>,
    /// Only with `volume`.
    pub volume: Option<VolumeOptions>,
    /// Only with `tmpfs`.
    pub tmpfs: Option<TmpfsOptions>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// `rprivate` (default), `private`, `rshared`, `shared`, `rslave`, `slave`.
    pub propagation: String,
    /// Without sub-mounts.
    pub non_recursive: bool,
    /// Make a missing source directory, as `-v` does.
    pub create_mountpoint: bool,
    /// Sub-mounts of a read-only mount stay writable.
    pub read_only_non_recursive: bool,
    /// Fail if sub-mounts can't be made read-only.
    pub read_only_force_recursive: bool,
}

/// Options of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Don't copy the image's content into an empty volume.
    pub no_copy: bool,
    /// Labels of a new volume.
    pub labels: BTreeMap<String, String>,
    /// Empty or `local`.
    pub driver: String,
    /// Refused by name unless empty.
    pub driver_options: BTreeMap<String, String>,
    /// A directory inside the volume. Refused by name unless empty.
    pub subpath: String,
}

/// Options of a tmpfs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// 0 is unlimited.
    pub size_bytes: i64,
    /// Permission bits; 0 is 1777.
    pub mode: u32,
    /// Each one word or a pair.
    pub options: Vec<Vec<String>>,
}
