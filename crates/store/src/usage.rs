//! How much of the disk lies below the root, and whose it is: blocks that are allocated, each file once.
//!
//! The sum of all parts is what `du -s` of the root says. Nothing here decides what may go.

use crate::{Store, lock_anyway};
use dhow_types::{Context as _, Digest, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Directories one in another that are followed: each needs a descriptor. Layers have at most half of it.
const MAX_DEPTH: usize = 512;
/// Files with several names that are remembered until all names were seen; beyond it each name counts its share.
const MAX_LINKS: usize = 1 << 20;
/// What the kernel counts blocks in, whatever the file system's own are.
const BLOCK: u64 = 512;

/// What lies below the root, in bytes of allocated blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The trees of layers.
    pub layers: BTreeMap<Digest, u64>,
    /// Containers by the name of their directory.
    pub containers: BTreeMap<String, ContainerUsage>,
    /// Volumes by the name of their directory.
    pub volumes: BTreeMap<String, u64>,
    /// The store's own.
    pub own: OwnUsage,
    /// Directories that lie too deep to be counted, and those of other file systems.
    pub left_out: u64,
}

/// A container's directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its writable layer and small files.
    pub files: u64,
    /// Its logs.
    pub logs: u64,
}

/// What the store needs for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnUsage {
    /// The database with its journal.
    pub database: u64,
    /// Recipes, to rebuild layers byte for byte.
    pub recipes: u64,
    /// Configurations, manifests, and layers as they were received.
    pub blobs: u64,
    /// On its way in: what is being written.
    pub incoming: u64,
    /// On its way out: removed, its blocks not yet given back.
    pub outgoing: u64,
    /// Directories of all these, and what else there is.
    pub other: u64,
}

impl OwnUsage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.database + self.recipes + self.blobs + self.incoming + self.outgoing + self.other
    }
}

impl Usage {
    /// What `du -s` says.
    pub fn total(&self) -> u64 {
        self.layers.values().sum::<u64>()
            + self.containers.values().map(|c| c.files + c.logs).sum::<u64>()
            + self.volumes.values().sum::<u64>()
            + self.own.total()
    }
}

/// Layers that were measured, by the identity of their directory: a published layer never changes.
#[derive(Debug, Default)]
pub(crate) struct Measured(HashMap<Digest, (Identity, u64)>);

/// Inode and time of its last change.
type Identity = (u64, i64, i64);

impl Store {
    /// Measures everything. `is_log` tells a container's log files from its other files by their names.
    /// One measurement at a time; what changes meanwhile is counted before or after its change.
    pub fn usage(&self, is_log: &dyn Fn(&OsStr) -> bool) -> Result<Usage> {
        let mut measured = lock_anyway(&self.inner.measured);
        let known: std::collections::HashSet<String> =
            self.inner.db.layers()?.iter().map(|l| l.diff_id.hex()).collect();
        let root = open(rustix::fs::CWD, self.root().as_os_str())
            .map_err(std::io::Error::from)
            .with_context(|| format!("open {}", self.root().display()))?;
        let mut walk = Walk::new(root.as_fd())?;
        let mut usage = Usage::default();
        usage.own.other += walk.own(root.as_fd());
        for name in names(root.as_fd())? {
            match name.as_bytes() {
                b"layers" => self.layer_usage(&mut walk, root.as_fd(), &known, &mut usage, &mut measured),
                b"containers" => {
                    usage.own.other += walk.each(root.as_fd(), &name, |walk, dir, name| {
                        let one = walk.container(dir, name, is_log);
                        usage.containers.insert(name.to_string_lossy().into_owned(), one);
                    });
                }
                b"volumes" => {
                    usage.own.other += walk.each(root.as_fd(), &name, |walk, dir, name| {
                        usage.volumes.insert(name.to_string_lossy().into_owned(), walk.tree(dir, name));
                    });
                }
                b"recipes" => usage.own.recipes += walk.tree(root.as_fd(), &name),
                b"blobs" => usage.own.blobs += walk.tree(root.as_fd(), &name),
                b"tmp" | b"ingest" => usage.own.incoming += walk.tree(root.as_fd(), &name),
                b"trash" => usage.own.outgoing += walk.tree(root.as_fd(), &name),
                n if n.starts_with(b"dhow.db") => usage.own.database += walk.tree(root.as_fd(), &name),
                _ => usage.own.other += walk.tree(root.as_fd(), &name),
            }
        }
        usage.left_out = walk.left_out;
        Ok(usage)
    }

