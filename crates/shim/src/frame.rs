//! Frames: pure encoding and decoding, and sending and receiving with descriptors over a unix socket.
//!
//! What a frame means never lives here.

use crate::protocol::{Call, MAX_FDS, MAX_FRAME, Request};
use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, send, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The bytes of a frame's length.
const HEAD: usize = 4;

/// `message` as one frame.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    let mut out = vec![0; HEAD];
    serde_json::to_writer(&mut out, message).map_err(|e| Error::system(format!("encode a shim frame: {e}")))?;
    let len = out.len() - HEAD;
    if len > MAX_FRAME {
        let text = format!("a shim frame of {len} bytes is longer than the limit of {MAX_FRAME}");
        return Err(Error::new(ErrorKind::Exhausted, text));
    }
    // Below MAX_FRAME, so it fits.
    out[..HEAD].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(out)
}

/// `request` as the frame of a [`Call`] that carries `fds` descriptors.
pub fn encode_call(seq: u64, request: Request, fds: usize) -> Result<Vec<u8>> {
    if fds > MAX_FDS {
        return Err(Error::new(ErrorKind::Exhausted, format!("{fds} descriptors in one shim frame, limit {MAX_FDS}")));
    }
    encode_frame(&Call { seq, fds: fds as u32, request })
}

/// Sends a whole encoded frame, the descriptors with its first byte. Waits when the socket is full, also on a
/// non-blocking socket (a frame is far smaller than a socket's buffer, so this is the exception).
pub fn send_bytes(sock: impl AsFd, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let sock = sock.as_fd();
    let mut sent = 0;
    while sent < frame.len() {
        let done = if sent == 0 && !fds.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(Error::new(ErrorKind::Exhausted, format!("more than {MAX_FDS} descriptors in a frame")));
            }
            sendmsg(sock, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL)
        } else {
            send(sock, &frame[sent..], SendFlags::NOSIGNAL)
        };
        match done {
            Ok(n) => sent += n,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&sock, PollFlags::OUT)], None);
            }
            Err(e) => return Err(std::io::Error::from(e)).context("send to the shim"),
        }
    }
    Ok(())
}

/// Encodes `message` and sends it.
pub fn send_frame<T: Serialize>(sock: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    send_bytes(sock, &encode_frame(message)?, fds)
}

/// Cuts a stream of bytes into frames. Pure: feed it from a blocking or an asynchronous socket.
#[derive(Default, Debug)]
pub struct FrameDecoder {
    bytes: Vec<u8>,
    /// How much of `bytes` was handed out already.
    taken: usize,
}

impl FrameDecoder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }
    /// The next whole frame, or `None` until more bytes come. After an error the stream is of no more use.
    pub fn next_frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(body) = self.body()? else { return Ok(None) };
        let message = serde_json::from_slice(&self.bytes[body.clone()])
            .map_err(|e| Error::invalid(format!("a shim frame that does not parse: {e}")));
        self.taken = body.end;
        if self.taken == self.bytes.len() {
            // Gives the memory back: a launch frame is large and comes once.
            *self = Self::default();
        }
        message.map(Some)
    }
    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.taken
    }
    fn body(&self) -> Result<Option<std::ops::Range<usize>>> {
        let Some(head) = self.bytes.get(self.taken..self.taken + HEAD) else { return Ok(None) };
        let len = head.iter().rev().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if len > MAX_FRAME {
            let text = format!("a shim frame announces {len} bytes, the limit is {MAX_FRAME}");
            return Err(Error::invalid(text));
        }
        let start = self.taken + HEAD;
        Ok((self.bytes.len() >= start + len).then_some(start..start + len))
    }
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes, and perhaps descriptors.
    Some,
    /// Nothing now (non-blocking socket).
    WouldBlock,
    /// The peer is gone.
    Eof,
}

/// The receiving side of calls: bytes and the descriptors that came with them.
#[derive(Default, Debug)]
pub struct CallReader {
    decoder: FrameDecoder,
    fds: VecDeque<OwnedFd>,
}

