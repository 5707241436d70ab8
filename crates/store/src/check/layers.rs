//! Layers: whether what lies on disk gives the tar again, and whether the tree is the one that tar gives.
//!
//! The tar is written from the tree and the recipe and unpacked a second time beside it, in one pass. A layer that is
//! mended is always a whole new tree and recipe, whose digest fits, exchanged for the old one in one step.

use super::compare::{Difference, compare};
use super::{Check, MAX_PER_LAYER, Outcome, elsewhere};
use crate::apply::{Applied, Workplace};
use crate::db::LayerRow;
use crate::layers::Lease;
use crate::load::{Replayed, Work, apply_blob, replay};
use crate::names::shown;
use crate::rebuild::{Content, Fault, Rebuild, Source};
use crate::{Store, images, lock_anyway};
use dhow_types::{Context as _, Digest, Error, ErrorKind, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Writes down what is faulty.
#[derive(Default)]
struct Faults {
    faults: Vec<(Content, Fault)>,
    /// Paths of them.
    paths: HashSet<Vec<u8>>,
    /// Files whose data in the tar is not all of their content; beyond a bound every file counts as one.
    sparse: HashSet<Vec<u8>>,
}

/// The most sparse files of one layer that are remembered.
const MAX_SPARSE: usize = 10_000;

/// The most faulty files of one layer that are remembered.
const MAX_FAULTS: usize = 10_000;

/// Bytes that are made up for faulty files of one layer, also if its row, which may be wrong, says that it is smaller.
const MADE_UP: u64 = 4 << 30;

impl Rebuild for Faults {
    fn fault(&mut self, file: &Content, fault: Fault) -> Result<()> {
        if self.faults.len() < MAX_FAULTS {
            self.paths.insert(file.path.clone());
            self.faults.push((file.clone(), fault));
        }
        Ok(())
    }
    fn sparse(&mut self, path: &[u8]) {
        if self.sparse.len() <= MAX_SPARSE {
            self.sparse.insert(path.to_vec());
        }
    }
}

/// Takes faulty files' content from where it was found.
struct Replace<'a> {
    store: &'a Store,
    found: elsewhere::Found,
}

impl Rebuild for Replace<'_> {
    fn instead(&mut self, path: &[u8]) -> Option<File> {
        elsewhere::open(self.store, self.found.get(path)?)
    }
    fn fault(&mut self, file: &Content, fault: Fault) -> Result<()> {
        Err(Error::new(ErrorKind::DataLoss, format!("file {} of the layer {fault}", shown(&file.path))))
    }
}

/// A layer made again, not yet in its place.
struct Remade {
    work: Work,
    row: LayerRow,
}

