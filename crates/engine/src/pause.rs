//! `pause` and `unpause`: all processes of a container stand still, and go on.
//!
//! The kernel knows which groups stand still, so nothing is written: a daemon that comes back asks it. Pauses, unpauses
//! and commits of one container come one after the other ([`Container::standing`]). A signal waits for none of them,
//! because it may have to end the container: it takes `paused` away, then thaws. Whoever pauses looks at its mark again
//! when the processes stand still, and thaws them if it is gone. So whatever the order, the thaw is the last.

use crate::container::{Container, Held, Live};
use crate::core::{Core, blocking};
use crate::record::Record;
use dhow_cgroup::Group;
use dhow_types::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Makes a container stand still. Who calls this must bring it to its end.
pub(crate) async fn pause(core: &Arc<Core>, name: &str) -> Result<()> {
    let container = core.registry().find(name)?;
    let _alone = container.standing.write().await;
    container.between_runs()?;
    let (generation, _held) = mark(&container)?;
    container.changed();
    let frozen = freeze(core, &container, true).await;
    // It goes before its end is told.
    let gone = frozen.is_err() && is_gone(core, &container).await;
    let goes_on = {
        let mut shared = container.shared();
        let live = shared.run().filter(|live| live.generation == generation && !live.killed);
        match (&frozen, live) {
            (Ok(()), Some(live)) if live.paused => {
                let record = shared.record.clone();
                drop(shared);
                core.events.container(&record, "pause", &[]);
                return Ok(());
            }
            (Err(e), Some(live)) => {
                live.paused = false;
                if gone {
                    return Err(container.not_running());
                }
                return Err(e.clone().prefixed(format_args!("cannot pause container {}", container.id)));
            }
            // A signal came in between.
            (_, live) => live.is_some(),
        }
    };
    if frozen.is_ok()
        && let Err(e) = freeze(core, &container, false).await
        && !is_gone(core, &container).await
    {
        // It stands still as before: whoever looks sees it, and may try again.
        let stays = container.shared().of_run(generation).map(|live| live.paused = !live.killed).is_some();
        let e = e.prefixed(format_args!("cannot let container {} go on after a signal", container.id));
        if !stays {
            tracing::warn!("{e}");
            return Err(container.not_running());
        }
        container.changed();
        return Err(e);
    }
    // One that goes on was paused, and unpaused by the signal.
    if goes_on { Ok(()) } else { Err(container.not_running()) }
}

/// Takes a run that is to stand still. While the guard lives, no later one begins: its group has the same name, and must
/// not be stopped in the middle of its start.
pub(crate) fn mark(container: &Arc<Container>) -> Result<(u64, Held)> {
    let generation = {
        let mut shared = container.shared();
        let live = shared.run().filter(|live| !live.killed).ok_or_else(|| container.not_running())?;
        if live.paused {
            return Err(Error::conflict(format!("container {} is already paused", container.id)));
        }
        live.paused = true;
        live.generation
    };
    let held = container.hold(generation).ok_or_else(|| container.not_running())?;
    Ok((generation, held))
}

/// Lets a container go on.
pub(crate) async fn unpause(core: &Arc<Core>, name: &str) -> Result<()> {
    let container = core.registry().find(name)?;
    let _alone = container.standing.write().await;
    match thaw(core, &container, None).await {
        // Docker's kind of error.
        Ok(false) => Err(Error::system(format!("Container {} is not paused", container.id))),
        Ok(true) => {
            core.events.container(&container.record(), "unpause", &[]);
            Ok(())
        }
        Err(e) => Err(e.prefixed(format_args!("Cannot unpause container {}", container.id))),
    }
}

/// Thaws a container that is paused, if it is in this run; false if it is not.
pub(crate) async fn thaw(core: &Arc<Core>, container: &Arc<Container>, run: Option<u64>) -> Result<bool> {
    let generation = {
        let mut shared = container.shared();
        let meant = |live: &&mut Live| live.paused && run.is_none_or(|run| live.generation == run);
        let Some(live) = shared.run().filter(meant) else { return Ok(false) };
        live.paused = false;
        live.generation
    };
    // The next run's group has the same name.
    let Some(_held) = container.hold(generation) else { return Ok(true) };
    container.changed();
    let done = freeze(core, container, false).await;
    if let Err(e) = done {
        // It ended meanwhile, or it stands still as before.
        let mut shared = container.shared();
        let Some(live) = shared.run().filter(|live| live.generation == generation) else { return Ok(true) };
        live.paused = true;
        return Err(e);
    }
    Ok(true)
}

/// Whether a running container was paused when an earlier daemon left it, as the kernel has it.
pub(crate) async fn found(core: &Arc<Core>, container: &Arc<Container>) -> bool {
    let (core, record) = (core.clone(), container.record());
    let asked = blocking(move || match record.cgroup {
        Some(_) => group(&core, &record)?.is_paused(),
        None => Ok(false),
    });
    asked.await.unwrap_or_else(|e| {
        tracing::warn!("container {}: ask whether it is paused: {e}", container.id.short());
        false
    })
}

/// The control group of a container.
pub(crate) fn group(core: &Core, record: &Record) -> Result<Group> {
    let missing = || Error::new(ErrorKind::Unavailable, "it has no control group");
    Group::open(&core.layout, record.cgroup.as_ref().ok_or_else(missing)?)
}

async fn is_gone(core: &Arc<Core>, container: &Container) -> bool {
    let (core, record) = (core.clone(), container.record());
    record.cgroup.is_some() && blocking(move || group(&core, &record)).await.is_err()
}

async fn freeze(core: &Arc<Core>, container: &Container, on: bool) -> Result<()> {
    let (core, record) = (core.clone(), container.record());
    blocking(move || group(&core, &record)?.freeze(on)).await
}
