//! From pieces of a log to what a client gets: chosen by stream and time, with times in front if asked, in Docker's frames.

use crate::config::LogsRequest;
use dhow_types::segment::FRAME_HEAD;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::Write;

/// So much is gathered before it is sent.
const ENOUGH: usize = 256 << 10;

/// A piece of a log: text of one stream that came at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// 1 for stdout, 2 for stderr.
    pub(super) stream: u8,
    /// Nanoseconds since 1970.
    pub(super) time: i64,
    /// Goes on with a line that was begun before.
    pub(super) continued: bool,
    pub(super) text: &'a [u8],
    /// Labels and variables that stand beside it.
    pub(super) attrs: &'a BTreeMap<String, String>,
}

/// Beside what is kept in segments nothing stands.
pub(super) static NO_ATTRS: BTreeMap<String, String> = BTreeMap::new();

/// What was chosen and not sent yet.
#[derive(Debug)]
pub(super) struct Frames {
    streams: [bool; 2],
    since: i64,
    until: i64,
    timestamps: bool,
    details: bool,
    /// No frames: the container has a terminal.
    raw: bool,
    /// A frame may hold several lines.
    blocks: bool,
    out: Vec<u8>,
}

/// The times of an API are as fine as those of a log, but reach farther.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time.as_second() < 0 { i64::MIN } else { i64::MAX })
}

impl Frames {
    pub(super) fn new(request: &LogsRequest, raw: bool) -> Self {
        Self {
            streams: [request.stdout, request.stderr],
            since: request.since.map_or(i64::MIN, nanoseconds),
            until: request.until.map_or(i64::MAX, nanoseconds),
            timestamps: request.timestamps,
            details: request.details,
            raw,
            blocks: request.blocks,
            out: Vec::new(),
        }
    }

    /// The time asked for begins here.
    pub(super) fn since(&self) -> i64 {
        self.since
    }

    /// Labels and variables were asked for.
    pub(super) fn with_details(&self) -> bool {
        self.details
    }

    /// It is time to send.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= ENOUGH
    }

    /// What there is to send.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Adds a piece, if it was asked for. False: nothing later was asked for.
    pub(super) fn add(&mut self, piece: &Piece<'_>) -> bool {
        if piece.time > self.until {
            return false;
        }
        let wanted = self.streams.get(usize::from(piece.stream).saturating_sub(1)).is_some_and(|wanted| *wanted);
        if !wanted || piece.time < self.since || piece.text.is_empty() {
            return true;
        }
        let mut stamp = if self.timestamps { stamp(piece.time) } else { String::new() };
        if self.details {
            details(piece.attrs, &mut stamp);
        }
        if self.out.capacity() == 0 {
            self.out.reserve(ENOUGH + piece.text.len());
        }
        if stamp.is_empty() && (self.blocks || self.raw) {
            self.frame(piece.stream, |out| out.extend_from_slice(piece.text));
            return true;
        }
        let mut from = 0;
        let mut continued = piece.continued;
        let ends = memchr::memchr_iter(b'\n', piece.text).map(|end| end + 1);
        for end in ends.chain((!piece.text.ends_with(b"\n")).then_some(piece.text.len())) {
            let line = &piece.text[from..end];
            let stamp = if continued { "" } else { &stamp };
            self.frame(piece.stream, |out| {
                out.extend_from_slice(stamp.as_bytes());
                out.extend_from_slice(line);
            });
            (from, continued) = (end, false);
        }
        true
    }

    fn frame(&mut self, stream: u8, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.raw {
            return fill(&mut self.out);
        }
        let begin = self.out.len();
        self.out.extend_from_slice(&[stream, 0, 0, 0, 0, 0, 0, 0]);
        fill(&mut self.out);
        let len = (self.out.len() - begin - FRAME_HEAD) as u32;
        self.out[begin + 4..begin + FRAME_HEAD].copy_from_slice(&len.to_be_bytes());
    }
}

