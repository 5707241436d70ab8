//! All of the tree in the order of its names, each directory before what is in it.
//!
//! Only one directory is open at a time, however deep it lies: a container can nest them without end, and a daemon's
//! descriptors are few. It is opened anew from the root when the walk comes back to it.

use super::{Dir, MAX_NAMES, Node, Place, View};
use dhow_types::Result;
use std::ffi::OsString;

/// A walk.
pub(crate) struct Walk<'v> {
    view: &'v View,
    /// From the root to where the walk is.
    frames: Vec<Frame>,
    budget: usize,
    /// A directory to be entered next.
    enter: Option<Place>,
}

struct Frame {
    place: Place,
    names: std::vec::IntoIter<OsString>,
    /// What the names cost.
    cost: usize,
    open: Option<Dir>,
}

/// Something that the walk came to.
pub(crate) struct Met<'w> {
    /// The directory that it is in.
    pub dir: &'w Dir,
    pub name: OsString,
    /// None: the topmost layer that has the name says that there is nothing.
    pub node: Option<Node>,
}

impl<'v> Walk<'v> {
    /// A walk through everything below the root.
    pub(crate) fn new(view: &'v View) -> Self {
        Self { view, frames: Vec::new(), budget: MAX_NAMES, enter: Some(view.root()) }
    }

    /// The next thing; names of nothing are met as well. A directory is entered after it was met.
    pub(crate) fn next(&mut self) -> Result<Option<Met<'_>>> {
        if let Some(place) = self.enter.take() {
            self.enter(place)?;
        }
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            let Some(name) = frame.names.next() else {
                self.budget += frame.cost;
                self.frames.pop();
                continue;
            };
            if frame.open.is_none() {
                frame.open = self.view.dir(&frame.place)?;
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            if frame.open.is_none() {
                // Removed meanwhile, and with it what else was in it.
                frame.names = Vec::new().into_iter();
                continue;
            }
            break self.meet(name);
        }
    }

    fn meet(&mut self, name: OsString) -> Result<Option<Met<'_>>> {
        let Some(dir) = self.frames.last().and_then(|f| f.open.as_ref()) else { return Ok(None) };
        let node = dir.child(&name)?;
        if let Some(Node::Dir(place)) = &node {
            self.enter = Some(place.clone());
        }
        Ok(Some(Met { dir, name, node }))
    }

    fn enter(&mut self, place: Place) -> Result<()> {
        if let Some(above) = self.frames.last_mut() {
            above.open = None;
        }
        let Some(dir) = self.view.dir(&place)? else { return Ok(()) };
        let before = self.budget;
        let names = dir.names(&mut self.budget)?;
        let cost = before - self.budget;
        self.frames.push(Frame { place, names: names.into_iter(), cost, open: Some(dir) });
        Ok(())
    }
}
