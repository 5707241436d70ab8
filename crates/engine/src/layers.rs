//! The directories that a container's root is made of.

use crate::core::Core;
use crate::record::{Record, Root};
use dhow_types::Result;
use std::path::PathBuf;

/// The layers of a container's root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// What the container wrote; none if it writes through, to the directory that it runs.
    pub(crate) upper: Option<PathBuf>,
    /// What it found, top first.
    pub(crate) lower: Vec<PathBuf>,
}

impl Layers {
    /// Those of a container.
    pub(crate) fn of(core: &Core, record: &Record) -> Result<Self> {
        let mut lower = match &record.root {
            Root::Image { id, .. } => {
                let image = core.store.image(id);
                image.map_err(|e| e.prefixed(format!("image of container {}", record.name)))?.layer_dirs.clone()
            }
            Root::Overlay { path, .. } | Root::Dir { path } => vec![path.clone()],
        };
        // Below a directory of the machine there is nothing to add: it may be one that holds this one.
        if matches!(record.root, Root::Image { .. }) && lower.len() < dhow_types::image::MAX_LAYERS {
            lower.push(core.dirs.mountpoints());
        }
        Ok(Self { upper: record.root.data().map(|data| data.join("upper")), lower })
    }

    /// All of them, top first.
    pub(crate) fn all(&self) -> Vec<&PathBuf> {
        self.upper.iter().chain(&self.lower).collect()
    }
}
