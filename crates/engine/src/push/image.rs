//! One tag: all layers, then the configuration, and when all that is there, the manifest.

use super::layer::Way;
use super::manifest::{self, Original};
use super::show::Shown;
use crate::core::{Core, blocking};
use crate::pull::Teller;
use crate::view::TransferEvent;
use bytes::Bytes;
use dhow_distribution::Repository;
use dhow_store::{Compression, Form, SentLayer};
use dhow_types::{Digest, Error, Reference, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Pushes the image `id` as `name`, which has a tag.
pub(super) async fn push(
    core: &Arc<Core>,
    repository: &Repository,
    name: &Reference,
    id: &Digest,
    compression: Option<Compression>,
    teller: &Teller,
) -> Result<()> {
    let (shared, wanted) = (core.clone(), *id);
    let sending = blocking(move || shared.store.prepare_send(&wanted)).await?;
    let sending = Arc::new(sending);
    let original = Original::read(sending.manifest.as_deref());
    let way = Arc::new(Way {
        core: core.clone(),
        repository: repository.clone(),
        own: original.as_ref().map(Original::layers).unwrap_or_default(),
        sending: sending.clone(),
        compression,
    });
    let forms = layers(&way, teller).await?;
    let config = Bytes::from(way.sending.config.clone());
    if repository.has_blob("the configuration", id).await? != Some(config.len() as u64) {
        repository.upload_bytes("the configuration", config).await?;
    }
    let forms = way.sending.layers.iter().map(|l| forms.get(&l.diff_id).cloned());
    let forms: Vec<Form> = forms.collect::<Option<_>>().ok_or_else(|| Error::system("a layer was left out"))?;
    let (media_type, bytes) = manifest::of(original.as_ref(), id, way.sending.config.len() as u64, &forms)?;
    let size = bytes.len() as u64;
    let digest = repository.put_manifest(name.tag(), &media_type, bytes.into()).await?;
    let (shared, repository, image) = (core.clone(), name.clone(), *id);
    blocking(move || shared.store.note_digest(&repository, digest, &image)).await?;
    let tag = name.tag().unwrap_or_default().to_owned();
    teller.tell(TransferEvent::line(format!("{tag}: digest: {digest} size: {size}"))).await;
    teller.tell(TransferEvent::Pushed { tag, digest, size }).await;
    Ok(())
}

/// Brings all layers there, several at a time, the largest first. The first that fails ends the others.
async fn layers(way: &Arc<Way>, teller: &Teller) -> Result<HashMap<Digest, Form>> {
    let mut each: Vec<SentLayer> = Vec::new();
    for layer in way.sending.layers.iter().rev() {
        if each.iter().all(|l| l.diff_id != layer.diff_id) {
            teller.tell(TransferEvent::status(layer.diff_id.short(), "Preparing")).await;
            each.push(layer.clone());
        }
    }
    each.sort_by_key(|l| std::cmp::Reverse(l.tar_size));
    let mut running: JoinSet<Result<(Digest, Form)>> = JoinSet::new();
    for layer in each {
        let (way, shown) = (way.clone(), Shown::new(teller, layer.diff_id.short(), layer.tar_size));
        running.spawn(async move {
            let shown = Arc::new(shown);
            let uploads = &way.core.uploads;
            let _place = match uploads.try_acquire() {
                Ok(place) => place,
                Err(_) => {
                    shown.status("Waiting").await;
                    uploads.acquire().await.map_err(|_| Error::unavailable("the daemon stops"))?
                }
            };
            let _turn = way.core.turns.take(&way.repository.name().name(), &layer.diff_id).await;
            let form = way.send(&layer, &shown).await?;
            Ok((layer.diff_id, form))
        });
    }
    let mut forms = HashMap::new();
    while let Some(done) = running.join_next().await {
        let (diff_id, form) = done.map_err(|e| Error::system(format!("an internal task failed: {e}")))??;
        forms.insert(diff_id, form);
    }
    Ok(forms)
}
