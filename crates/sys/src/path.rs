//! Paths inside a root that somebody else controls: walked by descriptor, never joined as strings (R1).
//!
//! Whatever the tree holds (links to `/`, to `..`, exchanged while we look), nothing here opens or makes anything
//! outside of the root's own mount tree.

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat, openat2, readlinkat, statat,
};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// How often a walk is tried again when the kernel says that the tree changed under it.
const RETRIES: usize = 128;
/// The most symbolic links followed while missing parts are made (as the kernel's own limit).
const MAX_LINKS: usize = 40;
/// The most components of a path that is made.
const MAX_COMPONENTS: usize = 4096;

/// What [`ensure`] makes where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// An empty regular file.
    File,
}

/// Opens `path` below `root`, following links as if `root` were `/`; magic links are refused.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens `path` below `root` with no symbolic link on the way: ELOOP if there is one.
pub fn open_plain(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS)
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 0..RETRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
    Err(io::Error::from(Errno::AGAIN))
}

/// Opens (as O_PATH) what is at `path` below `root`, and makes it, with its parents, if nothing is there. Links are
/// followed within the root, dangling ones too: their target is made.
pub fn ensure(root: BorrowedFd<'_>, path: &Path, kind: Kind, mode: u32) -> io::Result<OwnedFd> {
    match open(root, path, OFlags::PATH) {
        Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => make(root, path, kind, mode, true),
        result => result,
    }
}

/// As [`ensure`], but a symbolic link anywhere on the way is an error (ELOOP).
pub fn ensure_plain(root: BorrowedFd<'_>, path: &Path, kind: Kind, mode: u32) -> io::Result<OwnedFd> {
    match open_plain(root, path, OFlags::PATH) {
        Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => make(root, path, kind, mode, false),
        result => result,
    }
}

/// The slow road: one component at a time, `..` taken from a stack of directories already entered, so that there is
/// no way to name anything above the root.
fn make(root: BorrowedFd<'_>, path: &Path, kind: Kind, mode: u32, follow: bool) -> io::Result<OwnedFd> {
    let dir_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = || openat(root, ".", dir_flags, Mode::empty());
    let mut stack = vec![top()?];
    let mut todo = components(path.as_os_str());
    let mut links = 0;
    let mut steps = 0;
    while let Some(name) = todo.pop_front() {
        steps += 1;
        if steps > MAX_COMPONENTS {
            return Err(Errno::NAMETOOLONG.into());
        }
        if name == ".." {
            if stack.len() > 1 {
                stack.pop();
            }
            continue;
        }
        let last = todo.is_empty();
        let here = &stack[stack.len() - 1];
        let found = match statat(here, &name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(e) => return Err(e.into()),
        };
        match found {
            Some(FileType::Symlink) => {
                links += 1;
                if links > MAX_LINKS || !follow {
                    return Err(Errno::LOOP.into());
                }
                let target = OsString::from_vec(readlinkat(here, &name, Vec::new())?.into_bytes());
                if target.as_bytes().starts_with(b"/") {
                    stack = vec![top()?];
                }
                for part in components(&target).into_iter().rev() {
                    todo.push_front(part);
                }
                continue;
            }
            Some(_) => {}
            // Somebody may make it between the look and this; then it is opened below as whatever it is now,
            // unless it is a link, which NOFOLLOW refuses.
            None if last && kind == Kind::File => {
                ignore_exists(mknodat(here, &name, FileType::RegularFile, Mode::from_bits_truncate(mode), 0))?;
            }
            None => {
                let mode = if last { mode } else { 0o755 };
                ignore_exists(mkdirat(here, &name, Mode::from_bits_truncate(mode)))?;
            }
        }
        let flags = if last { OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC } else { dir_flags };
        let next = openat(here, &name, flags, Mode::empty())?;
        if last && FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        stack.push(next);
    }
    stack.pop().ok_or_else(|| Errno::NOENT.into())
}

fn components(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}

