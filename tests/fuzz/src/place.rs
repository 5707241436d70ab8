//! Where targets write: a directory of their own, and a file in it that nobody may touch.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What archives try to overwrite: seeds and generated links lead here. A run in a mount namespace has its own `/mnt`.
pub const CANARY: &str = "/mnt/canary";

/// A directory in which one input is handled; removed afterwards.
pub struct Place {
    dir: tempfile::TempDir,
}

/// Where places are made: `/mnt` if a run of its own stands there, else a temporary directory.
fn base() -> &'static Path {
    static BASE: OnceLock<(PathBuf, Option<tempfile::TempDir>)> = OnceLock::new();
    let (base, _) = BASE.get_or_init(|| {
        if Path::new(CANARY).exists() {
            return (PathBuf::from("/mnt"), None);
        }
        let dir = tempfile::tempdir().unwrap();
        (dir.path().to_owned(), Some(dir))
    });
    base
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir_in(base()).unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    /// Panics if something was written outside of the directories `mine`, which are in it.
    pub fn assert_nothing_beside(&self, mine: &[&str]) {
        for name in names(self.path()) {
            assert!(mine.contains(&name.as_str()), "something was written beside the tree: {name}");
        }
        if base() == Path::new("/mnt") {
            assert_eq!(std::fs::read(CANARY).unwrap(), b"untouched", "a file outside of the tree was changed");
            let own = self.path().file_name().unwrap().to_str().unwrap().to_owned();
            for name in names(base()) {
                let ours = name == "canary" || name == own || name == "store";
                assert!(ours, "something was written far outside of the tree: {name}");
            }
        }
    }
}

/// Names in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
