//! What became of a container while no daemon was there: it runs on, it ended, or its shim was killed.

use super::restart::Over;
use super::{Container, Live, exit, health};
use crate::core::Core;
use crate::events::{self, Told};
use crate::link::{FIRST, Link, answer};
use crate::logs::packer;
use crate::pause;
use crate::record::Marks;
use crate::view::Status;
use dhow_shim::client::{connect, send_request};
use dhow_shim::protocol::{Reply, Request, State};
use dhow_types::Result;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A daemon that died in the middle of a start left a shim on its way: so long is it waited for.
const MAX_ON_ITS_WAY: Duration = Duration::from_secs(2);
/// Between two looks for its socket, which nothing announces.
const LOOK: Duration = Duration::from_millis(5);

/// Takes a container up. True if it removed itself, because it had ended (auto_remove).
pub(super) async fn take_up(core: &Arc<Core>, me: &Arc<Container>, told: Told) -> bool {
    let removed = find_out(core, me, told).await;
    // What is to be started is started when all are taken up.
    me.shared().agenda.restart = None;
    removed
}

async fn find_out(core: &Arc<Core>, me: &Arc<Container>, told: Told) -> bool {
    let (recorded, sent_at) = {
        let shared = me.shared();
        (shared.record.state.clone(), shared.record.sent_at)
    };
    let ran = matches!(recorded.status, Status::Running | Status::Dead);
    // Of one that was started, and not yet recorded as such, nothing was told.
    let told = if ran { told } else { Told::default() };
    packer::look(core, &me.id).await;
    let socket = core.dirs.socket(&me.id);
    loop {
        if socket.exists() {
            match link(core, me).await {
                // What ended and is recorded has only not gone yet.
                Ok(Some(state)) if !ran && state.exit.as_ref().is_some_and(|e| exit::is_recorded(&recorded, e)) => {
                    break;
                }
                Ok(Some(state)) => {
                    anew(me, recorded.status);
                    return running(core, me, state, told).await;
                }
                Ok(None) => {}
                Err(e) => tracing::debug!("container {}: its shim does not answer: {e}", me.id.short()),
            }
        }
        // Only a start of this very moment can still be on its way.
        let unknown = ran && !core.dirs.exit_file(&me.id).exists();
        if !unknown || !on_its_way(sent_at) {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    if !ran && !exit::unseen(core, me).await {
        // A socket without a shim is left by one that was killed.
        let _ = std::fs::remove_file(&socket);
        // One that removes itself is there after its end only while it is restarted, which nobody goes on with.
        return recorded.status == Status::Exited && exit::remove_itself(core, me).await;
    }
    anew(me, recorded.status);
    let (status, over) = exit::recover(core, me).await;
    exit::ended(core, me, status, over, told).await
}

/// There was a run since. One that had ended for good was started by hand, or as if: what was asked of the run before is
/// over with it.
fn anew(me: &Container, recorded: Status) {
    if recorded == Status::Exited {
        let record = &mut me.shared().record;
        (record.marks, record.state.restart_count) = (Marks::default(), 0);
        health::by_hand(&mut record.state);
    }
}

fn on_its_way(sent_at: Option<Timestamp>) -> bool {
    // A clock that was set back makes this a moment in the future: not now, either.
    let since = sent_at.and_then(|at| Duration::try_from(Timestamp::now().duration_since(at)).ok());
    since.is_some_and(|since| since < MAX_ON_ITS_WAY)
}

/// Connects to the shim, if one listens.
async fn link(core: &Arc<Core>, me: &Arc<Container>) -> Result<Option<State>> {
    let Ok(stream) = connect(&core.dirs.socket(&me.id)) else { return Ok(None) };
    send_request(&stream, FIRST, Request::Subscribe, &[])?;
    let (generation, report) = me.reporter(core);
    let (link, first) = Link::start(stream, report)?;
    match answer(first).await? {
        Reply::State(state) => {
            me.shared().live = Some(Live::new(link, generation, state.protocol));
            Ok(Some(state))
        }
        _ => Ok(None),
    }
}

async fn running(core: &Arc<Core>, me: &Arc<Container>, state: State, told: Told) -> bool {
    if let Some(status) = state.exit {
        return exit::ended(core, me, status, Over::Ended, told).await;
    }
    let paused = pause::found(core, me).await;
    let mut shared = me.shared();
    if let Some(live) = &mut shared.live {
        live.paused = paused;
    }
    let doomed = shared.record.doomed.is_some();
    let known = &mut shared.record.state;
    known.status = if doomed { Status::Dead } else { Status::Running };
    known.pid = state.pid;
    // Those of the run before, if this one's start was not recorded.
    known.exit_code = 0;
    known.started_at = state.started_at.parse().ok().or(known.started_at);
    known.error.clear();
    known.restarting = None;
    shared.record.failed = false;
    let record = shared.record.clone();
    drop(shared);
    if !told.start {
        events::begun(core, &record);
    }
    health::begin(core, me);
    false
}
