//! Ending containers: signals, stops with their timeout, restarts, and removal by force.

use crate::config::WaitCondition;
use crate::container::Container;
use crate::core::Core;
use crate::link::Link;
use crate::pause;
use crate::plan::signal;
use crate::view::Status;
use dhow_shim::protocol::Request;
use dhow_types::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// Docker's patience with a container whose stop timeout was not set.
const DEFAULT_TIMEOUT: i64 = 10;
/// How long the kernel may take to end a process after SIGKILL (it may be in an uninterruptible sleep).
const MAX_KILL: Duration = Duration::from_secs(30);

/// Sends a signal (`KILL` if `None`); after SIGKILL waits for the end.
pub(crate) async fn kill(core: &Arc<Core>, name: &str, text: Option<&str>) -> Result<()> {
    let number = text.filter(|t| !t.is_empty()).map_or(Ok(signal::KILL), signal::parse)?;
    let container = core.registry().find(name)?;
    let refused = |e: Error| Error::new(e.kind(), format!("cannot kill container: {name}: {}", e.text()));
    if !container.status().is_up() {
        container.running().map_err(refused)?;
    }
    let last = signal::thaws(number, configured(&container));
    match by_hand(&container, last).await.map_err(refused)? {
        Status::Running if number == signal::KILL => end(core, &container).await.map_err(refused),
        Status::Running => send(core, &container, number).await.map_err(refused),
        // It has just ended.
        Status::Removing => container.running().map(drop).map_err(refused),
        // It waited for its next start, and waits no longer if it was to end.
        _ => Ok(()),
    }
}

/// Leaves the marks of a signal. One that is gone meanwhile does not run.
async fn by_hand(container: &Container, last: bool) -> Result<Status> {
    match container.by_hand(last).await {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Status::Removing),
        other => other,
    }
}

/// The signal by which a container is meant to end, if it says one.
fn configured(container: &Container) -> Option<i32> {
    let text = container.record().config.stop_signal;
    text.as_deref().filter(|t| !t.is_empty()).and_then(|t| signal::parse(t).ok())
}

/// Sends a signal, and lets a paused container go on that is meant to end by it.
async fn send(core: &Arc<Core>, container: &Arc<Container>, signo: i32) -> Result<()> {
    let link = container.running()?;
    if signo == signal::KILL
        && let Some(live) = container.shared().run()
    {
        // Before the signal, so that who pauses it at this moment thaws it again.
        live.killed = true;
    }
    let sent = tell(container, &link, signo).await;
    if sent.is_err()
        && let Some(live) = container.shared().run()
    {
        live.killed = false;
    }
    if sent.is_ok()
        && signal::thaws(signo, configured(container))
        && let Err(e) = pause::thaw(core, container).await
    {
        tracing::warn!("container {}: unpause it after a signal: {e}", container.id.short());
    }
    sent
}

async fn tell(container: &Container, link: &Link, signo: i32) -> Result<()> {
    match link.call(Request::Signal { exec_id: None, signo, all: false }, Vec::new()).await {
        // It has just ended, possibly so that its shim is gone already.
        Err(e) if e.kind() == ErrorKind::NotFound || link.is_closed() => {
            Err(Error::conflict(format!("container {} is not running", container.id)))
        }
        other => other.map(drop),
    }
}

/// SIGKILL, and the wait for the end.
async fn end(core: &Arc<Core>, container: &Arc<Container>) -> Result<()> {
    let over = container.wait(WaitCondition::NotRunning)?;
    match send(core, container, signal::KILL).await {
        Err(e) if e.kind() != ErrorKind::Conflict => return Err(e),
        _ => {}
    }
    match tokio::time::timeout(MAX_KILL, over).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::system(format!(
            "container {} did not end within {} seconds of SIGKILL: a process of it may hang in the kernel",
            container.id.short(),
            MAX_KILL.as_secs()
        ))),
    }
}

