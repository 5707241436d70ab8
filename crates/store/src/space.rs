//! Space that is promised before it is written, so that a write which can't finish is not begun, and so that two
//! of them never count on the same bytes.
//!
//! A promise shrinks as its bytes arrive on disk: what is written is no longer promised, and no longer free.
//! What may be thrown away to make room is decided by a [`Steward`], never here.

use crate::lock_anyway;
use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::fs::fstatvfs;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Space of the file system that is never used up, unless it is small: then 1/64 of it.
const RESERVE: u64 = 256 << 20;
/// How much a write that outgrows its promise asks for at once.
const AHEAD: u64 = 64 << 20;
/// How often room is made for one promise before it is refused.
const ROUNDS: usize = 3;

/// Who knows how much the store may use, and what may go.
pub trait Steward: Send + Sync {
    /// Bytes that may be added under the budget; `None` if there is no budget. With `exact` everything is measured
    /// anew, else a recent figure is enough.
    fn room(&self, exact: bool) -> Result<Option<u64>>;
    /// Removes what nobody uses, as much as is needed to give back `bytes`, and returns when they are given back.
    fn make_room(&self, bytes: u64) -> Result<()>;
}

/// The space of one store.
pub(crate) struct Space {
    root: File,
    path: PathBuf,
    promises: Mutex<Vec<Weak<Promise>>>,
    steward: OnceLock<Box<dyn Steward>>,
}

/// Bytes promised to one write and not yet written.
#[derive(Debug)]
struct Promise {
    outstanding: AtomicU64,
}

/// Space that is kept for one write. Given back when dropped, as far as it was not used.
#[derive(Clone)]
pub struct Reservation {
    space: Arc<Space>,
    promise: Arc<Promise>,
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reservation").field(&self.promise.outstanding).finish()
    }
}

impl PartialEq for Reservation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.promise, &other.promise)
    }
}

impl Eq for Reservation {}

/// What a decision is made from, all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// Free on the file system.
    free: u64,
    /// Of it never used up.
    kept: u64,
    /// Promised to others.
    promised: u64,
    /// May be added under the budget.
    room: Option<u64>,
}

impl Look {
    /// How much is missing for `bytes`; the second value says that it is the budget that lacks it.
    fn short(&self, bytes: u64) -> (u64, bool) {
        let on_disk = bytes.saturating_sub(self.free.saturating_sub(self.kept).saturating_sub(self.promised));
        let in_budget = self.room.map_or(0, |room| bytes.saturating_sub(room.saturating_sub(self.promised)));
        (on_disk.max(in_budget), in_budget > on_disk)
    }
}

impl Space {
    pub(crate) fn open(root: &Path) -> Result<Arc<Self>> {
        let file = File::open(root).with_context(|| format!("open {}", root.display()))?;
        Ok(Arc::new(Self { root: file, path: root.to_owned(), promises: Mutex::default(), steward: OnceLock::new() }))
    }

    /// Free bytes and those of them that are never used up.
    fn free(&self) -> Result<(u64, u64)> {
        free(self.root.as_fd())
    }

