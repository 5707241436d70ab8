//! Images as callers see them: found by name or id, listed, named anew.
//!
//! Removal and its rules live in `remove`; nothing here reads a layer.

use crate::db::ImageRow;
use crate::{Store, lock_anyway};
use dhow_types::{Cause, Context as _, Digest, Error, ErrorKind, ImageConfig, Reference, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// What a list of images shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecord {
    /// The digest of the configuration.
    pub id: Digest,
    /// Names with tags.
    pub references: Vec<Reference>,
    /// Names with the digest of the manifest they were received with.
    pub digests: Vec<Reference>,
    /// The digest of the manifest, if the image came with one.
    pub manifest: Option<Digest>,
    /// The image it was built on, if that is known.
    pub parent: Option<Digest>,
    /// When it was made, RFC 3339, as the configuration says.
    pub created: Option<String>,
    /// The same in seconds since 1970; 0 if it is not said.
    pub created_unix: i64,
    /// Bytes of file content in all layers.
    pub size: u64,
    /// When it came into this store, seconds since 1970.
    pub loaded_unix: i64,
    /// When a container was last made from it, started or ended, seconds since 1970; 0 = never.
    pub last_used_unix: i64,
    /// Its configuration and layers. If it is damaged, an empty configuration.
    pub image: Arc<Image>,
    /// Why its configuration can't be read, if so. Only lists have such images: everything else fails with this error.
    pub damaged: Option<String>,
}

/// An image's fixed part, read once and shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The digest of `raw`.
    pub id: Digest,
    /// The parsed configuration.
    pub config: ImageConfig,
    /// The configuration as received.
    pub raw: Vec<u8>,
    /// The layers' diff ids, lowest first.
    pub layers: Vec<Digest>,
    /// Bytes of file content in each of them.
    pub layer_sizes: Vec<u64>,
    /// Bytes of file content in all of them.
    pub size: u64,
    /// The directories for overlayfs, top first. Layers hidden by one that replaces the whole root are left out.
    pub layer_dirs: Vec<PathBuf>,
}

/// How many parsed images are kept in memory.
const CACHED_IMAGES: usize = 128;
/// Seconds between two notes of an image's last use on disk.
const WRITE_USES_EVERY: i64 = 5;

