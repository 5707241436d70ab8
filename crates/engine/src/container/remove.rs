//! `remove`: the name is free and the rest is on its way out when this returns.

use super::{Container, keep};
use crate::core::{Core, blocking};
use crate::plan::mounts::{Mount, Source};
use crate::record::Record;
use crate::view::{Status, WaitResult};
use dhow_types::{Error, Result};
use std::sync::Arc;

/// Removes a container that does not run, with its anonymous volumes if `with_volumes`.
pub(super) async fn remove(core: &Arc<Core>, me: &Arc<Container>, with_volumes: bool) -> Result<()> {
    let (record, before) = {
        let mut shared = me.shared();
        let before = shared.record.state.status;
        if shared.ends() {
            let name = &shared.record.name;
            return Err(Error::conflict(format!(
                "cannot remove container \"/{name}\": container is dead: it could not be killed, and is removed as soon as it ends"
            )));
        }
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
    if let Err(e) = keep::forget(core, &me.id).await {
        me.shared().record.state.status = before;
        return Err(e);
    }
    core.registry().remove(&me.id, &record.name);
    core.execs.container_removed(&me.id);
    me.touch_image(core);
    core.budget.changed();
    core.events.container(&record, "destroy", &[]);
    {
        let mut shared = me.shared();
        shared.pending.clear();
        // Whatever failed before: this did not.
        let result = WaitResult { code: i64::from(record.state.exit_code), error: None };
        shared.waits.removed(&result);
    }
    let mut failures = Vec::new();
    if with_volumes {
        for name in anonymous(&record) {
            let core = core.clone();
            // A container that is being made may have taken it over meanwhile.
            let removed = blocking(move || core.volumes.remove_if(&core, &name, &|| unused(&core, &name))).await;
            failures.extend(removed.err());
        }
    }
    let (shared, dir) = (core.clone(), core.dirs.container(&me.id));
    let data = record.root.data().filter(|d| **d != dir).cloned();
    let dirs = std::iter::once(dir).chain(data);
    let discarded =
        blocking(move || Ok(dirs.filter_map(|dir| shared.trash.discard(&dir).err()).collect::<Vec<_>>())).await;
    failures.extend(discarded.unwrap_or_else(|e| vec![e]));
    for e in failures {
        tracing::warn!("remove container {}: {e}", me.id.short());
    }
    Ok(())
}

/// The container's anonymous volumes.
fn anonymous(record: &Record) -> Vec<String> {
    let name = |mount: &Mount| match &mount.source {
        Source::Volume { name, anonymous: true, .. } => name.clone(),
        _ => None,
    };
    record.mounts.iter().filter_map(|(mount, _)| name(mount)).collect()
}

/// Whether no container has the volume, nor is one being made with it.
fn unused(core: &Core, volume: &str) -> bool {
    let has = |record: &Record| {
        record.mounts.iter().any(|(m, _)| matches!(&m.source, Source::Volume { name: Some(n), .. } if n == volume))
    };
    // In this order: what is held becomes a container before it is let go.
    if core.holds.volume(volume) {
        return false;
    }
    let all = core.registry().all();
    !all.iter().any(|c| has(&c.shared().record))
}