impl Check<'_> {
    /// Every layer.
    pub(super) fn layers(&mut self) -> Result<()> {
        let store = self.store;
        for row in store.inner.db.layers()? {
            // Held, so that its directory does not vanish under the check when its image is removed.
            let mut lease = Lease::new(store);
            if lease.hold_layer(&row.diff_id)? {
                self.layer(&row)?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, row: &LayerRow) -> Result<()> {
        self.sum.layers += 1;
        let store = self.store;
        let about = format!("layer {}", row.diff_id.short());
        let source = Source::of(store.paths(), &row.diff_id).at_most(row.tar_size.max(MADE_UP));
        for (there, what) in [(source.tree.is_dir(), "directory"), (source.recipe.is_file(), "recipe")] {
            if !there {
                return self.hopeless(&about, row, vec![format!("its {what} is missing")], &[]);
            }
        }
        let work = Work::new(store)?;
        let room = store.has_room_for(row.tar_size);
        let mut faults = Faults::default();
        let again = room.then_some(work.dir.as_path());
        let mut replayed = replay(&source, &mut faults, again, &store.config().limits)?;
        self.sum.bytes += replayed.tar_size;
        let mut room = room;
        if let Some(Err(e)) = &replayed.applied
            && matches!(e.kind(), ErrorKind::Exhausted | ErrorKind::DiskFull)
        {
            // Somebody else took the space.
            (room, replayed.applied) = (false, None);
        }
        if let Err(e) = &replayed.rebuilt {
            return self.hopeless(&about, row, vec![e.text().to_owned()], &[]);
        }
        let (text, fits) =
            (|f: &(Content, Fault)| format!("file {} {}", shown(&f.0.path), f.1), replayed.digest == row.diff_id);
        if !faults.faults.is_empty() {
            let mut problems: Vec<String> = faults.faults.iter().map(text).collect();
            problems.extend(self.differences(&work, &source, &faults, &replayed)?.iter().map(ToString::to_string));
            let wanted: Vec<Content> = faults.faults.into_iter().map(|f| f.0).collect();
            return self.hopeless(&about, row, problems, &wanted);
        }
        if !fits {
            let problem = "what lies on disk no longer gives the tar it was unpacked from; no single file can be named";
            return self.hopeless(&about, row, vec![problem.to_owned()], &[]);
        }
        self.whole.insert(row.diff_id);
        if !room {
            let problem = "only its contents were checked: there is no room to unpack it a second time and compare modes, \
                           owners, times and attributes";
            self.tell(about, problem, Outcome::Note, None);
            return Ok(());
        }
        let applied = match replayed.applied.take() {
            Some(Ok(applied)) => applied,
            Some(Err(e)) => return self.hopeless(&about, row, vec![format!("it can't be unpacked again: {e}")], &[]),
            None => return Ok(()),
        };
        let right = LayerRow {
            diff_id: row.diff_id,
            size: applied.size,
            tar_size: replayed.tar_size,
            opaque_root: applied.opaque_root,
        };
        let differences = self.differences(&work, &source, &faults, &replayed)?;
        if differences.is_empty() {
            store.unmark_damaged(&row.diff_id);
        }
        if !differences.is_empty() {
            let problems = differences.iter().map(ToString::to_string).collect();
            self.settle(&about, &row.diff_id, problems, Ok(Remade { work, row: right }));
        } else if right != *row {
            self.mend(about, "its row has wrong sizes", |store| {
                lock_anyway(&store.inner.images).clear();
                store.inner.db.put_layer(&right, images::now())
            });
        }
        Ok(())
    }

    fn differences(
        &self,
        work: &Work,
        source: &Source,
        faults: &Faults,
        replayed: &Replayed,
    ) -> Result<Vec<Difference>> {
        if matches!(replayed.applied, Some(Err(_))) || !Workplace::new(&work.dir).tree.is_dir() {
            return Ok(Vec::new());
        }
        let open =
            |path: &Path| File::open(path).map(OwnedFd::from).with_context(|| format!("open {}", path.display()));
        let (have, want) = (open(&source.tree)?, open(&Workplace::new(&work.dir).tree)?);
        let sparse = |path: &[u8]| faults.sparse.len() > MAX_SPARSE || faults.sparse.contains(path);
        compare(have, want, &sparse, &faults.paths, MAX_PER_LAYER + 1)
    }

    /// A layer that can't be made right from itself: from a kept copy, or with the content of other layers.
    fn hopeless(&mut self, about: &str, row: &LayerRow, problems: Vec<String>, wanted: &[Content]) -> Result<()> {
        let mut remade = self.store.remake_from_blob(row);
        if remade.is_err() && !wanted.is_empty() {
            let found = elsewhere::find(self.store, &row.diff_id, wanted)?;
            if !found.is_empty() {
                remade = self.store.remake_with(row, found);
            }
        }
        self.settle(about, &row.diff_id, problems, remade);
        Ok(())
    }

    /// Tells what is wrong with a layer and puts the one that was made again in its place, if there is one.
    fn settle(&mut self, about: &str, id: &Digest, mut problems: Vec<String>, remade: Result<Remade>) {
        let (outcome, advice) = match remade {
            Err(_) => {
                self.store.mark_damaged(id);
                (Outcome::Wrong, Some(self.load_again(id)))
            }
            Ok(_) if !self.repair => (Outcome::Mendable, None),
            Ok(remade) => match self.store.put_in_place(remade, self.in_use) {
                Ok(true) => {
                    self.whole.insert(*id);
                    (Outcome::Mended, None)
                }
                Ok(false) => {
                    let advice = "a running container uses it: stop it and repair again";
                    (Outcome::Wrong, Some(advice.to_owned()))
                }
                Err(e) => (Outcome::Wrong, Some(format!("mending it failed: {e}"))),
            },
        };
        if problems.len() > MAX_PER_LAYER {
            problems.truncate(MAX_PER_LAYER);
            problems.push("and more like these".to_owned());
        }
        for problem in problems {
            self.tell(about, problem, outcome, advice.clone());
        }
    }
}

impl Store {
    /// Whether a tree of this size can be made beside everything else.
    fn has_room_for(&self, bytes: u64) -> bool {
        // Not a reservation: a check must not make images go to keep within the budget.
        self.unpromised().is_ok_and(|free| free >= bytes)
    }

    /// The row a layer on disk should have. Fails if it does not give its tar.
    pub(super) fn measure(&self, diff_id: &Digest) -> Result<LayerRow> {
        let work = Work::new(self)?;
        let source = Source::of(self.paths(), diff_id);
        let replayed = replay(
            &source,
            &mut Replace { store: self, found: elsewhere::Found::new() },
            Some(&work.dir),
            &self.config().limits,
        )?;
        replayed.rebuilt?;
        let applied = replayed.applied.unwrap_or_else(|| Err(Error::system("it was not unpacked")))?;
        fitting(diff_id, replayed.digest, replayed.tar_size, &applied)
    }

    fn remake_from_blob(&self, row: &LayerRow) -> Result<Remade> {
        let blobs = self.inner.db.kept_blobs()?;
        let mut last = Error::not_found("no copy of it was kept");
        for blob in blobs.iter().filter(|b| b.diff_id == row.diff_id) {
            let work = Work::new(self)?;
            let made = apply_blob(&self.paths().blob(&blob.digest), &work.dir, &self.config().limits)
                .and_then(|(digest, size, applied)| fitting(&row.diff_id, digest, size, &applied));
            match made {
                Ok(row) => return Ok(Remade { work, row }),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn remake_with(&self, row: &LayerRow, found: elsewhere::Found) -> Result<Remade> {
        let work = Work::new(self)?;
        let source = Source::of(self.paths(), &row.diff_id).at_most(row.tar_size.max(MADE_UP));
        let mut by = Replace { store: self, found };
        let replayed = replay(&source, &mut by, Some(&work.dir), &self.config().limits)?;
        replayed.rebuilt?;
        let applied = replayed.applied.unwrap_or_else(|| Err(Error::system("it was not unpacked")))?;
        let row = fitting(&row.diff_id, replayed.digest, replayed.tar_size, &applied)?;
        Ok(Remade { work, row })
    }

    /// Exchanges a layer for the one that was made again, unless it is in use. The old one goes to the trash with the
    /// work's directory.
    fn put_in_place(&self, remade: Remade, in_use: &dyn Fn(&Digest) -> bool) -> Result<bool> {
        let id = &remade.row.diff_id;
        let root = File::open(self.root())?;
        syncfs(&root).map_err(std::io::Error::from).context("sync the store's file system")?;
        let _publishing = self.publishing();
        // Asked as late as can be: a container may have been started meanwhile.
        if in_use(id) {
            return Ok(false);
        }
        self.exchange(&Workplace::new(&remade.work.dir), &remade.row)?;
        Ok(true)
    }

    /// Puts a layer that was made again in the place of the one there, which takes its place; the caller is publishing,
    /// and the new one is on disk.
    pub(crate) fn exchange(&self, new: &Workplace, row: &LayerRow) -> Result<()> {
        let id = &row.diff_id;
        let old = Source::of(self.paths(), id);
        let what = || format!("put layer {} in its place", id.short());
        // Both recipes, where there are two, are of the same tar: a crash between these steps does no harm.
        std::fs::rename(&new.recipe, &old.recipe).with_context(what)?;
        match new.displaced.exists() {
            true => std::fs::rename(&new.displaced, &old.displaced).with_context(what)?,
            false => self.inner.trash.put(&old.displaced)?,
        }
        match old.tree.symlink_metadata() {
            Ok(_) => renameat_with(CWD, &new.tree, CWD, &old.tree, RenameFlags::EXCHANGE)
                .map_err(std::io::Error::from)
                .with_context(what)?,
            Err(_) => std::fs::rename(&new.tree, &old.tree).with_context(what)?,
        }
        for dir in ["recipes", "layers"] {
            let path = self.paths().dir(dir);
            File::open(&path).and_then(|d| d.sync_all()).with_context(|| format!("sync {}", path.display()))?;
        }
        lock_anyway(&self.inner.images).clear();
        self.unmark_damaged(id);
        self.inner.db.put_layer(row, images::now())
    }
}

/// The row of a layer that was made again, if it is the one that was wanted.
fn fitting(wanted: &Digest, got: Digest, tar_size: u64, applied: &Applied) -> Result<LayerRow> {
    if got != *wanted {
        return Err(Error::new(ErrorKind::DataLoss, format!("it gives {got} instead of {wanted}")));
    }
    Ok(LayerRow { diff_id: got, size: applied.size, tar_size, opaque_root: applied.opaque_root })
}
