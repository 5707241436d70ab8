//! The beginning of an exec's output, kept for whoever asked, and the time it may take: what a health check needs.
//!
//! The time is kept here and not by the daemon, so that a check that hangs is ended though the daemon is gone.

use crate::protocol::{Capture as Wanted, Captured, MAX_CAPTURE};
use rustix::process::{Pid, Signal, kill_process_group};
use std::time::{Duration, Instant};

/// A longer time is none: nothing is sure to count so far.
const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// What is kept of one process.
#[derive(Debug)]
pub struct Capture {
    limit: usize,
    bytes: Vec<u8>,
    /// There was more.
    cut: bool,
    /// When its time is over.
    deadline: Option<Instant>,
    timed_out: bool,
}

impl Capture {
    /// For a process that starts now.
    pub fn new(wanted: &Wanted) -> Self {
        let time = wanted.timeout_ms.map(Duration::from_millis).filter(|time| *time <= MAX_TIME);
        Self {
            limit: wanted.limit.min(MAX_CAPTURE) as usize,
            bytes: Vec::new(),
            cut: false,
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
            timed_out: false,
        }
    }

    /// Takes what the process wrote.
    pub fn take(&mut self, data: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.bytes.extend_from_slice(&data[..room.min(data.len())]);
        self.cut |= data.len() > room;
    }

    /// When its time is over, unless that was dealt with.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.timed_out)
    }

    /// Ends the process `pid`, which leads a group and was not reaped, and what it started, if its time is over.
    pub fn enforce(&mut self, pid: i32, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.timed_out = true;
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
    }

    /// What was kept, as text: what is no UTF-8 is replaced, and nothing ends within a character.
    pub fn finish(self) -> Captured {
        let bytes = if self.cut { whole(&self.bytes) } else { &self.bytes };
        Captured { text: String::from_utf8_lossy(bytes).into_owned(), cut: self.cut, timed_out: self.timed_out }
    }
}

/// Without the beginning of a character at the end, whatever stands before it.
fn whole(bytes: &[u8]) -> &[u8] {
    let from = bytes.len().saturating_sub(3);
    for at in from..bytes.len() {
        if let Err(e) = std::str::from_utf8(&bytes[at..])
            && e.valid_up_to() == 0
            && e.error_len().is_none()
        {
            return &bytes[..at];
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u32, pieces: &[&[u8]]) -> (String, bool) {
        let mut capture = Capture::new(&Wanted { limit, timeout_ms: None });
        pieces.iter().for_each(|piece| capture.take(piece));
        let Captured { text, cut, timed_out } = capture.finish();
        assert!(!timed_out);
        (text, cut)
    }

    #[test]
    fn the_beginning_is_kept_in_whole_characters() {
        let rows: [(u32, &[&[u8]], &str, bool); 9] = [
            (4, &[], "", false),
            (4, &[b"ab", b"cd"], "abcd", false),
            (4, &[b"ab", b"cde"], "abcd", true),
            (4, &[b"abcd", b"e", b"f"], "abcd", true),
            (0, &[b"a"], "", true),
            // ü has two bytes, € three.
            (3, &["aaü".as_bytes()], "aa", true),
            (3, &["a€€".as_bytes()], "a", true),
            (4, &[b"\xff", "a€".as_bytes()], "\u{fffd}a", true),
            // Not cut by us: the program wrote it so.
            (9, &[b"a\xe2\x82"], "a\u{fffd}", false),
        ];
        for (limit, pieces, text, cut) in rows {
            assert_eq!(captured(limit, pieces), (text.to_owned(), cut), "{limit} {pieces:?}");
        }
        let (text, cut) = captured(u32::MAX, &[&[b'x'; MAX_CAPTURE as usize + 1]]);
        assert_eq!((text.len(), cut), (MAX_CAPTURE as usize, true));
    }

    #[test]
    fn a_time_is_over_once() {
        let now = Instant::now();
        let mut capture = Capture::new(&Wanted { limit: 1, timeout_ms: Some(0) });
        assert!(capture.deadline().is_some());
        // No process has this number.
        capture.enforce(i32::MAX, now + Duration::from_secs(1));
        assert!(capture.deadline().is_none() && capture.finish().timed_out);
        let mut capture = Capture::new(&Wanted { limit: 1, timeout_ms: Some(1_000_000) });
        capture.enforce(i32::MAX, now);
        assert!(!capture.finish().timed_out);
        assert!(Capture::new(&Wanted { limit: 1, timeout_ms: Some(u64::MAX) }).deadline().is_none());
    }
}
