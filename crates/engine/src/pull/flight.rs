//! Flights: one layer on its way, for all pulls that want it. A flight goes on for as long as one of them is there.
//!
//! ```text
//!  Begun ──► Waiting ──a place is free──► Downloading ──all bytes──► Extracting ──► landed
//! ```
//! Downloading and unpacking run side by side; what is told of unpacking before the last byte came would only hide how
//! far the download is.

use super::feed::{Lost, PIECES_AHEAD, Piece, Pieces, SLOW_WITHIN, feed, is_wrong};
use crate::core::Core;
use dhow_distribution::{BlobStream, Cause, Failure, Part, Repository};
use dhow_store::{CallOff, Hold, Incoming, Landed, Reservation, Spoiled, WantedLayer};
use dhow_types::{Context as _, Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// Layers that are unpacked while others are downloaded.
const UNPACKING: usize = 2;
/// The stack of a layer's thread: nothing there recurses.
const STACK: usize = 512 << 10;
/// Bytes between two words about how much is unpacked.
const REPORT_EVERY: u64 = 256 << 10;

/// How far a layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    #[default]
    Begun,
    /// For a place.
    Waiting,
    Downloading,
    Extracting,
    Landed,
}

/// What is known of a flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    /// Bytes that came.
    pub(crate) received: u64,
    /// Bytes that were read to be unpacked.
    pub(crate) unpacked: u64,
    /// The transfer broke off and goes on in so many seconds.
    pub(crate) retry: Option<u64>,
    /// How it ended; the layer stays for as long as this is seen.
    pub(crate) end: Option<Result<Arc<Hold>>>,
}

/// A flight as those who want its layer see it. The last one to drop it calls it off.
pub(crate) struct Flight {
    pub(crate) state: watch::Receiver<State>,
    _stop: oneshot::Sender<()>,
}

/// All flights of an engine.
pub(crate) struct Flights {
    running: Mutex<HashMap<WantedLayer, Weak<Flight>>>,
    downloads: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Flights {
    /// With at most `downloads` of them downloading.
    pub(crate) fn new(downloads: usize) -> Self {
        let downloads = downloads.max(1);
        Self {
            running: Mutex::default(),
            downloads: Arc::new(Semaphore::new(downloads)),
            places: Arc::new(Semaphore::new(downloads + UNPACKING)),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<WantedLayer, Weak<Flight>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is on its way.
    pub(crate) fn are_none(&self) -> bool {
        self.running().values().all(|flight| flight.strong_count() == 0)
    }

    /// The flight of this layer: one that is under way, or a new one; whether it is one that was.
    pub(crate) fn join(
        &self,
        core: &Arc<Core>,
        repository: &Repository,
        layer: &WantedLayer,
        reservation: Reservation,
    ) -> (Arc<Flight>, bool) {
        let mut running = self.running();
        running.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = running.get(layer).and_then(Weak::upgrade)
            && flight.state.borrow().end.is_none()
        {
            return (flight, true);
        }
        let (told, state) = watch::channel(State::default());
        let (stop, mut stopped) = oneshot::channel();
        let flight = Arc::new(Flight { state, _stop: stop });
        running.insert(layer.clone(), Arc::downgrade(&flight));
        let plane = Plane { core: core.clone(), repository: repository.clone(), layer: layer.clone(), told };
        tokio::spawn(async move {
            let end = tokio::select! {
                end = plane.fly(reservation) => end,
                _ = &mut stopped => return,
            };
            plane.told.send_modify(|s| {
                s.stage = if end.is_ok() { Stage::Landed } else { s.stage };
                s.end = Some(end);
            });
        });
        (flight, false)
    }
}

/// Runs it on a thread of its own: a layer may take as long as its registry likes, and the threads of the runtime are
/// everybody's.
fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("dhow-layer".into()).stack_size(STACK);
    thread.spawn(move || drop(done.send(f()))).context("start a thread")?;
    Ok(result)
}

/// Calls the thread off when its flight ends before it.
struct Leaving(CallOff);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.call();
    }
}

/// Who flies.
struct Plane {
    core: Arc<Core>,
    repository: Repository,
    layer: WantedLayer,
    told: watch::Sender<State>,
}

/// Why one try came to nothing.
struct Crash {
    error: Error,
    /// Another one, from the first byte on, may go well.
    again: bool,
}

impl Plane {
    async fn fly(&self, reservation: Reservation) -> Result<Arc<Hold>> {
        let flights = &self.core.flights;
        let place = Arc::new(self.place(&flights.places).await?);
        let mut first = None;
        loop {
            let download = self.place(&flights.downloads).await?;
            match (self.once(reservation.clone(), place.clone(), download).await, first) {
                (Ok(hold), _) => return Ok(Arc::new(hold)),
                (Err(crash), None) if crash.again => first = Some(crash.error),
                // What was wrong at first says more.
                (Err(_), Some(error)) => return Err(error),
                (Err(crash), None) => return Err(crash.error),
            }
        }
    }

