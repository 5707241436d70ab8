//! Pulls: from a name to an image in the store, with Docker's words on the way.
//!
//! [`choose`] (pure) says which manifest of an index is meant, [`flight`] brings one layer for all who want it, [`show`]
//! tells a client what becomes of it. HTTP and the protocol are `dhow_distribution`'s, bytes on disk the store's.

pub(crate) mod choose;
mod feed;
mod flight;
mod image;
mod show;

pub(crate) use flight::Flights;
pub(crate) use image::choose_manifest;

use crate::core::{Core, blocking};
use crate::images;
use crate::view::TransferEvent;
use dhow_distribution::{Actions, Credentials, Repository};
use dhow_types::{Error, Platform, Reference, Result};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that may wait for a slow client.
const MAX_WAITING: usize = 64;
/// Docker's name for no image at all.
const RESERVED: &str = "scratch";

/// What to pull, and as whom.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// The image. Without tag and digest all tags of the repository are meant.
    pub reference: Reference,
    /// For which platform; `None` is this machine's.
    pub platform: Option<Platform>,
    /// What the registry is shown.
    pub credentials: Credentials,
    /// Headers (`X-Meta-…`) for the registry.
    pub meta: Vec<(String, String)>,
}

/// A transfer that is under way. Dropped, it is called off; what is whole by then stays.
#[derive(Debug)]
pub struct TransferStream {
    /// What happens. A failure is the last of it.
    pub events: mpsc::Receiver<TransferEvent>,
}

/// Who hears of a pull.
#[derive(Clone)]
pub(crate) struct Teller(pub(crate) mpsc::Sender<TransferEvent>);

impl Teller {
    /// One who tells it there.
    pub(crate) fn new(to: mpsc::Sender<TransferEvent>) -> Self {
        Self(to)
    }
    /// Tells it, as soon as the client takes it.
    pub(crate) async fn tell(&self, event: TransferEvent) {
        // Without a client the pull ends soon.
        let _ = self.0.send(event).await;
    }
    /// Tells it unless the client is slow: the next of its kind says more.
    pub(crate) fn mention(&self, event: TransferEvent) {
        let _ = self.0.try_send(event);
    }
}

/// Begins a pull.
pub(crate) fn pull(core: &Arc<Core>, request: PullRequest) -> TransferStream {
    let (tx, events) = mpsc::channel(MAX_WAITING);
    let core = core.clone();
    tokio::spawn(async move {
        let teller = Teller(tx.clone());
        let done = tokio::select! {
            done = run(&core, request, &teller) => done,
            () = tx.closed() => Ok(()),
        };
        if let Err(error) = done {
            tracing::info!(%error, "a pull failed");
            teller.tell(TransferEvent::Failed(error)).await;
        }
        drop((tx, teller));
        if core.flights.are_none() {
            // An idle daemon is small again.
            tokio::task::spawn_blocking(dhow_sys::heap::give_back);
        }
    });
    TransferStream { events }
}

async fn run(core: &Arc<Core>, request: PullRequest, teller: &Teller) -> Result<()> {
    let PullRequest { reference, platform, credentials, meta } = request;
    if reference.familiar_name() == RESERVED {
        return Err(Error::new(dhow_types::ErrorKind::Forbidden, format!("'{RESERVED}' is a reserved name")));
    }
    // What others left too long ago.
    let shared = core.clone();
    blocking(move || shared.store.discard_unfinished(false)).await?;
    let repository = core.settings.registries.repository(&reference, credentials, Actions::Pull).await?;
    let repository = repository.with_meta(meta);
    let all = reference.tag().is_none() && reference.digest().is_none();
    let changed = if all {
        all_tags(core, &repository, &reference, platform.as_ref(), teller).await?
    } else {
        image::pull(core, &repository, &reference, platform.as_ref(), teller).await?
    };
    let name = reference.familiar();
    let status = if changed { "Downloaded newer image for" } else { "Image is up to date for" };
    teller.tell(TransferEvent::line(format!("Status: {status} {name}"))).await;
    core.events.image("pull", &name, &reference.familiar_name());
    core.budget.changed();
    // Of an image without an index nobody chose the platform: it is told, and taken all the same.
    if let Some(platform) = platform.filter(|_| !all)
        && let Err(e) = images::demand(core, &name, platform).await
    {
        teller.tell(TransferEvent::line(format!("WARNING: {e}"))).await;
    }
    Ok(())
}

/// All tags one after the other. Layers that they share come once.
async fn all_tags(
    core: &Arc<Core>,
    repository: &Repository,
    reference: &Reference,
    platform: Option<&Platform>,
    teller: &Teller,
) -> Result<bool> {
    let mut changed = false;
    for tag in repository.tags().await? {
        changed |= image::pull(core, repository, &reference.with_tag(&tag)?, platform, teller).await?;
    }
    Ok(changed)
}
