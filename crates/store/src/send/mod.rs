//! An image on its way out: its documents, its layers, and each layer's bytes in a form that a registry takes.
//!
//! A form is made anew of the layer's tree whenever it is wanted, so nothing of it lies on the disk: the same bytes each
//! time, from any offset. Which form is sent, and where, is the caller's.

mod blocks;
mod gzip;
mod known;
mod skip;
mod stream;

use crate::layers::Lease;
use crate::{Paths, Store};
use dhow_types::image::MAX_DOCUMENT;
use dhow_types::{Context as _, Digest, Error, ErrorKind, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

pub(crate) use blocks::Workers;

/// A form of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// What they are.
    pub media_type: String,
    /// Whether the store has them as they are.
    pub kept: bool,
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// With gzip at a level of 0 to 9.
    Gzip(u32),
    /// With zstd at a level of 1 to 19.
    Zstd(i32),
}

/// Which bytes of a layer are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Those that were kept.
    Kept(Form),
    /// Its tar, packed now.
    Packed(Compression),
}

/// A layer of an image that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentLayer {
    /// Of its tar.
    pub diff_id: Digest,
    /// Bytes of its tar.
    pub tar_size: u64,
    /// In which forms it came or went, the last seen first.
    pub forms: Vec<Form>,
}

/// An image that is sent. Its layers stay as long as this does.
pub struct Sending {
    store: Store,
    _lease: Lease,
    /// Of the configuration.
    pub id: Digest,
    /// The configuration as received.
    pub config: Vec<u8>,
    /// The manifest with which it came, byte for byte.
    pub manifest: Option<Vec<u8>>,
    /// From the lowest to the highest.
    pub layers: Vec<SentLayer>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What all streams share: the threads that compress blocks, for as long as somebody has them, and the places of those
/// that are compressed by the thread that makes them.
#[derive(Default)]
pub(crate) struct Shared {
    workers: Mutex<Weak<Workers>>,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A place; the next one has it when this is dropped.
struct Place<'a>(&'a Shared);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *crate::lock_anyway(&self.0.taken) -= 1;
        self.0.freed.notify_one();
    }
}

impl Shared {
    /// Waits for a place, of which there are as many as cores.
    fn place(&self) -> Place<'_> {
        let most = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut taken = crate::lock_anyway(&self.taken);
        while *taken >= most {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Place(self)
    }

    fn workers(&self) -> Result<Arc<Workers>> {
        let mut known = crate::lock_anyway(&self.workers);
        if let Some(workers) = known.upgrade() {
            return Ok(workers);
        }
        let new = Arc::new(Workers::start()?);
        *known = Arc::downgrade(&new);
        Ok(new)
    }
}

impl Store {
    /// What there is to send of the image with this id. A layer that is known to be damaged is an error.
    pub fn prepare_send(&self, id: &Digest) -> Result<Sending> {
        let image = self.image(id)?;
        let mut lease = Lease::new(self);
        let mut layers = Vec::with_capacity(image.layers.len());
        for diff_id in &image.layers {
            let row = lease.hold(diff_id)?.ok_or_else(|| {
                let text = format!("layer {} of image {} is damaged or gone", diff_id.short(), id.short());
                Error::new(ErrorKind::DataLoss, text).advised("see what is left with `dhow system check`")
            })?;
            layers.push(SentLayer { diff_id: *diff_id, tar_size: row.tar_size, forms: self.forms(diff_id)? });
        }
        let manifest = match self.inner.db.image_rows(Some(id))?.pop().and_then(|row| row.manifest) {
            Some(digest) => Some(self.read_blob(&digest).with_context(|| format!("manifest of image {}", id.short()))?),
            None => None,
        };
        let manifest = manifest.filter(|m| m.len() <= MAX_DOCUMENT);
        Ok(Sending { store: self.clone(), _lease: lease, id: *id, config: image.raw.clone(), manifest, layers })
    }
}

impl Sending {
    fn paths(&self) -> &Paths {
        self.store.paths()
    }
}
