//! Bytes from one thread to another in pooled buffers: bounded memory, no copying on the reading side.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

/// The size of a buffer.
pub(crate) const CHUNK: usize = 256 << 10;

/// Buffers that several pipes share; whoever wants one waits until one is free.
pub(crate) struct Pool {
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    free: Vec<Vec<u8>>,
    /// How many more may be made.
    unmade: usize,
}

impl Pool {
    pub(crate) fn new(buffers: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: Vec::new(), unmade: buffers }), freed: Condvar::new() })
    }

    /// An empty buffer.
    pub(crate) fn take(self: &Arc<Self>) -> Chunk {
        let mut state = crate::lock_anyway(&self.state);
        loop {
            if let Some(bytes) = state.free.pop() {
                return Chunk { bytes, pool: Arc::clone(self) };
            }
            if state.unmade > 0 {
                state.unmade -= 1;
                return Chunk { bytes: vec![0; CHUNK], pool: Arc::clone(self) };
            }
            state = self.freed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// A buffer of [`CHUNK`] bytes; goes back to its pool when dropped.
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

impl Chunk {
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// The first bytes of a buffer, given away; the buffer goes back to its pool when this is dropped.
pub struct Piece {
    chunk: Chunk,
    len: usize,
}

impl Piece {
    pub(crate) fn new(chunk: Chunk, len: usize) -> Self {
        Self { chunk, len }
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.chunk.bytes[..self.len]
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        crate::lock_anyway(&self.pool.state).free.push(std::mem::take(&mut self.bytes));
        self.pool.freed.notify_one();
    }
}

/// The writing end. Without a word of its end the reader sees an error, not the end of the data.
pub(crate) struct PipeWriter {
    to: Sender<Option<(Chunk, usize)>>,
    pool: Arc<Pool>,
    chunk: Option<(Chunk, usize)>,
}

/// The reading end.
pub(crate) struct PipeReader {
    from: Receiver<Option<(Chunk, usize)>>,
    chunk: Option<(Chunk, usize)>,
    at: usize,
    ended: bool,
}

/// A pipe whose buffers come from `pool`, which is what bounds it.
pub(crate) fn pipe(pool: &Arc<Pool>) -> (PipeWriter, PipeReader) {
    let (to, from) = channel();
    (PipeWriter { to, pool: Arc::clone(pool), chunk: None }, PipeReader { from, chunk: None, at: 0, ended: false })
}

impl PipeWriter {
    /// A buffer to fill and send.
    pub(crate) fn buffer(&self) -> Chunk {
        self.pool.take()
    }

    /// Hands over the first `len` bytes of a buffer. False if nobody reads any more.
    pub(crate) fn send(&mut self, chunk: Chunk, len: usize) -> bool {
        len == 0 || self.to.send(Some((chunk, len))).is_ok()
    }

    /// Says that this was all.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.to.send(None).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (mut chunk, at) = match self.chunk.take() {
            Some(c) => c,
            None => (self.pool.take(), 0),
        };
        let n = buf.len().min(CHUNK - at);
        chunk.space()[at..at + n].copy_from_slice(&buf[..n]);
        self.chunk = Some((chunk, at + n));
        if at + n == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        let sent = self.chunk.take().is_none_or(|(chunk, len)| self.send(chunk, len));
        if sent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.as_ref().is_none_or(|(_, len)| self.at == *len) && !self.ended {
            // The buffer goes back before waiting for the next one.
            self.chunk = None;
            self.at = 0;
            match self.from.recv() {
                Ok(Some(chunk)) => self.chunk = Some(chunk),
                Ok(None) => self.ended = true,
                Err(_) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the data broke off")),
            }
        }
        Ok(self.chunk.as_ref().map_or(&[], |(c, len)| &c.bytes[self.at..*len]))
    }
    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(buf.len());
        buf[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_through_few_buffers() {
        let pool = Pool::new(2);
        let (mut w, mut r) = pipe(&pool);
        let sent: Vec<u8> = (0..3 * CHUNK + 17).map(|i| (i % 251) as u8).collect();
        let copy = sent.clone();
        let t = std::thread::spawn(move || {
            w.write_all(&copy).unwrap();
            w.finish().unwrap();
        });
        let mut got = Vec::new();
        r.read_to_end(&mut got).unwrap();
        t.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn a_writer_that_vanishes_is_an_error_and_one_without_reader_too() {
        let pool = Pool::new(2);
        let (mut w, mut r) = pipe(&pool);
        w.write_all(b"x").unwrap();
        drop(w);
        assert!(r.read_to_end(&mut Vec::new()).is_err());
        let (mut w, r) = pipe(&pool);
        drop(r);
        assert!(w.write_all(&[0; 2 * CHUNK]).is_err());
    }

    #[test]
    fn buffers_come_back_when_a_reader_gives_up() {
        let pool = Pool::new(2);
        for _ in 0..5 {
            let (mut w, r) = pipe(&pool);
            w.write_all(&[1; CHUNK]).unwrap();
            drop(r);
            drop(w);
        }
        let (_a, _b) = (pool.take(), pool.take());
    }
}
