//! A packed segment whose head or table is damaged: both are made again of its frames, for reading. Nothing is written.

use super::packed::{FIRST, MAX_FRAME, Row, Table, cut, read_full};
use dhow_types::Result;
use dhow_types::segment::{HEAD, Head};
use memchr::memmem;
use std::fs::File;
use std::os::unix::fs::FileExt;
use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};

/// How a frame of zstd begins.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first look at a frame: most are shorter.
const LOOK: usize = 512 << 10;
/// No frame is longer.
const MAX: usize = MAX_FRAME * 2;

/// What stands at a place of the file.
enum Found {
    /// A frame of so many bytes, with its text if it can be unpacked, and the length of it.
    Frame(usize, Option<Vec<u8>>, usize),
    /// So many bytes that are none.
    Gap(usize),
    /// No frame comes any more.
    End,
}

/// The head, if it can be found out, the table, and the bytes that were read.
pub(super) fn walk(file: &File) -> Result<(Option<Head>, Table, u64)> {
    let mut read = HEAD as u64;
    let mut bytes = [0; HEAD];
    let mut head = file.read_exact_at(&mut bytes, FIRST - HEAD as u64).ok().and_then(|()| Head::decode(&bytes));
    let known = head.is_some();
    let mut table = rows(file, &mut head, &mut read)?;
    if !known && head.is_some() {
        // What was seen before it was known is counted, too.
        table = rows(file, &mut head, &mut read)?;
    }
    Ok((head, table, read))
}

fn rows(file: &File, head: &mut Option<Head>, read: &mut u64) -> Result<Table> {
    let mut table = Table { rows: Vec::new(), lines: 0, end: FIRST };
    let mut raw = HEAD as u64;
    let mut time = head.map_or(i64::MIN, |head| head.time);
    loop {
        let (packed, text, len) = match at(file, table.end, read)? {
            Found::Frame(packed, text, len) => (packed, text.unwrap_or_default(), len),
            Found::Gap(packed) => (packed, Vec::new(), 0),
            Found::End => return Ok(table),
        };
        // A frame begins with a whole record, as a segment does.
        *head = head.or_else(|| Head::recover(&text));
        let found = head.map(|head| cut(head.codec(), &text, true)).unwrap_or_default();
        time = found.first.unwrap_or(time).max(time);
        table.rows.push(Row { at: table.end, raw, time, before: table.lines, len: len as u32 });
        table.lines = table.lines.saturating_add(found.lines);
        table.end += packed as u64;
        raw += len as u64;
    }
}

fn at(file: &File, from: u64, read: &mut u64) -> Result<Found> {
    let mut len = LOOK;
    loop {
        let mut bytes = vec![0; len];
        let n = read_full(file, &mut bytes, from)?;
        *read += n as u64;
        bytes.truncate(n);
        if bytes.starts_with(&MAGIC) {
            if let Ok(packed) = find_frame_compressed_size(&bytes)
                && packed <= bytes.len()
            {
                let text = zstd::bulk::decompress(&bytes[..packed], MAX).ok();
                let said = get_frame_content_size(&bytes).ok().flatten().map_or(0, |len| len.min(MAX as u64) as usize);
                let len = text.as_ref().map_or(said, Vec::len);
                return Ok(Found::Frame(packed, text, len));
            }
            if n == len && len < MAX {
                len *= 4;
                continue;
            }
        }
        // What stands here is damaged; or it is the table, behind which there is nothing.
        return Ok(match memmem::find(bytes.get(1..).unwrap_or_default(), &MAGIC) {
            Some(next) => Found::Gap(next + 1),
            None if n < len => Found::End,
            // The mark may begin in the last bytes.
            None => Found::Gap(n - MAGIC.len()),
        });
    }
}
