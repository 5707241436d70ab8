//! Trees on disk become tar streams: a container's writable layer as a layer of an image, and all of a container as
//! one flat archive.
//!
//! What a container wrote is untrusted, and the container may run meanwhile: everything is reached by descriptor,
//! nothing but regular files is opened, and a file that shrinks while it is read is filled up with zeros, since its
//! size was announced.

use crate::merged::{self, Dir, Leaf, Met, Node, View, Walk};
use crate::names::{join, shown};
use crate::tar::write::TarWriter;
use crate::tar::{Entry, Kind};
use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::fs::{FileType, Stat, fstat, major, minor};
use std::collections::HashMap;
use std::io::{Read as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes of a file read at once.
const READ: usize = 256 << 10;
/// Most bytes of names remembered to find further names of the same file.
const MAX_LINKED: usize = 64 << 20;

/// An overlayfs upper directory as the tar of an image's layer: whiteouts and opaque directories by their OCI names,
/// overlayfs' own attributes left out, sockets left out, names sorted. The same directory gives the same bytes.
///
/// Fails on names that would mean a deletion in a layer: they could not come back.
pub(crate) fn layer_tar(upper: &Path, out: &mut dyn Write) -> Result<()> {
    let view = View::open(&[upper])?;
    let mut pack = Pack::new(out);
    let root = view.dir(&view.root())?.ok_or_else(|| Error::not_found(format!("{} is gone", upper.display())))?;
    pack.entry(&b"./"[..], root.top(), |_| ())?;
    let mut walk = Walk::new(&view);
    while let Some(met) = walk.next()? {
        let path = join(met.dir.place().path(), met.name.as_bytes());
        if met.name.as_bytes().starts_with(b".wh.") {
            return Err(Error::invalid(format!(
                "{} can't be in an image: names with .wh. in front mean a deletion there; rename or remove it",
                shown(&path)
            )));
        }
        if met.node.is_none() {
            let said = met.dir.said(&met.name, &|_| true)?;
            if said.first().is_some_and(|s| s.whiteout) {
                pack.marker(&join(met.dir.place().path(), &[b".wh.", met.name.as_bytes()].concat()))?;
            }
            continue;
        }
        let opaque = matches!(met.node, Some(Node::Dir(_)))
            && met.dir.said(&met.name, &|_| true)?.first().is_some_and(|s| s.dir && s.hides);
        pack.met(&view, &met, &path)?;
        if opaque {
            pack.marker(&join(&path, b".wh..wh..opq"))?;
        }
    }
    pack.finish()
}

/// How many bytes the files of an upper directory will take on disk once more: holes are filled in a layer.
pub(crate) fn weight(upper: &Path) -> Result<u64> {
    /// What file systems give at once.
    const BLOCK: u64 = 4096;
    let view = View::open(&[upper])?;
    let mut walk = Walk::new(&view);
    let mut bytes = 0u64;
    while let Some(met) = walk.next()? {
        if let Some(Node::Leaf(leaf)) = &met.node
            && leaf.kind() == FileType::RegularFile
        {
            // A file with several names is met as often.
            let names = u64::from(leaf.stat.st_nlink.max(1) as u32);
            bytes = bytes.saturating_add((leaf.stat.st_size as u64).next_multiple_of(BLOCK) / names);
        }
    }
    Ok(bytes)
}

impl View {
    /// The whole tree, but for its root and sockets, as a tar stream, names sorted.
    pub fn export(&self, out: &mut dyn Write) -> Result<()> {
        let mut pack = Pack::new(out);
        let mut walk = Walk::new(self);
        while let Some(met) = walk.next()? {
            let path = join(met.dir.place().path(), met.name.as_bytes());
            pack.met(self, &met, &path)?;
        }
        pack.finish()
    }
}

/// A file with more than one name: layer, device and number.
type Inode = (usize, u64, u64);

/// An archive being written from a tree.
struct Pack<'o> {
    tar: TarWriter<std::io::BufWriter<&'o mut dyn Write>>,
    /// The first name of each file that has more, and how many are still to come.
    linked: HashMap<Inode, (Vec<u8>, usize)>,
    linked_bytes: usize,
    buffer: Vec<u8>,
}

impl<'o> Pack<'o> {
    fn new(out: &'o mut dyn Write) -> Self {
        let out = std::io::BufWriter::with_capacity(READ, out);
        Self { tar: TarWriter::new(out), linked: HashMap::new(), linked_bytes: 0, buffer: vec![0; READ] }
    }

