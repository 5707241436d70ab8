//! A segment that is full, packed: compressed in frames of their own, with a table of what begins where.
//!
//! ```text
//!   NNNNNNNN.seg.zst:  skippable frame: the segment's head │ zstd frames, each of whole records │ skippable frame: table
//! ```
//!
//! `zstd -dc` gives the records. Places are counted as in the segment that was packed, so that a reader who was in its
//! middle finds his place again.

use dhow_types::segment::{At, Codec, HEAD, Head, MAX_TEXT, RECORD_HEAD};
use dhow_types::{Context, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Text of one frame, before it is compressed, is cut behind so much.
const FRAME: usize = 256 << 10;
/// Where nothing can be read as a record, a frame is cut all the same.
pub(super) const MAX_FRAME: usize = 4 << 20;
/// Text is packed once, and read seldom.
const LEVEL: i32 = 1;
const SKIPPABLE: u32 = 0x184D_2A50;
/// Bytes before the head, and before the table.
const SKIP: u64 = 8;
/// Where the first frame begins.
pub(super) const FIRST: u64 = SKIP + HEAD as u64;
const ROW: usize = 32;
const TRAILER: usize = 32;
const MAGIC: &[u8; 8] = b"dhowrow1";
/// The longest table: a segment of several gigabytes.
const MAX_ROWS: usize = 1 << 16;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it begins in the file.
    pub(super) at: u64,
    /// Where its text began in the segment.
    pub(super) raw: u64,
    /// The time of its first record.
    pub(super) time: i64,
    /// Lines that begin in the segment before it.
    pub(super) before: u32,
    /// Bytes of its text.
    pub(super) len: u32,
}

/// The table of a packed segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// Lines that begin in the segment.
    pub(super) lines: u32,
    /// Where the table begins in the file, which is where the last frame ends.
    pub(super) end: u64,
}

impl Table {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SKIP as usize + self.rows.len() * ROW + TRAILER);
        out.extend_from_slice(&SKIPPABLE.to_le_bytes());
        out.extend_from_slice(&((self.rows.len() * ROW + TRAILER) as u32).to_le_bytes());
        for row in &self.rows {
            out.extend_from_slice(&row.at.to_le_bytes());
            out.extend_from_slice(&row.raw.to_le_bytes());
            out.extend_from_slice(&row.time.to_le_bytes());
            out.extend_from_slice(&row.before.to_le_bytes());
            out.extend_from_slice(&row.len.to_le_bytes());
        }
        out.extend_from_slice(&self.end.to_le_bytes());
        out.extend_from_slice(&self.lines.to_le_bytes());
        out.extend_from_slice(&(self.rows.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let sum = zlib_rs::crc32::crc32(0, &out[SKIP as usize..]);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// Reads head and table; the number is that of the bytes it took.
    pub(super) fn read(file: &File) -> Result<(Head, Self, u64)> {
        let damaged = || Error::new(ErrorKind::DataLoss, "its head or its table is damaged");
        let size = file.metadata()?.len();
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, SKIP).map_err(|_| damaged())?;
        let head = Head::decode(&head).ok_or_else(damaged)?;
        let mut trailer = [0; TRAILER];
        let at = size.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        file.read_exact_at(&mut trailer, at).map_err(|_| damaged())?;
        let count = word(&trailer, 12) as usize;
        if trailer[24..] != *MAGIC || count > MAX_ROWS {
            return Err(damaged());
        }
        let begin = at.checked_sub((count * ROW) as u64).ok_or_else(damaged)?;
        let mut bytes = vec![0; count * ROW + TRAILER];
        file.read_exact_at(&mut bytes, begin).map_err(|_| damaged())?;
        if zlib_rs::crc32::crc32(0, &bytes[..count * ROW + 20]) != word(&trailer, 20) {
            return Err(damaged());
        }
        let row = |b: &[u8]| Row {
            at: long(b, 0),
            raw: long(b, 8),
            time: long(b, 16) as i64,
            before: word(b, 24),
            len: word(b, 28),
        };
        let rows = bytes[..count * ROW].chunks_exact(ROW).map(row).collect();
        let table = Self { rows, lines: word(&trailer, 8), end: long(&trailer, 0) };
        Ok((head, table, (HEAD + TRAILER + bytes.len()) as u64))
    }

    /// The text of the frame `index`, and the bytes it took.
    pub(super) fn frame(&self, file: &File, index: usize) -> Result<(Vec<u8>, u64)> {
        let row = self.rows.get(index).ok_or_else(|| Error::system("no such frame"))?;
        let end = self.rows.get(index + 1).map_or(self.end, |next| next.at);
        let len = end.checked_sub(row.at).filter(|len| *len <= (MAX_FRAME * 2) as u64);
        let (Some(len), true) = (len, row.len as usize <= MAX_FRAME * 2) else {
            return Err(Error::new(ErrorKind::DataLoss, "its table is damaged"));
        };
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, row.at).context("read a frame")?;
        let text = zstd::bulk::decompress(&bytes, row.len as usize).context("unpack a frame")?;
        Ok((text, len))
    }
}

