//! Whether the file system of a path on this machine answers: a bind mount's source may lie on one whose server is gone,
//! and who asks it waits for ever. Only where such file systems are mounted at all is the question put by a process of its
//! own; elsewhere it costs what it always did.

use crate::stuck::{self, Mount};
use dhow_sys::ask::{self, Answer};
use dhow_sys::clone::Child;
use dhow_types::{Cause, Error, Result};
use std::ffi::CString;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a file system may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who asked in vain and still waits; more are not sent after them.
const MAX_WAITING: usize = 16;

static WAITING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Whether something is at `path`, and behind a link at its end if `follow`. The outer error says that nobody answers.
pub(crate) fn is_there(path: &str, follow: bool) -> Result<io::Result<()>> {
    let mounts = stuck::mounts_of("self");
    if !stuck::remote(&mounts) {
        let asked = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        return Ok(asked.map(drop));
    }
    let Ok(name) = CString::new(path) else { return Ok(Err(io::ErrorKind::InvalidInput.into())) };
    let waiting = || WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting().retain(|child| !ask::ended(child));
    if waiting().len() >= MAX_WAITING {
        return Err(silent(path, stuck::mount_of(&mounts, path)));
    }
    match ask::is_there(&name, follow, PATIENCE)? {
        Answer::Given(given) => Ok(given),
        Answer::Silence(child) => {
            waiting().push(child);
            Err(silent(path, stuck::mount_of(&mounts, path)))
        }
    }
}

fn silent(path: &str, mount: Option<Mount>) -> Error {
    // A path may lead elsewhere by a link; a mount of this machine itself is then not the one that is silent.
    let place = mount.filter(Mount::is_remote).map(|m| m.told()).unwrap_or_default();
    Error::unavailable(format!("mount source {path} does not answer{place}")).because(Cause::MountStuck)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_mount_is_told() {
        let mounts = "22 1 0:21 / / rw - ext4 /dev/sda1 rw\n26 22 0:77 / /cloud rw - fuse.sshfs me@host:/ rw\n";
        let e = silent("/cloud/x", stuck::mount_of(mounts, "/cloud/x"));
        assert_eq!(e.cause(), Cause::MountStuck);
        assert!(
            e.text().starts_with("mount source /cloud/x does not answer on /cloud (fuse.sshfs from me@host:/): end")
        );
        assert_eq!(silent("/a", stuck::mount_of(mounts, "/a")).text(), "mount source /a does not answer");
        assert!(stuck::remote(mounts) && !stuck::remote(mounts.split_once("26 ").unwrap().0));
    }
}
