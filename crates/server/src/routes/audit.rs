//! What is in containers and images, and where it comes from.

use crate::api::Call;
use crate::convert::audit;
use crate::reply::{Body, Reply};
use dhow_api::audit::{ImageDiffEnd, ImageDiffHead, ImageDiffTotals};
use dhow_engine::{DiffEvent, Engine};
use dhow_types::{Error, Result};
use serde::Serialize;
use std::task::{Poll, ready};
use tokio::sync::mpsc;

/// `GET /containers/{id}/export`
pub(crate) async fn export(engine: &Engine, call: Call) -> Result<Reply> {
    let pieces = Begun::new(engine.export(&call.name).await?).await?;
    Ok(Reply::body("application/octet-stream", pieces.body(|piece| piece)))
}

/// `GET /containers/{id}/changes`; with dhow's own `size` also how many bytes.
pub(crate) async fn changes(engine: &Engine, call: Call) -> Result<Reply> {
    let sizes = call.query.flag("size");
    let batches = Begun::new(engine.changes(&call.name, sizes).await?).await?;
    let (mut before, mut closed) = ("[", false);
    let body = batches.body(move |batch| {
        let mut text = String::new();
        match batch {
            Some(batch) => {
                for change in &batch {
                    text.push_str(std::mem::replace(&mut before, ","));
                    text.push_str(&line(&audit::change(change, sizes)));
                }
            }
            None if std::mem::replace(&mut closed, true) => return None,
            None if before == "[" => text.push_str("[]\n"),
            None => text.push_str("]\n"),
        }
        Some(text.into_bytes())
    });
    Ok(Reply::body("application/json", body))
}

/// `GET /images/{name}/history`
pub(crate) async fn history(engine: &Engine, call: Call) -> Result<Reply> {
    super::images::demand(engine, &call, "platform").await?;
    let rows = engine.image_history(&call.name).await?;
    Ok(Reply::json(&rows.into_iter().map(audit::history).collect::<Vec<_>>()))
}

/// `GET /dhow/images/tree`
pub(crate) async fn tree(engine: &Engine) -> Result<Reply> {
    let rows = engine.image_tree().await?;
    Ok(Reply::json(&rows.into_iter().map(audit::tree).collect::<Vec<_>>()))
}

/// `GET /dhow/images/diff`: a document on each line, the last one with the totals.
pub(crate) async fn image_diff(engine: &Engine, call: Call) -> Result<Reply> {
    let name = |name: &str| {
        let missing = || Error::invalid(format!("the parameter {name} is missing: say a and b, two images"));
        call.query.get(name).ok_or_else(missing)
    };
    let diff = engine.image_diff(name("a")?, name("b")?).await?;
    let head = ImageDiffHead {
        a: audit::diff_image(diff.old),
        b: audit::diff_image(diff.new),
        common_layers: diff.shared as u64,
    };
    let mut head = Some(line(&head) + "\n");
    let mut totals = ImageDiffTotals::default();
    let body = Begun::new(diff.events).await?.body(move |event| {
        let mut text = head.take().unwrap_or_default();
        match event? {
            DiffEvent::Changes(changes) => {
                for change in &changes {
                    let file = audit::diff_file(change);
                    totals.add(&file);
                    text.push_str(&(line(&file) + "\n"));
                }
            }
            DiffEvent::End => {
                text.push_str(&(line(&ImageDiffEnd { totals: std::mem::take(&mut totals) }) + "\n"));
            }
        }
        Some(text.into_bytes())
    });
    Ok(Reply::body("application/x-ndjson", body))
}

fn line(document: &impl Serialize) -> String {
    // Only maps with keys that are no texts can fail.
    serde_json::to_string(document).unwrap_or_default()
}

/// A stream whose first item is there: what fails before it is an ordinary error.
struct Begun<T> {
    first: Option<T>,
    rest: mpsc::Receiver<Result<T>>,
}

impl<T: Send + 'static> Begun<T> {
    async fn new(mut rest: mpsc::Receiver<Result<T>>) -> Result<Self> {
        Ok(Self { first: rest.recv().await.transpose()?, rest })
    }

    /// What `each` makes of the items, and at their end of nothing until it gives nothing. An error cuts the connection.
    fn body(mut self, mut each: impl FnMut(Option<T>) -> Option<Vec<u8>> + Send + 'static) -> Body {
        Body::Stream(
            None,
            Box::new(move |cx| {
                let item = match self.first.take() {
                    Some(item) => Some(Ok(item)),
                    None => ready!(self.rest.poll_recv(cx)),
                };
                Poll::Ready(match item.transpose() {
                    Ok(item) => each(item).map(|bytes| Ok(bytes.into())),
                    Err(error) => Some(Err(std::io::Error::other(error.text().to_owned()))),
                })
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    async fn body(items: Vec<Result<u8>>) -> std::result::Result<Vec<u8>, String> {
        let (to, from) = mpsc::channel(8);
        for item in items {
            to.send(item).await.unwrap();
        }
        drop(to);
        let mut ended = false;
        let begun = Begun::new(from).await.map_err(|e| format!("status: {e}"))?;
        let body = begun.body(move |item| match item {
            Some(n) => Some(vec![n]),
            None => (!std::mem::replace(&mut ended, true)).then(|| b"end".to_vec()),
        });
        Ok(body.collect().await.map_err(|e| format!("cut: {e}"))?.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn errors_are_a_status_first_and_a_cut_later() {
        assert_eq!(body(vec![Ok(b'a'), Ok(b'b')]).await.unwrap(), b"abend");
        assert_eq!(body(vec![]).await.unwrap(), b"end");
        assert_eq!(body(vec![Err(Error::system("x"))]).await.unwrap_err(), "status: x");
        assert_eq!(body(vec![Ok(b'a'), Err(Error::system("x"))]).await.unwrap_err(), "cut: x");
    }
}
