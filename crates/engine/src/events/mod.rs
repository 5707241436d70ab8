//! What happens to containers, images, volumes and networks: told here, kept for a while, and passed on to those who
//! listen. Types and names are Docker's (`GET /events` of the Engine API).
//!
//! ```text
//!   tell ──► file (bounded: events::store) ──► replay ──┐
//!     └────► those who listen now (broadcast) ──────────┴─► filter ─► one subscriber
//! ```
//!
//! Events are numbered, so a subscriber goes on from the file to what comes live, and back to the file if it was too
//! slow, without missing or repeating one. Times are the clock's, and order nothing: a clock may have been wrong.
//! Nobody who tells ever waits for somebody who listens. Never here: what an event means.
//!
//! Telling writes a few hundred bytes to the page cache, on whatever thread it is done; never under a container's lock.

mod filter;
mod runs;
mod store;
mod words;

pub use filter::Filters;
pub(crate) use runs::Told;
pub(crate) use words::{begun, takes};

use dhow_types::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, mpsc};

/// Events that a subscriber may be behind before it has to read them from the file.
const MAX_BEHIND: usize = 256;
/// Events that may wait for a slow client.
const MAX_WAITING: usize = 64;
/// Longest wait for an end that lies in the future: a year.
const MAX_WAIT_SECONDS: i64 = 365 * 24 * 3600;
/// By how much the clock may be behind the last event so that the next one still gets a later time: corrections are
/// small, and a clock that was far ahead must not spoil the times of all that comes.
const MAX_BEHIND_LAST: i64 = 1_000_000_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `container`, `image`, `volume`, `network`.
    #[serde(rename = "t")]
    pub kind: String,
    /// What happened, as `start`, or `exec_start: sh -c date`.
    #[serde(rename = "a")]
    pub action: String,
    /// To whom: an id, or a volume's name. Empty for what concerns all of a kind.
    #[serde(rename = "i")]
    pub id: String,
    /// What else is known of it.
    #[serde(rename = "m", default)]
    pub attributes: BTreeMap<String, String>,
    /// When, in nanoseconds since 1970. Later than that of the event before, unless the clock was set back by more than a
    /// second.
    #[serde(rename = "n")]
    pub time: i64,
    /// Counts those of one daemon root; 0 in files of the first version.
    #[serde(rename = "q", default)]
    pub number: u64,
}

/// What a subscriber wants.
#[derive(Clone, Debug, Default)]
pub struct EventsRequest {
    /// From here on; what was before is left out. None: only what comes.
    pub since: Option<Timestamp>,
    /// Up to here, and no longer. None: for ever.
    pub until: Option<Timestamp>,
    /// Which of them.
    pub filters: Filters,
}

/// Events, as they come.
#[derive(Debug)]
pub struct EventStream {
    /// An error is the last.
    pub events: mpsc::Receiver<Result<Arc<Event>>>,
}

/// All events of an engine.
#[derive(Debug)]
pub(crate) struct Events {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: store::Store,
    live: broadcast::Sender<Arc<Event>>,
    last: Mark,
}

/// The last event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    number: u64,
    time: i64,
}

impl Mark {
    /// What the next one gets.
    fn next(self, now: i64) -> Self {
        let time = match self.time.saturating_sub(now) {
            ahead if !(0..=MAX_BEHIND_LAST).contains(&ahead) => now,
            _ => self.time.saturating_add(1),
        };
        Self { number: self.number + 1, time }
    }
}

impl Events {
    /// Opens those of the directory `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let (store, last) = store::Store::open(dir)?;
        Ok(Self { inner: Mutex::new(Inner { store, live: broadcast::Sender::new(MAX_BEHIND), last }) })
    }

    /// Tells one. A write to the page cache: no waiting for the disk, and none for those who listen.
    pub(crate) fn tell(&self, kind: &str, action: impl Into<String>, id: &str, attributes: BTreeMap<String, String>) {
        let (kind, action, id) = (kind.to_owned(), action.into(), id.to_owned());
        self.tell_at(now(), Event { kind, action, id, attributes, time: 0, number: 0 });
    }

    fn tell_at(&self, now: i64, mut event: Event) {
        let mut inner = self.inner();
        inner.last = inner.last.next(now);
        (event.number, event.time) = (inner.last.number, inner.last.time);
        inner.store.append(&event);
        if inner.live.receiver_count() > 0 {
            // Fails only if the last one left just now.
            let _ = inner.live.send(Arc::new(event));
        }
    }

    /// The number of the last one.
    pub(crate) fn last(&self) -> u64 {
        self.inner().last.number
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes from now on, and the number up to which everything stands in the file.
    fn listen(&self) -> (broadcast::Receiver<Arc<Event>>, u64, store::Reader) {
        let inner = self.inner();
        (inner.live.subscribe(), inner.last.number, inner.store.reader())
    }
}

