//! A log in segments: files of bounded size, of which the newest so many are kept. The format is that of
//! [`dhow_types::segment`]; older segments are compressed by somebody else, with `.zst` at the end of their names.
//!
//! ```text
//!   log/00000007.seg.zst  00000008.seg  00000009.seg ◄── one write for each read of output
//! ```
//!
//! Nothing that was written is changed, but for the piece of a record that a full disk left. A crash can tear the last
//! record; the next start then begins a new segment. What a reader does never lives here.

use super::{MAX_PIECE, Stream};
use dhow_types::segment::{Codec, HEAD, Head, MAX_TEXT, RECORD_HEAD, RecordHead, starts};
use dhow_types::{Context, Result};
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Files kept at most, whatever is configured.
const MAX_FILES: u32 = 1000;
/// The smallest size of a segment.
const MIN_SIZE: u64 = 4 << 10;
/// The largest, so that places in it are small numbers everywhere.
const MAX_SIZE: u64 = 1 << 31;

/// An open log.
#[derive(Debug)]
pub struct Segments {
    dir: OwnedFd,
    /// `None` until there is something to write, and after a turn that failed.
    open: Option<Open>,
    /// Of the newest segment that was ever there; 0 for none.
    number: u32,
    /// Of the oldest that may be there.
    oldest: u32,
    /// The time of the last record: later ones are never earlier, whatever the clock does.
    last: i64,
    max_size: u64,
    max_files: u32,
    /// The beginning of a line whose end has not come yet, for each stream.
    partial: [Vec<u8>; 2],
    /// A line was begun by a record, and its end has not come yet.
    continued: [bool; 2],
    /// Bytes of output that could not be written.
    lost: u64,
    /// Those of them that the log does not tell of yet.
    gap: u64,
    /// A segment was left for the next one, and nobody was told.
    turned: bool,
}

#[derive(Debug)]
struct Open {
    file: OwnedFd,
    size: u64,
    codec: Codec,
}

impl Segments {
    /// Opens the directory at `path`, or makes it. A segment ends at `max_size` bytes, and `max_files` are kept.
    pub fn open(path: &Path, max_size: u64, max_files: u32) -> Result<Self> {
        let work = || -> std::io::Result<Self> {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = rustix::fs::open(path, flags, Mode::empty())?;
            let mut log = Self {
                dir,
                open: None,
                number: 0,
                oldest: 1,
                last: 0,
                max_size: max_size.clamp(MIN_SIZE, MAX_SIZE),
                max_files: max_files.clamp(1, MAX_FILES),
                partial: Default::default(),
                continued: [false; 2],
                lost: 0,
                gap: 0,
                turned: false,
            };
            log.look()?;
            Ok(log)
        };
        work().with_context(|| format!("open the log {}", path.display()))
    }

    /// Adds output of `stream`.
    pub fn write(&mut self, stream: Stream, data: &[u8]) {
        let at = stream.index();
        let (lines, rest) = data.split_at(memchr::memrchr(b'\n', data).map_or(0, |end| end + 1));
        let mut partial = std::mem::take(&mut self.partial[at]);
        if !lines.is_empty() {
            self.text(stream, [&partial, lines]);
            partial.clear();
        }
        if partial.len() + rest.len() >= MAX_PIECE {
            self.text(stream, [&partial, rest]);
            partial.clear();
        } else {
            partial.extend_from_slice(rest);
        }
        self.partial[at] = partial;
    }

    /// `stream` has ended: what it left without a newline is written.
    pub fn finish(&mut self, stream: Stream) {
        let rest = std::mem::take(&mut self.partial[stream.index()]);
        self.text(stream, [&rest, &[]]);
        self.continued[stream.index()] = false;
    }

    /// Gives back memory that is not needed at rest.
    pub fn rest(&mut self) {
        self.partial.iter_mut().for_each(Vec::shrink_to_fit);
    }

    /// Bytes of output that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether a segment was left for the next one since the last question.
    pub fn take_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    /// Writes text in records of bounded length, which end with a line where they can.
    fn text(&mut self, stream: Stream, [a, mut b]: [&[u8]; 2]) {
        // Small segments are filled with small records, so that little of one stays empty.
        let room = (self.max_size / 8).max(MIN_SIZE) as usize - HEAD - RECORD_HEAD;
        let limit = MAX_TEXT.min(room);
        let (full, mut a) = a.split_at(if a.len() < limit { 0 } else { a.len() - a.len() % limit });
        full.chunks(limit).for_each(|part| self.record(stream, [part, &[]], false));
        while a.len() + b.len() > limit {
            let room = &b[..limit - a.len()];
            let (now, later) = b.split_at(memchr::memrchr(b'\n', room).map_or(room.len(), |end| end + 1));
            self.record(stream, [a, now], false);
            (a, b) = (&[], later);
        }
        self.record(stream, [a, b], false);
    }

