//! Rows about images: layers, their received forms, images, tags and repository digests.

use super::{Database, Durability, db_error};
use dhow_types::{Digest, Error, ErrorKind, Reference, Result};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeMap;

/// A layer that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerRow {
    pub diff_id: Digest,
    /// Bytes of file content.
    pub size: u64,
    /// Bytes of the uncompressed tar.
    pub tar_size: u64,
    /// Whether it hides everything below.
    pub opaque_root: bool,
}

/// A form in which a layer was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerBlob {
    pub digest: Digest,
    pub diff_id: Digest,
    pub size: u64,
    pub media_type: String,
    pub kept: bool,
}

/// An image to publish.
#[derive(Clone, Debug)]
pub(crate) struct NewImage {
    pub id: Digest,
    pub manifest: Option<Digest>,
    /// The image it was made from, if it was made here.
    pub parent: Option<Digest>,
    pub layers: Vec<Digest>,
    pub references: Vec<Reference>,
}

/// An image as stored, with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageRow {
    pub id: Digest,
    pub manifest: Option<Digest>,
    pub parent: Option<Digest>,
    pub size: u64,
    pub loaded: i64,
    pub last_used: i64,
    pub references: Vec<Reference>,
    pub digests: Vec<Reference>,
}

pub(super) fn raw(d: &Digest) -> &[u8] {
    d.raw().as_slice()
}

pub(super) fn exec(c: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
    c.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(db_error)
}

/// A stored name; what is stored was a reference once, so a failure means damage.
fn reference(name: &str, tag: Option<&str>, digest: Option<Digest>) -> Result<Reference> {
    let damaged = |e: Error| e.prefixed("database: stored image name").with_kind(ErrorKind::DataLoss);
    let bare: Reference = name.parse().map_err(damaged)?;
    match (tag, digest) {
        (Some(tag), _) => bare.with_tag(tag).map_err(damaged),
        (None, Some(digest)) => Ok(bare.with_digest(digest)),
        (None, None) => Ok(bare),
    }
}

