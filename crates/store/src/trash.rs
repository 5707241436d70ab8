//! Removal of trees that nobody waits for: they are renamed away at once and deleted on a thread.
//!
//! A crash loses nothing: what still lies in `trash/` is deleted when the store is opened next.

use crate::Paths;
use dhow_types::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// The waste basket of a store.
pub(crate) struct Trash {
    dir: PathBuf,
    next: AtomicU64,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    /// Whether a thread is emptying the directory, and whether it must look again.
    state: Mutex<(bool, bool)>,
    idle: Condvar,
}

impl Trash {
    pub(crate) fn open(paths: &Paths) -> Result<Self> {
        let dir = paths.dir("trash");
        // Numbers start above what an earlier run left.
        let mut next = 0;
        let mut waste = false;
        for entry in std::fs::read_dir(&dir).context("read the trash")? {
            let name = entry.context("read the trash")?.file_name();
            next = next.max(name.to_str().and_then(|n| n.parse::<u64>().ok()).map_or(0, |n| n + 1));
            waste = true;
        }
        let trash = Self { dir, next: AtomicU64::new(next), pending: Arc::default() };
        if waste {
            trash.empty();
        }
        Ok(trash)
    }

    /// Takes the file or tree at `path` out of sight. Not an error if there is none.
    pub(crate) fn put(&self, path: &Path) -> Result<()> {
        let to = self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match std::fs::rename(path, &to) {
            Ok(()) => {
                self.empty();
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).with_context(|| format!("move {} to the trash", path.display())),
        }
    }

    /// Starts a thread that deletes what is there, unless one is at it.
    fn empty(&self) {
        let mut state = crate::lock_anyway(&self.pending.state);
        state.1 = true;
        if state.0 {
            return;
        }
        let (dir, pending) = (self.dir.clone(), Arc::clone(&self.pending));
        let spawned = std::thread::Builder::new().name("dhow-trash".into()).spawn(move || {
            loop {
                {
                    let mut state = crate::lock_anyway(&pending.state);
                    if !std::mem::take(&mut state.1) {
                        state.0 = false;
                        pending.idle.notify_all();
                        return;
                    }
                }
                delete_all_in(&dir);
            }
        });
        // Without a thread the waste waits for the next removal or the next start.
        state.0 = spawned.is_ok();
    }

    /// Waits until nothing is being deleted.
    pub(crate) fn wait(&self) {
        let mut state = crate::lock_anyway(&self.pending.state);
        while state.0 {
            state = self.pending.idle.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        // The lock on the root goes after this: nobody deletes in a root that another process owns.
        self.wait();
    }
}

/// Deletes as much as can be deleted; what cannot stays for the next time. `remove_dir_all` works by
/// descriptors and does not follow links, and trees here are at most [`crate::Limits::depth`] deep.
fn delete_all_in(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(t) if t.is_dir() => drop(std::fs::remove_dir_all(&path)),
            _ => drop(std::fs::remove_file(&path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_vanishes_and_old_waste_too() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        std::fs::create_dir_all(root.path().join("trash/7/deep/er")).unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("f"), "x").unwrap();
        let trash = Trash::open(&paths).unwrap();
        trash.put(&root.path().join("a")).unwrap();
        trash.put(&root.path().join("f")).unwrap();
        trash.put(&root.path().join("absent")).unwrap();
        assert!(!root.path().join("a").exists() && !root.path().join("f").exists());
        trash.wait();
        assert_eq!(std::fs::read_dir(root.path().join("trash")).unwrap().count(), 0);
    }
}
