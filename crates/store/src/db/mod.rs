//! The database: images, tags, layers, and the engine's containers and volumes.
//!
//! One connection behind one lock. Documents of the engine are opaque text here; rules about images
//! live in `images` and `remove`, never in SQL.

mod check;
mod documents;
mod images;
mod pending;
mod room;
mod salvage;
mod schema;
mod sources;

pub(crate) use check::DANGLING;
pub use documents::{ContainerRow, VolumeRow};
pub(crate) use images::{ImageRow, LayerBlob, LayerRow, NewImage};

use dhow_types::{Context as _, Digest, Error, ErrorKind, FAILING_DISK, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
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
    /// After the connection, as it must be dropped after it.
    room: room::Room,
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // The journal stays when the database is closed, and with it its room; see `Handle::drop`.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Nobody else has the database while the root is locked. Shared, it would have an index in a file that is mapped:
    // a full disk would refuse its blocks, and kill the process that touches them.
    connection.execute_batch(&format!(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = 1000;
         PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
    ))?;
    Ok(connection)
}

/// The newest version of the tables.
pub(crate) fn newest_version() -> u32 {
    schema::newest()
}

/// The version of the tables, and how many layers are marked as damaged, of a copy of a database that nobody else has.
pub(crate) fn peek(copy: &Path) -> Result<(u32, u64)> {
    let connection = Connection::open(copy).map_err(db_error)?;
    let version = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(db_error)?;
    let has_marks: bool = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |r| r.get(0))
        .map_err(db_error)?;
    if !has_marks {
        return Ok((version, 0));
    }
    let marks = "SELECT count(*) FROM meta WHERE key LIKE 'damaged:%'";
    let marked: i64 = connection.query_row(marks, [], |r| r.get(0)).map_err(db_error)?;
    Ok((version, marked.unsigned_abs()))
}

impl Handle {
    fn settle(&mut self) -> Result<()> {
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0));
        self.room.take();
        match emptied.map_err(db_error)? {
            0 => Ok(()),
            _ => Err(Error::system("the database's journal is in use")),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // What can't be moved now stays in the journal, where the next one finds it.
        let _ = self.settle();
    }
}

/// How much of the database is kept in memory, in KiB.
const CACHE_KIB: i64 = 512;
/// Prepared statements kept.
const STATEMENTS: usize = 32;

impl Database {
    /// Opens the database, or makes it. One that is new where `may_be_new` is false has lost what it held: an error.
    pub(crate) fn open(path: &Path, may_be_new: bool) -> Result<Self> {
        let what = || format!("open the database {}", path.display());
        let mut connection = connect(path).map_err(db_error).with_context(what)?;
        if !may_be_new && schema::is_new(&connection).with_context(what)? {
            return Err(Error::new(ErrorKind::DataLoss, "it is missing or empty, though there are layers"))
                .with_context(what);
        }
        schema::migrate(&mut connection).with_context(what)?;
        let room = room::Room::open(path);
        Ok(Self { inner: Mutex::new(Handle { connection, durability: Durability::Synced, room }) })
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
        handle.room.written();
        Ok(out)
    }

    /// Brings the journal's content into the file and empties it, so that nothing of a transaction that failed is left
    /// in it.
    pub(crate) fn settle(&self) -> Result<()> {
        self.lock().settle()
    }

    /// Any statements, as if the file were damaged: for tests of what finds damage.
    #[doc(hidden)]
    pub fn damage(&self, statements: &str) -> Result<()> {
        self.read(|c| c.execute_batch(&format!("PRAGMA foreign_keys = OFF; {statements}; PRAGMA foreign_keys = ON")))
    }

    /// The layers that are marked as damaged.
    pub(crate) fn damaged_layers(&self) -> Result<Vec<Digest>> {
        let keys: Vec<String> = self.read(|c| {
            c.prepare_cached("SELECT substr(key, 9) FROM meta WHERE key LIKE 'damaged:%'")?
                .query_map([], |r| r.get(0))?
                .collect()
        })?;
        Ok(keys.iter().filter_map(|hex| Digest::from_hex(hex).ok()).collect())
    }

    /// Marks a layer as damaged, or takes the mark away.
    pub(crate) fn set_damaged(&self, layer: &Digest, damaged: bool) -> Result<()> {
        let key = format!("damaged:{}", layer.hex());
        if damaged {
            return self.set_meta(&key, "", Durability::Synced);
        }
        self.write(Durability::Lazy, |c| {
            c.execute("DELETE FROM meta WHERE key = ?1", [&key]).map_err(db_error)?;
            Ok(())
        })
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
    let kind = match e.sqlite_error_code() {
        // The same words as the kernel's, of which more is said where more is known.
        Some(ErrorCode::DiskFull) => return Error::new(ErrorKind::DiskFull, "database: no space left on device"),
        Some(ErrorCode::SystemIoFailure) => {
            return Error::system(format!("database: {e} ({FAILING_DISK}; a quota that is used up has the same sign)"));
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::DataLoss,
        Some(ErrorCode::ConstraintViolation) => ErrorKind::Conflict,
        _ => ErrorKind::System,
    };
    Error::new(kind, format!("database: {e}"))
}
