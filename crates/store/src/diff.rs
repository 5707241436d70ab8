//! What one image has that another has not, and which step of its making did it.
//!
//! Only layers behind the common ones are read. The trees are compared in `merged`.

use crate::merged::compare::{Change, Comparison, Removals, Side};
use crate::merged::{Rule, View};
use crate::{Image, ImageRecord, Store};
use dhow_types::{Digest, Error, ErrorKind, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Two images about to be compared.
pub struct ImageDiff {
    store: Store,
    /// The image that counts as the old one.
    pub old: ImageRecord,
    /// The image that counts as the new one.
    pub new: ImageRecord,
    /// How many of the lowest layers both have.
    pub shared: usize,
}

/// A difference between two images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    /// What differs.
    pub change: Change,
    /// The image whose step made the difference, and the step's number.
    pub step: (Side, usize),
}

impl Store {
    /// Finds two images to be compared.
    pub fn image_diff(&self, old: &str, new: &str) -> Result<ImageDiff> {
        let (old, new) = (self.resolve(old)?, self.resolve(new)?);
        let shared = old.image.layers.iter().zip(&new.image.layers).take_while(|(a, b)| a == b).count();
        Ok(ImageDiff { store: self.clone(), old, new, shared })
    }

    /// Whether an image is here.
    fn has_image(&self, id: &Digest) -> Result<bool> {
        Ok(!self.inner.db.image_rows(Some(id))?.is_empty())
    }
}

impl ImageDiff {
    /// Tells every path that differs, in the order of names. Directories that differ only in what is in them are left
    /// out, and so are times.
    pub fn run(&self, tell: &mut dyn FnMut(ImageChange) -> Result<()>) -> Result<()> {
        let (old, new) = (&self.old.image, &self.new.image);
        if old.layers != new.layers {
            let (old_view, new_view) = (view(old)?, view(new)?);
            let steps = (numbers(old), numbers(new));
            let comparison = Comparison {
                old: &old_view,
                new: &new_view,
                shared: common_end(&old.layer_dirs, &new.layer_dirs),
                rule: Rule::Content,
                removals: Removals::All,
            };
            comparison.run(&mut |change| {
                let Some((side, layer)) = change.by else { return Ok(()) };
                let numbers = if side == Side::Old { &steps.0 } else { &steps.1 };
                let step = (side, numbers.get(layer).copied().unwrap_or_default());
                tell(ImageChange { change, step })
            })?;
        }
        // Of an image that is removed meanwhile, files vanish one by one and are passed over.
        for id in [old.id, new.id] {
            if !self.store.has_image(&id)? {
                let text = format!("image {} was removed while it was compared", id.short());
                return Err(Error::new(ErrorKind::Conflict, text));
            }
        }
        Ok(())
    }
}

fn view(image: &Arc<Image>) -> Result<View> {
    View::open(&image.layer_dirs)
}

/// The number of the step that made each of the directories of an image, top first.
fn numbers(image: &Image) -> Vec<usize> {
    let steps = image.steps();
    let number = |dir: &PathBuf| {
        let name = dir.file_name()?.to_str()?;
        // Of a layer that is there twice the upper one counts, as in `layer_dirs`.
        let layer = image.layers.iter().rposition(|l| l.hex() == name)?;
        steps.iter().find(|s| s.layer == Some(layer)).map(|s| s.number)
    };
    image.layer_dirs.iter().map(|dir| number(dir).unwrap_or_default()).collect()
}

/// How many of the lowest directories, the last ones, are the same.
fn common_end(a: &[PathBuf], b: &[PathBuf]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}
