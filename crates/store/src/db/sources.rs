//! Rows about the forms of a layer, and where each was seen.

use super::images::{LayerBlob, exec, raw};
use super::{Database, Durability};
use dhow_types::{Digest, Result};
use rusqlite::{Connection, params};

/// The most repositories that are remembered for one form; the oldest goes first.
const MAX_SOURCES: i64 = 16;
/// The most forms of one layer of which no bytes are kept.
const MAX_FORMS: i64 = 32;

impl Database {
    /// All forms of a layer, the last seen first.
    pub(crate) fn forms(&self, diff_id: &Digest) -> Result<Vec<LayerBlob>> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT digest, diff_id, size, media_type, kept FROM layer_blobs b WHERE diff_id = ?1 ORDER BY
                     (SELECT max(seen) FROM layer_sources s WHERE s.digest = b.digest) DESC NULLS LAST, digest",
            )?
            .query_map([raw(diff_id)], |r| {
                Ok(LayerBlob {
                    digest: Digest::from_raw(r.get(0)?),
                    diff_id: Digest::from_raw(r.get(1)?),
                    size: r.get::<_, i64>(2)? as u64,
                    media_type: r.get(3)?,
                    kept: r.get(4)?,
                })
            })?
            .collect()
        })
    }

    /// Notes a form of a layer that is here; one that is known already stays as it is.
    pub(crate) fn put_form(&self, form: &LayerBlob) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            let new = exec(
                c,
                "INSERT INTO layer_blobs (digest, diff_id, size, media_type, kept)
                 SELECT ?1, ?2, ?3, ?4, 0 WHERE EXISTS (SELECT 1 FROM layers WHERE diff_id = ?2)
                 ON CONFLICT (digest) DO NOTHING",
                params![raw(&form.digest), raw(&form.diff_id), form.size as i64, form.media_type],
            )?;
            if new == 0 {
                return Ok(());
            }
            exec(
                c,
                "DELETE FROM layer_blobs WHERE digest IN (
                     SELECT digest FROM layer_blobs b WHERE diff_id = ?1 AND NOT kept AND digest <> ?2 ORDER BY
                         (SELECT max(seen) FROM layer_sources s WHERE s.digest = b.digest) DESC NULLS LAST
                     LIMIT -1 OFFSET ?3)",
                params![raw(&form.diff_id), raw(&form.digest), MAX_FORMS - 1],
            )
            .map(drop)
        })
    }

    /// Notes that a repository has these forms; those that are not known are passed over.
    pub(crate) fn put_sources(&self, forms: &[Digest], registry: &str, repository: &str, now: i64) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            forms.iter().try_for_each(|form| put_source(c, form, (registry, repository), now))
        })
    }

    /// Notes that it has it no more.
    pub(crate) fn remove_source(&self, digest: &Digest, registry: &str, repository: &str) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            let sql = "DELETE FROM layer_sources WHERE digest = ?1 AND registry = ?2 AND repository = ?3";
            exec(c, sql, params![raw(digest), registry, repository]).map(drop)
        })
    }

    /// Registries and repositories where a form was seen, the last one first.
    pub(crate) fn sources(&self, digest: &Digest) -> Result<Vec<(String, String)>> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT registry, repository FROM layer_sources WHERE digest = ?1
                 ORDER BY seen DESC, registry, repository",
            )?
            .query_map([raw(digest)], |r| Ok((r.get(0)?, r.get(1)?)))?
            .collect()
        })
    }
}

fn put_source(c: &Connection, form: &Digest, (registry, repository): (&str, &str), now: i64) -> Result<()> {
    exec(
        c,
        "INSERT INTO layer_sources (digest, registry, repository, seen)
         SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM layer_blobs WHERE digest = ?1)
         ON CONFLICT (digest, registry, repository) DO UPDATE SET seen = max(seen, ?4)",
        params![raw(form), registry, repository, now],
    )?;
    exec(
        c,
        "DELETE FROM layer_sources WHERE digest = ?1 AND (registry, repository) IN (
             SELECT registry, repository FROM layer_sources WHERE digest = ?1
             ORDER BY seen DESC LIMIT -1 OFFSET ?2)",
        params![raw(form), MAX_SOURCES],
    )
    .map(drop)
}
