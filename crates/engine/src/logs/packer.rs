//! Packs the segments that shims have filled, one at a time for all containers, on a thread that has the least claim on
//! the processor and is there only while there is work.
//!
//! It is done by the daemon, not by the shim: a shim stays as small as it is, however many containers write there is one
//! packer, and where no daemon runs the segments wait as they are. Their number is bounded by the shim all the same, and
//! by the size of their text, so a log never takes more than that.
//!
//! ```text
//!   N.seg ──► N.seg.zst.tmp, synced ──► N.seg.zst (renamed, synced) ──► N.seg removed       killed anywhere: both or one
//! ```
//!
//! Where both are there, N.seg is the one that counts, and is packed again. A shim that turns the oldest out removes N.seg
//! first; the packer who finds it gone removes his own. A log that was emptied begins with the same numbers again: under
//! the lock of the directory, it is looked whether N.seg is still the file that was packed.

use super::segment::{packed, plain};
use super::{json, lock, packed as format, segments};
use crate::core::{Core, blocking};
use crate::plan::log_store::{Store, is_packed};
use dhow_types::{ContainerId, Context, Result};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// At the end of the name of a segment that is being packed.
const UNFINISHED: &str = ".seg.zst.tmp";
/// The least claim on the processor.
const NICE: i32 = 19;

/// Who waits for being packed.
#[derive(Debug, Default)]
pub(crate) struct Packer(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    logs: BTreeSet<Full>,
    working: bool,
}

/// A log of which something is full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Full {
    /// The directory of its segments.
    Segments(PathBuf),
    /// The newest of Docker's files.
    Json(PathBuf),
}

/// The log of a container, if it is one that is packed.
fn log(core: &Core, id: &ContainerId) -> Option<Full> {
    let container = core.registry().find(id.as_str()).ok()?;
    let shared = container.shared();
    let record = &shared.record;
    is_packed(&record.host.log_config, record.log_store).then(|| match record.log_store {
        Store::Segments { .. } => Full::Segments(core.dirs.segments(id)),
        Store::JsonFile => Full::Json(core.dirs.log(id)),
    })
}

/// Packs what is full in the log of a container, soon.
pub(crate) fn pack_soon(core: &Arc<Core>, id: &ContainerId) {
    let Some(log) = log(core, id) else { return };
    let mut waiting = core.packer.0.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.logs.insert(log);
    if waiting.working {
        return;
    }
    let owned = core.clone();
    let spawned = std::thread::Builder::new().name("dhow-packer".into()).spawn(move || {
        // Linux knows a priority for each thread.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        work(&owned.packer);
        drop(owned);
        dhow_shim::release_memory();
    });
    match spawned {
        Ok(_) => waiting.working = true,
        // The next segment that is full asks again.
        Err(e) => tracing::debug!("pack logs: {e}"),
    }
}

/// After a start of the daemon: what was filled while there was none.
pub(crate) async fn look(core: &Arc<Core>, id: &ContainerId) {
    let Some(log) = log(core, id) else { return };
    let due = blocking(move || match log {
        Full::Segments(dir) => Ok(!full(&dir)?.is_empty() || !unfinished(&dir).is_empty()),
        Full::Json(path) => json::pack::is_due(&path),
    });
    if due.await.unwrap_or(false) {
        pack_soon(core, id);
    }
}

fn work(packer: &Packer) {
    loop {
        let log = {
            let mut waiting = packer.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(log) = waiting.logs.pop_first() else {
                waiting.working = false;
                return;
            };
            log
        };
        let (path, done) = match &log {
            Full::Segments(dir) => (dir, pack_all(dir)),
            Full::Json(path) => (path, json::pack::pack_all(path)),
        };
        if let Err(e) = done {
            // It stays as it is, and is packed after the next one.
            tracing::warn!("pack the log {}: {e}", path.display());
        }
    }
}

/// Segments that nobody writes to any more: all plain ones but the newest.
fn full(dir: &Path) -> Result<Vec<u32>> {
    let mut numbers = segments::numbers(dir)?;
    numbers.pop();
    numbers.retain(|number| plain(dir, *number).exists());
    Ok(numbers)
}

