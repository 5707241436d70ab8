//! Rows about what is received: layers that wait for their image, whole but named by no image yet and not synced, and
//! what manifests and indexes gave.

use super::images::{LayerBlob, LayerRow, exec, insert_layer, insert_received, raw};
use super::{Database, Durability};
use dhow_types::{Digest, Result};
use rusqlite::{OptionalExtension as _, params};
use std::collections::HashSet;

impl Database {
    /// Names a layer that waits for its image, and the form in which it came. A layer that had a row stays what it is.
    pub(crate) fn put_pending(&self, layer: &LayerRow, blob: &LayerBlob, boot_id: &str, now: i64) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            if insert_layer(c, layer, now)? {
                exec(
                    c,
                    "INSERT OR REPLACE INTO pending_layers (diff_id, boot_id, since) VALUES (?1, ?2, ?3)",
                    params![raw(&layer.diff_id), boot_id, now],
                )?;
            }
            insert_received(c, blob)
        })
    }

    /// All layers that wait.
    pub(crate) fn pending(&self) -> Result<HashSet<Digest>> {
        self.read(|c| {
            c.prepare_cached("SELECT diff_id FROM pending_layers")?
                .query_map([], |r| r.get(0).map(Digest::from_raw))?
                .collect()
        })
    }

    /// Those that wait since before `since`, and with `boot_id` those of other boots, wait no more, but for those that
    /// somebody holds: they were not synced, and whoever names them must know that. A boot that has no id is none.
    pub(crate) fn give_up_pending(&self, since: i64, boot_id: Option<&str>, held: &HashSet<Digest>) -> Result<()> {
        let sql =
            "SELECT diff_id FROM pending_layers WHERE since < ?1 OR (?2 IS NOT NULL AND (boot_id <> ?2 OR ?2 = ''))";
        let late: Vec<Digest> = self.read(|c| {
            c.prepare_cached(sql)?.query_map(params![since, boot_id], |r| r.get(0).map(Digest::from_raw))?.collect()
        })?;
        let late: Vec<Digest> = late.into_iter().filter(|layer| !held.contains(layer)).collect();
        // A write costs a transaction, and there is nearly never one.
        if late.is_empty() {
            return Ok(());
        }
        self.write(Durability::Lazy, |c| {
            for layer in &late {
                exec(c, "DELETE FROM pending_layers WHERE diff_id = ?1", [raw(layer)])?;
            }
            Ok(())
        })
    }

    /// Notes which image a manifest or index gave for a platform, if it is still here. What is lost costs a request.
    pub(crate) fn put_resolved(&self, digest: &Digest, platform: &str, image: &Digest) -> Result<()> {
        self.write(Durability::Lazy, |c| {
            let sql = "INSERT OR REPLACE INTO resolved (digest, platform, image)
                       SELECT ?1, ?2, id FROM images WHERE id = ?3";
            exec(c, sql, params![raw(digest), platform, raw(image)]).map(drop)
        })
    }

    /// Which image that was, if it is still here.
    pub(crate) fn resolved(&self, digest: &Digest, platform: &str) -> Result<Option<Digest>> {
        self.read(|c| {
            c.prepare_cached("SELECT image FROM resolved WHERE digest = ?1 AND platform = ?2")?
                .query_row(params![raw(digest), platform], |r| r.get(0).map(Digest::from_raw))
                .optional()
        })
    }
}
