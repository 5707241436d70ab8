//! The rows, the documents they name, and files that no row names. Layers' contents are judged in `layers`.

use super::{Check, Outcome};
use crate::db::DANGLING;
use crate::{Store, images, lock_anyway};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, ImageConfig, Result};
use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

impl Check<'_> {
    /// SQLite's own judgement, and rows that name what is not there.
    pub(super) fn database(&mut self) -> Result<()> {
        let db = &self.store.inner.db;
        let complaints = match db.complaints() {
            Ok(complaints) => complaints,
            Err(e) if e.kind() == ErrorKind::DataLoss => vec![e.text().to_owned()],
            Err(e) => return Err(e),
        };
        self.listed = complaints.is_empty();
        let only_indexes = complaints.iter().all(|c| c.contains(" index "));
        for complaint in complaints {
            let offline = || {
                format!(
                    "stop the daemon and run: dhow system check --repair --root {}: it makes a new database of what \
                     can still be read and of what lies on disk",
                    self.store.root().display()
                )
            };
            match only_indexes {
                true => self.mend("database", complaint, |store| store.inner.db.reindex()),
                false => {
                    let advice = offline();
                    self.tell("database", complaint, Outcome::Wrong, Some(advice));
                }
            }
        }
        for d in &DANGLING {
            let n = self.store.inner.db.dangling(d)?;
            if n > 0 {
                self.mend("database", format!("{n} {}", d.what), |store| store.inner.db.remove_dangling(d));
            }
        }
        for (table, name, tag) in self.store.inner.db.impossible_names()? {
            let text = format!("{name:?} with the tag {:?} is no name of an image", tag.as_deref().unwrap_or(""));
            self.mend("database", text, |store| store.inner.db.remove_name(table, &name, tag.as_deref()));
        }
        Ok(())
    }

    /// Every image: its configuration, its manifest, its list of layers.
    pub(super) fn images(&mut self) -> Result<()> {
        for (id, manifest) in self.store.inner.db.image_ids()? {
            self.sum.images += 1;
            let about = format!("image {}", self.image_name(&id));
            if let Some(manifest) = manifest
                && let Err(e) = self.store.blob_is_whole(&manifest)
                && !self.gone(&id)?
            {
                let problem = format!("its manifest {}: {e}; the image works without", manifest.short());
                self.mend(&about, problem, |store| {
                    store.inner.db.forget_manifest(&id)?;
                    store.inner.trash.put(&store.paths().blob(&manifest))
                });
            }
            match self.store.read_blob(&id) {
                Ok(raw) => self.listed_layers(&id, &about, &raw)?,
                Err(e) => {
                    self.listed = false;
                    let cached = lock_anyway(&self.store.inner.images).get(&id).map(|i| i.raw.clone());
                    match cached.filter(|raw| Digest::of(raw) == id) {
                        _ if self.gone(&id)? => {}
                        Some(raw) => {
                            let problem = format!("its configuration: {e}; the daemon has it in memory");
                            self.mend(&about, problem, |store| store.write_blob(&id, &raw));
                        }
                        None => {
                            let advice = format!("remove it by its id {} and load it again", id.short());
                            self.tell(&about, format!("its configuration: {e}"), Outcome::Wrong, Some(advice));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the image was removed while the check ran.
    fn gone(&self, id: &Digest) -> Result<bool> {
        Ok(!self.store.inner.db.image_ids()?.iter().any(|(i, _)| i == id))
    }

    fn listed_layers(&mut self, id: &Digest, about: &str, raw: &[u8]) -> Result<()> {
        let db = &self.store.inner.db;
        let config = match ImageConfig::parse(raw) {
            Ok(config) => config,
            Err(e) => {
                self.tell(about, format!("its configuration: {e}"), Outcome::Wrong, None);
                return Ok(());
            }
        };
        let wanted = config.rootfs.diff_ids;
        let rows: HashSet<Digest> = db.layers()?.iter().map(|l| l.diff_id).collect();
        let missing: Vec<&Digest> = wanted.iter().filter(|d| !rows.contains(d)).collect();
        if db.listed_layers(id)?.as_ref() == Some(&wanted) && missing.is_empty() {
            return Ok(());
        }
        if self.gone(id)? {
            return Ok(());
        }
        self.listed = false;
        let mut there = true;
        for diff_id in missing {
            let problem = format!("its layer {} is not in the database", diff_id.short());
            let on_disk = self.store.paths().layer(diff_id).is_dir() && self.store.paths().recipe(diff_id).is_file();
            if on_disk {
                self.mend(about, problem, |store| store.register_layer(diff_id));
                there &= self.repair;
            } else {
                there = false;
                let advice = format!("remove it by its id {} and load it again", id.short());
                self.tell(about, problem, Outcome::Wrong, Some(advice));
            }
        }
        if self.store.inner.db.listed_layers(id)?.as_ref() != Some(&wanted) && (there || !self.repair) {
            let problem = "its list of layers is not that of its configuration";
            self.mend(about, problem, |store| store.inner.db.list_layers(id, &wanted));
            lock_anyway(&self.store.inner.images).remove(id);
        }
        Ok(())
    }

    /// Sizes that are sums of others.
    pub(super) fn sizes(&mut self) -> Result<()> {
        for id in self.store.inner.db.missized_images()? {
            let about = format!("image {}", self.image_name(&id));
            self.mend(about, "its size is not that of its layers", |store| store.inner.db.size_image(&id));
            lock_anyway(&self.store.inner.images).remove(&id);
        }
        Ok(())
    }

    /// Layers kept as they were received.
    pub(super) fn kept_blobs(&mut self) -> Result<()> {
        for blob in self.store.inner.db.kept_blobs()? {
            let Err(e) = self.store.blob_is_whole(&blob.digest) else { continue };
            if self.store.inner.db.layer(&blob.diff_id)?.is_none() {
                continue;
            }
            let about = format!("layer {}", blob.diff_id.short());
            let problem = format!("its copy as received: {e}");
            if self.whole.contains(&blob.diff_id) {
                // The layer itself gives the same tar: the copy is a convenience.
                self.mend(about, format!("{problem}; the layer itself is whole"), |store| {
                    store.inner.db.forget_kept(&blob.digest)?;
                    store.inner.trash.put(&store.paths().blob(&blob.digest))
                });
            } else {
                let advice = self.load_again(&blob.diff_id);
                self.tell(about, problem, Outcome::Wrong, Some(advice));
            }
        }
        Ok(())
    }

    /// Files and directories that no row names.
    pub(super) fn strays(&mut self) -> Result<()> {
        // Publications and removals change files and rows while they hold this: between them both agree.
        let mut held = self.store.publishing();
        self.store.tidy(&mut held);
        let db = &self.store.inner.db;
        let layers: HashSet<String> = db.layers()?.iter().map(|l| l.diff_id.hex()).collect();
        let blobs: HashSet<String> = db.expected_blobs()?.iter().map(Digest::hex).collect();
        let paths = self.store.paths();
        let mut strays = Vec::new();
        let mut look = |dir: &Path, named: &dyn Fn(&str) -> bool| -> Result<()> {
            for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
                let entry = entry.with_context(|| format!("read {}", dir.display()))?;
                if !entry.file_name().to_str().is_some_and(named) {
                    strays.push(entry.path());
                }
            }
            Ok(())
        };
        look(&paths.dir("layers"), &|name| layers.contains(name))?;
        look(&paths.dir("recipes"), &|name| layers.contains(name.strip_suffix(".displaced").unwrap_or(name)))?;
        look(&paths.dir("blobs").join("sha256"), &|name| blobs.contains(name))?;
        for path in strays {
            let about = path.strip_prefix(self.store.root()).unwrap_or(&path).display().to_string();
            self.mend(about, "nothing needs it", |store| store.inner.trash.put(&path));
        }
        drop(held);
        Ok(())
    }

    /// What the engine's rows need of this root: directories. Their content is the user's.
    pub(super) fn containers(&mut self) -> Result<()> {
        let db = &self.store.inner.db;
        let (containers, volumes) = (db.containers()?, db.volumes()?);
        let images: HashSet<Digest> = db.image_ids()?.into_iter().map(|i| i.0).collect();
        for row in containers {
            let about = format!("container {}", row.name);
            // Asked again: it may have been removed meanwhile.
            let still = || db.containers().is_ok_and(|all| all.iter().any(|c| c.id == row.id));
            if !self.store.root().join("containers").join(&row.id).is_dir() && still() {
                let advice = format!("remove it: dhow rm {}", row.name);
                self.tell(&about, "its directory is gone, and with it what it wrote", Outcome::Wrong, Some(advice));
            }
            if let Some(image) = row.image.filter(|i| !images.contains(i)) {
                let problem = format!("its image {} was removed: it can't be started again", image.short());
                self.tell(&about, problem, Outcome::Note, None);
            }
        }
        for row in volumes {
            let there = self.store.root().join("volumes").join(&row.name).join("_data").is_dir();
            let still = || db.volumes().is_ok_and(|all| all.iter().any(|v| v.name == row.name));
            if !there && still() {
                let advice = format!("remove it: dhow volume rm {}", row.name);
                self.tell(format!("volume {}", row.name), "its directory is gone", Outcome::Wrong, Some(advice));
            }
        }
        Ok(())
    }

    /// Layers of images that were removed while they were being checked go now.
    pub(super) fn forget_removed(&mut self) -> Result<()> {
        let mut leases = self.store.publishing();
        self.store.collect(&mut leases).map(drop)
    }
}

impl Store {
    /// Whether a blob's bytes have its digest.
    pub(super) fn blob_is_whole(&self, digest: &Digest) -> Result<()> {
        let path = self.paths().blob(digest);
        let mut hash = DigestWriter::new();
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        std::io::copy(&mut file, &mut hash).with_context(|| format!("read {}", path.display()))?;
        if hash.finish().0 == *digest {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DataLoss, format!("{} is damaged", path.display())))
    }

    /// Puts a document back.
    fn write_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.paths().blob(digest);
        let new = self.paths().dir("tmp").join(format!("mended-{}", digest.hex()));
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(self.paths().dir("blobs").join("sha256"))?.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// Gives a layer that lies on disk its row again, if it still gives its tar.
    pub(super) fn register_layer(&self, diff_id: &Digest) -> Result<()> {
        let row = self.measure(diff_id)?;
        self.inner.db.put_layer(&row, images::now())
    }
}
