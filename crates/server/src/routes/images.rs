//! Images: lists, names, removal. Archives are in `archives`.

use super::filters;
use crate::api::Call;
use crate::convert::image;
use crate::convert::image_list::{self, Between};
use crate::reply::Reply;
use dhow_api::{ApiVersion, ImageSummary};
use dhow_engine::Engine;
use dhow_types::Result;
use hyper::StatusCode;
use jiff::Timestamp;

/// `GET /images/json`
pub(crate) async fn list(engine: &Engine, call: Call) -> Result<Reply> {
    // `all` and `digests` change nothing: there are no images in between, and digests are always told. Nor does
    // `manifests`: as in Docker's own store without containerd, an image is for one platform, and there is no list of
    // them. What would need another document is refused.
    call.query.refuse(&["identity"])?;
    let mut filters = filters(&call)?;
    if let Some(name) =
        call.query.get("filter").filter(|_| call.version < ApiVersion::new(1, 25) && !filters.has("reference"))
    {
        filters.add("reference", name);
    }
    image_list::check(&filters)?;
    let mut between = Between::default();
    for (name, is_before) in [("before", true), ("since", false)] {
        for image in filters.values(name) {
            between.add(is_before, engine.image_inspect(image).await?.created);
        }
    }
    let counts_shared = call.query.flag("shared-size") && call.version >= ApiVersion::new(1, 42);
    let images = image_list::select(engine.images().await?, &filters, between, Timestamp::now())?;
    let summaries = images.into_iter().map(|view| {
        let shared = i64::try_from(view.shared).unwrap_or(i64::MAX);
        let summary = image::summary(view, call.version);
        // -1 is "not computed".
        ImageSummary { shared_size: if counts_shared { shared } else { -1 }, ..summary }
    });
    Ok(Reply::json(&summaries.collect::<Vec<_>>()))
}

/// `GET /images/{name}/json`
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    demand(engine, &call, "platform").await?;
    Ok(Reply::json(&image::inspect(engine.image_inspect(&call.name).await?, call.version)?))
}

/// `POST /images/{name}/tag`
pub(crate) async fn tag(engine: &Engine, call: Call) -> Result<Reply> {
    let (repo, tag) = (call.query.get("repo").unwrap_or_default(), call.query.get("tag").unwrap_or_default());
    engine.tag(&call.name, repo, tag).await?;
    Ok(Reply::status(StatusCode::CREATED))
}

/// `DELETE /images/{name}`. `noprune` changes nothing: as in Docker's containerd store, an image that others were made
/// from is one of its own, and stays.
pub(crate) async fn delete(engine: &Engine, call: Call) -> Result<Reply> {
    demand(engine, &call, "platforms").await?;
    let done = engine.remove_image(&call.name, call.query.flag("force")).await?;
    Ok(Reply::json(&done.into_iter().map(image::removed).collect::<Vec<_>>()))
}

/// If a platform was asked for, the image must be for it.
pub(crate) async fn demand(engine: &Engine, call: &Call, parameter: &str) -> Result<()> {
    match image::platform_in(&call.query, parameter, call.version)? {
        Some(platform) => engine.image_for(&call.name, platform).await,
        None => Ok(()),
    }
}