/// Packs the segment `from` as `to`, which is whole and on the disk when this returns, and gives the file that was read. A
/// segment without a head that can be read is refused: none of its records can be told from other bytes, but they are
/// there for who looks by hand.
pub(super) fn pack(from: &Path, to: &Path) -> Result<File> {
    let source = File::open(from)?;
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let target = File::options().write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(to)?;
    let mut out = BufWriter::with_capacity(FRAME, target);
    let Some(head) = super::segment::head(&source)?.0 else {
        let text = "its head is damaged: it is left as it is, and can be looked at by hand";
        return Err(Error::new(ErrorKind::DataLoss, text));
    };
    out.write_all(&SKIPPABLE.to_le_bytes())?;
    out.write_all(&(HEAD as u32).to_le_bytes())?;
    out.write_all(&head.encode())?;
    let mut table = Table { rows: Vec::new(), lines: 0, end: FIRST };
    let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
    let mut raw = HEAD as u64;
    let mut time = head.time;
    let mut buffer = vec![0; FRAME];
    let mut have = 0;
    loop {
        let n = read_full(&source, &mut buffer[have..], raw + have as u64)?;
        let last = have + n < buffer.len();
        have += n;
        if have == 0 {
            break;
        }
        let mut cut = cut(head.codec(), &buffer[..have], last);
        if cut.at == 0 && have < MAX_FRAME {
            // There is damage, and no record behind it as far as this was read.
            buffer.resize(buffer.len() + FRAME, 0);
            continue;
        }
        if cut.at == 0 {
            // A record can begin in the last bytes, whose end was not read yet.
            cut.at = have - (RECORD_HEAD + MAX_TEXT);
        }
        let packed = packer.compress(&buffer[..cut.at])?;
        time = cut.first.unwrap_or(time).max(time);
        table.rows.push(Row { at: table.end, raw, time, before: table.lines, len: cut.at as u32 });
        out.write_all(&packed)?;
        table.end += packed.len() as u64;
        table.lines = table.lines.saturating_add(cut.lines);
        raw += cut.at as u64;
        buffer.copy_within(cut.at..have, 0);
        have -= cut.at;
        if last && have == 0 {
            break;
        }
        // Less than a frame is left, for a record is shorter than that.
        buffer.truncate(FRAME.max(have));
        buffer.shrink_to_fit();
    }
    out.write_all(&table.encode())?;
    let target = out.into_inner().map_err(|e| Error::from(e.into_error()))?;
    // Only then may the other one go: a power cut must not leave both unreadable.
    target.sync_data()?;
    Ok(source)
}

#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) at: usize,
    pub(super) first: Option<i64>,
    pub(super) lines: u32,
}

/// Where whole records end. `all`: nothing follows.
pub(super) fn cut(codec: Codec, bytes: &[u8], all: bool) -> Cut {
    let mut cut = Cut::default();
    let mut at = 0;
    while at < bytes.len() {
        match codec.at(&bytes[at..]) {
            At::Record(head) => {
                at += head.whole();
                cut.first.get_or_insert(head.time);
                cut.lines += head.starts;
                cut.at = at;
            }
            At::Short(_) if !all => break,
            _ => match codec.find(&bytes[at + 1..]) {
                Some(next) => at += 1 + next,
                None => break,
            },
        }
    }
    if all {
        cut.at = bytes.len();
    }
    cut
}

pub(super) fn read_full(file: &File, buffer: &mut [u8], from: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], from + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}
