//! The way to a directory of the tree: found by descriptor, made where no entry announced it, links of the archive
//! followed inside the tree.

use super::{DIR_FLAGS, Dir, INSIDE, Late, OPEN_DIRS, Tree, What, io, path_of, what};
use crate::names::{join, shown};
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, ResolveFlags, chmodat, mkdirat, openat2, statat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;

const CHROOTED: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

impl Tree {
    /// The directory with this clean name; made, with everything above it, if it is not there.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        match self.existing(path) {
            Ok(dir) => Ok(dir),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.make_way(path),
            Err(e) => Err(io(e)),
        }
    }

    /// The directory with this clean name, if it is there.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Rc<Dir>, Errno> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(at) = self.open.iter().rposition(|(p, _)| p == path) {
            if at + 1 != self.open.len() {
                let hit = self.open.remove(at);
                self.open.push(hit);
            }
            return Ok(Rc::clone(&self.open[self.open.len() - 1].1));
        }
        let dir = match openat2(&self.root.fd, path, DIR_FLAGS, Mode::empty(), INSIDE) {
            Ok(fd) => Dir { fd, path: path.to_vec() },
            Err(Errno::LOOP) => {
                let fd = chrooted(self.root.fd.as_fd(), path)?;
                let real = self.real_path(fd.as_fd())?;
                Dir { fd, path: real }
            }
            Err(e) => return Err(e),
        };
        Ok(self.remember(path, dir))
    }

    pub(super) fn remember(&mut self, path: &[u8], dir: Dir) -> Rc<Dir> {
        if self.open.len() == OPEN_DIRS {
            self.open.remove(0);
        }
        let dir = Rc::new(dir);
        self.open.push((path.to_vec(), Rc::clone(&dir)));
        dir
    }

    /// Walks component by component, making directories that no entry announced.
    fn make_way(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        let mut here = Rc::clone(&self.root);
        let mut walked: Vec<u8> = Vec::new();
        for name in path.split(|&b| b == b'/') {
            walked = join(&walked, name);
            here = match self.existing(&walked) {
                Ok(dir) => dir,
                Err(e @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                    let there = statat(&here.fd, name, AtFlags::SYMLINK_NOFOLLOW);
                    let deleted = match there {
                        Err(Errno::NOENT) => false,
                        Ok(stat) if what(&stat) == What::Whiteout => true,
                        Ok(_) if e == Errno::NOENT => {
                            return Err(Error::invalid(format!("{} is a dangling symbolic link", shown(&walked))));
                        }
                        Ok(_) => return Err(Error::invalid(format!("{} is not a directory", shown(&walked)))),
                        Err(e) => return Err(io(e)),
                    };
                    if deleted {
                        unlinkat(&here.fd, name, AtFlags::empty()).map_err(io)?;
                    }
                    mkdirat(&here.fd, name, Mode::from_raw_mode(0o755)).map_err(io)?;
                    if self.umask & 0o755 != 0 {
                        chmodat(&here.fd, name, Mode::from_raw_mode(0o755), AtFlags::empty()).map_err(io)?;
                    }
                    if deleted {
                        self.make_opaque(&here, name)?;
                    }
                    let real = join(&here.path, name);
                    self.check_depth(&real)?;
                    // The same archive must give the same tree, so the time cannot be now.
                    self.later(Late { path: real, ..Late::default() })?;
                    self.existing(&walked).map_err(io)?
                }
                Err(e) => return Err(io(e)),
            };
        }
        Ok(here)
    }

    /// Where a directory really is, seen from the root.
    fn real_path(&self, fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
        let path = path_of(fd).map_err(|_| Errno::NOENT)?;
        match path.strip_prefix(self.root_path.as_slice()) {
            Some([]) => Ok(Vec::new()),
            Some([b'/', rest @ ..]) => Ok(rest.to_vec()),
            // Cannot be: the kernel resolved it inside the root.
            _ => Err(Errno::XDEV),
        }
    }

    pub(super) fn check_depth(&self, path: &[u8]) -> Result<()> {
        let depth = path.iter().filter(|&&b| b == b'/').count() + 1;
        if depth > self.limits.depth {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("directories are more than {} deep", self.limits.depth),
            ));
        }
        Ok(())
    }
}

/// The directory at `path`, links followed inside `root`. Where a link has `..` the kernel gives up as soon as anything
/// on the machine is renamed or mounted meanwhile, and says so (openat2(2), EAGAIN): then it is asked again.
fn chrooted(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        match openat2(root, path, DIR_FLAGS, Mode::empty(), CHROOTED) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
