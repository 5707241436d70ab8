//! Reads a log that is kept in segments, from where it must and as far as it must.

use super::Fill;
use super::frames::{Frames, NO_ATTRS, Piece};
use super::segment::{Block, Place, Segment, Tally};
use crate::config::LogsRequest;
use dhow_types::segment::{At, Codec, HEAD, RECORD_HEAD};
use dhow_types::{Context, Result};
use std::path::{Path, PathBuf};

/// A log that is being read.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    /// The segment that is read, or the next one that would be.
    number: u32,
    segment: Option<Segment>,
    place: Place,
    /// Of which streams what goes on with a line is left out, for the line began before what was asked for.
    headless: [bool; 2],
    /// The newest segment and where it ended when the log was opened, unless it is followed: a flood has an end.
    end: Option<(u32, u64)>,
    /// There is a newer segment, so that nothing more comes into this one.
    closed: bool,
    tally: Tally,
}

/// What a block gave.
struct Walked {
    /// Bytes that are done with.
    done: usize,
    over: bool,
    /// What stands behind them is no record, and none was found.
    stuck: bool,
}

impl Reader {
    /// Opens the log at its beginning, or where what is asked for begins.
    pub(super) fn open(dir: &Path, request: &LogsRequest, since: i64) -> Result<Self> {
        let place = Place { at: HEAD as u64, skip: None };
        let (dir, tally) = (dir.to_owned(), Tally::default());
        let mut reader =
            Self { dir, number: 0, segment: None, place, headless: [false; 2], end: None, closed: false, tally };
        let numbers = numbers(&reader.dir)?;
        if !request.follow {
            let newest = numbers.last().copied().unwrap_or(0);
            let segment = Segment::open(&reader.dir, newest, &reader.tally)?;
            reader.end = Some((newest, segment.map_or(Ok(0), |segment| segment.end())?));
        }
        if request.since.is_some() {
            reader.since(&numbers, since)?;
        }
        if let Some(lines) = request.tail {
            // What is too early is not looked through for the last lines.
            let early = numbers.partition_point(|number| *number < reader.number);
            reader.tail(&numbers[early..], lines)?;
        }
        Ok(reader)
    }

    /// Bytes read from files so far.
    #[cfg(test)]
    pub(super) fn bytes_read(&self) -> u64 {
        self.tally.get()
    }

