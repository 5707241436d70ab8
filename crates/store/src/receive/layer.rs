//! One layer: its compressed bytes become a tree, and the tree a layer that waits for its image.

use super::form::{agree, said};
use super::ingest::Ingest;
use super::{WantedLayer, boot_id};
use crate::db::{LayerBlob, LayerRow};
use crate::layers::{Unpacked, place};
use crate::load::sniff::{Content, LOOK, sniff};
use crate::load::traffic::Traffic;
use crate::load::unpack::{Outcome, hashed};
use crate::load::{Start, Work};
use crate::spread::{fresh_name, spread};
use crate::{Reservation, Store, images, lock_anyway};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, Result};
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;

/// How much is read of the bytes that come, at once.
const READ: usize = 64 << 10;

/// A layer that is about to be received.
pub struct LayerIn {
    store: Store,
    wanted: WantedLayer,
    reservation: Reservation,
    ingest: Ingest,
}

/// Why a layer could not be received.
#[derive(Debug)]
pub struct Spoiled {
    /// What is told.
    pub error: Error,
    /// The bytes are at fault, and of some of them nobody but the disk said that they came: another try, from the first
    /// byte on, may go well.
    pub again: bool,
}

impl Store {
    /// Begins to receive a layer. `reservation` has at least [`WantedLayer::room`]. Waits for an end of another that
    /// receives the same bytes.
    pub fn receive_layer(&self, wanted: WantedLayer, reservation: Reservation) -> Result<LayerIn> {
        let ingest =
            Ingest::open(self, &wanted.digest, wanted.size, self.config().keep_blobs).map_err(|e| self.explained(e))?;
        Ok(LayerIn { store: self.clone(), wanted, reservation, ingest })
    }
}

impl LayerIn {
    /// How many bytes are here from an earlier try, and the hash that they went through. The input begins after them.
    pub fn begun(&self) -> (u64, DigestWriter) {
        (self.ingest.at(), self.ingest.hash())
    }

    /// Receives the rest. `input` ends only if all bytes together have the layer's digest; it fails with
    /// [`std::io::ErrorKind::InvalidData`] if they have not, else with any other kind, and then what came is kept.
    /// `progress` is told how many bytes have been read to be unpacked. What was left out of the layer comes back, for
    /// people.
    pub fn receive(mut self, input: impl Read + Send, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<String>, Spoiled> {
        let resumed = self.ingest.at() > 0;
        let fault = Mutex::new(None);
        let error = match self.unpack(input, progress, &fault) {
            Ok(warnings) => return Ok(warnings),
            Err(error) => error,
        };
        let fault = lock_anyway(&fault).take();
        // A connection that broke, or a cancelled pull: what came is good. A full disk needs the room.
        let (error, bad) = match fault {
            Some(Fault::Broken) => (error, false),
            Some(Fault::Own(error)) => (error, false),
            None => (error, true),
        };
        let error = self.store.explained(error);
        let full = matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::Exhausted);
        if bad || full {
            self.ingest.discard();
        }
        Err(Spoiled { error, again: bad && resumed && !full })
    }

    fn unpack(
        &mut self,
        input: impl Read + Send,
        progress: &(dyn Fn(u64) + Sync),
        fault: &Mutex<Option<Fault>>,
    ) -> Result<Vec<String>> {
        let store = self.store.clone();
        let wanted = self.wanted.clone();
        let limits = store.config().limits.within(&self.reservation);
        let work = Work::new(&store)?;
        spread(&work.dir);
        let dir = work.dir.join(fresh_name("layer", 0));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let reservation = self.reservation.clone();
        let traffic = Traffic::default();
        let (replay, ingest) = (self.ingest.at(), &mut self.ingest);
        let feed = Feed { ingest, replay, input, reservation: &reservation, fault, at: 0, progress };
        let mut feed = traffic.received(feed);
        let mut start = Vec::with_capacity(LOOK);
        feed.by_ref().take(LOOK as u64).read_to_end(&mut start).context("read the layer")?;
        // The tar of a layer without changes may have no bytes at all.
        let content = if start.is_empty() { Content::Tar } else { sniff(&start) };
        agree(said(&wanted.media_type)?, content, &wanted.media_type)?;
        let input = BufReader::with_capacity(READ, Start::begun(start, feed));
        let outcome = hashed(input, content, &dir, &limits, &traffic)?;
        let warnings = outcome.applied.warnings.clone();
        self.place(&work, dir, outcome)?;
        Ok(warnings)
    }

