//! Places in a file of a log: where a time begins, and where the last lines do. Times in a file never go back, for the shim
//! sees to that, so a time is found by halving.

use super::{BLOCK, MAX_LINE, line, read_at};
use crate::logs::segment::Tally;
use std::fs::File;

/// The first look for a line.
const PROBE: usize = 4 << 10;

/// A place before which every line is earlier than `since`, and whether there is such a line.
pub(super) fn since(file: &File, since: i64, tally: &Tally) -> std::io::Result<(u64, bool)> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    let mut earlier = matches!(timed(file, 0, high, tally)?, Some((_, time)) if time < since);
    if !earlier {
        return Ok((0, false));
    }
    while high - low > BLOCK as u64 {
        let middle = low + (high - low) / 2;
        match timed(file, middle, high, tally)? {
            Some((at, time)) if time < since => (low, earlier) = (at, true),
            // Also where none could be found: what lies before is read, and what is early is left out.
            _ => high = middle,
        }
    }
    Ok((low, earlier))
}

/// The first line that begins at `from` or behind it, before `end`, and bears a time.
fn timed(file: &File, from: u64, end: u64, tally: &Tally) -> std::io::Result<Option<(u64, i64)>> {
    let mut len = PROBE;
    loop {
        let mut bytes = vec![0; len];
        let n = read_at(file, &mut bytes, from)?;
        tally.set(tally.get() + n as u64);
        bytes.truncate(n);
        let mut start = match from {
            0 => Some(0),
            _ => memchr::memchr(b'\n', &bytes).map(|at| at + 1),
        };
        while let Some(begin) = start.filter(|begin| from + (*begin as u64) < end)
            && let Some(length) = memchr::memchr(b'\n', &bytes[begin..])
        {
            if let Some(time) = line::time(&bytes[begin..begin + length]) {
                return Ok(Some((from + begin as u64, time)));
            }
            start = Some(begin + length + 1);
        }
        if n < len || len > MAX_LINE {
            return Ok(None);
        }
        len *= 4;
    }
}

/// Where the last `lines` lines begin that stand at `floor` or behind it; what is missing stays in `lines`.
pub(super) fn tail(file: &File, lines: &mut u64, floor: u64, tally: &Tally) -> std::io::Result<u64> {
    let mut at = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut seen_end = false;
    if *lines == 0 {
        return Ok(at);
    }
    while at > floor {
        let len = (at - floor).min(BLOCK as u64) as usize;
        at -= len as u64;
        let part = &mut block[..len];
        let n = read_at(file, part, at)?;
        tally.set(tally.get() + n as u64);
        // Emptied meanwhile: what there is now is read.
        if n < len {
            return Ok(0);
        }
        for i in memchr::memrchr_iter(b'\n', part) {
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
    Ok(floor)
}

/// The last whole line of a file that nobody writes to any more.
pub(super) fn last_line(file: &File) -> std::io::Result<Vec<u8>> {
    let end = file.metadata()?.len();
    let from = end.saturating_sub(2 * MAX_LINE as u64);
    let mut bytes = vec![0; (end - from) as usize];
    let n = read_at(file, &mut bytes, from)?;
    bytes.truncate(n);
    let Some(last) = memchr::memrchr(b'\n', &bytes) else { return Ok(Vec::new()) };
    bytes.truncate(last);
    let begin = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
    Ok(bytes.split_off(begin))
}