/// What a packer that was killed has left.
fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.to_str().is_some_and(|p| p.ends_with(UNFINISHED))).collect()
}

/// Packs all segments in `dir` that are full.
pub(super) fn pack_all(dir: &Path) -> Result<()> {
    // There is one packer, and it packs nothing now.
    for path in unfinished(dir) {
        let _ = std::fs::remove_file(path);
    }
    let mut first = None;
    for number in full(dir)? {
        // One that can't be packed is no reason to leave the others.
        if let Err(e) = pack_one(dir, number) {
            first.get_or_insert(e);
        }
    }
    first.map_or(Ok(()), Err)
}

fn pack_one(dir: &Path, number: u32) -> Result<()> {
    let from = plain(dir, number);
    let temp = dir.join(format!("{number:08}{UNFINISHED}"));
    let what = || format!("pack {}", from.display());
    let done = format::pack(&from, &temp).and_then(|source| finish(dir, number, &source, &temp));
    if done.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    match done {
        // Turned out meanwhile, or the whole container went.
        Err(e) if e.kind() == dhow_types::ErrorKind::NotFound && !from.exists() => Ok(()),
        other => other.with_context(what),
    }
}

/// Puts the packed form of `source` in its place, if it is still there.
fn finish(dir: &Path, number: u32, source: &File, temp: &Path) -> Result<()> {
    let (from, to) = (plain(dir, number), packed(dir, number));
    let _lock = lock::exclusive(dir)?;
    let meta = source.metadata()?;
    // The number of its inode is not given to another file while it is open.
    let same = std::fs::symlink_metadata(&from).is_ok_and(|at| (at.dev(), at.ino()) == (meta.dev(), meta.ino()));
    if !same {
        std::fs::remove_file(temp)?;
        return Ok(());
    }
    std::fs::rename(temp, &to)?;
    File::open(dir)?.sync_all()?;
    match std::fs::remove_file(&from) {
        // Turned out meanwhile.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(std::fs::remove_file(&to)?),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_head_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::write(plain(dir, 1), [7; 100]).unwrap();
        std::fs::write(plain(dir, 2), []).unwrap();
        let e = pack_all(dir).unwrap_err();
        assert!(e.text().contains("head is damaged"), "{e}");
        assert_eq!(std::fs::read(plain(dir, 1)).unwrap(), [7; 100]);
        assert!(!packed(dir, 1).exists());
    }

    /// As if a log had been emptied while its first segment was packed, and a new start had made another of that number.
    #[test]
    fn another_segment_of_the_same_number_is_not_taken_for_the_packed_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let head = dhow_types::segment::Head { key: 5, time: 7 }.encode();
        std::fs::write(plain(dir, 1), head).unwrap();
        let temp = dir.join("00000001.seg.zst.tmp");
        let source = format::pack(&plain(dir, 1), &temp).unwrap();
        std::fs::remove_file(plain(dir, 1)).unwrap();
        std::fs::write(plain(dir, 1), "another").unwrap();
        finish(dir, 1, &source, &temp).unwrap();
        assert_eq!(std::fs::read(plain(dir, 1)).unwrap(), b"another");
        assert!(!packed(dir, 1).exists() && !temp.exists());
        // The lawful twin.
        std::fs::write(plain(dir, 2), head).unwrap();
        let source = format::pack(&plain(dir, 2), &temp).unwrap();
        finish(dir, 2, &source, &temp).unwrap();
        assert!(packed(dir, 2).exists() && !plain(dir, 2).exists() && !temp.exists());
    }

    #[test]
    fn what_a_killed_packer_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // Of a segment that is not there any more, and that nobody packs again.
        std::fs::write(dir.join("00000001.seg.zst.tmp"), "half").unwrap();
        std::fs::write(plain(dir, 9), "the newest").unwrap();
        assert_eq!(unfinished(dir).len(), 1);
        pack_all(dir).unwrap();
        assert_eq!(segments::numbers(dir).unwrap(), [9]);
        assert!(unfinished(dir).is_empty());
    }
}
