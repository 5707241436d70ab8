//! A look at a root from outside, whether or not a daemon has it: nothing is opened for writing, locked or made there.
//!
//! It tells what can be told in milliseconds. Whether every file is what it was, only [`crate::check_root`] tells.

use crate::{db, lock};
use dhow_types::{Context as _, Result};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Mode of the root directory.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// Directories of layers.
    pub layers: u64,
    /// The database, or what is wrong with it; `None` if there is none, or if it is empty and in use.
    pub database: Option<std::result::Result<Database, String>>,
    /// Entries of `tmp` and `trash`.
    pub leftovers: u64,
    /// The process that has the root.
    pub holder: Option<u32>,
}

/// What can be seen of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// The version of its tables; 0 while all of a new one is still in its journal, and that can't be looked at.
    pub version: u32,
    /// Layers that a check found damaged and could not mend. `None` while a daemon has it, or where it is too large to be
    /// looked at so.
    pub damaged: Option<u64>,
}

/// The newest version of the tables that this program knows.
pub fn newest_version() -> u32 {
    db::newest_version()
}

/// A database with its journal is copied for a look up to this size.
const MAX_COPIED: u64 = 64 << 20;
/// What `/proc/locks` may be long.
const MAX_LOCKS: u64 = 4 << 20;

/// Looks at `root`. `scratch` is a directory of the caller's for a copy of the database. `None`: there is no root.
pub fn glance(root: &Path, scratch: &Path) -> Result<Option<Glance>> {
    let meta = match std::fs::metadata(root) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        meta => meta.with_context(|| format!("look at {}", root.display()))?,
    };
    let layers = entries(&root.join("layers"))?;
    let holder = holder(root);
    let seen = Glance {
        mode: meta.mode(),
        owner: meta.uid(),
        layers,
        database: database(root, scratch, holder.is_some()),
        leftovers: entries(&root.join("trash"))? + entries(&root.join("tmp"))?,
        holder,
    };
    // An empty directory, or one with other things in it, is no root.
    let made = seen.layers > 0 || seen.database.is_some() || root.join(lock::NAME).exists();
    Ok(made.then_some(seen))
}

fn entries(dir: &Path) -> Result<u64> {
    match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
        list => Ok(list.with_context(|| format!("list {}", dir.display()))?.count() as u64),
    }
}

fn database(root: &Path, scratch: &Path, in_use: bool) -> Option<std::result::Result<Database, String>> {
    let (file, journal) = (root.join("dhow.db"), root.join("dhow.db-wal"));
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
    if size(&file) == 0 && (size(&journal) == 0 || in_use) {
        return None;
    }
    let read = || -> std::result::Result<Database, String> {
        let mut header = [0; 100];
        if size(&file) > 0 {
            let mut open = File::open(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            match open.read_exact(&mut header) {
                // Too short for one: its first bytes are wrong too.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => header = [0; 100],
                other => other.map_err(|e| format!("{}: {e}", file.display()))?,
            }
        }
        if size(&file) > 0 && !header.starts_with(b"SQLite format 3\0") {
            return Err(format!("{} is no database: its first bytes are wrong", file.display()));
        }
        let version = u32::from_be_bytes([header[60], header[61], header[62], header[63]]);
        if in_use || size(&file) + size(&journal) > MAX_COPIED {
            return Ok(Database { version, damaged: None });
        }
        let copy = scratch.join("dhow.db");
        for (from, to) in [(&file, copy.clone()), (&journal, scratch.join("dhow.db-wal"))] {
            match std::fs::copy(from, to) {
                // No room for the copy says nothing of the database.
                Err(e) if e.kind() != ErrorKind::NotFound => return Ok(Database { version, damaged: None }),
                _ => {}
            }
        }
        let (version, damaged) = db::peek(&copy).map_err(|e| format!("{}: {}", file.display(), e.text()))?;
        Ok(Database { version, damaged: Some(damaged) })
    };
    Some(read())
}

/// The process with the lock, as the kernel lists it: to try the lock would keep it from a daemon that starts.
fn holder(root: &Path) -> Option<u32> {
    let meta = std::fs::metadata(root.join(lock::NAME)).ok()?;
    let mut text = String::new();
    File::open("/proc/locks").ok()?.take(MAX_LOCKS).read_to_string(&mut text).ok()?;
    let device = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == "FLOCK")?;
        let pid = words.get(at + 3)?.parse::<u32>().ok()?;
        let mut id = words.get(at + 4)?.split(':');
        let mut hex = || u32::from_str_radix(id.next()?, 16).ok();
        let (major, minor) = (hex()?, hex()?);
        (device == (major, minor) && id.next()?.parse::<u64>().ok()? == meta.ino()).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig};

    #[test]
    fn a_root_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = || tempfile::tempdir().unwrap();
        let look = |root: &Path| glance(root, scratch().path()).unwrap();
        assert_eq!(look(&dir.path().join("none")), None);
        assert_eq!(look(dir.path()), None, "an empty directory is no root");

        let root = dir.path().join("root");
        let store = Store::open(&root, StoreConfig::default()).unwrap();
        let open = look(&root).unwrap();
        assert_eq!((open.holder, open.mode & 0o777), (Some(std::process::id()), 0o700));
        store.mark_damaged(&dhow_types::Digest::of(b"x"));
        drop(store);

        let before: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
        let closed = look(&root).unwrap();
        assert_eq!((closed.holder, closed.layers, closed.leftovers), (None, 0, 0));
        assert_eq!(closed.database, Some(Ok(Database { version: newest_version(), damaged: Some(1) })));
        let after: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(before, after, "a look leaves nothing");

        std::fs::write(root.join("dhow.db"), "no database at all ".repeat(9)).unwrap();
        let damaged = look(&root).unwrap().database.unwrap().unwrap_err();
        assert!(damaged.contains("no database"), "{damaged}");
    }
}
