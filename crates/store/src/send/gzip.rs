//! A gzip stream of blocks that are compressed elsewhere, in their order. Rule: RFC 1952.

use super::blocks::{Block, WINDOW, Workers};
use super::skip::Skip;
use crate::load::pipe::Chunk;
use dhow_types::{Digest, Error, Result};
use flate2::Crc;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// No name, no time, and no system: the bytes depend on the layer alone.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The last block, an empty one.
const LAST: [u8; 2] = [3, 0];

pub(super) struct Gzip<'a> {
    workers: Arc<Workers>,
    level: u32,
    to: Skip<'a>,
    waiting: VecDeque<(Receiver<Result<Block>>, u64)>,
    before: Vec<u8>,
    sum: Crc,
    /// Bytes of the tar that went.
    tar: u64,
}

/// Blocks of one stream that are on their way, beside one for each thread.
const AHEAD: usize = 2;

/// Blocks of one stream that are on their way at most.
pub(super) fn blocks_ahead(workers: &Workers) -> usize {
    workers.threads + AHEAD
}

impl<'a> Gzip<'a> {
    pub(super) fn new(workers: Arc<Workers>, level: u32, mut to: Skip<'a>) -> Result<Self> {
        to.bytes(HEADER.to_vec(), 0)?;
        Ok(Self { workers, level, to, waiting: VecDeque::new(), before: Vec::new(), sum: Crc::new(), tar: 0 })
    }

    /// The next bytes of the tar.
    pub(super) fn block(&mut self, mut chunk: Chunk, len: usize) -> Result<()> {
        while self.waiting.len() >= blocks_ahead(&self.workers) {
            self.first()?;
        }
        let bytes = &chunk.space()[..len];
        let tail = bytes[len.saturating_sub(WINDOW)..].to_vec();
        let before = std::mem::replace(&mut self.before, tail);
        self.waiting.push_back((self.workers.compress(chunk, len, before, self.level), len as u64));
        Ok(())
    }

    /// Hands on the block that is due.
    fn first(&mut self) -> Result<()> {
        let Some((block, len)) = self.waiting.pop_front() else { return Ok(()) };
        let failed = || Error::system("a thread that compresses a layer failed: this is a bug in dhow");
        let Block { bytes, sum } = block.recv().map_err(|_| failed())??;
        self.sum.combine(&sum);
        self.tar += len;
        self.to.bytes(bytes, self.tar)
    }

    pub(super) fn finish(mut self) -> Result<(Digest, u64)> {
        while !self.waiting.is_empty() {
            self.first()?;
        }
        let mut end = LAST.to_vec();
        end.extend_from_slice(&self.sum.sum().to_le_bytes());
        // The size modulo 2^32.
        end.extend_from_slice(&(self.tar as u32).to_le_bytes());
        self.to.bytes(end, self.tar)?;
        Ok(self.to.finish())
    }
}