    fn layer_usage(
        &self,
        walk: &mut Walk,
        root: BorrowedFd<'_>,
        known: &std::collections::HashSet<String>,
        usage: &mut Usage,
        measured: &mut Measured,
    ) {
        let mut seen = HashMap::new();
        usage.own.other += walk.each(root, OsStr::new("layers"), |walk, dir, name| {
            let id = name.to_str().filter(|n| known.contains(*n)).and_then(|n| Digest::from_hex(n).ok());
            // Between its directory and its row a layer is on its way in.
            let Some(id) = id else {
                usage.own.incoming += walk.tree(dir, name);
                return;
            };
            let identity = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .map(|s| (s.st_ino, s.st_ctime, s.st_ctime_nsec as i64))
                .unwrap_or_default();
            let bytes = match measured.0.get(&id) {
                Some((then, bytes)) if *then == identity => *bytes,
                _ => walk.tree(dir, name),
            };
            seen.insert(id, (identity, bytes));
            usage.layers.insert(id, bytes);
        });
        measured.0 = seen;
    }

    /// Every image's layers, lowest first.
    pub fn layers_of_images(&self) -> Result<BTreeMap<Digest, Vec<Digest>>> {
        self.inner.db.layers_by_image()
    }
}

/// One walk over trees of one file system.
struct Walk {
    device: u64,
    /// Files with names not yet seen: how many.
    links: HashMap<u64, u64>,
    left_out: u64,
}

impl Walk {
    fn new(root: BorrowedFd<'_>) -> Result<Self> {
        let stat = rustix::fs::fstat(root).map_err(std::io::Error::from)?;
        Ok(Self { device: stat.st_dev, links: HashMap::new(), left_out: 0 })
    }

    /// What `dir` itself takes, without what is in it.
    fn own(&self, dir: BorrowedFd<'_>) -> u64 {
        rustix::fs::fstat(dir).map_or(0, |s| s.st_blocks as u64 * BLOCK)
    }

    /// What a file, or a directory without what is in it, adds.
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between machines")]
    fn count(&mut self, stat: &Stat) -> u64 {
        let bytes = stat.st_blocks as u64 * BLOCK;
        let names = stat.st_nlink as u64;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory || names < 2 {
            return bytes;
        }
        if let Some(left) = self.links.get_mut(&stat.st_ino) {
            *left -= 1;
            if *left == 0 {
                self.links.remove(&stat.st_ino);
            }
            return 0;
        }
        if self.links.len() >= MAX_LINKS {
            return bytes / names;
        }
        self.links.insert(stat.st_ino, names - 1);
        bytes
    }

    /// The tree at `name` in `at`. What vanishes meanwhile counts nothing.
    fn tree(&mut self, at: BorrowedFd<'_>, name: &OsStr) -> u64 {
        let Ok(stat) = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else { return 0 };
        if stat.st_dev != self.device {
            self.left_out += 1;
            return 0;
        }
        let mut bytes = self.count(&stat);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return bytes;
        }
        let mut stack: Vec<Dir> = Vec::new();
        stack.extend(open(at, name).and_then(Dir::new).ok());
        while let Some(dir) = stack.last_mut() {
            let Some(Ok(entry)) = dir.read() else {
                stack.pop();
                continue;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(fd) = dir.fd() else { continue };
            let Ok(stat) = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != self.device {
                self.left_out += 1;
                continue;
            }
            bytes += self.count(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                match open(fd, OsStr::from_bytes(name.to_bytes())).and_then(Dir::new) {
                    Ok(child) if stack.len() < MAX_DEPTH => stack.push(child),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    _ => self.left_out += 1,
                }
            }
        }
        bytes
    }

