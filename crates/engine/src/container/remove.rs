//! `remove`: the name is free and the rest is on its way out when this returns.

use super::Container;
use crate::core::{Core, blocking};
use crate::plan::mounts::Source;
use crate::record::Record;
use crate::view::Status;
use crate::volumes;
use dhow_types::{Error, Result};
use std::sync::Arc;

/// Removes a container that does not run, with its anonymous volumes if `with_volumes`.
pub(super) async fn remove(core: &Arc<Core>, me: &Arc<Container>, with_volumes: bool) -> Result<()> {
    let (record, before) = {
        let mut shared = me.shared();
        let before = shared.record.state.status;
        if before.is_up() {
            let why = match shared.run().is_some_and(|live| live.paused) {
                true => "paused and must be unpaused first".to_owned(),
                false => format!("{}: stop the container before removing or force remove", before.as_str()),
            };
            let name = &shared.record.name;
            return Err(Error::conflict(format!("cannot remove container \"/{name}\": container is {why}")));
        }
        shared.record.state.status = Status::Removing;
        (shared.record.clone(), before)
    };
    // From here on a crash leaves directories without a row, which start-up removes.
    if let Err(e) = core.store.db().delete_container(me.id.as_str()) {
        me.shared().record.state.status = before;
        return Err(e);
    }
    core.registry().remove(&me.id, &record.name);
    core.execs.container_removed(&me.id);
    me.touch_image(core);
    core.budget.changed();
    {
        let mut shared = me.shared();
        shared.pending.clear();
        let result = shared.result();
        shared.waits.removed(&result);
    }
    let mut failures = Vec::new();
    if with_volumes {
        for name in anonymous(core, &record) {
            let core = core.clone();
            let removed = blocking(move || volumes::remove(&core.dirs, &core.store, &core.trash, &name)).await;
            failures.extend(removed.err());
        }
    }
    let dir = core.dirs.container(&me.id);
    failures.extend(core.trash.discard(&dir).err());
    if let Some(data) = record.root.data().filter(|d| **d != dir) {
        failures.extend(core.trash.discard(data).err());
    }
    for e in failures {
        tracing::warn!("remove container {}: {e}", me.id.short());
    }
    Ok(())
}

/// The container's anonymous volumes that no other container uses.
fn anonymous(core: &Core, record: &Record) -> Vec<String> {
    let names = |r: &Record| -> Vec<String> {
        r.mounts
            .iter()
            .filter_map(|(m, _)| match &m.source {
                Source::Volume { name, .. } => name.clone(),
                _ => None,
            })
            .collect()
    };
    let mine: Vec<String> = record
        .mounts
        .iter()
        .filter_map(|(m, _)| match &m.source {
            Source::Volume { name, anonymous: true, .. } => name.clone(),
            _ => None,
        })
        .collect();
    if mine.is_empty() {
        return mine;
    }
    let others: Vec<String> = core.registry().all().iter().flat_map(|c| names(&c.shared().record)).collect();
    mine.into_iter().filter(|n| !others.contains(n)).collect()
}
