//! Images from and to registries, told in Docker's JSON lines.

use crate::api::Call;
use crate::convert::{auth, transfer};
use crate::reply::{Body, Reply};
use dhow_api::ApiVersion;
use dhow_engine::view::TransferEvent;
use dhow_engine::{Engine, PullRequest, TransferStream};
use dhow_types::{Digest, Platform, Reference, Result};
use http::header::HeaderMap;
use std::task::{Poll, ready};
use std::time::Duration;

/// The first part of the names of headers that go on to the registry.
const META: &str = "x-meta-";

/// `POST /images/create` with `fromImage`: a pull.
pub(crate) async fn pull(engine: &Engine, call: &Call) -> Result<Reply> {
    let query = &call.query;
    let request = PullRequest {
        reference: named(query.get("fromImage").unwrap_or_default(), query.get("tag").unwrap_or_default())?,
        platform: match query.get("platform") {
            Some(text) if call.version >= ApiVersion::new(1, 32) => Some(text.parse::<Platform>()?),
            _ => None,
        },
        credentials: auth::credentials(&call.headers),
        meta: meta(&call.headers),
    };
    reply(engine.pull(request)).await
}

/// The image that is meant. A tag may be a digest; without either all tags are meant, for which clients have sent a name
/// that ends in a colon, too.
pub(crate) fn named(name: &str, tag: &str) -> Result<Reference> {
    let reference: Reference = name.strip_suffix(':').unwrap_or(name).parse()?;
    match (tag, tag.parse::<Digest>()) {
        ("", _) => Ok(reference),
        (_, Ok(digest)) => Ok(reference.with_digest(digest)),
        (tag, Err(_)) => reference.with_tag(tag),
    }
}

/// Headers for the registry.
pub(crate) fn meta(headers: &HeaderMap) -> Vec<(String, String)> {
    let meta = headers.iter().filter(|(name, _)| name.as_str().starts_with(META));
    meta.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))).collect()
}

/// How long the first word of a transfer is waited for. After it the answer begins all the same: only a client that is
/// answered can be seen to leave.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// A transfer as an answer. One that fails before anything is told fails the request; later the failure is a line.
pub(crate) async fn reply(transfer: TransferStream) -> Result<Reply> {
    let mut events = transfer.events;
    let mut first = match tokio::time::timeout(FIRST_WORD, events.recv()).await {
        Ok(Some(TransferEvent::Failed(error))) => return Err(error),
        Ok(first) => first,
        Err(_) => None,
    };
    Ok(Reply::body(
        "application/json",
        Body::pieces(move |cx| {
            let event = match first.take() {
                Some(event) => Some(event),
                None => ready!(events.poll_recv(cx)),
            };
            Poll::Ready(event.map(|event| {
                let mut bytes = serde_json::to_vec(&transfer::line(event)).unwrap_or_default();
                bytes.extend_from_slice(b"\r\n");
                bytes.into()
            }))
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags() {
        let digest = Digest::of(b"");
        for (name, tag, want) in [
            ("busybox", "1", "busybox:1"),
            ("busybox:2", "1", "busybox:1"),
            ("busybox:2", "", "busybox:2"),
            ("busybox", "", "busybox"),
            ("busybox:", "", "busybox"),
            ("reg:5000/a/b", &digest.to_string(), &format!("reg:5000/a/b@{digest}")),
            ("reg:5000/a/b:t", &digest.to_string(), &format!("reg:5000/a/b@{digest}")),
        ] {
            assert_eq!(named(name, tag).unwrap().familiar(), want, "{name} {tag}");
        }
        for (name, tag) in [("", ""), ("UPPER", "x"), ("a", "-x"), ("a", "sha256:12"), ("a b", "")] {
            assert!(named(name, tag).is_err(), "{name:?} {tag:?}");
        }
    }
}
