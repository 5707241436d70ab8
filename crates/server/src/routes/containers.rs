//! Containers.

use super::{filters, hijack, size, stream_type};
use crate::api::Call;
use crate::convert::{config, container, host};
use crate::reply::{Body, JsonList, Reply};
use crate::request::timestamp;
use bytes::Bytes;
use dhow_api::{
    ApiVersion, ContainerCreateRequest, ContainerCreateResponse, ContainerUpdateResponse, TopResponse, stdcopy,
};
use dhow_engine::{AttachRequest, Engine, ListRequest, LogsRequest, WaitCondition};
use dhow_types::{Context, Error, Result};
use hyper::StatusCode;
use jiff::Timestamp;
use std::task::{Poll, ready};

/// `POST /containers/{id}/update`: the fields of HostConfig that can be changed.
pub(crate) async fn update(engine: &Engine, call: Call) -> Result<Reply> {
    let name = call.name.clone();
    let (limits, policy) = host::update(call.json().await?)?;
    let warnings = engine.update(&name, limits, policy).await?;
    Ok(Reply::json(&ContainerUpdateResponse { warnings: Some(warnings).filter(|w| !w.is_empty()) }))
}

/// `GET /containers/json`
pub(crate) async fn list(engine: &Engine, call: Call) -> Result<Reply> {
    let filters = filters(&call)?;
    let request = ListRequest {
        all: call.query.flag("all"),
        limit: call.query.number::<i64>("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
        size: call.query.flag("size"),
        filters: filters.0.into_iter().map(|(name, values)| (name, values.into_iter().collect())).collect(),
    };
    let (now, version) = (Timestamp::now(), call.version);
    let mut list = JsonList::default();
    engine.list(request, |view| list.add(&container::summary(view, now, version))).await?;
    Ok(list.reply())
}

/// `POST /containers/create`
pub(crate) async fn create(engine: &Engine, call: Call) -> Result<Reply> {
    if call.body.size() == Some(0) {
        return Err(Error::invalid("config cannot be empty in order to create a container"));
    }
    let (query, version) = (call.query.clone(), call.version);
    let mut body: ContainerCreateRequest = call.json().await?;
    if version < ApiVersion::new(1, 42) {
        // Clients of that time still send it, and their daemons had long stopped to act on it.
        body.host_config.kernel_memory = 0;
    }
    if version < ApiVersion::new(1, 44)
        && let Some(health) = &mut body.config.healthcheck
    {
        // Not known to daemons of that time.
        health.start_interval = 0;
    }
    let created = engine.create(config::create(query.get("name"), query.get("platform"), body)?).await?;
    let answer = ContainerCreateResponse { id: created.id.as_str().to_owned(), warnings: created.warnings };
    Ok(Reply::json_with(StatusCode::CREATED, &answer))
}

/// `GET /containers/{id}/json`
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    let view = engine.inspect(&call.name, call.query.flag("size")).await?;
    Ok(Reply::json(&container::inspect(view, call.version)))
}

