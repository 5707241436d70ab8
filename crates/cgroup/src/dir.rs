//! Files and directories of a hierarchy, by descriptor. Every read has a bound; a value is one `write`, because the
//! kernel takes each `write` to such a file as one whole value.
//!
//! No meaning lives here: which file gets what is decided in `plan`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::path::components;

/// The largest file that is read: `cgroup.procs` with a million members.
pub(crate) const MAX_FILE: usize = 16 << 20;
/// How deep groups inside a group are followed.
const MAX_DEPTH: usize = 64;
/// How many groups inside a group are followed.
const MAX_CHILDREN: usize = 100_000;

/// An open group in one hierarchy.
#[derive(Debug)]
pub(crate) struct GroupDir {
    fd: OwnedFd,
}

/// The flags of a directory that is only walked and passed on.
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl GroupDir {
    /// The root of a mounted hierarchy.
    pub(crate) fn root(mount_point: &Path) -> io::Result<Self> {
        Ok(Self { fd: openat(CWD, mount_point, DIR, Mode::empty())? })
    }
    /// The group at a clean path beneath this one.
    pub(crate) fn open(&self, path: &str) -> io::Result<Self> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        Ok(Self { fd: openat(&self.fd, relative, DIR, Mode::empty())? })
    }
    /// Makes the child `name`; false when it was there.
    pub(crate) fn make(&self, name: &str) -> io::Result<bool> {
        match mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }
    pub(crate) fn has(&self, file: &str) -> bool {
        rustix::fs::accessat(&self.fd, file, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }
    pub(crate) fn open_file(&self, file: &str, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(openat(&self.fd, file, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
    }
    pub(crate) fn read(&self, file: &str) -> io::Result<String> {
        read_fd(self.open_file(file, OFlags::RDONLY)?.as_fd(), MAX_FILE)
    }
    pub(crate) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        write_fd(self.open_file(file, OFlags::WRONLY)?.as_fd(), value)
    }
    /// The processes of this group alone.
    pub(crate) fn pids(&self) -> io::Result<Vec<i32>> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|l| l.parse().ok()).collect())
    }
    /// The names of the groups directly inside.
    pub(crate) fn children(&self) -> io::Result<Vec<String>> {
        self.list(FileType::Directory)
    }
    /// The names of the group's files.
    pub(crate) fn files(&self) -> io::Result<Vec<String>> {
        self.list(FileType::RegularFile)
    }
    fn list(&self, kind: FileType) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == kind && name != "." && name != ".." {
                names.push(name.into_owned());
                if names.len() > MAX_CHILDREN {
                    return Err(too_many());
                }
            }
        }
        Ok(names)
    }
    /// Calls `f` on this group and all groups inside, outermost first.
    pub(crate) fn walk(&self, f: &mut dyn FnMut(&GroupDir) -> io::Result<()>) -> io::Result<()> {
        fn go(
            dir: &GroupDir,
            depth: usize,
            seen: &mut usize,
            f: &mut dyn FnMut(&GroupDir) -> io::Result<()>,
        ) -> io::Result<()> {
            f(dir)?;
            if depth == MAX_DEPTH {
                return Err(too_many());
            }
            for name in dir.children()? {
                *seen += 1;
                if *seen > MAX_CHILDREN {
                    return Err(too_many());
                }
                match dir.open(&name) {
                    Ok(child) => go(&child, depth + 1, seen, f)?,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(())
        }
        go(self, 0, &mut 0, f)
    }
    /// Removes all groups inside this one, innermost first.
    pub(crate) fn remove_children(&self) -> io::Result<()> {
        fn go(dir: &GroupDir, depth: usize) -> io::Result<()> {
            if depth == MAX_DEPTH {
                return Err(too_many());
            }
            for name in dir.children()? {
                match dir.open(&name) {
                    Ok(child) => go(&child, depth + 1)?,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
                match dir.remove(&name) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            Ok(())
        }
        go(self, 0)
    }
}

impl AsFd for GroupDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a clean path in its parent and its last component.
pub(crate) fn split(path: &str) -> (String, &str) {
    let last = components(path).last().unwrap_or("");
    let parent = path.strip_suffix(last).unwrap_or("/").trim_end_matches('/');
    (if parent.is_empty() { "/".into() } else { parent.into() }, last)
}

fn too_many() -> io::Error {
    io::Error::other(format!("more than {MAX_CHILDREN} groups, or deeper than {MAX_DEPTH}, inside one group"))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_path(path: impl AsRef<Path>, limit: usize) -> io::Result<String> {
    let fd = openat(CWD, path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_fd(fd.as_fd(), limit)
}

/// Reads what is left of a file, at most `limit` bytes.
pub(crate) fn read_fd(fd: BorrowedFd<'_>, limit: usize) -> io::Result<String> {
    let mut buffer = vec![0u8; 4096];
    let mut len = 0;
    loop {
        match rustix::io::read(fd, &mut buffer[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        if len > limit {
            return Err(io::Error::other(format!("the file is larger than {limit} bytes")));
        }
        if len == buffer.len() {
            buffer.resize(len * 2, 0);
        }
    }
    buffer.truncate(len);
    String::from_utf8(buffer).map_err(|_| io::Error::other("the file is not UTF-8"))
}

/// Writes `value` in one piece.
pub(crate) fn write_fd(fd: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    loop {
        match rustix::io::write(fd, value.as_bytes()) {
            Ok(n) if n == value.len() => return Ok(()),
            Ok(_) => return Err(io::Error::other("the kernel took only a part of the value")),
            Err(Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
    }
}
