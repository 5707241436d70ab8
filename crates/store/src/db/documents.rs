//! Rows kept for the engine: containers and volumes, their documents opaque.

use super::{Database, Durability, db_error};
use dhow_types::{Cause, Digest, Error, Result};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A container as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// Its id, 64 hex digits.
    pub id: String,
    /// Its name, without a slash before it.
    pub name: String,
    /// The image it was made from, if any.
    pub image: Option<Digest>,
    /// Whether it vanishes when it ends or when the machine does.
    pub ephemeral: bool,
    /// The engine's document.
    pub doc: String,
}

/// A volume as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its name.
    pub name: String,
    /// Whether nobody gave it a name.
    pub anonymous: bool,
    /// The engine's document.
    pub doc: String,
}

impl Database {
    /// Inserts or replaces a container. `Conflict` if another one has its name; the text is Docker's.
    pub fn put_container(&self, row: &ContainerRow, durability: Durability) -> Result<()> {
        self.write(durability, |c| {
            let holder: Option<String> = c
                .prepare_cached("SELECT id FROM containers WHERE name = ?1 AND id <> ?2")
                .and_then(|mut s| s.query_row([&row.name, &row.id], |r| r.get(0)).optional())
                .map_err(db_error)?;
            if let Some(holder) = holder {
                return Err(Error::conflict(format!(
                    "Conflict. The container name \"/{}\" is already in use by container \"{holder}\". \
                     You have to remove (or rename) that container to be able to reuse that name.",
                    row.name
                ))
                .because(Cause::NameTaken));
            }
            c.prepare_cached(
                "INSERT INTO containers (id, name, image, ephemeral, doc) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET name = ?2, image = ?3, ephemeral = ?4, doc = ?5",
            )
            .and_then(|mut s| {
                let image = row.image.as_ref().map(|d| d.raw().as_slice());
                s.execute(params![row.id, row.name, image, row.ephemeral, row.doc])
            })
            .map_err(db_error)?;
            Ok(())
        })
    }

    /// Replaces a container's document.
    pub fn update_container(&self, id: &str, doc: &str, durability: Durability) -> Result<()> {
        self.write(durability, |c| {
            let changed = run(c, "UPDATE containers SET doc = ?2 WHERE id = ?1", params![id, doc])?;
            if changed == 0 {
                Err(Error::not_found(format!("No such container: {id}")).because(Cause::ContainerMissing))
            } else {
                Ok(())
            }
        })
    }

    /// Forgets a container. Not an error if there is none.
    pub fn delete_container(&self, id: &str) -> Result<()> {
        self.write(Durability::Lazy, |c| run(c, "DELETE FROM containers WHERE id = ?1", params![id]).map(drop))
    }

    /// All containers.
    pub fn containers(&self) -> Result<Vec<ContainerRow>> {
        self.read(|c| {
            c.prepare_cached("SELECT id, name, image, ephemeral, doc FROM containers ORDER BY id")?
                .query_map([], container)?
                .collect()
        })
    }

    /// Inserts or replaces a volume.
    pub fn put_volume(&self, row: &VolumeRow, durability: Durability) -> Result<()> {
        self.write(durability, |c| {
            let sql = "INSERT INTO volumes (name, anonymous, doc) VALUES (?1, ?2, ?3)
                       ON CONFLICT (name) DO UPDATE SET anonymous = ?2, doc = ?3";
            run(c, sql, params![row.name, row.anonymous, row.doc]).map(drop)
        })
    }

    /// Forgets a volume. Not an error if there is none.
    pub fn delete_volume(&self, name: &str, durability: Durability) -> Result<()> {
        self.write(durability, |c| run(c, "DELETE FROM volumes WHERE name = ?1", params![name]).map(drop))
    }

    /// All volumes.
    pub fn volumes(&self) -> Result<Vec<VolumeRow>> {
        self.read(|c| {
            c.prepare_cached("SELECT name, anonymous, doc FROM volumes ORDER BY name")?
                .query_map([], |r| Ok(VolumeRow { name: r.get(0)?, anonymous: r.get(1)?, doc: r.get(2)? }))?
                .collect()
        })
    }
}

fn run(c: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
    c.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(db_error)
}

fn container(r: &Row<'_>) -> rusqlite::Result<ContainerRow> {
    let image: Option<[u8; 32]> = r.get(2)?;
    Ok(ContainerRow {
        id: r.get(0)?,
        name: r.get(1)?,
        image: image.map(Digest::from_raw),
        ephemeral: r.get(3)?,
        doc: r.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ErrorKind;

    fn row(id: &str, name: &str) -> ContainerRow {
        let image = Some(Digest::of(b"i"));
        ContainerRow { id: id.into(), name: name.into(), image, ephemeral: true, doc: "{}".into() }
    }

    #[test]
    fn containers_round_trip_and_names_are_unique() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(&dir.path().join("x.db"), true).unwrap();
        db.put_container(&row("1", "a"), Durability::Lazy).unwrap();
        db.put_container(&row("2", "b"), Durability::Synced).unwrap();
        let e = db.put_container(&row("3", "a"), Durability::Lazy).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
        assert!(
            e.text().starts_with("Conflict. The container name \"/a\" is already in use by container \"1\"."),
            "{e}"
        );
        db.update_container("1", "{1}", Durability::Lazy).unwrap();
        assert_eq!(db.update_container("9", "", Durability::Lazy).unwrap_err().kind(), ErrorKind::NotFound);
        let all = db.containers().unwrap();
        assert_eq!(all, [ContainerRow { doc: "{1}".into(), ..row("1", "a") }, row("2", "b")]);
        db.delete_container("1").unwrap();
        db.delete_container("1").unwrap();
        db.put_container(&row("3", "a"), Durability::Lazy).unwrap();
        assert!(db.complaints().unwrap().is_empty());
    }

    #[test]
    fn volumes_round_trip_across_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let v = VolumeRow { name: "v".into(), anonymous: true, doc: "d".into() };
        {
            let db = Database::open(&path, true).unwrap();
            db.put_volume(&v, Durability::Lazy).unwrap();
            db.set_meta("k", "1", Durability::Lazy).unwrap();
        }
        let db = Database::open(&path, true).unwrap();
        assert_eq!((db.volumes().unwrap(), db.meta("k").unwrap()), (vec![v], Some("1".into())));
        db.delete_volume("v", Durability::Synced).unwrap();
        assert!(db.volumes().unwrap().is_empty());
    }
}
