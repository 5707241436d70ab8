//! Disk usage and prunes as adapters see them. All sizes are bytes of allocated blocks, as `du` counts them.

use crate::view::{ImageRemoved, ImageView, Summary};
use dhow_store::usage::OwnUsage;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Everything below the root: the parts make up the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskView {
    /// Images, each with all of its layers.
    pub images: Vec<ImageDisk>,
    /// Layers, each once.
    pub layers: u64,
    /// Layers that would go if all images that no container uses went.
    pub layers_reclaimable: u64,
    /// Containers.
    pub containers: Vec<ContainerDisk>,
    /// Volumes.
    pub volumes: Vec<VolumeDisk>,
    /// The store's own.
    pub own: OwnUsage,
    /// What `du -s` of the root says.
    pub total: u64,
    /// Directories that could not be counted: far too deep, or of another file system.
    pub left_out: u64,
    /// Size of the root's file system.
    pub disk: u64,
    /// Free on it.
    pub free: u64,
    /// The most that the root may use, if that is bounded.
    pub budget: Option<u64>,
}

/// An image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDisk {
    /// The image.
    pub view: ImageView,
    /// Its layers.
    pub size: u64,
    /// Those of them that other images have, too.
    pub shared: u64,
}

/// A container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerDisk {
    /// The container.
    pub view: Summary,
    /// Its writable layer and small files.
    pub files: u64,
    /// Its logs.
    pub logs: u64,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeDisk {
    /// Its name.
    pub name: String,
    /// Nobody gave it its name.
    pub anonymous: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its content lies.
    pub mountpoint: String,
    /// What it takes.
    pub size: u64,
    /// Containers that use it.
    pub uses: usize,
}

/// What a prune did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruned {
    /// Names and images that are gone, for images only.
    pub images: Vec<ImageRemoved>,
    /// The things, in the order in which they went.
    pub items: Vec<PrunedItem>,
    /// What they gave back.
    pub reclaimed: u64,
}

/// One thing that went.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunedItem {
    /// Its id, or a volume's name.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// What it gave back.
    pub size: u64,
    /// When it was last used, if that is known.
    pub last_used: Option<Timestamp>,
}
