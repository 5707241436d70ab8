//! What `check` asks of the rows, and the small repairs it makes to them. Judging is done by `crate::check`.

use super::images::{exec, raw};
use super::{Database, Durability, LayerBlob, LayerRow, db_error};
use dhow_types::{Digest, Reference, Result};
use rusqlite::params;

/// The most complaints of SQLite's own check that are told.
const MAX_COMPLAINTS: u32 = 20;

/// Rows that name something which has no row: what they are, how they are counted, how they go.
pub(crate) struct Dangling {
    pub what: &'static str,
    count: &'static str,
    delete: &'static str,
}

/// A layer that an image lacks is not among them: the image is damaged, its row is not at fault.
pub(crate) const DANGLING: [Dangling; 4] = [
    Dangling {
        what: "tags of images that are gone",
        count: "SELECT count(*) FROM tags WHERE image NOT IN (SELECT id FROM images)",
        delete: "DELETE FROM tags WHERE image NOT IN (SELECT id FROM images)",
    },
    Dangling {
        what: "names by digest of images that are gone",
        count: "SELECT count(*) FROM digests WHERE image NOT IN (SELECT id FROM images)",
        delete: "DELETE FROM digests WHERE image NOT IN (SELECT id FROM images)",
    },
    Dangling {
        what: "layers of images that are gone",
        count: "SELECT count(*) FROM image_layers WHERE image NOT IN (SELECT id FROM images)",
        delete: "DELETE FROM image_layers WHERE image NOT IN (SELECT id FROM images)",
    },
    Dangling {
        what: "received forms of layers that are gone",
        count: "SELECT count(*) FROM layer_blobs WHERE diff_id NOT IN (SELECT diff_id FROM layers)",
        delete: "DELETE FROM layer_blobs WHERE diff_id NOT IN (SELECT diff_id FROM layers)",
    },
];

impl Database {
    /// SQLite's complaints about the file; none if it is whole.
    pub(crate) fn complaints(&self) -> Result<Vec<String>> {
        let lines: Vec<String> = self.read(|c| {
            c.prepare(&format!("PRAGMA integrity_check({MAX_COMPLAINTS})"))?.query_map([], |r| r.get(0))?.collect()
        })?;
        Ok(lines.into_iter().filter(|l| l != "ok").collect())
    }

    /// Makes all indexes anew from their tables.
    pub(crate) fn reindex(&self) -> Result<()> {
        self.write(Durability::Synced, |c| c.execute_batch("REINDEX").map_err(db_error))
    }

    /// How many rows of this sort there are.
    pub(crate) fn dangling(&self, d: &Dangling) -> Result<u64> {
        self.read(|c| c.query_row(d.count, [], |r| r.get::<_, i64>(0))).map(|n| n as u64)
    }

    /// Takes them away.
    pub(crate) fn remove_dangling(&self, d: &Dangling) -> Result<()> {
        self.write(Durability::Synced, |c| exec(c, d.delete, []).map(drop))
    }

