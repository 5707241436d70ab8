//! Reads logs in Docker's `json-file` format: one JSON object per piece of output.
//!
//! Torn last lines (a crash in the middle of a write) are left out; a follower waits for their rest.

use super::Fill;
use super::frames::{Frames, Piece};
use dhow_types::{Context, Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// Longest line: 16 KiB of output, each byte at most six in JSON, and the rest of the object.
const MAX_LINE: usize = 1 << 20;
/// Most files of one log.
const MAX_FILES: u32 = 1000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// Gives one line on. False: nothing later was asked for.
fn select(line: &[u8], frames: &mut Frames) -> bool {
    // Damage in the middle (a power cut) costs its line, not the log.
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return true };
    let time = line.time.parse::<Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    let stream = if line.stream == "stderr" { 2 } else { 1 };
    // As in Docker, each piece of a long line is a line here.
    frames.add(&Piece { stream, time: time.unwrap_or(0), continued: false, text: line.log.as_bytes() })
}

/// Reads the files of a log, the oldest first.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    /// Files still to come after this one, the next one last.
    rest: Vec<PathBuf>,
    buffer: Vec<u8>,
    start: usize,
}

impl Reader {
    /// Opens a log at its beginning, or where the last `tail` lines begin. `None` if there is none.
    pub(super) fn open(path: &Path, tail: Option<u64>) -> Result<Option<Self>> {
        let mut files = vec![path.to_owned()];
        for n in 1..=MAX_FILES {
            let older = rotated(path, n);
            if !older.exists() {
                break;
            }
            files.push(older);
        }
        let mut left = tail;
        let mut offset = 0;
        if let Some(lines) = &mut left {
            let mut keep = 0;
            for (i, file) in files.iter().enumerate() {
                keep = i + 1;
                offset = match File::open(file) {
                    Ok(f) => tail_offset(f, lines).with_context(|| format!("read {}", file.display()))?,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
                    Err(e) => return Err(e).with_context(|| format!("open {}", file.display())),
                };
                if *lines == 0 {
                    break;
                }
            }
            files.truncate(keep);
        }
        while let Some(first) = files.pop() {
            match File::open(&first) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(offset)).with_context(|| format!("read {}", first.display()))?;
                    return Ok(Some(Self { path: path.to_owned(), file, rest: files, buffer: Vec::new(), start: 0 }));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => offset = 0,
                Err(e) => return Err(e).with_context(|| format!("open {}", first.display())),
            }
        }
        Ok(None)
    }

    /// Reads on until there is enough to send, or nothing more for the moment.
    pub(super) fn fill(&mut self, frames: &mut Frames) -> Result<Fill> {
        while !frames.is_full() {
            while let Some(line) = self.line() {
                let (from, to) = line;
                if !select(&self.buffer[from..to], frames) {
                    return Ok(Fill::Over);
                }
            }
            if !self.read()? && !self.next_file()? {
                return Ok(Fill::End);
            }
        }
        Ok(Fill::More)
    }

    /// Reads once. False at the end of the file.
    fn read(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let old = self.buffer.len();
        if old > MAX_LINE {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!("{} has a line longer than {MAX_LINE} bytes", self.path.display()),
            ));
        }
        self.buffer.resize(old + BLOCK, 0);
        let n = self.file.read(&mut self.buffer[old..]).with_context(|| format!("read {}", self.path.display()))?;
        self.buffer.truncate(old + n);
        if n == 0 && self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        Ok(n > 0)
    }

    /// Where the next whole line stands in the buffer.
    fn line(&mut self) -> Option<(usize, usize)> {
        let from = self.start;
        let end = from + memchr::memchr(b'\n', &self.buffer[from..])?;
        self.start = end + 1;
        Some((from, end))
    }

    /// Goes on with the next file: one that was there at the start, or one that has taken this one's place.
    fn next_file(&mut self) -> Result<bool> {
        if let Some(next) = self.rest.pop() {
            return match File::open(&next) {
                Ok(file) => {
                    self.take(file);
                    Ok(true)
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.next_file(),
                Err(e) => Err(e).with_context(|| format!("open {}", next.display())),
            };
        }
        let (Ok(here), Ok(there)) = (self.file.metadata(), std::fs::metadata(&self.path)) else { return Ok(false) };
        // With one file alone, a full one starts again.
        let at = (&self.file).stream_position().unwrap_or(0);
        if here.ino() == there.ino() && there.len() >= at {
            return Ok(false);
        }
        let Ok(file) = File::open(&self.path) else { return Ok(false) };
        self.take(file);
        Ok(true)
    }

    fn take(&mut self, file: File) {
        self.file = file;
        // A torn line of the old file has no rest in the new one.
        self.buffer.clear();
        self.start = 0;
    }
}

pub(super) fn rotated(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Where the last `lines` lines begin; what is missing stays in `lines`.
fn tail_offset(mut file: File, lines: &mut u64) -> std::io::Result<u64> {
    let mut at = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; BLOCK];
    let mut seen_end = false;
    if *lines == 0 {
        return Ok(at);
    }
    while at > 0 {
        let len = at.min(BLOCK as u64);
        at -= len;
        file.seek(SeekFrom::Start(at))?;
        let part = &mut block[..len as usize];
        file.read_exact(part)?;
        for (i, b) in part.iter().enumerate().rev() {
            if *b != b'\n' {
                continue;
            }
            if !seen_end {
                // The end of the last line, not of the one before it.
                seen_end = true;
                continue;
            }
            *lines -= 1;
            if *lines == 0 {
                return Ok(at + i as u64 + 1);
            }
        }
    }
    if seen_end {
        *lines -= 1;
    }
    Ok(0)
}
