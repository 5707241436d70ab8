//! Removal of trees that nobody waits for: they are renamed away at once and deleted on a thread.
//!
//! A crash loses nothing: what still lies in `trash/` is deleted when the store is opened next.

use crate::{Paths, lock_anyway};
use dhow_types::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long emptying stands back behind something that is being made, for one tree: about what a large image takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The waste basket of a store.
pub(crate) struct Trash {
    dir: PathBuf,
    next: AtomicU64,
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    state: Mutex<State>,
    /// Something in it changed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// A thread is emptying the directory.
    running: bool,
    /// It must look again.
    again: bool,
    /// How many things are being made, behind which it stands back.
    making: usize,
    /// How many wait for its end, so that it may not stand back.
    awaited: usize,
}

impl Pending {
    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut lock_anyway(&self.state));
        self.changed.notify_all();
    }

    /// Waits until nothing is being deleted. False if nothing was.
    fn wait(&self) -> bool {
        self.change(|s| s.awaited += 1);
        let mut state = lock_anyway(&self.state);
        let waits = state.running;
        while state.running {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.awaited -= 1;
        waits
    }

    /// Returns when the next tree may be deleted.
    fn stand_back(&self) {
        let state = lock_anyway(&self.state);
        let busy = |s: &mut State| s.making > 0 && s.awaited == 0;
        drop(self.changed.wait_timeout_while(state, PATIENCE, busy));
    }
}

/// Something is being made: for as long as this is held, deleting leaves it the processor and the disk.
pub(crate) struct Making(Arc<Pending>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.change(|s| s.making -= 1);
    }
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
            // The trash may need a block more for the name, which a full disk does not have. A file vanishes at once,
            // too, when it is deleted, and gives back its own blocks.
            Err(e) if is_full(&e) && std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_dir()) => {
                std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))
            }
            Err(e) => Err(e).with_context(|| format!("move {} to the trash", path.display())),
        }
    }

    /// Asks to be left the processor and the disk.
    pub(crate) fn making(&self) -> Making {
        self.pending.change(|s| s.making += 1);
        Making(Arc::clone(&self.pending))
    }

    /// Starts a thread that deletes what is there, unless one is at it.
    fn empty(&self) {
        let mut state = lock_anyway(&self.pending.state);
        state.again = true;
        if state.running {
            return;
        }
        let (dir, pending) = (self.dir.clone(), Arc::clone(&self.pending));
        let spawned = std::thread::Builder::new().name("dhow-trash".into()).spawn(move || {
            loop {
                {
                    let mut state = lock_anyway(&pending.state);
                    if !std::mem::take(&mut state.again) {
                        state.running = false;
                        pending.changed.notify_all();
                        return;
                    }
                }
                delete_all_in(&dir, &pending);
            }
        });
        // Without a thread the waste waits for the next removal or the next start.
        state.running = spawned.is_ok();
    }

    /// Waits until nothing is being deleted.
    pub(crate) fn wait(&self) {
        self.pending.wait();
    }

    /// For those who need the room of what is being deleted.
    pub(crate) fn room(&self) -> Room {
        Room(Arc::clone(&self.pending))
    }
}

/// The room that is given back.
pub(crate) struct Room(Arc<Pending>);

impl Room {
    /// Waits until nothing is being deleted. False if nothing was.
    pub(crate) fn wait(&self) -> bool {
        self.0.wait()
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        // The lock on the root goes after this: nobody deletes in a root that another process owns.
        self.wait();
    }
}

fn is_full(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Deletes as much as can be deleted; what cannot stays for the next time. `remove_dir_all` works by
/// descriptors and does not follow links, and trees here are at most [`crate::Limits::depth`] deep.
fn delete_all_in(dir: &Path, pending: &Pending) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        pending.stand_back();
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

    #[test]
    fn it_stands_back_behind_what_is_made_unless_somebody_waits() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        std::fs::create_dir_all(root.path().join("trash")).unwrap();
        let trash = Trash::open(&paths).unwrap();
        let left = || std::fs::read_dir(root.path().join("trash")).unwrap().count();
        let making = trash.making();
        std::fs::create_dir(root.path().join("a")).unwrap();
        trash.put(&root.path().join("a")).unwrap();
        assert_eq!(left(), 1);
        // Whoever needs the room does not wait for the end of what is made.
        trash.wait();
        assert_eq!(left(), 0);
        drop(making);
        assert_eq!(lock_anyway(&trash.pending.state).making, 0);
    }
}
