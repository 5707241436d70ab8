//! The tables and the steps from one version of them to the next.
//!
//! A step that was released is never edited: a change is a new step.

use super::db_error;
use dhow_types::{Error, ErrorKind, Result};
use rusqlite::Connection;

/// Step N brings `user_version` from N to N + 1.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- A layer's directory is layers/<diff id>. size: bytes of file content. opaque_root: it hides every layer below.
    CREATE TABLE layers (
        diff_id BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        tar_size INTEGER NOT NULL,
        opaque_root INTEGER NOT NULL DEFAULT 0,
        created INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Every form of a layer that was ever received; kept: whether blobs/sha256/<digest> exists.
    CREATE TABLE layer_blobs (
        digest BLOB PRIMARY KEY,
        diff_id BLOB NOT NULL REFERENCES layers (diff_id) ON DELETE CASCADE,
        size INTEGER NOT NULL,
        media_type TEXT NOT NULL,
        kept INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX layer_blobs_by_layer ON layer_blobs (diff_id);

    -- id: digest of the configuration, which is blobs/sha256/<id>. manifest: digest of the manifest it came with.
    CREATE TABLE images (
        id BLOB PRIMARY KEY,
        manifest BLOB,
        parent BLOB,
        size INTEGER NOT NULL,
        loaded INTEGER NOT NULL,
        last_used INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE image_layers (
        image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        diff_id BLOB NOT NULL REFERENCES layers (diff_id),
        PRIMARY KEY (image, position)
    ) WITHOUT ROWID;
    CREATE INDEX image_layers_by_layer ON image_layers (diff_id);

    -- name: domain/path. digests: repositories by whose manifest digest an image is known.
    CREATE TABLE tags (
        name TEXT NOT NULL,
        tag TEXT NOT NULL,
        image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        updated INTEGER NOT NULL,
        PRIMARY KEY (name, tag)
    ) WITHOUT ROWID;
    CREATE INDEX tags_by_image ON tags (image);
    CREATE TABLE digests (
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        PRIMARY KEY (name, digest)
    ) WITHOUT ROWID;
    CREATE INDEX digests_by_image ON digests (image);

    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image BLOB,
        ephemeral INTEGER NOT NULL,
        doc TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX containers_by_image ON containers (image);
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        anonymous INTEGER NOT NULL,
        doc TEXT NOT NULL
    ) WITHOUT ROWID;
",
    "
    -- Layers that were received for an image that is not whole yet. Their bytes may not be on the disk: they count for
    -- as long as the machine runs that wrote them (boot_id), and are synced when an image takes them over.
    CREATE TABLE pending_layers (
        diff_id BLOB PRIMARY KEY REFERENCES layers (diff_id) ON DELETE CASCADE,
        boot_id TEXT NOT NULL,
        since INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Which image the manifest or index with this digest gave for a platform.
    CREATE TABLE resolved (
        digest BLOB NOT NULL,
        platform TEXT NOT NULL,
        image BLOB NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        PRIMARY KEY (digest, platform)
    ) WITHOUT ROWID;
    CREATE INDEX resolved_by_image ON resolved (image);
",
    "
    -- Where a form of a layer was seen: repository (a path) of a registry.
    CREATE TABLE layer_sources (
        digest BLOB NOT NULL REFERENCES layer_blobs (digest) ON DELETE CASCADE,
        registry TEXT NOT NULL,
        repository TEXT NOT NULL,
        seen INTEGER NOT NULL,
        PRIMARY KEY (digest, registry, repository)
    ) WITHOUT ROWID;
",
];

/// The version that all steps lead to.
pub(super) fn newest() -> u32 {
    STEPS.len() as u32
}

/// Whether no step was ever taken.
pub(super) fn is_new(connection: &Connection) -> Result<bool> {
    connection.query_row("PRAGMA user_version", [], |r| r.get::<_, u32>(0)).map(|v| v == 0).map_err(db_error)
}

/// Brings the tables to this program's version. A database of a newer program is left alone.
pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let have: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(db_error)?;
    let have = have as usize;
    if have > STEPS.len() {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!(
                "it has schema version {have}, this dhow knows up to {}: it was used by a newer dhow, use that one",
                STEPS.len()
            ),
        ));
    }
    for (version, step) in STEPS.iter().enumerate().skip(have) {
        let tx = connection.transaction().map_err(db_error)?;
        tx.execute_batch(step).map_err(db_error)?;
        tx.pragma_update(None, "user_version", version as u32 + 1).map_err(db_error)?;
        tx.commit().map_err(db_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_old_and_newer_databases() {
        let mut c = Connection::open_in_memory().unwrap();
        migrate(&mut c).unwrap();
        c.execute("INSERT INTO meta VALUES ('k', 'v')", []).unwrap();
        migrate(&mut c).unwrap();
        let kept: String = c.query_row("SELECT value FROM meta", [], |r| r.get(0)).unwrap();
        assert_eq!(kept, "v");
        c.pragma_update(None, "user_version", STEPS.len() as u32 + 1).unwrap();
        let e = migrate(&mut c).unwrap_err();
        assert!(e.text().contains("newer dhow"), "{e}");
    }

    #[test]
    fn a_failing_step_changes_nothing() {
        let mut c = Connection::open_in_memory().unwrap();
        c.execute_batch("CREATE TABLE volumes (x)").unwrap();
        assert!(migrate(&mut c).is_err());
        let (version, tables): (i64, i64) = c
            .query_row(
                "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
                [],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .unwrap();
        assert_eq!((version, tables), (0, 1));
    }
}
