//! Whether two files or directories are different.

use super::{Dir, Leaf, attributes, io, reopen};
use dhow_types::{Context as _, Result};
use rustix::fs::{FileType, Stat, fstat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

/// What counts as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What Docker compares: type, mode, owner, size, time of modification and capabilities; size and time of
    /// directories mean nothing. Contents are not read.
    Stat,
    /// Type, mode, owner, attributes, target and content. Times mean nothing: whoever builds an image again gets new
    /// ones.
    Content,
}

/// Bytes of each file that are compared at once.
const READ: usize = 128 << 10;

/// Whether two directories differ, apart from what is in them.
pub(super) fn directories_differ(rule: Rule, old: &Dir, new: &Dir) -> Result<bool> {
    let stat = |dir: &Dir| fstat(dir.top()).map_err(io);
    if owners_differ(&stat(old)?, &stat(new)?) {
        return Ok(true);
    }
    Ok(rule == Rule::Content && attributes(old.top())? != attributes(new.top())?)
}

/// Whether two things that are not directories differ. What is gone meanwhile does not.
pub(super) fn leaves_differ(rule: Rule, old: (&Dir, &Leaf), new: (&Dir, &Leaf), name: &OsStr) -> Result<bool> {
    let (a, b) = (&old.1.stat, &new.1.stat);
    let file = FileType::from_raw_mode(b.st_mode) == FileType::RegularFile;
    if owners_differ(a, b) || a.st_rdev != b.st_rdev || (a.st_size != b.st_size && (file || rule == Rule::Stat)) {
        return Ok(true);
    }
    if rule == Rule::Stat && times_differ(a, b) {
        return Ok(true);
    }
    let (Some(old), Some(new)) = (old.0.open_leaf(name, old.1)?, new.0.open_leaf(name, new.1)?) else {
        return Ok(false);
    };
    let (old, new) = (old.as_fd(), new.as_fd());
    if rule == Rule::Stat {
        return Ok(capability(old) != capability(new));
    }
    if attributes(old)? != attributes(new)? {
        return Ok(true);
    }
    match FileType::from_raw_mode(fstat(new).map_err(io)?.st_mode) {
        FileType::Symlink => {
            let target = |fd| rustix::fs::readlinkat(fd, "", Vec::new()).map_err(io);
            Ok(target(old)? != target(new)?)
        }
        // Neither can have become something else that waits when it is opened: what is open is what was looked at.
        FileType::RegularFile if FileType::from_raw_mode(fstat(old).map_err(io)?.st_mode) == FileType::RegularFile => {
            contents_differ(reopen(old)?, reopen(new)?).with_context(|| format!("compare {name:?}"))
        }
        _ => Ok(false),
    }
}

fn owners_differ(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid)
}

/// As Docker compares them: archives may have cut the fraction of a second off.
fn times_differ(a: &Stat, b: &Stat) -> bool {
    a.st_mtime != b.st_mtime || (a.st_mtime_nsec != b.st_mtime_nsec && a.st_mtime_nsec != 0 && b.st_mtime_nsec != 0)
}

fn capability(file: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let mut value = [0u8; 64];
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let len = rustix::fs::getxattr(path, "security.capability", value.as_mut_slice()).ok()?;
    Some(value[..len].to_vec())
}

fn contents_differ(mut old: File, mut new: File) -> Result<bool> {
    let (mut a, mut b) = (vec![0; READ], vec![0; READ]);
    loop {
        let (n, m) = (fill(&mut old, &mut a)?, fill(&mut new, &mut b)?);
        if a[..n] != b[..m] {
            return Ok(true);
        }
        if n < READ {
            return Ok(false);
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match file.read(&mut buffer[have..])? {
            0 => break,
            n => have += n,
        }
    }
    Ok(have)
}
