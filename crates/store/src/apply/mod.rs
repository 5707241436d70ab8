//! A layer's tar becomes a directory that overlayfs can use as it is.
//!
//! The tree depends on its own tar only: no lower layer is looked at. Whiteouts become character
//! devices 0:0, opaque directories get overlayfs' attribute. Everything happens by descriptor (R1).

mod limits;
mod tree;
pub(crate) mod xattr;

pub use limits::Limits;

use crate::names::{self, Marker, clean, in_bookkeeping, marker, shown, split};
use crate::recipe;
use crate::tar::{self, Entry, Kind};
use dhow_types::{Context as _, Error, ErrorKind, Result};
use limits::Budget;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use tree::Tree;

/// What is known about a layer once it is unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Bytes of file content.
    pub size: u64,
    /// Whether the layer hides everything below.
    pub opaque_root: bool,
    /// Things left out, for people.
    pub warnings: Vec<String>,
}

/// Where a layer's parts are while it is being unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Workplace {
    pub tree: PathBuf,
    pub recipe: PathBuf,
    pub displaced: PathBuf,
    /// Replaced files and trees, until the end.
    pub lost: PathBuf,
}

impl Workplace {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            tree: dir.join("tree"),
            recipe: dir.join("recipe"),
            displaced: dir.join("displaced"),
            lost: dir.join("lost"),
        }
    }
}

impl tar::Sink for recipe::Writer {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        recipe::Writer::literal(self, bytes)
    }
}

/// Unpacks all of `input` into `dir`, which is empty.
pub(crate) fn apply(input: impl BufRead, dir: &Path, limits: &Limits) -> Result<Applied> {
    let place = Workplace::new(dir);
    let mut tree = Tree::create(&place, limits)?;
    let mut recipe = recipe::Writer::create(&place.recipe)?;
    let mut budget = Budget::new(limits, tree.root())?;
    let mut reader = tar::Reader::new(input, limits.header_bytes);
    let mut size = 0;
    while let Some(entry) = reader.next(&mut Counted { recipe: &mut recipe, budget: &mut budget })? {
        budget.entry()?;
        size += one(&mut tree, &mut reader, &mut recipe, &mut budget, &entry)
            .with_context(|| format!("entry {}", shown(&entry.name)))?;
    }
    reader.rest(&mut Counted { recipe: &mut recipe, budget: &mut budget })?;
    recipe.finish()?;
    tree.finish(&place)?;
    Ok(Applied { size, opaque_root: tree.opaque_root(), warnings: tree.take_warnings() })
}

/// Literal bytes, of which an archive may have any number: they count as content does.
struct Counted<'a> {
    recipe: &'a mut recipe::Writer,
    budget: &'a mut Budget,
}

impl tar::Sink for Counted<'_> {
    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.budget.bytes(bytes.len() as u64)?;
        self.recipe.literal(bytes)
    }
}

/// Unpacks one entry; returns the bytes of content it has.
fn one<R: BufRead>(
    tree: &mut Tree,
    reader: &mut tar::Reader<R>,
    recipe: &mut recipe::Writer,
    budget: &mut Budget,
    entry: &Entry,
) -> Result<u64> {
    tree.set_now(recipe.files());
    let path = clean(&entry.name)?;
    if path.is_empty() {
        if entry.kind != Kind::Dir {
            return Err(Error::invalid("the root of a layer must be a directory"));
        }
        tree.root_entry(entry)?;
        return Ok(0);
    }
    let (parent, name) = split(&path);
    let marked = match marker(name)? {
        _ if in_bookkeeping(&path) => Some(Marker::Bookkeeping),
        Marker::None => None,
        other => Some(other),
    };
    if let Some(marked) = marked {
        match marked {
            Marker::Whiteout(hidden) => tree.whiteout(parent, hidden)?,
            Marker::Opaque => tree.opaque(parent)?,
            Marker::Bookkeeping | Marker::None => {}
        }
        reader.pass_over(&mut Counted { recipe, budget })?;
        return Ok(0);
    }
    match entry.kind {
        Kind::File => return file(tree, reader, recipe, budget, parent, name, entry),
        Kind::Dir => tree.dir(parent, name, entry)?,
        Kind::Symlink => tree.symlink(parent, name, entry)?,
        Kind::Hardlink => {
            let target = clean(&entry.link).context("hard link target")?;
            tree.hardlink(parent, name, &target)?;
        }
        Kind::Char if entry.device == (0, 0) => tree.whiteout(parent, name)?,
        Kind::Char | Kind::Block | Kind::Fifo => tree.node(parent, name, entry)?,
    }
    Ok(0)
}

fn file<R: BufRead>(
    tree: &mut Tree,
    reader: &mut tar::Reader<R>,
    recipe: &mut recipe::Writer,
    budget: &mut Budget,
    parent: &[u8],
    name: &[u8],
    entry: &Entry,
) -> Result<u64> {
    let whole = [(0, entry.size)];
    let (pieces, length) = match &entry.sparse {
        Some(s) => (s.map.as_slice(), s.real_size),
        None => (&whole[..], entry.size),
    };
    budget.announce(length)?;
    let open = tree.file(parent, name, entry)?;
    if entry.size > 0 {
        recipe.file(&names::join(&open.parent_path, name), pieces)?;
    }
    if entry.sparse.is_some() {
        open.set_len(length)?;
    }
    let (mut piece, mut into) = (0, 0);
    let mut sum = flate2::Crc::new();
    loop {
        let data = reader.piece()?;
        if data.is_empty() {
            break;
        }
        // Pieces fit the data exactly; empty ones are passed over.
        while pieces.get(piece).is_some_and(|p| into == p.1) {
            (piece, into) = (piece + 1, 0);
        }
        let &(offset, len) =
            pieces.get(piece).ok_or_else(|| Error::new(ErrorKind::System, "more data than the map has"))?;
        let n = data.len().min(usize::try_from(len - into).unwrap_or(usize::MAX));
        budget.bytes(n as u64)?;
        open.write_at(&data[..n], offset + into)?;
        sum.update(&data[..n]);
        into += n as u64;
        reader.used(n);
    }
    if entry.size > 0 {
        recipe.sum(sum.sum())?;
    }
    tree.finish_file(open, entry)?;
    Ok(length)
}
