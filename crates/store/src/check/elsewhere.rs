//! The same content in another layer: images that were built one on another carry most files twice.
//!
//! A checksum only proposes; whoever uses what is found compares the digest of the whole layer.

use crate::Store;
use crate::rebuild::{self, Content};
use crate::recipe::{Reader, Record};
use dhow_types::{Digest, Result};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;

/// Where a file's content was found: the layer, and the path in it.
pub(super) type Found = HashMap<Vec<u8>, (Digest, Vec<u8>)>;

/// The most files of one layer that are looked for.
const MAX_WANTED: usize = 10_000;

/// Looks for the contents of `wanted`, files of `layer`; by their paths. Reads every recipe once.
pub(super) fn find(store: &Store, layer: &Digest, wanted: &[Content]) -> Result<Found> {
    let mut open: HashMap<(u64, u32), Vec<&Content>> = HashMap::new();
    for content in wanted.iter().take(MAX_WANTED) {
        if let Some(sum) = content.sum {
            open.entry((content.length, sum)).or_default().push(content);
        }
    }
    let mut found = Found::new();
    for row in store.inner.db.layers()? {
        if open.is_empty() {
            break;
        }
        // A layer with damage of its own has nothing to offer beyond it.
        let Ok(mut recipe) = Reader::open(&store.paths().recipe(&row.diff_id)) else { continue };
        let mut last = None;
        while let Ok(Some(record)) = recipe.next() {
            match record {
                Record::File { path, pieces } => {
                    last = match pieces.as_slice() {
                        [(0, length)] => Some((path, *length)),
                        _ => None,
                    };
                }
                Record::Sum(sum) => {
                    let Some((path, length)) = last.take() else { continue };
                    let Some(all) = open.get(&(length, sum)) else { continue };
                    let itself = row.diff_id == *layer && all.iter().any(|c| c.path == path);
                    if !itself && has(store, &row.diff_id, &path, length, sum) {
                        for content in open.remove(&(length, sum)).into_iter().flatten() {
                            found.insert(content.path.clone(), (row.diff_id, path.clone()));
                        }
                    }
                }
                Record::Literal(_) => {}
            }
        }
    }
    Ok(found)
}

/// Opens what was found.
pub(super) fn open(store: &Store, (layer, path): &(Digest, Vec<u8>)) -> Option<File> {
    let root = OwnedFd::from(File::open(store.paths().layer(layer)).ok()?);
    rebuild::open_regular(&root, path).ok()
}

/// Whether the file still has the content that the recipe says.
fn has(store: &Store, layer: &Digest, path: &[u8], length: u64, sum: u32) -> bool {
    let Some(file) = open(store, &(*layer, path.to_vec())) else { return false };
    matches!(rebuild::sum_of(&file, length), Ok(Some(got)) if got == sum)
}
