//! The bytes of one layer as far as they came, in a file that the next try finds.
//!
//! Nothing is synced: after a power cut the file may hold anything, which the digest tells in the end.

use crate::{Store, lock_anyway};
use dhow_types::{Context as _, Digest, DigestWriter, Result};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Layers smaller than this are begun anew.
const WORTH: u64 = 1 << 20;
/// How much is read at once.
const READ: usize = 128 << 10;

/// Whether the bytes of a layer of this size are kept until it is whole.
pub(crate) fn is_kept(size: u64) -> bool {
    size >= WORTH
}

/// Digests whose bytes are being received: one at a time each.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    inner: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    digests: Mutex<HashSet<Digest>>,
    given_back: Condvar,
}

/// The right to receive one digest.
#[derive(Debug)]
pub(crate) struct Claim {
    taken: Arc<Taken>,
    digest: Digest,
}

impl Claims {
    /// Waits until nobody else receives it: one that was broken off takes a moment to let go.
    pub(crate) fn take(&self, digest: &Digest) -> Claim {
        let mut digests = lock_anyway(&self.inner.digests);
        while !digests.insert(*digest) {
            digests = self.inner.given_back.wait(digests).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { taken: Arc::clone(&self.inner), digest: *digest }
    }
    /// Only if nobody receives it.
    pub(crate) fn try_take(&self, digest: &Digest) -> Option<Claim> {
        let fresh = lock_anyway(&self.inner.digests).insert(*digest);
        fresh.then(|| Claim { taken: Arc::clone(&self.inner), digest: *digest })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock_anyway(&self.taken.digests).remove(&self.digest);
        self.taken.given_back.notify_all();
    }
}

/// A layer's file.
pub(super) struct Ingest {
    store: Store,
    path: PathBuf,
    /// Only if the layer is worth it, or is kept as it comes.
    file: Option<File>,
    /// Bytes there, and their hash.
    at: u64,
    hash: DigestWriter,
    _claim: Claim,
}

impl Ingest {
    /// Takes up what is there of a layer of `size` bytes.
    pub(super) fn open(store: &Store, digest: &Digest, size: u64, keep: bool) -> Result<Self> {
        let claim = store.inner.ingesting.take(digest);
        let path = store.paths().ingest(digest);
        let mut ingest =
            Self { store: store.clone(), path, file: None, at: 0, hash: DigestWriter::new(), _claim: claim };
        if !keep && !is_kept(size) {
            return Ok(ingest);
        }
        let what = || format!("open {}", ingest.path.display());
        let mut file = File::options().read(true).append(true).create(true).open(&ingest.path).with_context(what)?;
        if file.metadata().with_context(what)?.len() > size {
            file.set_len(0).with_context(what)?;
        }
        let mut buffer = vec![0; READ];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    ingest.hash.update(&buffer[..n]);
                    ingest.at += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                // What can't be read is of no use.
                Err(_) => {
                    file.set_len(0).with_context(what)?;
                    (ingest.at, ingest.hash) = (0, DigestWriter::new());
                    break;
                }
            }
        }
        file.rewind().with_context(what)?;
        ingest.file = Some(file);
        Ok(ingest)
    }

    /// How many bytes are there.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
    /// The hash that they went through.
    pub(super) fn hash(&self) -> DigestWriter {
        self.hash.clone()
    }
    /// Bytes that are there, read again from the beginning on.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.file {
            Some(file) => file.read(buffer),
            None => Ok(0),
        }
    }
    /// The next bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
    }
    /// Whether what comes is written.
    pub(super) fn writes(&self) -> bool {
        self.file.is_some()
    }
    /// The file, if there is one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.file.as_ref().map(|_| &self.path)
    }
    /// It is of no use any more: the layer is whole, or the bytes are wrong.
    pub(super) fn discard(&mut self) {
        if self.file.take().is_some() {
            // What can't be put away goes when it is old.
            let _ = self.store.inner.trash.put(&self.path);
        }
    }
}
