//! Pushes: from an image in the store to a tag at a registry, with Docker's words on the way.
//!
//! [`layer`] brings one layer there, by the cheapest way that leads there, [`manifest`] (pure) says what the image is
//! called by then. A layer's bytes are the store's, the protocol is `dhow_distribution`'s.

mod image;
mod layer;
mod manifest;
mod show;
mod turns;

pub(crate) use turns::Turns;

use crate::core::{Core, blocking};
use crate::pull::{Teller, TransferStream};
use crate::view::TransferEvent;
use dhow_distribution::{Actions, Credentials};
use dhow_store::Compression;
use dhow_types::{Digest, Error, Platform, Reference, Result};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that may wait for a slow client.
const MAX_WAITING: usize = 64;

/// What to push, and as whom.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// The image. Without a tag all tags of the repository are meant.
    pub reference: Reference,
    /// The platform that the image must be for.
    pub platform: Option<Platform>,
    /// What the registry is shown.
    pub credentials: Credentials,
    /// Headers (`X-Meta-…`) for the registry.
    pub meta: Vec<(String, String)>,
    /// How layers are packed. `None` leaves those as they are that the registry, or the store, has packed in some way,
    /// and takes gzip for the others.
    pub compression: Option<Compression>,
}

/// Begins a push. A name or platform that is wrong is told at once.
pub(crate) async fn push(core: &Arc<Core>, request: PushRequest) -> Result<TransferStream> {
    if let (Some(platform), Some(_)) = (&request.platform, request.reference.tag()) {
        crate::images::demand(core, &request.reference.familiar(), platform.clone()).await?;
    }
    let (tx, events) = mpsc::channel(MAX_WAITING);
    let core = core.clone();
    tokio::spawn(async move {
        let teller = Teller(tx.clone());
        let done = tokio::select! {
            done = run(&core, request, &teller) => done,
            () = tx.closed() => Ok(()),
        };
        if let Err(error) = done {
            tracing::info!(%error, "a push failed");
            teller.tell(TransferEvent::Failed(error)).await;
        }
        drop((tx, teller));
        if core.turns.are_none() {
            // An idle daemon is small again.
            tokio::task::spawn_blocking(dhow_sys::heap::give_back);
        }
    });
    Ok(TransferStream { events })
}

async fn run(core: &Arc<Core>, request: PushRequest, teller: &Teller) -> Result<()> {
    let PushRequest { reference, platform, credentials, meta, compression } = request;
    teller.tell(TransferEvent::line(format!("The push refers to repository [{}]", reference.name()))).await;
    let images = images(core, &reference).await?;
    let repository = core.settings.registries.repository(&reference, credentials, Actions::PullPush).await?;
    let repository = repository.with_meta(meta);
    for (tagged, id) in images {
        if let Some(platform) = &platform {
            crate::images::demand(core, &tagged.familiar(), platform.clone()).await?;
        }
        image::push(core, &repository, &tagged, &id, compression, teller).await?;
    }
    core.events.image("push", &reference.familiar(), &reference.familiar_name());
    Ok(())
}

/// What is to be pushed: names with tags, and their images.
async fn images(core: &Arc<Core>, reference: &Reference) -> Result<Vec<(Reference, Digest)>> {
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let (core, reference) = (core.clone(), reference.clone());
    blocking(move || {
        let all = core.store.tags(&reference)?;
        let Some(tag) = reference.tag() else {
            return match all.is_empty() {
                true => Err(missing(&reference.familiar_name())),
                false => Ok(all),
            };
        };
        if all.is_empty() {
            return Err(missing(&reference.familiar_name()));
        }
        let one: Vec<_> = all.into_iter().filter(|(name, _)| name.tag() == Some(tag)).collect();
        match one.is_empty() {
            true => Err(Error::not_found(format!("tag does not exist: {}", reference.familiar()))),
            false => Ok(one),
        }
    })
    .await
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("An image does not exist locally with the tag: {name}"))
}
