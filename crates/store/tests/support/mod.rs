//! A store of a test's own. Archives are made by hand with [`dhow_corpus`], so that tests decide about every byte.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

pub use dhow_corpus::wrap::{Layout, Packing, config, descriptor, docker_archive, docker_of, gzip, layout_of};
pub use dhow_corpus::{Head, Tar, describe, outline, record, seal};
use dhow_store::{Loaded, Store, StoreConfig};
use dhow_types::{Digest, Result};
use std::io::Cursor;
use std::path::PathBuf;

/// A store in a directory of its own, with a file beside it that nobody may touch.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub store: Option<Store>,
    pub config: StoreConfig,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(StoreConfig::default())
    }
    pub fn with(config: StoreConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("canary"), "untouched").unwrap();
        let mut this = Self { dir, store: None, config };
        this.reopen();
        this
    }
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }
    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(&self.root(), self.config.clone()).unwrap());
    }
    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }
    pub fn load(&self, archive: Vec<u8>) -> Result<Vec<Loaded>> {
        self.store().load(Cursor::new(archive), &mut |_| {})
    }
    /// Loads an image of these layers and returns its id.
    pub fn image(&self, tag: &str, layers: &[Vec<u8>]) -> Result<Digest> {
        Ok(self.load(docker_archive(Some(tag), &config(layers), layers))?[0].id)
    }
    /// The only layer of an image.
    pub fn tree(&self, id: &Digest) -> PathBuf {
        self.store().layer_dirs(id).unwrap().remove(0)
    }
    /// The tar rebuilt from the recipe.
    pub fn rebuilt(&self, diff_id: &Digest) -> Vec<u8> {
        let mut out = Vec::new();
        self.store().rebuild_layer(diff_id, &mut out).unwrap();
        out
    }
    /// Nothing beside the store was touched and nothing is half done.
    pub fn assert_clean(&self) {
        self.store().wait_for_trash();
        self.assert_clean_files();
    }
    /// The same for a store that is closed.
    pub fn assert_clean_files(&self) {
        assert_eq!(std::fs::read_to_string(self.dir.path().join("canary")).unwrap(), "untouched");
        let mut beside: Vec<_> = list(&self.dir.path().to_path_buf());
        beside.sort();
        assert_eq!(beside, ["canary", "root"]);
        assert!(list(&self.root().join("tmp")).is_empty());
        assert!(list(&self.root().join("trash")).is_empty());
    }
}

pub fn list(dir: &PathBuf) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
