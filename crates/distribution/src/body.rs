//! Bodies: what is sent, and what comes, piece by piece, with a limit on silence and on size.

use crate::bounds::Bounds;
use crate::failure::Cause;
use crate::outgoing::Streamed;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use std::time::Duration;

/// A body that is sent.
pub(crate) type Out = UnsyncBoxBody<Bytes, std::io::Error>;

/// What a request carries.
pub(crate) enum Payload {
    /// Nothing.
    Empty,
    /// What is all there, and can be sent again.
    Bytes(Bytes),
    /// What can be sent once.
    Stream(Streamed),
    /// What was a stream.
    Spent,
}

impl Payload {
    /// It, to be sent now; what can be sent again stays.
    pub(crate) fn take(&mut self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Stream(_) | Self::Spent => std::mem::replace(self, Self::Spent),
        }
    }
    /// Whether it can be sent.
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Self::Spent)
    }
    pub(crate) fn out(self) -> Out {
        match self {
            Self::Empty | Self::Spent => Empty::new().map_err(|e| match e {}).boxed_unsync(),
            Self::Bytes(bytes) => Full::new(bytes).map_err(|e| match e {}).boxed_unsync(),
            Self::Stream(streamed) => streamed.boxed_unsync(),
        }
    }
}

/// A body that comes.
pub(crate) struct Reader {
    incoming: Incoming,
    stall: Duration,
    document: Duration,
}

impl Reader {
    pub(crate) fn new(incoming: Incoming, bounds: &Bounds) -> Self {
        Self { incoming, stall: bounds.stall, document: bounds.document }
    }
    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let frame = tokio::time::timeout(self.stall, self.incoming.frame())
                .await
                .map_err(|_| Cause::Stalled(self.stall))?;
            match frame {
                None => return Ok(None),
                Some(Err(e)) => return Err(Cause::Broken(format!("the connection broke: {}", chain(&e)))),
                // Trailers say nothing here.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    Err(_) => {}
                },
            }
        }
    }
    /// All of it, if it is no more than `limit`.
    pub(crate) async fn all(mut self, limit: usize) -> Result<Vec<u8>, Cause> {
        let within = self.document;
        let all = async {
            let mut bytes = Vec::new();
            while let Some(piece) = self.next().await? {
                if bytes.len() + piece.len() > limit {
                    return Err(Cause::TooLarge(limit as u64));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        };
        tokio::time::timeout(within, all).await.unwrap_or(Err(Cause::Slow(within)))
    }
    /// Its beginning, at most `limit` bytes, whatever happens then: words of an error are not waited for long.
    pub(crate) async fn beginning(mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let until = tokio::time::Instant::now() + self.stall.min(self.document);
        while let Ok(Ok(Some(piece))) = tokio::time::timeout_at(until, self.next()).await {
            bytes.extend_from_slice(&piece[..piece.len().min(limit - bytes.len())]);
            if bytes.len() == limit {
                break;
            }
        }
        bytes
    }
}

/// An error with all its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
