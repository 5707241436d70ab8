//! How the output of a container is kept, which is decided once, when it is made, and written into its record.
//!
//! | asked | kept |
//! |---|---|
//! | no driver anywhere | segments: 1 GiB of text, or `max-size` × `max-file` |
//! | `json-file`, at the container or in the daemon's settings; labels, variables or a tag in its lines | files exactly as Docker's |
//! | `local`; the readable copy of `syslog` and `journald` | segments: `max-size` × `max-file` |
//! | `none`, or no copy | – |

use super::log::{self, Files, Plan};
use crate::config::LogConfig;
use dhow_types::Result;
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

/// Decides for a container with `config`, defaults filled in; `named` if somebody asked for its driver by name.
pub fn choose(config: &LogConfig, named: bool) -> Result<Store> {
    let bounded = |files: Files| match files.max_size {
        Some(size) => segments(size.saturating_mul(u64::from(files.max_files.max(1)))),
        None => segments(DEFAULT_TEXT),
    };
    // Segments hold what was said, not what goes along with it.
    let attrs = log::METADATA.iter().any(|option| config.options.contains_key(*option));
    Ok(match log::plan(config)? {
        Plan::JsonFile(files) if !named && !attrs => bounded(files),
        Plan::Local(files) | Plan::Send { copy: Some(files), .. } => bounded(files),
        Plan::None | Plan::JsonFile(_) | Plan::Send { copy: None, .. } => Store::JsonFile,
    })
}

/// Whether what is full is packed: segments unless somebody said `compress=false` of them, Docker's files if somebody said
/// `compress=true`.
pub fn is_packed(config: &LogConfig, store: Store) -> bool {
    match (log::plan(config), store) {
        (Ok(Plan::Local(files) | Plan::Send { copy: Some(files), .. }), _) => files.compress,
        (Ok(Plan::JsonFile(files)), Store::JsonFile) => files.compress,
        (_, store) => store != Store::JsonFile,
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
    fn packed_unless_told() {
        let compress = [("compress", "true"), ("max-size", "1m"), ("max-file", "3")];
        let files = Store::JsonFile;
        for (driver, options, store, want) in [
            ("json-file", &[][..], segments(1), true),
            ("json-file", &[], files, false),
            ("json-file", &compress, files, true),
            ("json-file", &compress[1..], files, false),
            ("json-file", &compress, segments(1), true),
            ("none", &[], files, false),
            ("local", &[], segments(1), true),
            ("local", &[("compress", "false")], segments(1), false),
            ("syslog", &[("cache-compress", "false")], segments(1), false),
            ("syslog", &[], segments(1), true),
        ] {
            let options = options.iter().map(|(k, v): &(&str, &str)| ((*k).into(), (*v).into())).collect();
            let config = LogConfig { driver: driver.into(), options };
            assert_eq!(is_packed(&config, store), want, "{config:?} {store:?}");
        }
    }

    #[test]
    fn table() {
        let two = |max_size, max_files| Store::Segments { max_size, max_files };
        let some = [("max-size", "20m"), ("max-file", "5")];
        for (driver, named, options, want) in [
            ("json-file", false, &[][..], two(16 << 20, 64)),
            ("json-file", false, &some, two(100_000_000 / 5, 5)),
            ("json-file", false, &[("tag", "x")], Store::JsonFile),
            ("json-file", true, &[], Store::JsonFile),
            ("json-file", true, &some, Store::JsonFile),
            ("none", true, &[], Store::JsonFile),
            ("local", true, &[], two((100 << 20) / 6, 6)),
            ("local", true, &some, two(100_000_000 / 5, 5)),
            ("local", true, &[("max-size", "0")], two(16 << 20, 64)),
            ("syslog", true, &[("tag", "x")], two((100 << 20) / 6, 6)),
            ("syslog", true, &[("cache-max-size", "20m")], two(100_000_000 / 5, 5)),
            ("journald", true, &[("cache-disabled", "true")], Store::JsonFile),
        ] {
            let options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            let config = LogConfig { driver: driver.into(), options };
            assert_eq!(choose(&config, named).unwrap(), want, "{config:?} {named}");
        }
        assert_eq!(segments(10_000), two(2_500, 4));
        assert_eq!(segments(u64::MAX), two(u64::MAX / 1000, 1000));
    }
}
