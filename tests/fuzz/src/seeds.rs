//! Where fuzzing begins: the hostile archives, their lawful twins, and inputs that once showed a fault.

use crate::layout;
use dhow_corpus::wrap::{Packing, docker_of, layout_of};
use dhow_corpus::{Want, documents, rows};
use dhow_store::{Limits, steps};
use std::path::Path;

/// Longer seeds make each run slow, and show nothing that shorter ones don't.
const LONGEST: usize = 32 << 10;

/// The layers of the corpus.
fn layers() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for row in rows() {
        all.push(row.layer);
        if let Want::Refused(_, twin) = row.want {
            all.push(twin);
        }
    }
    all
}

/// The recipes of layers, unpacked, as the target wants them.
fn recipes() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for layer in layers() {
        let dir = tempfile::tempdir().unwrap();
        if layer.len() > LONGEST || steps::unpack(&layer, dir.path(), &Limits::default()).is_err() {
            continue;
        }
        let plain = |name: &str| {
            let packed = std::fs::read(dir.path().join(name)).ok()?;
            Some(zstd::decode_all(&packed[..]).unwrap().split_off(8))
        };
        let displaced = plain("displaced").unwrap_or_default();
        let split = u8::try_from(displaced.len()).unwrap_or_default();
        all.push([&[split][..], &displaced[..usize::from(split)], &plain("recipe").unwrap()].concat());
    }
    all
}

/// Inputs that showed a fault, each named after it; they run with `cargo test` too.
fn found(target: &str) -> Vec<Vec<u8>> {
    FOUND.iter().filter(|f| f.0 == target).map(|f| f.1.to_vec()).collect()
}

const FOUND: &[(&str, &[u8])] = &[
    // Two pieces of a file whose lengths together are more than a number can hold.
    ("recipe", b"\0\x02\x01\0\0\0f\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\0"),
    // A piece that no file has, and that would take years to make up.
    ("recipe", b"\0\x02\x01\0\0\0f\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0"),
];

/// Bytes from which `entries` draws: anything does, these reach every kind of entry.
fn drawn() -> Vec<Vec<u8>> {
    (0..32u8).map(|i| (0..200u8).map(|j| j.wrapping_mul(i.wrapping_mul(7) | 1) ^ i).collect()).collect()
}

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut all = match target {
        "layer" => layers(),
        "entries" => drawn(),
        "recipe" => recipes(),
        "documents" => {
            let archives = documents::rows().into_iter().flat_map(|row| [row.archive, row.twin]);
            archives.filter(|a| a.len() < 4 * LONGEST).filter_map(|a| layout::write(&a)).collect()
        }
        _ => {
            let whole = documents::rows().into_iter().flat_map(|row| [row.archive, row.twin]);
            let packed = layers()
                .into_iter()
                .step_by(10)
                .flat_map(|l| [docker_of(&l, Packing::Plain, Some("x:1")), layout_of(&l, Packing::Gzip, Some("x:1"))]);
            whole.chain(packed).collect()
        }
    };
    all.retain(|seed| seed.len() <= LONGEST);
    all.extend(found(target));
    all.sort();
    all.dedup();
    all
}

/// Writes the seeds of every target into a folder of its name.
#[cfg_attr(feature = "engine", allow(dead_code, reason = "the other program writes them"))]
pub fn write(dir: &Path) {
    for (target, _) in crate::targets::ALL {
        let dir = dir.join(target);
        std::fs::create_dir_all(&dir).unwrap();
        for seed in of(target) {
            let name = dhow_types::Digest::of(&seed).short();
            std::fs::write(dir.join(name), seed).unwrap();
        }
    }
}
