//! The Docker Engine API over HTTP/1.1 on unix sockets, as an adapter onto the engine.
//!
//! A request goes through these rooms: [`listen`] (sockets) → `connection` (HTTP by hyper, limits, hijacking)
//! → `api` (versions, errors, panics) → `router` (one table of all routes) → `routes` (one function per
//! operation) → `convert` (documents to plain data and back) → `dhow-engine`.
//!
//! Never here: what a container is or does. What is not built is refused by name, with status 501.

mod api;
mod connection;
mod convert;
pub mod listen;
mod reply;
mod request;
mod router;
mod routes;

pub use listen::Listener;

use dhow_types::Result;
use std::future::Future;
use std::sync::Arc;

/// Serves the engine on all `listeners` until `shutdown` is ready; then no connection is accepted any more,
/// requests under way get a moment to end, and the listeners' paths are removed.
///
/// Must be called inside of a tokio runtime with I/O and time enabled.
pub async fn serve(
    engine: Arc<dhow_engine::Engine>,
    listeners: Vec<Listener>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    connection::serve(Arc::new(api::Api::new(engine)), listeners, shutdown).await
}
