//! Bytes from a connection to the thread that unpacks them.

use super::flight::{Stage, State};
use bytes::{Buf as _, Bytes};
use dhow_distribution::{BlobStream, Cause, Failure, Step};
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Pieces of one layer between the connection and the thread.
pub(super) const PIECES_AHEAD: usize = 4;

/// What goes to the thread.
pub(super) enum Piece {
    Bytes(Bytes),
    /// That was all, and it was right.
    End,
    /// The bytes are wrong.
    Wrong,
}

/// Why not all of it came.
pub(super) enum Lost {
    /// The connection, or who is behind it.
    Failed(Box<Failure>),
    /// So few bytes came that the end would never.
    Dripping(u64),
}

/// Fewer bytes than this within [`SLOW_WITHIN`] are as good as none. What the thread takes is not counted.
const SLOW: u64 = 16 << 10;
/// See [`SLOW`].
pub(super) const SLOW_WITHIN: Duration = Duration::from_secs(300);

/// Whether the bytes are at fault.
pub(super) fn is_wrong(cause: &Cause) -> bool {
    matches!(cause, Cause::WrongDigest { .. } | Cause::WrongSize { .. })
}

/// How fast a layer comes.
#[derive(Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Bytes came after a wait. What came in too long a wait, if it was too little.
    fn step(&mut self, waited: Duration, bytes: u64) -> Result<(), u64> {
        self.waited += waited;
        self.bytes += bytes;
        if self.bytes >= SLOW {
            *self = Self::default();
        }
        if self.waited >= SLOW_WITHIN { Err(self.bytes) } else { Ok(()) }
    }
}

/// Sends all of a stream. Without a word of its end the thread sees a connection that broke off.
pub(super) async fn feed(
    mut stream: BlobStream,
    to: mpsc::Sender<Piece>,
    told: &watch::Sender<State>,
) -> Result<(), Lost> {
    let mut pace = Pace::default();
    loop {
        let begin = Instant::now();
        let step = tokio::select! {
            step = stream.next() => step,
            // The thread has something to say.
            () = to.closed() => return Ok(()),
        };
        match step {
            Ok(Step::Bytes(bytes)) => {
                let n = bytes.len() as u64;
                pace.step(begin.elapsed(), n).map_err(Lost::Dripping)?;
                if to.send(Piece::Bytes(bytes)).await.is_err() {
                    return Ok(());
                }
                told.send_modify(|s| (s.received, s.retry) = (s.received + n, None));
            }
            Ok(Step::Waiting(wait, cause)) => {
                tracing::info!(%cause, "a layer broke off");
                // The waits between tries have bounds of their own.
                pace = Pace::default();
                told.send_modify(|s| s.retry = Some(wait.as_secs().max(1)));
            }
            Ok(Step::End) => {
                told.send_modify(|s| s.stage = Stage::Extracting);
                let _ = to.send(Piece::End).await;
                return Ok(());
            }
            Err(failure) => {
                if is_wrong(&failure.cause) {
                    let _ = to.send(Piece::Wrong).await;
                }
                return Err(Lost::Failed(failure));
            }
        }
    }
}

/// The bytes as the thread reads them.
pub(super) struct Pieces {
    coming: mpsc::Receiver<Piece>,
    rest: Bytes,
    ended: bool,
}

impl Pieces {
    pub(super) fn new(coming: mpsc::Receiver<Piece>) -> Self {
        Self { coming, rest: Bytes::new(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            if self.ended {
                return Ok(0);
            }
            match self.coming.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.rest = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Wrong) => return Err(std::io::Error::new(ErrorKind::InvalidData, "the bytes are wrong")),
                None => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the bytes broke off")),
            }
        }
        let n = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_no_stream() {
        let seconds = Duration::from_secs;
        for (steps, want) in [
            (&[(290, 1), (5, SLOW)][..], Ok(())),
            (&[(290, 1), (5, SLOW), (290, 5)], Ok(())),
            (&[(100, 1000), (100, 1000), (100, 1000)], Err(3000)),
            (&[(299, SLOW - 1), (1, 0)], Err(SLOW - 1)),
        ] {
            let mut pace = Pace::default();
            let got = steps.iter().try_for_each(|(waited, bytes)| pace.step(seconds(*waited), *bytes));
            assert_eq!(got, want, "{steps:?}");
        }
    }

    #[tokio::test]
    async fn only_a_word_of_the_end_is_the_end() {
        for (last, want) in [
            (Some(Piece::End), Ok(5)),
            (Some(Piece::Wrong), Err(ErrorKind::InvalidData)),
            (None, Err(ErrorKind::UnexpectedEof)),
        ] {
            let (to, coming) = mpsc::channel(8);
            for text in ["ab", "", "cde"] {
                to.send(Piece::Bytes(Bytes::from_static(text.as_bytes()))).await.unwrap();
            }
            if let Some(last) = last {
                to.send(last).await.unwrap();
            }
            drop(to);
            let read = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                Pieces::new(coming).read_to_end(&mut all).map(|_| all)
            });
            let got = read.await.unwrap().map(|all| all.len()).map_err(|e| e.kind());
            assert_eq!(got, want);
        }
    }
}
