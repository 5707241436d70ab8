//! The database: images, tags, layers, and the engine's containers and volumes.
//!
//! One connection behind one lock. Documents of the engine are opaque text here; rules about images
//! live in `images` and `remove`, never in SQL.

mod check;
mod documents;
mod images;
mod salvage;
mod schema;

pub(crate) use check::DANGLING;
pub use documents::{ContainerRow, VolumeRow};
pub(crate) use images::{ImageRow, LayerBlob, LayerRow, NewImage};

use dhow_types::{Context as _, Error, ErrorKind, Result};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// What a change must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: on disk before the call returns.
    Synced,
    /// The death of this process, not that of the machine.
    Lazy,
}

/// The database of one store.
pub struct Database {
    inner: Mutex<Handle>,
}

struct Handle {
    connection: Connection,
    durability: Durability,
}

/// How much of the database is kept in memory, in KiB.
const CACHE_KIB: i64 = 512;
/// Prepared statements kept.
const STATEMENTS: usize = 32;

impl Database {
    /// Opens the database, or makes it. One that is new where `may_be_new` is false has lost what it held: an error.
    pub(crate) fn open(path: &Path, may_be_new: bool) -> Result<Self> {
        let what = || format!("open the database {}", path.display());
        let mut connection = Connection::open(path).map_err(db_error).with_context(what)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let setup = format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = 1000; PRAGMA temp_store = MEMORY;
             PRAGMA trusted_schema = OFF;"
        );
        connection.execute_batch(&setup).map_err(db_error).with_context(what)?;
        if !may_be_new && schema::is_new(&connection).with_context(what)? {
            return Err(Error::new(ErrorKind::DataLoss, "it is missing or empty, though there are layers"))
                .with_context(what);
        }
        schema::migrate(&mut connection).with_context(what)?;
        Ok(Self { inner: Mutex::new(Handle { connection, durability: Durability::Synced }) })
    }

    fn lock(&self) -> MutexGuard<'_, Handle> {
        crate::lock_anyway(&self.inner)
    }

    /// Reads.
    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        f(&self.lock().connection).map_err(db_error)
    }

    /// Changes, all or nothing, with the given durability.
    fn write<T>(&self, durability: Durability, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut handle = self.lock();
        if handle.durability != durability {
            let level = match durability {
                Durability::Synced => "PRAGMA synchronous = FULL",
                Durability::Lazy => "PRAGMA synchronous = NORMAL",
            };
            handle.connection.execute_batch(level).map_err(db_error)?;
            handle.durability = durability;
        }
        let tx =
            handle.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(db_error)?;
        let out = f(&tx)?;
        tx.commit().map_err(db_error)?;
        Ok(out)
    }

    /// Brings the journal's content into the file and empties it, so that nothing of a transaction that failed is left
    /// in it.
    pub(crate) fn settle(&self) -> Result<()> {
        let busy: i64 = self.read(|c| c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get(0)))?;
        if busy == 0 { Ok(()) } else { Err(Error::system("the database's journal is in use")) }
    }

    /// A value of the table `meta`.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        use rusqlite::OptionalExtension as _;
        self.read(|c| {
            c.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |r| r.get(0)).optional()
        })
    }

    /// Sets a value of the table `meta`.
    pub fn set_meta(&self, key: &str, value: &str, durability: Durability) -> Result<()> {
        self.write(durability, |c| {
            c.prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )
            .and_then(|mut s| s.execute([key, value]))
            .map_err(db_error)?;
            Ok(())
        })
    }
}

/// SQLite's error in our words.
fn db_error(e: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::Exhausted,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::DataLoss,
        Some(ErrorCode::ConstraintViolation) => ErrorKind::Conflict,
        _ => ErrorKind::System,
    };
    Error::new(kind, format!("database: {e}"))
}
