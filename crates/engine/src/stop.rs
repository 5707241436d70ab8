//! Ending containers: signals, stops with their timeout, restarts, and removal by force.
//!
//! A stop signal that the container's process can't hear (see the shim's `heed`) is not waited for, unless somebody said
//! how long to wait. Killing has stages, each with a bound, and when the last is over the error says what is stuck.

use crate::config::WaitCondition;
use crate::container::{Container, Seen};
use crate::core::Core;
use crate::link::Link;
use crate::plan::signal;
use crate::settings::StopUnheeded;
use crate::view::{Status, WaitResult};
use crate::{pause, stuck};
use dhow_shim::protocol::{Reply, Request, Unheeded};
use dhow_types::{Cause, Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Docker's patience with a container whose stop timeout was not set.
const DEFAULT_TIMEOUT: i64 = 10;
/// How long a kill by the shim may take before the processes are killed without it.
const MAX_FIRST_KILL: Duration = Duration::from_secs(2);
/// How long the kernel may take after that: a process may be in an uninterruptible sleep.
const MAX_SECOND_KILL: Duration = Duration::from_secs(8);
/// How long a container's own removal may take that goes with its end.
const MAX_OWN_REMOVAL: Duration = Duration::from_secs(30);
/// How often a removal by force begins anew because somebody has started the container meanwhile.
const MAX_REMOVE_ROUNDS: usize = 8;
/// What came with it: [`Request::Stop`].
const KNOWS_STOP: u32 = 2;
/// What events say of a stop signal that is neither handled nor blocked, and of a stop that did not wait for it.
const UNHEEDED: (&str, &str) = ("unheeded", "true");

/// Sends a signal (`KILL` if `None`); after SIGKILL waits for the end.
pub(crate) async fn kill(core: &Arc<Core>, name: &str, text: Option<&str>) -> Result<()> {
    let number = text.filter(|t| !t.is_empty()).map_or(Ok(signal::KILL), signal::parse)?;
    let container = core.registry().find(name)?;
    let refused = |e: Error| e.prefixed(format_args!("cannot kill container: {name}"));
    if !container.status().is_up() {
        container.running().map_err(refused)?;
    }
    let last = signal::thaws(number, configured(&container));
    match by_hand(&container, last).await.map_err(refused)? {
        Seen { run: Some(run), .. } if number == signal::KILL => end(core, &container, run).await.map_err(refused),
        Seen { run: Some(run), .. } => {
            let how = if number == configured(&container).unwrap_or(signal::TERM) { How::Stop } else { How::Plain };
            send(core, &container, run, number, how).await.map(drop).map_err(refused)
        }
        // It has just ended.
        Seen { status: Status::Removing, .. } => container.running().map(drop).map_err(refused),
        // It waited for its next start, and waits no longer if it was to end.
        _ => Ok(()),
    }
}

/// Leaves the marks of a signal. One that is gone meanwhile does not run.
async fn by_hand(container: &Container, last: bool) -> Result<Seen> {
    match container.by_hand(last).await {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Seen { status: Status::Removing, run: None }),
        other => other,
    }
}

/// The signal by which a container is meant to end, if it says one.
fn configured(container: &Container) -> Option<i32> {
    let text = container.record().config.stop_signal;
    text.as_deref().filter(|t| !t.is_empty()).and_then(|t| signal::parse(t).ok())
}

/// What a signal is sent for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// To be heard.
    Plain,
    /// To end it, and to learn whether that can be.
    Stop,
}

/// Sends a signal to this run, and lets it go on if it is paused and meant to end by it.
async fn send(
    core: &Arc<Core>,
    container: &Arc<Container>,
    run: u64,
    signo: i32,
    how: How,
) -> Result<Option<Unheeded>> {
    let kills = signo == signal::KILL;
    let (link, protocol) = {
        let mut shared = container.shared();
        let live = shared.of_run(run).ok_or_else(|| not_running(container))?;
        // Before the signal, so that who pauses it at this moment thaws it again.
        live.killed |= kills;
        (live.link.clone(), live.protocol)
    };
    let sent = match how {
        How::Stop if protocol >= KNOWS_STOP => {
            let (core, container) = (core.clone(), container.clone());
            // When the answer is read, which the shim gives before it tells of the end.
            let note = move |reply: &Reply| {
                if let Reply::Stopping { unheeded } = reply {
                    told(&core, &container, signo, unheeded.is_some());
                }
            };
            link.call_noting(Request::Stop { signo }, Vec::new(), Some(Box::new(note))).await
        }
        _ => {
            // Before it is sent: the end that it causes comes after it.
            told(core, container, signo, false);
            // The whole group, because the kernel spares what left the process tree.
            let all = kills && container.record().cgroup.is_some();
            link.call(Request::Signal { exec_id: None, signo, all }, Vec::new()).await
        }
    };
    let sent = answered(container, &link, sent);
    if sent.is_err()
        && let Some(live) = container.shared().of_run(run).filter(|_| kills)
    {
        live.killed = false;
    }
    if sent.is_ok()
        && signal::thaws(signo, configured(container))
        && let Err(e) = pause::thaw(core, container, Some(run)).await
    {
        tracing::warn!("container {}: unpause it after a signal: {e}", container.id.short());
    }
    sent
}

