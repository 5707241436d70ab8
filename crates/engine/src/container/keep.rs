//! A container's record on its way to the disk. The database may have to wait for it (or for another write that does), so
//! that is done on a thread that may wait: the one that serves everybody never does. What belongs into a record, and when
//! it is written, is not decided here.

use super::Container;
use crate::core::{Core, blocking};
use crate::record::Record;
use dhow_store::Durability;
use dhow_types::{ContainerId, Result};
use std::sync::Arc;

/// Writes a record over what the disk has of it. Records of one container are written by its task, one after the other.
pub(super) async fn keep(core: &Arc<Core>, record: Record, durability: Durability) -> Result<()> {
    let core = core.clone();
    blocking(move || core.store.db().update_container(record.id.as_str(), &record.encode()?, durability)).await
}

/// The same, where a failure changes nothing of what is done: it is told in the daemon's log.
pub(super) async fn note(core: &Arc<Core>, me: &Container, record: Record) {
    if let Err(e) = keep(core, record, Durability::Lazy).await {
        tracing::warn!("container {}: {e}", me.id.short());
    }
}

/// Forgets a container.
pub(super) async fn forget(core: &Arc<Core>, id: &ContainerId) -> Result<()> {
    let (core, id) = (core.clone(), id.clone());
    blocking(move || core.store.db().delete_container(id.as_str())).await
}
