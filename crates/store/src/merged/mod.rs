//! Layers read as one tree, without mounting them: what overlayfs would show, by descriptor.
//!
//! A [`View`] is the tree, a [`Place`] a directory of it that may be opened any number of times, a [`Dir`] one that is
//! open. Nothing is followed by the kernel: directories are reached from the roots of their layers with paths that may
//! not leave them and have no links, so a container that renames things meanwhile gets its own files read or none
//! (rules R1 and R7). Links are followed here, in `lookup` alone, within the tree.

mod attributes;
pub mod compare;
mod differ;
mod lookup;
mod walk;

pub use attributes::{Attribute, attributes};
pub use differ::Rule;
pub use lookup::Found;
pub(crate) use walk::{Met, Walk};

use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// Most bytes of names that are held at once: all of a directory are needed to sort them.
pub const MAX_NAMES: usize = 64 << 20;
/// What a name costs besides its bytes.
const NAME_COST: usize = 48;

/// The tree made of layers.
#[derive(Debug)]
pub struct View {
    /// The layers' roots, top first.
    roots: Vec<OwnedFd>,
    resolve: ResolveFlags,
}

/// A directory of the tree: its path, and which layers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: Vec<u8>,
    /// Indices of layers, top first.
    layers: Vec<usize>,
}

/// An open directory of the tree.
#[derive(Debug)]
pub struct Dir {
    place: Place,
    /// One for each layer of the place.
    open: Vec<OwnedFd>,
    resolve: ResolveFlags,
}

/// What a name is.
#[derive(Debug)]
pub enum Node {
    /// A directory.
    Dir(Place),
    /// Anything else.
    Leaf(Leaf),
}

/// Something that is not a directory.
#[derive(Debug)]
pub struct Leaf {
    slot: usize,
    layer: usize,
    /// Its data when its name was looked at.
    pub stat: Stat,
}

const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn io(e: Errno) -> Error {
    std::io::Error::from(e).into()
}

impl View {
    /// The tree made of `layers`, top first. File systems mounted below them are not part of it.
    pub fn open<P: AsRef<Path>>(layers: &[P]) -> Result<Self> {
        let open = |p: &P| {
            rustix::fs::open(p.as_ref(), DIR, Mode::empty())
                .map_err(std::io::Error::from)
                .with_context(|| format!("open {}", p.as_ref().display()))
        };
        let roots = layers.iter().map(open).collect::<Result<_>>()?;
        Ok(Self { roots, resolve: CONFINED | ResolveFlags::NO_XDEV })
    }

    /// One plain directory with everything that is mounted in it.
    pub fn from_fd(root: OwnedFd) -> Self {
        Self { roots: vec![root], resolve: CONFINED }
    }

    /// The root of the tree. As in overlayfs, no layer hides the roots of those below it.
    pub fn root(&self) -> Place {
        Place { path: Vec::new(), layers: (0..self.roots.len()).collect() }
    }

    /// Opens a directory; none if it is gone meanwhile, or is a place where something is mounted.
    pub fn dir(&self, place: &Place) -> Result<Option<Dir>> {
        let mut found = Dir {
            place: Place { path: place.path.clone(), layers: Vec::with_capacity(place.layers.len()) },
            open: Vec::with_capacity(place.layers.len()),
            resolve: self.resolve,
        };
        let path = if place.path.is_empty() { b"." } else { place.path.as_slice() };
        for &layer in &place.layers {
            match rustix::fs::openat2(&self.roots[layer], path, DIR, Mode::empty(), self.resolve) {
                Ok(fd) => {
                    found.place.layers.push(layer);
                    found.open.push(fd);
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(Errno::NAMETOOLONG) => {
                    let text = format!("{} is deeper than the kernel has names for", crate::names::shown(path));
                    return Err(Error::new(ErrorKind::Exhausted, text));
                }
                Err(e) => return Err(io(e)).with_context(|| format!("open {}", crate::names::shown(path))),
            }
        }
        Ok((!found.open.is_empty()).then_some(found))
    }
}

impl Place {
    /// From the root, without a slash in front; empty for the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The topmost layer that has it.
    pub fn layer(&self) -> usize {
        self.layers.first().copied().unwrap_or_default()
    }
}

impl Leaf {
    /// The layer it lies in, 0 being the top.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Its type when its name was looked at.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl Dir {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The topmost of its directories: its mode, owner and attributes are the tree's.
    pub fn top(&self) -> BorrowedFd<'_> {
        self.open[0].as_fd()
    }

