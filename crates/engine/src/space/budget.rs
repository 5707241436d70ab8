//! The disk budget: the most that the root may use. What nobody uses goes, least recently used first, until it fits:
//! images that no container uses and logs of containers that do not run. Without a budget nothing goes by itself.

use super::{image_is_used, last_used, layers, measure, prune, size};
use crate::core::{Core, blocking};
use crate::images::tell_removed;
use crate::plan::evict::{Candidate, What, choose};
use crate::settings::DiskBudget;
use crate::view::Status;
use dhow_store::{HELLO, ImageRecord, Steward};
use dhow_types::{ContainerId, Digest, ErrorKind, Reference, Result};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often it is looked whether the budget is kept, if nothing else asks for a look.
const LOOK_EVERY: Duration = Duration::from_secs(180);
/// Between two looks that were asked for: a burst of short containers is one question.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a measurement is trusted, corrected by what the file system has lost of its free space since.
const TRUSTED: Duration = Duration::from_secs(600);
/// Between two words about a budget that can't be kept.
const WARN_EVERY: Duration = Duration::from_secs(3600);

/// The budget of one engine, and what is known about the space it uses.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    set: Option<DiskBudget>,
    last: Mutex<Option<Reading>>,
    warned: Mutex<Option<Instant>>,
    /// How many evictions there were; held by the one that runs.
    evictions: Mutex<u64>,
    /// Told when something was written or may go now.
    changed: Arc<Notify>,
}

/// A measurement.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Bytes used, without what is on its way out.
    used: u64,
    /// Free bytes there would have been if all of that were out.
    free: u64,
    /// What the store had written by then.
    written: u64,
    at: Instant,
}

impl Reading {
    /// What may be used now: all that the file system has lost meanwhile may have gone here. Others may have given it
    /// back at the same time, so what the store has written counts in any case.
    fn estimate(&self, free: u64, written: u64) -> u64 {
        self.used + self.free.saturating_sub(free).max(written.saturating_sub(self.written))
    }
}

impl Budget {
    pub(crate) fn new(set: Option<DiskBudget>) -> Self {
        Self { set, ..Self::default() }
    }

    /// The most that may be used on a file system of `disk` bytes.
    pub(crate) fn limit(&self, disk: u64) -> Option<u64> {
        Some(match self.set.as_ref()? {
            DiskBudget::Bytes(bytes) => *bytes,
            DiskBudget::Percent(percent) => (u128::from(disk) * u128::from(*percent) / 100) as u64,
        })
    }

    /// Something was written, or may go now.
    pub(crate) fn changed(&self) {
        if self.set.is_some() {
            self.changed.notify_one();
        }
    }

    fn last(&self) -> Option<Reading> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, reading: Reading) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }
}

/// Measures anew.
fn read(core: &Core) -> Result<(dhow_store::Usage, Reading)> {
    // Before it is measured: what comes meanwhile counts twice rather than not at all.
    let written = core.store.written();
    let usage = measure(core)?;
    let (_, free) = core.store.disk()?;
    let out = usage.own.outgoing;
    let reading = Reading { used: usage.total() - out, free: free.saturating_add(out), written, at: Instant::now() };
    core.budget.keep(reading);
    Ok((usage, reading))
}

/// What is used, from the last measurement if `exact` does not ask for a new one.
fn used(core: &Core, exact: bool) -> Result<u64> {
    if let Some(last) = core.budget.last().filter(|r| !exact && r.at.elapsed() < TRUSTED) {
        return Ok(last.estimate(core.store.disk()?.1, core.store.written()));
    }
    Ok(read(core)?.1.used)
}

/// The engine as the store's steward.
pub(crate) struct Keeper(pub(crate) Weak<Core>);

impl Steward for Keeper {
    fn room(&self, exact: bool) -> Result<Option<u64>> {
        let Some(core) = self.0.upgrade() else { return Ok(None) };
        match core.budget.limit(core.store.disk()?.0) {
            Some(limit) => Ok(Some(limit.saturating_sub(used(&core, exact)?))),
            None => Ok(None),
        }
    }
    fn make_room(&self, bytes: u64) -> Result<()> {
        let Some(core) = self.0.upgrade() else { return Ok(()) };
        let evictions = &core.budget.evictions;
        let before = *evictions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = evictions.lock().unwrap_or_else(PoisonError::into_inner);
        if *count != before {
            // Another write has just made room: it is looked first whether that is enough.
            return Ok(());
        }
        *count += 1;
        evict(&core, bytes, Enough::Only).map(drop)
    }
    fn in_use(&self, layer: &Digest) -> bool {
        self.0.upgrade().is_some_and(|core| crate::check::runs_on(&core, layer))
    }
}

/// Keeps the budget for as long as the engine lives.
pub(crate) fn start(core: &Arc<Core>) {
    core.store.set_steward(Box::new(Keeper(Arc::downgrade(core))));
    if core.budget.set.is_none() {
        return;
    }
    let changed = core.budget.changed.clone();
    // The engine is not kept alive by this, and this ends at the first look after it.
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        while let Some(core) = core.upgrade() {
            if let Err(e) = blocking(move || enforce(&core)).await {
                tracing::warn!("disk budget: {e}");
            }
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(LOOK_EVERY, changed.notified()).await;
        }
    });
}