    /// Names that no image can have: table, name, and tag where there is one.
    pub(crate) fn impossible_names(&self) -> Result<Vec<(&'static str, String, Option<String>)>> {
        let rows: Vec<(&'static str, String, Option<String>)> = self.read(|c| {
            let mut rows = Vec::new();
            for (table, sql) in
                [("tags", "SELECT name, tag FROM tags"), ("digests", "SELECT DISTINCT name, NULL FROM digests")]
            {
                let mut s = c.prepare(sql)?;
                for row in s.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
                    let (name, tag) = row?;
                    rows.push((table, name, tag));
                }
            }
            Ok(rows)
        })?;
        let impossible = |name: &str, tag: Option<&String>| match (name.parse::<Reference>(), tag) {
            (Err(_), _) => true,
            (Ok(r), Some(tag)) => r.with_tag(tag).is_err(),
            (Ok(_), None) => false,
        };
        Ok(rows.into_iter().filter(|(_, name, tag)| impossible(name, tag.as_ref())).collect())
    }

    /// Takes such a name away.
    pub(crate) fn remove_name(&self, table: &str, name: &str, tag: Option<&str>) -> Result<()> {
        self.write(Durability::Synced, |c| {
            match table {
                "tags" => exec(c, "DELETE FROM tags WHERE name = ?1 AND tag IS ?2", params![name, tag])?,
                _ => exec(c, "DELETE FROM digests WHERE name = ?1", params![name])?,
            };
            Ok(())
        })
    }

    /// All images, with the manifests they say they came with.
    pub(crate) fn image_ids(&self) -> Result<Vec<(Digest, Option<Digest>)>> {
        self.read(|c| {
            c.prepare("SELECT id, manifest FROM images")?
                .query_map([], |r| {
                    Ok((r.get(0).map(Digest::from_raw)?, r.get::<_, Option<[u8; 32]>>(1)?.map(Digest::from_raw)))
                })?
                .collect()
        })
    }

    /// An image's layers, lowest first, whether they have rows or not; none if their positions have holes.
    pub(crate) fn listed_layers(&self, image: &Digest) -> Result<Option<Vec<Digest>>> {
        let rows: Vec<(i64, Digest)> = self.read(|c| {
            c.prepare_cached("SELECT position, diff_id FROM image_layers WHERE image = ?1 ORDER BY position")?
                .query_map([raw(image)], |r| Ok((r.get(0)?, r.get(1).map(Digest::from_raw)?)))?
                .collect()
        })?;
        let dense = rows.iter().enumerate().all(|(i, (position, _))| i as i64 == *position);
        Ok(dense.then(|| rows.into_iter().map(|r| r.1).collect()))
    }

    /// Says anew which layers an image has.
    pub(crate) fn list_layers(&self, image: &Digest, layers: &[Digest]) -> Result<()> {
        self.write(Durability::Synced, |c| {
            exec(c, "DELETE FROM image_layers WHERE image = ?1", [raw(image)])?;
            for (position, layer) in layers.iter().enumerate() {
                exec(
                    c,
                    "INSERT INTO image_layers (image, position, diff_id) VALUES (?1, ?2, ?3)",
                    params![raw(image), position as i64, raw(layer)],
                )?;
            }
            Ok(())
        })
    }

    /// Images that have this layer.
    pub(crate) fn images_with_layer(&self, diff_id: &Digest) -> Result<Vec<Digest>> {
        self.read(|c| {
            c.prepare_cached("SELECT DISTINCT image FROM image_layers WHERE diff_id = ?1")?
                .query_map([raw(diff_id)], |r| r.get(0).map(Digest::from_raw))?
                .collect()
        })
    }

    /// Images whose size is not that of their layers.
    pub(crate) fn missized_images(&self) -> Result<Vec<Digest>> {
        self.read(|c| {
            c.prepare(
                "SELECT id FROM images WHERE size <> (SELECT coalesce(sum(l.size), 0) FROM image_layers il
                 JOIN layers l ON l.diff_id = il.diff_id WHERE il.image = images.id)",
            )?
            .query_map([], |r| r.get(0).map(Digest::from_raw))?
            .collect()
        })
    }

    /// Makes an image's size that of its layers.
    pub(crate) fn size_image(&self, image: &Digest) -> Result<()> {
        self.write(Durability::Synced, |c| {
            exec(
                c,
                "UPDATE images SET size = (SELECT coalesce(sum(l.size), 0) FROM image_layers il
                 JOIN layers l ON l.diff_id = il.diff_id WHERE il.image = ?1) WHERE id = ?1",
                [raw(image)],
            )
            .map(drop)
        })
    }

    /// The image goes on without its manifest.
    pub(crate) fn forget_manifest(&self, image: &Digest) -> Result<()> {
        self.write(Durability::Synced, |c| {
            exec(c, "UPDATE images SET manifest = NULL WHERE id = ?1", [raw(image)]).map(drop)
        })
    }

    /// Inserts a layer's row, or sets it right.
    pub(crate) fn put_layer(&self, l: &LayerRow, now: i64) -> Result<()> {
        self.write(Durability::Synced, |c| {
            exec(
                c,
                "INSERT INTO layers (diff_id, size, tar_size, opaque_root, created) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (diff_id) DO UPDATE SET size = ?2, tar_size = ?3, opaque_root = ?4",
                params![raw(&l.diff_id), l.size as i64, l.tar_size as i64, l.opaque_root, now],
            )
            .map(drop)
        })
    }

    /// The forms of layers that are kept as files.
    pub(crate) fn kept_blobs(&self) -> Result<Vec<LayerBlob>> {
        self.read(|c| {
            c.prepare("SELECT digest, diff_id, size, media_type FROM layer_blobs WHERE kept")?
                .query_map([], |r| {
                    Ok(LayerBlob {
                        digest: r.get(0).map(Digest::from_raw)?,
                        diff_id: r.get(1).map(Digest::from_raw)?,
                        size: r.get::<_, i64>(2)? as u64,
                        media_type: r.get(3)?,
                        kept: true,
                    })
                })?
                .collect()
        })
    }

    /// The file of a received form is gone; what it held is still known.
    pub(crate) fn forget_kept(&self, digest: &Digest) -> Result<()> {
        self.write(Durability::Synced, |c| {
            exec(c, "UPDATE layer_blobs SET kept = 0 WHERE digest = ?1", [raw(digest)]).map(drop)
        })
    }
}
