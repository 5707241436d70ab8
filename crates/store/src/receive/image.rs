//! An image whose layers are all here: held together, then named.

use super::WantedLayer;
use super::ingest::Wish;
use crate::db::NewImage;
use crate::layers::{Lease, Publication};
use crate::load::Work;
use crate::{Store, images, lock_anyway};
use dhow_types::{Digest, Platform, Reference, Result};
use std::sync::Mutex;

/// Keeps layers from going for as long as an image that is received counts on them.
pub struct Hold {
    store: Store,
    lease: Mutex<Lease>,
    /// Parts of layers that are about to be gone on with.
    wishes: Mutex<Vec<Wish>>,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hold")
    }
}

/// An image to name.
#[derive(Clone, Debug)]
pub struct ReceivedImage {
    /// Its configuration, byte for byte.
    pub config: Vec<u8>,
    /// Digest and bytes of its manifest.
    pub manifest: (Digest, Vec<u8>),
    /// Its layers' diff ids, lowest first; all are held.
    pub layers: Vec<Digest>,
    /// The names it gets.
    pub references: Vec<Reference>,
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The image.
    pub id: Digest,
    /// Whether a name means another image than before.
    pub changed: bool,
}

impl Store {
    /// Begins to hold the layers of one image.
    pub fn hold(&self) -> Hold {
        Hold::of(self, Lease::new(self))
    }
}

impl Hold {
    pub(super) fn of(store: &Store, lease: Lease) -> Self {
        Self { store: store.clone(), lease: Mutex::new(lease), wishes: Mutex::default() }
    }

    /// What came of a layer in an earlier try stays for as long as this is there.
    pub fn wish(&self, wanted: &WantedLayer) {
        lock_anyway(&self.wishes).push(self.store.inner.ingesting.wish(&wanted.digest));
    }

    /// Holds a layer. False if it is not here, or damaged.
    pub fn layer(&self, wanted: &WantedLayer) -> Result<bool> {
        Ok(lock_anyway(&self.lease).hold(&wanted.diff_id)?.is_some_and(|row| row.diff_id == wanted.diff_id))
    }

    /// Holds all layers of an image that is here. False if it is not, or not whole.
    pub fn image(&self, id: &Digest) -> Result<bool> {
        let store = &self.store;
        if !store.inner.db.image_exists(id)? || store.read_blob(id).is_err() {
            return Ok(false);
        }
        for row in store.inner.db.image_layers(id)? {
            if lock_anyway(&self.lease).hold(&row.diff_id)?.is_none_or(|held| held.diff_id != row.diff_id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The image that the manifest or index with this digest gave for a platform, if it is here and whole; it is held.
    pub fn resolved(&self, digest: &Digest, platform: &Platform) -> Result<Option<Digest>> {
        match self.store.inner.db.resolved(digest, &platform.to_string())? {
            Some(id) if self.image(&id)? => Ok(Some(id)),
            _ => Ok(None),
        }
    }

    /// Gives an image that is here and held more names. Says whether the tag, or without one the digest, meant something
    /// else; nothing if the image went meanwhile.
    pub fn rename(&self, id: &Digest, references: &[Reference]) -> Result<Option<bool>> {
        let db = &self.store.inner.db;
        let _publishing = self.store.publishing();
        if !db.image_exists(id)? {
            return Ok(None);
        }
        let changed = self.changes(id, references)?;
        for reference in references {
            if db.image_named(reference)? != Some(*id) {
                db.set_reference(reference, id, images::now())?;
            }
        }
        Ok(Some(changed))
    }

    /// Whether the tag among these names, or where there is none the digest, means something else.
    fn changes(&self, id: &Digest, references: &[Reference]) -> Result<bool> {
        let tag = references.iter().find(|r| r.digest().is_none()).or(references.first());
        match tag {
            Some(name) => Ok(self.store.inner.db.image_named(name)? != Some(*id)),
            None => Ok(false),
        }
    }

    /// Notes what a manifest or index gave for a platform, for the next time.
    pub fn note(&self, digest: &Digest, platform: &Platform, id: &Digest) -> Result<()> {
        self.store.inner.db.put_resolved(digest, &platform.to_string(), id)
    }

    /// Names the image, so that it survives a power cut.
    pub fn publish(&self, image: ReceivedImage) -> Result<Taken> {
        self.name(image).map_err(|e| self.store.explained(e))
    }

    fn name(&self, image: ReceivedImage) -> Result<Taken> {
        let id = Digest::of(&image.config);
        let changed = self.changes(&id, &image.references)?;
        let new = NewImage {
            id,
            manifest: Some(image.manifest.0),
            parent: None,
            layers: image.layers,
            references: image.references,
        };
        let publication = Publication {
            documents: vec![(id, image.config), image.manifest],
            images: vec![new],
            ..Default::default()
        };
        let work = Work::new(&self.store)?;
        self.store.publish(publication, &work.dir)?;
        Ok(Taken { id, changed })
    }
}