impl CallReader {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// Reads once from `sock` with `scratch` as the buffer.
    pub fn receive(&mut self, sock: BorrowedFd<'_>, scratch: &mut [u8]) -> Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            match recvmsg(sock, &mut [IoSliceMut::new(scratch)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let got = match got {
            Ok(got) => got,
            Err(Errno::AGAIN) => return Ok(Received::WouldBlock),
            Err(Errno::CONNRESET) => return Ok(Received::Eof),
            Err(e) => return Err(std::io::Error::from(e)).context("receive a shim frame"),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if self.fds.len() > MAX_FDS {
            return Err(Error::invalid(format!("more than {MAX_FDS} descriptors wait for their frame")));
        }
        if got.bytes == 0 {
            return Ok(Received::Eof);
        }
        self.decoder.push(&scratch[..got.bytes]);
        Ok(Received::Some)
    }
    /// The next whole call with its descriptors.
    pub fn next_call(&mut self) -> Result<Option<(Call, Vec<Option<OwnedFd>>)>> {
        let Some(call) = self.decoder.next_frame::<Call>()? else { return Ok(None) };
        let want = call.fds as usize;
        if want > self.fds.len() {
            let text = format!("a shim frame announces {want} descriptors, {} came", self.fds.len());
            return Err(Error::invalid(text));
        }
        let fds = self.fds.drain(..want).map(Some).collect();
        if self.fds.is_empty() {
            self.fds = VecDeque::new();
        }
        Ok(Some((call, fds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Message;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_survive_any_cut() {
        let one = encode_frame(&"first").unwrap();
        let two = encode_frame(&vec![1, 2, 3]).unwrap();
        let all = [one, two].concat();
        for cut in 0..=all.len() {
            let mut decoder = FrameDecoder::new();
            decoder.push(&all[..cut]);
            let mut first: Option<String> = decoder.next_frame().unwrap();
            let mut second: Option<Vec<u8>> = match first {
                Some(_) => decoder.next_frame().unwrap(),
                None => None,
            };
            decoder.push(&all[cut..]);
            if first.is_none() {
                first = decoder.next_frame().unwrap();
            }
            if second.is_none() {
                second = decoder.next_frame().unwrap();
            }
            assert_eq!(first.as_deref(), Some("first"), "cut at {cut}");
            assert_eq!(second, Some(vec![1, 2, 3]), "cut at {cut}");
            assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_or_no_json_is_refused() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(decoder.next_frame::<Message>().unwrap_err().text().contains("limit"));
        let mut decoder = FrameDecoder::new();
        decoder.push(&[2, 0, 0, 0, b'{', b'{']);
        assert!(decoder.next_frame::<Message>().is_err());
        assert!(encode_frame(&"x".repeat(MAX_FRAME)).is_err());
    }

    #[test]
    fn descriptors_belong_to_their_own_frame() {
        let (a, b) = UnixStream::pair().unwrap();
        let (x, _keep) = UnixStream::pair().unwrap();
        let hello = |seq, fds| encode_call(seq, Request::Hello, fds).unwrap();
        send_bytes(&a, &hello(1, 0), &[]).unwrap();
        send_bytes(&a, &hello(2, 2), &[x.as_fd(), x.as_fd()]).unwrap();
        send_bytes(&a, &hello(3, 1), &[x.as_fd()]).unwrap();
        drop(a);
        let mut reader = CallReader::new();
        let mut seen = Vec::new();
        let mut scratch = [0; 4096];
        while reader.receive(b.as_fd(), &mut scratch).unwrap() == Received::Some {
            while let Some((call, fds)) = reader.next_call().unwrap() {
                seen.push((call.seq, fds.len()));
            }
        }
        assert_eq!(seen, [(1, 0), (2, 2), (3, 1)]);
    }

    #[test]
    fn a_frame_that_lies_about_its_descriptors_is_refused() {
        let (a, b) = UnixStream::pair().unwrap();
        send_bytes(&a, &encode_call(1, Request::Hello, 1).unwrap(), &[]).unwrap();
        let mut reader = CallReader::new();
        assert_eq!(reader.receive(b.as_fd(), &mut [0; 4096]).unwrap(), Received::Some);
        assert!(reader.next_call().is_err());
    }
}
