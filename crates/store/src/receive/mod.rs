//! Images that come from elsewhere, layer by layer: bytes in, layers out, the image last.
//!
//! A layer becomes visible as soon as it is whole and waits for its image (`pending_layers`); what came of one that is
//! not whole stays in `ingest/`, so that whoever asks again can go on there. Nothing here knows a network: whoever gives
//! the bytes has checked their digest by the time they end, and the digest of the tar is checked here.

mod form;
mod image;
mod ingest;
mod layer;

pub use image::{Hold, ReceivedImage, Taken};
pub(crate) use ingest::Claims;
pub use layer::{LayerIn, Spoiled};

use crate::Store;
use dhow_types::{Context as _, Digest, Result};
use std::time::{Duration, SystemTime};

/// How long what is not whole waits for somebody who goes on with it.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// A layer as a manifest describes it, and what its tar must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WantedLayer {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
    /// What the manifest says they are; empty if it says nothing.
    pub media_type: String,
    /// The digest of the tar, as the image's configuration has it.
    pub diff_id: Digest,
}

impl WantedLayer {
    /// Fails if it is of a kind that is not taken.
    pub fn check(&self) -> Result<()> {
        form::said(&self.media_type).map(drop)
    }
    /// How much space is kept for it before its first byte.
    pub fn room(&self, keep_blobs: bool) -> u64 {
        let copies = if keep_blobs || ingest::is_kept(self.size) { 2 } else { 1 };
        self.size.saturating_mul(copies)
    }
}

impl Store {
    /// Throws away what is not whole and nobody counts on: layers without an image, and parts of layers. With `all` also
    /// what may still be asked for again.
    pub fn discard_unfinished(&self, all: bool) -> Result<()> {
        let now = crate::images::now();
        self.clear_unfinished(if all { i64::MAX } else { now }, false)?;
        let mut leases = self.publishing();
        self.collect(&mut leases).map(drop)
    }

    /// Layers that wait too long at the time `now` wait no more, and at a start those of other boots; parts of layers of
    /// that age go.
    pub(crate) fn clear_unfinished(&self, now: i64, start: bool) -> Result<()> {
        let since = now.saturating_sub(KEEP.as_secs() as i64);
        let boot = start.then(boot_id);
        self.inner.db.give_up_pending(since, boot.as_deref())?;
        let dir = self.paths().dir("ingest");
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let entry = entry.with_context(|| format!("read {}", dir.display()))?;
            let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            let written = entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let written = written.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
            // Of one that is being received, the claim is held.
            let _claim = match &digest {
                Some(digest) => match self.inner.ingesting.try_take(digest) {
                    Some(claim) => Some(claim),
                    None => continue,
                },
                None => None,
            };
            if digest.is_none() || written < since {
                self.inner.trash.put(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// What tells this run of the machine from others; empty if nothing does.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
