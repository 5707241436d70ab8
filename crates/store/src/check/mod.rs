//! `check`: whether everything in a store is what it was, down to every mode and attribute, and what of the rest
//! can be mended.
//!
//! Four questions in this order: are the rows whole and do they fit each other (`rows`), are the documents what
//! their digests say (`rows`), does every layer still give its tar and that tar its tree (`layers`), and does
//! anything lie about that nothing needs (`rows`). Nothing is made up: what is mended comes from a copy whose digest
//! fits. `salvage` is for a root whose database can't be opened at all.

mod compare;
mod elsewhere;
mod layers;
mod rows;
mod salvage;

pub use salvage::check_root;

use crate::Store;
use dhow_types::{Digest, Result};
use std::collections::HashSet;

/// What became of something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is wrong; a repair will try to mend it.
    Mendable,
    /// It was wrong and is right now.
    Mended,
    /// It is wrong and stays so; the advice says what a person can do.
    Wrong,
    /// Nothing is wrong, but a person should know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `layer 0123456789ab`, `image busybox:latest`, `database`.
    pub about: String,
    /// What is wrong with it, for people.
    pub problem: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What to do, where it is not obvious.
    pub advice: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.about, self.problem)?;
        if let Some(advice) = &self.advice {
            write!(f, ": {advice}")?;
        }
        Ok(())
    }
}

/// What a check looked at and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Bytes of layers that were read.
    pub bytes: u64,
    /// Things that are wrong now.
    pub wrong: u64,
    /// Things that were wrong and are mended.
    pub mended: u64,
}

/// The most things told about one layer; after that only their number counts.
const MAX_PER_LAYER: usize = 50;

/// A check that runs.
struct Check<'a> {
    store: &'a Store,
    repair: bool,
    /// Whether a running container uses the layer.
    in_use: &'a dyn Fn(&Digest) -> bool,
    report: &'a mut dyn FnMut(Finding),
    sum: Checked,
    /// Layers whose content is right.
    whole: HashSet<Digest>,
    /// The rows that say which image has which layers are right: a layer that none has may go.
    listed: bool,
}

impl Store {
    /// Checks everything, tells what is found, and with `repair` mends what can be mended. `in_use` says whether a
    /// running container uses a layer: then its directory is not replaced. Reads every file of every layer; the
    /// store works on meanwhile.
    ///
    /// Fails only where the check itself could not go on.
    pub fn check(
        &self,
        repair: bool,
        in_use: &dyn Fn(&Digest) -> bool,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Checked> {
        let sum = Checked::default();
        let mut check = Check { store: self, repair, in_use, report, sum, whole: HashSet::new(), listed: true };
        check.database()?;
        check.images()?;
        check.layers()?;
        check.sizes()?;
        check.kept_blobs()?;
        check.strays()?;
        check.containers()?;
        if check.listed {
            check.forget_removed()?;
        }
        Ok(check.sum)
    }

    /// Everything that is wrong, a text for each thing; nothing is changed.
    pub fn verify(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        self.check(false, &|_| true, &mut |f| {
            if f.outcome != Outcome::Note {
                problems.push(f.to_string());
            }
        })?;
        Ok(problems)
    }
}

impl Check<'_> {
    fn tell(&mut self, about: impl Into<String>, problem: impl Into<String>, outcome: Outcome, advice: Option<String>) {
        match outcome {
            Outcome::Mendable | Outcome::Wrong => self.sum.wrong += 1,
            Outcome::Mended => self.sum.mended += 1,
            Outcome::Note => {}
        }
        (self.report)(Finding { about: about.into(), problem: problem.into(), outcome, advice });
    }

    /// Tells of something wrong and mends it, if that was asked for.
    fn mend(&mut self, about: impl Into<String>, problem: impl Into<String>, how: impl FnOnce(&Store) -> Result<()>) {
        let (about, problem) = (about.into(), problem.into());
        if !self.repair {
            return self.tell(about, problem, Outcome::Mendable, None);
        }
        match how(self.store) {
            Ok(()) => self.tell(about, problem, Outcome::Mended, None),
            Err(e) => self.tell(about, problem, Outcome::Wrong, Some(format!("mending it failed: {e}"))),
        }
    }

    /// An image as a person knows it.
    fn image_name(&self, id: &Digest) -> String {
        let row = self.store.inner.db.image_rows(Some(id)).ok().and_then(|mut rows| rows.pop());
        match row.as_ref().and_then(|r| r.references.first()) {
            Some(name) => name.familiar(),
            None => id.short(),
        }
    }

    /// What to do about a layer that can't be mended here.
    fn load_again(&self, diff_id: &Digest) -> String {
        let images = self.store.inner.db.images_with_layer(diff_id).unwrap_or_default();
        let names: Vec<String> = images.iter().map(|id| self.image_name(id)).collect();
        format!("load it again: {}", names.join(", "))
    }
}
