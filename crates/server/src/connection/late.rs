//! A hijack without an upgrade on a connection that was used before: hyper keeps the connection, so the stream goes
//! through a pair of sockets and comes out as a response's body. There is output only; input needs an upgrade or a
//! connection of its own.

use crate::reply::{Body, Hijack};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::Response;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Poll;
use tokio::io::ReadBuf;
use tokio::net::UnixStream;

/// The most bytes of output in one piece.
const PIECE: usize = 32 * 1024;

/// The response whose body is what the hijacker writes.
pub(super) fn bridge(hijack: Hijack) -> Response<Body> {
    let Hijack { content_type, take } = hijack;
    let body = match std::os::unix::net::UnixStream::pair().and_then(|(ours, theirs)| {
        ours.set_nonblocking(true)?;
        Ok((UnixStream::from_std(ours)?, theirs))
    }) {
        Ok((ours, theirs)) => {
            tokio::spawn(take(OwnedFd::from(theirs), Vec::new()));
            output(ours)
        }
        Err(error) => {
            tracing::warn!(%error, "no sockets for an attached client");
            Body::Whole(Bytes::new())
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What is read from `stream`, until its end. A stream that breaks ends, too: there is no status left to say so.
fn output(mut stream: UnixStream) -> Body {
    Body::pieces(move |cx| {
        let mut space = BytesMut::zeroed(PIECE);
        let mut buffer = ReadBuf::new(&mut space);
        match tokio::io::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let n = buffer.filled().len();
                space.truncate(n);
                Poll::Ready(Some(space.freeze()))
            }
            Poll::Ready(_) => Poll::Ready(None),
        }
    })
}
