//! Output cut into lines, and long lines into pieces, as Docker cuts them for drivers that send single messages.
//!
//! A line longer than 16 KiB, or the rest of a stream that ends without a newline, goes out in pieces that say which
//! line they belong to. How a piece is written never lives here.

use crate::log::{MAX_PIECE, Stream, whole_characters};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// One message: a line or a piece of it, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it came from.
    pub stream: Stream,
    /// The text.
    pub text: &'a [u8],
    /// When its line began.
    pub time: Time,
    /// Its place, when the line is in pieces.
    pub partial: Option<Partial>,
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds.
    pub nanos: u32,
}

impl Time {
    /// Now.
    pub fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        Self { secs: tv_sec, nanos: tv_nsec as u32 }
    }
}

/// The place of a piece in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The same for all pieces of a line, and for no other line.
    pub line: u64,
    /// From 1.
    pub ordinal: u32,
    /// The newline came after it.
    pub last: bool,
}

/// What is open of one stream.
#[derive(Debug, Default)]
struct Open {
    /// A line, or the last piece of one, whose end has not come yet.
    text: Vec<u8>,
    /// The line is in pieces: its number, when it began, and the next piece's ordinal.
    pieces: Option<(u64, Time, u32)>,
}

/// Cuts the two outputs of a process.
#[derive(Debug, Default)]
pub struct Lines {
    open: [Open; 2],
    /// Lines in pieces so far.
    cut: u64,
}

impl Lines {
    /// Adds output, and gives `emit` every piece that is complete by it.
    pub fn write(&mut self, stream: Stream, mut data: &[u8], now: Time, mut emit: impl FnMut(Piece<'_>)) {
        while !data.is_empty() {
            let at = usize::from(stream.number()) - 1;
            let window = data.len().min(MAX_PIECE - self.open[at].text.len());
            if let Some(end) = data[..window].iter().position(|b| *b == b'\n') {
                let mut text = std::mem::take(&mut self.open[at].text);
                let whole = if text.is_empty() {
                    &data[..end]
                } else {
                    text.extend_from_slice(&data[..end]);
                    &text
                };
                let partial = self.partial(at, true);
                let (time, partial) = partial.map_or((now, None), |(time, p)| (time, Some(p)));
                emit(Piece { stream, text: whole, time, partial });
                data = &data[end + 1..];
                continue;
            }
            self.open[at].text.extend_from_slice(&data[..window]);
            data = &data[window..];
            if self.open[at].text.len() == MAX_PIECE {
                let mut text = std::mem::take(&mut self.open[at].text);
                let cut = whole_characters(&text);
                self.begin(at, now);
                if let Some((time, partial)) = self.partial(at, false) {
                    emit(Piece { stream, text: &text[..cut], time, partial: Some(partial) });
                }
                text.drain(..cut);
                self.open[at].text = text;
            }
        }
    }

    /// `stream` has ended: what it left without a newline is a piece whose line never ended.
    pub fn finish(&mut self, stream: Stream, now: Time, emit: impl FnOnce(Piece<'_>)) {
        let at = usize::from(stream.number()) - 1;
        let text = std::mem::take(&mut self.open[at].text);
        if text.is_empty() {
            return;
        }
        self.begin(at, now);
        if let Some((time, partial)) = self.partial(at, false) {
            emit(Piece { stream, text: &text, time, partial: Some(partial) });
        }
    }

    /// The line of the stream at `at` is in pieces from now on.
    fn begin(&mut self, at: usize, now: Time) {
        if self.open[at].pieces.is_none() {
            self.cut += 1;
            self.open[at].pieces = Some((self.cut, now, 1));
        }
    }

    /// The place of the next piece, when the line is in pieces.
    fn partial(&mut self, at: usize, last: bool) -> Option<(Time, Partial)> {
        let (line, time, ordinal) = self.open[at].pieces?;
        self.open[at].pieces = (!last).then_some((line, time, ordinal + 1));
        Some((time, Partial { line, ordinal, last }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Time = Time { secs: 7, nanos: 0 };

    /// What comes out, as `stream text partial`.
    fn cut(parts: &[(Stream, &[u8])]) -> Vec<(u8, Vec<u8>, Option<Partial>)> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for (i, (stream, data)) in parts.iter().enumerate() {
            let now = Time { secs: i as i64, nanos: 0 };
            lines.write(*stream, data, now, |p| out.push((p.stream.number(), p.text.to_vec(), p.partial)));
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            lines.finish(stream, T, |p| out.push((p.stream.number(), p.text.to_vec(), p.partial)));
        }
        out
    }

    #[test]
    fn lines_are_joined_and_kept_apart_by_stream() {
        let out = cut(&[(Stream::Stdout, b"one\ntw"), (Stream::Stderr, b"err\n"), (Stream::Stdout, b"o\n\nrest")]);
        let rest = Some(Partial { line: 1, ordinal: 1, last: false });
        let want: [(u8, &[u8], Option<Partial>); 5] =
            [(1, b"one", None), (2, b"err", None), (1, b"two", None), (1, b"", None), (1, b"rest", rest)];
        assert_eq!(out, want.map(|(s, t, p)| (s, t.to_vec(), p)));
    }

    #[test]
    fn long_lines_come_in_numbered_pieces() {
        let p = |line, ordinal, last| Some(Partial { line, ordinal, last });
        for (len, want) in [
            (MAX_PIECE - 1, vec![(MAX_PIECE - 1, None)]),
            (MAX_PIECE, vec![(MAX_PIECE, p(1, 1, false)), (0, p(1, 2, true))]),
            (2 * MAX_PIECE + 3, vec![(MAX_PIECE, p(1, 1, false)), (MAX_PIECE, p(1, 2, false)), (3, p(1, 3, true))]),
        ] {
            let text = "x".repeat(len) + "\n";
            for step in [1000, MAX_PIECE, text.len()] {
                let parts: Vec<_> = text.as_bytes().chunks(step).map(|c| (Stream::Stdout, c)).collect();
                let got: Vec<_> = cut(&parts).into_iter().map(|(_, t, p)| (t.len(), p)).collect();
                assert_eq!(got, want, "{len} by {step}");
            }
        }
        // Two long lines have two numbers, and the time of their beginning.
        let long = [vec![b'x'; MAX_PIECE], b"\n".to_vec()].concat();
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for secs in 0..2 {
            let now = Time { secs, nanos: 0 };
            lines.write(Stream::Stderr, &long[..MAX_PIECE], now, |p| seen.push((p.time.secs, p.partial)));
            lines.write(Stream::Stderr, &long[MAX_PIECE..], T, |p| seen.push((p.time.secs, p.partial)));
        }
        assert_eq!(seen, [(0, p(1, 1, false)), (0, p(1, 2, true)), (1, p(2, 1, false)), (1, p(2, 2, true))]);
    }

    #[test]
    fn a_cut_spares_characters() {
        let text = "x".to_owned() + &"é".repeat(MAX_PIECE) + "\n";
        let out = cut(&[(Stream::Stdout, text.as_bytes())]);
        assert!(out.iter().all(|(_, t, _)| std::str::from_utf8(t).is_ok()));
        assert_eq!(out.into_iter().flat_map(|(_, t, _)| t).collect::<Vec<_>>(), &text.as_bytes()[..text.len() - 1]);
    }
}
