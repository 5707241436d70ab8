//! Layers on disk: how they become visible, who holds on to them, how they go.
//!
//! Order of things: a tree is finished under `tmp/`, synced, renamed to `layers/`, and then named in the
//! database. Removal goes the other way round. So a crash leaves at most a directory that no row names,
//! and those are cleared when the store is opened.

use crate::db::{LayerBlob, LayerRow, NewImage};
use crate::{Durability, Store, images, lock_anyway};
use dhow_types::{Context as _, Digest, Error, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Layers that must stay although no image has them yet: a load that runs counts on them. Whoever adds to it is publishing;
/// whoever gives back is not held up by those who are.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<HashMap<Digest, usize>>);

impl Held {
    /// All that are held.
    pub(crate) fn all(&self) -> HashSet<Digest> {
        lock_anyway(&self.0).keys().copied().collect()
    }
    fn add(&self, layer: &Digest) {
        *lock_anyway(&self.0).entry(*layer).or_default() += 1;
    }
    fn give_back(&self, layers: &[Digest]) {
        let mut held = lock_anyway(&self.0);
        for layer in layers {
            if let Some(count) = held.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    held.remove(layer);
                }
            }
        }
    }
}

/// What those who publish tell one another.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// Something that no row names may lie about, because putting it away failed.
    untidy: bool,
}

/// A hold on layers, given back when dropped.
pub(crate) struct Lease {
    store: Store,
    layers: Vec<Digest>,
}

impl Lease {
    pub(crate) fn new(store: &Store) -> Self {
        Self { store: store.clone(), layers: Vec::new() }
    }

    /// Holds the layer that was once received as `digest`, if there is one.
    pub(crate) fn hold(&mut self, digest: &Digest) -> Result<Option<LayerRow>> {
        let store = self.store.clone();
        let _publishing = store.publishing();
        let Some(diff_id) = self.store.inner.db.layer_received_as(digest)? else { return Ok(None) };
        let Some(row) = self.store.usable(&diff_id)? else { return Ok(None) };
        self.add(&diff_id);
        Ok(Some(row))
    }

    /// Holds a layer whatever its state; false if it has no row any more.
    pub(crate) fn hold_layer(&mut self, diff_id: &Digest) -> Result<bool> {
        let store = self.store.clone();
        let _publishing = store.publishing();
        if store.inner.db.layer(diff_id)?.is_none() {
            return Ok(false);
        }
        self.add(diff_id);
        Ok(true)
    }

    /// Holds a layer that is known to be there; the caller is publishing.
    pub(crate) fn add(&mut self, diff_id: &Digest) {
        self.store.inner.held.add(diff_id);
        self.layers.push(*diff_id);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.inner.held.give_back(&self.layers);
    }
}

/// A layer that was unpacked and is not yet visible.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub dir: PathBuf,
    pub row: LayerRow,
}

/// Everything that becomes visible at once.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    pub layers: Vec<Unpacked>,
    /// The forms in which layers came; kept ones are at the given path.
    pub received: Vec<(LayerBlob, Option<PathBuf>)>,
    /// Configurations and manifests.
    pub documents: Vec<(Digest, Vec<u8>)>,
    pub images: Vec<NewImage>,
}

/// A file or directory gets the name under which it is seen.
pub(crate) fn place(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("publish {}", to.display()))
}

impl Store {
    /// Makes layers and images visible, so that they survive a power cut, or leaves everything as it was.
    /// `work` is a directory on the store's file system for files on their way.
    pub(crate) fn publish(&self, mut p: Publication, work: &Path) -> Result<()> {
        let mut documents = Vec::new();
        for (digest, bytes) in &p.documents {
            let path = work.join(format!("document-{}", digest.hex()));
            std::fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
            documents.push((*digest, path));
        }
        // Layers that wait for these images were never synced.
        let waiting = |p: &Publication| -> Result<bool> {
            let pending = self.inner.db.pending()?;
            Ok(p.images.iter().flat_map(|i| &i.layers).any(|l| pending.contains(l)))
        };
        let everything = waiting(&p)?;
        match everything {
            true => self.sync_all()?,
            false => crate::sync::sync(work)?,
        }

        let mut leases = self.publishing();
        // One that came at the same moment, as part of something else.
        if !everything && waiting(&p)? {
            self.sync_all()?;
        }
        let result = self.place(&mut p, &documents);
        leases.untidy |= result.is_err();
        // Also the second manifest of an image that was here is not wanted.
        let expected: HashSet<Digest> = self.inner.db.expected_blobs().unwrap_or_default().into_iter().collect();
        leases.untidy |= documents.iter().any(|(digest, _)| !expected.contains(digest));
        self.tidy(&mut leases);
        result
    }

    /// Moves everything to its place and then names it in the database.
    fn place(&self, p: &mut Publication, documents: &[(Digest, PathBuf)]) -> Result<()> {
        let paths = self.paths();
        for layer in &p.layers {
            self.place_layer(layer)?;
        }
        for (blob, path) in &p.received {
            if let Some(path) = path
                && path.exists()
            {
                place(path, &paths.blob(&blob.digest))?;
            }
        }
        for (digest, path) in documents {
            place(path, &paths.blob(digest))?;
        }
        self.sync_names()?;
        let rows: Vec<LayerRow> = p.layers.drain(..).map(|l| l.row).collect();
        let received: Vec<LayerBlob> = p.received.drain(..).map(|r| r.0).collect();
        self.inner.db.publish(&rows, &received, &p.images, images::now(), Durability::Synced)
    }