    /// Calls `f` for each entry of the directory `name`; returns what the directory itself takes.
    fn each(&mut self, at: BorrowedFd<'_>, name: &OsStr, mut f: impl FnMut(&mut Self, BorrowedFd<'_>, &OsStr)) -> u64 {
        let Ok(dir) = open(at, name) else { return self.tree(at, name) };
        for entry in names(dir.as_fd()).unwrap_or_default() {
            f(self, dir.as_fd(), &entry);
        }
        self.own(dir.as_fd())
    }

    fn container(&mut self, at: BorrowedFd<'_>, name: &OsStr, is_log: &dyn Fn(&OsStr) -> bool) -> ContainerUsage {
        let mut out = ContainerUsage::default();
        let own = self.each(at, name, |walk, dir, name| {
            let bytes = walk.tree(dir, name);
            *(if is_log(name) { &mut out.logs } else { &mut out.files }) += bytes;
        });
        out.files += own;
        out
    }
}

/// A directory below `at`, links not followed.
fn open(at: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Names in a directory of the store's own, which are as many as it has layers, containers or volumes.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir).map_err(std::io::Error::from).context("list a directory of the store")? {
        let entry = entry.map_err(std::io::Error::from).context("list a directory of the store")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

/// Bytes of allocated blocks in one tree of the store's file system; nothing if it is not there.
pub fn tree(path: &Path) -> u64 {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return 0 };
    let Ok(at) = open(rustix::fs::CWD, parent.as_os_str()) else { return 0 };
    Walk::new(at.as_fd()).map_or(0, |mut walk| walk.tree(at.as_fd(), name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreConfig;
    use std::process::Command;

    /// What GNU du says.
    fn du(path: &Path) -> u64 {
        let out = Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_sum_is_what_du_says() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let store = Store::open(&root, StoreConfig::default()).unwrap();
        store.ensure_hello(b"not a program").unwrap();
        let c = root.join("containers/c1");
        std::fs::create_dir_all(c.join("upper/deep/er")).unwrap();
        std::fs::write(c.join("upper/deep/f"), vec![1; 70_000]).unwrap();
        std::fs::hard_link(c.join("upper/deep/f"), c.join("upper/g")).unwrap();
        // A second name in another owner's directory counts once, too.
        std::fs::create_dir_all(root.join("volumes/v/_data")).unwrap();
        std::fs::hard_link(c.join("upper/deep/f"), root.join("volumes/v/_data/h")).unwrap();
        std::fs::write(c.join("c1-json.log"), vec![2; 9000]).unwrap();
        let sparse = std::fs::File::create(root.join("volumes/v/_data/sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/", c.join("upper/link")).unwrap();
        std::fs::create_dir(root.join("layers/stray")).unwrap();
        store.wait_for_trash();
        let is_log = |n: &OsStr| n.to_string_lossy().contains("-json.log");
        for _ in 0..2 {
            let usage = store.usage(&is_log).unwrap();
            assert_eq!(usage.total(), du(&root), "{usage:?}");
            assert!(usage.containers["c1"].logs >= 9000 && usage.containers["c1"].logs < 70_000);
            assert!(usage.containers["c1"].files >= 70_000 || usage.volumes["v"] >= 70_000);
            assert!(usage.layers.len() == 1 && usage.layers.values().all(|b| *b > 0));
            assert!(usage.own.database > 0 && usage.own.recipes > 0 && usage.own.blobs > 0 && usage.own.incoming > 0);
            assert_eq!(usage.left_out, 0);
        }
        assert_eq!(tree(&c), du(&c));
        assert_eq!(tree(&root.join("absent")), 0);
    }

    #[test]
    fn a_tree_deeper_than_the_bound_ends_the_walk_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = open(rustix::fs::CWD, dir.path().as_os_str()).unwrap();
        let top = at.try_clone().unwrap();
        for _ in 0..MAX_DEPTH + 20 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open(&at, OsStr::new("d")).unwrap();
        }
        let mut walk = Walk::new(top.as_fd()).unwrap();
        assert!(walk.tree(top.as_fd(), OsStr::new("d")) > 0);
        assert_eq!(walk.left_out, 1);
    }
}