impl Database {
    /// Makes layers and images visible, all or nothing. Tags move from images that had them.
    pub(crate) fn publish(
        &self,
        layers: &[LayerRow],
        blobs: &[LayerBlob],
        images: &[NewImage],
        now: i64,
        durability: Durability,
    ) -> Result<()> {
        self.write(durability, |c| {
            for l in layers {
                insert_layer(c, l, now)?;
            }
            for b in blobs {
                insert_received(c, b)?;
            }
            for i in images {
                let is_new = exec(
                    c,
                    "INSERT OR IGNORE INTO images (id, manifest, size, loaded, parent) VALUES (?1, ?2, 0, ?3, ?4)",
                    params![raw(&i.id), i.manifest.as_ref().map(raw), now, i.parent.as_ref().map(raw)],
                )? == 1;
                if is_new {
                    for (position, layer) in i.layers.iter().enumerate() {
                        exec(
                            c,
                            "INSERT INTO image_layers (image, position, diff_id) VALUES (?1, ?2, ?3)",
                            params![raw(&i.id), position as i64, raw(layer)],
                        )?;
                    }
                    exec(
                        c,
                        "UPDATE images SET size = (SELECT coalesce(sum(l.size), 0) FROM image_layers il
                         JOIN layers l ON l.diff_id = il.diff_id WHERE il.image = ?1) WHERE id = ?1",
                        params![raw(&i.id)],
                    )?;
                }
                for r in &i.references {
                    set_reference(c, r, &i.id, now)?;
                }
                // What waited for its image has it now.
                exec(
                    c,
                    "DELETE FROM pending_layers WHERE diff_id IN (SELECT diff_id FROM image_layers WHERE image = ?1)",
                    [raw(&i.id)],
                )?;
            }
            Ok(())
        })
    }

    /// Gives `image` the name `reference`.
    pub(crate) fn set_reference(&self, reference: &Reference, image: &Digest, now: i64) -> Result<()> {
        self.write(Durability::Synced, |c| set_reference(c, reference, image, now))
    }

    /// Takes names away, and with them an image if `image` is given, all or nothing.
    pub(crate) fn remove_image(&self, references: &[Reference], image: Option<&Digest>) -> Result<()> {
        self.write(Durability::Synced, |c| {
            for r in references {
                match (r.tag(), r.digest()) {
                    (Some(tag), _) => {
                        exec(c, "DELETE FROM tags WHERE name = ?1 AND tag = ?2", params![r.name(), tag])?;
                    }
                    (None, Some(d)) => {
                        exec(c, "DELETE FROM digests WHERE name = ?1 AND digest = ?2", params![r.name(), raw(d)])?;
                    }
                    (None, None) => {}
                }
            }
            if let Some(id) = image {
                exec(c, "DELETE FROM images WHERE id = ?1", params![raw(id)])?;
            }
            Ok(())
        })
    }

    /// Forgets layers which no image has and none waits for, except `keep`; returns them and the digests of their kept blobs.
    pub(crate) fn remove_unused_layers(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<(Vec<Digest>, Vec<Digest>)> {
        let unused: Vec<Digest> = self.read(|c| {
            c.prepare_cached(
                "SELECT diff_id FROM layers WHERE NOT EXISTS
                     (SELECT 1 FROM image_layers il WHERE il.diff_id = layers.diff_id)
                 AND NOT EXISTS (SELECT 1 FROM pending_layers p WHERE p.diff_id = layers.diff_id)",
            )?
            .query_map([], |r| r.get(0).map(Digest::from_raw))?
            .collect::<rusqlite::Result<_>>()
        })?;
        let unused: Vec<Digest> = unused.into_iter().filter(|d| !keep(d)).collect();
        if unused.is_empty() {
            return Ok((unused, Vec::new()));
        }
        let blobs = self.write(Durability::Synced, |c| {
            let mut blobs = Vec::new();
            for layer in &unused {
                let mut s =
                    c.prepare_cached("SELECT digest FROM layer_blobs WHERE diff_id = ?1 AND kept").map_err(db_error)?;
                let found = s.query_map([raw(layer)], |r| r.get(0).map(Digest::from_raw)).map_err(db_error)?;
                for digest in found {
                    blobs.push(digest.map_err(db_error)?);
                }
                exec(c, "DELETE FROM layers WHERE diff_id = ?1", [raw(layer)])?;
            }
            Ok(blobs)
        })?;
        Ok((unused, blobs))
    }

    /// All layers.
    pub(crate) fn layers(&self) -> Result<Vec<LayerRow>> {
        self.read(|c| {
            c.prepare_cached("SELECT diff_id, size, tar_size, opaque_root FROM layers")?
                .query_map([], layer_row)?
                .collect()
        })
    }

    /// One layer.
    pub(crate) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRow>> {
        self.read(|c| {
            c.prepare_cached("SELECT diff_id, size, tar_size, opaque_root FROM layers WHERE diff_id = ?1")?
                .query_row([raw(diff_id)], layer_row)
                .optional()
        })
    }

    /// The layer that was once received as `digest`, be it the tar itself.
    pub(crate) fn layer_received_as(&self, digest: &Digest) -> Result<Option<Digest>> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT diff_id FROM layers WHERE diff_id = ?1
                 UNION ALL SELECT diff_id FROM layer_blobs WHERE digest = ?1 LIMIT 1",
            )?
            .query_row([raw(digest)], |r| r.get(0).map(Digest::from_raw))
            .optional()
        })
    }

    /// The blobs which must exist as files: configurations, manifests, kept layers.
    pub(crate) fn expected_blobs(&self) -> Result<Vec<Digest>> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT id FROM images UNION SELECT manifest FROM images WHERE manifest IS NOT NULL
                 UNION SELECT digest FROM layer_blobs WHERE kept",
            )?
            .query_map([], |r| r.get(0).map(Digest::from_raw))?
            .collect()
        })
    }

    /// An image's layers, lowest first.
    pub(crate) fn image_layers(&self, image: &Digest) -> Result<Vec<LayerRow>> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT l.diff_id, l.size, l.tar_size, l.opaque_root FROM image_layers il
                 JOIN layers l ON l.diff_id = il.diff_id WHERE il.image = ?1 ORDER BY il.position",
            )?
            .query_map([raw(image)], layer_row)?
            .collect()
        })
    }

    /// Every image's layers, lowest first.
    pub(crate) fn layers_by_image(&self) -> Result<BTreeMap<Digest, Vec<Digest>>> {
        let pairs: Vec<(Digest, Option<Digest>)> = self.read(|c| {
            c.prepare_cached(
                "SELECT i.id, il.diff_id FROM images i LEFT JOIN image_layers il ON il.image = i.id
                 ORDER BY i.id, il.position",
            )?
            .query_map([], |r| {
                Ok((Digest::from_raw(r.get(0)?), r.get::<_, Option<[u8; 32]>>(1)?.map(Digest::from_raw)))
            })?
            .collect()
        })?;
        let mut out: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
        for (image, layer) in pairs {
            out.entry(image).or_default().extend(layer);
        }
        Ok(out)
    }

    /// All images, or the one with `id`.
    pub(crate) fn image_rows(&self, id: Option<&Digest>) -> Result<Vec<ImageRow>> {
        type Names = (Vec<([u8; 32], String, String)>, Vec<([u8; 32], String, [u8; 32])>);
        let (rows, (tags, digests)) = self.read(|c| {
            let id = id.map(raw);
            let rows: Vec<ImageRow> = c
                .prepare_cached(
                    "SELECT id, manifest, parent, size, loaded, last_used FROM images WHERE ?1 IS NULL OR id = ?1",
                )?
                .query_map([id], image_row)?
                .collect::<rusqlite::Result<_>>()?;
            let tags = c
                .prepare_cached("SELECT image, name, tag FROM tags WHERE ?1 IS NULL OR image = ?1 ORDER BY name, tag")?
                .query_map([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let digests = c
                .prepare_cached(
                    "SELECT image, name, digest FROM digests WHERE ?1 IS NULL OR image = ?1 ORDER BY name, digest",
                )?
                .query_map([id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let names: Names = (tags, digests);
            Ok((rows, names))
        })?;
        let mut by_id: BTreeMap<Digest, ImageRow> = rows.into_iter().map(|r| (r.id, r)).collect();
        for (image, name, tag) in tags {
            if let Some(row) = by_id.get_mut(&Digest::from_raw(image)) {
                row.references.push(reference(&name, Some(&tag), None)?);
            }
        }
        for (image, name, digest) in digests {
            if let Some(row) = by_id.get_mut(&Digest::from_raw(image)) {
                row.digests.push(reference(&name, None, Some(Digest::from_raw(digest)))?);
            }
        }
        Ok(by_id.into_values().collect())
    }

    /// Whether there is an image with this id.
    pub(crate) fn image_exists(&self, id: &Digest) -> Result<bool> {
        self.read(|c| c.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([raw(id)]))
    }

    /// The image with this name; a digest counts more than a tag.
    pub(crate) fn image_named(&self, r: &Reference) -> Result<Option<Digest>> {
        self.read(|c| match (r.digest(), r.tag()) {
            (Some(digest), _) => c
                .prepare_cached("SELECT image FROM digests WHERE name = ?1 AND digest = ?2")?
                .query_row(params![r.name(), raw(digest)], |row| row.get(0).map(Digest::from_raw))
                .optional(),
            (None, tag) => c
                .prepare_cached("SELECT image FROM tags WHERE name = ?1 AND tag = ?2")?
                .query_row(params![r.name(), tag.unwrap_or("latest")], |row| row.get(0).map(Digest::from_raw))
                .optional(),
        })
    }

    /// All tags of a repository with their images.
    pub(crate) fn tags_of(&self, repository: &Reference) -> Result<Vec<(Reference, Digest)>> {
        let found: Vec<(String, Digest)> = self.read(|c| {
            c.prepare_cached("SELECT tag, image FROM tags WHERE name = ?1 ORDER BY tag")?
                .query_map([repository.name()], |r| Ok((r.get(0)?, Digest::from_raw(r.get(1)?))))?
                .collect()
        })?;
        let name = repository.name();
        found.into_iter().map(|(tag, image)| Ok((reference(&name, Some(&tag), None)?, image))).collect()
    }

    /// Up to two images whose id starts with `prefix`, lower-case hex digits.
    pub(crate) fn images_with_prefix(&self, prefix: &str) -> Result<Vec<Digest>> {
        self.read(|c| {
            c.prepare_cached("SELECT id FROM images WHERE substr(lower(hex(id)), 1, length(?1)) = ?1 LIMIT 2")?
                .query_map([prefix], |r| r.get(0).map(Digest::from_raw))?
                .collect()
        })
    }

    /// Notes that an image was used at `now`.
    pub(crate) fn touch_image(&self, id: &Digest, now: i64) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            exec(c, "UPDATE images SET last_used = ?2 WHERE id = ?1", params![raw(id), now]).map(drop)
        })
    }
}

