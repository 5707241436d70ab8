//! Files of a log that are compressed: as Docker's, with the time of the last line in their head.

use super::line::nanoseconds;
use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Reads the text of one.
pub(super) type Decoder = GzDecoder<BufReader<File>>;

/// What the head says.
#[derive(Debug, Default)]
pub(super) struct About {
    /// When its last line was written.
    pub(super) last: Option<i64>,
    /// The inode of the file that was compressed.
    pub(super) inode: Option<u64>,
}

/// The same as it is written: `lastTime` is Docker's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Extra {
    pub(super) last_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inode: Option<u64>,
}

pub(super) fn decoder(mut file: File) -> Decoder {
    // It was read before, to count its lines.
    let _ = file.seek(SeekFrom::Start(0));
    GzDecoder::new(BufReader::new(file))
}

/// What the head of `file` says; nothing if it can't be read.
pub(super) fn about(file: &File) -> About {
    let Ok(file) = file.try_clone() else { return About::default() };
    let decoder = decoder(file);
    let extra = decoder.header().and_then(|head| head.extra()).unwrap_or_default();
    let extra: Extra = serde_json::from_slice(extra).unwrap_or_default();
    About { last: nanoseconds(&extra.last_time), inode: extra.inode }
}

/// How many lines stand before the last `lines` ones; what is missing stays in `lines`. A compressed file can be read from
/// its beginning only. What is damaged has no lines.
pub(super) fn tail(file: &File, lines: &mut u64) -> u64 {
    if *lines == 0 {
        return u64::MAX;
    }
    let Ok(file) = file.try_clone() else { return 0 };
    let mut decoder = decoder(file);
    let mut block = vec![0; super::BLOCK];
    let mut all = 0;
    while let Ok(n) = decoder.read(&mut block)
        && n > 0
    {
        all += memchr::memchr_iter(b'\n', &block[..n]).count() as u64;
    }
    let taken = all.min(*lines);
    *lines -= taken;
    all - taken
}
