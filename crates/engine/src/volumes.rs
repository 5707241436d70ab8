//! Volumes: directories below the root that outlive containers.

use crate::copyup;
use crate::core::{Core, Dirs, make};
use crate::events::Events;
use crate::holds::Held;
use crate::plan::mounts::{Mount, Source};
use crate::reach;
use crate::space::view::VolumeDisk;
use crate::undo::Undo;
use dhow_store::merged::View;
use dhow_store::{Durability, Store, VolumeRow};
use dhow_types::{Context, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Volumes that are being made or filled: a second container that wants one waits for it alone.
#[derive(Debug)]
pub(crate) struct Volumes {
    events: Arc<Events>,
    busy: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    created: Timestamp,
    labels: BTreeMap<String, String>,
}

/// Where a volume's content lies.
pub(crate) fn place(dirs: &Dirs, name: &str) -> PathBuf {
    dirs.volumes().join(name).join("_data")
}

impl Volumes {
    pub(crate) fn new(events: &Arc<Events>) -> Self {
        Self { events: events.clone(), busy: Mutex::default() }
    }

    /// Makes what the mounts of a new container need, and gives each its place on this machine.
    /// `image` is the root file system of the container, to fill new volumes from.
    pub(crate) fn prepare(
        &self,
        (dirs, store): (&Dirs, &Store),
        mounts: Vec<Mount>,
        image: &dyn Fn() -> Result<View>,
        durability: Durability,
        undo: &mut Undo,
        held: &mut Held,
    ) -> Result<Vec<(Mount, String)>> {
        let mut out = Vec::with_capacity(mounts.len());
        for mut mount in mounts {
            let place = match &mut mount.source {
                Source::Tmpfs { .. } => String::new(),
                Source::Bind { path, create } => {
                    if !*create && reach::is_there(path, false)?.is_err() {
                        return Err(Error::invalid(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {path}"
                        )));
                    }
                    path.clone()
                }
                Source::Volume { name, anonymous, copy, labels } => {
                    let name = match name {
                        Some(name) => name.clone(),
                        None => {
                            let drawn = dhow_types::Digest::from_raw(crate::core::random()?).hex();
                            *name = Some(drawn.clone());
                            drawn
                        }
                    };
                    // Before it is looked for, so that no prune takes it away in between.
                    held.volume(&name);
                    let place = place(dirs, &name);
                    self.one(&name, || {
                        if !place.is_dir() {
                            let row = VolumeRow { name: name.clone(), anonymous: *anonymous, doc: document(labels)? };
                            add(dirs, store, row, durability, undo)?;
                            self.events.volume("create", &name, &[]);
                        }
                        if *copy && (is_empty(&place)? || half_filled(&place)) {
                            fill(&image()?, &mount.destination, &place, store)?;
                        }
                        Ok(())
                    })?;
                    text(&place)?
                }
            };
            out.push((mount, place));
        }
        Ok(out)
    }

    /// Forgets a volume and discards its content if `unused` still says so while nobody else works on it.
    pub(crate) fn remove_if(&self, core: &Core, name: &str, unused: &dyn Fn() -> bool) -> Result<bool> {
        let mut removed = false;
        self.one(name, || {
            removed = unused();
            if !removed {
                return Ok(());
            }
            remove(&core.dirs, &core.store, &core.trash, name)?;
            self.events.volume("destroy", name, &[]);
            Ok(())
        })?;
        Ok(removed)
    }

    /// Runs `f` while nobody else works on that volume.
    fn one(&self, name: &str, f: impl FnOnce() -> Result<()>) -> Result<()> {
        let own = self.busy.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
        let result = {
            let _held = own.lock().unwrap_or_else(PoisonError::into_inner);
            f()
        };
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        drop(own);
        if busy.get(name).is_some_and(|m| Arc::strong_count(m) == 1) {
            busy.remove(name);
        }
        result
    }
}

fn document(labels: &BTreeMap<String, String>) -> Result<String> {
    let doc = Document { version: 1, created: Timestamp::now(), labels: labels.clone() };
    serde_json::to_string(&doc).map_err(|e| Error::system(e.to_string()))
}

fn add(dirs: &Dirs, store: &Store, row: VolumeRow, durability: Durability, undo: &mut Undo) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let outer = dirs.volumes().join(&row.name);
    let (name, undo_store, undo_dir) = (row.name.clone(), store.clone(), outer.clone());
    undo.add("volume", move || {
        undo_store.db().delete_volume(&name, Durability::Lazy)?;
        match std::fs::remove_dir_all(&undo_dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    });
    make(&outer)?;
    // The content is reached by container users of all kinds; the directory above it keeps the machine's away.
    let data = outer.join("_data");
    match std::fs::DirBuilder::new().mode(0o755).create(&data) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(e).with_context(|| format!("make {}", data.display()));
        }
        _ => {}
    }
    store.db().put_volume(&row, durability)
}

