//! When the daemon comes up: what ran with the machine, or is always to run, is started, a few at a time, those that join
//! another container's namespaces after that one.

use super::{Container, restart};
use crate::core::Core;
use crate::plan::modes;
use crate::record::Record;
use dhow_types::ContainerId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long one waits for those that it joins.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Begins, and does not wait for the end.
pub(crate) fn begin(core: &Arc<Core>) {
    let todo: Vec<(Arc<Container>, Record)> = core
        .registry()
        .all()
        .into_iter()
        .map(|container| (container.clone(), container.record()))
        .filter(|(_, record)| restart::is_left_to_do(record))
        .collect();
    let mut told = HashMap::new();
    let mut done: HashMap<ContainerId, watch::Receiver<()>> = HashMap::new();
    for (container, _) in &todo {
        let (tx, rx) = watch::channel(());
        told.insert(container.id.clone(), tx);
        done.insert(container.id.clone(), rx);
    }
    for (container, record) in todo {
        let before: Vec<_> = joined(core, &record).iter().filter_map(|id| done.get(id).cloned()).collect();
        let told = told.remove(&container.id);
        let core = core.clone();
        tokio::spawn(async move {
            let all = async {
                for mut one in before {
                    // Its end is told by letting go.
                    while one.changed().await.is_ok() {}
                }
            };
            // Those that join each other in a ring go on, and fail by themselves.
            let _ = tokio::time::timeout(MAX_WAIT, all).await;
            let turn = core.starts.acquire().await;
            if let Err(e) = container.go_on().await {
                tracing::warn!("start container {} with the daemon: {e}", container.id.short());
            }
            drop((turn, told));
        });
    }
}

/// The containers whose namespaces one joins.
fn joined(core: &Core, record: &Record) -> Vec<ContainerId> {
    let host = &record.host;
    let mut names = Vec::new();
    if let Ok(modes::Network::Container(name)) = modes::network(&host.network_mode) {
        names.push(name);
    }
    if let Ok(modes::Pid::Container(name)) = modes::pid(&host.pid_mode) {
        names.push(name);
    }
    if let Ok(modes::Ipc::Container(name)) = modes::ipc(&host.ipc_mode) {
        names.push(name);
    }
    let registry = core.registry();
    names.iter().filter_map(|name| Some(registry.find(name).ok()?.id.clone())).filter(|id| *id != record.id).collect()
}
