//! What differs between two trees that stand on the same lowest layers, without reading those.
//!
//! Only names that a layer of one's own mentions can differ. Where one tree no longer sees a shared layer that the
//! other one sees, because something hides it, everything there is compared. What came from the same shared layer is
//! the same and is not looked at.

use super::differ::{Rule, directories_differ, leaves_differ};
use super::{Dir, MAX_NAMES, Node, Place, View};
use crate::names::join;
use dhow_types::Result;
use rustix::fs::FileType;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is in both trees and differs, or something below it does.
    Modified,
    /// It is in the new tree alone.
    Added,
    /// It is in the old tree alone.
    Removed,
}

/// One of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    #[allow(missing_docs)]
    Old,
    #[allow(missing_docs)]
    New,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root, without a slash in front.
    pub path: Vec<u8>,
    #[allow(missing_docs)]
    pub kind: Kind,
    /// Bytes of a regular file before and after; 0 for everything else.
    pub old_size: u64,
    #[allow(missing_docs)]
    pub new_size: u64,
    /// Whether it is a directory now, or was one if it is gone.
    pub directory: bool,
    /// The tree and the index in it of the layer that made the difference. None for a directory that is named
    /// because of what is below it.
    pub by: Option<(Side, usize)>,
}

/// Which removals are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removals {
    /// Directories, not what was in them; their size is 0.
    Topmost,
    /// Directories, not what was in them; their size is that of all files that were in them.
    Measured,
    /// Everything.
    All,
}

/// Two trees to be compared.
pub struct Comparison<'v> {
    /// The trees.
    pub old: &'v View,
    #[allow(missing_docs)]
    pub new: &'v View,
    /// How many of the lowest layers are the same in both.
    pub shared: usize,
    /// What counts as a difference of two files.
    pub rule: Rule,
    #[allow(missing_docs)]
    pub removals: Removals,
}

/// A directory that is in at least one of the trees.
struct Frame {
    old: Option<Place>,
    new: Option<Place>,
    path: Vec<u8>,
    names: std::vec::IntoIter<OsString>,
    /// What the names cost.
    cost: usize,
    open: Option<Pair>,
    /// The change of the directory itself was told already.
    told: bool,
    inner: Inner,
}

/// The open directories of a frame.
type Pair = (Option<Dir>, Option<Dir>);

/// How the contents of a directory are told.
#[derive(Clone, Copy, Debug, Default)]
struct Inner {
    /// What made the difference of everything in it, if it is in one tree only.
    by: Option<(Side, usize)>,
    /// Nothing is told but summed up.
    silent: bool,
}

/// What follows from a name.
#[derive(Default)]
struct Outcome {
    change: Option<Change>,
    enter: Option<(Option<Place>, Option<Place>, Inner)>,
}