/// All volumes, without their sizes and uses.
pub(crate) fn all(store: &Store) -> Result<Vec<VolumeDisk>> {
    let rows = store.db().volumes()?;
    Ok(rows
        .into_iter()
        .map(|row| {
            // One that can't be read is still there, and its bytes are.
            let doc = serde_json::from_str::<Document>(&row.doc).ok();
            let (created, labels) = doc.map(|d| (Some(d.created), d.labels)).unwrap_or_default();
            VolumeDisk { name: row.name, anonymous: row.anonymous, created, labels, ..VolumeDisk::default() }
        })
        .collect())
}

/// Forgets a volume and discards its content. Blocks.
pub(crate) fn remove(dirs: &Dirs, store: &Store, trash: &crate::trash::Trash, name: &str) -> Result<()> {
    store.db().delete_volume(name, Durability::Lazy)?;
    trash.discard_now(&dirs.volumes().join(name))
}

/// Fills a volume. The mark beside it stays until all is there, so that one that was broken off is gone on with: it
/// looks filled, and is not.
fn fill(image: &View, from: &str, place: &Path, store: &Store) -> Result<()> {
    let space = store.reserve(copyup::size(image, from)?)?;
    let mark = filling(place);
    std::fs::File::create(&mark).with_context(|| format!("make {}", mark.display()))?;
    copyup::fill(image, from, place, &space)?;
    std::fs::remove_file(&mark).with_context(|| format!("remove {}", mark.display()))
}

fn half_filled(place: &Path) -> bool {
    filling(place).exists()
}

fn filling(place: &Path) -> PathBuf {
    place.with_file_name("filling")
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?.next().is_none())
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_store::StoreConfig;

    struct World {
        _dir: tempfile::TempDir,
        dirs: Dirs,
        store: Store,
        image: PathBuf,
    }

    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let store = Store::open(&root, StoreConfig::default()).unwrap();
        let dirs = Dirs::prepare(&root, &dir.path().join("state")).unwrap();
        let image = dir.path().join("image");
        std::fs::create_dir_all(image.join("data")).unwrap();
        std::fs::write(image.join("data/f"), "from the image").unwrap();
        World { _dir: dir, dirs, store, image }
    }

    fn mount(bind: &str) -> Vec<Mount> {
        let host = crate::config::HostConfig { binds: vec![bind.into()], ..Default::default() };
        crate::plan::mounts::plan(&Default::default(), &host, Vec::new()).unwrap()
    }

    fn volumes(w: &World) -> Volumes {
        Volumes::new(&Arc::new(Events::open(&w.dirs.events()).unwrap()))
    }

    fn prepare(w: &World, bind: &str, undo: &mut Undo) -> Result<Vec<(Mount, String)>> {
        let image = || View::open(&[&w.image]);
        volumes(w).prepare(
            (&w.dirs, &w.store),
            mount(bind),
            &image,
            Durability::Lazy,
            undo,
            &mut crate::holds::Holds::default().begin(),
        )
    }

    #[test]
    fn filled_once_and_kept() {
        let w = world();
        let mut undo = Undo::default();
        let place = prepare(&w, "mine:/data", &mut undo).unwrap().remove(0).1;
        undo.keep();
        assert_eq!(std::fs::read(Path::new(&place).join("f")).unwrap(), b"from the image");
        std::fs::write(Path::new(&place).join("f"), "mine").unwrap();
        let mut undo = Undo::default();
        assert_eq!(prepare(&w, "mine:/data", &mut undo).unwrap()[0].1, place);
        drop(undo);
        assert_eq!(std::fs::read(Path::new(&place).join("f")).unwrap(), b"mine", "not ours to undo");
        assert_eq!(w.store.db().volumes().unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_left_of_a_failed_create() {
        let w = world();
        let mut undo = Undo::default();
        let mounts = prepare(&w, "/data", &mut undo).unwrap();
        let Source::Volume { name: Some(name), anonymous: true, .. } = &mounts[0].0.source else { panic!() };
        assert!(place(&w.dirs, name).is_dir());
        drop(undo);
        assert_eq!(std::fs::read_dir(w.dirs.volumes()).unwrap().count(), 0);
        assert!(w.store.db().volumes().unwrap().is_empty());
    }

    #[test]
    fn no_copy_and_missing_sources() {
        let w = world();
        let mut undo = Undo::default();
        let place = prepare(&w, "plain:/data:nocopy", &mut undo).unwrap().remove(0).1;
        assert_eq!(std::fs::read_dir(place).unwrap().count(), 0);
        let bind = crate::config::MountConfig {
            kind: "bind".into(),
            source: "/nonexistent".into(),
            target: "/t".into(),
            ..Default::default()
        };
        let host = crate::config::HostConfig { mounts: vec![bind], ..Default::default() };
        let mounts = crate::plan::mounts::plan(&Default::default(), &host, Vec::new()).unwrap();
        let image = || View::open(&[&w.image]);
        let mut held = crate::holds::Holds::default().begin();
        let e = volumes(&w)
            .prepare((&w.dirs, &w.store), mounts, &image, Durability::Lazy, &mut undo, &mut held)
            .unwrap_err();
        assert!(e.text().ends_with("bind source path does not exist: /nonexistent"), "{e}");
    }
}
