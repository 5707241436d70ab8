//! One layer: its compressed bytes become a tree, and the tree a layer that waits for its image.

use super::form::{agree, said};
use super::image::Hold;
use super::ingest::{CallOff, Ingest};
use super::{WantedLayer, boot_id};
use crate::db::{LayerBlob, LayerRow};
use crate::layers::{Lease, Unpacked, place};
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
    off: CallOff,
}

/// What there is to do about a layer.
pub enum Incoming {
    /// Nothing: somebody else has brought it. It is held.
    Here(Hold),
    /// It is to be received.
    Layer(Box<LayerIn>),
}

/// A layer that is whole.
#[derive(Debug)]
pub struct Landed {
    /// What was left out of it, for people.
    pub warnings: Vec<String>,
    /// It stays for as long as this is there.
    pub hold: Hold,
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
    /// What a reception that begins after this can be called off with.
    pub fn call_off(&self) -> CallOff {
        self.inner.ingesting.call_off()
    }

    /// Begins to receive a layer. `reservation` has [`Store::room_for`] it. Waits for the end of another that receives the
    /// same bytes.
    pub fn receive_layer(&self, wanted: WantedLayer, reservation: Reservation, off: CallOff) -> Result<Incoming> {
        let mut ingest = Ingest::claim(self, &wanted.digest, &off)?;
        // Whoever had the claim before may have brought it.
        let hold = self.hold();
        if hold.layer(&wanted)? {
            return Ok(Incoming::Here(hold));
        }
        ingest.open(wanted.size, self.config().keep_blobs, &off).map_err(|e| self.explained(e))?;
        Ok(Incoming::Layer(Box::new(LayerIn { store: self.clone(), wanted, reservation, ingest, off })))
    }
}

impl LayerIn {
    /// How many bytes are here from an earlier try, and the hash that they went through. The input begins after them.
    pub fn begun(&self) -> (u64, DigestWriter) {
        (self.ingest.at(), self.ingest.hash())
    }

