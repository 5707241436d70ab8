//! One control connection inside a shim: calls in, replies and events out, both bounded.
//!
//! What a call means never lives here.

use crate::frame::{CallReader, Received, encode_frame};
use crate::protocol::{Call, Message};
use crate::reactor::{EventFlags, Reactor, Token, Watched};
use dhow_types::Result;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::os::fd::{AsFd, OwnedFd};

/// Replies and events that wait for a peer that does not read; beyond, the connection ends. Nothing is lost by that:
/// the peer asks for the state when it connects again.
const QUEUE_LIMIT: usize = 1 << 20;

/// A control connection.
#[derive(Debug)]
pub struct Connection {
    /// Unique in the shim.
    pub id: u32,
    /// It hears events.
    pub subscribed: bool,
    socket: Watched,
    reader: CallReader,
    queue: Vec<u8>,
    gone: bool,
}

impl Connection {
    /// Over `socket`, which becomes non-blocking; `reader` has what was read from it before.
    pub fn new(id: u32, socket: OwnedFd, reader: CallReader) -> Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(std::io::Error::from)?;
        let socket = Watched::new(socket, Token::Connection(id));
        Ok(Self { id, subscribed: false, socket, reader, queue: Vec::new(), gone: false })
    }
    /// It is of no more use.
    pub fn is_gone(&self) -> bool {
        self.gone
    }
    /// Everything was handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }
    /// Reads once, after the epoll said so.
    pub fn receive(&mut self, scratch: &mut [u8]) {
        match self.reader.receive(self.socket.as_fd(), scratch) {
            Ok(Received::Some | Received::WouldBlock) => {}
            Ok(Received::Eof) | Err(_) => self.gone = true,
        }
    }
    /// The next whole call. A peer that breaks the protocol is let go.
    pub fn next_call(&mut self) -> Option<(Call, Vec<Option<OwnedFd>>)> {
        match self.reader.next_call() {
            Ok(call) => call,
            Err(_) => {
                self.gone = true;
                None
            }
        }
    }
    /// Sends `message`, now or when the peer reads again.
    pub fn push(&mut self, message: &Message) {
        match encode_frame(message) {
            Ok(frame) => self.queue.extend_from_slice(&frame),
            Err(_) => self.gone = true,
        }
        self.flush();
        if self.queue.len() > QUEUE_LIMIT {
            self.gone = true;
        }
    }
    /// Sends what is queued, as far as the socket takes it.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.queue.len() && !self.gone {
            match send(&self.socket, &self.queue[sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(n) => sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.gone = true,
            }
        }
        if sent == self.queue.len() {
            self.queue = Vec::new();
        } else {
            self.queue.drain(..sent);
        }
    }
    /// Brings the epoll in line.
    pub fn watch(&mut self, reactor: &Reactor) {
        let mut want = EventFlags::IN;
        if !self.queue.is_empty() {
            want |= EventFlags::OUT;
        }
        if self.socket.watch(reactor, Some(want)).is_err() {
            self.gone = true;
        }
    }
    /// Takes it out of the epoll and closes it.
    pub fn forget(self, reactor: &Reactor) {
        self.socket.forget(reactor);
    }
}