    /// Promised to all but `me`.
    fn promised(promises: &mut Vec<Weak<Promise>>, me: Option<&Arc<Promise>>) -> u64 {
        promises.retain(|p| p.strong_count() > 0);
        promises
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|p| me.is_none_or(|me| !Arc::ptr_eq(p, me)))
            .map(|p| p.outstanding.load(Ordering::Relaxed))
            .sum()
    }

    /// Adds `bytes` to what `promise` has, or says why that can't be.
    fn acquire(&self, promise: &Arc<Promise>, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let steward = self.steward.get();
        for round in 0.. {
            let room = steward.map_or(Ok(None), |s| s.room(round > 0))?;
            let mut promises = lock_anyway(&self.promises);
            let (free, kept) = self.free()?;
            let look = Look { free, kept, promised: Self::promised(&mut promises, None), room };
            let (short, budget) = look.short(bytes);
            if short == 0 {
                promise.outstanding.fetch_add(bytes, Ordering::Relaxed);
                if !promises.iter().any(|p| p.as_ptr() == Arc::as_ptr(promise)) {
                    promises.push(Arc::downgrade(promise));
                }
                return Ok(());
            }
            drop(promises);
            // Without a budget nobody has allowed to throw anything away.
            let allowed = steward.filter(|_| room.is_some() && round < ROUNDS);
            let Some(steward) = allowed else { return Err(self.refused(bytes, look, budget)) };
            // A figure that was only recent may be wrong: the first round after it only measures.
            if round > 0 || !budget {
                steward.make_room(short)?;
            }
        }
        Ok(())
    }

    fn refused(&self, bytes: u64, look: Look, budget: bool) -> Error {
        let others = match look.promised {
            0 => String::new(),
            n => format!(", {} of them promised to other writes", size(n)),
        };
        let have = match look.room.filter(|_| budget) {
            Some(room) => format!("the disk budget leaves {}{others}", size(room)),
            None => format!(
                "{} are free on the file system of {}{others}, and {} of it stay free",
                size(look.free),
                self.path.display(),
                size(look.kept)
            ),
        };
        let advice = if budget { "raise disk-budget" } else { "use another --root" };
        Error::new(
            ErrorKind::Exhausted,
            format!(
                "not enough space: {} are needed, {have}: remove images, containers or volumes that are not needed \
                 (system prune -a, volume prune), or {advice}",
                size(bytes)
            ),
        )
    }
}

impl Reservation {
    fn new(space: &Arc<Space>) -> Self {
        Self { space: space.clone(), promise: Arc::new(Promise { outstanding: AtomicU64::new(0) }) }
    }

    /// Makes sure that `bytes` more are promised.
    pub(crate) fn more(&self, bytes: u64) -> Result<()> {
        self.space.acquire(&self.promise, bytes)
    }

    /// So much is being written now. What goes beyond the promise is asked for in large pieces, or as it is if
    /// there is no more room than that.
    pub(crate) fn spend(&self, bytes: u64) -> Result<()> {
        let outstanding = &self.promise.outstanding;
        let take =
            |n: u64| outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |o| o.checked_sub(n)).is_ok();
        if take(bytes) {
            return Ok(());
        }
        self.more(bytes.saturating_add(AHEAD)).or_else(|_| self.more(bytes))?;
        // Another thread of this write may have been quicker; the look at the disk comes anyway.
        if !take(bytes) {
            outstanding.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Bytes promised to other writes.
    pub(crate) fn promised_to_others(&self) -> u64 {
        Space::promised(&mut lock_anyway(&self.space.promises), Some(&self.promise))
    }
}

impl crate::Store {
    /// Keeps space for a write of `bytes`, or refuses it at once: `Exhausted`, with what is needed, what there is and
    /// what to do. Under a disk budget what nobody uses is removed first. The reservation is given to the write as
    /// `Limits::within`, and what was not used of it is given back when it is dropped.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        let reservation = Reservation::new(&self.inner.space);
        reservation.more(bytes)?;
        Ok(reservation)
    }

    /// Says who decides about the budget. The first one stays.
    pub fn set_steward(&self, steward: Box<dyn Steward>) {
        let _ = self.inner.space.steward.set(steward);
    }

    /// Bytes promised to writes that run.
    pub fn promised(&self) -> u64 {
        Space::promised(&mut lock_anyway(&self.inner.space.promises), None)
    }

    /// Size of the file system that holds the root, and what is free on it for everybody.
    pub fn disk(&self) -> Result<(u64, u64)> {
        let fs = fstatvfs(&self.inner.space.root).map_err(std::io::Error::from).context("look at the file system")?;
        Ok((fs.f_blocks.saturating_mul(fs.f_frsize), fs.f_bavail.saturating_mul(fs.f_frsize)))
    }

