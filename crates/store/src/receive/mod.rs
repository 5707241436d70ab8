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
pub use ingest::CallOff;
pub(crate) use ingest::Claims;
pub use layer::{Incoming, Landed, LayerIn, Spoiled};

use crate::{Store, images};
use dhow_types::{Context as _, Digest, Result};
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

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
}

/// What is here of images that did not come whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Layers that wait for an image.
    pub layers: Vec<Digest>,
    /// Bytes of layers that are not whole.
    pub parts: u64,
}

impl Store {
    /// How much space a layer needs before its first byte: the tree, and what is written down until it is whole.
    pub fn room_for(&self, layer: &WantedLayer) -> u64 {
        if !self.config().keep_blobs && !ingest::is_kept(layer.size) {
            return layer.size;
        }
        let here = std::fs::metadata(self.paths().ingest(&layer.digest)).map_or(0, |m| m.len());
        layer.size.saturating_add(layer.size.saturating_sub(here))
    }

    /// What is not whole and nobody counts on now.
    pub fn unfinished(&self) -> Result<Unfinished> {
        let held = self.inner.held.all();
        let layers = self.inner.db.pending()?.into_iter().filter(|l| !held.contains(l)).collect();
        let mut parts = 0;
        self.each_part(&mut |_, entry| {
            parts += entry.metadata().map_or(0, |m| m.blocks() * 512);
            Ok(())
        })?;
        Ok(Unfinished { layers, parts })
    }

    /// Throws it away, with `all` also what may still be asked for again. Returns the layers that are gone.
    pub fn discard_unfinished(&self, all: bool) -> Result<Vec<Digest>> {
        let now = if all { i64::MAX } else { images::now() };
        let mut leases = self.publishing();
        self.clear_unfinished(now, false)?;
        self.collect(&mut leases)
    }

    /// Layers that wait too long at the time `now` wait no more, and at a start those of other boots; parts of layers of
    /// that age go. The caller is publishing: between what is held and what waits nobody may come.
    pub(crate) fn clear_unfinished(&self, now: i64, start: bool) -> Result<()> {
        let since = now.saturating_sub(KEEP.as_secs() as i64);
        let boot = start.then(boot_id);
        self.inner.db.give_up_pending(since, boot.as_deref(), &self.inner.held.all())?;
        self.each_part(&mut |digest, entry| {
            let written = entry.metadata().map_or(0, |m| m.mtime());
            if digest.is_none() || written < since { self.inner.trash.put(&entry.path()) } else { Ok(()) }
        })
    }

    /// Every file in `ingest/` that nobody writes or is about to, with its digest if that is what its name is.
    fn each_part(&self, each: &mut dyn FnMut(Option<Digest>, &DirEntry) -> Result<()>) -> Result<()> {
        let dir = self.paths().dir("ingest");
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let entry = entry.with_context(|| format!("read {}", dir.display()))?;
            let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            let claim = digest.as_ref().map(|digest| self.inner.ingesting.try_take(digest));
            // Of one that is being received the claim is held.
            if !matches!(claim, Some(None)) {
                each(digest, &entry)?;
            }
        }
        Ok(())
    }
}

/// What tells this run of the machine from others; empty if nothing does.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
