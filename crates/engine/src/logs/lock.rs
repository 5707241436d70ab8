//! Who gives the files of a log other names. A shim that turns a file over, the packer, and who empties a log hold the lock
//! of the directory meanwhile: for a few renamings, never while anything is read or compressed.
//!
//! A shim does not wait for it: it goes on in the file that it has, and turns it over with a later line.

use dhow_types::{Context, Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// How often, and after what pauses, a lock that is held is asked for: by a reader, and by who renames.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(1);
const MAX_TRIES: u32 = 500;
const LONG_PAUSE: Duration = Duration::from_millis(10);

/// Until this is dropped nobody else gives files in `dir` other names. `None` if there is no such directory; an error if its
/// holder does not let go, as a shim that was stopped just then.
pub(crate) fn exclusive(dir: &Path) -> Result<Option<File>> {
    let what = || format!("lock the log {}", dir.display());
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(what),
    };
    match taken(&file, FlockOperation::NonBlockingLockExclusive, MAX_TRIES, LONG_PAUSE) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => {
            Err(Error::unavailable("its files are being turned over, and that does not end")).with_context(what)
        }
        Err(e) => Err(std::io::Error::from(e)).with_context(what),
    }
}

/// As [`exclusive`], shared with other readers, who go on without it if its holder does not (it may have been stopped).
pub(super) fn shared(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    taken(&file, FlockOperation::NonBlockingLockShared, TRIES, PAUSE).ok()?;
    Some(file)
}

fn taken(file: &File, how: FlockOperation, tries: u32, pause: Duration) -> Result<(), Errno> {
    for _ in 1..tries {
        match flock(file, how) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(pause),
            result => return result,
        }
    }
    flock(file, how)
}
