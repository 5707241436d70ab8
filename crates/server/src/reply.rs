//! What is answered: a response with a body, or the connection itself given away. And errors, whose kinds
//! become HTTP status codes here and nowhere else.

use bytes::Bytes;
use dhow_api::ErrorResponse;
use dhow_types::{Error, ErrorKind};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::body::{Frame, SizeHint};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::sync::mpsc;

/// The header of what is to be known besides that it is done.
const NOTE: &str = "dhow-note";

/// A boxed future that may move between threads.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An ordinary response.
    Response(Response<Body>),
    /// The connection changes hands.
    Hijack(Hijack),
}

/// A connection to be given away after its head was answered.
pub(crate) struct Hijack {
    /// What the bytes that follow are.
    pub(crate) content_type: &'static str,
    /// Takes the connection and what the client sent already.
    pub(crate) take: Box<dyn FnOnce(OwnedFd, Vec<u8>) -> BoxFuture<()> + Send>,
}

impl fmt::Debug for Hijack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hijack").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// Gives the next piece of a body when it is there.
type Source = Box<dyn FnMut(&mut std::task::Context<'_>) -> Poll<Option<Bytes>> + Send>;

/// Gives the next piece of a body that may break off.
type Stream = Box<dyn FnMut(&mut std::task::Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> + Send>;

/// A response's body. When the client goes away, it is dropped, and with it what feeds it.
pub(crate) enum Body {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece.
    Pieces(Source),
    /// Piece by piece, and of this size if it is known. After an error the connection is cut, so that no client takes
    /// what it got for the whole.
    Stream(Option<u64>, Stream),
}

impl Body {
    /// One piece, when `future` is ready.
    pub(crate) fn later(future: impl Future<Output = Bytes> + Send + 'static) -> Self {
        let mut future: Option<BoxFuture<Bytes>> = Some(Box::pin(future));
        Self::pieces(move |cx| {
            let Some(pending) = future.as_mut() else { return Poll::Ready(None) };
            let bytes = ready!(pending.as_mut().poll(cx));
            future = None;
            Poll::Ready(Some(bytes))
        })
    }

    /// What comes through a channel until it is closed; an error breaks the body off. Nothing is copied.
    pub(crate) fn stream<T: AsRef<[u8]> + Send + 'static>(
        size: Option<u64>,
        mut pieces: mpsc::Receiver<dhow_types::Result<T>>,
    ) -> Self {
        let mut left = size;
        Self::Stream(
            size,
            Box::new(move |cx| {
                Poll::Ready(match ready!(pieces.poll_recv(cx)) {
                    Some(Ok(piece)) => {
                        let bytes = Bytes::from_owner(piece);
                        left = left.map(|left| left.saturating_sub(bytes.len() as u64));
                        Some(Ok(bytes))
                    }
                    Some(Err(error)) => Some(Err(std::io::Error::other(error.text().to_owned()))),
                    None if left.is_some_and(|left| left > 0) => Some(Err(std::io::ErrorKind::UnexpectedEof.into())),
                    None => None,
                })
            }),
        )
    }

    /// Pieces until `None`.
    pub(crate) fn pieces(
        source: impl FnMut(&mut std::task::Context<'_>) -> Poll<Option<Bytes>> + Send + 'static,
    ) -> Self {
        Self::Pieces(Box::new(source))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Pieces(_) => f.write_str("Pieces"),
            Self::Stream(size, _) => f.debug_tuple("Stream").field(size).finish(),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(source) => Poll::Ready(ready!(source(cx)).map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(_, source) => Poll::Ready(ready!(source(cx)).map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(Some(size), _) => SizeHint::with_exact(*size),
            Self::Pieces(_) | Self::Stream(None, _) => SizeHint::default(),
        }
    }
}

impl Reply {
    /// A status without a body.
    pub(crate) fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Body::Whole(Bytes::new()));
        *response.status_mut() = status;
        Self::Response(response)
    }

    /// A status without a body, and a sentence for people in a header: Docker's clients pass over it.
    pub(crate) fn noted(status: StatusCode, note: Option<String>) -> Self {
        let mut response = Response::new(Body::Whole(Bytes::new()));
        *response.status_mut() = status;
        if let Some(note) = note.and_then(|note| HeaderValue::try_from(note).ok()) {
            response.headers_mut().insert(HeaderName::from_static(NOTE), note);
        }
        Self::Response(response)
    }

    /// 200 and a document.
    pub(crate) fn json(document: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, document)
    }

    /// A document, with a newline at its end as Docker writes it.
    pub(crate) fn json_with(status: StatusCode, document: &impl Serialize) -> Self {
        match serde_json::to_vec(document) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                Self::with(status, "application/json", Body::Whole(bytes.into()))
            }
            Err(e) => Self::error(&Error::system(format!("write the answer: {e}"))),
        }
    }

    /// 200 and a body of that type.
    pub(crate) fn body(content_type: &'static str, body: Body) -> Self {
        Self::with(StatusCode::OK, content_type, body)
    }

    fn with(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self::Response(response)
    }

    /// An error.
    pub(crate) fn error(error: &Error) -> Self {
        match status_of(error.kind()) {
            // Has no body by definition.
            StatusCode::NOT_MODIFIED => Self::status(StatusCode::NOT_MODIFIED),
            status => {
                let (message, cause) = (error.text().to_owned(), error.cause().name().to_owned());
                Self::json_with(status, &ErrorResponse { message, cause })
            }
        }
    }

    /// The answer to `HEAD`: the same head, without the body.
    pub(crate) fn head_only(self) -> Self {
        match self {
            Self::Response(response) => {
                let (mut parts, body) = response.into_parts();
                if let Body::Whole(bytes) = body {
                    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
                }
                Self::Response(Response::from_parts(parts, Body::Whole(Bytes::new())))
            }
            hijack => hijack,
        }
    }
}

/// A list that is written item by item, so that none but the last is in memory beside its text.
#[derive(Debug, Default)]
pub(crate) struct JsonList {
    text: Vec<u8>,
    failed: Option<serde_json::Error>,
}

impl JsonList {
    /// Adds an item.
    pub(crate) fn add(&mut self, item: &impl Serialize) {
        self.text.push(if self.text.is_empty() { b'[' } else { b',' });
        if let Err(e) = serde_json::to_writer(&mut self.text, item) {
            self.failed = Some(e);
        }
    }

    /// 200 and the list.
    pub(crate) fn reply(mut self) -> Reply {
        if let Some(e) = self.failed {
            return Reply::error(&Error::system(format!("write the answer: {e}")));
        }
        self.text.extend_from_slice(if self.text.is_empty() { b"[]\n" } else { b"]\n" });
        Reply::with(StatusCode::OK, "application/json", Body::Whole(self.text.into()))
    }
}

/// The one place where a kind of error becomes a status.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidParameter | ErrorKind::CommandNotFound | ErrorKind::CommandNotExecutable => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        // Docker has no other status for a full disk, and clients try again at some of those that they do not know.
        ErrorKind::Exhausted | ErrorKind::DiskFull | ErrorKind::DataLoss | ErrorKind::System => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        // Kinds that are added to the vocabulary later.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
