//! The bytes of one layer as far as they came, in a file that the next try finds.
//!
//! Nothing is synced: after a power cut the file may hold anything, which the digest tells in the end.

use crate::{Store, lock_anyway};
use dhow_types::{Context as _, Digest, DigestWriter, Error, Result};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Layers smaller than this are begun anew.
const WORTH: u64 = 1 << 20;
/// How much is read at once.
const READ: usize = 128 << 10;

/// Whether the bytes of a layer of this size are kept until it is whole.
pub(crate) fn is_kept(size: u64) -> bool {
    size >= WORTH
}

/// Digests whose bytes are being received, one at a time each, and those that somebody is about to receive.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    inner: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: HashSet<Digest>,
    wished: HashMap<Digest, usize>,
}

/// The right to receive one digest.
#[derive(Debug)]
pub(crate) struct Claim {
    of: Arc<Taken>,
    digest: Digest,
}

/// What came of one digest is wanted, and stays until somebody goes on with it.
#[derive(Debug)]
pub(crate) struct Wish {
    of: Arc<Taken>,
    digest: Digest,
}

/// Calls a reception off that waits, or reads again what is here.
#[derive(Clone, Debug)]
pub struct CallOff {
    of: Arc<Taken>,
    called: Arc<AtomicBool>,
}

impl CallOff {
    /// It is not wanted any more.
    pub fn call(&self) {
        // Under the lock: nobody may miss it between a look and the wait.
        let _state = lock_anyway(&self.of.state);
        self.called.store(true, Ordering::Relaxed);
        self.of.changed.notify_all();
    }
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }
}

impl Claims {
    /// Waits until nobody else receives it: one that was broken off takes a moment to let go. None if it was called off.
    fn take(&self, digest: &Digest, off: &CallOff) -> Option<Claim> {
        let mut state = lock_anyway(&self.inner.state);
        while !off.is_called() {
            if state.taken.insert(*digest) {
                return Some(Claim { of: Arc::clone(&self.inner), digest: *digest });
            }
            state = self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }
    /// Only if nobody receives it, or is about to.
    pub(super) fn try_take(&self, digest: &Digest) -> Option<Claim> {
        let mut state = lock_anyway(&self.inner.state);
        let free = !state.wished.contains_key(digest) && state.taken.insert(*digest);
        free.then(|| Claim { of: Arc::clone(&self.inner), digest: *digest })
    }
    pub(super) fn wish(&self, digest: &Digest) -> Wish {
        *lock_anyway(&self.inner.state).wished.entry(*digest).or_default() += 1;
        Wish { of: Arc::clone(&self.inner), digest: *digest }
    }
    pub(super) fn call_off(&self) -> CallOff {
        CallOff { of: Arc::clone(&self.inner), called: Arc::default() }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock_anyway(&self.of.state).taken.remove(&self.digest);
        self.of.changed.notify_all();
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut state = lock_anyway(&self.of.state);
        if let Some(count) = state.wished.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                state.wished.remove(&self.digest);
            }
        }
    }
}

fn called_off() -> Error {
    Error::unavailable("nobody wants the layer any more")
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
    /// Takes up the right to a layer of `size` bytes. Nothing is read yet.
    pub(super) fn claim(store: &Store, digest: &Digest, off: &CallOff) -> Result<Self> {
        let claim = store.inner.ingesting.take(digest, off).ok_or_else(called_off)?;
        let path = store.paths().ingest(digest);
        Ok(Self { store: store.clone(), path, file: None, at: 0, hash: DigestWriter::new(), _claim: claim })
    }

    /// Takes up what is there of it, if it is worth it.
    pub(super) fn open(&mut self, size: u64, keep: bool, off: &CallOff) -> Result<()> {
        if !keep && !is_kept(size) {
            return Ok(());
        }
        let path = self.path.clone();
        let ingest = self;
        let what = || format!("open {}", path.display());
        let mut file = File::options().read(true).append(true).create(true).open(&path).with_context(what)?;
        if file.metadata().with_context(what)?.len() > size {
            file.set_len(0).with_context(what)?;
        }
        let mut buffer = vec![0; READ];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) if off.is_called() => return Err(called_off()),
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
        Ok(())
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
    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> Result<()> {
        match &self.file {
            Some(file) => file.sync_all().with_context(|| format!("sync {}", self.path.display())),
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
