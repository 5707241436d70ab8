//! From a request to the function that answers it: version, route, errors, panics, and the headers that
//! every answer has.

use crate::connection::Answer;
use crate::reply::{BoxFuture, Reply};
use crate::request::{Query, RequestBody, decode};
use crate::router::{self, Found, Route};
use crate::routes::{
    archives, audit, check, containers, events, execs, images, manifests, networks, prune, push, registry, remote,
    stats, system,
};
use dhow_api::ApiVersion;
use dhow_engine::Engine;
use dhow_types::{Error, Result};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::{Method, Request};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

/// The API over one engine.
#[derive(Debug)]
pub(crate) struct Api {
    engine: Arc<Engine>,
    server: HeaderValue,
}

/// A request whose route is known.
#[derive(Debug)]
pub(crate) struct Call {
    /// The version that the client speaks.
    pub(crate) version: ApiVersion,
    /// The name or id in the path; empty if the route has none.
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
}

impl Call {
    /// The JSON document that came with the request.
    pub(crate) async fn json<T: Default + serde::de::DeserializeOwned>(self) -> Result<T> {
        let media_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        self.body.json(media_type).await
    }
}

impl Api {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let server = format!("dhow/{} (linux)", engine.version().version);
        let server = HeaderValue::from_str(&server).unwrap_or(HeaderValue::from_static("dhow (linux)"));
        Self { engine, server }
    }

    fn headers(&self, headers: &mut HeaderMap) {
        let api_version = HeaderValue::from_str(&ApiVersion::NEWEST.to_string());
        headers.insert(SERVER, self.server.clone());
        for (name, value) in [
            ("api-version", api_version.unwrap_or(HeaderValue::from_static(""))),
            ("docker-experimental", HeaderValue::from_static("false")),
            ("ostype", HeaderValue::from_static("linux")),
        ] {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

impl Answer for Api {
    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<Reply> {
        Box::pin(async move {
            let head = request.method() == Method::HEAD;
            let what = format!("{} {}", request.method(), request.uri().path());
            let reply = match caught(call(&self.engine, request)).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => {
                    let error = self.engine.explained(error);
                    tracing::debug!(%what, kind = ?error.kind(), %error, "refused");
                    Reply::error(&error)
                }
                Err(Panicked) => {
                    tracing::error!(%what, "a request made the server panic; this is a bug in dhow");
                    Reply::error(&Error::system("the server failed at this request; this is a bug in dhow"))
                }
            };
            match if head { reply.head_only() } else { reply } {
                Reply::Response(mut response) => {
                    self.headers(response.headers_mut());
                    Reply::Response(response)
                }
                hijack => hijack,
            }
        })
    }

    fn hijacks(&self, method: &str, path: &str) -> bool {
        let (_, path) = ApiVersion::split_path(path);
        matches!(router::find(method, path), Found::Built(Route::ContainerAttach | Route::ExecStart, _))
    }
}

async fn call(engine: &Arc<Engine>, request: Request<RequestBody>) -> Result<Reply> {
    let (parts, body) = request.into_parts();
    let (version, path) = ApiVersion::split_path(parts.uri.path());
    let version = version.unwrap_or(ApiVersion::NEWEST).check().map_err(|e| Error::invalid(e.0))?;
    let (route, name) = match router::find(parts.method.as_str(), path) {
        Found::Built(route, name) => (route, name),
        Found::Unbuilt(pattern) => {
            return Err(Error::not_implemented(format!("{} {pattern} is not supported by dhow yet", parts.method)));
        }
        Found::Unknown => return Err(Error::not_found("page not found")),
    };
    let call = Call {
        version,
        name: decode(name, false),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
    };
    match route {
        Route::Ping => system::ping(),
        Route::Version => system::version(engine),
        Route::Info => system::info(engine).await,
        Route::ContainerList => containers::list(engine, call).await,
        Route::ContainerCreate => containers::create(engine, call).await,
        Route::ContainerInspect => containers::inspect(engine, call).await,
        Route::ContainerLogs => containers::logs(engine, call).await,
        Route::ContainerStart => containers::start(engine, call).await,
        Route::ContainerStop => containers::stop(engine, call).await,
        Route::ContainerKill => containers::kill(engine, call).await,
        Route::ContainerRestart => containers::restart(engine, call).await,
        Route::ContainerPause => containers::pause(engine, call).await,
        Route::ContainerUnpause => containers::unpause(engine, call).await,
        Route::ContainerRename => containers::rename(engine, call).await,
        Route::ContainerUpdate => containers::update(engine, call).await,
        Route::ContainerTop => containers::top(engine, call).await,
        Route::ContainerStats => stats::stats(engine, &call),
        Route::ContainerResize => containers::resize(engine, call).await,
        Route::ContainerAttach => containers::attach(engine, call).await,
        Route::ContainerWait => containers::wait(engine, call).await,
        Route::ContainerDelete => containers::delete(engine, call).await,
        Route::ContainerExport => audit::export(engine, call).await,
        Route::ContainerChanges => audit::changes(engine, call).await,
        Route::ContainerExec => execs::create(engine, call).await,
        Route::ExecStart => execs::start(engine, call).await,
        Route::ExecResize => execs::resize(engine, call).await,
        Route::ExecInspect => execs::inspect(engine, call).await,
        Route::ImageList => images::list(engine, call).await,
        Route::ImageInspect => images::inspect(engine, call).await,
        Route::ImageHistory => audit::history(engine, call).await,
        Route::ImageDiff => audit::image_diff(engine, call).await,
        Route::ImageTree => audit::tree(engine).await,
        Route::RemoteInspect => remote::inspect(engine, call).await,
        Route::RemoteCheck => remote::check(engine, call).await,
        Route::RemoteCopy => remote::copy(engine, call).await,
        Route::ManifestRead => manifests::read(engine, call).await,
        Route::ManifestPush => manifests::push(engine, call).await,
        Route::ImageTag => images::tag(engine, call).await,
        Route::ImageDelete => images::delete(engine, call).await,
        Route::ImageLoad => archives::load(engine, call).await,
        Route::ImageSearch => registry::search(engine, &call).await,
        Route::Auth => registry::login(engine, call).await,
        Route::Distribution => registry::describe(engine, &call).await,
        Route::ImagePush => push::push(engine, call).await,
        Route::ImageCreate => archives::create(engine, call).await,
        Route::Commit => archives::commit(engine, call).await,
        Route::ImageSave | Route::ImageSaveSeveral => archives::save(engine, call).await,
        Route::NetworkList => networks::list(engine, call).await,
        Route::Events => events::events(engine, &call),
        Route::DhowCheck => check::check(engine, &call),
        Route::NetworkInspect => networks::inspect(engine, call).await,
        Route::SystemDf => prune::disk(engine, call).await,
        Route::ImagePrune => prune::images(engine, call).await,
        Route::ContainerPrune => prune::containers(engine, call).await,
        Route::VolumePrune => prune::volumes(engine, call).await,
        Route::NetworkPrune => prune::networks(engine, call).await,
        Route::BuildPrune => prune::build(call),
    }
}

/// A request panicked.
#[derive(Debug)]
struct Panicked;

/// Runs `future` so that its panic ends this request only. What a panic leaves half done inside of the engine is
/// the engine's to bear: its tasks hold no lock across a request.
async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |cx| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_one_request_only() {
        async fn bad() -> u8 {
            tokio::task::yield_now().await;
            panic!("oh");
        }
        assert!(caught(bad()).await.is_err());
        assert_eq!(caught(async { 7 }).await.unwrap(), 7);
    }
}
