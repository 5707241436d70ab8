//! Space that is promised before it is written, so that a write which can't finish is not begun, and so that two
//! of them never count on the same bytes.
//!
//! A promise shrinks as its bytes arrive on disk: what is written is no longer promised, and no longer free.
//! What may be thrown away to make room is decided by a [`Steward`], never here.

use crate::lock_anyway;
use crate::trash::Room;
use dhow_types::{Context as _, Digest, Error, ErrorKind, Result};
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
    /// Removes what nobody uses, as much as is needed to give back `bytes`, and returns when they are given back. If so
    /// much can't be given back, nothing goes.
    fn make_room(&self, bytes: u64) -> Result<()>;
    /// Whether something that runs lies on this layer, so that its files must stay as they are.
    fn in_use(&self, _layer: &Digest) -> bool {
        false
    }
}

/// The space of one store.
pub(crate) struct Space {
    root: File,
    path: PathBuf,
    promises: Mutex<Vec<Weak<Promise>>>,
    steward: OnceLock<Box<dyn Steward>>,
    /// What is being deleted.
    waste: Room,
    /// Bytes written so far, ever.
    written: AtomicU64,
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
    pub(crate) fn open(root: &Path, waste: Room) -> Result<Arc<Self>> {
        let file = File::open(root).with_context(|| format!("open {}", root.display()))?;
        Ok(Arc::new(Self {
            root: file,
            path: root.to_owned(),
            promises: Mutex::default(),
            steward: OnceLock::new(),
            waste,
            written: AtomicU64::new(0),
        }))
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

    /// What the steward says of [`Steward::in_use`]; without one nothing runs.
    pub(crate) fn in_use(&self, layer: &Digest) -> bool {
        self.steward.get().is_some_and(|s| s.in_use(layer))
    }

    /// Adds `bytes` to what `promise` has, or says why that can't be.
    fn acquire(&self, promise: &Arc<Promise>, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let steward = self.steward.get();
        let mut round = 0;
        let mut waited = false;
        loop {
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
            // What was removed is given back first, which asks nothing of anybody.
            if !std::mem::replace(&mut waited, true) && self.waste.wait() {
                continue;
            }
            // Without a budget nobody has allowed to throw anything away.
            let allowed = steward.filter(|_| room.is_some() && round < ROUNDS);
            let Some(steward) = allowed else { return Err(self.refused(bytes, look, budget)) };
            // A figure that was only recent may be wrong: the first round after it only measures.
            if round > 0 || !budget {
                steward.make_room(short)?;
            }
            round += 1;
        }
    }

    fn refused(&self, bytes: u64, look: Look, budget: bool) -> Error {
        let others = match look.promised {
            0 => String::new(),
            n => format!(", {} of them promised to writes that run", size(n)),
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
            format!("not enough space: {} are needed, {have}: {ADVICE}, or {advice}", size(bytes)),
        )
    }
}

/// What to do when there is no space.
const ADVICE: &str = "see what takes it with `dhow system df`, free what nobody uses with `dhow system prune -a`";

impl Reservation {
    fn new(space: &Arc<Space>) -> Self {
        Self { space: space.clone(), promise: Arc::new(Promise { outstanding: AtomicU64::new(0) }) }
    }

    /// Makes sure that `bytes` more are promised.
    pub(crate) fn more(&self, bytes: u64) -> Result<()> {
        self.space.acquire(&self.promise, bytes)
    }

    /// The refusal of a write that goes on though only `free` bytes are left, of which `kept` stay free.
    pub(crate) fn used_up(&self, free: u64, kept: u64) -> Error {
        let others = match self.promised_to_others() {
            0 => String::new(),
            n => format!(", {} of them promised to other writes", size(n)),
        };
        Error::new(
            ErrorKind::Exhausted,
            format!(
                "the space is used up: {} are free on the file system of {}{others}, and {} of it stay free: {ADVICE}, \
                 or use another --root",
                size(free),
                self.space.path.display(),
                size(kept)
            ),
        )
    }

    /// So much is being written now. What goes beyond the promise is asked for in large pieces, or as it is if
    /// there is no more room than that.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        self.space.written.fetch_add(bytes, Ordering::Relaxed);
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

    /// Bytes that writes with a reservation have written since the store was opened. What failed or went again counts.
    pub fn written(&self) -> u64 {
        self.inner.space.written.load(Ordering::Relaxed)
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

    /// Whether nothing at all can be written below the root.
    pub fn is_full(&self) -> bool {
        fstatvfs(&self.inner.space.root)
            .is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < FULL || (fs.f_files > 0 && fs.f_favail == 0))
    }