    /// Writes what a walk met, if it is anything that an archive can hold.
    fn met(&mut self, view: &View, met: &Met<'_>, path: &[u8]) -> Result<()> {
        match &met.node {
            None => Ok(()),
            Some(Node::Dir(place)) => match view.dir(place)? {
                Some(dir) => self.entry(path, dir.top(), |_| ()).map(drop),
                // Something is mounted there: the tree has the place, not what is in it.
                None if matches!(met.dir.child(&met.name)?, Some(Node::Dir(_))) => {
                    self.tar.entry(&Entry { kind: Kind::Dir, name: path.to_vec(), mode: 0o755, ..Entry::default() })
                }
                None => Ok(()),
            },
            Some(Node::Leaf(leaf)) => self.leaf(met.dir, &met.name, leaf, path),
        }
        .with_context(|| format!("read {}", shown(path)))
    }

    fn leaf(&mut self, dir: &Dir, name: &std::ffi::OsStr, leaf: &Leaf, path: &[u8]) -> Result<()> {
        let Some(file) = dir.open_leaf(name, leaf)? else { return Ok(()) };
        let stat = fstat(&file).map_err(std::io::Error::from)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket || kind == FileType::Directory {
            // A socket means nothing without its process; a directory was something else a moment ago.
            return Ok(());
        }
        if let Some(first) = self.first_name(leaf.layer(), &stat, path)? {
            return self
                .entry(path, file.as_fd(), |entry| {
                    (entry.kind, entry.link, entry.size) = (Kind::Hardlink, first, 0);
                })
                .map(drop);
        }
        if kind == FileType::Symlink {
            let target = rustix::fs::readlinkat(&file, "", Vec::new()).map_err(std::io::Error::from)?;
            return self.entry(path, file.as_fd(), |entry| entry.link = target.into_bytes()).map(drop);
        }
        let size = self.entry(path, file.as_fd(), |_| ())?;
        if size > 0 { self.content(file, size) } else { Ok(()) }
    }

    /// The name under which the file was already written.
    fn first_name(&mut self, layer: usize, stat: &Stat, path: &[u8]) -> Result<Option<Vec<u8>>> {
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        let inode = (layer, stat.st_dev, stat.st_ino);
        if let Some((first, left)) = self.linked.get_mut(&inode) {
            *left -= 1;
            if *left > 0 {
                return Ok(Some(first.clone()));
            }
            self.linked_bytes -= first.len() + size_of::<Inode>();
            return Ok(self.linked.remove(&inode).map(|f| f.0));
        }
        self.linked_bytes += path.len() + size_of::<Inode>();
        if self.linked_bytes > MAX_LINKED {
            return Err(Error::new(ErrorKind::Exhausted, "too many files with several names to remember them all"));
        }
        self.linked.insert(inode, (path.to_vec(), stat.st_nlink as usize - 1));
        Ok(None)
    }

    /// An entry for what is open, changed by `change`; returns its size.
    fn entry(&mut self, path: &[u8], file: BorrowedFd<'_>, change: impl FnOnce(&mut Entry)) -> Result<u64> {
        let stat = fstat(file).map_err(std::io::Error::from)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => Kind::File,
        };
        let node = matches!(kind, Kind::Char | Kind::Block);
        let mut entry = Entry {
            kind,
            name: path.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            device: if node { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
            xattrs: merged::attributes(file)?,
            size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
            ..Entry::default()
        };
        change(&mut entry);
        if entry.kind == Kind::Hardlink {
            entry.xattrs.clear();
        }
        self.tar.entry(&entry)?;
        Ok(entry.size)
    }

    /// As many bytes as were announced, whatever happens to the file.
    fn content(&mut self, file: OwnedFd, size: u64) -> Result<()> {
        let mut file = merged::reopen(file.as_fd())?.take(size);
        loop {
            let n = file.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            self.tar.data(&self.buffer[..n])?;
        }
        if self.tar.missing() > 0 {
            self.buffer.fill(0);
        }
        while self.tar.missing() > 0 {
            let n = usize::try_from(self.tar.missing()).map_or(READ, |m| m.min(READ));
            self.tar.data(&self.buffer[..n])?;
        }
        Ok(())
    }

    /// An empty file whose name says something about layers below.
    fn marker(&mut self, path: &[u8]) -> Result<()> {
        self.tar.entry(&Entry { name: path.to_vec(), ..Entry::default() })
    }

    fn finish(self) -> Result<()> {
        self.tar.finish().map(drop)
    }
}

#[cfg(test)]
mod tests;