    fn since(&mut self, numbers: &[u32], time: i64) -> Result<()> {
        let (mut low, mut high) = (0, numbers.len());
        // The newest segment that begins before `time`: in an older one there is nothing.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let begins = Segment::open(&self.dir, numbers[middle], &self.tally)?.and_then(|s| s.time());
            match begins {
                Some(begins) if begins < time => low = middle,
                _ => high = middle,
            }
        }
        let Some(number) = numbers.get(low) else { return Ok(()) };
        self.number = *number;
        if let Some(segment) = Segment::open(&self.dir, *number, &self.tally)? {
            self.place.at = segment.since(time, &self.tally)?;
            self.segment = Some(segment);
        }
        Ok(())
    }

    fn tail(&mut self, numbers: &[u32], mut left: u64) -> Result<()> {
        if left == 0 {
            // Behind what is there now.
            if let Some(number) = numbers.last() {
                self.number = *number;
                self.segment = Segment::open(&self.dir, *number, &self.tally)?;
                self.place.at = self.segment.as_ref().map_or(Ok(HEAD as u64), Segment::end)?;
            }
            return Ok(());
        }
        for number in numbers.iter().rev() {
            let Some(segment) = Segment::open(&self.dir, *number, &self.tally)? else { continue };
            let floor = if *number == self.number { self.place.at } else { HEAD as u64 };
            if let Some(place) = segment.tail(&mut left, floor, &self.tally)? {
                (self.number, self.place, self.segment) = (*number, place, Some(segment));
                self.headless = [true; 2];
                break;
            }
        }
        Ok(())
    }

    /// Reads on until there is enough to send, or nothing more for the moment.
    pub(super) fn fill(&mut self, frames: &mut Frames) -> Result<Fill> {
        while !frames.is_full() {
            if self.segment.is_none() && !self.next()? {
                return Ok(Fill::End);
            }
            if self.end.is_some_and(|end| (self.number, self.place.at) >= end) {
                return Ok(Fill::End);
            }
            let Some(segment) = &self.segment else { return Ok(Fill::End) };
            let block = match segment.codec() {
                Some(_) => segment.block(self.place.at, &self.tally)?,
                None => Block::default(),
            };
            if let (Some(codec), false) = (segment.codec(), block.bytes.is_empty()) {
                let walked = walk(codec, &block.bytes, &mut self.place.skip, &mut self.headless, frames);
                self.place.at += walked.done as u64;
                if walked.over {
                    return Ok(Fill::Over);
                }
                if walked.done > 0 {
                    continue;
                }
                if let (true, Some(next)) = (walked.stuck, block.next) {
                    // A head may begin in the last bytes of the block.
                    self.place.at = next.saturating_sub(RECORD_HEAD as u64 - 1).max(self.place.at + 1);
                    continue;
                }
            }
            if let Some(next) = block.next {
                self.place.at = next;
                continue;
            }
            // Its end, if nothing was added before the next one began.
            if !self.closed {
                self.closed = numbers(&self.dir)?.last().is_some_and(|newest| *newest > self.number);
                if self.closed {
                    if self.segment.as_ref().is_some_and(|s| s.codec().is_none()) {
                        self.segment = Segment::open(&self.dir, self.number, &self.tally)?;
                    }
                    continue;
                }
                if self.segment.as_ref().is_some_and(|s| s.codec().is_none()) {
                    // Its head is not there yet.
                    self.segment = Segment::open(&self.dir, self.number, &self.tally)?;
                    if self.segment.as_ref().is_some_and(|s| s.codec().is_some()) {
                        continue;
                    }
                }
                return Ok(Fill::End);
            }
            self.segment = None;
        }
        Ok(Fill::More)
    }

    /// Goes on with the next segment that is there.
    fn next(&mut self) -> Result<bool> {
        let from = self.number;
        for number in numbers(&self.dir)?.into_iter().filter(|n| *n > from) {
            if let Some(segment) = Segment::open(&self.dir, number, &self.tally)? {
                (self.number, self.segment, self.closed) = (number, Some(segment), false);
                self.place = Place { at: HEAD as u64, skip: None };
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes whole records from the beginning of `bytes`.
fn walk(codec: Codec, bytes: &[u8], skip: &mut Option<u32>, headless: &mut [bool; 2], frames: &mut Frames) -> Walked {
    let mut at = 0;
    while at < bytes.len() {
        match codec.at(&bytes[at..]) {
            At::Record(head) => {
                let mut text = &bytes[at + RECORD_HEAD..at + head.whole()];
                let mut continued = head.continued;
                let headless = &mut headless[usize::from(head.stream == 2)];
                if let Some(skip) = skip.take() {
                    text = &text[start(text, continued, skip)..];
                    (continued, *headless) = (false, text.is_empty());
                } else if *headless {
                    text = &text[start(text, continued, 0)..];
                    (continued, *headless) = (false, text.is_empty());
                }
                at += head.whole();
                let (stream, time, attrs) = (head.stream, head.time, &NO_ATTRS);
                if !frames.add(&Piece { stream, time, continued, text, attrs }) {
                    return Walked { done: at, over: true, stuck: false };
                }
            }
            // The rest comes with the next block, or is being written.
            At::Short(_) => return Walked { done: at, over: false, stuck: false },
            At::Damaged => match codec.find(&bytes[at + 1..]) {
                Some(next) => at += 1 + next,
                None => return Walked { done: at, over: false, stuck: true },
            },
        }
    }
    Walked { done: at, over: false, stuck: false }
}

/// Where the line begins that is the first one after `skip` others that begin in `text`.
fn start(text: &[u8], continued: bool, skip: u32) -> usize {
    let ends = skip as usize + usize::from(continued);
    let Some(nth) = ends.checked_sub(1) else { return 0 };
    memchr::memchr_iter(b'\n', text).nth(nth).map_or(text.len(), |end| end + 1)
}

/// The segments that are there, in order.
pub(super) fn numbers(dir: &Path) -> Result<Vec<u32>> {
    let what = || format!("list the log {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(what),
    };
    let mut out = Vec::new();
    for entry in entries {
        let name = entry.with_context(what)?.file_name();
        let Some(name) = name.to_str() else { continue };
        out.extend(name.strip_suffix(".zst").unwrap_or(name).strip_suffix(".seg").and_then(|n| n.parse::<u32>().ok()));
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}