    /// Bytes that are free on the file system, without what stays free and what is promised to writes that run.
    pub(crate) fn unpromised(&self) -> Result<u64> {
        let (free, kept) = free(self.inner.space.root.as_fd())?;
        Ok(free.saturating_sub(kept).saturating_sub(self.promised()))
    }

    /// Layers that must stay although no image may have them: a load that runs counts on them.
    pub fn leased(&self) -> Vec<dhow_types::Digest> {
        self.publishing().all()
    }
}

/// Free bytes of the file system of `fs`, and those of them that are never used up.
pub(crate) fn free(fs: std::os::fd::BorrowedFd<'_>) -> Result<(u64, u64)> {
    let fs = fstatvfs(fs).map_err(std::io::Error::from).context("look at the file system")?;
    let kept = RESERVE.min(fs.f_blocks.saturating_mul(fs.f_frsize) / 64);
    Ok((fs.f_bavail.saturating_mul(fs.f_frsize), kept))
}

/// Bytes for people: three digits are enough.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig};

    #[test]
    fn what_is_missing() {
        let look = |free, kept, promised, room| Look { free, kept, promised, room };
        for (look, bytes, want) in [
            (look(100, 10, 0, None), 90, (0, false)),
            (look(100, 10, 0, None), 91, (1, false)),
            (look(100, 10, 50, None), 41, (1, false)),
            (look(5, 10, 0, None), 1, (1, false)),
            (look(100, 10, 0, Some(20)), 30, (10, true)),
            (look(100, 10, 15, Some(20)), 30, (25, true)),
            // Both lack: the larger lack counts.
            (look(100, 90, 0, Some(25)), 30, (20, false)),
            (look(100, 10, 0, Some(1000)), 90, (0, false)),
        ] {
            assert_eq!(look.short(bytes), want, "{look:?} {bytes}");
        }
    }

    #[test]
    fn the_same_bytes_are_not_promised_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
        let (_, free) = store.disk().unwrap();
        let most = free - free / 4;
        let first = store.reserve(most).unwrap();
        let refused = store.reserve(most).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Exhausted);
        assert!(refused.text().contains("promised to other writes") && refused.text().contains("another --root"));
        // What was written counts against the disk, no longer against the promise.
        first.spend(most / 2).unwrap();
        assert_eq!(store.promised(), most - most / 2);
        let twin = first.clone();
        drop(first);
        assert_eq!(store.promised(), most - most / 2);
        drop(twin);
        assert_eq!(store.promised(), 0);
        store.reserve(most).unwrap();
    }

    struct Strict(Mutex<(u64, Vec<u64>)>);

    impl Steward for Arc<Strict> {
        fn room(&self, _: bool) -> Result<Option<u64>> {
            Ok(Some(self.0.lock().unwrap().0))
        }
        fn make_room(&self, bytes: u64) -> Result<()> {
            let mut at = self.0.lock().unwrap();
            at.1.push(bytes);
            at.0 += bytes.min(500);
            Ok(())
        }
    }

    #[test]
    fn room_is_made_under_a_budget_and_no_more_than_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
        let steward = Arc::new(Strict(Mutex::new((1000, Vec::new()))));
        store.set_steward(Box::new(steward.clone()));
        let first = store.reserve(1000).unwrap();
        assert!(steward.0.lock().unwrap().1.is_empty());
        let _second = store.reserve(300).unwrap();
        assert_eq!(steward.0.lock().unwrap().1, [300]);
        drop(first);
        let refused = store.reserve(1_000_000).unwrap_err();
        assert!(refused.text().contains("the disk budget leaves") && refused.text().contains("raise disk-budget"));
        assert_eq!(store.promised(), 300);
    }

    #[test]
    fn a_write_that_outgrows_its_promise_asks_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
        let steward = Arc::new(Strict(Mutex::new((100, Vec::new()))));
        store.set_steward(Box::new(steward));
        let r = store.reserve(100).unwrap();
        r.spend(100).unwrap();
        assert_eq!(store.promised(), 0);
        r.spend(10).unwrap();
        assert!(r.spend(1 << 40).is_err());
    }
}
