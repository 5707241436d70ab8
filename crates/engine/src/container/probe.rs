//! One health check: the program that runs in the container, and what came of it.
//!
//! The shim keeps its output and ends it in time, so nothing here holds a descriptor or a timer for that.

use super::health::{Phase, phase};
use super::{Container, Shared};
use crate::config::ExecRequest;
use crate::core::{Core, blocking, random};
use crate::exec;
use crate::link::Link;
use crate::plan::health::{self as rules, Check, MAX_OUTPUT};
use crate::view::Probe;
use dhow_shim::protocol::{Capture, Captured, Exec, ExecSeccomp, Request};
use dhow_types::{Digest, Result};
use jiff::Timestamp;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

/// Checks that run at once, of all containers.
pub(crate) const MAX_AT_ONCE: usize = 16;
/// How much later than its time a check must have ended: the kernel may need a while to kill it, and what it left in
/// its pipes is read.
const MAX_OVER: Duration = Duration::from_secs(10);

/// How a check ended, from the shim.
type End = (i32, Captured);

/// The check that runs in a container.
#[derive(Debug)]
pub(super) struct Slot {
    exec_id: String,
    end: oneshot::Sender<End>,
}

/// A check that was killed and has not ended.
#[derive(Debug)]
pub(super) struct Hanging(oneshot::Receiver<End>);

/// What came of one.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) probe: Probe,
    /// How long after the container's start it began.
    pub(super) since_start: Duration,
    /// It hangs.
    pub(super) left: Option<Hanging>,
}

/// Takes the end of an exec if it is the check's.
pub(super) fn heard(shared: &mut Shared, exec_id: &str, exit_code: i32, captured: Captured) {
    if shared.probe.as_ref().is_some_and(|slot| slot.exec_id == exec_id)
        && let Some(slot) = shared.probe.take()
    {
        let _ = slot.end.send((exit_code, captured));
    }
}

/// Makes a check. `None` if the run was paused or ended meanwhile.
pub(super) async fn make(
    core: &Arc<Core>,
    me: &Arc<Container>,
    generation: u64,
    check: &Check,
    hanging: Option<Hanging>,
    since_start: &(dyn Fn() -> Duration + Send + Sync),
) -> Option<Outcome> {
    let runs = || phase(me, generation) == Phase::Runs;
    // Place first, and nothing held that a pause waits for while others have all places.
    let (place, together) = loop {
        let place = core.probes.acquire().await.ok()?;
        match me.standing.try_read() {
            Ok(together) => break (place, together),
            Err(_) => drop(place),
        }
        drop(me.standing.read().await);
    };
    if !runs() {
        return None;
    }
    let (start, since_start) = (Timestamp::now(), since_start());
    let outcome = |exit_code, output, left| {
        let end = Timestamp::now().max(start);
        Some(Outcome { probe: Probe { start, end, exit_code, output }, since_start, left })
    };
    if let Some(Hanging(mut end)) = hanging
        && end.try_recv() == Err(TryRecvError::Empty)
    {
        let text = "the last health check was killed and has not ended: it hangs in the kernel";
        return outcome(-1, text.into(), Some(Hanging(end)));
    }
    let began = begin(core, me, generation, check).await;
    drop(together);
    let mut end = match began {
        Ok(end) => end,
        // One that has just ended refuses, too.
        Err(e) if runs() => return outcome(-1, e.text().into(), None),
        Err(_) => return None,
    };
    let late = Instant::now().checked_add(check.timeout + MAX_OVER);
    let mut place = Some(place);
    loop {
        let mut changed = pin!(me.changed.notified());
        changed.as_mut().enable();
        match phase(me, generation) {
            Phase::Over => return None,
            // It stands still like everything else. Its result will not count, and others may run.
            Phase::Paused => place = None,
            Phase::Runs => {}
        }
        let over = async {
            match late.filter(|_| place.is_some()) {
                Some(late) => tokio::time::sleep_until(late).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut end => {
                let (exit_code, captured) = ended.ok()?;
                // What was paused meanwhile may have failed for that alone.
                drop(place?);
                let (exit_code, output) = rules::outcome(check, exit_code, captured);
                return outcome(exit_code, output, None).filter(|_| runs());
            }
            () = over => return outcome(-1, rules::timed_out_text(check, ""), Some(Hanging(end))),
            () = &mut changed => {}
        }
    }
}

/// Starts it in this run and no other.
async fn begin(core: &Arc<Core>, me: &Arc<Container>, run: u64, check: &Check) -> Result<oneshot::Receiver<End>> {
    let exec_id = Digest::from_raw(random()?).hex();
    let request = ExecRequest { cmd: check.command.clone(), ..ExecRequest::default() };
    exec::tell(core, me, "exec_create", &exec_id, &check.command);
    exec::tell(core, me, "exec_start", &exec_id, &check.command);
    let (shared, same) = (core.clone(), me.clone());
    let process = blocking(move || exec::process(&shared, &same, run, &request, None)).await?;
    let launch = Exec {
        exec_id: exec_id.clone(),
        process,
        seccomp: ExecSeccomp::Inherit,
        open_stdin: false,
        attach: None,
        pid_file: None,
        capture: Some(Capture {
            limit: MAX_OUTPUT,
            timeout_ms: Some(u64::try_from(check.timeout.as_millis()).unwrap_or(u64::MAX)),
        }),
    };
    // Before the start, because its end may be told at once.
    let (link, end) = take(me, run, &exec_id)?;
    let started = link.call(Request::Exec(Box::new(launch)), Vec::new()).await;
    if started.is_err() {
        give_back(&mut me.shared(), &exec_id);
    }
    started.map(|_| end)
}

/// Makes a check the one that runs, unless the run is over or stands still.
pub(super) fn take(me: &Container, run: u64, exec_id: &str) -> Result<(Arc<Link>, oneshot::Receiver<End>)> {
    let mut shared = me.shared();
    let live = shared.run().filter(|live| live.generation == run && !live.paused);
    let link = live.ok_or_else(|| me.not_running())?.link.clone();
    let (tx, rx) = oneshot::channel();
    shared.probe = Some(Box::new(Slot { exec_id: exec_id.to_owned(), end: tx }));
    Ok((link, rx))
}

/// The check that runs is none any more; the next run's is left alone.
pub(super) fn give_back(shared: &mut Shared, exec_id: &str) {
    shared.probe.take_if(|slot| slot.exec_id == exec_id);
}
