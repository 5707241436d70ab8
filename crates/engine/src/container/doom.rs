//! A container that was to be removed by force and could not be killed: dead, until its shim reports its end.

use super::{Container, keep, remove};
use crate::core::Core;
use crate::record::Doomed;
use crate::view::Status;
use dhow_store::Durability;
use dhow_types::Result;
use std::sync::Arc;

/// Marks it, so that it goes with its end, also when another daemon sees that. The second value says that the run has
/// ended meanwhile and the container is gone.
pub(super) async fn doom(core: &Arc<Core>, me: &Arc<Container>, run: u64, volumes: bool) -> (Result<()>, bool) {
    let record = {
        let mut shared = me.shared();
        let runs = shared.of_run(run).is_some();
        runs.then(|| {
            shared.record.state.status = Status::Dead;
            // Whoever asked for the volumes to go gets that.
            let before = shared.record.doomed.is_some_and(|d| d.volumes);
            shared.record.doomed = Some(Doomed { volumes: volumes || before });
            shared.record.clone()
        })
    };
    match record {
        Some(record) => (keep::keep(core, record, Durability::Synced).await, false),
        None => {
            let result = remove::remove(core, me, volumes).await;
            let removed = result.is_ok();
            (result, removed)
        }
    }
}
