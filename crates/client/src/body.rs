//! The body of a response as a `Read`: by length, chunked, or until the connection closes
//! (RFC 9112, section 6.3).

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;

/// A chunk-size line longer than this is refused.
const MAX_CHUNK_LINE: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked { left: u64, first: bool, done: bool },
    UntilClose,
}

/// A response body that streams from the connection.
pub struct Body {
    pub(crate) from: BufReader<UnixStream>,
    pub(crate) framing: Framing,
}

impl Body {
    /// The connection again, if the body was read to its end and the next response may follow.
    pub(crate) fn reusable(self) -> Option<BufReader<UnixStream>> {
        matches!(self.framing, Framing::Length(0) | Framing::Chunked { done: true, .. }).then_some(self.from)
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("chunked body: {what}"));
        let mut line = String::new();
        if !first {
            (&mut self.from).take(2).read_line(&mut line)?;
            line.clear();
        }
        if (&mut self.from).take(MAX_CHUNK_LINE).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.trim_end().split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| bad("bad size"))?;
        if size == 0 {
            // trailer fields, until an empty line
            loop {
                line.clear();
                if (&mut self.from).take(MAX_CHUNK_LINE).read_line(&mut line)? == 0 || line == "\r\n" || line == "\n" {
                    break;
                }
            }
        }
        Ok(size)
    }
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        match self.framing {
            Framing::UntilClose => self.from.read(buf),
            Framing::Length(0) | Framing::Chunked { done: true, .. } => Ok(0),
            Framing::Length(left) => {
                let n = limited(&mut self.from, buf, left)?;
                self.framing = Framing::Length(left - n as u64);
                Ok(n)
            }
            Framing::Chunked { left: 0, first, .. } => {
                let left = self.next_chunk(first)?;
                self.framing = Framing::Chunked { left, first: false, done: left == 0 };
                self.read(buf)
            }
            Framing::Chunked { left, .. } => {
                let n = limited(&mut self.from, buf, left)?;
                self.framing = Framing::Chunked { left: left - n as u64, first: false, done: false };
                Ok(n)
            }
        }
    }
}

fn limited(from: &mut impl Read, buf: &mut [u8], left: u64) -> io::Result<usize> {
    let want = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
    match from.read(&mut buf[..want])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => Ok(n),
    }
}
