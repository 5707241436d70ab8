//! The first request of a connection, looked at before hyper: if it hijacks the connection without an upgrade, it
//! is answered here, for what follows is no HTTP.

use super::{Answer, MAX_HEAD, MAX_HEADERS, into_fd};
use crate::reply::{Hijack, Reply};
use crate::request::{MAX_DOCUMENT, RequestBody};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http_body_util::BodyExt;
use hyper::{Request, Response};
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How a connection begins.
pub(super) enum Begun {
    /// With what hyper shall read: the bytes so far. Broken requests, too, for hyper answers them well.
    Http(Bytes),
    /// With a request to hijack it, and `sent` after it.
    Hijack { request: Box<Request<RequestBody>>, sent: Bytes },
}

/// Reads as much as is needed to know.
pub(super) async fn read(stream: &mut UnixStream, answer: &impl Answer) -> Result<Begun> {
    let mut read = BytesMut::with_capacity(1024);
    let (mut request, head, body) = loop {
        match head(&read, answer) {
            Head::Partial if read.len() < MAX_HEAD => {
                if stream.read_buf(&mut read).await? == 0 {
                    return match read.is_empty() {
                        true => Err(Error::new(ErrorKind::UnexpectedEof, "nothing was sent")),
                        false => Ok(Begun::Http(read.freeze())),
                    };
                }
            }
            Head::Partial | Head::Other => return Ok(Begun::Http(read.freeze())),
            Head::Hijack { request, head, body } => break (request, head, body),
        }
    };
    while read.len() < head + body {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the request ended early"));
        }
    }
    let mut rest = read.freeze().split_off(head);
    let sent = rest.split_off(body);
    *request.body_mut() = RequestBody::Whole(rest);
    Ok(Begun::Hijack { request, sent })
}

enum Head {
    Partial,
    Other,
    Hijack { request: Box<Request<RequestBody>>, head: usize, body: usize },
}

/// What the bytes so far are. What this function does not surely know (a body of unknown length, an expectation)
/// is `Other`.
fn head(read: &[u8], answer: &impl Answer) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(read) {
        Ok(httparse::Status::Complete(head)) => head,
        // The method and path may be there before the rest: most requests need not be waited for.
        Ok(httparse::Status::Partial) => {
            return match (parsed.method, parsed.path) {
                (Some(method), Some(target)) if !answer.hijacks(method, path(target)) => Head::Other,
                _ => Head::Partial,
            };
        }
        Err(_) => return Head::Other,
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Head::Other };
    if !answer.hijacks(method, path(target)) {
        return Head::Other;
    }
    let mut body = 0;
    let mut request = Request::builder().method(method).uri(target);
    for header in parsed.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("upgrade") || is("transfer-encoding") || is("expect") {
            return Head::Other;
        }
        if is("content-length") {
            match std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok()) {
                // Twice the same header may hide a second request in the body.
                Some(length) if length <= MAX_DOCUMENT && body == 0 => body = length,
                _ => return Head::Other,
            }
        }
        request = request.header(header.name, header.value);
    }
    match request.body(RequestBody::Whole(Bytes::new())) {
        Ok(request) => Head::Hijack { request: Box::new(request), head, body },
        Err(_) => Head::Other,
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Answers the hijack and gives the connection away; or an error, after which the connection ends.
pub(super) async fn answer<A: Answer>(
    mut stream: UnixStream,
    answer: Arc<A>,
    request: Request<RequestBody>,
    sent: Bytes,
) {
    match answer.answer(request).await {
        Reply::Hijack(Hijack { content_type, take }) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n");
            if let Err(error) = stream.write_all(head.as_bytes()).await {
                return tracing::debug!(%error, "a client left before its connection was taken over");
            }
            if let Some(connection) = into_fd(stream) {
                super::handover::head_is_read(&connection).await;
                take(connection, sent.into()).await;
            }
        }
        Reply::Response(response) => {
            if let Err(error) = write(&mut stream, response).await {
                tracing::debug!(%error, "a client left before its answer");
            }
        }
    }
}

/// Writes an ordinary response that is the last on this connection.
async fn write(stream: &mut UnixStream, response: Response<crate::reply::Body>) -> Result<()> {
    let (mut parts, body) = response.into_parts();
    // An error of a hijack is a document, which is there whole.
    let body = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
    parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}
