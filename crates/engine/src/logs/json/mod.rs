//! Reads logs in Docker's `json-file` format: one JSON object per piece of output, in a file that is turned over.
//!
//! All files that are wanted are opened at once, so that none is missed when they get other names; a follower finds its
//! own among them by its inode. Torn last lines (a crash in the middle of a write) are left out; a follower waits for their
//! rest.

mod files;
mod gzip;
mod line;
pub(super) mod pack;
mod seek;

use super::Fill;
use super::frames::Frames;
use super::segment::Tally;
use crate::config::LogsRequest;
use dhow_types::{Context, Result};
use files::Opened;
#[cfg(test)]
pub(super) use files::{compressed, rotated};
use line::select;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// Longest line: 16 KiB of output, each byte at most six in JSON, and the labels and variables beside it.
const MAX_LINE: usize = 1 << 20;
/// So many bytes before a place are remembered: they bear the time of the last line there.
const PROOF: usize = 64;

/// Reads the files of a log, the oldest first.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    body: Body,
    /// The inode that is read.
    own: u64,
    /// Files still to come after this one, the next one last.
    queue: Vec<Opened>,
    buffer: Vec<u8>,
    start: usize,
    /// Where the newest file, by its inode, ended when the log was opened, unless it is followed: a flood has an end.
    end: Option<(u64, u64)>,
    /// In the middle of a line that is too long.
    skipping: bool,
    /// Lines that are still left out.
    skip: u64,
    tally: Tally,
}

#[derive(Debug)]
enum Body {
    Plain {
        file: File,
        at: u64,
        /// What stood before `at`. If something else does, the file was emptied and has grown again.
        proof: Vec<u8>,
    },
    Gzip(Box<gzip::Decoder>),
}

/// Where reading begins.
struct Begin {
    /// The files, the first one to be read last.
    queue: Vec<Opened>,
    /// In the first one, if it is plain.
    at: u64,
    /// Lines of it that are left out.
    skip: u64,
}

impl Reader {
    /// Opens a log where what is asked for begins. `None` if there is none.
    pub(super) fn open(path: &Path, request: &LogsRequest, since: i64) -> Result<Option<Self>> {
        let tally = Tally::default();
        let files = files::open_all(path)?;
        let end = match files.first() {
            Some(newest) if !request.follow => Some((newest.own, newest.file.metadata()?.len())),
            _ => None,
        };
        let mut begin =
            begin(files, request, since, &tally).with_context(|| format!("read the log {}", path.display()))?;
        let Some(first) = begin.queue.pop() else { return Ok(None) };
        let own = first.own;
        let body = body(first, begin.at);
        let (queue, skip) = (begin.queue, begin.skip);
        let (path, buffer) = (path.to_owned(), Vec::new());
        Ok(Some(Self { path, body, own, queue, end, buffer, start: 0, skipping: false, skip, tally }))
    }

    /// Bytes read from files so far.
    #[cfg(test)]
    pub(super) fn bytes_read(&self) -> u64 {
        self.tally.get()
    }