    /// Moves a layer to its place; the caller is publishing. One that is here already stays, unless it is damaged.
    pub(crate) fn place_layer(&self, layer: &Unpacked) -> Result<()> {
        let paths = self.paths();
        let id = &layer.row.diff_id;
        let there = paths.layer(id);
        if there.is_dir() {
            if self.inner.db.layer(id)?.is_some() {
                return self.replace_damaged(layer);
            }
            // Left by a publication that failed half-way in this process.
            self.inner.trash.put(&there)?;
        }
        let from = crate::apply::Workplace::new(&layer.dir);
        self.inner.trash.put(&paths.displaced(id))?;
        place(&from.recipe, &paths.recipe(id))?;
        if from.displaced.exists() {
            place(&from.displaced, &paths.displaced(id))?;
        }
        place(&from.tree, &there)?;
        self.unmark_damaged(id);
        Ok(())
    }

    /// The row of a layer that is here and was not found damaged.
    pub(crate) fn usable(&self, diff_id: &Digest) -> Result<Option<LayerRow>> {
        if self.is_damaged(diff_id) || !self.paths().layer(diff_id).is_dir() {
            return Ok(None);
        }
        self.inner.db.layer(diff_id)
    }

    /// What was renamed stays so after a power cut.
    pub(crate) fn sync_names(&self) -> Result<()> {
        for dir in ["layers", "recipes", "blobs/sha256"] {
            let path = self.paths().dir(dir);
            File::open(&path).and_then(|d| d.sync_all()).with_context(|| format!("sync {}", path.display()))?;
        }
        Ok(())
    }

    /// Brings everything on the store's file system to the disk.
    pub(crate) fn sync_all(&self) -> Result<()> {
        let root = File::open(self.root()).with_context(|| format!("open {}", self.root().display()))?;
        rustix::fs::syncfs(&root).map_err(std::io::Error::from).context("sync the store's file system")
    }

    /// What has come anew takes the place of a layer that was found damaged.
    fn replace_damaged(&self, layer: &Unpacked) -> Result<()> {
        let id = &layer.row.diff_id;
        if !self.is_damaged(id) {
            return Ok(());
        }
        if self.inner.space.in_use(id) {
            let text = "is damaged, and a running container uses it: stop that, then load the image again";
            return Err(Error::conflict(format!("layer {} {text}", id.short())));
        }
        self.exchange(&crate::apply::Workplace::new(&layer.dir), &layer.row)
    }

    /// Removes layers that no image has and nobody holds; the caller is publishing. Returns their diff ids.
    pub(crate) fn collect(&self, leases: &mut Leases) -> Result<Vec<Digest>> {
        let held = self.inner.held.all();
        let (layers, blobs) = self.inner.db.remove_unused_layers(&|d| held.contains(d))?;
        for id in &layers {
            self.unmark_damaged(id);
            self.put_away(leases, &self.paths().layer(id));
            self.put_away(leases, &self.paths().recipe(id));
            self.put_away(leases, &self.paths().displaced(id));
        }
        for blob in &blobs {
            self.put_away(leases, &self.paths().blob(blob));
        }
        Ok(layers)
    }

    /// Moves to the trash what no row names any more. It is gone for everybody already: that it can't be moved now is no
    /// failure of the removal, and it is tried again later.
    pub(crate) fn put_away(&self, leases: &mut Leases, path: &Path) {
        leases.untidy |= self.inner.trash.put(path).is_err();
    }

    /// Puts away what could not be put away before, if there is anything; the caller is publishing.
    pub(crate) fn tidy(&self, leases: &mut Leases) {
        if leases.untidy {
            // A transaction that failed while it was written down must not come back from the journal after its files
            // are gone.
            leases.untidy = self.inner.db.settle().and_then(|()| self.clear_strays()).is_err();
        }
    }

    /// Says that something may lie about.
    pub(crate) fn untidy(leases: &mut Leases) {
        leases.untidy = true;
    }

    /// At start: everything on disk that no row names goes.
    pub(crate) fn clear_half_done(&self) -> Result<()> {
        self.clear("tmp", |_| false)?;
        let mut leases = self.publishing();
        self.clear_unfinished(images::now(), true)?;
        self.collect(&mut leases)?;
        self.clear_strays()
    }

    /// Everything that no row names, but what is being made.
    fn clear_strays(&self) -> Result<()> {
        let layers: HashSet<String> = self.inner.db.layers()?.iter().map(|l| l.diff_id.hex()).collect();
        let blobs: HashSet<String> = self.inner.db.expected_blobs()?.iter().map(Digest::hex).collect();
        self.clear("layers", |name| layers.contains(name))?;
        self.clear("recipes", |name| layers.contains(name.strip_suffix(".displaced").unwrap_or(name)))?;
        self.clear_in(&self.paths().dir("blobs").join("sha256"), |name| blobs.contains(name))
    }

    fn clear(&self, dir: &'static str, keep: impl Fn(&str) -> bool) -> Result<()> {
        self.clear_in(&self.paths().dir(dir), keep)
    }

    fn clear_in(&self, dir: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
        for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let entry = entry.with_context(|| format!("read {}", dir.display()))?;
            if !entry.file_name().to_str().is_some_and(&keep) {
                self.inner.trash.put(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Waits until everything removed so far is deleted; for tests and for reports of free space.
    pub fn wait_for_trash(&self) {
        self.inner.trash.wait();
    }
}
