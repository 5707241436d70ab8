//! dhow's own: images that stay at their registry.

use super::transfers::{self, meta};
use crate::api::Call;
use crate::convert::{auth, remote};
use crate::reply::Reply;
use dhow_engine::Engine;
use dhow_engine::remote::RemoteRequest;
use dhow_engine::remote::copy::CopyRequest;
use dhow_types::{Error, Platform, Reference, Result};

/// `GET /dhow/images/remote`: what an image is, without a pull.
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    let kind = call.query.get("artifact-type").filter(|kind| !kind.is_empty()).map(str::to_owned);
    let referrers = (call.query.flag("referrers") || kind.is_some()).then_some(kind);
    let view = engine.remote_image(request(&call)?, referrers).await?;
    Ok(Reply::json(&remote::inspect(view, call.version)?))
}

/// `GET /dhow/images/check`: whether a pull would work, and why not. The answer to a check that finds something is 200.
pub(crate) async fn check(engine: &Engine, call: Call) -> Result<Reply> {
    Ok(Reply::json(&remote::check(engine.image_check(request(&call)?).await)))
}

fn request(call: &Call) -> Result<RemoteRequest> {
    Ok(RemoteRequest {
        reference: name(call, "name")?,
        platform: platform(call)?,
        credentials: auth::credentials(&call.headers),
        meta: meta(&call.headers),
    })
}

/// The image in a parameter.
fn name(call: &Call, parameter: &str) -> Result<Reference> {
    match call.query.get(parameter) {
        Some(text) if !text.is_empty() => text.parse(),
        _ => Err(Error::invalid(format!("{parameter} is missing: name an image"))),
    }
}

/// `OS/ARCH[/VARIANT]`.
fn platform(call: &Call) -> Result<Option<Platform>> {
    call.query.get("platform").filter(|text| !text.is_empty()).map(str::parse).transpose()
}

/// `POST /dhow/images/copy`: from registry to registry, told in Docker's lines of progress. `X-Registry-Auth` is for the
/// source, `X-Registry-Auth-Target` for the target: they are different users of different registries.
pub(crate) async fn copy(engine: &Engine, call: Call) -> Result<Reply> {
    let request = CopyRequest {
        from: name(&call, "from")?,
        to: name(&call, "to")?,
        from_credentials: auth::credentials(&call.headers),
        to_credentials: auth::credentials_in(&call.headers, auth::TARGET_HEADER),
        platform: platform(&call)?,
        all_tags: call.query.flag("all-tags"),
        referrers: call.query.flag("referrers"),
    };
    transfers::reply(engine.copy_image(request)?).await
}
