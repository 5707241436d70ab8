//! What was written gets to the disk: file by file where there are few, else the whole file system at once.
//!
//! One fsync costs a journal commit; for many thousand files one pass over the file system is far cheaper. But that
//! pass also writes what others have left in memory, so a commit of one file would wait for all of it.

use dhow_types::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fsync, openat, statat, syncfs};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Files and directories that are synced one by one. Above, the whole file system is.
const FEW: usize = 24;

/// Makes everything below `work` survive a power cut.
pub(crate) fn sync(work: &Path) -> Result<()> {
    let what = || format!("sync {}", work.display());
    let top = open(CWD, work.as_os_str(), OFlags::DIRECTORY).map_err(io::Error::from).with_context(what)?;
    let mut few = Few::default();
    if !few.collect(&top).with_context(what)? {
        return syncfs(&top).map_err(io::Error::from).context("sync the store's file system");
    }
    // Files before the directories that name them; the first of them does nearly all of the work.
    few.files.iter().chain(&few.dirs).try_for_each(fsync).map_err(io::Error::from).with_context(what)?;
    fsync(&top).map_err(io::Error::from).with_context(what)
}

/// What is below a directory, open.
#[derive(Default)]
struct Few {
    files: Vec<OwnedFd>,
    /// Each before the one it is in.
    dirs: Vec<OwnedFd>,
}

impl Few {
    /// Opens everything below `dir`. False if that is too much, or something is there that has no sync of its own.
    fn collect(&mut self, dir: &OwnedFd) -> io::Result<bool> {
        let mut below = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.files.len() + self.dirs.len() + below.len() >= FEW {
                return Ok(false);
            }
            let kind = match entry.file_type() {
                FileType::Unknown => FileType::from_raw_mode(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
                known => known,
            };
            match kind {
                FileType::RegularFile => self.files.push(open(dir, name, OFlags::NONBLOCK)?),
                FileType::Directory => below.push(open(dir, name, OFlags::DIRECTORY)?),
                _ => return Ok(false),
            }
        }
        // Nested at most as deep as there may be directories.
        for dir in below {
            let whole = self.collect(&dir)?;
            self.dirs.push(dir);
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn open(dir: impl AsFd, name: impl rustix::path::Arg, more: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | more, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(dir: &Path) -> Option<(usize, usize)> {
        let top = open(CWD, dir, OFlags::DIRECTORY).unwrap();
        let mut few = Few::default();
        few.collect(&top).unwrap().then_some((few.files.len(), few.dirs.len()))
    }

    #[test]
    fn few_things_are_synced_one_by_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        std::fs::create_dir_all(dir.join("a/b/c")).unwrap();
        std::fs::write(dir.join("a/b/file"), "x").unwrap();
        std::fs::write(dir.join("top"), "x").unwrap();
        assert_eq!(collected(dir), Some((2, 3)));
        sync(dir).unwrap();
        std::os::unix::fs::symlink("top", dir.join("a/link")).unwrap();
        assert_eq!(collected(dir), None, "a link has no sync of its own");
        sync(dir).unwrap();
        std::fs::remove_file(dir.join("a/link")).unwrap();
        for i in 0..FEW {
            std::fs::write(dir.join(format!("a/b/c/{i}")), "x").unwrap();
        }
        assert_eq!(collected(dir), None, "too many");
        sync(dir).unwrap();
        assert!(sync(&dir.join("none")).is_err());
    }

    #[test]
    fn a_directory_is_synced_before_the_one_it_is_in() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a/b/c")).unwrap();
        let top = open(CWD, temp.path(), OFlags::DIRECTORY).unwrap();
        let mut few = Few::default();
        assert!(few.collect(&top).unwrap());
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
        let path = |p: &str| inode(&open(CWD, temp.path().join(p).as_path(), OFlags::DIRECTORY).unwrap());
        assert_eq!(few.dirs.iter().map(inode).collect::<Vec<_>>(), [path("a/b/c"), path("a/b"), path("a")]);
    }
}
