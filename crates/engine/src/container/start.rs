//! `start`: what comes before and after the shim's answer.

use super::prepare::{self, Prepared};
use super::restart::{self, Over};
use super::{By, Container, Live, Shared, exit, health, join, keep};
use crate::core::{Core, blocking};
use crate::events;
use crate::link::{Link, answer};
use crate::record::Marks;
use crate::view::Status;
use dhow_shim::protocol::{self, Reply};
use dhow_types::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long an earlier run's shim may take to leave.
const MAX_LEAVE: Duration = Duration::from_secs(10);
/// How long a start waits for clients that announced themselves.
const MAX_HAND_OVER: Duration = Duration::from_secs(2);

/// Starts the container. The second value says that it removed itself because it failed (auto_remove).
pub(super) async fn start(core: &Arc<Core>, me: &Arc<Container>, by: By) -> (Result<()>, bool) {
    if let Err(e) = may_start(me) {
        return (Err(e), false);
    }
    if let Err(e) = settle(me).await {
        // A start that nobody asked for is tried again.
        let removed = by == By::Itself && failed(core, me, &e, by).await;
        return (Err(e), removed);
    }
    let result = launch(core, me, by).await;
    let Err(e) = result else { return (Ok(()), false) };
    let removed = failed(core, me, &e, by).await;
    (Err(e), removed)
}

fn may_start(me: &Container) -> Result<()> {
    match me.status() {
        Status::Running if me.is_paused() => {
            Err(Error::conflict("cannot start a paused container, try unpause instead"))
        }
        Status::Running => Err(Error::new(ErrorKind::NotModified, format!("container {} is already running", me.id))),
        Status::Removing | Status::Dead => Err(marked()),
        // Its own removal failed, and is tried again by the next daemon.
        _ if me.shared().record.doomed.is_some() => Err(marked()),
        Status::Created | Status::Restarting | Status::Exited => Ok(()),
    }
}

fn marked() -> Error {
    Error::conflict("container is marked for removal and cannot be started")
}

/// Waits for the last run's shim to be gone (its cgroup has this run's name) and for clients on their way.
pub(super) async fn settle(me: &Container) -> Result<()> {
    let old = me.shared().live.take();
    if let Some(live) = old
        && tokio::time::timeout(MAX_LEAVE, live.link.closed()).await.is_err()
    {
        me.shared().live = Some(live);
        return Err(Error::unavailable(format!("the last run of container {} has not been cleaned up yet", me.id)));
    }
    // Nobody's signal to the last run's group must hit this one's.
    if !becomes(me, MAX_LEAVE, |shared| shared.holds == 0).await {
        return Err(Error::unavailable(format!(
            "the last run of container {} is still being killed, paused or unpaused",
            me.id
        )));
    }
    // A client that never comes must not hold up the others.
    becomes(me, MAX_HAND_OVER, |shared| shared.tickets == 0).await;
    Ok(())
}

/// Waits until something is so; false if it takes longer.
async fn becomes(me: &Container, most: Duration, is: impl Fn(&Shared) -> bool) -> bool {
    let so = async {
        loop {
            let changed = me.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is(&me.shared()) {
                return;
            }
            changed.await;
        }
    };
    tokio::time::timeout(most, so).await.is_ok()
}

async fn launch(core: &Arc<Core>, me: &Arc<Container>, by: By) -> Result<()> {
    let joins = join::joins(core, me).await?;
    let (mut record, clients) = {
        let mut shared = me.shared();
        shared.starting = true;
        (shared.record.clone(), std::mem::take(&mut shared.pending))
    };
    if by == By::Hand {
        record.marks = Marks::default();
        health::by_hand(&mut record.state);
        record.state.restart_count = 0;
    }
    let shared_core = core.clone();
    let Prepared { stream, record, unwritten, mut undo } =
        blocking(move || prepare::prepare(&shared_core, record, joins, clients)).await?;
    let (generation, report) = me.reporter(core);
    let launched = match Link::start(stream, report) {
        Err(e) => Err(e),
        Ok((link, first)) => answer(first).await.map(|reply| (link, reply)),
    };
    let (link, pid, started_at, warnings) = match launched {
        Ok((link, Reply::Launched { pid, started_at, warnings, .. })) => (link, pid, started_at, warnings),
        other => {
            // Tearing down speaks to the kernel: not on this thread.
            let _ = tokio::task::spawn_blocking(move || drop(undo)).await;
            return Err(other.err().unwrap_or_else(|| Error::system("the shim gave an answer to another question")));
        }
    };
    undo.keep();
    me.touch_image(core);
    for warning in warnings {
        tracing::warn!("container {}: {warning}", me.id.short());
    }
    let record = {
        let mut shared = me.shared();
        let marks = match by {
            By::Hand => Marks::default(),
            // Somebody may have left his meanwhile.
            By::Itself => shared.record.marks.clone(),
        };
        shared.record = record;
        shared.record.marks = marks;
        let state = &mut shared.record.state;
        state.pid = pid;
        state.started_at = started_at.parse().ok().or(state.started_at);
        state.exit_code = 0;
        state.oom_killed = false;
        shared.live = Some(Live::new(link, generation, protocol::VERSION));
        shared.agenda.restart = None;
        shared.starting = false;
        shared.record.clone()
    };
    events::begun(core, &record);
    health::begin(core, me);
    // It runs, and a next daemon should know.
    if let Some(durability) = unwritten
        && let Err(e) = keep::keep(core, record, durability).await
    {
        tracing::warn!("container {}: its start could not be recorded: {e}", me.id.short());
    }
    Ok(())
}

/// Records why a start failed. Exit codes are Docker's. True if the container removed itself.
async fn failed(core: &Arc<Core>, me: &Arc<Container>, error: &Error, by: By) -> bool {
    let record = {
        let mut shared = me.shared();
        shared.starting = false;
        // Their clients see the end of the stream.
        shared.pending.clear();
        let state = &mut shared.record.state;
        state.exit_code = match error.kind() {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::CommandNotExecutable => 126,
            _ => 128,
        };
        state.error = error.text().to_owned();
        state.pid = 0;
        shared.record.failed = true;
        shared.record.endpoint = None;
        let ran = !matches!(shared.record.state.status, Status::Created | Status::Exited);
        match (by, shared.record.state.status) {
            (By::Itself, _) => restart::plan(&mut shared, Over::Ended),
            // Who starts it by hand learns of the failure, and it is in his hands.
            (By::Hand, Status::Restarting) => {
                shared.record.marks.last = true;
                restart::plan(&mut shared, Over::Ended);
            }
            (By::Hand, _) => {}
        }
        let result = shared.record.result();
        match ran {
            true => shared.waits.exited(&result),
            false => shared.waits.did_not_start(&result),
        }
        shared.record.clone()
    };
    me.changed.notify_waiters();
    if record.host.auto_remove && record.state.status != Status::Restarting {
        return exit::remove_itself(core, me).await;
    }
    keep::note(core, me, record).await;
    false
}
