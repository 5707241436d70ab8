//! A root that no daemon has, its database perhaps broken: then a new one is made of the rows that can still be read
//! and of what lies on disk. The old file is kept beside it.
//!
//! Layers and images that only the disk knows come back without their names; containers' writable layers that no row
//! knows are set aside, never deleted.

use super::{Checked, Finding, Outcome};
use crate::db::{self, Database, LayerBlob, NewImage};
use crate::{ContainerRow, Durability, Store, StoreConfig, images, lock};
use dhow_types::image::{Document, MAX_DOCUMENT};
use dhow_types::{Context as _, Digest, Error, ErrorKind, ImageConfig, Result};
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;

/// Where writable layers go whose containers nobody knows any more.
const LOST: &str = "lost-containers";

/// Checks the root of a daemon that does not run. `running` says whether a container may run without it.
/// Fails if a daemon has the root, or if there is none.
pub fn check_root(
    root: &Path,
    config: StoreConfig,
    repair: bool,
    running: &dyn Fn(&ContainerRow) -> bool,
    report: &mut dyn FnMut(Finding),
) -> Result<Checked> {
    if !root.join("layers").is_dir() {
        return Err(Error::not_found(format!("{} is no root of a dhow daemon: it has no layers/", root.display())));
    }
    let lock = lock::RootLock::take(root)?;
    let damage = match Store::open_database(root).and_then(|db| db.complaints()) {
        Ok(complaints) if complaints.iter().all(|c| c.contains(" index ")) => None,
        Ok(complaints) => Some(complaints.join("; ")),
        Err(e) if e.kind() == ErrorKind::DataLoss => Some(e.text().to_owned()),
        Err(e) => return Err(e),
    };
    let mut mended = 0;
    if let Some(problem) = damage {
        let finding = |outcome, problem: String, advice: Option<String>| Finding {
            about: "database".into(),
            problem,
            outcome,
            advice,
        };
        if !repair {
            let advice = "nothing else can be checked before a new one is made: the same command with --repair does it";
            report(finding(Outcome::Mendable, problem, Some(advice.into())));
            return Ok(Checked { wrong: 1, ..Checked::default() });
        }
        let kept = salvage(root, &config, lock, report).context("make a new database")?;
        report(finding(Outcome::Mended, format!("{problem}; the old file is kept as {kept}"), None));
        mended = 1;
    } else {
        drop(lock);
    }
    let store = Store::open(root, config)?;
    let mut used = HashSet::new();
    for row in store.inner.db.containers()?.iter().filter(|row| running(row)) {
        if let Some(image) = row.image {
            used.extend(store.inner.db.listed_layers(&image)?.unwrap_or_default());
        }
    }
    let mut checked = store.check(repair, &|layer| used.contains(layer), report)?;
    checked.mended += mended;
    Ok(checked)
}

