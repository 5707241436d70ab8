//! Whether the file system of a path on this machine answers: a bind mount's source may lie on one whose server is gone,
//! and who asks it waits for ever. Only what lies on such a file system is asked for by a process of its own; elsewhere it
//! costs what it always did.

use crate::stuck::{self, Mount};
use dhow_sys::ask::{self, Answer};
use dhow_sys::clone::Child;
use dhow_types::{Cause, Error, Result};
use std::ffi::{CString, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a file system may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Links that the kernel follows on one way.
const MAX_LINKS: usize = 40;

/// Who asked in vain and still waits, and which file system. Nobody is sent after him; that it has another's number by now
/// can't be, as he holds it.
static WAITING: Mutex<Vec<((u32, u32), Child)>> = Mutex::new(Vec::new());

/// Whether something is at `path`, and behind a link at its end if `follow`. The outer error says that nobody answers.
pub(crate) fn is_there(path: &str, follow: bool) -> Result<io::Result<()>> {
    let mounts = stuck::mounts_of("self");
    let link = |path: &Path| std::fs::read_link(path).ok();
    let doubtful = if stuck::remote(&mounts) { doubtful(&mounts, Path::new(path), follow, link) } else { None };
    let Some(mount) = doubtful else {
        let asked = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        return Ok(asked.map(drop));
    };
    let Ok(name) = CString::new(path) else { return Ok(Err(io::ErrorKind::InvalidInput.into())) };
    let waiting = || WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting().retain(|(_, child)| !ask::ended(child));
    if waiting().iter().any(|(device, _)| *device == mount.device()) {
        return Err(silent(path, &mount));
    }
    match ask::is_there(&name, follow, PATIENCE)? {
        Answer::Given(given) => Ok(given),
        Answer::Silence(child) => {
            waiting().push((mount.device(), child));
            Err(silent(path, &mount))
        }
    }
}

/// The first mount on the way to `path` that may not answer. The way is gone without a look at anything there: `link` gives
/// where a link leads, and is asked only about what lies before it.
fn doubtful(mounts: &str, path: &Path, follow: bool, link: impl Fn(&Path) -> Option<PathBuf>) -> Option<Mount> {
    let steps =
        |path: &Path| -> Vec<OsString> { path.components().rev().map(|step| step.as_os_str().to_owned()).collect() };
    // Next comes the last.
    let (mut here, mut left, mut links) = (PathBuf::from("/"), steps(path), 0);
    while let Some(step) = left.pop() {
        match Path::new(&step).components().next() {
            Some(Component::RootDir) => here = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(here.pop()),
            Some(Component::Normal(name)) => here.push(name),
            _ => continue,
        }
        let mount = stuck::mount_of(mounts, &here.to_string_lossy())?;
        if mount.may_be_silent() {
            return Some(mount);
        }
        if (follow || !left.is_empty())
            && links < MAX_LINKS
            && let Some(to) = link(&here)
        {
            links += 1;
            here.pop();
            left.extend(steps(&to));
        }
    }
    None
}

fn silent(path: &str, mount: &Mount) -> Error {
    // Behind a link of the kernel's own it is another one.
    let place = if mount.is_remote() { mount.told() } else { String::new() };
    Error::unavailable(format!("mount source {path} does not answer{place}")).because(Cause::MountStuck)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 0:21 / / rw - ext4 /dev/sda1 rw\n\
        23 22 0:22 / /proc rw - proc proc rw\n\
        26 22 0:77 / /cloud rw - fuse.sshfs me@host:/ rw\n\
        27 26 8:1 / /cloud/disk rw - ext4 /dev/sdb1 rw\n\
        28 22 0:77 /x /again rw - fuse.sshfs me@host:/ rw\n";

    #[test]
    fn the_silent_mount_is_told() {
        let mount = |path| stuck::mount_of(MOUNTS, path).unwrap();
        let e = silent("/cloud/x", &mount("/cloud/x"));
        assert_eq!(e.cause(), Cause::MountStuck);
        assert!(
            e.text().starts_with("mount source /cloud/x does not answer on /cloud (fuse.sshfs from me@host:/): end")
        );
        assert_eq!(silent("/proc/1/cwd", &mount("/proc/1")).text(), "mount source /proc/1/cwd does not answer");
        assert!(stuck::remote(MOUNTS) && !stuck::remote(MOUNTS.split_once("26 ").unwrap().0));
        assert_eq!(mount("/cloud").device(), mount("/again/y").device(), "one file system");
        assert_ne!(mount("/cloud").device(), mount("/").device());
    }

    #[test]
    fn the_way_to_a_path_is_gone_up_to_a_mount_that_may_be_silent() {
        let links = [
            ("/data", "/cloud/files"),
            ("/home/me/far", "../../cloud"),
            ("/home/me/near", "./file"),
            ("/round", "/round"),
            ("/home/root", "/"),
        ];
        for (path, follow, want) in [
            ("/cloud", true, Some("/cloud")),
            ("/cloud", false, Some("/cloud")),
            ("/cloud/x/y", false, Some("/cloud")),
            // Beyond it, but only to be had through it.
            ("/cloud/disk/x", true, Some("/cloud")),
            ("/again", true, Some("/again")),
            ("/proc/1/root/x", true, Some("/proc")),
            ("/clouds", true, None),
            ("/", true, None),
            ("/home/me/x", true, None),
            // By a link on the way, and by one at the end.
            ("/data/x", false, Some("/cloud")),
            ("/data", true, Some("/cloud")),
            ("/data", false, None),
            ("/home/me/far/x", true, Some("/cloud")),
            ("/home/me/near", true, None),
            ("/home/root/cloud", false, Some("/cloud")),
            ("/home/me/../../cloud/x", true, Some("/cloud")),
            ("/round", true, None),
        ] {
            let link = |at: &Path| {
                assert!(!at.starts_with("/cloud") && !at.starts_with("/again"), "{path}: looked at {}", at.display());
                links.iter().find(|(from, _)| Path::new(from) == at).map(|(_, to)| PathBuf::from(to))
            };
            let found = doubtful(MOUNTS, Path::new(path), follow, link);
            let want = want.map(|point| stuck::mount_of(MOUNTS, point).unwrap());
            assert_eq!(found, want, "{path} {follow}");
        }
    }
}
