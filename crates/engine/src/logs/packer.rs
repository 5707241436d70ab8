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
//! first; the packer who finds it gone removes his own.

use super::segment::{packed, plain};
use super::{packed as format, segments};
use crate::core::{Core, blocking};
use crate::plan::log_store::is_packed;
use dhow_types::{ContainerId, Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The least claim on the processor.
const NICE: i32 = 19;

/// Who waits for being packed.
#[derive(Debug, Default)]
pub(crate) struct Packer(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    dirs: BTreeSet<PathBuf>,
    working: bool,
}

/// Packs what is full in the log of a container, soon.
pub(crate) fn pack_soon(core: &Arc<Core>, id: &ContainerId) {
    let config = core.registry().find(id.as_str()).map(|c| c.shared().record.host.log_config.clone());
    if !config.is_ok_and(|config| is_packed(&config)) {
        return;
    }
    let mut waiting = core.packer.0.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.dirs.insert(core.dirs.segments(id));
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
    let dir = core.dirs.segments(id);
    if blocking(move || Ok(!full(&dir)?.is_empty())).await.unwrap_or(false) {
        pack_soon(core, id);
    }
}

fn work(packer: &Packer) {
    loop {
        let dir = {
            let mut waiting = packer.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(dir) = waiting.dirs.pop_first() else {
                waiting.working = false;
                return;
            };
            dir
        };
        if let Err(e) = pack_all(&dir) {
            // It stays as it is, and is packed after the next one.
            tracing::warn!("pack the log {}: {e}", dir.display());
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

/// Packs all segments in `dir` that are full.
pub(super) fn pack_all(dir: &Path) -> Result<()> {
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
    let (from, to) = (plain(dir, number), packed(dir, number));
    let temp = dir.join(format!("{number:08}.seg.zst.tmp"));
    let what = || format!("pack {}", from.display());
    let gone = |e: &dhow_types::Error| !from.exists() && matches!(e.kind(), dhow_types::ErrorKind::NotFound);
    if let Err(e) = format::pack(&from, &temp) {
        let _ = std::fs::remove_file(&temp);
        return if gone(&e) { Ok(()) } else { Err(e).with_context(what) };
    }
    let done = || -> std::io::Result<()> {
        std::fs::rename(&temp, &to)?;
        std::fs::File::open(dir)?.sync_all()?;
        match std::fs::remove_file(&from) {
            // Turned out meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::remove_file(&to),
            other => other,
        }
    };
    match done() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(what),
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
}
