//! Blocks of deflate, compressed side by side: threads for all streams together, as many as there are cores.
//!
//! A block depends on its own bytes and on the 32 KiB before them alone, so that a stream is the same whichever thread
//! does what, and one large layer keeps all cores busy.

use crate::load::pipe::Chunk;
use crate::lock_anyway;
use dhow_types::{Context as _, Error, Result};
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The most threads.
const MAX_THREADS: usize = 16;
/// The stack of a thread: the compressor's state is on the heap.
const STACK: usize = 512 << 10;
/// How far deflate looks back.
pub(super) const WINDOW: usize = 32 << 10;

/// A block to be compressed.
struct Job {
    chunk: Chunk,
    len: usize,
    /// What stood before it.
    before: Vec<u8>,
    level: u32,
    done: Sender<Result<Block>>,
}

/// A compressed block: whole bytes of deflate that are not the last, and the checksum of what is in it.
pub(super) struct Block {
    pub bytes: Vec<u8>,
    pub sum: Crc,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// The threads. They end when this is dropped.
pub(crate) struct Workers {
    queue: Arc<Queue>,
    pub(super) threads: usize,
}

impl Workers {
    pub(super) fn start() -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_THREADS);
        // Dropped, and so closed, if a thread can't be started.
        let workers = Self { queue: Arc::default(), threads };
        for _ in 0..threads {
            let queue = workers.queue.clone();
            let thread = std::thread::Builder::new().name("dhow-deflate".into()).stack_size(STACK);
            thread.spawn(move || work(&queue)).context("start a thread")?;
        }
        Ok(workers)
    }

    /// The block's place in the queue. How many wait is bounded by who asks.
    pub(super) fn compress(&self, chunk: Chunk, len: usize, before: Vec<u8>, level: u32) -> Receiver<Result<Block>> {
        let (done, receiver) = channel();
        lock_anyway(&self.queue.state).jobs.push_back(Job { chunk, len, before, level, done });
        self.queue.filled.notify_one();
        receiver
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut state = lock_anyway(&self.queue.state);
        state.closed = true;
        state.jobs.clear();
        self.queue.filled.notify_all();
    }
}

fn work(queue: &Queue) {
    let mut deflate = Deflate { compress: None, scratch: Vec::new() };
    loop {
        let mut state = lock_anyway(&queue.state);
        let job = loop {
            if let Some(job) = state.jobs.pop_front() {
                break job;
            }
            if state.closed {
                return;
            }
            state = queue.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let Job { mut chunk, len, before, level, done } = job;
        let block = deflate.block(&chunk.space()[..len], &before, level);
        // The buffer goes back before anybody waits for it.
        drop(chunk);
        // Who is gone needs no block.
        let _ = done.send(block);
    }
}

/// One thread's compressor.
struct Deflate {
    compress: Option<(u32, Compress)>,
    scratch: Vec<u8>,
}

impl Deflate {
    fn block(&mut self, bytes: &[u8], before: &[u8], level: u32) -> Result<Block> {
        if self.compress.as_ref().is_none_or(|(l, _)| *l != level) {
            self.compress = Some((level, Compress::new(Compression::new(level), false)));
        }
        let Some((_, compress)) = &mut self.compress else { return Err(Error::system("no compressor")) };
        let failed = |e: flate2::CompressError| Error::system(format!("compress: {e}"));
        compress.reset();
        if !before.is_empty() {
            compress.set_dictionary(before).map_err(failed)?;
        }
        self.scratch.clear();
        self.scratch.reserve(bytes.len() + bytes.len() / 256 + 64);
        loop {
            let done = compress.total_in() as usize;
            compress.compress_vec(&bytes[done..], &mut self.scratch, FlushCompress::Sync).map_err(failed)?;
            // All of it is out when there is room left.
            if compress.total_in() as usize == bytes.len() && self.scratch.len() < self.scratch.capacity() {
                break;
            }
            self.scratch.reserve(4 << 10);
        }
        let mut sum = Crc::new();
        sum.update(bytes);
        Ok(Block { bytes: self.scratch.clone(), sum })
    }
}
