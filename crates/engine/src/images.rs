//! Images as the engine shows them, and the commands on them; the work itself is the store's.

use crate::container::Container;
use crate::core::{Core, blocking};
use crate::space::used_images;
use crate::view::{ImageRemoved, ImageView};
use dhow_store::{ImageRecord, InUse, Removed};
use dhow_types::{Digest, Error, Platform, Reference, Result};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All images, newest first.
pub(crate) async fn list(core: &Arc<Core>) -> Result<Vec<ImageView>> {
    let uses = used_images(core);
    let shared = core.clone();
    blocking(move || views(&shared, &uses)).await
}

/// The same, on a thread that may block.
pub(crate) fn views(core: &Core, uses: &HashMap<Digest, usize>) -> Result<Vec<ImageView>> {
    let records = core.store.images()?;
    let layers: Vec<(&[Digest], &[u64])> =
        records.iter().map(|r| (r.image.layers.as_slice(), r.image.layer_sizes.as_slice())).collect();
    let shared = shared(&layers);
    let mut all: Vec<ImageView> =
        records.iter().zip(shared).map(|(r, shared)| ImageView { shared, ..view(r, uses) }).collect();
    all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(all)
}

/// Of each image, by its layers and their sizes, the bytes of those that another image has, too.
fn shared(images: &[(&[Digest], &[u64])]) -> Vec<u64> {
    let mut owners: HashMap<Digest, usize> = HashMap::new();
    let own: Vec<BTreeMap<Digest, u64>> =
        images.iter().map(|(layers, sizes)| layers.iter().copied().zip(sizes.iter().copied()).collect()).collect();
    own.iter().flat_map(BTreeMap::keys).for_each(|layer| *owners.entry(*layer).or_default() += 1);
    let of = |layers: &BTreeMap<Digest, u64>| layers.iter().filter(|(l, _)| owners[l] > 1).map(|(_, size)| size).sum();
    own.iter().map(of).collect()
}

/// One image with all there is to say.
pub(crate) async fn inspect(core: &Arc<Core>, name: &str) -> Result<ImageView> {
    let uses = used_images(core);
    let (shared, name) = (core.clone(), name.to_owned());
    blocking(move || {
        let record = shared.store.resolve(&name)?;
        let mut view = view(&record, &uses);
        view.document = Some(record.image.raw.clone().into());
        view.layers.clone_from(&record.image.layers);
        let dirs: Vec<String> = record.image.layer_dirs.iter().map(|d| d.to_string_lossy().into_owned()).collect();
        if let Some((top, lower)) = dirs.split_first() {
            view.graph.insert("UpperDir".into(), top.clone());
            if !lower.is_empty() {
                view.graph.insert("LowerDir".into(), lower.join(":"));
            }
        }
        Ok(view)
    })
    .await
}

/// Fails unless the image is for `platform`.
pub(crate) async fn demand(core: &Arc<Core>, name: &str, platform: Platform) -> Result<()> {
    let (core, name) = (core.clone(), name.to_owned());
    blocking(move || {
        let its = core.store.resolve(&name)?.image.config.platform();
        if its == platform {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "image with reference {name} was found but its platform ({its}) does not match the specified platform ({platform})"
        )))
    })
    .await
}

fn view(record: &ImageRecord, uses: &HashMap<Digest, usize>) -> ImageView {
    let labels = record.image.config.config.labels.clone();
    ImageView {
        id: record.id,
        tags: record.references.iter().map(Reference::familiar).collect(),
        digests: record.digests.iter().map(Reference::familiar).collect(),
        parent: record.parent,
        created: record.created.as_deref().and_then(|t| t.parse().ok()),
        size: record.size,
        damaged: record.damaged.clone(),
        shared: 0,
        containers: uses.get(&record.id).copied().unwrap_or(0),
        labels,
        document: None,
        layers: Vec::new(),
        graph: BTreeMap::new(),
        last_tagged: Timestamp::from_second(record.loaded_unix).ok(),
        last_used: Timestamp::from_second(record.last_used_unix).ok().filter(|_| record.last_used_unix > 0),
    }
}

/// Gives an image one more name.
pub(crate) async fn tag(core: &Arc<Core>, source: &str, repo: &str, tag: &str) -> Result<()> {
    let name: Reference = repo.parse()?;
    let target = if tag.is_empty() { name.or_latest() } else { name.with_tag(tag)? };
    let (core, source) = (core.clone(), source.to_owned());
    blocking(move || {
        core.store.tag(&source, &target)?;
        let id = core.store.resolve(&source)?.id;
        core.events.image("tag", &id.to_string(), &target.familiar());
        Ok(())
    })
    .await
}

/// Removes a name of an image, and the image with its last name.
pub(crate) async fn remove(core: &Arc<Core>, name: &str, force: bool) -> Result<Vec<ImageRemoved>> {
    let (core, name) = (core.clone(), name.to_owned());
    blocking(move || {
        let all: Vec<Arc<Container>> = core.registry().all();
        let in_use = |id: &Digest| {
            let mut users: Vec<InUse> = all
                .iter()
                .filter_map(|c| {
                    let shared = c.shared();
                    let uses = shared.record.root.image() == Some(*id);
                    let running = shared.record.state.status.is_up();
                    uses.then(|| InUse { container: c.id.to_string(), running })
                })
                .collect();
            users.sort_by_key(|u| !u.running);
            users.into_iter().next()
        };
        let image = core.store.resolve(&name).map(|record| record.id);
        let removed = core.store.remove(&name, force, &in_use)?;
        if let Ok(id) = image {
            tell_removed(&core, &id, &removed);
        }
        Ok(removed
            .into_iter()
            .map(|r| match r {
                Removed::Untagged(name) => ImageRemoved::Untagged(name),
                Removed::Deleted(id) => ImageRemoved::Deleted(id),
            })
            .collect())
    })
    .await
}

/// What a removal of an image did; of its layers nothing is told.
pub(crate) fn tell_removed(core: &Core, id: &Digest, removed: &[Removed]) {
    let text = id.to_string();
    for one in removed {
        match one {
            Removed::Untagged(name) => core.events.image("untag", &text, name),
            Removed::Deleted(gone) if gone == id => core.events.image("delete", &text, &text),
            Removed::Deleted(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_images_share_counts_once() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        let images: [(&[Digest], &[u64]); 4] =
            [(&[a, b], &[100, 20]), (&[a, c, c], &[100, 3, 3]), (&[c], &[3]), (&[], &[])];
        assert_eq!(shared(&images), [100, 103, 3, 0]);
        assert_eq!(shared(&images[..1]), [0]);
    }
}