/// Names a layer. False if it had a row.
pub(super) fn insert_layer(c: &Connection, l: &LayerRow, now: i64) -> Result<bool> {
    let sql =
        "INSERT OR IGNORE INTO layers (diff_id, size, tar_size, opaque_root, created) VALUES (?1, ?2, ?3, ?4, ?5)";
    exec(c, sql, params![raw(&l.diff_id), l.size as i64, l.tar_size as i64, l.opaque_root, now]).map(|n| n == 1)
}

/// Names the form in which a layer came.
pub(super) fn insert_received(c: &Connection, b: &LayerBlob) -> Result<()> {
    exec(
        c,
        "INSERT INTO layer_blobs (digest, diff_id, size, media_type, kept) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (digest) DO UPDATE SET kept = kept OR ?5",
        params![raw(&b.digest), raw(&b.diff_id), b.size as i64, b.media_type, b.kept],
    )
    .map(drop)
}

fn set_reference(c: &Connection, r: &Reference, image: &Digest, now: i64) -> Result<()> {
    if let Some(digest) = r.digest() {
        exec(
            c,
            "INSERT INTO digests (name, digest, image) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, digest) DO UPDATE SET image = ?3",
            params![r.name(), raw(digest), raw(image)],
        )?;
    }
    if r.digest().is_none() || r.tag().is_some() {
        exec(
            c,
            "INSERT INTO tags (name, tag, image, updated) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name, tag) DO UPDATE SET image = ?3, updated = ?4",
            params![r.name(), r.tag().unwrap_or("latest"), raw(image), now],
        )?;
    }
    Ok(())
}

fn layer_row(r: &Row<'_>) -> rusqlite::Result<LayerRow> {
    Ok(LayerRow {
        diff_id: Digest::from_raw(r.get(0)?),
        size: r.get::<_, i64>(1)? as u64,
        tar_size: r.get::<_, i64>(2)? as u64,
        opaque_root: r.get(3)?,
    })
}

fn image_row(r: &Row<'_>) -> rusqlite::Result<ImageRow> {
    let digest = |n| -> rusqlite::Result<Option<Digest>> { Ok(r.get::<_, Option<[u8; 32]>>(n)?.map(Digest::from_raw)) };
    Ok(ImageRow {
        id: Digest::from_raw(r.get(0)?),
        manifest: digest(1)?,
        parent: digest(2)?,
        size: r.get::<_, i64>(3)? as u64,
        loaded: r.get(4)?,
        last_used: r.get(5)?,
        references: Vec::new(),
        digests: Vec::new(),
    })
}