fn not_running(container: &Container) -> Error {
    Error::conflict(format!("container {} is not running", container.id))
}

/// The event of a signal that was sent.
fn told(core: &Core, container: &Container, signo: i32, unheeded: bool) {
    let signo = signo.to_string();
    let more = [("signal", signo.as_str()), UNHEEDED];
    core.events.container(&container.record(), "kill", if unheeded { &more } else { &more[..1] });
}

fn answered(container: &Container, link: &Link, answer: Result<Reply>) -> Result<Option<Unheeded>> {
    match answer {
        Ok(Reply::Stopping { unheeded }) => Ok(unheeded),
        Ok(_) => Ok(None),
        // It has just ended, possibly so that its shim is gone already.
        Err(e) if e.kind() == ErrorKind::NotFound || link.is_closed() => Err(not_running(container)),
        Err(e) => Err(e),
    }
}

/// SIGKILL to this run, and the wait for its end.
async fn end(core: &Arc<Core>, container: &Arc<Container>, run: u64) -> Result<()> {
    let mut over = container.end_of(run)?;
    // A shim that does not answer is no reason to wait for it.
    let sent = timeout(MAX_FIRST_KILL, send(core, container, run, signal::KILL, How::Plain)).await;
    if let Ok(Err(e)) = &sent
        && !matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
    {
        tracing::warn!("container {}: its shim could not kill it: {e}", container.id.short());
    }
    if timeout(MAX_FIRST_KILL, &mut over).await.is_ok() {
        return Ok(());
    }
    if let Some(held) = container.hold(run) {
        let (shared, record) = (core.clone(), container.record());
        let direct = tokio::task::spawn_blocking(move || {
            let killed = pause::group(&shared, &record)?.kill_all();
            drop(held);
            killed
        });
        // Told by the diagnosis if it mattered.
        let _ = timeout(MAX_SECOND_KILL, direct).await;
    }
    if timeout(MAX_SECOND_KILL, &mut over).await.is_ok() {
        return Ok(());
    }
    let why = stuck::why(core, container).await;
    Err(Error::system(format!("container {} can't be killed: {why}", container.id.short())).because(Cause::Stuck))
}

/// The stop signal, then after the timeout SIGKILL. `NotModified` if it does not run. What is to be known of how it
/// was stopped comes back as a sentence.
pub(crate) async fn stop(
    core: &Arc<Core>,
    name: &str,
    timeout: Option<i64>,
    text: Option<&str>,
) -> Result<Option<String>> {
    let container = core.registry().find(name)?;
    if !container.status().is_up() {
        return Err(Error::new(ErrorKind::NotModified, format!("container {name} is already stopped")));
    }
    finish(core, &container, timeout, text).await
}

/// Brings a container to its end, which is to be its last.
async fn finish(
    core: &Arc<Core>,
    container: &Arc<Container>,
    timeout: Option<i64>,
    text: Option<&str>,
) -> Result<Option<String>> {
    // Before the mark is left: a signal that does not exist is none.
    text.filter(|t| !t.is_empty()).map(signal::parse).transpose()?;
    let Some(run) = by_hand(container, true).await?.run else { return Ok(None) };
    let note = halt(core, container, run, timeout, text).await?;
    core.events.container(&container.record(), "stop", if note.is_some() { &[UNHEEDED] } else { &[] });
    Ok(note)
}

/// Stops this run as [`stop`] does, and has the container started again after the wait that its restart policy would
/// make, whatever the policy is; `reason` is shown meanwhile. Nothing is done if the run is over, or is being stopped.
pub(crate) async fn request_restart(
    core: &Arc<Core>,
    container: &Arc<Container>,
    run: u64,
    reason: &str,
) -> Result<()> {
    match container.again(run, reason).await? {
        true => halt(core, container, run, None, None).await.map(drop),
        false => Ok(()),
    }
}

