//! The way to a receiver: a connection that is made again when it is lost, and what waits for it meanwhile.
//!
//! ```text
//!            ┌──── lost ────► Down ── retry, at once and then ever more seldom ──┐
//!   Up ◄─────┴────────────── Connecting ◄───────────────────────────────────────┘
//! ```
//!
//! A receiver that is slow makes the program wait (`is_full`), unless a ring is asked for. One that is gone never
//! does: messages wait for it up to a bound, then they are dropped and counted.

use super::config::Receiver;
use super::connect::{self, Kind, Opened};
use super::queue::Queue;
use crate::reactor::{EventFlags, Reactor, Token, Watched};
use dhow_types::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What may wait for a slow receiver before the program waits too.
const SLOW_LIMIT: usize = 64 << 10;
/// What may wait for a receiver that is gone: as much as Docker's ring holds.
const GONE_LIMIT: usize = 1_000_000;
/// The pauses between attempts to reach a receiver again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a connection may take: at a start, which waits for it, and later.
const START_LIMIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long the end of a container waits for a receiver that takes nothing of what is left, and for one that does: less
/// than a stop waits before it takes the container for stuck.
const LAST_WORDS: Duration = Duration::from_secs(2);
const LAST_WORDS_IN_ALL: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    Up(Watched, Kind),
    Connecting(Watched, Kind, Instant),
    Down(Instant),
}

/// The way to one receiver.
#[derive(Debug)]
pub struct Channel {
    receiver: Receiver,
    state: State,
    queue: Queue,
    /// Bytes that may wait, when the program never does.
    ring: Option<usize>,
    /// The pause after the next failure.
    pause: Duration,
    /// The receiver has taken something since it was reached. One that has not is not tried again at once: it may
    /// accept connections only to end them.
    proved: bool,
    round: usize,
    /// Messages that nobody got.
    dropped: u64,
}

impl Channel {
    /// Connects to `receiver`; a failure is the start's.
    pub fn open(receiver: Receiver, ring: Option<u64>) -> Result<Self> {
        let mut failed = Errno::CONNREFUSED.into();
        for round in 0..connect::choices(&receiver) {
            let tried = connect::open(&receiver, round).and_then(|opened| {
                if opened.pending {
                    connect::finish(opened.socket.as_fd(), START_LIMIT)?;
                }
                Ok(opened)
            });
            match tried {
                Ok(Opened { socket, kind, .. }) => {
                    let ring = ring.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                    let state = State::Up(watched(socket), kind);
                    let pause = FIRST_PAUSE;
                    return Ok(Self {
                        receiver,
                        state,
                        queue: Queue::default(),
                        ring,
                        pause,
                        proved: false,
                        round,
                        dropped: 0,
                    });
                }
                Err(e) => failed = e,
            }
        }
        let name = connect::name(&receiver);
        Err(Error::new(
            ErrorKind::System,
            match receiver {
                Receiver::Journal { .. } => format!("journald is not enabled on this host ({name}: {failed})"),
                Receiver::Syslog(_) => format!("dial {name}: {failed}"),
            },
        ))
    }

    /// The program must wait.
    pub fn is_full(&self) -> bool {
        self.ring.is_none() && matches!(self.state, State::Up(..)) && self.queue.len() >= SLOW_LIMIT
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Sends a message, or keeps it for later, or drops it.
    pub fn push(&mut self, message: &[u8]) {
        let mut sent = 0;
        if self.queue.is_empty() && matches!(self.state, State::Up(..)) {
            match self.send(message) {
                Ok(n) if n == message.len() => return,
                Ok(n) => sent = n,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    // As Docker does: once more over a new connection, then later.
                    self.lost_and_tried_again();
                    match self.send(message) {
                        Ok(n) if n == message.len() => return,
                        Ok(n) => sent = n,
                        Err(_) => {}
                    }
                }
            }
        }
        let bound = match (self.ring, &self.state) {
            (Some(ring), _) => ring,
            // The reading of output has stopped or will at once: what still comes is bounded by that.
            (None, State::Up(..)) => usize::MAX,
            (None, _) => GONE_LIMIT,
        };
        if self.queue.is_empty() || self.queue.len() + message.len() <= bound {
            self.queue.push(message, sent);
        } else {
            self.dropped += 1;
        }
    }

