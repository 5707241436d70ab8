//! How long output is left to gather in its pipe before it is read again, so that a program that says very much is read
//! in large pieces instead of line by line.
//!
//! A reader that is faster than its writer reads whatever the last write brought, and wakes up for each: a flood of
//! 4 KiB writes costs one wake-up and four system calls for each of them, on both sides. Once a flow is that strong, a
//! moment's rest halves the work. What speaks at the pace of people never waits. Nothing here sleeps or reads.

use std::time::{Duration, Instant};

/// Over how long a flow is measured.
const WINDOW: Duration = Duration::from_millis(1);
/// Bytes in a millisecond from which on a flow is a flood: 32 MB in a second.
const FLOOD: u64 = 32 << 10;
/// No output waits longer than that.
const LONGEST: Duration = Duration::from_micros(500);

/// Measures the output of a shim's processes.
#[derive(Debug, Default)]
pub struct Pace {
    since: Option<Instant>,
    /// Read since then.
    bytes: u64,
    /// Bytes in a millisecond, as last measured, if that was a flood.
    flood: Option<u64>,
    /// What may gather before the next read; 0 when there is more to read now, or when nothing was read.
    room: u64,
}

impl Pace {
    /// So many bytes were read. `room`: what may gather now without its writer having to wait; 0 when there may be
    /// more to read.
    pub fn took(&mut self, bytes: usize, room: usize) {
        self.bytes += bytes as u64;
        self.room = room as u64;
    }

    /// Output comes so fast that it is worth more memory.
    pub fn is_flood(&self) -> bool {
        self.flood.is_some()
    }

    /// How long to rest before the next look, if at all.
    pub fn rest(&mut self, now: Instant) -> Option<Duration> {
        let room = std::mem::take(&mut self.room);
        if self.bytes == 0 {
            return None;
        }
        let elapsed = now.saturating_duration_since(*self.since.get_or_insert(now));
        if elapsed >= WINDOW {
            let rate = u128::from(self.bytes) * 1000 / elapsed.as_micros().max(1);
            self.flood = u64::try_from(rate).ok().filter(|rate| *rate >= FLOOD);
            (self.since, self.bytes) = (Some(now), 0);
        }
        let rate = self.flood.filter(|_| room > 0)?;
        Some(Duration::from_micros(room * 1000 / rate).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 96 << 10;

    /// Reads `bytes` every `micros`, and gives the rest after each.
    fn flow(pace: &mut Pace, start: Instant, bytes: usize, micros: u64, times: u64) -> Vec<Option<Duration>> {
        let at = |n: u64| start + Duration::from_micros(micros * n);
        (0..times)
            .map(|n| {
                pace.took(bytes, ROOM);
                pace.rest(at(n))
            })
            .collect()
    }

    #[test]
    fn only_a_flood_waits() {
        let start = Instant::now();
        // bytes, every so many µs, the rest in µs when it is known
        for (bytes, micros, want) in [
            (80, 1000, None),
            (4096, 1000, None),
            (4096, 200, None),
            // 200 MB/s, as a simple program writes
            (4096, 20, Some(480)),
            // 2 GB/s
            (65536, 32, Some(48)),
            // just strong enough: not longer than the longest
            (4096, 120, Some(500)),
        ] {
            let rests = flow(&mut Pace::default(), start, bytes, micros, 400);
            let last = rests.last().copied().flatten().map(|rest| rest.as_micros() as u64);
            let near = |a: u64, b: u64| a.abs_diff(b) <= b / 10;
            assert!(
                last.is_some() == want.is_some() && last.zip(want).is_none_or(|(a, b)| near(a, b)),
                "{bytes} {last:?}"
            );
            assert_eq!(rests[0], None, "nothing is known of a flow that begins");
        }
    }

    #[test]
    fn what_comes_after_a_flood_does_not_wait() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(flow(&mut pace, start, 4096, 20, 400).last().unwrap().is_some() && pace.is_flood());
        assert_eq!(pace.rest(start + Duration::from_millis(9)), None, "nothing was read");
        pace.took(80, ROOM);
        assert_eq!(pace.rest(start + Duration::from_secs(9)), None);
        assert!(!pace.is_flood());
    }

    #[test]
    fn more_to_read_is_read_at_once() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        flow(&mut pace, start, 4096, 20, 400);
        pace.took(4096, 0);
        assert_eq!(pace.rest(start + Duration::from_micros(8010)), None);
    }
}