/// `POST /containers/{id}/start`
pub(crate) async fn start(engine: &Engine, call: Call) -> Result<Reply> {
    call.query.refuse(&["checkpoint", "checkpoint-dir"])?;
    // Until 1.23 a start could carry a HostConfig. To ignore one would start another container than was meant.
    if call.body.size().is_none_or(|bytes| bytes > "null\r\n{}".len() as u64) {
        return Err(Error::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    engine.start(&call.name).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/stop`
pub(crate) async fn stop(engine: &Engine, call: Call) -> Result<Reply> {
    let note = engine.stop(&call.name, call.query.number("t")?, call.query.get("signal")).await?;
    Ok(Reply::noted(StatusCode::NO_CONTENT, note))
}

/// `POST /containers/{id}/kill`
pub(crate) async fn kill(engine: &Engine, call: Call) -> Result<Reply> {
    engine.kill(&call.name, call.query.get("signal")).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/restart`
pub(crate) async fn restart(engine: &Engine, call: Call) -> Result<Reply> {
    let note = engine.restart(&call.name, call.query.number("t")?, call.query.get("signal")).await?;
    Ok(Reply::noted(StatusCode::NO_CONTENT, note))
}

/// `POST /containers/{id}/pause`
pub(crate) async fn pause(engine: &Engine, call: Call) -> Result<Reply> {
    engine.pause(&call.name).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/unpause`
pub(crate) async fn unpause(engine: &Engine, call: Call) -> Result<Reply> {
    engine.unpause(&call.name).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/rename`
pub(crate) async fn rename(engine: &Engine, call: Call) -> Result<Reply> {
    engine.rename(&call.name, call.query.get("name").unwrap_or_default()).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `GET /containers/{id}/top`
pub(crate) async fn top(engine: &Engine, call: Call) -> Result<Reply> {
    let view = engine.top(&call.name, call.query.get("ps_args").unwrap_or_default()).await?;
    Ok(Reply::json(&TopResponse { titles: view.titles, processes: view.processes }))
}

/// `POST /containers/{id}/resize`
pub(crate) async fn resize(engine: &Engine, call: Call) -> Result<Reply> {
    let (height, width) = size(&call)?;
    engine.resize(&call.name, height, width).await?;
    Ok(Reply::status(StatusCode::OK))
}

/// `DELETE /containers/{id}`
pub(crate) async fn delete(engine: &Engine, call: Call) -> Result<Reply> {
    call.query.refuse(&["link"])?;
    engine.remove(&call.name, call.query.flag("force"), call.query.flag("v")).await?;
    Ok(Reply::status(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/attach`
pub(crate) async fn attach(engine: &Engine, call: Call) -> Result<Reply> {
    let query = &call.query;
    let request = AttachRequest {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        stream: query.flag("stream"),
        logs: query.flag("logs"),
        detach_keys: query.get("detachKeys").map(str::to_owned),
    };
    Ok(hijack(engine.attach(&call.name, request).await?, call.version))
}

/// `POST /containers/{id}/wait`. The head is sent when the wait is registered, so a client may start the container
/// after it and miss nothing.
pub(crate) async fn wait(engine: &Engine, call: Call) -> Result<Reply> {
    let condition = match call.query.get("condition") {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => {
            return Err(Error::invalid(format!(
                "invalid condition: {other:?}: want not-running, next-exit or removed"
            )));
        }
    };
    // Clients of that time know no error there, and take an empty answer for one.
    let no_errors = condition == WaitCondition::Removed && call.version < ApiVersion::new(1, 34);
    let ticket = engine.wait(&call.name, condition).await?;
    let answer = async move {
        let result = ticket.result().await;
        if no_errors && result.error.is_some() {
            return Bytes::new();
        }
        let mut bytes = serde_json::to_vec(&container::waited(result)).unwrap_or_default();
        bytes.push(b'\n');
        Bytes::from(bytes)
    };
    Ok(Reply::body("application/json", Body::later(answer)))
}

/// `GET /containers/{id}/logs`
pub(crate) async fn logs(engine: &Engine, call: Call) -> Result<Reply> {
    let query = &call.query;
    let request = LogsRequest {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        since: moment(&call, "since")?,
        until: moment(&call, "until")?,
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        // Docker takes what is no number for "all", too.
        tail: query.get("tail").and_then(|lines| lines.parse().ok()),
        follow: query.flag("follow"),
        // Not in Docker's API: asked by dhow's own client, for which a frame need not be a line.
        blocks: query.flag("blocks"),
    };
    if !request.stdout && !request.stderr {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let mut stream = engine.logs(&call.name, request).await?;
    let tty = stream.tty;
    let pieces = Body::pieces(move |cx| {
        let Some(chunk) = ready!(stream.chunks.poll_recv(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(match chunk {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                let text = format!("read the log: {error}\n").into_bytes();
                if tty { text.into() } else { stdcopy::encode(stdcopy::StreamKind::System, &text).into() }
            }
        }))
    });
    Ok(Reply::body(stream_type(tty, call.version), pieces))
}

/// A moment in a query; 0 means none.
fn moment(call: &Call, name: &str) -> Result<Option<Timestamp>> {
    let text = call.query.get(name).filter(|text| *text != "0");
    text.map(|text| timestamp(text).with_context(|| format!("the parameter {name}"))).transpose()
}
