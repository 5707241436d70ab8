//! The raw two-way stream that attach and exec turn their connection into.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// A frame longer than this is not Docker's.
const MAX_FRAME: usize = 64 * 1024 * 1024;

/// A hijacked connection: output comes from the daemon, input goes to it.
pub struct Hijacked {
    from: BufReader<UnixStream>,
    /// The output is multiplexed (eight-byte frame heads), as without a terminal.
    pub multiplexed: bool,
}

/// Which of the container's streams a piece of output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexed {
    /// Standard output (and standard input's echo, stream 0).
    Stdout,
    /// Standard error.
    Stderr,
    /// The daemon's own error text (stream 3).
    SystemError,
}

impl Hijacked {
    pub(crate) fn new(from: BufReader<UnixStream>, multiplexed: bool) -> Self {
        Self { from, multiplexed }
    }

    /// A second handle for the input side.
    pub fn writer(&self) -> io::Result<UnixStream> {
        self.from.get_ref().try_clone()
    }

    /// Says that no more input follows.
    pub fn close_input(writer: &UnixStream) -> io::Result<()> {
        writer.shutdown(Shutdown::Write)
    }

    /// The output side alone, to be read step by step. `raw` is for a terminal: everything is standard output.
    pub fn into_output(self, raw: bool) -> Output {
        Output { from: self.from, raw, stream: Multiplexed::Stdout, left: 0 }
    }

    /// Copies all output until the daemon closes. `raw` is for a terminal: everything is standard output.
    pub fn copy_output(self, raw: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        let mut output = self.into_output(raw);
        while output.step(out, err)? {}
        Ok(())
    }
}

/// The output of an attached program; readable (in the sense of poll) when [`Output::step`] will not block for long.
pub struct Output {
    from: BufReader<UnixStream>,
    raw: bool,
    stream: Multiplexed,
    left: usize,
}

impl Output {
    /// Bytes were received already, so that poll would wait for nothing.
    pub fn has_buffered(&self) -> bool {
        !self.from.buffer().is_empty()
    }

    /// Takes the next piece and writes it out. False when the daemon has closed the stream.
    pub fn step<'w>(&mut self, out: &'w mut dyn Write, err: &'w mut dyn Write) -> io::Result<bool> {
        if !self.raw && self.left == 0 {
            let Some((stream, length)) = frame_head(&mut self.from)? else { return Ok(false) };
            (self.stream, self.left) = (stream, length);
            if length == 0 {
                return Ok(true);
            }
        }
        let bytes = match self.from.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => &[],
            other => other?,
        };
        let n = if self.raw { bytes.len() } else { bytes.len().min(self.left) };
        if n == 0 {
            return if self.raw { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let to = if self.stream == Multiplexed::Stdout { out } else { err };
        to.write_all(&bytes[..n])?;
        to.flush()?;
        self.from.consume(n);
        self.left = self.left.saturating_sub(n);
        Ok(true)
    }
}

impl std::os::fd::AsFd for Output {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.from.get_ref().as_fd()
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            other => return other,
        }
    }
}

/// Read at once, and given on at once where it is one stream's.
const BATCH: usize = 256 * 1024;

