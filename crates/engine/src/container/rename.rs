//! `rename`: the new name is taken before the old one is given back, and stands on the disk in between.

use super::Container;
use crate::core::{Core, blocking};
use crate::plan::names;
use dhow_store::Durability;
use dhow_types::{Error, Result};
use std::sync::Arc;

/// Gives a container another name.
pub(super) async fn rename(core: &Arc<Core>, me: &Arc<Container>, name: String) -> Result<()> {
    let mut record = me.record();
    if record.name == name {
        return Err(Error::invalid("Renaming a container with the same name as its current name"));
    }
    let refused = |e: Error| e.prefixed("Error when allocating new name");
    names::check_container(&name).map_err(refused)?;
    core.registry().reserve(&name, &me.id).map_err(refused)?;
    let old = std::mem::replace(&mut record.name, name.clone());
    // What a power cut takes anyway need not wait for the disk.
    let durability = if record.host.auto_remove { Durability::Lazy } else { Durability::Synced };
    let store = core.clone();
    let written = blocking(move || store.store.db().put_container(&record.row()?, durability)).await;
    let given_back = if written.is_ok() {
        me.shared().record.name = name;
        core.events.container(&me.record(), "rename", &[("oldName", &format!("/{old}"))]);
        old
    } else {
        name
    };
    core.registry().release(&given_back, &me.id);
    written
}
