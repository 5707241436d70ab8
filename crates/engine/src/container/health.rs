//! The health of a container that has a check: a small task beside the container's own waits, runs the check
//! ([`super::probe`]) and tells the result to the container's task, which alone changes the record.
//!
//! ```text
//!   start, take-up ──► monitor: wait ──► check ──► Command::Probed ──► judged: record, status, who waits
//!                         ▲                │
//!                         └────────────────┘      ends with the run; a pause begins the wait anew
//! ```
//!
//! What a result means is decided in [`crate::plan::health`]. Containers without a check have nothing of this.

use super::probe::{self, Hanging, Outcome};
use super::{Command, Container, keep};
use crate::core::Core;
use crate::plan::health::{self as rules, Check};
use crate::record::Record;
use crate::stop;
use crate::view::{HealthStatus, HealthView, Probe, StateView};
use jiff::Timestamp;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The protocol of the first shims that keep a check's output.
const CAN_CHECK: u32 = 2;

/// A result on its way to the container's task.
#[derive(Debug)]
pub(super) struct Probed {
    generation: u64,
    check: Arc<Check>,
    probe: Probe,
    since_start: Duration,
    /// Dropped when it was taken.
    _taken: oneshot::Sender<()>,
}

/// Where a run is, as far as its checks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Runs,
    Paused,
    Over,
}

pub(super) fn phase(me: &Container, generation: u64) -> Phase {
    match me.shared().run().filter(|live| live.generation == generation) {
        None => Phase::Over,
        Some(live) if live.paused => Phase::Paused,
        Some(_) => Phase::Runs,
    }
}

/// Puts the health of a run that begins into its record: nothing is known yet.
pub(super) fn fresh(record: &mut Record) {
    let known = record.state.health.take();
    record.state.health = rules::resolve(&record.config).map(|_| HealthView {
        status: HealthStatus::Starting,
        failing_streak: 0,
        ..known.unwrap_or_default()
    });
}

/// Somebody starts it: how often it was restarted for its health's sake is forgotten.
pub(super) fn by_hand(state: &mut StateView) {
    if let Some(health) = &mut state.health {
        health.restarts = 0;
    }
}

/// What stands there for one that does not run.
pub(super) fn over(state: &mut StateView) {
    if let Some(health) = &mut state.health {
        // As in Docker, whose clients may count on it.
        health.status = HealthStatus::Unhealthy;
    }
}

/// Begins to check a container that runs, if it has a check.
pub(super) fn begin(core: &Arc<Core>, me: &Arc<Container>) {
    let (check, generation, protocol, started_at) = {
        let mut shared = me.shared();
        let Some(check) = rules::resolve(&shared.record.config) else { return };
        let started_at = shared.record.state.started_at;
        shared.record.state.health.get_or_insert_default();
        let Some(live) = shared.run() else { return };
        (Arc::new(check), live.generation, live.protocol, started_at)
    };
    if protocol < CAN_CHECK {
        return cannot(me);
    }
    // A clock that was set back makes this a moment in the future: then it starts now.
    let age = started_at.and_then(|at| Duration::try_from(Timestamp::now().duration_since(at)).ok());
    let started = Started { seen: Instant::now(), age: age.unwrap_or_default() };
    tokio::spawn(monitor(core.clone(), me.clone(), generation, check, started));
}

/// Says that an older shim can't do it. The container is no worse for that.
fn cannot(me: &Container) {
    let now = Timestamp::now();
    let output = "not checked: the container was started by an older dhow; restart it, and it will be".into();
    if let Some(health) = &mut me.shared().record.state.health {
        (health.status, health.failing_streak) = (HealthStatus::Starting, 0);
        health.log = vec![Arc::new(Probe { start: now, end: now, exit_code: -1, output })];
    }
}

/// When the run began, by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
struct Started {
    seen: Instant,
    age: Duration,
}

impl Started {
    fn ago(&self) -> Duration {
        self.age + self.seen.elapsed()
    }
}

async fn monitor(core: Arc<Core>, me: Arc<Container>, generation: u64, check: Arc<Check>, started: Started) {
    let mut hanging: Option<Hanging> = None;
    loop {
        let status = me.shared().record.state.health.as_ref().map(|h| h.status).unwrap_or_default();
        if !rest(&me, generation, rules::next_wait(&check, status, started.ago())).await {
            return;
        }
        let ago = || started.ago();
        // Boxed, because a monitor waits for most of its life.
        let Some(Outcome { probe, since_start, left }) =
            Box::pin(probe::make(&core, &me, generation, &check, hanging.take(), &ago)).await
        else {
            continue;
        };
        hanging = left;
        let (_taken, taken) = oneshot::channel();
        let probed = Probed { generation, check: check.clone(), probe, since_start, _taken };
        if me.queue.send(Box::new(Command::Probed(Box::new(probed)))).await.is_err() {
            return;
        }
        let _ = taken.await;
    }
}

/// Waits so long while it runs; a pause begins the time anew. False when the run is over.
async fn rest(me: &Container, generation: u64, time: Duration) -> bool {
    loop {
        let mut changed = pin!(me.changed.notified());
        changed.as_mut().enable();
        match phase(me, generation) {
            Phase::Over => return false,
            Phase::Paused => {
                changed.await;
                continue;
            }
            Phase::Runs => {}
        }
        let mut due = pin!(tokio::time::sleep(time));
        loop {
            tokio::select! {
                () = &mut due => return true,
                () = &mut changed => {}
            }
            if phase(me, generation) != Phase::Runs {
                break;
            }
            changed.set(me.changed.notified());
            changed.as_mut().enable();
        }
    }
}

/// Takes a result.
pub(super) async fn judged(core: &Arc<Core>, me: &Arc<Container>, probed: Probed) {
    let Probed { generation, check, probe, since_start, _taken } = probed;
    let (record, changed, again) = {
        let mut shared = me.shared();
        if shared.run().is_none_or(|live| live.generation != generation || live.paused) {
            return;
        }
        let Some(health) = &mut shared.record.state.health else { return };
        let streak = health.failing_streak;
        let changed = rules::judge(&check, health, probe, since_start);
        // A daemon that comes back goes on from here. What can't change the next answer is not written.
        let counts = streak != health.failing_streak && health.failing_streak <= check.retries;
        if !changed && !counts {
            return;
        }
        let wanted = rules::restarts(&shared.record.host).ok().flatten();
        let again = changed && rules::is_restarted(wanted, &mut shared.record.state.health);
        (shared.record.clone(), changed, again)
    };
    keep::note(core, me, record.clone()).await;
    if changed && let Some(health) = &record.state.health {
        core.events.container(&record, format!("health_status: {}", health.status.as_str()), &[]);
    }
    if again {
        let (core, me) = (core.clone(), me.clone());
        // The stop may take its whole timeout, and the task must hear the end meanwhile.
        tokio::spawn(async move {
            if let Err(e) = stop::request_restart(&core, &me, generation, HealthStatus::Unhealthy.as_str()).await {
                tracing::warn!("container {}: restart it because it is unhealthy: {e}", me.id.short());
            }
        });
    }
}