/// Takes Docker's stream framing apart: one byte of stream, three of nothing, four of big-endian length.
/// Rule: Engine API, `ContainerAttach`, "Stream format". Frames of one stream that came together are one call of `each`.
/// An error that the daemon tells in the stream ends it, as an error here.
pub fn demultiplex(from: &mut impl Read, mut each: impl FnMut(Multiplexed, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = vec![0; BATCH];
    let mut batch = Batch { stream: Multiplexed::Stdout, text: Vec::new() };
    let (mut head, mut have, mut left) = ([0; 8], 0, 0);
    let mut stream = Multiplexed::Stdout;
    let mut told: Vec<u8> = Vec::new();
    loop {
        let n = retry(|| from.read(&mut bytes))?;
        let mut rest = &bytes[..n];
        while !rest.is_empty() {
            if left > 0 {
                let (text, behind) = rest.split_at(rest.len().min(left));
                (left, rest) = (left - text.len(), behind);
                if stream != Multiplexed::SystemError {
                    batch.add(stream, text, &mut each)?;
                    continue;
                }
                told.extend(text.iter().take(MAX_TOLD - told.len()));
                if left == 0 {
                    batch.flush(&mut each)?;
                    let text = String::from_utf8_lossy(&told);
                    return Err(io::Error::other(format!("error from daemon in stream: {}", text.trim_end())));
                }
                continue;
            }
            let (part, behind) = rest.split_at(rest.len().min(head.len() - have));
            head[have..have + part.len()].copy_from_slice(part);
            (have, rest) = (have + part.len(), behind);
            if have == head.len() {
                ((stream, left), have) = (parse_head(&head)?, 0);
            }
        }
        batch.flush(&mut each)?;
        if n == 0 {
            return if left == 0 && have == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// Of an error that the daemon tells, so much is kept.
const MAX_TOLD: usize = 64 * 1024;

/// Text of one stream that is not given on yet.
struct Batch {
    stream: Multiplexed,
    text: Vec<u8>,
}

impl Batch {
    /// Text of more than this is not copied to join others.
    const LONG: usize = 16 * 1024;

    fn add(
        &mut self,
        stream: Multiplexed,
        text: &[u8],
        each: &mut impl FnMut(Multiplexed, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if stream != self.stream || text.len() > Self::LONG {
            self.flush(each)?;
        }
        if text.len() > Self::LONG {
            return each(stream, text);
        }
        self.stream = stream;
        self.text.extend_from_slice(text);
        Ok(())
    }

    fn flush(&mut self, each: &mut impl FnMut(Multiplexed, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if !self.text.is_empty() {
            each(self.stream, &self.text)?;
            self.text.clear();
        }
        Ok(())
    }
}

/// The next frame's stream and length; `None` at the end between two frames.
fn frame_head(from: &mut impl Read) -> io::Result<Option<(Multiplexed, usize)>> {
    let mut head = [0; 8];
    let mut have = 0;
    while have < 8 {
        match retry(|| from.read(&mut head[have..]))? {
            0 if have == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
    }
    parse_head(&head).map(Some)
}

fn parse_head(head: &[u8; 8]) -> io::Result<(Multiplexed, usize)> {
    let bad = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let stream = match head[0] {
        0 | 1 => Multiplexed::Stdout,
        2 => Multiplexed::Stderr,
        3 => Multiplexed::SystemError,
        other => return Err(bad(format!("unknown stream {other}"))),
    };
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if length > MAX_FRAME {
        return Err(bad(format!("a frame of {length} bytes")));
    }
    Ok((stream, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_by_stream() {
        let bytes =
            [&[1, 0, 0, 0, 0, 0, 0, 2][..], b"ab", &[2, 0, 0, 0, 0, 0, 0, 1], b"c", &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut seen = Vec::new();
        demultiplex(&mut &bytes[..], |s, b| {
            seen.push((s, b.to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(Multiplexed::Stdout, b"ab".to_vec()), (Multiplexed::Stderr, b"c".to_vec())]);
    }

    /// However the bytes come, each stream's text is whole and the streams keep their order.
    #[test]
    fn frames_come_in_any_pieces() {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let n = self.0.len().min(self.1).min(to.len());
                to[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let long = vec![b'x'; 40_000];
        let mut bytes = Vec::new();
        for (stream, text) in [(1, &b"a\n"[..]), (1, b"b\n"), (2, b"e\n"), (1, &long), (1, b""), (1, b"end")] {
            bytes.extend([stream, 0, 0, 0]);
            bytes.extend((text.len() as u32).to_be_bytes());
            bytes.extend(text);
        }
        for size in [1, 7, 8, 13, 5000, 1 << 20] {
            let mut seen: Vec<(Multiplexed, Vec<u8>)> = Vec::new();
            let mut calls = 0;
            demultiplex(&mut Pieces(&bytes, size), |stream, text| {
                calls += 1;
                match seen.last_mut().filter(|(s, _)| *s == stream) {
                    Some((_, all)) => all.extend_from_slice(text),
                    None => seen.push((stream, text.to_vec())),
                }
                Ok(())
            })
            .unwrap();
            let last = [&long[..], b"end"].concat();
            let want = [
                (Multiplexed::Stdout, b"a\nb\n".to_vec()),
                (Multiplexed::Stderr, b"e\n".to_vec()),
                (Multiplexed::Stdout, last),
            ];
            assert_eq!(seen, want, "in pieces of {size}");
            assert!(size < 1 << 20 || calls == 4, "{calls} calls");
        }
    }

    #[test]
    fn an_error_of_the_daemon_ends_the_stream() {
        let long = vec![b'x'; MAX_TOLD + 9];
        for (text, kept) in [(&b"it is damaged\n"[..], 13), (&long, MAX_TOLD)] {
            let length = (text.len() as u32).to_be_bytes();
            let bytes =
                [&[1, 0, 0, 0, 0, 0, 0, 1, b'a', 3, 0, 0, 0][..], &length, text, &[1, 0, 0, 0, 0, 0, 0, 1, b'b']]
                    .concat();
            let mut seen = Vec::new();
            let e = demultiplex(&mut &bytes[..], |s, b| {
                seen.push((s, b.to_vec()));
                Ok(())
            });
            assert_eq!(seen, [(Multiplexed::Stdout, b"a".to_vec())]);
            let said = e.unwrap_err().to_string();
            assert_eq!(said, format!("error from daemon in stream: {}", String::from_utf8_lossy(&text[..kept])));
        }
    }

    #[test]
    fn torn_and_foreign_frames_are_errors() {
        for bytes in [
            &[1, 0, 0][..],
            &[9, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 5, b'x'],
            &[1, 0, 0, 0, 255, 255, 255, 255],
        ] {
            assert!(demultiplex(&mut &bytes[..], |_, _| Ok(())).is_err(), "{bytes:?}");
        }
    }
}
