//! Layers read as one tree, without mounting them: what overlayfs would show, by descriptor.
//!
//! For the two things that are needed before a container's root exists: its passwd and group files, and what an
//! image has at the place of a new volume. Every step is one component below a directory that is open already, and
//! links are followed here, within the tree (rules R1 and R7).

use dhow_types::{Context, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Most links followed on one path, as the kernel has it.
const MAX_LINKS: usize = 40;
/// Largest file that is read for user names.
const MAX_FILE: u64 = 10 << 20;
/// Most components of a path.
const MAX_DEPTH: usize = 1024;

/// A directory of the merged tree: the same directory in each layer that has it, top first.
#[derive(Debug)]
pub(crate) struct Dir {
    layers: Vec<OwnedFd>,
}

/// What a name is.
#[derive(Debug)]
pub(crate) enum Node {
    /// A directory.
    Dir(Dir),
    /// Anything else: the directory of its layer, to reach it by name, and its data.
    Other(OwnedFd, Box<Stat>),
}

impl Dir {
    /// The root of the tree made of `layers`, top first.
    pub(crate) fn open<P: AsRef<Path>>(layers: &[P]) -> Result<Self> {
        let open = |p: &P| {
            rustix::fs::open(p.as_ref(), DIR, Mode::empty())
                .map_err(std::io::Error::from)
                .with_context(|| format!("open {}", p.as_ref().display()))
        };
        Ok(Self { layers: layers.iter().map(open).collect::<Result<_>>()? })
    }

    /// The root of one plain directory.
    pub(crate) fn from_fd(root: OwnedFd) -> Self {
        Self { layers: vec![root] }
    }

    /// The topmost of its directories: its mode, owner and attributes are the tree's.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.layers[0].as_fd()
    }

    /// What `name`, one component, is here.
    pub(crate) fn child(&self, name: &OsStr) -> Result<Option<Node>> {
        let mut found: Vec<OwnedFd> = Vec::new();
        for layer in &self.layers {
            let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(e) => return Err(std::io::Error::from(e)).with_context(|| format!("look at {name:?}")),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let dir = beneath(layer.as_fd(), name, DIR)?;
                    let opaque = is_opaque(dir.as_fd());
                    found.push(dir);
                    if opaque {
                        break;
                    }
                }
                FileType::CharacterDevice if stat.st_rdev == 0 => break,
                _ if found.is_empty() => {
                    let holder = rustix::io::fcntl_dupfd_cloexec(layer, 3).map_err(std::io::Error::from)?;
                    return Ok(Some(Node::Other(holder, Box::new(stat))));
                }
                // Something else below a directory is hidden by it.
                _ => break,
            }
        }
        Ok((!found.is_empty()).then_some(Node::Dir(Dir { layers: found })))
    }

    /// All names here, with what they are.
    pub(crate) fn children(&self) -> Result<BTreeMap<OsString, Node>> {
        let mut names = std::collections::BTreeSet::new();
        for layer in &self.layers {
            let list = rustix::fs::Dir::read_from(layer).map_err(std::io::Error::from)?;
            for entry in list {
                let entry = entry.map_err(std::io::Error::from)?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.insert(OsString::from_vec(name.to_vec()));
                }
            }
        }
        let mut out = BTreeMap::new();
        for name in names {
            if let Some(node) = self.child(&name)? {
                out.insert(name, node);
            }
        }
        Ok(out)
    }

    /// Walks `path` from this root, links included.
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<Node>> {
        let mut todo: Vec<OsString> = components(OsStr::new(path));
        todo.reverse();
        // The directories from the root down to where we are, so that `..` has somewhere to go.
        let mut stack: Vec<Dir> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                stack.pop();
                continue;
            }
            if stack.len() > MAX_DEPTH {
                return Err(Error::invalid(format!("{path:?} is deeper than {MAX_DEPTH} directories")));
            }
            let node = stack.last().unwrap_or(self).child(&name)?;
            match node {
                None => return Ok(None),
                Some(Node::Dir(dir)) => stack.push(dir),
                Some(Node::Other(holder, stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::invalid(format!("too many links on {path:?}")));
                    }
                    let target = rustix::fs::readlinkat(&holder, &name, Vec::new()).map_err(std::io::Error::from)?;
                    let target = OsStr::from_bytes(target.to_bytes());
                    if target.as_bytes().starts_with(b"/") {
                        stack.clear();
                    }
                    todo.extend(components(target).into_iter().rev());
                }
                Some(other) => return Ok(todo.is_empty().then_some(named(other, &name)?)),
            }
        }
        match stack.pop() {
            Some(dir) => Ok(Some(Node::Dir(dir))),
            None => {
                let dup =
                    |l: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(l, 3).map_err(|e| std::io::Error::from(e).into());
                Ok(Some(Node::Dir(Dir { layers: self.layers.iter().map(dup).collect::<Result<_>>()? })))
            }
        }
    }

    /// The text of a regular file of at most 10 MiB; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let Some(Node::Other(file, stat)) = self.lookup(path)? else { return Ok(String::new()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::invalid(format!("{path} in the container is not a regular file")));
        }
        let reopened = std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .with_context(|| format!("open {path} of the container"))?;
        let mut bytes = Vec::new();
        reopened.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("read {path} of the container"))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Error::new(
                dhow_types::ErrorKind::Exhausted,
                format!("{path} in the container is larger than {} MiB", MAX_FILE >> 20),
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens one component below `dir`.
pub(crate) fn beneath(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map_err(std::io::Error::from)
        .with_context(|| format!("open {name:?}"))
}

/// The thing itself instead of the directory that holds it, and its data again, now that it can't change.
fn named(node: Node, name: &OsStr) -> Result<Node> {
    let Node::Other(holder, _) = node else { return Ok(node) };
    let file = beneath(holder.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = rustix::fs::fstat(&file).map_err(std::io::Error::from)?;
    Ok(Node::Other(file, Box::new(stat)))
}

fn components(path: &OsStr) -> Vec<OsString> {
    path.as_bytes()
        .split(|b| *b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
        .map(|c| OsString::from_vec(c.to_vec()))
        .collect()
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0u8; 1];
    let opaque = |name: &str, value: &mut [u8; 1]| {
        rustix::fs::fgetxattr(dir, name, value.as_mut_slice()).is_ok_and(|n| n == 1) && value[0] == b'y'
    };
    opaque("trusted.overlay.opaque", &mut value) || opaque("user.overlay.opaque", &mut value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Layers {
        _dir: tempfile::TempDir,
        top: std::path::PathBuf,
        low: std::path::PathBuf,
    }

    fn layers() -> Layers {
        let dir = tempfile::tempdir().unwrap();
        let (top, low) = (dir.path().join("top"), dir.path().join("low"));
        for d in ["etc", "data/sub", "opq"] {
            std::fs::create_dir_all(low.join(d)).unwrap();
        }
        std::fs::create_dir_all(top.join("etc")).unwrap();
        std::fs::create_dir_all(top.join("opq")).unwrap();
        std::fs::write(low.join("etc/passwd"), "low").unwrap();
        std::fs::write(low.join("etc/gone"), "x").unwrap();
        std::fs::write(low.join("opq/hidden"), "x").unwrap();
        std::fs::write(top.join("etc/group"), "top").unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, top.join("etc/gone"), FileType::CharacterDevice, Mode::empty(), 0)
            .unwrap();
        rustix::fs::setxattr(top.join("opq"), "trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        Layers { _dir: dir, top, low }
    }

    #[test]
    fn merges_like_overlayfs() {
        let l = layers();
        let root = Dir::open(&[&l.top, &l.low]).unwrap();
        assert_eq!(root.read("/etc/passwd").unwrap(), "low");
        assert_eq!(root.read("/etc/group").unwrap(), "top");
        assert_eq!(root.read("/etc/gone").unwrap(), "");
        assert_eq!(root.read("/opq/hidden").unwrap(), "");
        let Some(Node::Dir(etc)) = root.lookup("/etc").unwrap() else { panic!() };
        let names: Vec<_> = etc.children().unwrap().into_keys().collect();
        assert_eq!(names, ["group", "passwd"]);
    }

    #[test]
    fn links_stay_inside() {
        let l = layers();
        let root = Dir::open(&[&l.top, &l.low]).unwrap();
        symlink("/etc/passwd", l.low.join("data/abs")).unwrap();
        symlink("../../../../../etc/passwd", l.low.join("data/sub/rel")).unwrap();
        symlink("../outside", l.top.join("escape")).unwrap();
        symlink("loop", l.top.join("loop")).unwrap();
        symlink(l.top.parent().unwrap().join("outside"), l.top.join("host")).unwrap();
        assert_eq!(root.read("/data/abs").unwrap(), "low");
        assert_eq!(root.read("/data/sub/rel").unwrap(), "low");
        assert_eq!(root.read("/escape").unwrap(), "");
        assert_eq!(root.read("/host").unwrap(), "");
        assert!(root.read("/loop").is_err());
    }

    #[test]
    fn odd_files_are_refused_without_reading() {
        let l = layers();
        let root = Dir::open(&[&l.top, &l.low]).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, l.top.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(root.read("/fifo").unwrap_err().text().contains("not a regular file"));
        std::fs::File::create(l.top.join("huge")).unwrap().set_len(1 << 40).unwrap();
        assert!(root.read("/huge").unwrap_err().text().contains("larger than 10 MiB"));
        assert_eq!(root.read("/etc").unwrap(), "");
    }
}
