//! dhow's own: manifests as such, for `dhow manifest`.

use crate::api::Call;
use crate::convert::{auth, remote};
use crate::reply::Reply;
use dhow_api::remote::{ManifestPush, ManifestPushed};
use dhow_engine::Engine;
use dhow_engine::remote::manifests::ManifestRequest;
use dhow_types::{Error, Result};

/// `GET /dhow/manifests`: what a name means, byte for byte, and of a list its images.
pub(crate) async fn read(engine: &Engine, call: Call) -> Result<Reply> {
    Ok(Reply::json(&remote::manifests(engine.manifests(request(&call)?).await?)))
}

/// `POST /dhow/manifests`: puts a list, and before it what it names of other repositories.
pub(crate) async fn push(engine: &Engine, call: Call) -> Result<Reply> {
    let to = request(&call)?;
    let push = remote::list_push(to, call.json::<ManifestPush>().await?)?;
    let (images, digest) = engine.push_list(push).await?;
    let images = images.iter().map(ToString::to_string).collect();
    Ok(Reply::json(&ManifestPushed { digest: digest.to_string(), images }))
}

fn request(call: &Call) -> Result<ManifestRequest> {
    let name = call.query.get("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::invalid("name is missing: name a manifest"))?;
    Ok(ManifestRequest {
        reference: name.parse()?,
        credentials: auth::credentials(&call.headers),
        insecure: call.query.flag("insecure"),
    })
}
