//! Fills a new volume with what the image has at its place, as Docker does.
//!
//! What was begun and broken off (a kill, a full disk) can be gone on with: every file appears whole or not at all, and
//! what is there already stays as it is.

use dhow_store::Reservation;
use dhow_store::merged::{Attribute, Found, Leaf, MAX_NAMES, Node, Place, View, attributes, beneath, reopen};
use dhow_types::{Context, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The name of a file that is not whole yet.
const HALF: &str = ".dhow-half-copied";
/// Deepest tree that is copied.
const MAX_DEPTH: usize = 512;

/// Copies the directory `path` of the image into the empty directory `volume`: mode, owner, times and attributes too.
/// What it takes of the disk is asked for through `space`. False if the image has no directory there.
pub(crate) fn fill(image: &View, path: &str, volume: &Path, space: &Reservation) -> Result<bool> {
    let Some(Found::Dir(source)) = image.lookup(path)? else { return Ok(false) };
    let target = rustix::fs::open(volume, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .with_context(|| format!("open {}", volume.display()))?;
    let mut names = MAX_NAMES;
    directory(image, &source, target.as_fd(), 0, &mut names, space)
        .with_context(|| format!("copy {path} of the image into its volume"))?;
    Ok(true)
}

/// Bytes of the files that [`fill`] would copy.
pub(crate) fn size(image: &View, path: &str) -> Result<u64> {
    fn below(view: &View, place: &Place, depth: usize, names: &mut usize) -> Result<u64> {
        let Some(source) = view.dir(place)?.filter(|_| depth <= MAX_DEPTH) else { return Ok(0) };
        let (before, mut sum, mut dirs) = (*names, 0u64, Vec::new());
        for name in source.names(names)? {
            match source.child(&name)? {
                Some(Node::Dir(place)) => dirs.push(place),
                Some(Node::Leaf(leaf)) if leaf.kind() == FileType::RegularFile => {
                    sum = sum.saturating_add(leaf.stat.st_size as u64);
                }
                _ => {}
            }
        }
        drop(source);
        for place in dirs {
            sum = sum.saturating_add(below(view, &place, depth + 1, names)?);
        }
        *names = before;
        Ok(sum)
    }
    match image.lookup(path)? {
        Some(Found::Dir(source)) => below(image, &source, 0, &mut MAX_NAMES.clone()),
        _ => Ok(0),
    }
}

fn directory(
    view: &View,
    place: &Place,
    target: BorrowedFd<'_>,
    depth: usize,
    names: &mut usize,
    space: &Reservation,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!("the tree is deeper than {MAX_DEPTH} directories")));
    }
    let Some(source) = view.dir(place)? else { return Ok(()) };
    let stat = rustix::fs::fstat(source.top()).map_err(std::io::Error::from)?;
    let marks = attributes(source.top())?;
    let before = *names;
    let mut below = Vec::new();
    for name in source.names(names)? {
        match source.child(&name)? {
            Some(Node::Dir(place)) => below.push((name, place)),
            Some(Node::Leaf(leaf)) => {
                if let Some(file) = source.open_leaf(&name, &leaf)? {
                    if leaf.kind() == FileType::RegularFile {
                        space.spend(leaf.stat.st_size as u64)?;
                    }
                    other(file.as_fd(), &name, &leaf, target)?;
                }
            }
            None => {}
        }
    }
    // The layers' directories are closed before the next ones are opened: depth times layers would be many.
    drop(source);
    for (name, place) in below {
        match rustix::fs::mkdirat(target, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(std::io::Error::from(e).into()),
        }
        let made = beneath(target, &name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        directory(view, &place, made.as_fd(), depth + 1, names, space)?;
    }
    *names = before;
    // Last, or the times would change again.
    set_attributes(&marks, target)?;
    metadata(target, &stat)
}