    /// An error of something that was written below the root. Of a full disk, and of one that takes no writes any more,
    /// it says which and what to do; others stay as they are.
    pub fn explained(&self, error: Error) -> Error {
        let read_only = error.kind() == ErrorKind::System && self.is_read_only();
        match fstatvfs(&self.inner.space.root) {
            Ok(fs) => explained(error, self.root(), &fs, read_only),
            Err(_) => error,
        }
    }

    /// Whether the file system of the root takes no writes. Asked by a try, since not every one says so.
    fn is_read_only(&self) -> bool {
        let lock = self.paths().dir(crate::lock::NAME);
        File::options().write(true).open(lock).is_err_and(|e| e.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
    }

    /// Layers that must stay although no image may have them: a load that runs counts on them.
    pub fn leased(&self) -> Vec<dhow_types::Digest> {
        self.inner.held.all().into_iter().collect()
    }
}

/// Free bytes of the file system of `fs`, and those of them that are never used up.
pub(crate) fn free(fs: std::os::fd::BorrowedFd<'_>) -> Result<(u64, u64)> {
    let fs = fstatvfs(fs).map_err(std::io::Error::from).context("look at the file system")?;
    let kept = RESERVE.min(fs.f_blocks.saturating_mul(fs.f_frsize) / 64);
    Ok((fs.f_bavail.saturating_mul(fs.f_frsize), kept))
}

/// With less than this the file system counts as full.
const FULL: u64 = 1 << 20;
/// The kernel's words for a full disk, which do not say which.
const NO_SPACE: &str = "no space left on device";

fn explained(error: Error, root: &Path, fs: &rustix::fs::StatVfs, read_only: bool) -> Error {
    let root = root.display();
    if read_only {
        return error.advised(format_args!(
            "{root} can only be read, as the kernel decides after errors of a disk: `dmesg` says more"
        ));
    }
    if error.kind() != ErrorKind::DiskFull {
        return error;
    }
    let left = match fs.f_favail {
        0 if fs.f_files > 0 => "no more files can be made there".to_owned(),
        _ => {
            let [free, all] = [fs.f_bavail, fs.f_blocks].map(|blocks| size(blocks.saturating_mul(fs.f_frsize)));
            format!("{free} of {all} are free")
        }
    };
    let text = match error.text().rfind(NO_SPACE) {
        Some(at) => {
            let (before, after) = (&error.text()[..at], &error.text()[at + NO_SPACE.len()..]);
            format!("{before}no space left on {root} ({left}){after}: {ADVICE}")
        }
        // A quota.
        None => format!("{} on {root} ({left}): {ADVICE}", error.text()),
    };
    Error::new(ErrorKind::Exhausted, text)
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
    fn a_full_disk_is_named_once() {
        let fs = |free, files, left| rustix::fs::StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: 16384,
            f_bfree: free,
            f_bavail: free,
            f_files: files,
            f_ffree: left,
            f_favail: left,
            f_fsid: 0,
            f_flag: rustix::fs::StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        let full = |text: &str| Error::new(ErrorKind::DiskFull, text);
        let told = |e, fs: &rustix::fs::StatVfs| explained(e, Path::new("/root"), fs, false);
        for (text, fs, want) in [
            (
                "layer x: entry f: no space left on device",
                fs(1, 100, 5),
                "layer x: entry f: no space left on /root (4.1 kB of 67.1 MB are free): see what",
            ),
            (
                "make d: no space left on device",
                fs(900, 100, 0),
                "make d: no space left on /root (no more files can be made there): see what",
            ),
            // As btrfs, which counts no files.
            ("no space left on device", fs(0, 0, 0), "no space left on /root (0 B of 67.1 MB are free): see"),
            (
                "write f: disk quota exceeded",
                fs(900, 100, 5),
                "write f: disk quota exceeded on /root (3.7 MB of 67.1 MB are free): see what",
            ),
        ] {
            let e = told(full(text), &fs);
            assert!(e.text().starts_with(want) && e.text().contains("`dhow system df`"), "{e}");
            assert_eq!((e.kind(), told(e.clone(), &fs)), (ErrorKind::Exhausted, e));
        }
        let other = Error::not_found("No such image: x");
        assert_eq!(told(other.clone(), &fs(0, 1, 0)), other);
        let e = explained(Error::system("write f: read-only file system"), Path::new("/root"), &fs(9, 9, 9), true);
        assert!(
            e.text()
                .ends_with("/root can only be read, as the kernel decides after errors of a disk: `dmesg` says more")
        );
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
        assert!(refused.text().contains("promised to writes that run") && refused.text().contains("another --root"));
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
