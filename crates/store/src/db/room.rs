//! Blocks that the database has before it needs them, so that what frees space (removing an image, a container) can
//! still be written down when the disk is full.
//!
//! Only blocks beyond the ends of the files are taken, where SQLite will write next; what is in the files is SQLite's.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::path::{Path, PathBuf};

/// For the journal: what it grows to before its content is moved into the file (`wal_autocheckpoint` pages), and one
/// large transaction more.
const JOURNAL: u64 = 5 << 20;
/// For the file itself, beyond its length.
const GROWTH: u64 = 1 << 20;
/// Transactions after which it is looked again whether the file has grown.
const EVERY: u32 = 64;

/// Keeps the room. It must be dropped after the connection: to close a second descriptor of a file takes away the
/// process's locks on it.
pub(super) struct Room {
    file: Option<File>,
    journal: PathBuf,
    transactions: u32,
}

impl Room {
    /// For the database at `path`, which is there.
    pub(super) fn open(path: &Path) -> Self {
        let mut journal = path.as_os_str().to_owned();
        journal.push("-wal");
        let file = File::options().write(true).open(path).ok();
        let mut room = Self { file, journal: journal.into(), transactions: 0 };
        room.take();
        room
    }

    /// A transaction has ended.
    pub(super) fn written(&mut self) {
        self.transactions += 1;
        if self.transactions >= EVERY {
            self.take();
        }
    }

    /// Takes what is not there. Where the file system can't, or is full already, there is none: nothing depends on it
    /// but a full disk.
    pub(super) fn take(&mut self) {
        self.transactions = 0;
        // Not created here: a journal is SQLite's to make.
        if let Ok(journal) = File::options().write(true).open(&self.journal) {
            let _ = fallocate(&journal, FallocateFlags::KEEP_SIZE, 0, JOURNAL);
        }
        if let Some(file) = &self.file
            && let Ok(meta) = file.metadata()
        {
            let _ = fallocate(file, FallocateFlags::KEEP_SIZE, 0, meta.len() + GROWTH);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Durability, Store, StoreConfig};
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_journal_has_its_blocks_always() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = || {
            let of = |name: &str| std::fs::metadata(dir.path().join(name)).map_or(0, |m| m.blocks() * 512);
            (of("dhow.db"), of("dhow.db-wal"))
        };
        let enough = |(file, journal): (u64, u64)| file >= super::GROWTH && journal >= super::JOURNAL;
        for round in 0..3 {
            let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
            assert!(enough(blocks()), "open, round {round}: {:?}", blocks());
            store.db().set_meta("key", &round.to_string(), Durability::Synced).unwrap();
            store.db().settle().unwrap();
            assert!(enough(blocks()), "settled, round {round}: {:?}", blocks());
            drop(store);
            assert!(!dir.path().join("dhow.db-shm").exists());
            assert!(enough(blocks()), "closed, round {round}: {:?}", blocks());
        }
        let store = Store::open(dir.path(), StoreConfig::default()).unwrap();
        assert_eq!(store.db().meta("key").unwrap().as_deref(), Some("2"));
    }
}
