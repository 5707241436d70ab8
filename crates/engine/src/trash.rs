//! Directories that are to go, removed in the background one after the other.
//!
//! A directory is first renamed, so that its name is free at once, and so that a crash leaves something that
//! start-up recognises.

use dhow_types::{Context, Result};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// What a renamed directory's name starts with.
pub(crate) const PREFIX: &str = "gone-";
/// Directories that may wait; beyond that the caller removes them itself.
const MAX_WAITING: usize = 1024;

/// The background remover.
#[derive(Clone, Debug)]
pub(crate) struct Trash {
    queue: mpsc::Sender<PathBuf>,
}

impl Trash {
    /// Starts it on the current runtime; it ends with its last handle.
    pub(crate) fn start() -> Self {
        let (queue, mut waiting) = mpsc::channel::<PathBuf>(MAX_WAITING);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let mut batch = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    batch.push(next);
                }
                let done = tokio::task::spawn_blocking(move || batch.iter().for_each(|path| remove(path)));
                if let Err(e) = done.await {
                    tracing::warn!("background removal: {e}");
                }
            }
        });
        Self { queue }
    }

    /// Renames `path` within its directory and removes it later. A path that is not there is fine.
    pub(crate) fn discard(&self, path: &Path) -> Result<()> {
        self.discard_or(path, |path| self.remove_later(path.to_owned()))
    }

    /// The same for a path that somebody may want again at once: where it can't be renamed it is gone on return, which
    /// may take long.
    pub(crate) fn discard_now(&self, path: &Path) -> Result<()> {
        self.discard_or(path, remove)
    }

    fn discard_or(&self, path: &Path, full: impl FnOnce(&Path)) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
            return Ok(());
        };
        let gone = parent.join(format!("{PREFIX}{name}"));
        match std::fs::rename(path, &gone) {
            Ok(()) => self.remove_later(gone),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            // A longer name may need a block that a full disk does not have: then it is removed where it is. Nobody finds
            // it any more, and a start clears what nobody owns.
            Err(e) if matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                full(path);
            }
            Err(e) => return Err(e).with_context(|| format!("remove {}", path.display())),
        }
        Ok(())
    }

    /// Removes a path that was renamed before.
    pub(crate) fn remove_later(&self, gone: PathBuf) {
        if let Err(e) = self.queue.try_send(gone) {
            remove(&e.into_inner());
        }
    }
}

fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => tracing::warn!("remove {}: {e}", path.display()),
        _ => {}
    }
}
