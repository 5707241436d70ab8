//! Connections: accepted up to a limit, spoken to in HTTP/1.1, and given away when a client hijacks one.
//!
//! Most requests go through hyper. A hijack has two forms (swagger file, `ContainerAttach`, "Hijacking"):
//! with `Upgrade: tcp` it is an HTTP upgrade, which hyper can do; without, the answer is `200` and then bare bytes
//! both ways, which is no HTTP, so the head of a connection's first request is looked at before hyper gets it
//! (see [`early`]). On a later request of a kept connection the form without upgrade is bridged: the same bytes
//! as an ordinary response body, through a pair of sockets (see [`late`]).

mod early;
mod handover;
mod late;
mod prefixed;

use crate::listen::Listener;
use crate::reply::{BoxFuture, Hijack, Reply};
use crate::request::RequestBody;
use dhow_types::{Context, Result};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prefixed::Prefixed;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// Connections at one time. More wait to be accepted. Attached clients do not count: theirs were given away.
const MAX_CONNECTIONS: usize = 16 * 1024;
/// The most bytes before a request's body.
const MAX_HEAD: usize = 64 * 1024;
/// The most header lines of a request.
const MAX_HEADERS: usize = 100;
/// How long a head may take to arrive, and a kept connection may be silent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests may go on after the shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause after an accept that failed, for want of descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests; the API itself, and small stand-ins in the tests of this module.
pub(crate) trait Answer: Send + Sync + 'static {
    /// The answer to one request.
    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<Reply>;
    /// Whether this method and path lead to an operation that takes the connection over.
    fn hijacks(&self, method: &str, path: &str) -> bool;
}

/// Serves until `shutdown`; see [`crate::serve`].
pub(crate) async fn serve<A: Answer>(
    answer: Arc<A>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (stop, stopping) = watch::channel(false);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut loops = Vec::new();
    for listener in &listeners {
        let socket = listener.socket().context("share the listening socket")?;
        socket.set_nonblocking(true)?;
        let socket = UnixListener::from_std(socket)?;
        loops.push(tokio::spawn(accept(socket, answer.clone(), places.clone(), stopping.clone())));
    }
    shutdown.await;
    stop.send_replace(true);
    drop(listeners);
    for task in loops {
        let _ = task.await;
    }
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIMEOUT, places.acquire_many(all)).await.is_err() {
        tracing::debug!("requests that did not end in time are cut off with the runtime");
    }
    Ok(())
}

async fn accept<A: Answer>(
    socket: UnixListener,
    answer: Arc<A>,
    places: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stopped(&mut stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (answer, stopping) = (answer.clone(), stopping.clone());
                tokio::spawn(async move {
                    connection(stream, answer, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ready when the server is shut down, or was.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// One connection, from its first byte to its end.
async fn connection<A: Answer>(mut stream: UnixStream, answer: Arc<A>, mut stopping: watch::Receiver<bool>) {
    let begun = tokio::select! {
        begun = tokio::time::timeout(HEAD_TIMEOUT, early::read(&mut stream, &*answer)) => begun,
        () = stopped(&mut stopping) => return,
    };
    let read = match begun {
        Ok(Ok(early::Begun::Http(read))) => read,
        Ok(Ok(early::Begun::Hijack { request, sent })) => return early::answer(stream, answer, *request, sent).await,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before its first request"),
        Err(_) => return tracing::debug!("a connection without a request is closed"),
    };
    let service = service_fn(move |request| respond(answer.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // As Go writes them, which some small clients expect.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Prefixed::new(read, stream)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// One request that came through hyper. Its task starts in this call, not when hyper first looks at the future: by
/// then a client that left at once would have been noticed, and its request forgotten.
fn respond<A: Answer>(
    answer: Arc<A>,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<Response<crate::reply::Body>, Infallible>> {
    let upgrades = request.headers().contains_key(UPGRADE);
    let upgrade = hyper::upgrade::on(&mut request);
    let reply = to_its_end(answer, request.map(RequestBody::Incoming));
    async move { Ok(response(reply.await, upgrades, upgrade)) }
}

/// What hyper sends; a hijacker gets the connection from it.
fn response(reply: Reply, upgrades: bool, upgrade: hyper::upgrade::OnUpgrade) -> Response<crate::reply::Body> {
    match reply {
        Reply::Response(response) => response,
        Reply::Hijack(hijack) if !upgrades => late::bridge(hijack),
        Reply::Hijack(Hijack { content_type, take }) => {
            tokio::spawn(async move {
                match upgrade.await.map(taken_back) {
                    Ok(Some((connection, sent))) => {
                        handover::head_is_read(&connection).await;
                        take(connection, sent).await
                    }
                    Ok(None) => tracing::error!("an upgraded connection is of an unknown kind"),
                    Err(error) => tracing::debug!(%error, "a client left while its connection was upgraded"),
                }
            });
            let mut response = Response::new(crate::reply::Body::Whole(bytes::Bytes::new()));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
            response
        }
    }
}

/// The answer, from a task of its own: hyper drops what it waits for when the client goes away, but what a request
/// began is brought to its end, as with Docker.
fn to_its_end<A: Answer>(answer: Arc<A>, request: Request<RequestBody>) -> impl Future<Output = Reply> {
    let task = tokio::spawn(answer.answer(request));
    async {
        match task.await {
            Ok(reply) => reply,
            Err(_) => Reply::error(&dhow_types::Error::unavailable("the daemon stops")),
        }
    }
}

/// The descriptor beneath an upgraded connection, and the bytes that were read from it already.
fn taken_back(upgraded: hyper::upgrade::Upgraded) -> Option<(OwnedFd, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<Prefixed>>().ok()?;
    let (unread, stream) = parts.io.into_inner().into_parts();
    let mut sent = parts.read_buf.to_vec();
    sent.extend_from_slice(&unread);
    Some((into_fd(stream)?, sent))
}

/// The descriptor of a stream that tokio shall not watch any more.
fn into_fd(stream: UnixStream) -> Option<OwnedFd> {
    stream.into_std().map(OwnedFd::from).inspect_err(|error| tracing::error!(%error, "take a connection back")).ok()
}

#[cfg(test)]
mod tests;