/// RFC 3339 with all nine places, and a space.
fn stamp(time: i64) -> String {
    let mut out = Vec::with_capacity(32);
    match Timestamp::from_nanosecond(i128::from(time)) {
        Ok(time) => drop(write!(out, "{time:.9} ")),
        Err(_) => drop(write!(out, "{time} ")),
    }
    String::from_utf8(out).unwrap_or_default()
}

/// `k=v,k=v` and a space, as Docker's daemon writes them: in order, and spelled as in the query of a URL.
fn details(attrs: &BTreeMap<String, String>, out: &mut String) {
    for (n, (name, value)) in attrs.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        escape(name, out);
        out.push('=');
        escape(value, out);
    }
    out.push(' ');
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LogsRequest {
        LogsRequest { stdout: true, stderr: true, ..LogsRequest::default() }
    }

    fn made(request: &LogsRequest, raw: bool, pieces: &[(u8, i64, bool, &str)]) -> Vec<u8> {
        let mut frames = Frames::new(request, raw);
        for (stream, time, continued, text) in pieces {
            let text = text.as_bytes();
            let (stream, time, continued) = (*stream, *time, *continued);
            if !frames.add(&Piece { stream, time, continued, text, attrs: &NO_ATTRS }) {
                break;
            }
        }
        frames.take()
    }

    #[test]
    fn a_line_a_frame_as_docker_has_it_or_a_block_a_frame() {
        let piece = [(2, 5, false, "a\nbc\nd")];
        let lines = b"\x02\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x03bc\n\x02\0\0\0\0\0\0\x01d";
        assert_eq!(made(&request(), false, &piece), lines);
        assert_eq!(made(&LogsRequest { blocks: true, ..request() }, false, &piece), b"\x02\0\0\0\0\0\0\x06a\nbc\nd");
        assert_eq!(made(&request(), true, &piece), b"a\nbc\nd");
    }

    #[test]
    fn times_stand_before_lines_and_not_within() {
        let pieces = [(1, 1_500_000_000, false, "a\nb"), (1, 2_000_000_000, true, "c\nd\n")];
        let want = "1970-01-01T00:00:01.500000000Z a\n1970-01-01T00:00:01.500000000Z bc\n\
                    1970-01-01T00:00:02.000000000Z d\n";
        assert_eq!(
            String::from_utf8(made(&LogsRequest { timestamps: true, ..request() }, true, &pieces)).unwrap(),
            want
        );
    }

    #[test]
    fn details_stand_before_lines_in_order_and_escaped() {
        let attrs = [("team", "a&b c"), ("com.example/é", "x=y,z~"), ("empty", "")].map(|(k, v)| (k.into(), v.into()));
        let asked = LogsRequest { details: true, blocks: true, ..request() };
        let mut frames = Frames::new(&asked, true);
        let text = b"one\ntwo\n";
        frames.add(&Piece { stream: 1, time: 0, continued: false, text, attrs: &attrs.into() });
        let beside = "com.example%2F%C3%A9=x%3Dy%2Cz~,empty=,team=a%26b+c";
        assert_eq!(String::from_utf8(frames.take()).unwrap(), format!("{beside} one\n{beside} two\n"));
        // Behind the time; and with none, as in Docker, the space alone.
        let asked = LogsRequest { timestamps: true, ..asked };
        let got = made(&asked, true, &[(1, 0, false, "a\n")]);
        assert_eq!(String::from_utf8(got).unwrap(), "1970-01-01T00:00:00.000000000Z  a\n");
    }

    #[test]
    fn streams_and_times_are_chosen_bounds_included() {
        let pieces = [(1, 1, false, "a"), (2, 2, false, "b"), (1, 3, false, "c"), (1, 4, false, "d")];
        let at = |ns: i128| Some(Timestamp::from_nanosecond(ns).unwrap());
        for (request, want) in [
            (request(), "abcd"),
            (LogsRequest { stderr: false, ..request() }, "acd"),
            (LogsRequest { stdout: false, ..request() }, "b"),
            (LogsRequest { since: at(2), until: at(3), ..request() }, "bc"),
            (LogsRequest { until: at(0), ..request() }, ""),
        ] {
            assert_eq!(String::from_utf8(made(&request, true, &pieces)).unwrap(), want, "{request:?}");
        }
    }
}
