//! What refers to an image, copied after it: signatures, bills of materials, and what refers to those in turn.

use super::copy::Way;
use dhow_distribution::{Referrer, Wanted, fallback_tag};
use dhow_types::image::media_type;
use dhow_types::{Digest, Error, Result};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long a chain of things that refer to one another may be.
const MAX_CHAIN: usize = 4;

/// Copies all that refers to `subjects`.
pub(super) async fn copy(way: &Arc<Way>, subjects: Vec<Digest>) -> Result<()> {
    let mut seen: BTreeSet<Digest> = subjects.iter().copied().collect();
    let mut next = subjects;
    for _ in 0..MAX_CHAIN {
        let mut found = Vec::new();
        for subject in &next {
            let referrers = way.source.referrers(subject, None).await?;
            for referrer in &referrers {
                if seen.insert(referrer.descriptor.digest) {
                    let fetched = way.source.manifest(&Wanted::Described(referrer.descriptor.clone())).await?;
                    way.document(fetched, None, 0, &mut found).await?;
                }
            }
            if !referrers.is_empty() {
                listed(way, subject, &referrers).await?;
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        next = found;
    }
    Err(Error::invalid(format!("things that refer to one another lie more than {MAX_CHAIN} deep")))
}

/// A registry that does not list referrers itself has them listed by an index under a tag.
async fn listed(way: &Arc<Way>, subject: &Digest, referrers: &[Referrer]) -> Result<()> {
    let mut all = way.target.referrers(subject, None).await?;
    let there: BTreeSet<Digest> = all.iter().map(|r| r.descriptor.digest).collect();
    let missing: Vec<_> = referrers.iter().filter(|r| !there.contains(&r.descriptor.digest)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    all.extend(missing);
    let index = serde_json::to_vec(&document(&all)).map_err(|e| Error::system(e.to_string()))?;
    way.target.put_manifest(Some(&fallback_tag(subject)), media_type::OCI_INDEX, index.into()).await?;
    Ok(())
}

/// The index.
fn document(all: &[Referrer]) -> serde_json::Value {
    let entry = |r: &Referrer| {
        let mut entry = json!(r.descriptor);
        if !r.artifact_type.is_empty() {
            entry["artifactType"] = json!(r.artifact_type);
        }
        entry
    };
    let manifests: Vec<_> = all.iter().map(entry).collect();
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let text = json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"x").to_string(), "size": 3,
            "annotations": {"a": "b"}, "artifactType": "application/spdx+json",
        });
        let referrer: Referrer = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(document(&[referrer])["manifests"], json!([text]));
    }
}
