//! Images in and out: archives that are loaded, saved and imported. The formats are the store's.

use crate::config::ImportRequest;
use crate::core::{Core, blocking};
use crate::engine::SaveStream;
use crate::plan::image;
use crate::view::LoadEvent;
use dhow_store::Piece;
use dhow_types::{Digest, Error, Platform, Reference, Result};
use jiff::Timestamp;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events of a load that may wait for a slow client.
const MAX_WAITING: usize = 64;
/// Pieces of an archive that may wait for a slow client, beside those that are being rebuilt.
const PIECES_AHEAD: usize = 4;

/// Loads an archive on a thread of its own; what happens comes through the channel.
pub(crate) fn load(
    core: &Arc<Core>,
    input: Box<dyn Read + Send>,
    platform: Option<Platform>,
    announced: u64,
) -> mpsc::Receiver<LoadEvent> {
    let (tx, events) = mpsc::channel(MAX_WAITING);
    let core = core.clone();
    tokio::task::spawn_blocking(move || {
        // A client that left does not stop the load: what it asked for is done.
        let mut progress = |p: dhow_store::Progress| {
            let _ = tx.try_send(LoadEvent::Progress { id: p.id, current: p.current, total: p.total });
        };
        match core.store.load_for(input, platform.as_ref(), announced, &mut progress) {
            Ok(loaded) => {
                for image in loaded {
                    for warning in &image.warnings {
                        tracing::warn!("load: {warning}");
                    }
                    let reference = image.reference.as_ref().map(Reference::familiar);
                    let id = image.id.to_string();
                    core.events.image("load", &id, reference.as_deref().unwrap_or(&id));
                    let _ = tx.blocking_send(LoadEvent::Loaded { reference, id: image.id });
                }
                core.budget.changed();
            }
            Err(e) => drop(tx.blocking_send(LoadEvent::Failed(e))),
        }
    });
    events
}

/// Finds the images, and then writes their archive on a thread of its own. What fails after the first byte comes last
/// through the channel.
pub(crate) async fn save(core: &Arc<Core>, names: Vec<String>, platform: Option<Platform>) -> Result<SaveStream> {
    let core = core.clone();
    let save = blocking(move || {
        let save = core.store.prepare_save(&names, platform.as_ref())?;
        for name in &names {
            if let Ok(image) = core.store.resolve(name) {
                core.events.image("save", &image.id.to_string(), name);
            }
        }
        Ok(save)
    })
    .await?;
    let size = save.size();
    let (to, pieces) = mpsc::channel::<Result<Piece>>(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let written =
            save.write(&mut |piece| to.blocking_send(Ok(piece)).map_err(|_| Error::system("the client left")));
        if let Err(error) = written {
            if !to.is_closed() {
                tracing::error!(%error, "an archive breaks off");
            }
            let _ = to.blocking_send(Err(error));
        }
    });
    Ok(SaveStream { size, pieces })
}

/// Makes an image of an archive of a root file system.
pub(crate) async fn import(
    core: &Arc<Core>,
    input: Box<dyn Read + Send>,
    announced: u64,
    request: ImportRequest,
) -> Result<Digest> {
    let ImportRequest { repository, tag, comment, changes, platform } = request;
    // Before the first byte is read: a name or a change that is wrong need not wait for a large archive.
    let reference = image::name(&repository, &tag)?;
    let platform = match platform.as_deref() {
        None | Some("") => Platform::host(),
        Some(text) => text.parse()?,
    };
    let mut document = image::import(&platform, &changes, &comment, &Timestamp::now().to_string())?;
    let name = reference.as_ref().map(Reference::familiar);
    document.reference = reference;
    let core = core.clone();
    blocking(move || {
        let made = core.store.import_of(input, announced, document)?;
        for warning in &made.warnings {
            tracing::warn!("import: {warning}");
        }
        let id = made.id.to_string();
        core.events.image("import", &id, &name.unwrap_or_else(|| id.clone()));
        Ok(made.id)
    })
    .await
}