impl Comparison<'_> {
    /// Tells every difference in the order of names, directories before what is in them. What `tell` fails with ends
    /// it. A directory of which only contents differ is told as modified; the root never is.
    pub fn run(&self, tell: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let mut run = Run { of: self, frames: Vec::new(), budget: MAX_NAMES, pending: None };
        run.enter(Some(self.old.root()), Some(self.new.root()), Vec::new(), Inner::default(), tell)?;
        while !run.frames.is_empty() {
            run.step(tell)?;
        }
        Ok(())
    }

    /// Whether a layer of this side is its own.
    fn own(&self, side: Side, layer: usize) -> bool {
        layer + self.shared < self.view(side).roots.len()
    }

    fn view(&self, side: Side) -> &View {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// The layer counted from the lowest, which is the same number in both trees.
    fn depth(&self, side: Side, layer: usize) -> usize {
        self.view(side).roots.len() - layer
    }

    /// The shared layers of a place.
    fn shared_of(&self, side: Side, place: &Place) -> Vec<usize> {
        place.layers.iter().filter(|l| !self.own(side, **l)).map(|l| self.depth(side, *l)).collect()
    }

    fn untouched(&self, old: &Place, new: &Place) -> bool {
        let own = |side, place: &Place| place.layers.iter().any(|l| self.own(side, *l));
        !own(Side::Old, old) && !own(Side::New, new) && self.shared_of(Side::Old, old) == self.shared_of(Side::New, new)
    }

    /// Who made the difference of something that is in both trees.
    fn changer(&self, old: usize, new: usize) -> (Side, usize) {
        if self.own(Side::New, new) { (Side::New, new) } else { (Side::Old, old) }
    }

    /// Who made it that the new tree does not have what the old tree has from this layer.
    fn remover(&self, new: &Dir, name: &OsStr, old_layer: usize) -> Result<(Side, usize)> {
        if let Some(said) = new.said(name, &|layer| self.own(Side::New, layer))?.first() {
            return Ok((Side::New, said.layer));
        }
        // A shared layer's: then the directory is opaque, in the lowest layer that it is seen of.
        Ok(match new.place().layers.last() {
            Some(&last) if !self.own(Side::Old, old_layer) && self.own(Side::New, last) => (Side::New, last),
            _ => (Side::Old, old_layer),
        })
    }

    /// Who made it that the new tree has from this layer what the old tree does not have.
    fn adder(&self, old: &Dir, name: &OsStr, new_layer: usize) -> Result<(Side, usize)> {
        if self.own(Side::New, new_layer) {
            return Ok((Side::New, new_layer));
        }
        if let Some(said) = old.said(name, &|layer| self.own(Side::Old, layer))?.first() {
            return Ok((Side::Old, said.layer));
        }
        Ok(match old.place().layers.last() {
            Some(&last) if self.own(Side::Old, last) => (Side::Old, last),
            _ => (Side::New, new_layer),
        })
    }

    fn decide(&self, (old, new): &Pair, name: &OsStr, path: Vec<u8>, inner: Inner) -> Result<Outcome> {
        let child = |dir: &Option<Dir>| dir.as_ref().map_or(Ok(None), |d| d.child(name));
        let layer = |node: &Node| match node {
            Node::Dir(place) => place.layer(),
            Node::Leaf(leaf) => leaf.layer(),
        };
        // What is removed with its directory, and how that is told.
        let below = |by| match self.removals {
            _ if inner.silent => Some(inner),
            Removals::Topmost => None,
            Removals::Measured => Some(Inner { by, silent: true }),
            Removals::All => Some(Inner { by, silent: false }),
        };
        Ok(match (child(old)?, child(new)?) {
            (None, None) => Outcome::default(),
            (Some(was), None) => {
                let by = match (inner.by, new) {
                    (None, Some(new)) => Some(self.remover(new, name, layer(&was))?),
                    (by, _) => by,
                };
                let directory = matches!(was, Node::Dir(_));
                let change = Change { old_size: size(&was), directory, by, ..Change::new(path, Kind::Removed) };
                let enter = place(was).and_then(|p| Some((Some(p), None, below(by)?)));
                Outcome { change: Some(change), enter }
            }
            (None, Some(is)) => {
                let by = match (inner.by, old) {
                    (None, Some(old)) => Some(self.adder(old, name, layer(&is))?),
                    (by, _) => by,
                };
                let directory = matches!(is, Node::Dir(_));
                let change = Change { new_size: size(&is), directory, by, ..Change::new(path, Kind::Added) };
                let enter = place(is).map(|p| (None, Some(p), Inner { by, silent: false }));
                Outcome { change: Some(change), enter }
            }
            (Some(Node::Dir(was)), Some(Node::Dir(is))) if self.untouched(&was, &is) => Outcome::default(),
            (Some(Node::Dir(was)), Some(Node::Dir(is))) => {
                Outcome { change: None, enter: Some((Some(was), Some(is), inner)) }
            }
            (Some(Node::Leaf(was)), Some(Node::Leaf(is))) => {
                let same = !self.own(Side::Old, was.layer())
                    && self.depth(Side::Old, was.layer()) == self.depth(Side::New, is.layer());
                let (Some(old), Some(new), false) = (old, new, same) else { return Ok(Outcome::default()) };
                if !leaves_differ(self.rule, (old, &was), (new, &is), name)? {
                    return Ok(Outcome::default());
                }
                let by = Some(self.changer(was.layer(), is.layer()));
                let (old_size, new_size) = (size(&Node::Leaf(was)), size(&Node::Leaf(is)));
                let change = Change { old_size, new_size, by, ..Change::new(path, Kind::Modified) };
                Outcome { change: Some(change), enter: None }
            }
            // A directory took the place of something else, or the other way round.
            (Some(was), Some(is)) => {
                let by = Some(self.changer(layer(&was), layer(&is)));
                let (old_size, new_size) = (size(&was), size(&is));
                let directory = matches!(is, Node::Dir(_));
                let change = Change { old_size, new_size, directory, by, ..Change::new(path, Kind::Modified) };
                let enter = match (place(was), place(is)) {
                    (_, Some(is)) => Some((None, Some(is), Inner { by, silent: false })),
                    (Some(was), None) => below(by).map(|inner| (Some(was), None, inner)),
                    (None, None) => None,
                };
                Outcome { change: Some(change), enter }
            }
        })
    }
}

