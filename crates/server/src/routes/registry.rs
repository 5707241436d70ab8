//! Questions to registries: `POST /auth`, `GET /distribution/{name}/json`, `GET /images/search`.

use super::filters;
use crate::api::Call;
use crate::convert::auth::{self, AuthConfig};
use crate::convert::registry;
use crate::reply::Reply;
use crate::routes::transfers::meta;
use dhow_engine::{Engine, SearchRequest};
use dhow_types::{Error, Reference, Result};

/// `POST /auth`: whether credentials hold.
pub(crate) async fn login(engine: &Engine, call: Call) -> Result<Reply> {
    let mut config: AuthConfig = call.json().await?;
    let address = config.server_address.take().unwrap_or_default();
    let token = engine.login(&address, config.credentials()).await?;
    Ok(Reply::json(&registry::logged_in(token)))
}

/// `GET /distribution/{name}/json`: what a registry has under a name.
pub(crate) async fn describe(engine: &Engine, call: &Call) -> Result<Reply> {
    if call.name.len() == 64 && call.name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::system("no manifest found for full image ID"));
    }
    let reference: Reference = call.name.parse()?;
    let view = engine.describe(reference, auth::credentials(&call.headers)).await?;
    Ok(Reply::json(&registry::distribution(view)))
}

/// `GET /images/search`: what an index knows.
pub(crate) async fn search(engine: &Engine, call: &Call) -> Result<Reply> {
    let limit = match call.query.get("limit").unwrap_or_default() {
        "" => 0,
        text => text.parse().map_err(|_| Error::invalid(format!("invalid limit specified: {text:?}")))?,
    };
    let shown = registry::search_filters(&filters(call)?)?;
    let request = SearchRequest {
        term: call.query.get("term").unwrap_or_default().to_owned(),
        limit,
        credentials: auth::credentials(&call.headers),
        meta: meta(&call.headers),
        ..shown
    };
    let hits = engine.search(request).await?;
    Ok(Reply::json(&hits.into_iter().map(registry::hit).collect::<Vec<_>>()))
}
