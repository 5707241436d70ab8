//! The files of a container's log, as far as the engine itself changes them: only while no shim writes there.

use super::Container;
use crate::core::{Core, blocking};
use crate::logs::lock;
use crate::view::Status;
use dhow_types::{Context, Error, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Empties the log of a container that does not run. Called by its task, so that no start comes in between.
pub(super) async fn empty(core: &Arc<Core>, me: &Arc<Container>) -> Result<()> {
    let live = {
        let shared = me.shared();
        shared.record.state.status == Status::Running || shared.starting
    };
    if live {
        return Err(Error::conflict(format!("container {} is running", me.id.short())));
    }
    let (path, dir) = (core.dirs.log(&me.id), core.dirs.segments(&me.id));
    blocking(move || truncate(&path).and_then(|()| remove(&dir))).await
}

/// Removes all segments, the oldest first: what a crash leaves is the newest.
fn remove(dir: &Path) -> Result<()> {
    let what = || format!("empty the log {}", dir.display());
    // Nothing is put into the place of what was removed here, and the numbers of segments begin anew.
    let _lock = lock::exclusive(dir)?;
    let mut names = match std::fs::read_dir(dir) {
        Ok(list) => list.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>().with_context(what)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(what),
    };
    names.sort();
    for name in names {
        match std::fs::remove_file(dir.join(name)) {
            // The packer has put another in its place, which is there too, or comes to see that it is not wanted.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            other => other.with_context(what)?,
        }
    }
    Ok(())
}

fn truncate(path: &Path) -> Result<()> {
    let what = || format!("empty the log {}", path.display());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let _lock = lock::exclusive(dir)?;
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    match std::fs::OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) => file.set_len(0).with_context(what)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(what),
    }
    let rotated = format!("{}.", name.to_string_lossy());
    for entry in std::fs::read_dir(dir).with_context(what)? {
        let entry = entry.with_context(what)?;
        if entry.file_name().to_string_lossy().starts_with(&rotated) {
            std::fs::remove_file(entry.path()).with_context(what)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_the_log_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["x-json.log", "x-json.log.1", "x-json.log.2", "x-json", "exit.json"] {
            std::fs::write(dir.path().join(name), "text").unwrap();
        }
        truncate(&dir.path().join("x-json.log")).unwrap();
        let mut left: Vec<(String, u64)> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len()))
            .collect();
        left.sort();
        assert_eq!(left, [("exit.json".into(), 4), ("x-json".into(), 4), ("x-json.log".into(), 0)]);
        truncate(&dir.path().join("absent.log")).unwrap();
    }
}