    /// What `name`, one component, is here.
    pub fn child(&self, name: &OsStr) -> Result<Option<Node>> {
        let mut layers: Vec<usize> = Vec::new();
        for (slot, fd) in self.open.iter().enumerate() {
            let Some(stat) = stat_of(fd.as_fd(), name)? else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    layers.push(self.place.layers[slot]);
                    if is_opaque(fd.as_fd(), name) {
                        break;
                    }
                }
                FileType::CharacterDevice if stat.st_rdev == 0 => break,
                _ if layers.is_empty() => {
                    return Ok(Some(Node::Leaf(Leaf { slot, layer: self.place.layers[slot], stat })));
                }
                // Something else below a directory is hidden by it.
                _ => break,
            }
        }
        if layers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Node::Dir(Place { path: crate::names::join(&self.place.path, name.as_bytes()), layers })))
    }

    /// All names that any layer has here, sorted; some may be of nothing, since a layer above says so.
    /// Their cost is taken from `budget`, which begins as [`MAX_NAMES`].
    pub fn names(&self, budget: &mut usize) -> Result<Vec<OsString>> {
        self.names_in(budget, &|_| true)
    }

    /// The same in some layers only.
    pub(crate) fn names_in(&self, budget: &mut usize, counts: &dyn Fn(usize) -> bool) -> Result<Vec<OsString>> {
        let mut names: Vec<OsString> = Vec::new();
        for (fd, _) in self.open.iter().zip(&self.place.layers).filter(|(_, layer)| counts(**layer)) {
            for entry in rustix::fs::Dir::read_from(fd).map_err(io)? {
                let entry = match entry {
                    Ok(entry) => entry,
                    // Removed while it is being read.
                    Err(Errno::NOENT) => break,
                    Err(e) => return Err(io(e)),
                };
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                *budget = budget.checked_sub(name.len() + NAME_COST).ok_or_else(|| {
                    let path = crate::names::shown(&self.place.path);
                    Error::new(ErrorKind::Exhausted, format!("too many names in /{path} to sort them in memory"))
                })?;
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        let cost = |names: &[OsString]| names.iter().map(|n| n.len() + NAME_COST).sum::<usize>();
        let before = cost(&names);
        names.dedup();
        *budget += before - cost(&names);
        Ok(names)
    }

    /// Opens a leaf without touching what it stands for: only its data and attributes can be read by it.
    /// None if it is gone meanwhile, or something is mounted on it.
    pub fn open_leaf(&self, name: &OsStr, leaf: &Leaf) -> Result<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.open[leaf.slot], name, flags, Mode::empty(), self.resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::XDEV) => Ok(None),
            Err(e) => Err(io(e)).with_context(|| format!("open {name:?}")),
        }
    }

    /// What the layers say about a name that are asked for, top first: each layer that has it, with its data, and
    /// whether it hides what is below.
    pub(crate) fn said(&self, name: &OsStr, counts: &dyn Fn(usize) -> bool) -> Result<Vec<Said>> {
        let mut out = Vec::new();
        for (fd, &layer) in self.open.iter().zip(&self.place.layers).filter(|(_, layer)| counts(**layer)) {
            let Some(stat) = stat_of(fd.as_fd(), name)? else { continue };
            let (dir, whiteout) = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => (true, false),
                FileType::CharacterDevice => (false, stat.st_rdev == 0),
                _ => (false, false),
            };
            out.push(Said { layer, dir, whiteout, hides: !dir || is_opaque(fd.as_fd(), name) });
        }
        Ok(out)
    }
}

/// What one layer says about a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub layer: usize,
    pub dir: bool,
    pub whiteout: bool,
    /// Nothing of the layers below is seen.
    pub hides: bool,
}

/// Opens a regular file for reading that was opened as a mere name. The name can't have become a pipe or a device
/// meanwhile, whose opening might wait or do something.
pub fn reopen(file: BorrowedFd<'_>) -> Result<std::fs::File> {
    Ok(std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?)
}

/// Opens one component below `dir`.
pub fn beneath(dir: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC, Mode::empty(), CONFINED)
        .map_err(std::io::Error::from)
        .with_context(|| format!("open {name:?}"))
}

fn stat_of(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(io(e)).with_context(|| format!("look at {name:?}")),
    }
}

/// Whether a directory hides those of the layers below. `user.overlay.opaque` counts for mounts with `userxattr`
/// alone, and dhow makes none: a container may set that attribute as any other.
fn is_opaque(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let mut value = [0u8; 1];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", value.as_mut_slice()).is_ok_and(|n| n == 1)
        && value[0] == b'y'
}

#[cfg(test)]
mod tests;
