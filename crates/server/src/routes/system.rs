//! `_ping`, `version` and `info`.

use crate::convert::system;
use crate::reply::{Body, Reply};
use bytes::Bytes;
use dhow_engine::Engine;
use dhow_types::Result;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};

/// `GET` and `HEAD /_ping`: whether someone is there, and which version to speak.
pub(crate) fn ping() -> Result<Reply> {
    let mut reply = Reply::body("text/plain; charset=utf-8", Body::Whole(Bytes::from_static(b"OK")));
    if let Reply::Response(response) = &mut reply {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        // The classic builder: clients with BuildKit in them then ask before they use it.
        headers.insert(HeaderName::from_static("builder-version"), HeaderValue::from_static("1"));
        headers.insert(HeaderName::from_static("swarm"), HeaderValue::from_static("inactive"));
    }
    Ok(reply)
}

/// `GET /version`
pub(crate) fn version(engine: &Engine) -> Result<Reply> {
    Ok(Reply::json(&system::version(engine.version())))
}

/// `GET /info`
pub(crate) async fn info(engine: &Engine) -> Result<Reply> {
    Ok(Reply::json(&system::info(engine.info().await?)))
}
