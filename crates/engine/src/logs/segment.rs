//! One segment of a log for reading, plain or packed: blocks of it, and the places where a time or the last lines begin.

use super::packed::Table;
use dhow_types::segment::{Codec, HEAD, Head, MAX_TEXT, RECORD_HEAD, RecordHead};
use dhow_types::{Context, Error, Result};
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes read at once; more than the longest record.
pub(super) const BLOCK: usize = 256 << 10;
const _: () = assert!(BLOCK >= RECORD_HEAD + MAX_TEXT);
/// The first look for a record around a place.
const PROBE: usize = 4 << 10;
/// The farthest one: behind so much damage it is read from its beginning.
const MAX_PROBE: usize = 4 << 20;

/// How much was read from files.
pub(super) type Tally = Cell<u64>;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// `None`: neither its head nor its first record can be read, and so none of its records.
    head: Option<Head>,
    table: Option<Table>,
}

/// A part of a segment.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Where it goes on behind these bytes; `None` if nothing follows by now.
    pub(super) next: Option<u64>,
}

/// Where output begins: a place in a segment, and how many lines that begin in its record are left out,
/// with what goes on before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) skip: Option<u32>,
}

pub(super) fn plain(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

pub(super) fn packed(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.seg.zst"))
}

impl Segment {
    /// `None` when it is not there, which for all but the newest means that it was turned out.
    pub(super) fn open(dir: &Path, number: u32, tally: &Tally) -> Result<Option<Self>> {
        let path = plain(dir, number);
        if let Some(file) = open(&path)? {
            let (head, bytes) = head(&file)?;
            tally.set(tally.get() + bytes);
            return Ok(Some(Self { file, head, table: None }));
        }
        let path = packed(dir, number);
        let Some(file) = open(&path)? else { return Ok(None) };
        // Damage costs what it hit, not the log: without a head or a table, they are made of what there is.
        let (head, table, bytes) = match Table::read(&file) {
            Ok((head, table, bytes)) => (Some(head), table, bytes),
            Err(e) => {
                tracing::warn!("{}: {e}: it is read without", path.display());
                super::mend::walk(&file)?
            }
        };
        tally.set(tally.get() + bytes);
        Ok(Some(Self { file, head, table: Some(table) }))
    }

    /// Reads its records; `None` if that can't be done (yet).
    pub(super) fn codec(&self) -> Option<Codec> {
        self.head.map(|head| head.codec())
    }

    /// The time of its first record.
    pub(super) fn time(&self) -> Option<i64> {
        self.head.map(|head| head.time)
    }

    /// Behind all that is there by now.
    pub(super) fn end(&self) -> Result<u64> {
        Ok(match &self.table {
            Some(table) => table.rows.last().map_or(HEAD as u64, |row| row.raw + u64::from(row.len)),
            None => self.file.metadata()?.len().max(HEAD as u64),
        })
    }

    /// What stands from `at` on.
    pub(super) fn block(&self, at: u64, tally: &Tally) -> Result<Block> {
        let Some(table) = &self.table else {
            let bytes = self.read(at, BLOCK, tally)?;
            let next = (bytes.len() == BLOCK).then_some(at + bytes.len() as u64);
            return Ok(Block { bytes, next });
        };
        let index = table.rows.partition_point(|row| row.raw <= at).saturating_sub(1);
        let Some(row) = table.rows.get(index) else { return Ok(Block::default()) };
        let next = table.rows.get(index + 1).map(|row| row.raw);
        if at >= row.raw + u64::from(row.len) {
            return Ok(Block { bytes: Vec::new(), next: next.filter(|next| *next > at) });
        }
        let (mut bytes, read) = match table.frame(&self.file, index) {
            Ok(frame) => frame,
            Err(e) => {
                tracing::warn!("a packed log: {e}");
                (Vec::new(), 0)
            }
        };
        tally.set(tally.get() + read);
        bytes.drain(..bytes.len().min(at.saturating_sub(row.raw) as usize));
        Ok(Block { bytes, next })
    }

    /// A place before which every record is earlier than `time`.
    pub(super) fn since(&self, time: i64, tally: &Tally) -> Result<u64> {
        if let Some(table) = &self.table {
            let index = table.rows.partition_point(|row| row.time < time).saturating_sub(1);
            return Ok(table.rows.get(index).map_or(HEAD as u64, |row| row.raw));
        }
        let Some(codec) = self.codec() else { return Ok(HEAD as u64) };
        let (mut low, mut high) = (HEAD as u64, self.file.metadata()?.len());
        while high.saturating_sub(low) > BLOCK as u64 {
            let middle = low + (high - low) / 2;
            match self.record_after(codec, middle, high, tally)? {
                Some((at, head)) if head.time < time => low = at,
                // Also where none could be found: what lies before is read, and what is early is left out.
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Where the last `left` lines begin, of which those before `floor` are not wanted; if there are fewer, `None`, and
    /// what is missing stays in `left`.
    pub(super) fn tail(&self, left: &mut u64, floor: u64, tally: &Tally) -> Result<Option<Place>> {
        if let Some(table) = &self.table {
            let all = u64::from(table.lines);
            if all < *left {
                *left -= all;
                return Ok(None);
            }
            let index = table.rows.partition_point(|row| all - u64::from(row.before) >= *left).saturating_sub(1);
            let Some(row) = table.rows.get(index).filter(|row| row.raw + u64::from(row.len) > floor) else {
                return Ok(None);
            };
            let behind = table.rows.get(index + 1).map_or(0, |next| all - u64::from(next.before));
            *left -= behind.min(*left);
            let block = self.block(row.raw, tally)?;
            let Some(codec) = self.codec() else { return Ok(None) };
            return Ok(Some(
                last(&heads(codec, &block.bytes, row.raw), left).unwrap_or(Place { at: row.raw, skip: None }),
            ));
        }
        let Some(codec) = self.codec() else { return Ok(None) };
        let mut end = self.file.metadata()?.len();
        let mut step = BLOCK / 4;
        while end > floor {
            let begin = end.saturating_sub(step as u64).max(floor);
            let heads = heads(codec, &self.read(begin, (end - begin) as usize, tally)?, begin);
            if let Some(place) = last(&heads, left) {
                return Ok(Some(place));
            }
            match heads.first() {
                Some((first, _)) => (end, step) = (*first, BLOCK),
                None if step < MAX_PROBE && begin > floor => step *= 4,
                None => end = begin,
            }
        }
        Ok(None)
    }

    /// The first record that begins behind `from` and before `end`.
    fn record_after(&self, codec: Codec, from: u64, end: u64, tally: &Tally) -> Result<Option<(u64, RecordHead)>> {
        let mut len = PROBE;
        loop {
            let bytes = self.read(from, len.min((end - from) as usize), tally)?;
            if let Some(at) = codec.find(&bytes)
                && let Some(head) = codec.head(&bytes[at..])
            {
                return Ok(Some((from + at as u64, head)));
            }
            if bytes.len() < len || len >= MAX_PROBE {
                return Ok(None);
            }
            len *= 4;
        }
    }

    fn read(&self, from: u64, len: usize, tally: &Tally) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            match self.file.read_at(&mut bytes[done..], from + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("read the log"),
            }
        }
        bytes.truncate(done);
        tally.set(tally.get() + done as u64);
        Ok(bytes)
    }
}

/// The head of a plain segment, and the bytes it took. One that is damaged is worked out from the first record.
pub(super) fn head(file: &File) -> Result<(Option<Head>, u64)> {
    let mut bytes = vec![0; HEAD];
    let n = super::packed::read_full(file, &mut bytes, 0)?;
    let known = Head::decode(&bytes[..n]);
    if known.is_some() || n < HEAD {
        return Ok((known, n as u64));
    }
    let mut bytes = vec![0; BLOCK];
    let more = super::packed::read_full(file, &mut bytes, HEAD as u64)?;
    Ok((Head::recover(&bytes[..more]), (n + more) as u64))
}

fn open(path: &Path) -> Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::from(e).prefixed(format!("open {}", path.display()))),
    }
}

/// Where the records in `bytes` begin, which stand at `base`, and how many lines begin in each.
fn heads(codec: Codec, bytes: &[u8], base: u64) -> Vec<(u64, u32)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match codec.head(&bytes[at..]) {
            Some(head) => {
                out.push((base + at as u64, head.starts));
                at += head.whole();
            }
            None => match codec.find(&bytes[at + 1..]) {
                Some(next) => at += 1 + next,
                None => break,
            },
        }
    }
    out
}

/// Where the last `left` lines begin, as [`Segment::tail`].
fn last(heads: &[(u64, u32)], left: &mut u64) -> Option<Place> {
    for (at, starts) in heads.iter().rev() {
        if u64::from(*starts) >= *left {
            return Some(Place { at: *at, skip: Some(starts - *left as u32) });
        }
        *left -= u64::from(*starts);
    }
    None
}
