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
    let mut scratch = Vec::new();
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
        let block = block(&chunk.space()[..len], &before, level, &mut scratch);
        // The buffer goes back before anybody waits for it.
        drop(chunk);
        // Who is gone needs no block.
        let _ = done.send(block);
    }
}

/// One block, with room that is used again.
fn block(bytes: &[u8], before: &[u8], level: u32, scratch: &mut Vec<u8>) -> Result<Block> {
    let failed = |e: flate2::CompressError| Error::system(format!("compress: {e}"));
    let level = if is_noise(bytes) { 0 } else { level };
    // A new one each time: what an old one still has in its window gets into the hashes of the first bytes, and the same
    // block would not always be packed alike.
    let mut compress = Compress::new(Compression::new(level), false);
    if !before.is_empty() && level > 0 {
        compress.set_dictionary(before).map_err(failed)?;
    }
    scratch.clear();
    scratch.reserve(bytes.len() + bytes.len() / 256 + 64);
    loop {
        let done = compress.total_in() as usize;
        compress.compress_vec(&bytes[done..], scratch, FlushCompress::Sync).map_err(failed)?;
        // All of it is out when there is room left.
        if compress.total_in() as usize == bytes.len() && scratch.len() < scratch.capacity() {
            break;
        }
        scratch.reserve(4 << 10);
    }
    let mut sum = Crc::new();
    sum.update(bytes);
    Ok(Block { bytes: scratch.clone(), sum })
}

/// Samples of a block that are looked at.
const SAMPLES: usize = 16;
/// The size of each.
const SAMPLE: usize = 1 << 10;

/// Whether deflate would make nearly nothing of it: all bytes are about as frequent, as in what is compressed already.
/// A fifth of the time goes there otherwise, in layers that have such files.
fn is_noise(bytes: &[u8]) -> bool {
    let step = bytes.len() / SAMPLES;
    if step < SAMPLE {
        return false;
    }
    let mut counts = [0u64; 256];
    for sample in bytes.chunks_exact(step).take(SAMPLES) {
        sample[..SAMPLE].iter().for_each(|b| counts[usize::from(*b)] += 1);
    }
    // With all alike the squares sum up to n²/256. Numbers that are whole: the same on every machine.
    let squares: u64 = counts.iter().map(|c| c * c).sum();
    let n = (SAMPLES * SAMPLE) as u64;
    squares * 256 * 100 <= n * n * 108
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_from_what_can_be_packed() {
        let mut state = 7u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        };
        let noise: Vec<u8> = (0..256 << 10).map(|_| random()).collect();
        assert!(is_noise(&noise));
        assert!(!is_noise(&noise[..1000]) && !is_noise(&[]));
        let seven: Vec<u8> = noise.iter().map(|b| b & 0x7f).collect();
        assert!(!is_noise(&seven));
        // Half noise, half zeros.
        assert!(!is_noise(&[&noise[..128 << 10], &[0; 128 << 10]].concat()));
    }

    #[test]
    fn the_same_block_is_always_packed_alike() {
        let text: Vec<u8> =
            (0..200_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 26).to_string().into_bytes()).collect();
        let (before, bytes) = text[..WINDOW + 100_000].split_at(WINDOW);
        let mut scratch = Vec::new();
        let first = block(bytes, before, 6, &mut scratch).unwrap().bytes;
        for other in [&text[..], &text[7..99_999], &[1, 2, 3]] {
            block(other, &other[..other.len().min(3)], 6, &mut scratch).unwrap();
            assert!(block(bytes, before, 6, &mut scratch).unwrap().bytes == first);
        }
    }
}