    fn record(&mut self, stream: Stream, text: [&[u8]; 2], gap: bool) {
        let len = text[0].len() + text[1].len();
        if len == 0 {
            return;
        }
        if self.gap > 0 && !gap {
            let note = format!("dhow: {} bytes of output are missing here: they could not be written\n", self.gap);
            self.record(Stream::Stderr, [note.as_bytes(), &[]], true);
        }
        let continued = &mut self.continued[stream.index()];
        let went_on = !gap && *continued;
        if !gap {
            *continued = !text[1].ends_with(b"\n") && (!text[1].is_empty() || !text[0].ends_with(b"\n"));
        }
        let now = clock_gettime(ClockId::Realtime);
        let now = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
        let time = self.last.max(now);
        let head =
            RecordHead { time, starts: starts(&text, went_on), stream: stream.number(), continued: went_on, gap, len };
        // What one gap says about itself is not lost output.
        let done = (gap || self.gap == 0) && self.append(&head, text).is_ok();
        match (done, gap) {
            (true, true) => (self.last, self.gap) = (time, 0),
            (true, false) => self.last = time,
            (false, true) => {}
            (false, false) => {
                self.lost += len as u64;
                self.gap += len as u64;
            }
        }
    }

    fn append(&mut self, head: &RecordHead, text: [&[u8]; 2]) -> rustix::io::Result<()> {
        let full = |open: &Open| open.size > HEAD as u64 && open.size + head.whole() as u64 > self.max_size;
        if self.open.as_ref().is_none_or(full) {
            self.turn(head.time)?;
        }
        let Some(open) = &mut self.open else { return Err(Errno::IO) };
        let record_head = open.codec.encode(head, &text);
        if let Err(e) = write_all(&open.file, [&record_head, text[0], text[1]]) {
            // So that a full disk leaves no torn record.
            let _ = rustix::fs::ftruncate(&open.file, open.size);
            return Err(e);
        }
        open.size += head.whole() as u64;
        Ok(())
    }

    /// Goes on with a new segment. The oldest go first, so that there is room for it.
    fn turn(&mut self, time: i64) -> rustix::io::Result<()> {
        self.turned |= self.open.take().is_some();
        let number = self.number.checked_add(1).ok_or(Errno::OVERFLOW)?;
        while number - self.oldest >= self.max_files {
            // The packed one last: who packs looks whether the plain one is still there.
            let packed = packed(self.oldest);
            for name in [plain(self.oldest), format!("{packed}.tmp"), packed] {
                match rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e),
                }
            }
            self.oldest += 1;
        }
        let mut key = [0; 8];
        rustix::rand::getrandom(key.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
        let head = Head { key: u64::from_le_bytes(key), time };
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = plain(number);
        let file = rustix::fs::openat(&self.dir, &name, flags, Mode::RUSR | Mode::WUSR)?;
        if let Err(e) = write_all(&file, [&head.encode(), &[], &[]]) {
            let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
            return Err(e);
        }
        self.number = number;
        self.open = Some(Open { file, size: HEAD as u64, codec: head.codec() });
        Ok(())
    }

    /// Finds what is there. The newest segment is gone on with if its end is whole.
    fn look(&mut self) -> std::io::Result<()> {
        let mut numbers = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            numbers.extend(number(entry?.file_name().to_bytes()));
        }
        let (Some(oldest), Some(newest)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(()) };
        (self.oldest, self.number) = (*oldest, *newest);
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, plain(*newest), flags, Mode::empty()) {
            Ok(file) => file,
            // It is packed: the next one begins.
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        let Some(head) = Head::decode(&read_at(&file, 0, HEAD)?) else { return Ok(()) };
        self.last = head.time;
        let codec = head.codec();
        // Far enough back that a whole record begins behind it, or the first one.
        let from = size.saturating_sub(2 * (RECORD_HEAD + MAX_TEXT) as u64).max(HEAD as u64);
        let tail = read_at(&file, from, (size - from) as usize)?;
        let first = codec.find(&tail);
        let mut at = first.unwrap_or(0);
        while let Some(record) = tail.get(at..).and_then(|rest| codec.head(rest)) {
            self.last = self.last.max(record.time);
            at += record.whole();
        }
        let begins_whole = if from == HEAD as u64 { first.is_none_or(|at| at == 0) } else { first.is_some() };
        if begins_whole && at == tail.len() {
            self.open = Some(Open { file, size, codec });
        }
        Ok(())
    }
}

fn plain(number: u32) -> String {
    format!("{number:08}.seg")
}

fn packed(number: u32) -> String {
    format!("{number:08}.seg.zst")
}

fn number(name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".seg")?.parse().ok()
}

fn read_at(file: &OwnedFd, from: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut out = vec![0; len];
    let mut done = 0;
    while done < len {
        match rustix::io::pread(file, &mut out[done..], from + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    out.truncate(done);
    Ok(out)
}

/// One system call where the disk is not full.
fn write_all(file: impl AsFd, parts: [&[u8]; 3]) -> rustix::io::Result<()> {
    let all: usize = parts.iter().map(|p| p.len()).sum();
    let mut done = 0;
    while done < all {
        let mut skip = done;
        let rest = parts.map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            IoSlice::new(&part[skipped..])
        });
        match rustix::io::writev(file.as_fd(), &rest) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