/// Makes the new database and puts it in its place; returns the name of the old one.
fn salvage(root: &Path, config: &StoreConfig, lock: lock::RootLock, report: &mut dyn FnMut(Finding)) -> Result<String> {
    let old = root.join("dhow.db");
    let new = root.join("dhow.db.new");
    for leftover in ["", "-wal", "-shm"] {
        let path = root.join(format!("dhow.db.new{leftover}"));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    let db = Database::open(&new, true)?;
    let rows = db.take_rows_of(&old)?;
    for (table, n) in rows.iter().filter(|r| r.1 > 0) {
        note(report, "database", format!("{n} rows of {table} could still be read"));
    }
    for d in &db::DANGLING {
        db.remove_dangling(d)?;
    }
    let store = Store::assemble(root, config.clone(), lock, db)?;
    register_layers(&store, report)?;
    register_images(&store, report)?;
    set_aside_containers(&store, report)?;

    // One file with everything in it, or the old one stays: what is still in the journal would be lost with it.
    store.inner.db.settle().context("finish the new database")?;
    let lock = store.close()?;
    let journal = root.join("dhow.db.new-wal");
    if journal.metadata().is_ok_and(|m| m.len() > 0) {
        return Err(Error::system(format!("{} could not be emptied: is the disk full?", journal.display())));
    }
    // Of no use to a file of another name.
    for part in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(root.join(format!("dhow.db.new{part}")));
    }
    let kept = kept_name(root)?;
    let sync = || std::fs::File::open(root).and_then(|d| d.sync_all());
    std::fs::File::open(&new).and_then(|f| f.sync_all()).with_context(|| format!("sync {}", new.display()))?;
    let replace = || -> std::io::Result<()> {
        if old.exists() {
            std::fs::hard_link(&old, root.join(&kept))?;
        }
        // A journal that stayed would be taken for one of the new file.
        for part in ["-wal", "-shm"] {
            match std::fs::rename(root.join(format!("dhow.db{part}")), root.join(format!("{kept}{part}"))) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        sync()?;
        std::fs::rename(&new, &old)?;
        sync()
    };
    replace().with_context(|| format!("put {} in its place", old.display()))?;
    drop(lock);
    Ok(kept)
}

fn note(report: &mut dyn FnMut(Finding), about: impl Into<String>, problem: String) {
    report(Finding { about: about.into(), problem, outcome: Outcome::Note, advice: None });
}

/// Layers on disk that have no row, if they still give their tar.
fn register_layers(store: &Store, report: &mut dyn FnMut(Finding)) -> Result<()> {
    let known: HashSet<Digest> = store.inner.db.layers()?.iter().map(|l| l.diff_id).collect();
    for diff_id in digests_in(&store.paths().dir("layers"))? {
        if known.contains(&diff_id) {
            continue;
        }
        if let Err(e) = store.register_layer(&diff_id) {
            let about = format!("layer {}", diff_id.short());
            let problem = format!("it lies on disk, but no longer gives its tar: {e}");
            report(Finding { about, problem, outcome: Outcome::Note, advice: None });
        }
    }
    Ok(())
}

/// Images whose configuration lies on disk and whose layers are there.
fn register_images(store: &Store, report: &mut dyn FnMut(Finding)) -> Result<()> {
    let blobs = store.paths().dir("blobs").join("sha256");
    let mut configs: HashMap<Digest, ImageConfig> = HashMap::new();
    let mut manifests = Vec::new();
    for digest in digests_in(&blobs)? {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(blobs.join(digest.hex())).context("open a document")?;
        let read = file.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes);
        // A document that can't be read, is damaged or is a kept layer gives no image.
        if read.is_err() || bytes.len() > MAX_DOCUMENT || Digest::of(&bytes) != digest {
            continue;
        }
        if let Ok(config) = ImageConfig::parse(&bytes)
            && !config.rootfs.diff_ids.is_empty()
        {
            configs.insert(digest, config);
        } else if let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, "") {
            manifests.push((digest, manifest));
        }
    }
    let known: HashSet<Digest> = store.inner.db.image_ids()?.into_iter().map(|i| i.0).collect();
    let layers: HashSet<Digest> = store.inner.db.layers()?.iter().map(|l| l.diff_id).collect();
    for (id, config) in configs {
        if known.contains(&id) {
            continue;
        }
        let about = format!("image {}", id.short());
        let diff_ids = config.rootfs.diff_ids;
        if let Some(lost) = diff_ids.iter().find(|d| !layers.contains(d)) {
            note(
                report,
                about,
                format!("its configuration is there, its layer {} is not: load it again", lost.short()),
            );
            continue;
        }
        let manifest = manifests.iter().find(|(_, m)| m.config.digest == id && m.layers.len() == diff_ids.len());
        let mut received: Vec<LayerBlob> = Vec::new();
        for (position, diff_id) in diff_ids.iter().enumerate() {
            let (digest, size, media_type) = match manifest {
                Some((_, m)) => {
                    let layer = &m.layers[position];
                    (layer.digest, layer.size, layer.media_type.clone())
                }
                None => (*diff_id, 0, dhow_types::image::media_type::OCI_LAYER.to_owned()),
            };
            let file = std::fs::metadata(blobs.join(digest.hex()));
            // Without a manifest nothing is known of the form in which it came, unless that was kept.
            if manifest.is_none() && file.is_err() {
                continue;
            }
            let size = file.as_ref().map_or(size, std::fs::Metadata::len);
            received.push(LayerBlob { digest, diff_id: *diff_id, size, media_type, kept: file.is_ok() });
        }
        let new =
            NewImage { id, manifest: manifest.map(|m| m.0), parent: None, layers: diff_ids, references: Vec::new() };
        store.inner.db.publish(&[], &received, &[new], images::now(), Durability::Synced)?;
        note(report, about, "it is back; its names may be lost: give it one with dhow tag".into());
    }
    Ok(())
}

/// Directories of containers that no row knows: start-up would take them for waste.
fn set_aside_containers(store: &Store, report: &mut dyn FnMut(Finding)) -> Result<()> {
    let known: HashSet<String> = store.inner.db.containers()?.into_iter().map(|c| c.id).collect();
    let dir = store.paths().dir("containers");
    for entry in std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
        let entry = entry.with_context(|| format!("read {}", dir.display()))?;
        let name = entry.file_name();
        let Some(id) = name.to_str().filter(|n| n.len() == 64 && !known.contains(*n)) else { continue };
        let to = store.root().join(LOST);
        crate::make_private(&to)?;
        std::fs::rename(entry.path(), to.join(id)).with_context(|| format!("set {} aside", entry.path().display()))?;
        note(
            report,
            format!("container {}", &id[..12]),
            format!("nothing is known of it any more; what it wrote is kept in {LOST}/{id}"),
        );
    }
    Ok(())
}

/// Names in a directory that are digests.
fn digests_in(dir: &Path) -> Result<Vec<Digest>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
    Ok(entries.flatten().filter_map(|e| Digest::from_hex(e.file_name().to_str()?).ok()).collect())
}
/// A name for the old database that no earlier one has: several can be made in one second.
fn kept_name(root: &Path) -> Result<String> {
    const MAX_IN_A_SECOND: u32 = 1000;
    let now = images::now();
    let name = |n: u32| if n == 0 { format!("dhow.db.damaged-{now}") } else { format!("dhow.db.damaged-{now}-{n}") };
    let free = |name: &String| std::fs::symlink_metadata(root.join(name)).is_err();
    (0..MAX_IN_A_SECOND)
        .map(name)
        .find(free)
        .ok_or_else(|| Error::conflict(format!("{} has too many old databases", root.display())))
}
