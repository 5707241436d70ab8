//! How the output of a container is kept, which is decided once, when it is made, and written into its record.
//!
//! | asked | kept |
//! |---|---|
//! | no driver anywhere | segments: 1 GiB of text, or `max-size` × `max-file` |
//! | `json-file`, at the container or in the daemon's settings | files exactly as Docker's |
//! | `none` | – |

use super::log::Rotation;
use serde::{Deserialize, Serialize};

/// Text kept of a container for which nothing else was asked.
const DEFAULT_TEXT: u64 = 1 << 30;
/// Text of one segment: so much goes at once when the oldest goes.
const SEGMENT: u64 = 16 << 20;
/// A log of less is kept in as many segments all the same, so that not most of it goes at once.
const MIN_SEGMENTS: u64 = 4;
/// One of more is kept in larger ones.
const MAX_SEGMENTS: u64 = 1000;

/// The kind of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// Docker's files; also those of all containers that were made before there was anything else.
    #[default]
    JsonFile,
    /// Bounded segments.
    Segments {
        /// Bytes of one.
        max_size: u64,
        /// How many are kept.
        max_files: u32,
    },
}

/// Decides for a container that is shown with `driver`; `named` if somebody asked for it by name.
pub fn choose(driver: &str, named: bool, rotation: &Rotation) -> Store {
    match (driver, rotation.max_size) {
        ("none", _) => Store::JsonFile,
        ("json-file", _) if named => Store::JsonFile,
        (_, Some(size)) => segments(size.saturating_mul(u64::from(rotation.max_files.max(1)))),
        (_, None) => segments(DEFAULT_TEXT),
    }
}

/// Segments of so much text together.
pub fn segments(text: u64) -> Store {
    let files = (text / SEGMENT).clamp(MIN_SEGMENTS, MAX_SEGMENTS);
    Store::Segments { max_size: text / files, max_files: files as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let all = Rotation { max_size: None, max_files: 1 };
        let some = Rotation { max_size: Some(20 << 20), max_files: 5 };
        let two = |max_size, max_files| Store::Segments { max_size, max_files };
        for (driver, named, rotation, want) in [
            ("json-file", false, all, two(16 << 20, 64)),
            ("json-file", false, some, two((100 << 20) / 6, 6)),
            ("json-file", true, all, Store::JsonFile),
            ("json-file", true, some, Store::JsonFile),
            ("none", true, all, Store::JsonFile),
            ("local", true, some, two((100 << 20) / 6, 6)),
        ] {
            assert_eq!(choose(driver, named, &rotation), want, "{driver} {named} {rotation:?}");
        }
        assert_eq!(segments(10_000), two(2_500, 4));
        assert_eq!(segments(u64::MAX), two(u64::MAX / 1000, 1000));
    }
}