    /// Receives the rest. `input` ends only if all bytes together have the layer's digest; it fails with
    /// [`std::io::ErrorKind::InvalidData`] if they have not, else with any other kind, and then what came is kept.
    /// `progress` is told how many bytes have been read to be unpacked.
    pub fn receive(mut self, input: impl Read + Send, progress: &(dyn Fn(u64) + Sync)) -> Result<Landed, Spoiled> {
        let resumed = self.ingest.at() > 0;
        let fault = Mutex::new(None);
        let bytes = match self.unpack(input, progress, &fault) {
            Ok(landed) => return Ok(landed),
            Err(error) => error,
        };
        let fault = lock_anyway(&fault).take();
        // A connection that broke, or a cancelled pull: what came is good. So it is where something else went wrong, but
        // if some of it was only read again from the disk.
        let (error, bad) = match (fault, bytes) {
            (Some(Fault::Broken), e) => (e.0, false),
            (Some(Fault::Wrong), e) => (e.0, true),
            (Some(Fault::Own(error)), _) => (error, false),
            (None, Unfit(error, true)) => {
                let said = matches!(error.kind(), ErrorKind::InvalidParameter | ErrorKind::DataLoss);
                (error, said || resumed)
            }
            (None, Unfit(error, false)) => (error, false),
        };
        let error = self.store.explained(error);
        // A full disk needs the room.
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
    ) -> Result<Landed, Unfit> {
        let (store, wanted) = (self.store.clone(), self.wanted.clone());
        let limits = store.config().limits.within(&self.reservation);
        let ours = |e: Error| Unfit(e, false);
        let theirs = |e: Error| Unfit(e, true);
        let work = Work::new(&store).map_err(ours)?;
        spread(&work.dir);
        let dir = work.dir.join(fresh_name("layer", 0));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display())).map_err(ours)?;
        let (reservation, off) = (self.reservation.clone(), self.off.clone());
        let traffic = Traffic::default();
        let (replay, ingest) = (self.ingest.at(), &mut self.ingest);
        let feed = Feed { ingest, replay, input, reservation: &reservation, off, fault, at: 0, progress };
        let mut feed = traffic.received(feed);
        let mut start = Vec::with_capacity(LOOK);
        feed.by_ref().take(LOOK as u64).read_to_end(&mut start).context("read the layer").map_err(theirs)?;
        // The tar of a layer without changes may have no bytes at all.
        let content = if start.is_empty() { Content::Tar } else { sniff(&start) };
        said(&wanted.media_type).and_then(|said| agree(said, content, &wanted.media_type)).map_err(theirs)?;
        let input = BufReader::with_capacity(READ, Start::begun(start, feed));
        let outcome = hashed(input, content, &dir, &limits, &traffic).map_err(theirs)?;
        let (diff_id, _) = outcome.inflated.unwrap_or((Digest::of(b""), 0));
        if diff_id != wanted.diff_id {
            let text = format!(
                "layers from manifest don't match image configuration: its tar has the digest {diff_id}, the \
                 configuration says {}",
                wanted.diff_id
            );
            return Err(theirs(Error::new(ErrorKind::DataLoss, text)));
        }
        let warnings = outcome.applied.warnings.clone();
        let lease = self.place(&work, dir, outcome).map_err(ours)?;
        Ok(Landed { warnings, hold: Hold::of(&store, lease) })
    }

    /// Makes the layer visible. It is held.
    fn place(&mut self, work: &Work, dir: PathBuf, outcome: Outcome) -> Result<Lease> {
        let (store, wanted) = (&self.store, &self.wanted);
        let tar_size = outcome.inflated.map_or(0, |i| i.1);
        let (size, opaque_root) = (outcome.applied.size, outcome.applied.opaque_root);
        let row = LayerRow { diff_id: wanted.diff_id, size, tar_size, opaque_root };
        let blob = LayerBlob {
            digest: wanted.digest,
            diff_id: wanted.diff_id,
            size: wanted.size,
            media_type: wanted.media_type.clone(),
            kept: store.config().keep_blobs && self.ingest.path().is_some(),
        };
        let layer = Unpacked { dir, row };
        // One that has a row does not wait for an image: what takes its place is on the disk before.
        let named = store.inner.db.layer(&wanted.diff_id)?.is_some();
        if named {
            crate::sync::sync(&work.dir)?;
            self.ingest.sync()?;
        }
        let mut leases = store.publishing();
        let placed = (|| {
            store.place_layer(&layer)?;
            if let Some(path) = self.ingest.path().filter(|_| blob.kept) {
                place(path, &store.paths().blob(&blob.digest))?;
            }
            if named {
                store.sync_names()?;
            }
            store.inner.db.put_pending(&layer.row, &blob, &boot_id(), images::now())
        })();
        if placed.is_err() {
            Store::untidy(&mut leases);
        }
        store.tidy(&mut leases);
        placed?;
        let mut lease = Lease::new(store);
        lease.add(&wanted.diff_id);
        drop(leases);
        self.ingest.discard();
        Ok(lease)
    }
}

/// An error, and whether it may be the bytes'.
struct Unfit(Error, bool);

/// What the feed knows of a failure.
enum Fault {
    /// The bytes do not have their digest.
    Wrong,
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
    off: CallOff,
    fault: &'a Mutex<Option<Fault>>,
    at: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Feed<'_, R> {
    fn next(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.replay > 0 {
            if self.off.is_called() {
                *lock_anyway(self.fault) = Some(Fault::Broken);
                return Err(std::io::Error::other("nobody wants the layer any more"));
            }
            let most = buffer.len().min(usize::try_from(self.replay).unwrap_or(usize::MAX));
            let n = self.ingest.read(&mut buffer[..most])?;
            if n == 0 {
                return Err(std::io::Error::other("the bytes of an earlier try are gone"));
            }
            self.replay -= n as u64;
            return Ok(n);
        }
        let n = self.input.read(buffer).inspect_err(|e| {
            *lock_anyway(self.fault) = match e.kind() {
                std::io::ErrorKind::Interrupted => None,
                std::io::ErrorKind::InvalidData => Some(Fault::Wrong),
                _ => Some(Fault::Broken),
            };
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
