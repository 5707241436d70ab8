//! What a shim reports: the end of a container, or its own.

use super::restart::{self, Over};
use super::{Container, health, keep, remove};
use crate::core::{Core, blocking};
use crate::events::{self, Told};
use crate::link::Report;
use crate::logs::packer;
use crate::record::Record;
use crate::view::{StateView, Status};
use dhow_cgroup::Group;
use dhow_shim::protocol::{Event, ExitStatus};
use dhow_types::{ContainerId, Result};
use jiff::Timestamp;
use std::io::Read;
use std::sync::Arc;

/// The exit code of a container whose shim was lost: as if it had been killed, which it was.
const LOST: i32 = 137;
/// Largest exit file.
const MAX_EXIT_FILE: u64 = 64 << 10;

/// Takes a report. True if the container is gone with it.
pub(super) async fn report(core: &Arc<Core>, me: &Arc<Container>, generation: u64, report: Report) -> bool {
    let current = me.shared().live.as_ref().is_some_and(|l| l.generation == generation);
    match report {
        _ if !current => false,
        Report::Event(Event::Exited(status)) => ended(core, me, status, Over::Ended, Told::START).await,
        Report::Event(Event::OomKilled) => {
            me.shared().record.state.oom_killed = true;
            core.events.container(&me.record(), "oom", &[]);
            false
        }
        Report::Event(Event::LogTurned) => {
            packer::pack_soon(core, &me.id);
            false
        }
        Report::Event(Event::Detached { exec_id }) => {
            let id = exec_id.unwrap_or_default();
            let more = [("execID", id.as_str())];
            let (action, more) = if id.is_empty() { ("detach", &more[..0]) } else { ("exec_detach", &more[..]) };
            core.events.container(&me.record(), action, more);
            false
        }
        Report::Event(Event::ExecExited { .. }) => false,
        Report::Gone => {
            let was_running = matches!(me.status(), Status::Running | Status::Dead);
            me.shared().live = None;
            if !was_running {
                return false;
            }
            let (status, _) = recover(core, me).await;
            ended(core, me, status, Over::Ended, Told::START).await
        }
    }
}

/// How a container ended whose shim is no longer there: by its exit file, or killed with it.
pub(super) async fn recover(core: &Arc<Core>, me: &Arc<Container>) -> (ExitStatus, Over) {
    let (core, record) = (core.clone(), me.record());
    let done = blocking(move || {
        if let Some(status) = exit_file(&core, &record.id) {
            return Ok((status, Over::Ended));
        }
        // The kernel kills the container with its shim; what had left its process tree goes with the group.
        if let Some(path) = &record.cgroup
            && let Ok(group) = Group::open(&core.layout, path)
            && let Err(e) = group.kill_all().and_then(|()| group.delete())
        {
            tracing::warn!("container {}: remove its control group: {e}", record.id.short());
        }
        let _ = std::fs::remove_file(core.dirs.socket(&record.id));
        Ok((lost(record.state.pid), Over::Lost))
    });
    done.await.unwrap_or_else(|_| (lost(0), Over::Lost))
}

/// Whether one that is recorded as not running has run and ended since, before its start could be recorded.
pub(super) async fn unseen(core: &Arc<Core>, me: &Arc<Container>) -> bool {
    let (core, id) = (core.clone(), me.id.clone());
    let file = blocking(move || Ok(exit_file(&core, &id))).await.ok().flatten();
    file.is_some_and(|file| is_unseen(&me.record().state, &file))
}

/// Whether a file tells of a later run than the record does. That of the recorded run began before its end.
fn is_unseen(known: &StateView, file: &ExitStatus) -> bool {
    let began = file.started_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
    began.is_some_and(|at| known.finished_at.is_none_or(|end| at > end)) && !is_recorded(known, file)
}

/// Whether this end is the one that the record has. A clock that was set back during the run changes nothing of that.
pub(super) fn is_recorded(known: &StateView, file: &ExitStatus) -> bool {
    known.finished_at.is_some() && file.finished_at.parse().ok() == known.finished_at
}

fn lost(pid: i32) -> ExitStatus {
    ExitStatus {
        exit_code: LOST,
        signal: Some(9),
        oom_killed: false,
        started_at: None,
        finished_at: Timestamp::now().to_string(),
        pid,
        error: "the container's supervisor (shim) was killed, and the container with it".into(),
    }
}

