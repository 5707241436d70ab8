//! The framing of attached streams without a terminal: eight bytes (stream, three zeros, length as big-endian
//! u32) before each piece of output. Rule: "Stream format" of `POST /containers/{id}/attach`.

use std::fmt;

/// The media type of framed streams.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// The media type of bare streams, and of all streams before API 1.42.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// The length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StreamKind {
    /// Standard input, written on standard output.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// An error of the server itself, as text.
    System = 3,
}

/// The header of a frame with `len` bytes.
pub fn header(kind: StreamKind, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// One frame with `payload`, or several if it is longer than a frame can be.
pub fn encode(kind: StreamKind, payload: &[u8]) -> Vec<u8> {
    const MOST: usize = u32::MAX as usize;
    let mut out = Vec::with_capacity(payload.len() + HEADER_LEN);
    for piece in payload.chunks(MOST) {
        out.extend_from_slice(&header(kind, piece.len() as u32));
        out.extend_from_slice(piece);
    }
    out
}

/// Takes frames apart as bytes arrive. It keeps at most one header and never a payload, so a frame of any
/// length costs no memory.
///
/// ```
/// use dhow_api::stdcopy::{Decoder, StreamKind, encode};
/// let bytes = encode(StreamKind::Stderr, b"oh");
/// let (mut decoder, mut rest) = (Decoder::default(), &bytes[..]);
/// assert_eq!(decoder.next(&mut rest).unwrap(), Some((StreamKind::Stderr, &b"oh"[..])));
/// assert_eq!(decoder.next(&mut rest).unwrap(), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    head: [u8; HEADER_LEN],
    have: usize,
    kind: Option<StreamKind>,
    left: u32,
}

impl Decoder {
    /// The next piece of payload in `input`, which moves on; `None` when `input` is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(StreamKind, &'a [u8])>, FrameError> {
        loop {
            if let (Some(kind), 1..) = (self.kind, self.left) {
                if input.is_empty() {
                    return Ok(None);
                }
                let (piece, rest) = input.split_at(input.len().min(self.left as usize));
                self.left -= piece.len() as u32;
                *input = rest;
                return Ok(Some((kind, piece)));
            }
            let (piece, rest) = input.split_at(input.len().min(HEADER_LEN - self.have));
            self.head[self.have..self.have + piece.len()].copy_from_slice(piece);
            self.have += piece.len();
            *input = rest;
            if self.have < HEADER_LEN {
                return Ok(None);
            }
            self.have = 0;
            let [kind, _, _, _, a, b, c, d] = self.head;
            self.kind = Some(match kind {
                0 => StreamKind::Stdin,
                1 => StreamKind::Stdout,
                2 => StreamKind::Stderr,
                3 => StreamKind::System,
                other => return Err(FrameError(other)),
            });
            self.left = u32::from_be_bytes([a, b, c, d]);
        }
    }

    /// Whether the stream may end here: no header and no payload is half read.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

/// A frame of a stream that does not exist: the bytes are no framed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError(pub u8);

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unrecognized stream: {}; the server sent output without frames", self.0)
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the cut of the bytes, the payload of each stream is the same.
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_payload() {
        let mut bytes = encode(StreamKind::Stdout, b"hello ");
        bytes.extend(encode(StreamKind::Stderr, b"problem"));
        bytes.extend(header(StreamKind::Stdout, 0));
        bytes.extend(encode(StreamKind::Stdout, b"world"));
        for size in 1..=bytes.len() {
            let (mut decoder, mut out, mut err) = (Decoder::default(), Vec::new(), Vec::new());
            for mut piece in bytes.chunks(size) {
                while let Some((kind, payload)) = decoder.next(&mut piece).unwrap() {
                    if kind == StreamKind::Stdout { &mut out } else { &mut err }.extend_from_slice(payload);
                }
            }
            assert_eq!((&out[..], &err[..]), (&b"hello world"[..], &b"problem"[..]), "cut {size}");
            assert!(decoder.at_boundary());
        }
    }

    #[test]
    fn half_a_frame_is_seen_as_such() {
        let bytes = encode(StreamKind::Stdout, b"hello");
        for cut in 1..bytes.len() {
            let (mut decoder, mut piece) = (Decoder::default(), &bytes[..cut]);
            while decoder.next(&mut piece).unwrap().is_some() {}
            assert!(!decoder.at_boundary(), "cut {cut}");
        }
    }

    #[test]
    fn text_without_frames_is_refused() {
        assert_eq!(Decoder::default().next(&mut &b"plain text"[..]), Err(FrameError(b'p')));
    }
}