    /// The socket is ready for something.
    pub fn ready(&mut self, flags: EventFlags) {
        match &self.state {
            State::Connecting(..) => self.settle(),
            State::Up(socket, Kind::Udp) if flags.contains(EventFlags::ERR) => {
                // Nobody listened to an earlier datagram. Asked for, the error is forgotten.
                let _ = rustix::net::sockopt::socket_error(socket);
            }
            State::Up(..) if flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) => {
                self.lost_and_tried_again();
            }
            _ => {}
        }
        self.flush();
    }

    /// When something is due without an event.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Up(..) => None,
            State::Connecting(_, _, until) => Some(*until),
            // Nothing to say, nothing to try.
            State::Down(until) => (!self.queue.is_empty()).then_some(*until),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        match &self.state {
            State::Connecting(_, _, until) if *until <= now => self.lost(),
            State::Down(until) if *until <= now && !self.queue.is_empty() => {
                self.retry();
                self.flush();
            }
            _ => {}
        }
    }

    /// Watches for what is wanted now.
    pub fn watch(&mut self, reactor: &Reactor) {
        let waiting = !self.queue.is_empty();
        match &mut self.state {
            State::Up(socket, kind) => {
                let mut want = if waiting { EventFlags::OUT } else { EventFlags::empty() };
                if *kind == Kind::Stream {
                    want |= EventFlags::RDHUP;
                }
                let _ = socket.watch(reactor, Some(want));
            }
            State::Connecting(socket, ..) => {
                let _ = socket.watch(reactor, Some(EventFlags::OUT));
            }
            State::Down(_) => {}
        }
    }

    /// The container has ended: what waits is sent as long as the receiver goes on taking it. Returns how many messages
    /// nobody got.
    pub fn close(mut self) -> u64 {
        let begun = Instant::now();
        let (mut taken, mut waiting) = (begun, self.queue.len());
        if matches!(self.state, State::Down(_)) && !self.queue.is_empty() {
            self.retry();
        }
        loop {
            self.flush();
            let now = Instant::now();
            if self.queue.len() < waiting {
                (taken, waiting) = (now, self.queue.len());
            }
            let left = patience(now - begun, now - taken);
            if self.queue.is_empty() || left.is_zero() {
                break;
            }
            let (State::Up(socket, _) | State::Connecting(socket, ..)) = &self.state else { break };
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut fds = [PollFd::new(socket, PollFlags::OUT)];
            match poll(&mut fds, Some(&limit)) {
                Ok(0) => break,
                Err(Errno::INTR) => continue,
                _ => self.settle(),
            }
        }
        self.dropped + self.queue.messages()
    }

    /// A connection that was being made stands, or has failed.
    fn settle(&mut self) {
        let State::Connecting(socket, kind, _) = &self.state else { return };
        let kind = *kind;
        match rustix::net::sockopt::socket_error(socket) {
            Ok(Ok(())) => self.connected(kind),
            _ => self.lost(),
        }
    }

    /// Sends as much of `message` as goes now. [`Errno::AGAIN`] also when there is no connection.
    fn send(&mut self, message: &[u8]) -> Result<usize, Errno> {
        let State::Up(socket, kind) = &self.state else { return Err(Errno::AGAIN) };
        let sent = connect::send(socket.as_fd(), *kind, message)?;
        self.proved = true;
        self.pause = FIRST_PAUSE;
        Ok(sent)
    }

    fn flush(&mut self) {
        let State::Up(socket, kind) = &self.state else { return };
        while let Some(message) = self.queue.first() {
            match connect::send(socket.as_fd(), *kind, message) {
                Ok(n) => {
                    self.queue.advance(n);
                    self.proved = true;
                    self.pause = FIRST_PAUSE;
                }
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lost(),
            }
        }
    }

    /// The socket is of no use any more: the next attempt comes after a pause.
    fn lost(&mut self) {
        self.queue.rewind();
        self.proved = false;
        self.round = self.round.wrapping_add(1);
        self.state = State::Down(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// A receiver that took something before may only have been started anew: it is tried at once.
    fn lost_and_tried_again(&mut self) {
        let proved = std::mem::take(&mut self.proved);
        self.lost();
        if proved {
            self.retry();
        }
    }

    fn connected(&mut self, kind: Kind) {
        let state = std::mem::replace(&mut self.state, State::Down(Instant::now()));
        if let State::Connecting(socket, ..) = state {
            self.state = State::Up(socket, kind);
        }
    }

    /// Tries to reach the receiver now.
    fn retry(&mut self) {
        match connect::open(&self.receiver, self.round) {
            Ok(Opened { socket, kind, pending: true }) => {
                self.state = State::Connecting(watched(socket), kind, Instant::now() + CONNECT_LIMIT);
            }
            Ok(Opened { socket, kind, pending: false }) => {
                self.state = State::Up(watched(socket), kind);
            }
            Err(_) => self.lost(),
        }
    }
}

fn watched(socket: OwnedFd) -> Watched {
    Watched::new(socket, Token::Receiver)
}

/// How long a container that has ended so long ago goes on waiting for a receiver that last took something so long ago.
fn patience(ended: Duration, taken: Duration) -> Duration {
    LAST_WORDS.saturating_sub(taken).min(LAST_WORDS_IN_ALL.saturating_sub(ended))
}

#[cfg(test)]
mod patience_tests {
    use super::*;

    #[test]
    fn a_receiver_that_takes_something_is_waited_for() {
        let s = Duration::from_secs;
        for (ended, taken, left) in [(0, 0, 2), (1, 1, 1), (2, 2, 0), (3, 0, 2), (3, 3, 0), (4, 0, 1), (5, 0, 0)] {
            assert_eq!(patience(s(ended), s(taken)), s(left), "{ended} {taken}");
        }
    }
}