fn ignore_exists(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// Opens the parent directory of `path` below `root` without following links, and names the last component.
pub fn parent_plain<'p>(root: BorrowedFd<'_>, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok((open_plain(root, parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
}

/// Whether two descriptors stand for the same file.
pub fn same_file(a: impl AsFd, b: impl AsFd) -> io::Result<bool> {
    let (a, b) = (rustix::fs::fstat(a)?, rustix::fs::fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Tree(std::path::PathBuf);
    impl Tree {
        fn new(name: &str) -> (Self, OwnedFd) {
            let dir = std::env::temp_dir().join(format!("dhow-sys-path-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(dir.join("root")).unwrap();
            std::fs::create_dir_all(dir.join("outside")).unwrap();
            let root = rustix::fs::open(dir.join("root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            (Self(dir), root)
        }
        fn p(&self, s: &str) -> std::path::PathBuf {
            self.0.join(s)
        }
        fn outside_is_empty(&self) -> bool {
            std::fs::read_dir(self.p("outside")).unwrap().next().is_none()
        }
    }
    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn makes_directories_and_files_within_the_root() {
        let (t, root) = Tree::new("make");
        ensure(root.as_fd(), Path::new("/a/b/../c/./d"), Kind::Dir, 0o700).unwrap();
        assert!(t.p("root/a/c/d").is_dir());
        ensure(root.as_fd(), Path::new("x/y"), Kind::File, 0o644).unwrap();
        assert!(t.p("root/x/y").is_file());
        ensure(root.as_fd(), Path::new("x/y"), Kind::File, 0o644).unwrap();
    }

    #[test]
    fn links_are_followed_as_if_the_root_were_slash() {
        let (t, root) = Tree::new("links");
        symlink("/run", t.p("root/var-run")).unwrap();
        symlink("../../../../outside", t.p("root/up")).unwrap();
        symlink(t.p("outside"), t.p("root/abs")).unwrap();
        symlink("gone/stub", t.p("root/dangling")).unwrap();
        ensure(root.as_fd(), Path::new("var-run/x"), Kind::Dir, 0o755).unwrap();
        assert!(t.p("root/run/x").is_dir());
        ensure(root.as_fd(), Path::new("up/x"), Kind::Dir, 0o755).unwrap();
        ensure(root.as_fd(), Path::new("abs/x"), Kind::Dir, 0o755).unwrap();
        ensure(root.as_fd(), Path::new("dangling"), Kind::File, 0o644).unwrap();
        assert!(t.p("root/outside/x").is_dir() && t.p("root/gone/stub").is_file());
        assert!(t.outside_is_empty());
    }

    #[test]
    fn plain_walks_refuse_links_and_loops_end() {
        let (t, root) = Tree::new("plain");
        symlink("dir", t.p("root/link")).unwrap();
        symlink("loop", t.p("root/loop")).unwrap();
        std::fs::create_dir(t.p("root/dir")).unwrap();
        assert!(open_plain(root.as_fd(), Path::new("link"), OFlags::PATH).is_err());
        assert!(ensure_plain(root.as_fd(), Path::new("link/x"), Kind::Dir, 0o755).is_err());
        assert!(ensure(root.as_fd(), Path::new("loop/x"), Kind::Dir, 0o755).is_err());
        assert!(ensure_plain(root.as_fd(), Path::new("dir/x"), Kind::Dir, 0o755).is_ok());
    }

    /// A directory and a link to the outside change places all the time; whatever is seen, nothing is made outside.
    #[test]
    fn esc_mkdir_race() {
        let (t, root) = Tree::new("race");
        std::fs::create_dir(t.p("root/a")).unwrap();
        symlink(t.p("outside"), t.p("root/b")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let cwd = rustix::fs::CWD;
                    rustix::fs::renameat_with(cwd, t.p("root/a"), cwd, t.p("root/b"), flags).unwrap();
                }
            });
            for i in 0..2000 {
                let _ = ensure(root.as_fd(), Path::new(&format!("a/{i}/x")), Kind::Dir, 0o755);
                let _ = ensure_plain(root.as_fd(), Path::new(&format!("a/f{i}")), Kind::File, 0o644);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(t.outside_is_empty());
    }
}
