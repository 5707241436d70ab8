//! Starts that nobody asks for: after an end, as the restart policy says ([`crate::plan::restart`]), after the wait, and
//! when the daemon comes up.
//!
//! What is decided at an end is written before anything waits, so that a daemon that is killed meanwhile goes on where
//! it was. The wait itself is a moment in the task's [`super::timers::Agenda`].

use super::{By, Container, Seen, Shared, keep, start};
use crate::core::Core;
use crate::plan::restart::{self, End};
use crate::record::{Marks, Record};
use crate::view::{Restarting, Status};
use dhow_store::Durability;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one whose turn has not come waits before it looks again.
const TURN: Duration = Duration::from_millis(20);

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It ended, or could not begin.
    Ended,
    /// It went down with the machine, or with a supervisor that was killed while no daemon was there.
    Lost,
}

/// Writes into the record what comes after an end that was just recorded there: a wait for the next start, or nothing.
pub(super) fn plan(shared: &mut Shared, over: Over) {
    let record = &mut shared.record;
    let (state, marks) = (&mut record.state, &mut record.marks);
    let ran = match (over, state.started_at, state.finished_at) {
        (Over::Ended, Some(from), Some(to)) if state.status == Status::Running => to.duration_since(from),
        _ => SignedDuration::ZERO,
    };
    let end = End {
        code: state.exit_code,
        // A clock that was set back makes it negative.
        ran: Duration::try_from(ran).unwrap_or_default(),
        by_hand: marks.by_hand,
        last: marks.last,
        asked: marks.asked.is_some(),
        count: if over == Over::Lost { 0 } else { state.restart_count },
        waited: Duration::from_millis(marks.waited_ms),
    };
    // One that is to be removed by force goes with its end.
    let next = restart::decide(&record.host.restart_policy, &end).filter(|_| record.doomed.is_none());
    let Some(delay) = next else {
        (state.status, state.restarting) = (Status::Exited, None);
        shared.agenda.restart = None;
        return;
    };
    // Nothing of its own failed there: it need not wait, and Docker counts anew.
    let (delay, count) = match over {
        Over::Lost => (Duration::ZERO, 0),
        Over::Ended => (delay, state.restart_count + 1),
    };
    let delay_ms = delay.as_millis() as u64;
    marks.waited_ms = delay_ms;
    state.status = Status::Restarting;
    state.restart_count = count;
    let due = Timestamp::now().checked_add(SignedDuration::from_millis(delay_ms as i64)).ok();
    state.restarting = Some(Restarting { due, delay_ms, reason: marks.asked.take() });
    shared.agenda.restart = Some(Instant::now() + delay);
}

/// The wait is over: starts it, when it is its turn. A start that fails is tried again after a longer wait.
pub(super) async fn due(core: &Arc<Core>, me: &Arc<Container>) {
    if me.status() != Status::Restarting {
        return;
    }
    // Meanwhile the task does what somebody asks for.
    let Ok(_turn) = core.starts.try_acquire() else {
        me.shared().agenda.restart = Some(Instant::now() + TURN);
        return;
    };
    begin(core, me).await;
}

async fn begin(core: &Arc<Core>, me: &Arc<Container>) {
    let before = me.record().state.error;
    if let (Err(e), _) = start::start(core, me, By::Itself).await {
        // Once, not every minute.
        if e.text() != before {
            tracing::warn!("container {}: start it again: {e}", me.id.short());
        }
    }
}

/// The daemon has come up: goes on with a wait, or starts what ran or is always to run.
pub(super) async fn go_on(core: &Arc<Core>, me: &Arc<Container>) {
    let at_once = {
        let mut shared = me.shared();
        if !is_left_to_do(&shared.record) {
            return;
        }
        match &shared.record.state.restarting {
            Some(wait) => {
                let left = left(wait, Timestamp::now());
                shared.agenda.restart = Some(Instant::now() + left);
                left.is_zero()
            }
            None => {
                let record = &mut shared.record;
                (record.marks, record.state.restart_count) = (Marks::default(), 0);
                true
            }
        }
    };
    if at_once {
        begin(core, me).await;
    }
}

/// Whether a container that was taken up and does not run is to be started.
pub(super) fn is_left_to_do(record: &Record) -> bool {
    let state = &record.state;
    match state.status {
        Status::Restarting => true,
        Status::Exited => {
            let ran = state.started_at.is_some() || state.finished_at.is_some();
            ran && restart::at_start_up(&record.host.restart_policy, record.marks.by_hand)
        }
        _ => false,
    }
}

/// What is left of a wait. A clock that was set back does not make it longer.
fn left(wait: &Restarting, now: Timestamp) -> Duration {
    let left = wait.due.and_then(|due| Duration::try_from(due.duration_since(now)).ok()).unwrap_or_default();
    left.min(Duration::from_millis(wait.delay_ms))
}

/// Somebody sends a signal, and has left his marks: writes them, and with `last` ends a wait. Gives what there is then.
pub(super) async fn by_hand(core: &Arc<Core>, me: &Arc<Container>, last: bool) -> Seen {
    let (record, seen) = {
        let mut shared = me.shared();
        // A start may have come in between.
        shared.record.marks.note(last);
        if last && shared.record.state.status == Status::Restarting {
            shared.agenda.restart = None;
            let state = &mut shared.record.state;
            (state.status, state.restarting) = (Status::Exited, None);
            let result = shared.record.result();
            shared.waits.exited(&result);
        }
        (shared.record.clone(), shared.seen())
    };
    // A power cut must not bring back a service that somebody stopped.
    let synced = record.host.restart_policy.name == "unless-stopped";
    write(core, record, if synced { Durability::Synced } else { Durability::Lazy }).await;
    seen
}

/// It is to be started again when this run ends. False if that is over, or somebody wants its end.
pub(super) async fn again(core: &Arc<Core>, me: &Arc<Container>, run: u64, reason: &str) -> bool {
    let noted = note_again(me, run, reason);
    if noted {
        write(core, me.record(), Durability::Lazy).await;
    }
    noted
}

pub(super) fn note_again(me: &Container, run: u64, reason: &str) -> bool {
    let mut shared = me.shared();
    let meant = shared.seen().run == Some(run) && !shared.record.marks.last;
    if meant {
        shared.record.marks.asked = Some(reason.to_owned());
    }
    meant
}

async fn write(core: &Arc<Core>, record: Record, durability: Durability) {
    let id = record.id.clone();
    if let Err(e) = keep::keep(core, record, durability).await {
        tracing::warn!("container {}: {e}", id.short());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_goes_on_and_is_never_longer_than_it_was() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wait = Restarting { due: Some(at(100)), delay_ms: 60_000, reason: None };
        for (now, want) in [(90, 10), (40, 60), (100, 0), (500, 0), (0, 60)] {
            assert_eq!(left(&wait, at(now)), Duration::from_secs(want), "{now}");
        }
        assert_eq!(left(&Restarting::default(), at(0)), Duration::ZERO);
    }
}
