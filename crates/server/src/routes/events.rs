//! `GET /events`.

use super::filters;
use crate::api::Call;
use crate::convert::events::message;
use crate::reply::{Body, Reply};
use crate::request::timestamp;
use bytes::Bytes;
use dhow_api::ApiVersion;
use dhow_engine::{Engine, EventFilters, EventsRequest};
use dhow_types::{Context, Result};
use http::header::ACCEPT;
use jiff::Timestamp;
use std::task::{Poll, ready};

/// From this version on the documents have lost their old fields, and the media type says what the stream is.
const JSON_LINES: ApiVersion = ApiVersion::new(1, 52);
/// Begins a document of `application/json-seq` (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// `GET /events`: the head is sent when the client is among those who listen.
pub(crate) fn events(engine: &Engine, call: &Call) -> Result<Reply> {
    let filters = filters(call)?.0.into_iter().map(|(name, values)| (name, values.into_iter().collect())).collect();
    let request = EventsRequest {
        since: moment(call, "since")?,
        until: moment(call, "until")?,
        filters: EventFilters::new(filters)?,
    };
    let version = call.version;
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type(accept, version);
    let mut stream = engine.events(request)?;
    let pieces = Body::pieces(move |cx| {
        let Some(event) = ready!(stream.events.poll_recv(cx)) else { return Poll::Ready(None) };
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "a client's events break off");
                return Poll::Ready(None);
            }
        };
        let mut line = Vec::with_capacity(512);
        if media_type == "application/json-seq" {
            line.push(RECORD_SEPARATOR);
        }
        // Strings and numbers: nothing there can fail.
        let _ = serde_json::to_writer(&mut line, &message(&event, version));
        line.push(b'\n');
        Poll::Ready(Some(Bytes::from(line)))
    });
    Ok(Reply::body(media_type, pieces))
}

/// The first of the three forms that the client takes.
fn media_type(accept: &str, version: ApiVersion) -> &'static str {
    if version < JSON_LINES {
        return "application/json";
    }
    let forms = ["application/jsonl", "application/x-ndjson", "application/json-seq"];
    let asked = accept.split(',').filter_map(|word| word.split(';').next());
    asked
        .filter_map(|word| forms.into_iter().find(|form| word.trim().eq_ignore_ascii_case(form)))
        .next()
        .unwrap_or(forms[0])
}

/// A moment in a query. Unlike that of logs, 0 is one: 1970.
fn moment(call: &Call, name: &str) -> Result<Option<Timestamp>> {
    let text = call.query.get(name).filter(|text| !text.is_empty());
    text.map(|text| timestamp(text).with_context(|| format!("the parameter {name}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_clients_choice() {
        let new = ApiVersion::new(1, 52);
        for (accept, version, want) in [
            ("", new, "application/jsonl"),
            ("*/*", new, "application/jsonl"),
            ("application/json-seq", new, "application/json-seq"),
            ("text/html, application/x-ndjson;q=0.9, application/jsonl", new, "application/x-ndjson"),
            ("application/json-seq", ApiVersion::new(1, 51), "application/json"),
        ] {
            assert_eq!(media_type(accept, version), want, "{accept}");
        }
    }
}