    /// A place, and the word that it is waited for if none is free.
    async fn place(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        if let Ok(free) = of.clone().try_acquire_owned() {
            return Ok(free);
        }
        self.told.send_modify(|s| s.stage = s.stage.max(Stage::Waiting));
        of.clone().acquire_owned().await.map_err(|_| Error::unavailable("the engine stops"))
    }

    async fn once(
        &self,
        reservation: Reservation,
        place: Arc<OwnedSemaphorePermit>,
        download: OwnedSemaphorePermit,
    ) -> std::result::Result<Hold, Crash> {
        let (begun, begins) = oneshot::channel();
        let (pieces, coming) = mpsc::channel(PIECES_AHEAD);
        let (store, layer, told) = (self.core.store.clone(), self.layer.clone(), self.told.clone());
        let off = store.call_off();
        // Whatever way this ends before the thread does.
        let leaving = Leaving(off.clone());
        let thread = on_thread(move || {
            // A thread whose flight was called off is still one.
            let _place = place;
            let ours = |error| Spoiled { error, again: false };
            let layer = match store.receive_layer(layer, reservation, off).map_err(ours)? {
                Incoming::Here(hold) => return Ok(Landed { warnings: Vec::new(), hold }),
                Incoming::Layer(layer) => layer,
            };
            if begun.send(layer.begun()).is_err() {
                return Err(ours(Error::unavailable("nobody wants the layer any more")));
            }
            let report = |n: u64| {
                told.send_if_modified(|s| {
                    let due = n >= s.unpacked + REPORT_EVERY && s.stage == Stage::Extracting;
                    if due || s.stage != Stage::Extracting {
                        s.unpacked = n;
                    }
                    due
                });
            };
            layer.receive(Pieces::new(coming), &report)
        })
        .map_err(|error| Crash { error, again: false })?;
        let sent = match begins.await {
            Ok((at, hash)) => {
                self.told.send_modify(|s| (s.stage, s.received, s.unpacked) = (Stage::Downloading, at, 0));
                match self.repository.layer_from(&self.descriptor(), hash, at) {
                    Ok(stream) => self.feed(stream, pieces).await,
                    Err(failure) => Err(failure),
                }
            }
            // The thread says why.
            Err(_) => Ok(()),
        };
        drop(download);
        let ended = thread.await.map_err(|_| Crash {
            error: Error::system("a thread that receives a layer failed: this is a bug in dhow"),
            again: false,
        })?;
        drop(leaving);
        match (sent, ended) {
            (Err(failure), ended) => Err(self.failed(failure, ended.is_err_and(|spoiled| spoiled.again))),
            (Ok(()), Err(spoiled)) => Err(Crash { error: self.registered(spoiled.error), again: spoiled.again }),
            (Ok(()), Ok(landed)) => {
                for warning in landed.warnings {
                    tracing::warn!("pull: layer {}: {warning}", self.layer.digest.short());
                }
                Ok(landed.hold)
            }
        }
    }

    /// Feeds the thread, as long as bytes come fast enough to call it that.
    async fn feed(&self, stream: BlobStream, pieces: mpsc::Sender<Piece>) -> std::result::Result<(), Box<Failure>> {
        let name = self.repository.name();
        feed(stream, pieces, &self.told).await.map_err(|lost| match lost {
            Lost::Failed(failure) => failure,
            Lost::Dripping(bytes) => Box::new(Failure {
                registry: name.domain().to_owned(),
                repository: name.familiar_name(),
                part: Part::Layer(self.layer.digest),
                endpoint: name.domain().to_owned(),
                cause: Cause::Protocol(format!(
                    "only {bytes} bytes came within {} minutes",
                    SLOW_WITHIN.as_secs() / 60
                )),
                others: Vec::new(),
            }),
        })
    }

    fn descriptor(&self) -> dhow_types::image::Descriptor {
        dhow_types::image::Descriptor {
            media_type: self.layer.media_type.clone(),
            digest: self.layer.digest,
            size: self.layer.size,
            platform: None,
            annotations: Default::default(),
            urls: Vec::new(),
        }
    }

    fn failed(&self, failure: Box<Failure>, again: bool) -> Crash {
        // Others may have the right bytes.
        let wrong = is_wrong(&failure.cause);
        let others = wrong && self.repository.endpoints().len() > 1;
        Crash { error: failure.into(), again: again || others }
    }

    fn registered(&self, error: Error) -> Error {
        let name = self.repository.name();
        let layer = format!("layer {} of {} from {}", self.layer.digest.short(), name.familiar_name(), name.domain());
        error.prefixed(format!("failed to register layer: {layer}"))
    }
}
