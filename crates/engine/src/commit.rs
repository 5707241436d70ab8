//! `commit`: a container's writable layer becomes an image. A running container is frozen while the layer is read.
//!
//! A mark in the container's directory stands for the freezing: a daemon that is killed meanwhile thaws, when it
//! comes back, what its predecessor froze.

use crate::config::CommitRequest;
use crate::container::Container;
use crate::core::{Core, blocking};
use crate::pause;
use crate::plan::image::{self, Note};
use crate::record::{Record, Root};
use crate::view::Status;
use dhow_cgroup::Group;
use dhow_types::{Context, Digest, Error, Result};
use jiff::Timestamp;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::OwnedRwLockWriteGuard;

/// The mark's name in the container's directory.
const MARK: &str = "frozen-by-commit";

/// Makes the image and gives its id.
pub(crate) async fn commit(core: &Arc<Core>, request: CommitRequest) -> Result<Digest> {
    let container = core.registry().find(&request.container)?;
    let name = image::name(&request.repository, &request.tag)?;
    // One at a time of each container: the end of one would thaw what another one reads. Nor is it paused or unpaused
    // meanwhile, or a program started in it that would stand still at its birth.
    let alone = match request.pause {
        true => Some(container.standing.clone().write_owned().await),
        false => None,
    };
    let shared = core.clone();
    blocking(move || {
        let comment = request.comment.clone();
        let reference = name.as_ref().map(dhow_types::Reference::familiar).unwrap_or_default();
        let made = make(&shared, &container, request, name, alone)?;
        let id = made.id.to_string();
        shared.events.image("create", &id, if reference.is_empty() { &id } else { &reference });
        let more = [("comment", comment.as_str()), ("imageID", &id), ("imageRef", &reference)];
        shared.events.container(&container.record(), "commit", &more);
        for warning in &made.warnings {
            tracing::warn!("commit {}: {warning}", container.id.short());
        }
        Ok(made.id)
    })
    .await
}

fn make(
    core: &Core,
    container: &Container,
    request: CommitRequest,
    name: Option<dhow_types::Reference>,
    alone: Option<OwnedRwLockWriteGuard<()>>,
) -> Result<dhow_store::Made> {
    let record = container.record();
    let what = |why: &str| Error::conflict(format!("You cannot commit container {} which is {why}", record.id));
    match record.state.status {
        Status::Dead => return Err(what("Dead")),
        Status::Removing => return Err(what("being removed")),
        Status::Created | Status::Running | Status::Restarting | Status::Exited => {}
    }
    let (parent, data) = base(&record)?;
    let below = core.store.image(parent)?;
    let created = Timestamp::now().to_string();
    let note = Note { author: &request.author, comment: &request.comment, created: &created };
    let mut document = image::commit(&below.config, &record.config, request.config, &request.changes, &note)?;
    document.reference = name;
    // Before the container stands still. What it writes meanwhile is asked for when it comes.
    let upper = data.join("upper");
    let space = core.store.reserve_for_commit(&upper)?;
    // One that is paused stands still already, and stays so.
    let frozen = match request.pause && record.state.status == Status::Running && !container.is_paused() {
        true => Some(Frozen::new(core, &record)?),
        false => None,
    };
    core.store.commit_within(&space, parent, &upper, document, move || drop((frozen, alone)))
}

/// The image that the container was made from, and where its writable layer is.
fn base(record: &Record) -> Result<(&Digest, &PathBuf)> {
    match &record.root {
        Root::Image { id, data } => Ok((id, data)),
        Root::Overlay { path, .. } | Root::Dir { path } => Err(Error::invalid(format!(
            "container {} runs {} of this machine (--rootfs): there is no image to put its changes on; \
             use `export` and `import` to make an image of all its files",
            record.id.short(),
            path.display()
        ))),
    }
}

/// A container that stands still. Goes on when this is dropped.
struct Frozen {
    group: Group,
    mark: PathBuf,
    container: String,
}

impl Frozen {
    fn new(core: &Core, record: &Record) -> Result<Self> {
        let what = || format!("pause container {} (commit without pausing: --no-pause)", record.id.short());
        let group = pause::group(core, record).with_context(what)?;
        let mark = core.dirs.container(&record.id).join(MARK);
        // Before the freezing, so that there is no moment in which nobody knows of it.
        File::create(&mark).with_context(what)?;
        let this = Self { group, mark, container: record.id.short().to_owned() };
        this.group.freeze(true).with_context(what)?;
        Ok(this)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        match self.group.freeze(false) {
            Ok(()) => drop(std::fs::remove_file(&self.mark)),
            // The mark stays: the next start of the daemon tries again.
            Err(e) => tracing::error!("container {} stays frozen: {e}", self.container),
        }
    }
}

/// Thaws what a daemon that was killed had frozen.
pub(crate) fn thaw(core: &Core, records: &[Record]) {
    for record in records {
        let mark = core.dirs.container(&record.id).join(MARK);
        if !mark.exists() {
            continue;
        }
        // A group that is gone needs no thawing.
        let thawed = match record.cgroup.as_ref().and_then(|path| Group::open(&core.layout, path).ok()) {
            Some(group) => group.freeze(false),
            None => Ok(()),
        };
        match thawed {
            Ok(()) => drop(std::fs::remove_file(&mark)),
            Err(e) => tracing::error!("container {} stays frozen: {e}", record.id.short()),
        }
    }
}