fn other(file: BorrowedFd<'_>, name: &OsStr, leaf: &Leaf, target: BorrowedFd<'_>) -> Result<()> {
    let (kind, stat) = (leaf.kind(), &leaf.stat);
    if rustix::fs::statat(target, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    match kind {
        FileType::RegularFile => {
            let mut from = reopen(file)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            // Left by one that was broken off.
            let _ = rustix::fs::unlinkat(target, HALF, AtFlags::empty());
            let to: OwnedFd = rustix::fs::openat(target, HALF, flags, Mode::RUSR | Mode::WUSR)
                .map_err(std::io::Error::from)
                .with_context(|| format!("make {name:?}"))?;
            let mut to = std::fs::File::from(to);
            // Uses copy_file_range, which shares blocks where the file system can.
            std::io::copy(&mut from, &mut to).with_context(|| format!("copy {name:?}"))?;
            set_attributes(&attributes(file)?, to.as_fd())?;
            metadata(to.as_fd(), stat)?;
            // Somebody who has the volume, too, may have been faster.
            match rustix::fs::renameat_with(target, HALF, target, name, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(()),
                Err(Errno::EXIST) => {
                    Ok(rustix::fs::unlinkat(target, HALF, AtFlags::empty()).map_err(std::io::Error::from)?)
                }
                Err(e) => Err(std::io::Error::from(e)).with_context(|| format!("make {name:?}")),
            }
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(file, "", Vec::new()).map_err(std::io::Error::from)?;
            rustix::fs::symlinkat(&link, target, name).map_err(std::io::Error::from)?;
            owner_of_link(target, name, stat)
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
            rustix::fs::mknodat(target, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)
                .map_err(std::io::Error::from)?;
            owner_of_link(target, name, stat)?;
            let made = beneath(target, name, OFlags::PATH | OFlags::NOFOLLOW)?;
            let by_fd = format!("/proc/self/fd/{}", made.as_raw_fd());
            rustix::fs::chmod(by_fd, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(std::io::Error::from)?;
            Ok(())
        }
        // A socket file means nothing without its process.
        _ => Ok(()),
    }
}

fn owner_of_link(target: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(target, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
    rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
    Ok(())
}

fn metadata(target: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(target, uid, gid).map_err(std::io::Error::from)?;
    // After the owner, which takes set-id bits away.
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(std::io::Error::from)?;
    rustix::fs::futimens(target, &times(stat)).map_err(std::io::Error::from)?;
    Ok(())
}

fn owner(stat: &Stat) -> (Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) {
    (Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

fn set_attributes(all: &[Attribute], to: BorrowedFd<'_>) -> Result<()> {
    for (name, value) in all {
        match rustix::fs::fsetxattr(to, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
            Err(e) => {
                let name = String::from_utf8_lossy(name);
                return Err(std::io::Error::from(e)).with_context(|| format!("set attribute {name}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn copies_the_merged_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (top, low, volume) = (dir.path().join("t"), dir.path().join("l"), dir.path().join("v"));
        std::fs::create_dir_all(low.join("data/deep")).unwrap();
        std::fs::create_dir_all(top.join("data")).unwrap();
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(low.join("data/deep/f"), "low").unwrap();
        std::fs::write(top.join("data/g"), "top").unwrap();
        symlink("../../etc/passwd", low.join("data/link")).unwrap();
        std::os::unix::fs::chown(low.join("data/deep/f"), Some(7), Some(8)).unwrap();
        std::fs::set_permissions(low.join("data/deep/f"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::set_permissions(top.join("data"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let image = View::open(&[&top, &low]).unwrap();
        let store = dhow_store::Store::open(&dir.path().join("store"), Default::default()).unwrap();
        let space = store.reserve(0).unwrap();
        assert!(fill(&image, "/data", &volume, &space).unwrap());
        let f = std::fs::metadata(volume.join("deep/f")).unwrap();
        assert_eq!((f.uid(), f.gid(), f.mode() & 0o7777), (7, 8, 0o4755));
        assert_eq!(std::fs::read(volume.join("g")).unwrap(), b"top");
        assert_eq!(std::fs::read_link(volume.join("link")).unwrap(), Path::new("../../etc/passwd"));
        assert_eq!(std::fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1777);
        assert!(!fill(&image, "/nothing", &volume, &space).unwrap());
        assert_eq!(size(&image, "/data").unwrap(), 6);
        // What was broken off is gone on with; what is there stays.
        std::fs::remove_file(volume.join("deep/f")).unwrap();
        std::fs::write(volume.join("deep").join(HALF), "l").unwrap();
        std::fs::write(volume.join("g"), "mine").unwrap();
        assert!(fill(&image, "/data", &volume, &space).unwrap());
        assert_eq!(std::fs::read(volume.join("deep/f")).unwrap(), b"low");
        assert_eq!(std::fs::read(volume.join("g")).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(volume.join("deep")).unwrap().count(), 1);
    }
}