/// Brings the usage under the budget, if it can be.
fn enforce(core: &Core) -> Result<()> {
    let Some(limit) = core.budget.limit(core.store.disk()?.0) else { return Ok(()) };
    if used(core, false)? <= limit {
        return Ok(());
    }
    let mut count = core.budget.evictions.lock().unwrap_or_else(PoisonError::into_inner);
    // Only now it is worth to measure: what the disk lost may have gone to others.
    let over = used(core, true)?.saturating_sub(limit);
    if over == 0 {
        return Ok(());
    }
    *count += 1;
    let freed = evict(core, over, Enough::OrLess)?;
    drop(count);
    let mut warned = core.budget.warned.lock().unwrap_or_else(PoisonError::into_inner);
    if freed >= over {
        *warned = None;
    } else if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
        *warned = Some(Instant::now());
        tracing::warn!(
            "disk budget: {} more than the budget of {} are used, and nothing is left that may go by itself: remove \
             containers, volumes or images that are not needed, or raise disk-budget",
            size(over - freed),
            size(limit)
        );
    }
    Ok(())
}

/// What to do when not enough can be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enough {
    /// Nothing: it would go for a write that is refused all the same.
    Only,
    /// As much as there is.
    OrLess,
}

/// Removes what gives back `bytes`, as far as there is so much that nobody uses; returns what it gave back, when it is
/// back on the disk.
fn evict(core: &Core, bytes: u64, enough: Enough) -> Result<u64> {
    let (usage, _) = read(core)?;
    let records: BTreeMap<Digest, ImageRecord> = core.store.images()?.into_iter().map(|r| (r.id, r)).collect();
    let hello: Reference = HELLO.parse()?;
    let by_image = core.store.layers_of_images()?;
    let mut candidates: Vec<Candidate> = records
        .values()
        // It would come back at the next start.
        .filter(|r| !r.references.contains(&hello) && !image_is_used(core, &r.id))
        .map(|r| {
            let own = by_image.get(&r.id).cloned().unwrap_or_default();
            Candidate { what: What::Image(r.id, own), last_used: prune::image_last_used(r) }
        })
        .collect();
    let mut names = BTreeMap::new();
    for container in core.registry().all() {
        let shared = container.shared();
        let record = &shared.record;
        let logs = usage.containers.get(record.id.as_str()).map_or(0, |c| c.logs);
        if logs == 0 || !matches!(record.state.status, Status::Exited | Status::Dead) {
            continue;
        }
        names.insert(record.id.to_string(), record.name.clone());
        let what = What::Own(record.id.clone(), logs);
        candidates.push(Candidate { what, last_used: last_used(record).as_second() });
    }
    // Nobody has used yet what is not whole.
    let unfinished = prune::discard_unfinished(core, &usage, true)?;
    let chosen = choose(candidates, bytes.saturating_sub(unfinished), layers(core, &usage)?);
    if enough == Enough::Only && unfinished + chosen.iter().map(|c| c.1).sum::<u64>() < bytes {
        return Ok(0);
    }
    let mut freed = prune::discard_unfinished(core, &usage, false)?;
    for (candidate, gives) in chosen {
        let at = Timestamp::from_second(candidate.last_used).map(|t| t.to_string()).unwrap_or_default();
        match &candidate.what {
            What::Image(id, own) => match core.store.remove_unused(id, false, &|id| image_is_used(core, id)) {
                Ok(removed) => {
                    tell_removed(core, id, &removed);
                    let bytes = prune::gone(&removed, own, &usage.layers);
                    freed += bytes;
                    let name = records.get(id).and_then(|r| r.references.first()).map(Reference::familiar);
                    tracing::info!(
                        "disk budget: removed image {} ({}, last used {at})",
                        name.unwrap_or_else(|| id.short()),
                        size(bytes)
                    );
                }
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(e) => return Err(e),
            },
            What::Own(id, _) => match drop_log(core, id) {
                Ok(()) => {
                    freed += gives;
                    let name = names.get(id.as_str()).map_or("", String::as_str);
                    tracing::info!(
                        "disk budget: emptied the log of container {name} ({}, last used {at})",
                        size(gives)
                    );
                }
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(e) => return Err(e),
            },
        }
    }
    core.store.wait_for_trash();
    read(core)?;
    Ok(freed)
}

/// Empties the log of a container, by its own task: it must not be started meanwhile.
fn drop_log(core: &Core, id: &ContainerId) -> Result<()> {
    let container = core.registry().find(id.as_str())?;
    container.drop_log()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_or_a_share_of_the_disk() {
        assert_eq!(Budget::new(None).limit(1000), None);
        assert_eq!(Budget::new(Some(DiskBudget::Bytes(7))).limit(1000), Some(7));
        assert_eq!(Budget::new(Some(DiskBudget::Percent(70))).limit(1000), Some(700));
        assert_eq!(Budget::new(Some(DiskBudget::Percent(100))).limit(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn what_the_disk_lost_counts_until_it_is_measured() {
        let reading = Reading { used: 100, free: 1000, written: 50, at: Instant::now() };
        for (free, written, want) in
            [(1000, 50, 100), (900, 50, 200), (2000, 50, 100), (900, 80, 200), (2000, 80, 130), (990, 80, 130)]
        {
            assert_eq!(reading.estimate(free, written), want, "{free} {written}");
        }
    }
}
