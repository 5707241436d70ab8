//! `tmpcopyup`: fills a tmpfs with what the image has at its mount point, by descriptor, without following links.

use crate::context::Context;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
};
use std::collections::HashMap;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bounds on what is copied: a tmpfs is memory, and whoever wants more mounts a volume.
const MAX_ENTRIES: usize = 1 << 20;
const MAX_DEPTH: usize = 128;
const CHUNK: usize = 128 << 10;
const MAX_XATTR: usize = 64 << 10;

/// Copies the content of `from` into `to`, and the mode and owner of `from` itself.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(from, ".", flags, Mode::empty()).context("open the directory")?;
    let to = openat(to, ".", flags, Mode::empty()).context("open the tmpfs")?;
    Copy { entries: 0, links: HashMap::new(), buffer: vec![0; CHUNK], top: to.as_fd() }.directory(&from, &to, "", 0)
}

struct Copy<'a> {
    entries: usize,
    /// Files with several names: where the first copy is, by device and inode.
    links: HashMap<(u64, u64), String>,
    buffer: Vec<u8>,
    top: BorrowedFd<'a>,
}

impl Copy<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, path: &str, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::Exhausted, format!("more than {MAX_DEPTH} directories deep")));
        }
        for name in names(from)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(Error::new(ErrorKind::Exhausted, format!("more than {MAX_ENTRIES} entries")));
            }
            let path = format!("{path}{}", name.to_string_lossy());
            self.entry(from, to, &name, &path, depth).with_context(|| path.clone())?;
        }
        attributes(from, to, &rustix::fs::fstat(from).context("stat")?)
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CString, path: &str, depth: usize) -> Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).context("stat")?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return linkat(self.top, first.as_str(), to, name, AtFlags::empty()).context("link");
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let open = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match kind {
            FileType::Directory => {
                mkdirat(to, name, Mode::from_bits_truncate(0o700)).context("make the directory")?;
                let flags = open | OFlags::RDONLY | OFlags::DIRECTORY;
                let source = openat(from, name, flags, Mode::empty()).context("open")?;
                let copy = openat(to, name, flags, Mode::empty()).context("open the copy")?;
                self.directory(&source, &copy, &format!("{path}/"), depth + 1)
            }
            FileType::RegularFile => {
                let source =
                    openat(from, name, open | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).context("open")?;
                let flags = open | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let copy = openat(to, name, flags, Mode::from_bits_truncate(0o600)).context("make the copy")?;
                loop {
                    let n = rustix::io::read(&source, &mut self.buffer).context("read")?;
                    if n == 0 {
                        break;
                    }
                    let mut rest = &self.buffer[..n];
                    while !rest.is_empty() {
                        let written = rustix::io::write(&copy, rest).context("write")?;
                        rest = &rest[written..];
                    }
                }
                attributes(&source, &copy, &stat)
            }
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new()).context("read the link")?;
                symlinkat(&target, to, name).context("make the link")?;
                let (uid, gid) = owner(&stat);
                chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("set the owner")
            }
            _ => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)
                    .context("make the node")?;
                let (uid, gid) = owner(&stat);
                chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context("set the owner")
            }
        }
    }
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>> {
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut space);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.context("list")?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Owner first (it clears set-user-id bits), then mode, extended attributes, times.
fn attributes(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    fchown(to, uid, gid).context("set the owner")?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).context("set the mode")?;
    let mut list = vec![0; MAX_XATTR];
    if let Ok(n) = flistxattr(from, &mut list[..]) {
        let mut value = vec![0; MAX_XATTR];
        for name in list[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
            // What overlayfs keeps for itself means nothing, or worse, outside of it.
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                continue;
            }
            if let Ok(n) = fgetxattr(from, name, &mut value[..]) {
                // A tmpfs has no user attributes before 6.6, and need not have any label.
                let _ = fsetxattr(to, name, &value[..n], rustix::fs::XattrFlags::empty());
            }
        }
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    futimens(to, &times).context("set the times")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn content_modes_links_and_times_are_copied() {
        let dir = tempdir();
        let (a, b) = (dir.join("a"), dir.join("b"));
        std::fs::create_dir_all(a.join("d")).unwrap();
        std::fs::create_dir(&b).unwrap();
        std::fs::write(a.join("d/f"), "text").unwrap();
        std::fs::set_permissions(a.join("d/f"), PermissionsExt::from_mode(0o4711)).unwrap();
        std::fs::hard_link(a.join("d/f"), a.join("g")).unwrap();
        symlink("/etc/passwd", a.join("l")).unwrap();
        let open = |p: &std::path::Path| rustix::fs::open(p, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        copy(open(&a).as_fd(), open(&b).as_fd()).unwrap();
        let meta = std::fs::metadata(b.join("d/f")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o4711, 2));
        assert_eq!(meta.mtime_nsec(), std::fs::metadata(a.join("d/f")).unwrap().mtime_nsec());
        assert_eq!(std::fs::read_to_string(b.join("g")).unwrap(), "text");
        assert_eq!(std::fs::read_link(b.join("l")).unwrap(), std::path::Path::new("/etc/passwd"));
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn tempdir() -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("dhow-copyup-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