impl Store {
    /// All images, the newest first.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let mut records = Vec::new();
        for row in self.inner.db.image_rows(None)? {
            match self.image(&row.id) {
                Ok(image) => records.push(self.record(row, image, None)),
                // Removed meanwhile.
                Err(_) if !self.inner.db.image_exists(&row.id)? => {}
                // One that can't be read does not hide the others.
                Err(e) => {
                    let image = self.assembled(&row.id, ImageConfig::default(), Vec::new())?;
                    records.push(self.record(row, Arc::new(image), Some(e.text().to_owned())));
                }
            }
        }
        records.sort_by(|a, b| b.created_unix.cmp(&a.created_unix).then_with(|| a.id.cmp(&b.id)));
        Ok(records)
    }

    /// The image called `name`: `name`, `name:tag`, `name@digest`, an id, or the unique start of one.
    pub fn resolve(&self, name: &str) -> Result<ImageRecord> {
        let id = self.resolve_id(name)?;
        let row = self.inner.db.image_rows(Some(&id))?.pop().ok_or_else(|| no_such_image(name))?;
        let image = self.image(&row.id)?;
        Ok(self.record(row, image, None))
    }

    /// Whether there is an image of this name.
    pub fn is_named(&self, name: &Reference) -> Result<bool> {
        self.inner.db.image_named(name).map(|id| id.is_some())
    }

    /// The id of the image called `name`. As in Docker, a full id counts before a name, a name before a prefix.
    pub(crate) fn resolve_id(&self, name: &str) -> Result<Digest> {
        let db = &self.inner.db;
        if let Some(id) = name.parse::<Digest>().ok().or_else(|| Digest::from_hex(name).ok()) {
            return match db.image_rows(Some(&id))?.is_empty() {
                false => Ok(id),
                true => Err(no_such_image(name)),
            };
        }
        let reference = name.parse::<Reference>();
        if let Ok(r) = &reference
            && let Some(id) = db.image_named(r)?
        {
            return Ok(id);
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex =
            !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex {
            match db.images_with_prefix(prefix)?.as_slice() {
                [id] => return Ok(*id),
                [] => {}
                _ => {
                    return Err(Error::invalid(format!("image id prefix {name:?} is ambiguous: give more digits")));
                }
            }
        }
        match reference {
            Ok(_) => Err(no_such_image(name)),
            Err(_) if is_hex => Err(no_such_image(name)),
            Err(e) => Err(e),
        }
    }

    /// The image with this id.
    pub fn image(&self, id: &Digest) -> Result<Arc<Image>> {
        if let Some(image) = lock_anyway(&self.inner.images).get(id) {
            return Ok(Arc::clone(image));
        }
        if !self.inner.db.image_exists(id)? {
            return Err(no_such_image(&id.to_string()));
        }
        let raw = self.read_blob(id).with_context(|| format!("image {}", id.short()))?;
        let config = ImageConfig::parse(&raw)?;
        let image = Arc::new(self.assembled(id, config, raw)?);
        let mut cache = lock_anyway(&self.inner.images);
        if cache.len() >= CACHED_IMAGES {
            cache.clear();
        }
        cache.insert(*id, Arc::clone(&image));
        Ok(image)
    }

    /// An image of its configuration and what the database knows of its layers.
    fn assembled(&self, id: &Digest, config: ImageConfig, raw: Vec<u8>) -> Result<Image> {
        let rows = self.inner.db.image_layers(id)?;
        // Without layers, or removed meanwhile.
        if rows.is_empty() && !self.inner.db.image_exists(id)? {
            return Err(no_such_image(&id.to_string()));
        }
        let mut layer_dirs: Vec<PathBuf> = Vec::with_capacity(rows.len());
        for row in rows.iter().rev() {
            let dir = self.paths().layer(&row.diff_id);
            // The same layer twice hides nothing new, and overlayfs refuses it.
            if !layer_dirs.contains(&dir) {
                layer_dirs.push(dir);
            }
            if row.opaque_root {
                break;
            }
        }
        Ok(Image {
            id: *id,
            config,
            raw,
            layers: rows.iter().map(|r| r.diff_id).collect(),
            layer_sizes: rows.iter().map(|r| r.size).collect(),
            size: rows.iter().map(|r| r.size).sum(),
            layer_dirs,
        })
    }

    /// The directories of an image's layers for overlayfs' `lowerdir`, top first.
    pub fn layer_dirs(&self, id: &Digest) -> Result<Vec<PathBuf>> {
        Ok(self.image(id)?.layer_dirs.clone())
    }

    /// Gives the image called `source` the name `target`, which may be taken from another image.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<()> {
        if target.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        let _publishing = self.publishing();
        let id = self.resolve_id(source)?;
        self.inner.db.set_reference(target, &id, now())
    }

    /// All tags of a repository, with their images.
    pub fn tags(&self, repository: &Reference) -> Result<Vec<(Reference, Digest)>> {
        self.inner.db.tags_of(repository)
    }

    /// Notes that a container of the image was made, started or ended just now. Written down at most every five
    /// seconds for each image, since this is on the road of every container: a killed process loses less than that.
    pub fn touch(&self, id: &Digest) -> Result<()> {
        let now = now();
        {
            let mut used = lock_anyway(&self.inner.used);
            if used.len() >= CACHED_IMAGES && !used.contains_key(id) {
                // What was written down is nearly right.
                used.clear();
            }
            let (last, written) = used.entry(*id).or_default();
            *last = now;
            if now - *written < WRITE_USES_EVERY {
                return Ok(());
            }
            *written = now;
        }
        self.inner.db.touch_image(id, now)
    }

    /// Writes down when images were last used, as far as it is not: before an end that is no crash.
    pub fn write_uses(&self) -> Result<()> {
        let mut used = lock_anyway(&self.inner.used);
        for (id, (last, written)) in used.iter_mut().filter(|(_, (last, written))| last != written) {
            self.inner.db.touch_image(id, *last)?;
            *written = *last;
        }
        Ok(())
    }

    /// A small blob, its bytes checked against its digest.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.paths().blob(digest);
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(Error::new(
            ErrorKind::DataLoss,
            format!(
                "{} is damaged: its bytes do not have that digest; remove the image and load it again",
                path.display()
            ),
        ))
    }

    fn record(&self, row: ImageRow, image: Arc<Image>, damaged: Option<String>) -> ImageRecord {
        let created = image.config.created.clone();
        let created_unix =
            created.as_deref().and_then(|c| c.parse::<jiff::Timestamp>().ok()).map_or(0, |t| t.as_second());
        let used = lock_anyway(&self.inner.used).get(&row.id).map_or(0, |u| u.0);
        ImageRecord {
            id: row.id,
            references: row.references,
            digests: row.digests,
            manifest: row.manifest,
            parent: row.parent,
            created,
            created_unix,
            size: row.size,
            loaded_unix: row.loaded,
            last_used_unix: row.last_used.max(used),
            image,
            damaged,
        }
    }
}

/// Docker's words: the name as the user wrote it, with the tag that was meant.
pub(crate) fn no_such_image(name: &str) -> Error {
    let shown = match name.parse::<Reference>() {
        Ok(r) => r.or_latest().familiar(),
        Err(_) => name.to_owned(),
    };
    Error::not_found(format!("No such image: {shown}")).because(Cause::ImageMissing)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