/// The stop signal, then after the timeout SIGKILL. `NotModified` if it does not run.
pub(crate) async fn stop(core: &Arc<Core>, name: &str, timeout: Option<i64>, text: Option<&str>) -> Result<()> {
    let container = core.registry().find(name)?;
    if !container.status().is_up() {
        return Err(Error::new(ErrorKind::NotModified, format!("container {name} is already stopped")));
    }
    finish(core, &container, timeout, text).await
}

/// Brings a container to its end, which is to be its last.
async fn finish(core: &Arc<Core>, container: &Arc<Container>, timeout: Option<i64>, text: Option<&str>) -> Result<()> {
    // Before the mark is left: a signal that does not exist is none.
    text.filter(|t| !t.is_empty()).map(signal::parse).transpose()?;
    match by_hand(container, true).await? {
        Status::Running => halt(core, container, timeout, text).await,
        _ => Ok(()),
    }
}

/// Stops a running container as [`stop`] does, and has it started again after the wait that its restart policy would
/// make, whatever the policy is; `reason` is shown meanwhile. Nothing is done if it does not run, or is being stopped.
#[allow(dead_code, reason = "health checks call it")]
pub(crate) async fn request_restart(core: &Arc<Core>, container: &Arc<Container>, reason: &str) -> Result<()> {
    match container.again(reason).await? {
        true => halt(core, container, None, None).await,
        false => Ok(()),
    }
}

async fn halt(core: &Arc<Core>, container: &Arc<Container>, timeout: Option<i64>, text: Option<&str>) -> Result<()> {
    let config = container.record().config;
    let chosen = text.filter(|t| !t.is_empty()).or(config.stop_signal.as_deref().filter(|t| !t.is_empty()));
    let number = chosen.map_or(Ok(signal::TERM), signal::parse)?;
    let seconds = timeout.or(config.stop_timeout).unwrap_or(DEFAULT_TIMEOUT);
    let over = container.wait(WaitCondition::NotRunning)?;
    match send(core, container, number).await {
        // It ended by itself, which is what was wanted, and about to be known.
        Err(e) if e.kind() == ErrorKind::Conflict => {}
        other => other?,
    }
    if seconds < 0 {
        let _ = over.await;
        return Ok(());
    }
    match tokio::time::timeout(Duration::from_secs(seconds as u64), over).await {
        Ok(_) => Ok(()),
        Err(_) => end(core, container).await,
    }
}

/// Stops a container if it runs, and starts it.
pub(crate) async fn restart(core: &Arc<Core>, name: &str, timeout: Option<i64>, text: Option<&str>) -> Result<()> {
    let container = core.registry().find(name)?;
    // Docker's kind of error, whatever went wrong.
    let refused = |e: Error| Error::system(format!("Cannot restart container {name}: {}", e.text()));
    let kept = container.kept();
    if container.status().is_up() {
        finish(core, &container, timeout, text).await.map_err(refused)?;
    }
    let started = match container.start().await {
        // Somebody else was faster.
        Err(e) if e.kind() == ErrorKind::NotModified => Ok(()),
        other => other,
    };
    drop(kept);
    // It may also have ended again at once, while this kept it.
    if container.record().host.auto_remove && container.status() == Status::Exited {
        // What its end would have done.
        let _ = container.remove(true).await;
    }
    started.map_err(refused)
}

/// Removes a container; a running one is killed first if `force`.
pub(crate) async fn remove(core: &Arc<Core>, name: &str, force: bool, volumes: bool) -> Result<()> {
    let container = core.registry().find(name)?;
    let removed = container.wait(WaitCondition::Removed)?;
    let auto = container.record().host.auto_remove;
    if force && container.status().is_up() && by_hand(&container, true).await? == Status::Running {
        end(core, &container).await?;
    }
    match container.remove(volumes).await {
        // Its own removal came first.
        Err(e) if e.kind() == ErrorKind::NotFound && auto => {
            let _ = removed.await;
            Ok(())
        }
        other => other,
    }
}
