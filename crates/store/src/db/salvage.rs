//! Rows of a damaged database, as far as SQLite can read them, copied into a whole one.
//!
//! Every table is read from its beginning and from its end: a damaged page in the middle then costs only the rows
//! on it. What the rows mean is not judged here.

use super::{Database, db_error};
use dhow_types::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use std::path::Path;

impl Database {
    /// Copies what can be read of the database at `old`; returns how many rows of which table. A file that can't be
    /// opened at all gives none.
    pub(crate) fn take_rows_of(&self, old: &Path) -> Result<Vec<(String, u64)>> {
        let mut handle = self.lock();
        let connection = &mut handle.connection;
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
            .and_then(|mut s| s.query_map([], |r| r.get(0))?.collect())
            .map_err(db_error)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(from) = Connection::open_with_flags(old, flags) else { return Ok(Vec::new()) };
        // What the journal still holds belongs to the file; a journal that can't be read is left out.
        let _ = from.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        connection.execute_batch("PRAGMA foreign_keys = OFF").map_err(db_error)?;
        let mut copied = Vec::new();
        for table in tables {
            let tx = connection.transaction().map_err(db_error)?;
            let n = copy(&from, &tx, &table);
            tx.commit().map_err(db_error)?;
            copied.push((table, n));
        }
        connection.execute_batch("PRAGMA foreign_keys = ON").map_err(db_error)?;
        Ok(copied)
    }
}

/// Copies the rows of one table; returns how many arrived.
fn copy(from: &Connection, to: &Connection, table: &str) -> u64 {
    let Ok(mine) = columns(to, table) else { return 0 };
    let Ok(theirs) = columns(from, table) else { return 0 };
    let both: Vec<&(String, bool)> = mine.iter().filter(|c| theirs.iter().any(|t| t.0 == c.0)).collect();
    if both.is_empty() {
        return 0;
    }
    let names: Vec<&str> = both.iter().map(|c| c.0.as_str()).collect();
    let key: Vec<&str> = both.iter().filter(|c| c.1).map(|c| c.0.as_str()).collect();
    let marks: Vec<String> = (1..=names.len()).map(|n| format!("?{n}")).collect();
    let insert = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({})", names.join(", "), marks.join(", "));
    let mut arrived = 0;
    for direction in ["ASC", "DESC"] {
        let order: Vec<String> = key.iter().map(|k| format!("{k} {direction}")).collect();
        let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
        let Ok(mut select) = from.prepare(&format!("SELECT {} FROM {table}{order}", names.join(", "))) else {
            continue;
        };
        let Ok(mut rows) = select.query([]) else { continue };
        // Ends at the end, or at the first page that can't be read.
        while let Ok(Some(row)) = rows.next() {
            let values: Vec<Value> = (0..names.len()).filter_map(|i| row.get(i).ok()).collect();
            if values.len() != names.len() {
                continue;
            }
            let inserted = to.prepare_cached(&insert).and_then(|mut s| s.execute(params_from_iter(values)));
            arrived += inserted.unwrap_or(0) as u64;
        }
    }
    arrived
}

/// The columns of a table, and whether they are of its key.
fn columns(c: &Connection, table: &str) -> rusqlite::Result<Vec<(String, bool)>> {
    c.prepare("SELECT name, pk > 0 FROM pragma_table_info(?1)")?
        .query_map([table], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect()
}
