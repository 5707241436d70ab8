//! What containers use.

use crate::api::Call;
use crate::convert::stats::document;
use crate::reply::{Body, Reply};
use dhow_engine::{Engine, StatsRequest};
use dhow_types::Result;
use std::task::{Poll, ready};

/// `GET /containers/{id}/stats`
pub(crate) fn stats(engine: &Engine, call: &Call) -> Result<Reply> {
    let request = StatsRequest {
        // Docker streams unless told otherwise.
        stream: call.query.get("stream").is_none() || call.query.flag("stream"),
        one_shot: call.query.flag("one-shot"),
    };
    let mut samples = engine.stats(&call.name, request)?;
    let body = Body::pieces(move |cx| {
        let Some(view) = ready!(samples.poll_recv(cx)) else { return Poll::Ready(None) };
        let mut bytes = document(&view).to_string().into_bytes();
        bytes.push(b'\n');
        Poll::Ready(Some(bytes.into()))
    });
    Ok(Reply::body("application/json", body))
}
