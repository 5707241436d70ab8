//! Disk usage, and what gives it back.

use super::filters;
use crate::api::Call;
use crate::convert::image;
use crate::convert::space::{Asked, KINDS, pruned, usage};
use crate::reply::Reply;
use dhow_api::{ApiVersion, PruneReport};
use dhow_engine::{Engine, PruneRequest};
use dhow_types::{Error, Result};
use jiff::Timestamp;

/// `GET /system/df`
pub(crate) async fn disk(engine: &Engine, call: Call) -> Result<Reply> {
    let kinds: Vec<&str> = call.query.all("type").collect();
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(kind)) {
        return Err(Error::invalid(format!("unknown object type: {unknown}: use one of {}", KINDS.join(", "))));
    }
    // The parameter is of version 1.42; before that everything is told.
    let kinds = if call.version < ApiVersion::new(1, 42) { Vec::new() } else { kinds };
    let asked = Asked { kinds: &kinds, verbose: call.query.flag("verbose"), version: call.version };
    Ok(Reply::json(&usage(engine.disk().await?, asked, Timestamp::now())))
}

/// What the query asks for.
fn request(call: &Call) -> Result<PruneRequest> {
    let filters = filters(call)?;
    Ok(PruneRequest {
        filters: filters.0.into_iter().map(|(name, values)| (name, values.into_iter().collect())).collect(),
        unused_for: call.query.number("unused-for")?,
        keep_bytes: call.query.number("keep-bytes")?,
        dry_run: call.query.flag("dry-run"),
        after_containers: call.query.flag("after-containers"),
    })
}

/// `POST /images/prune`
pub(crate) async fn images(engine: &Engine, call: Call) -> Result<Reply> {
    let request = request(&call)?;
    let dry_run = request.dry_run;
    let mut done = engine.prune_images(request).await?;
    let removed = std::mem::take(&mut done.images);
    let images_deleted = (!removed.is_empty()).then(|| removed.into_iter().map(image::removed).collect());
    answer(PruneReport { images_deleted, ..pruned(&done, dry_run) }, "ImagesDeleted")
}

/// `POST /containers/prune`
pub(crate) async fn containers(engine: &Engine, call: Call) -> Result<Reply> {
    let request = request(&call)?;
    let dry_run = request.dry_run;
    let done = engine.prune_containers(request).await?;
    let containers_deleted = ids(&done);
    answer(PruneReport { containers_deleted, ..pruned(&done, dry_run) }, "ContainersDeleted")
}

/// `POST /volumes/prune`. Until 1.41 it took all volumes that no container uses, not only those without a name.
pub(crate) async fn volumes(engine: &Engine, call: Call) -> Result<Reply> {
    let mut request = request(&call)?;
    if call.version < ApiVersion::new(1, 42) {
        request.filters.entry("all".to_owned()).or_insert_with(|| vec!["true".to_owned()]);
    }
    let dry_run = request.dry_run;
    let done = engine.prune_volumes(request).await?;
    let volumes_deleted = ids(&done);
    answer(PruneReport { volumes_deleted, ..pruned(&done, dry_run) }, "VolumesDeleted")
}

/// `POST /networks/prune`
pub(crate) async fn networks(engine: &Engine, call: Call) -> Result<Reply> {
    let request = request(&call)?;
    let dry_run = request.dry_run;
    let done = engine.prune_networks(request).await?;
    let networks_deleted = ids(&done);
    answer(PruneReport { networks_deleted, ..pruned(&done, dry_run) }, "NetworksDeleted")
}

/// `POST /build/prune`: there is no build cache, so there is nothing to choose from and nothing goes.
pub(crate) fn build(call: Call) -> Result<Reply> {
    const KNOWN: [&str; 11] = [
        "until",
        "unused-for",
        "id",
        "parent",
        "type",
        "description",
        "inuse",
        "shared",
        "private",
        "label",
        // Sent by `system prune`.
        "label!",
    ];
    let filters = filters(&call)?;
    if let Some(unknown) = filters.unknown(&KNOWN) {
        return Err(Error::invalid(format!("invalid filter '{unknown}': use one of {}", KNOWN.join(", "))));
    }
    for number in ["reserved-space", "keep-storage", "max-used-space", "min-free-space", "keep-bytes", "unused-for"] {
        call.query.number::<i64>(number)?;
    }
    let dry_run = call.query.flag("dry-run");
    answer(PruneReport { ..pruned(&Default::default(), dry_run) }, "CachesDeleted")
}

fn ids(done: &dhow_engine::space::view::Pruned) -> Option<Vec<String>> {
    (!done.items.is_empty()).then(|| done.items.iter().map(|item| item.id.clone()).collect())
}

/// The report of one kind: its list is there, as `null`, also when nothing went.
fn answer(report: PruneReport, list: &str) -> Result<Reply> {
    let mut document = serde_json::json!(report);
    if document.get(list).is_none() {
        document[list] = serde_json::Value::Null;
    }
    Ok(Reply::json(&document))
}
