//! Images in and out: archives as the body of a request or an answer.

use crate::api::Call;
use crate::convert::image;
use crate::reply::{Body, Reply};
use crate::request::RequestBody;
use crate::routes::transfers;
use bytes::{Buf, Bytes};
use dhow_api::{ContainerConfig, IdResponse, JsonMessage};
use dhow_engine::{CommitRequest, Engine, ImportRequest};
use dhow_types::{Error, Result};
use hyper::StatusCode;
use std::io::Read;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces of an archive between the connection and the thread that reads it.
const PIECES_AHEAD: usize = 16;

/// `POST /images/load`
pub(crate) async fn load(engine: &Engine, call: Call) -> Result<Reply> {
    let platform = image::platform(&call.query, call.version)?;
    let quiet = call.query.flag("quiet");
    let (to_thread, pieces) = mpsc::channel(PIECES_AHEAD);
    let announced = announced(&call)?;
    let mut events = engine.load(Box::new(Archive { pieces, rest: Bytes::new() }), platform, announced).events;
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

/// How many bytes the body has, 0 if that is not known. A client that sends pieces can say it in the query.
fn announced(call: &Call) -> Result<u64> {
    Ok(call.body.size().or(call.query.number("size")?).unwrap_or(0))
}

/// How long a body that nobody reads any more is held. Until it is let go the client can't know that, so it finds the
/// answer before it fails to send on: Go's HTTP client takes the failure for the whole story.
const HELD: Duration = Duration::from_millis(500);

/// Moves the body to the thread until it ends or nobody reads it any more.
async fn feed(mut body: RequestBody, to_thread: mpsc::Sender<Result<Bytes>>) {
    while let Some(piece) = body.piece().await {
        if to_thread.send(piece).await.is_err() {
            return tokio::time::sleep(HELD).await;
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

/// `POST /images/create`: a pull, or an import.
pub(crate) async fn create(engine: &Engine, call: Call) -> Result<Reply> {
    let query = &call.query;
    let source = match (query.get("fromImage").filter(|name| !name.is_empty()), query.get("fromSrc")) {
        (Some(_), _) => return transfers::pull(engine, &call).await,
        (None, Some(source)) => source,
        (None, None) => {
            return Err(Error::invalid("neither fromImage nor fromSrc: name what to create the image from"));
        }
    };
    if source != "-" {
        return Err(Error::not_implemented(format!(
            "importing from a URL ({source}) is not supported: fetch it and give it as the body, \
             for example `curl -L URL | dhow import - NAME`"
        )));
    }
    let request = ImportRequest {
        repository: query.get("repo").unwrap_or_default().to_owned(),
        tag: query.get("tag").unwrap_or_default().to_owned(),
        comment: query.get("message").map_or_else(|| format!("Imported from {source}"), str::to_owned),
        changes: query.all("changes").map(str::to_owned).collect(),
        platform: query.get("platform").map(str::to_owned),
    };
    let (to_thread, pieces) = mpsc::channel(PIECES_AHEAD);
    let announced = announced(&call)?;
    tokio::spawn(feed(call.body, to_thread));
    let id = engine.import(Box::new(Archive { pieces, rest: Bytes::new() }), announced, request).await?;
    Ok(Reply::json(&JsonMessage { status: id.to_string(), ..JsonMessage::default() }))
}

/// `POST /commit`
pub(crate) async fn commit(engine: &Engine, call: Call) -> Result<Reply> {
    let query = call.query.clone();
    let text = |name: &str| query.get(name).unwrap_or_default().to_owned();
    let mut request = CommitRequest {
        container: text("container"),
        repository: text("repo"),
        tag: text("tag"),
        comment: text("comment"),
        author: text("author"),
        pause: query.get("pause").is_none() || query.flag("pause"),
        changes: query.all("changes").map(str::to_owned).collect(),
        config: None,
    };
    if request.container.is_empty() {
        return Err(Error::invalid("no container was named: give the parameter container"));
    }
    request.config = image::run_config(call.json::<Option<ContainerConfig>>().await?)?;
    let id = engine.commit(request).await?;
    Ok(Reply::json_with(StatusCode::CREATED, &IdResponse { id: id.to_string() }))
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