    /// Reads on until there is enough to send, or nothing more for the moment.
    pub(super) fn fill(&mut self, frames: &mut Frames) -> Result<Fill> {
        while !frames.is_full() {
            while let Some((from, to)) = self.line() {
                if self.skip > 0 {
                    self.skip -= 1;
                } else if !select(&self.buffer[from..to], frames) {
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
        if let (Body::Plain { at, .. }, Some((own, end))) = (&self.body, self.end)
            && (own, end) == (self.own, end.min(*at))
        {
            return Ok(false);
        }
        if self.buffer.len() > MAX_LINE {
            // A line that no shim writes costs itself, not the log.
            self.skipping = true;
            self.buffer.clear();
        }
        let old = self.buffer.len();
        self.buffer.resize(old + BLOCK, 0);
        let what = || format!("read {}", self.path.display());
        let n = match &mut self.body {
            Body::Gzip(decoder) => decoder.read(&mut self.buffer[old..]).unwrap_or_else(|e| {
                // Damage costs what is behind it in this file.
                tracing::warn!("{}: a compressed file: {e}", self.path.display());
                0
            }),
            Body::Plain { file, at, proof } => {
                let n = read_at(file, &mut self.buffer[old..], *at).with_context(what)?;
                let mut there = vec![0; proof.len()];
                let before = read_at(file, &mut there, *at - proof.len() as u64).with_context(what)?;
                self.tally.set(self.tally.get() + (n + before) as u64);
                if there != *proof {
                    self.again();
                    return Ok(true);
                }
                *at += n as u64;
                proof.extend_from_slice(&self.buffer[old + n.saturating_sub(PROOF)..old + n]);
                proof.drain(..proof.len().saturating_sub(PROOF));
                n
            }
        };
        self.buffer.truncate(old + n);
        if n == 0 && self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        Ok(n > 0)
    }

    /// The file was emptied: it is read from its beginning. A torn line of what it was has no rest in it.
    fn again(&mut self) {
        if let Body::Plain { at, proof, .. } = &mut self.body {
            (*at, *proof) = (0, Vec::new());
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.buffer.clear();
        (self.start, self.skipping, self.skip) = (0, false, 0);
    }

    /// Where the next whole line stands in the buffer.
    fn line(&mut self) -> Option<(usize, usize)> {
        loop {
            let from = self.start;
            let end = from + memchr::memchr(b'\n', &self.buffer[from..])?;
            self.start = end + 1;
            if !std::mem::take(&mut self.skipping) {
                return Some((from, end));
            }
        }
    }

    /// Goes on with the next file: one that was there at the start, or one that has taken this one's place.
    fn next_file(&mut self) -> Result<bool> {
        if self.queue.is_empty() {
            if self.end.is_some() || files::inode(&self.path).is_none_or(|there| there == self.own) {
                return Ok(false);
            }
            // What came after the last look and before this file got another name.
            if self.read()? {
                return Ok(true);
            }
            let plain = matches!(self.body, Body::Plain { .. });
            let all = files::open_all(&self.path)?;
            self.queue = files::newer(all, self.own, plain);
        }
        let Some(next) = self.queue.pop() else { return Ok(false) };
        self.own = next.own;
        self.body = body(next, 0);
        // A torn line of the old file has no rest in the new one.
        self.forget();
        Ok(true)
    }
}

fn body(opened: Opened, at: u64) -> Body {
    if opened.gzip.is_some() {
        return Body::Gzip(Box::new(gzip::decoder(opened.file)));
    }
    let mut proof = vec![0; at.min(PROOF as u64) as usize];
    let before = at - proof.len() as u64;
    // Emptied since `at` was found: it is read from its beginning.
    let whole = read_at(&opened.file, &mut proof, before).is_ok_and(|n| n == proof.len());
    let (at, proof) = if whole { (at, proof) } else { (0, Vec::new()) };
    Body::Plain { file: opened.file, at, proof }
}

/// Looks for the place where what is asked for begins, from the newest file on. `files` have the newest first.
fn begin(files: Vec<Opened>, request: &LogsRequest, since: i64, tally: &Tally) -> std::io::Result<Begin> {
    let mut begin = Begin { queue: Vec::new(), at: 0, skip: 0 };
    let mut left = request.tail;
    for opened in files {
        // Everything in a file that ended before is too early, and so is what is older.
        let ended = opened.gzip.as_ref().and_then(|about| about.last);
        if request.since.is_some() && ended.is_some_and(|last| last < since) {
            break;
        }
        (begin.at, begin.skip) = (0, 0);
        let mut enough = false;
        if opened.gzip.is_none() && request.since.is_some() {
            (begin.at, enough) = seek::since(&opened.file, since, tally)?;
        }
        if let Some(lines) = &mut left {
            match opened.gzip {
                None => begin.at = seek::tail(&opened.file, lines, begin.at, tally)?,
                Some(_) => begin.skip = gzip::tail(&opened.file, lines),
            }
            enough |= *lines == 0;
        }
        begin.queue.push(opened);
        if enough {
            break;
        }
    }
    Ok(begin)
}

fn read_at(file: &File, into: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
