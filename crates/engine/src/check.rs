//! `system check`: the store's check, with what only the engine knows: which layers running containers use.

use crate::core::Core;
use crate::record::Record;
use crate::view::{CheckEvent, Status};
use dhow_store::{Checked, ContainerRow, Finding, Outcome, StoreConfig};
use dhow_types::{Digest, Result};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Findings that may wait for a slow client.
const MAX_WAITING: usize = 64;

/// Checks on a thread of its own; what is found comes through the channel. One check at a time.
pub(crate) fn check(core: &Arc<Core>, repair: bool) -> mpsc::Receiver<CheckEvent> {
    let (tx, events) = mpsc::channel(MAX_WAITING);
    let core = core.clone();
    tokio::task::spawn_blocking(move || {
        let _one = core.checking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let in_use = |layer: &Digest| runs_on(&core, layer);
        // A client that left does not stop a repair half-way; what it did is in the log.
        let mut report = |finding: Finding| {
            if finding.outcome != Outcome::Note {
                tracing::warn!("check: {finding} ({})", outcome(finding.outcome));
            }
            let _ = tx.blocking_send(event(finding));
        };
        let last = match core.store.check(repair, &in_use, &mut report) {
            Ok(checked) => done(&checked),
            Err(e) => CheckEvent::Failed(core.store.explained(e)),
        };
        let _ = tx.blocking_send(last);
    });
    events
}

/// Whether a container that runs lies on this layer.
pub(crate) fn runs_on(core: &Core, layer: &Digest) -> bool {
    let all = core.registry().all();
    let images = all.iter().filter(|c| c.is_busy()).filter_map(|c| c.shared().record.root.image());
    // An image that can't be read counts as one that has the layer.
    images.into_iter().any(|id| core.store.image(&id).map_or(true, |image| image.layers.contains(layer)))
}

/// The same for a root that no daemon has. A container that ran when the last daemon ended counts as running.
pub fn check_root(root: &Path, repair: bool, report: &mut dyn FnMut(CheckEvent)) -> Result<()> {
    let running = |row: &ContainerRow| Record::decode(&row.doc).map_or(true, |r| r.state.status == Status::Running);
    let checked = dhow_store::check_root(root, StoreConfig::default(), repair, &running, &mut |f| report(event(f)))?;
    report(done(&checked));
    Ok(())
}

fn event(f: Finding) -> CheckEvent {
    CheckEvent::Finding { about: f.about, problem: f.problem, outcome: outcome(f.outcome), advice: f.advice }
}

fn done(c: &Checked) -> CheckEvent {
    let Checked { images, layers, bytes, wrong, mended } = *c;
    CheckEvent::Done { images, layers, bytes, wrong, mended }
}

fn outcome(o: Outcome) -> &'static str {
    match o {
        Outcome::Mendable => "mendable",
        Outcome::Mended => "mended",
        Outcome::Wrong => "wrong",
        Outcome::Note => "note",
    }
}
