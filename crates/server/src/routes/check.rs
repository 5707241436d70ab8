//! dhow's own: `POST /dhow/check`.

use crate::api::Call;
use crate::convert::check::line;
use crate::reply::{Body, Reply};
use dhow_engine::Engine;
use dhow_types::Result;
use std::task::{Poll, ready};

/// `POST /dhow/check`: one JSON document a line, as things are found.
pub(crate) fn check(engine: &Engine, call: &Call) -> Result<Reply> {
    let mut events = engine.check(call.query.flag("repair"));
    Ok(Reply::body(
        "application/json",
        Body::pieces(move |cx| {
            let Some(event) = ready!(events.poll_recv(cx)) else { return Poll::Ready(None) };
            let mut bytes = serde_json::to_vec(&line(event)).unwrap_or_default();
            bytes.push(b'\n');
            Poll::Ready(Some(bytes.into()))
        }),
    ))
}