    /// Makes the layer visible, if it is the one that was wanted.
    fn place(&mut self, work: &Work, dir: PathBuf, outcome: Outcome) -> Result<()> {
        let (store, wanted) = (&self.store, &self.wanted);
        let (diff_id, tar_size) = outcome.inflated.unwrap_or((Digest::of(b""), 0));
        if diff_id != wanted.diff_id {
            let text = format!(
                "layers from manifest don't match image configuration: its tar has the digest {diff_id}, the \
                 configuration says {}",
                wanted.diff_id
            );
            return Err(Error::new(ErrorKind::DataLoss, text));
        }
        let keep = store.config().keep_blobs;
        let row = LayerRow { diff_id, size: outcome.applied.size, tar_size, opaque_root: outcome.applied.opaque_root };
        let blob = LayerBlob {
            digest: wanted.digest,
            diff_id,
            size: wanted.size,
            media_type: wanted.media_type.clone(),
            kept: keep && self.ingest.path().is_some(),
        };
        let layer = Unpacked { dir, row };
        if store.is_damaged(&diff_id) {
            // What takes the place of another is on the disk before.
            crate::sync::sync(&work.dir)?;
        }
        {
            let mut leases = store.publishing();
            let placed = (|| {
                store.place_layer(&layer)?;
                if let Some(path) = self.ingest.path().filter(|_| blob.kept) {
                    place(path, &store.paths().blob(&blob.digest))?;
                }
                store.inner.db.put_pending(&layer.row, &blob, &boot_id(), images::now())
            })();
            if placed.is_err() {
                crate::Store::untidy(&mut leases);
            }
            store.tidy(&mut leases);
            placed?;
        }
        self.ingest.discard();
        Ok(())
    }
}

/// A fault of the feed, not of the bytes.
enum Fault {
    /// Nothing comes any more.
    Broken,
    /// What came could not be written.
    Own(Error),
}

/// What is here of a layer, and then what comes, which is written down.
struct Feed<'a, R> {
    ingest: &'a mut Ingest,
    /// How many bytes are still to be read again.
    replay: u64,
    input: R,
    reservation: &'a Reservation,
    fault: &'a Mutex<Option<Fault>>,
    at: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Feed<'_, R> {
    fn next(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.replay > 0 {
            let most = buffer.len().min(usize::try_from(self.replay).unwrap_or(usize::MAX));
            let n = self.ingest.read(&mut buffer[..most])?;
            if n == 0 {
                return Err(std::io::Error::other("the bytes of an earlier try are gone"));
            }
            self.replay -= n as u64;
            return Ok(n);
        }
        let n = self.input.read(buffer).inspect_err(|e| {
            if !matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::Interrupted) {
                *lock_anyway(self.fault) = Some(Fault::Broken);
            }
        })?;
        if n > 0 && self.ingest.writes() {
            let written = self
                .reservation
                .spend(n as u64)
                .and_then(|()| self.ingest.append(&buffer[..n]).context("write what came of the layer"));
            written.map_err(|e| {
                let text = e.text().to_owned();
                *lock_anyway(self.fault) = Some(Fault::Own(e));
                std::io::Error::other(text)
            })?;
        }
        Ok(n)
    }
}

impl<R: Read> Read for Feed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.next(buffer)?;
        self.at += n as u64;
        (self.progress)(self.at);
        Ok(n)
    }
}
