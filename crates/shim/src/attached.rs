//! One attached client: the socket of whoever called attach or exec, which gets output in Docker's stream format and
//! sends input. It is the client's own socket, so it lives on when the daemon does not.
//!
//! What the client is attached to never lives here.

use crate::detach::DetachKeys;
use crate::log::Stream;
use crate::protocol::AttachOptions;
use crate::reactor::{EventFlags, Reactor, Token, Watched};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

/// Output queued for one client beyond what its socket holds, before the process's output is read no further. What a
/// process leaves behind in its pipes when it ends may come on top.
pub const QUEUE_LIMIT: usize = 64 << 10;

/// Unread input thrown away at the end; more than a socket's buffer can be made to hold.
const MAX_UNREAD: usize = 64 << 20;

/// The head of a frame in Docker's multiplexed stream: number of the stream, three zeros, length in network order.
pub fn frame_head(stream: Stream, len: usize) -> [u8; 8] {
    let mut head = [stream.number(), 0, 0, 0, 0, 0, 0, 0];
    // Far below 4 GiB: a chunk is what one read brings.
    head[4..].copy_from_slice(&(len as u32).to_be_bytes());
    head
}

/// What a read of a client's input brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes were put into the buffer, perhaps none.
    Bytes,
    /// The client will send no more.
    End,
    /// The detach keys.
    Detach,
}

/// A client.
#[derive(Debug)]
pub struct Attached {
    /// Unique in the shim.
    pub id: u32,
    socket: Watched,
    stdout: bool,
    stderr: bool,
    framed: bool,
    /// Its input is still wanted.
    reading: bool,
    keys: Option<DetachKeys>,
    queue: Vec<u8>,
    /// Bytes of `queue` that are sent.
    sent: usize,
    /// To be closed once the queue is empty.
    closing: bool,
    /// Nothing can be sent any more.
    gone: bool,
    /// Both directions are shut; only input that came before is left.
    hung_up: bool,
}

impl Attached {
    /// A client with `options` on `socket`. Detach keys count on a terminal only, as in Docker.
    pub fn new(process: u32, id: u32, socket: OwnedFd, options: &AttachOptions, terminal: bool) -> Self {
        Self {
            id,
            socket: Watched::new(socket, Token::Client { process, client: id }),
            stdout: options.stdout,
            stderr: options.stderr,
            framed: options.framed,
            reading: options.stdin,
            keys: (terminal && options.stdin).then(|| DetachKeys::new(options.detach_keys.as_deref())),
            queue: Vec::new(),
            sent: 0,
            closing: false,
            gone: false,
            hung_up: false,
        }
    }
    /// Its input is still read.
    pub fn reading(&self) -> bool {
        self.reading && !self.closing && !self.gone
    }
    /// It hears `stream`.
    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
    /// It is so far behind that the process has to wait.
    pub fn is_full(&self) -> bool {
        !self.gone && self.queue.len() - self.sent >= QUEUE_LIMIT
    }
    /// It can be dropped.
    pub fn is_done(&self) -> bool {
        self.gone || self.closing && self.queue.is_empty()
    }
    /// Close it as soon as it has everything.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Output of the process.
    pub fn output(&mut self, stream: Stream, data: &[u8]) {
        if self.gone || self.closing || data.is_empty() || !self.wants(stream) {
            return;
        }
        let head = frame_head(stream, data.len());
        let head: &[u8] = if self.framed { &head } else { &[] };
        let mut done = 0;
        if self.queue.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(data)];
            let parts = if self.framed { &parts[..] } else { &parts[1..] };
            match retry(|| sendmsg(&self.socket, parts, &mut SendAncillaryBuffer::default(), send_flags())) {
                Ok(n) => done = n,
                Err(Errno::AGAIN) => {}
                Err(_) => return self.lose(),
            }
        }
        let from_head = done.min(head.len());
        self.queue.extend_from_slice(&head[from_head..]);
        self.queue.extend_from_slice(&data[done - from_head..]);
    }

    /// Sends what is queued, as far as the socket takes it.
    pub fn flush(&mut self) {
        while self.sent < self.queue.len() && !self.gone {
            match retry(|| send(&self.socket, &self.queue[self.sent..], send_flags())) {
                Ok(n) => self.sent += n,
                Err(Errno::AGAIN) => break,
                Err(_) => return self.lose(),
            }
        }
        if self.sent == self.queue.len() {
            (self.queue, self.sent) = (Vec::new(), 0);
        } else if self.sent >= QUEUE_LIMIT {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads input once and appends it to `out`.
    pub fn input(&mut self, scratch: &mut [u8], out: &mut Vec<u8>) -> Input {
        match retry(|| recv(&self.socket, &mut *scratch, RecvFlags::DONTWAIT)) {
            Ok((n, _)) if n > 0 => self.filter(&scratch[..n], out),
            Err(Errno::AGAIN) if !self.hung_up => Input::Bytes,
            _ => {
                self.reading = false;
                Input::End
            }
        }
    }

    /// Input that is there already.
    pub fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> Input {
        let detach = match &mut self.keys {
            Some(keys) => keys.filter(input, out),
            None => {
                out.extend_from_slice(input);
                false
            }
        };
        if detach {
            self.reading = false;
            return Input::Detach;
        }
        Input::Bytes
    }

    /// The other side is wholly gone.
    pub fn hang_up(&mut self) {
        self.hung_up = true;
        if !self.reading() {
            self.lose();
        }
    }

    /// Asks the epoll for what is needed now. `room`: the process's stdin can take input.
    pub fn watch(&mut self, reactor: &Reactor, room: bool) {
        let mut want = EventFlags::empty();
        if self.reading() && room {
            want |= EventFlags::IN;
        }
        if !self.queue.is_empty() {
            want |= EventFlags::OUT;
        }
        // A hang-up is reported whatever one asks for, again and again: while nothing can be done about it, the
        // socket must not be in the epoll at all.
        let parked = self.hung_up && !want.contains(EventFlags::IN);
        if self.socket.watch(reactor, (!parked).then_some(want)).is_err() {
            self.lose();
        }
    }

    /// Takes it out of the epoll and closes it.
    pub fn forget(self, reactor: &Reactor) {
        // Other processes may hold the socket too; the client is to see the end now.
        let _ = rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Both);
        // Closed with input unread, the client would see a reset connection in place of an orderly end. Nothing new
        // can come in any more, so what is there is bounded by the socket's buffer.
        let mut unread = [0; 4096];
        for _ in 0..MAX_UNREAD / unread.len() {
            match retry(|| recv(&self.socket, &mut unread[..], RecvFlags::DONTWAIT)) {
                Ok((n, _)) if n > 0 => {}
                _ => break,
            }
        }
        self.socket.forget(reactor);
    }

    fn lose(&mut self) {
        (self.queue, self.sent) = (Vec::new(), 0);
        self.gone = true;
    }
}

fn send_flags() -> SendFlags {
    SendFlags::NOSIGNAL | SendFlags::DONTWAIT
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
