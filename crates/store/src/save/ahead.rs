//! Layers rebuilt ahead of their reader: a few threads, each with its own bounded buffers.
//!
//! Every thread takes layers in their order. So the thread of the layer that is being read has buffers in that
//! layer and in earlier ones only, which were read: it never waits for what comes later.

use crate::Store;
use crate::load::pipe::{Piece, Pool};
use crate::lock_anyway;
use crate::rebuild::rebuild_checked;
use dhow_types::{Digest, Error, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A piece of a layer; none when it ended and had its digest.
type Message = Result<Option<Piece>>;

/// What has to be rebuilt, and the way from the threads to the reader.
pub(super) struct Ahead<'a> {
    store: &'a Store,
    layers: &'a [Digest],
    /// Buffers of each thread.
    buffers: usize,
    next: AtomicUsize,
    stop: AtomicBool,
    senders: Vec<Mutex<Option<Sender<Message>>>>,
    receivers: Vec<Mutex<Option<Receiver<Message>>>>,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(store: &'a Store, layers: &'a [Digest], buffers: usize) -> Self {
        let (senders, receivers) = layers.iter().map(|_| channel()).unzip::<_, _, Vec<_>, Vec<_>>();
        Self {
            store,
            layers,
            buffers,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            senders: senders.into_iter().map(|s| Mutex::new(Some(s))).collect(),
            receivers: receivers.into_iter().map(|r| Mutex::new(Some(r))).collect(),
        }
    }

    /// The work of one thread: layer after layer until there are none, or the reader gave up.
    pub(super) fn rebuild(&self) {
        let pool = Pool::new(self.buffers);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(sender)) = (self.layers.get(number), self.senders.get(number)) else { return };
            let Some(to) = lock_anyway(sender).take() else { return };
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let mut send = |chunk, len| {
                to.send(Ok(Some(Piece::new(chunk, len)))).map_err(|_| Error::system("nobody reads the layer"))
            };
            let done = rebuild_checked(self.store.paths(), layer, &pool, &mut send).map(|_| None);
            // A reader that is gone needs no word.
            let _ = to.send(done);
        }
    }

    /// Passes the bytes of a layer on; an error if they are not what they should be.
    pub(super) fn read(&self, number: usize, each: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let failed = || Error::system("a thread that rebuilds a layer failed: this is a bug in dhow");
        let from = self.receivers.get(number).and_then(|r| lock_anyway(r).take()).ok_or_else(failed)?;
        loop {
            match from.recv().map_err(|_| failed())?? {
                Some(piece) => each(piece)?,
                None => return Ok(()),
            }
        }
    }

    /// Ends all threads soon: what they wait for comes or fails.
    pub(super) fn give_up(&self) {
        self.stop.store(true, Ordering::Release);
        for receiver in &self.receivers {
            lock_anyway(receiver).take();
        }
    }
}
