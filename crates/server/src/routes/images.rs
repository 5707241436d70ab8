//! Images.

use super::filters;
use crate::api::Call;
use crate::convert::image;
use crate::reply::{Body, Reply};
use crate::request::RequestBody;
use bytes::{Buf, Bytes};
use dhow_engine::Engine;
use dhow_types::{Error, Result};
use hyper::StatusCode;
use std::io::Read;
use std::task::{Poll, ready};
use tokio::sync::mpsc;

/// Pieces of an archive between the connection and the thread that reads it.
const PIECES_AHEAD: usize = 16;

/// `GET /images/json`
pub(crate) async fn list(engine: &Engine, call: Call) -> Result<Reply> {
    // `all`, `digests` and `shared-size` change nothing: there are no images in between, digests are always told,
    // and the shared size is -1, "not computed". What would need another document is refused.
    call.query.refuse(&["manifests", "identity"])?;
    let images = image::select(engine.images().await?, &filters(&call)?)?;
    let summaries: Vec<_> = images.into_iter().map(|view| image::summary(view, call.version)).collect();
    Ok(Reply::json(&summaries))
}

/// `GET /images/{name}/json`
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    call.query.refuse(&["manifests", "platform"])?;
    Ok(Reply::json(&image::inspect(engine.image_inspect(&call.name).await?, call.version)?))
}

/// `POST /images/{name}/tag`
pub(crate) async fn tag(engine: &Engine, call: Call) -> Result<Reply> {
    let (repo, tag) = (call.query.get("repo").unwrap_or_default(), call.query.get("tag").unwrap_or_default());
    engine.tag(&call.name, repo, tag).await?;
    Ok(Reply::status(StatusCode::CREATED))
}

/// `DELETE /images/{name}`. `noprune` changes nothing, as there are no unnamed parents that could go, too.
pub(crate) async fn delete(engine: &Engine, call: Call) -> Result<Reply> {
    call.query.refuse(&["platforms"])?;
    let done = engine.remove_image(&call.name, call.query.flag("force")).await?;
    Ok(Reply::json(&done.into_iter().map(image::removed).collect::<Vec<_>>()))
}

/// `POST /images/load`
pub(crate) async fn load(engine: &Engine, call: Call) -> Result<Reply> {
    call.query.refuse(&["platform"])?;
    let quiet = call.query.flag("quiet");
    let (to_thread, pieces) = mpsc::channel(PIECES_AHEAD);
    let mut events = engine.load(Box::new(Archive { pieces, rest: Bytes::new() })).events;
    tokio::spawn(feed(call.body, to_thread));
    // A failure, too, comes in the body, as the archive may be long and the status cannot wait for its end.
    Ok(Reply::body(
        "application/json",
        Body::pieces(move |cx| {
            loop {
                let Some(event) = ready!(events.poll_recv(cx)) else { return Poll::Ready(None) };
                if let Some(line) = image::load_line(event, quiet) {
                    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
                    bytes.extend_from_slice(b"\r\n");
                    return Poll::Ready(Some(bytes.into()));
                }
            }
        }),
    ))
}

/// Moves the body to the thread until it ends or nobody reads it any more.
async fn feed(mut body: RequestBody, to_thread: mpsc::Sender<Result<Bytes>>) {
    while let Some(piece) = body.piece().await {
        if to_thread.send(piece).await.is_err() {
            return;
        }
    }
}

/// A request's body as a thread reads it.
struct Archive {
    pieces: mpsc::Receiver<Result<Bytes>>,
    rest: Bytes,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(e)) => return Err(std::io::Error::other(Error::text(&e).to_owned())),
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

    #[tokio::test]
    async fn an_archive_arrives_whole_and_an_interrupted_one_is_an_error() {
        let (sender, pieces) = mpsc::channel(1);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            Archive { pieces, rest: Bytes::new() }.read_to_end(&mut all).map(|_| all)
        });
        for piece in ["ab", "", "cde"] {
            sender.send(Ok(Bytes::from_static(piece.as_bytes()))).await.unwrap();
        }
        drop(sender);
        assert_eq!(read.await.unwrap().unwrap(), b"abcde");

        let (sender, pieces) = mpsc::channel(1);
        sender.send(Err(Error::invalid("cut"))).await.unwrap();
        let read = tokio::task::spawn_blocking(move || Archive { pieces, rest: Bytes::new() }.read(&mut [0; 8]));
        assert_eq!(read.await.unwrap().unwrap_err().to_string(), "cut");
    }
}