fn now() -> i64 {
    nanoseconds(Timestamp::now())
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Subscribes. What is asked for is registered when this returns.
pub(crate) fn subscribe(events: &Arc<Events>, request: EventsRequest) -> Result<EventStream> {
    if let (Some(since), Some(until)) = (request.since, request.until)
        && until < since
    {
        let text = format!("`since` time ({}) cannot be after `until` time ({})", stamp(since), stamp(until));
        return Err(Error::invalid(text));
    }
    let (tx, stream) = mpsc::channel(MAX_WAITING);
    let heard = events.listen();
    let events = events.clone();
    tokio::spawn(async move {
        if let Err(e) = run(&events, heard, &request, &tx).await {
            let _ = tx.send(Err(e)).await;
        }
    });
    Ok(EventStream { events: stream })
}

/// As Docker prints moments there: seconds and nanoseconds.
fn stamp(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

type Out = mpsc::Sender<Result<Arc<Event>>>;

async fn run(
    events: &Arc<Events>,
    heard: (broadcast::Receiver<Arc<Event>>, u64, store::Reader),
    request: &EventsRequest,
    tx: &Out,
) -> Result<()> {
    let (mut live, mut mark, reader) = heard;
    let until = request.until.map_or(i64::MAX, nanoseconds);
    let from = request.since.map_or(i64::MIN, nanoseconds);
    // Without a beginning and an end, nothing that was is asked for.
    if request.since.is_some() || request.until.is_some() {
        replay(reader, Part { times: from..=until, numbers: 0..=mark }, request, tx).await?;
    } else {
        drop(reader);
    }
    let left = until.saturating_sub(now());
    if left <= 0 {
        return Ok(());
    }
    let end = tokio::time::sleep(
        std::time::Duration::from_nanos(left as u64).min(std::time::Duration::from_secs(MAX_WAIT_SECONDS as u64)),
    );
    tokio::pin!(end);
    loop {
        let next = tokio::select! {
            next = live.recv() => next,
            () = &mut end => return Ok(()),
            () = tx.closed() => return Ok(()),
        };
        match next {
            Ok(event) => {
                mark = event.number;
                // A beginning may lie in the future, and a clock that is ahead is no end.
                if (from..=until).contains(&event.time)
                    && request.filters.pass(&event)
                    && tx.send(Ok(event)).await.is_err()
                {
                    return Ok(());
                }
            }
            // It was too slow: what it missed stands in the file.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let (again, upto, reader) = events.listen();
                live = again;
                replay(reader, Part { times: from..=until, numbers: mark + 1..=upto }, request, tx).await?;
                mark = upto;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

/// Of the file.
#[derive(Clone)]
struct Part {
    times: RangeInclusive<i64>,
    numbers: RangeInclusive<u64>,
}

/// Sends a part of the file, some at a time: a client that does not read holds no thread.
async fn replay(mut reader: store::Reader, part: Part, request: &EventsRequest, tx: &Out) -> Result<()> {
    loop {
        let (filters, part) = (request.filters.clone(), part.clone());
        let (rest, batch) = crate::core::blocking(move || {
            let wanted = |event: &Event| {
                part.times.contains(&event.time) && part.numbers.contains(&event.number) && filters.pass(event)
            };
            let batch = reader.batch(&wanted, MAX_WAITING)?;
            Ok((reader, batch))
        })
        .await?;
        if batch.is_empty() {
            return Ok(());
        }
        reader = rest;
        for event in batch {
            // Who left is noticed by whoever called.
            if tx.send(Ok(Arc::new(event))).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