/// Stops this run.
async fn halt(
    core: &Arc<Core>,
    container: &Arc<Container>,
    run: u64,
    asked: Option<i64>,
    text: Option<&str>,
) -> Result<Option<String>> {
    let config = container.record().config;
    let chosen = text.filter(|t| !t.is_empty()).or(config.stop_signal.as_deref().filter(|t| !t.is_empty()));
    let number = chosen.map_or(Ok(signal::TERM), signal::parse)?;
    let patience = asked.or(config.stop_timeout);
    let over = container.end_of(run)?;
    let unheeded = match send(core, container, run, number, How::Stop).await {
        // It ended by itself, which is what was wanted, and about to be known.
        Err(e) if e.kind() == ErrorKind::Conflict => None,
        other => other?,
    };
    if let Some(deaf) = unheeded.filter(|_| patience.is_none() && core.settings.stop_unheeded == StopUnheeded::Kill) {
        end(core, container, run).await?;
        return Ok(Some(signal::unheeded(&deaf.program, deaf.ignored, number)));
    }
    if !in_time(over, patience.unwrap_or(DEFAULT_TIMEOUT)).await {
        end(core, container, run).await?;
    }
    Ok(None)
}

/// Whether it ended within so many seconds; negative is for ever.
async fn in_time(over: oneshot::Receiver<WaitResult>, seconds: i64) -> bool {
    match u64::try_from(seconds) {
        Ok(seconds) => timeout(Duration::from_secs(seconds), over).await.is_ok(),
        Err(_) => {
            let _ = over.await;
            true
        }
    }
}

/// Stops a container if it runs, and starts it. Gives what [`stop`] gives.
pub(crate) async fn restart(
    core: &Arc<Core>,
    name: &str,
    timeout: Option<i64>,
    text: Option<&str>,
) -> Result<Option<String>> {
    let container = core.registry().find(name)?;
    // Docker's kind of error, whatever went wrong.
    let refused = |e: Error| e.prefixed(format_args!("Cannot restart container {name}")).with_kind(ErrorKind::System);
    let kept = container.kept();
    let mut note = None;
    if container.status().is_up() {
        note = finish(core, &container, timeout, text).await.map_err(refused)?;
    }
    let started = match container.start().await {
        // Somebody else was faster.
        Err(e) if e.kind() == ErrorKind::NotModified => Ok(()),
        other => other,
    };
    if started.is_ok() {
        core.events.container(&container.record(), "restart", &[]);
    }
    drop(kept);
    // It may also have ended again at once, while this kept it.
    if container.record().host.auto_remove && container.status() == Status::Exited {
        // What its end would have done.
        let _ = container.remove(true).await;
    }
    started.map_err(refused).map(|()| note)
}

/// Removes a container; a running one is killed first if `force`. One that can't be killed is dead from then on, and goes
/// as soon as it ends. One that somebody starts meanwhile is killed, too.
pub(crate) async fn remove(core: &Arc<Core>, name: &str, force: bool, volumes: bool) -> Result<()> {
    let container = core.registry().find(name)?;
    let mut rounds = 0;
    loop {
        rounds += 1;
        match remove_now(core, &container, force, volumes).await {
            Err(e)
                if force
                    && rounds < MAX_REMOVE_ROUNDS
                    && e.kind() == ErrorKind::Conflict
                    && container.status().is_up() => {}
            other => return other,
        }
    }
}

async fn remove_now(core: &Arc<Core>, container: &Arc<Container>, force: bool, volumes: bool) -> Result<()> {
    let removed = container.wait(WaitCondition::Removed)?;
    let auto = container.record().host.auto_remove;
    let run = match force {
        true if container.status().is_up() => by_hand(container, true).await?.run,
        // It could not be killed before.
        true => container.shared().dying(),
        false => None,
    };
    if let Some(run) = run {
        if let Err(e) = end(core, container, run).await {
            match container.doom(run, volumes).await {
                // It has ended meanwhile, and its own removal came first.
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            if container.status() == Status::Dead {
                let name = container.record().name;
                let e = e.prefixed(format!("cannot remove container \"/{name}\": could not kill"));
                return Err(e.advised("it is removed as soon as it ends"));
            }
            return Ok(());
        }
        if container.record().doomed.is_some() {
            return own_removal(container, removed).await;
        }
    }
    match container.remove(volumes).await {
        // Its own removal came first.
        Err(e) if e.kind() == ErrorKind::NotFound && auto => own_removal(container, removed).await,
        other => other,
    }
}

/// Waits for the removal that a container does by itself at its end.
async fn own_removal(container: &Container, removed: oneshot::Receiver<WaitResult>) -> Result<()> {
    let name = || format!("cannot remove container \"/{}\"", container.record().name);
    match timeout(MAX_OWN_REMOVAL, removed).await {
        Ok(Ok(WaitResult { error: Some(why), .. })) => Err(Error::system(format!("{}: {why}", name()))),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::unavailable(format!("{}: its removal is under way and takes long", name()))),
    }
}
