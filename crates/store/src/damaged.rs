//! Layers that a check found damaged and could not mend: the next load brings them anew instead of passing them over.
//!
//! Written down, so that it also counts for a daemon that starts after the check. A mark that stayed by a crash costs
//! an unpacking; a layer without its mark would stay damaged.

use crate::{Store, lock_anyway};
use dhow_types::Digest;

impl Store {
    /// Reads the marks at start. Without them everything works but the mending by a load.
    pub(crate) fn read_damaged(&self) {
        *lock_anyway(&self.inner.damaged) = self.inner.db.damaged_layers().unwrap_or_default().into_iter().collect();
    }

    /// Whether a check has found this layer damaged.
    pub(crate) fn is_damaged(&self, layer: &Digest) -> bool {
        lock_anyway(&self.inner.damaged).contains(layer)
    }

    /// How many layers are known to be damaged.
    pub fn damaged_layers(&self) -> usize {
        lock_anyway(&self.inner.damaged).len()
    }

    /// It is damaged, and nothing here can mend it. That it can't be written down (a full disk) leaves the mark in
    /// memory.
    pub(crate) fn mark_damaged(&self, layer: &Digest) {
        if lock_anyway(&self.inner.damaged).insert(*layer) {
            let _ = self.inner.db.set_damaged(layer, true);
        }
    }

    /// It is whole, made anew, or gone.
    pub(crate) fn unmark_damaged(&self, layer: &Digest) {
        if lock_anyway(&self.inner.damaged).remove(layer) {
            let _ = self.inner.db.set_damaged(layer, false);
        }
    }
}