fn exit_file(core: &Core, id: &ContainerId) -> Option<ExitStatus> {
    let file = std::fs::File::open(core.dirs.exit_file(id)).ok()?;
    let mut text = Vec::new();
    file.take(MAX_EXIT_FILE).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Records the end, frees what the run held, and tells those who wait, as far as that was not `told`. True if the
/// container removed itself.
pub(super) async fn ended(core: &Arc<Core>, me: &Arc<Container>, status: ExitStatus, over: Over, told: Told) -> bool {
    let (record, endpoint) = {
        let mut shared = me.shared();
        let state = &mut shared.record.state;
        state.pid = 0;
        health::over(state);
        state.exit_code = status.exit_code;
        state.oom_killed |= status.oom_killed;
        state.error.clone_from(&status.error);
        // A daemon that died in the middle of the start did not write it.
        state.started_at = status.started_at.and_then(|at| at.parse().ok()).or(state.started_at);
        state.finished_at = Some(status.finished_at.parse().unwrap_or_else(|_| Timestamp::now()));
        shared.record.failed = false;
        let endpoint = shared.record.endpoint.take();
        restart::plan(&mut shared, over);
        (shared.record.clone(), endpoint)
    };
    core.execs.container_ended(&me.id);
    match (told.start, over) {
        // Nobody knows whether it ran at all: nobody heard of it.
        (false, Over::Lost) => {}
        (begun, _) => {
            if !begun {
                events::begun(core, &record);
            }
            if !told.die {
                tell(core, &record);
            }
        }
    }
    me.touch_image(core);
    core.budget.changed();
    // Whoever learns of the end may want the ports at once. An address alone is not missed.
    let mut endpoint = endpoint;
    if endpoint.as_ref().is_some_and(|e| !e.ports.is_empty())
        && let Some(e) = endpoint.take()
    {
        let core = core.clone();
        warn(me, blocking(move || core.network.disconnect(&e)).await);
    }
    let again = record.state.status == Status::Restarting;
    let goes = record.doomed.is_some() || (record.host.auto_remove && !again && me.shared().restarts == 0);
    let removed = goes && remove_itself(core, me).await;
    if !goes {
        {
            let mut shared = me.shared();
            let result = shared.record.result();
            shared.waits.exited(&result);
        }
        // The exit file keeps the truth until this is written.
        keep::note(core, me, record.clone()).await;
    }
    let shm = core.dirs.shm(&me.id);
    let shareable = record.host.ipc_mode == "shareable";
    if endpoint.is_some() || shareable {
        let (core, id) = (core.clone(), me.id.clone());
        tokio::task::spawn_blocking(move || {
            let freed = endpoint.map_or(Ok(()), |e| core.network.disconnect(&e));
            let unmounted = if shareable { super::prepare::unmount_shm(&shm) } else { Ok(()) };
            for e in [freed, unmounted].into_iter().filter_map(Result::err) {
                tracing::warn!("clean up after container {}: {e}", id.short());
            }
        });
    }
    removed
}

/// Removes one that is to go with its end. True if it is gone. One that can't be removed stays as one that has ended,
/// and says why, also to all who wait: nothing more will come by itself before the next daemon.
pub(super) async fn remove_itself(core: &Arc<Core>, me: &Arc<Container>) -> bool {
    let record = me.record();
    let volumes = record.doomed.map(|d| d.volumes);
    if !record.host.auto_remove && volumes.is_none() {
        return false;
    }
    let Err(e) = remove::remove(core, me, volumes.unwrap_or(true)).await else { return true };
    tracing::warn!("container {}: remove it after its end: {e}", me.id.short());
    let record = {
        let mut shared = me.shared();
        shared.record.failed = true;
        shared.record.state.error = format!("it could not be removed after its end: {e}");
        let result = shared.record.result();
        shared.waits.removed(&result);
        shared.record.clone()
    };
    keep::note(core, me, record).await;
    false
}

/// That it is over, and what it gives back.
fn tell(core: &Core, record: &Record) {
    let (code, state) = (record.state.exit_code.to_string(), &record.state);
    let ran = match (state.started_at, state.finished_at) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs().max(0),
        _ => 0,
    };
    // Docker gives back first, then says that it died.
    events::takes(core, record, false);
    core.events.container(record, "die", &[("execDuration", &ran.to_string()), ("exitCode", &code)]);
}

fn warn(me: &Container, result: Result<()>) {
    if let Err(e) = result {
        tracing::warn!("container {}: {e}", me.id.short());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_end_nobody_has_seen() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (finished, began, ended, want) in [
            // It never ran before.
            (None, Some(10), 20, true),
            // The file of the run that is recorded, and the same with a clock that was set back meanwhile.
            (Some(20), Some(10), 20, false),
            (Some(20), Some(30), 20, false),
            // An older one, which a power cut brought back, and a later one.
            (Some(40), Some(10), 20, false),
            (Some(20), Some(30), 40, true),
            // An older shim does not tell.
            (None, None, 20, false),
        ] {
            let known = StateView { finished_at: finished.map(at), ..StateView::default() };
            let mut file = ExitStatus { started_at: began.map(|s| at(s).to_string()), ..lost(7) };
            file.finished_at = at(ended).to_string();
            assert_eq!(is_unseen(&known, &file), want, "{finished:?} {began:?} {ended}");
        }
    }
}
