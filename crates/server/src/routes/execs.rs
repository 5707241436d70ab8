//! Commands in a running container.

use super::{hijack, size};
use crate::api::Call;
use crate::convert::{config, container};
use crate::reply::Reply;
use dhow_api::IdResponse;
use dhow_engine::Engine;
use dhow_types::Result;
use hyper::StatusCode;

/// `POST /containers/{id}/exec`
pub(crate) async fn create(engine: &Engine, call: Call) -> Result<Reply> {
    let name = call.name.clone();
    let id = engine.exec_create(&name, config::exec(call.json().await?)?).await?;
    Ok(Reply::json_with(StatusCode::CREATED, &IdResponse { id }))
}

/// `POST /exec/{id}/start`
pub(crate) async fn start(engine: &Engine, call: Call) -> Result<Reply> {
    let (id, version) = (call.name.clone(), call.version);
    match engine.exec_start(&id, config::exec_start(call.json().await?)?).await? {
        Some(ticket) => Ok(hijack(ticket, version)),
        None => Ok(Reply::status(StatusCode::OK)),
    }
}

/// `POST /exec/{id}/resize`
pub(crate) async fn resize(engine: &Engine, call: Call) -> Result<Reply> {
    let (height, width) = size(&call)?;
    engine.exec_resize(&call.name, height, width).await?;
    Ok(Reply::status(StatusCode::OK))
}

/// `GET /exec/{id}/json`
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    Ok(Reply::json(&container::exec(engine.exec_inspect(&call.name).await?)))
}
