//! What is sent piece by piece while it is made, and a watch over it: a registry that takes nothing more is noticed, a
//! source that is slow is waited for.

use crate::failure::Cause;
use bytes::Bytes;
use dhow_types::{Digest, Error};
use hyper::body::{Body, Frame};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What comes of a blob that is to be sent.
#[derive(Debug)]
pub enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// All came. Both are of the whole blob, wherever it was begun.
    End {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
    },
}

/// A blob that is being made. One that is closed without its end has failed.
pub type Opened = mpsc::Receiver<Result<Piece, Error>>;

/// Gives a blob's bytes from an offset on, as often as is asked; they must be the same each time.
pub type Source<'a> = &'a (dyn Fn(u64) -> Opened + Send + Sync);

/// A body that comes from a source.
pub(crate) struct Streamed {
    /// What was taken from the source already.
    before: VecDeque<Bytes>,
    from: Opened,
    pulse: Arc<Pulse>,
}

/// How far a [`Streamed`] is; it outlives it.
pub(crate) struct Pulse {
    state: Mutex<State>,
}

struct State {
    /// When the connection took something last.
    moved: Instant,
    /// Whether it waits for the source.
    hungry: bool,
    sent: u64,
    end: Option<(Digest, u64)>,
    failed: Option<Error>,
}

impl Streamed {
    pub(crate) fn new(before: VecDeque<Bytes>, from: Opened) -> Self {
        let state = State { moved: Instant::now(), hungry: true, sent: 0, end: None, failed: None };
        Self { before, from, pulse: Arc::new(Pulse { state: Mutex::new(state) }) }
    }
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let next = match self.before.pop_front() {
            Some(bytes) => Poll::Ready(Some(Ok(Piece::Bytes(bytes)))),
            None => self.from.poll_recv(cx),
        };
        let mut state = self.pulse.lock();
        state.hungry = next.is_pending();
        state.moved = Instant::now();
        let broken = || std::io::Error::other("the source of the blob failed");
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(Piece::Bytes(bytes)))) => {
                state.sent += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Ok(Piece::End { digest, size }))) => {
                state.end = Some((digest, size));
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                state.failed = Some(error);
                Poll::Ready(Some(Err(broken())))
            }
            Poll::Ready(None) if state.end.is_some() => Poll::Ready(None),
            Poll::Ready(None) => {
                state.failed = Some(unfinished());
                Poll::Ready(Some(Err(broken())))
            }
        }
    }
}

/// A source that was closed without an end.
pub(crate) fn unfinished() -> Error {
    Error::system("what makes the blob ended in the middle of it")
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Bytes that went to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.lock().sent
    }
    /// Digest and size of the whole, once all of it went.
    pub(crate) fn end(&self) -> Option<(Digest, u64)> {
        self.lock().end
    }
    /// What the source failed with.
    pub(crate) fn failed(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// Waits for `answer`, as long as the other side takes bytes at least every `stall`, and `after` the last of them.
    pub(crate) async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        stall: Duration,
        after: Duration,
    ) -> Result<T, Cause> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let (deadline, limit) = {
                let state = self.lock();
                let limit = if state.end.is_some() { after } else { stall };
                let since = if state.hungry { Instant::now() } else { state.moved };
                (since + limit, limit)
            };
            tokio::select! {
                biased;
                got = &mut answer => return Ok(got),
                () = tokio::time::sleep_until(deadline) => {}
            }
            let state = self.lock();
            if !state.hungry && state.moved + limit <= Instant::now() {
                return Err(Cause::Stalled(limit));
            }
        }
    }
}
