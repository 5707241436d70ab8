//! Volumes: directories below the root that outlive containers.

use crate::copyup;
use crate::core::{Dirs, make};
use crate::merged::Dir;
use crate::plan::mounts::{Mount, Source};
use crate::undo::Undo;
use dhow_store::{Durability, Store, VolumeRow};
use dhow_types::{Context, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Volumes that are being made or filled: a second container that wants one waits for it alone.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
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
    /// Makes what the mounts of a new container need, and gives each its place on this machine.
    /// `image` is the root file system of the container, to fill new volumes from.
    pub(crate) fn prepare(
        &self,
        dirs: &Dirs,
        store: &Store,
        mounts: Vec<Mount>,
        image: &dyn Fn() -> Result<Dir>,
        durability: Durability,
        undo: &mut Undo,
    ) -> Result<Vec<(Mount, String)>> {
        let mut out = Vec::with_capacity(mounts.len());
        for mut mount in mounts {
            let place = match &mut mount.source {
                Source::Tmpfs { .. } => String::new(),
                Source::Bind { path, create } => {
                    if !*create && std::fs::symlink_metadata(&*path).is_err() {
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
                    let place = place(dirs, &name);
                    self.one(&name, || {
                        if !place.is_dir() {
                            let row = VolumeRow { name: name.clone(), anonymous: *anonymous, doc: document(labels)? };
                            add(dirs, store, row, durability, undo)?;
                        }
                        if *copy && is_empty(&place)? {
                            copyup::fill(&image()?, &mount.destination, &place)?;
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

/// Forgets a volume and discards its content.
pub(crate) fn remove(dirs: &Dirs, store: &Store, trash: &crate::trash::Trash, name: &str) -> Result<()> {
    store.db().delete_volume(name, Durability::Lazy)?;
    trash.discard(&dirs.volumes().join(name))
}

fn is_empty(dir: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?.next().is_none())
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))
}
