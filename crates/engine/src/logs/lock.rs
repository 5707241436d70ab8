//! Who gives the files of a log other names. A shim that turns a file over, the packer, and who empties a log hold the lock
//! of the directory meanwhile: for a few renamings, never while anything is read or compressed.
//!
//! A shim does not wait for it: it goes on in the file that it has, and turns it over with a later line.

use dhow_types::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// How often, and after what pauses, a reader asks for a lock that is held.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Until this is dropped nobody else gives files in `dir` other names. `None` if there is no such directory.
pub(crate) fn exclusive(dir: &Path) -> Result<Option<File>> {
    let what = || format!("lock the log {}", dir.display());
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(what),
    };
    flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).with_context(what)?;
    Ok(Some(file))
}

/// As [`exclusive`], shared with other readers, who go on without it if its holder does not (it may have been stopped).
pub(super) fn shared(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    for _ in 0..TRIES {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Some(file),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
    None
}
