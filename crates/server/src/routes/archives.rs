//! Images in and out: archives as the body of a request or an answer.

use crate::api::Call;
use crate::convert::image;
use crate::reply::{Body, Reply};
use crate::request::RequestBody;
use bytes::{Buf, Bytes};
use dhow_engine::Engine;
use dhow_types::{Error, Result};
use std::io::Read;
use std::task::{Poll, ready};
use tokio::sync::mpsc;

/// Pieces of an archive between the connection and the thread that reads it.
const PIECES_AHEAD: usize = 16;

/// `POST /images/load`
pub(crate) async fn load(engine: &Engine, call: Call) -> Result<Reply> {
    let platform = image::platform(&call.query, call.version)?;
    let quiet = call.query.flag("quiet");
    let (to_thread, pieces) = mpsc::channel(PIECES_AHEAD);
    let mut events = engine.load(Box::new(Archive { pieces, rest: Bytes::new() }), platform).events;
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

/// `GET /images/get` and `GET /images/{name}/get`
pub(crate) async fn save(engine: &Engine, call: Call) -> Result<Reply> {
    let platform = image::platform(&call.query, call.version)?;
    let names = match call.name.as_str() {
        "" => call.query.all("names").map(str::to_owned).collect(),
        name => vec![name.to_owned()],
    };
    let saved = engine.save(names, platform).await?;
    Ok(Reply::body("application/x-tar", Body::stream(Some(saved.size), saved.pieces)))
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
