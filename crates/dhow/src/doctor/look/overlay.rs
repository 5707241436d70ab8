//! An overlay whose layers lie on the root's file system: mounted, written to, and gone. No path leads to the mount, and
//! its directories are removed, also those of a look that was killed.

use super::super::facts::{Tried, Unseen};
use super::{disk, is_root};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, XattrFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// How the directories' names begin; the process id follows.
const PREFIX: &str = ".dhow-doctor-";

/// Tries it at `root`, or at what exists of its path; and whether directories there tell kinds.
pub fn attempt(root: &Path) -> (Tried, Option<bool>) {
    if !is_root() {
        return (Err(Unseen::Root), None);
    }
    let place = disk::existing(root);
    remove_leftovers(&place);
    let dir = place.join(format!("{PREFIX}{}", std::process::id()));
    let made = make(&dir);
    let (tried, types) = match made {
        // How full or how writable it is, another check says.
        Err(e) => (Err(Unseen::Other(format!("no trial at {}: {e}", place.display()))), None),
        Ok(()) if disk::kind_of(&place).as_deref() == Some("overlay") => (
            Err(Unseen::Other("the root is on overlayfs itself; containers write to memory".to_owned())),
            types(&dir).ok(),
        ),
        Ok(()) => (Ok(overlay(&dir).map_err(|e| e.to_string())), types(&dir).ok()),
    };
    let _ = std::fs::remove_dir_all(&dir);
    (tried, types)
}

fn make(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(dir)?;
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(dir.join(name))?;
    }
    std::fs::write(dir.join("lower/there"), "")
}

/// Removes what a look that was killed left: its process is gone.
fn remove_leftovers(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn types(dir: &Path) -> io::Result<bool> {
    let fd = std::fs::File::open(dir)?;
    for entry in Dir::read_from(&fd)? {
        if entry?.file_type() == FileType::Unknown {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What failed, and why.
struct Failure(&'static str, rustix::io::Errno);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0, dhow_types::Error::from(io::Error::from(self.1)).text())
    }
}

fn overlay(dir: &Path) -> Result<(), Failure> {
    let step = |what: &'static str| move |e| Failure(what, e);
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step("open overlayfs"))?;
    for name in ["lower", "upper", "work"] {
        fsconfig_set_string(fs.as_fd(), format!("{name}dir"), dir.join(name)).map_err(step("choose directories"))?;
    }
    fsconfig_create(fs.as_fd()).map_err(step("make an overlay here"))?;
    let mount: OwnedFd = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(step("mount an overlay here"))?;
    rustix::fs::unlinkat(&mount, "there", AtFlags::empty()).map_err(step("remove a file of a layer"))?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, "new", flags, Mode::RUSR | Mode::WUSR).map_err(step("write a file"))?;
    rustix::fs::fsetxattr(&file, "trusted.dhow", b"x", XattrFlags::empty()).map_err(step("keep an extended attribute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(format!("{PREFIX}4194305"));
        std::fs::create_dir_all(dead.join("upper")).unwrap();
        let (tried, types) = attempt(&dir.path().join("not/yet/there"));
        if is_root() {
            assert!(tried.is_ok(), "{tried:?}");
            assert_eq!(types, Some(true));
        } else {
            assert_eq!(tried, Err(Unseen::Root));
            std::fs::remove_dir_all(dead).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