struct Run<'c> {
    of: &'c Comparison<'c>,
    frames: Vec<Frame>,
    budget: usize,
    /// A change whose size is being summed up.
    pending: Option<Change>,
}

impl Run<'_> {
    fn step(&mut self, tell: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let Some(name) = frame.names.next() else {
            self.budget += frame.cost;
            self.frames.pop();
            if !self.frames.last().is_some_and(|f| f.inner.silent)
                && let Some(change) = self.pending.take()
            {
                tell(change)?;
            }
            return Ok(());
        };
        let pair = match frame.open.take() {
            Some(pair) => pair,
            None => open(self.of, frame.old.as_ref(), frame.new.as_ref())?,
        };
        let path = join(&frame.path, name.as_bytes());
        let outcome = self.of.decide(&pair, &name, path.clone(), frame.inner)?;
        frame.open = Some(pair);
        let silent = frame.inner.silent;
        if let Some(change) = outcome.change {
            match (&mut self.pending, &outcome.enter) {
                (Some(pending), _) if silent => pending.old_size += change.old_size,
                (_, Some((.., inner))) if inner.silent => {
                    self.tell_above(tell)?;
                    self.pending = Some(change);
                }
                _ => {
                    self.tell_above(tell)?;
                    tell(change)?;
                }
            }
        }
        match outcome.enter {
            Some((old, new, inner)) => self.enter(old, new, path, inner, tell),
            None => Ok(()),
        }
    }

    fn enter(
        &mut self,
        old: Option<Place>,
        new: Option<Place>,
        path: Vec<u8>,
        inner: Inner,
        tell: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let of = self.of;
        if let Some(above) = self.frames.last_mut() {
            above.open = None;
        }
        let pair = open(of, old.as_ref(), new.as_ref())?;
        let mut told = true;
        let mut full = true;
        if let (Some(before), Some(after)) = (&old, &new) {
            full = of.shared_of(Side::Old, before) != of.shared_of(Side::New, after);
            let differs = match (&pair.0, &pair.1) {
                (Some(old), Some(new)) if !path.is_empty() => directories_differ(of.rule, old, new)?,
                _ => false,
            };
            told = path.is_empty() || differs;
            if differs {
                self.tell_above(tell)?;
                let by = of.changer(before.layer(), after.layer());
                tell(Change { directory: true, by: Some(by), ..Change::new(path.clone(), Kind::Modified) })?;
            }
        }
        let before = self.budget;
        let mut names = Vec::new();
        for (side, dir) in [(Side::Old, &pair.0), (Side::New, &pair.1)] {
            if let Some(dir) = dir {
                names.append(&mut dir.names_in(&mut self.budget, &|layer| full || of.own(side, layer))?);
            }
        }
        names.sort_unstable();
        names.dedup();
        let cost = before - self.budget;
        let names = names.into_iter();
        self.frames.push(Frame { old, new, path, names, cost, open: Some(pair), told, inner });
        Ok(())
    }

    /// Names the directories above a change, if they were not.
    fn tell_above(&mut self, tell: &mut dyn FnMut(Change) -> Result<()>) -> Result<()> {
        for frame in self.frames.iter_mut().filter(|f| !f.told) {
            frame.told = true;
            tell(Change { directory: true, ..Change::new(frame.path.clone(), Kind::Modified) })?;
        }
        Ok(())
    }
}

impl Change {
    fn new(path: Vec<u8>, kind: Kind) -> Self {
        Self { path, kind, old_size: 0, new_size: 0, directory: false, by: None }
    }
}

fn open(of: &Comparison<'_>, old: Option<&Place>, new: Option<&Place>) -> Result<Pair> {
    let dir = |view: &View, place: Option<&Place>| place.map_or(Ok(None), |p| view.dir(p));
    Ok((dir(of.old, old)?, dir(of.new, new)?))
}

/// Bytes of a regular file.
fn size(node: &Node) -> u64 {
    match node {
        Node::Leaf(leaf) if leaf.kind() == FileType::RegularFile => leaf.stat.st_size as u64,
        _ => 0,
    }
}

fn place(node: Node) -> Option<Place> {
    match node {
        Node::Dir(place) => Some(place),
        Node::Leaf(_) => None,
    }
}

#[cfg(test)]
mod tests;
