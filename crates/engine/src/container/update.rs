//! `update`: other limits and another restart policy for a container, at once if it runs.
//!
//! The kernel is told first, by the shim, which owns the group; then the record is written. If either fails, the shim sets
//! all limits to what the kernel had before, and the record stays as it was.

use super::{Container, keep, prepare};
use crate::config::{Resources, RestartPolicy};
use crate::core::{Core, blocking, random};
use crate::machine;
use crate::pause;
use crate::plan::update::{self, Change};
use crate::view::Status;
use dhow_shim::protocol::{Reply, Request};
use dhow_types::{Error, Result};
use std::sync::Arc;

/// The protocol of the first shims that change limits.
const CAN_UPDATE: u32 = 2;

/// What is to change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) limits: Resources,
    pub(crate) policy: Option<RestartPolicy>,
}

/// Changes it, and gives the warnings.
pub(super) async fn update(core: &Arc<Core>, me: &Arc<Container>, wanted: Wanted) -> Result<Vec<String>> {
    let cannot = |e: Error| e.prefixed(format_args!("Cannot update container {}", me.id));
    let mut record = me.record();
    if matches!(record.state.status, Status::Removing | Status::Dead) {
        return Err(cannot(Error::conflict("container is marked for removal and cannot be \"update\"")));
    }
    let change = update::limits(&record.host.resources, &wanted.limits, &core.facts).map_err(cannot)?;
    if let Some(policy) = wanted.policy {
        update::policy(&policy, record.host.auto_remove).map_err(cannot)?;
        record.host.restart_policy = policy;
    }
    record.host.resources = change.merged.clone();
    // Names this change, so that none but this is taken back, whoever made the last one.
    let number = random()?.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte));
    let live = record.state.status == Status::Running && !change.is_empty();
    let mut warnings = change.warnings.clone();
    if live {
        match tell(me, &change, number).await {
            Ok(more) => warnings.extend(more),
            Err(e) => {
                let e = explained(core, me, e, change.merged.memory).await;
                // Nothing is left to do for a shim that answered; one that did not may be at it still.
                back(me, number).await;
                return Err(cannot(e));
            }
        }
    }
    let durability = prepare::durability(&record.host);
    if let Err(e) = keep::keep(core, record.clone(), durability).await {
        if live {
            back(me, number).await;
        }
        return Err(cannot(e));
    }
    let mut shared = me.shared();
    shared.record.host.resources = record.host.resources;
    shared.record.host.restart_policy = record.host.restart_policy;
    Ok(warnings)
}

async fn tell(me: &Container, change: &Change, number: u64) -> Result<Vec<String>> {
    let link = me.running()?;
    if me.shared().live.as_ref().is_some_and(|live| live.protocol < CAN_UPDATE) {
        return Err(Error::unavailable("it was started by an older dhow: restart the container to use this"));
    }
    let resources = Box::new(change.of(&change.merged, &machine::numbers)?);
    match link.call(Request::Update { resources, number, back: false }, Vec::new()).await? {
        Reply::Updated { warnings } => Ok(warnings),
        _ => Err(Error::system("the shim gave an answer to another question")),
    }
}

/// Has a change taken back, if it was made.
async fn back(me: &Container, number: u64) {
    let taken = match me.running() {
        Ok(link) => link.call(Request::Update { resources: Box::default(), number, back: true }, Vec::new()).await,
        // Its limits went with it.
        Err(_) => return,
    };
    if let Err(e) = taken {
        tracing::warn!("container {}: set its old limits again: {e}", me.id.short());
    }
}

/// The kernel says only "busy" to a limit below what is in use.
async fn explained(core: &Arc<Core>, me: &Container, error: Error, limit: i64) -> Error {
    let (core, record) = (core.clone(), me.record());
    let used = blocking(move || Ok(pause::group(&core, &record)?.stats()?.memory.map_or(0, |m| m.usage))).await;
    match used {
        Ok(used) if limit > 0 && used > limit as u64 => {
            let text = format!("{}: it uses {} MiB of memory now, which is more", error.text(), used >> 20);
            error.with_text(text)
        }
        _ => error,
    }
}
