//! Waiting: one epoll, what each of its tokens means, and registrations that cost a system call only when they change.
//!
//! What is done when something is ready never lives here.

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use rustix::event::epoll::EventFlags;

/// Events taken at once.
const BATCH: usize = 32;

/// What became ready. Ids are never used twice, so an event for something that is gone finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The shim's listening socket.
    Listener,
    /// A control connection.
    Connection(u32),
    /// The pidfd of a process.
    Process(u32),
    /// The group's out-of-memory news.
    Oom,
    /// Where output is sent besides the log.
    Receiver,
    /// A process's stdin can take more.
    Input(u32),
    /// A process's stdout or terminal has something.
    Stdout(u32),
    /// A process's stderr has something.
    Stderr(u32),
    /// A client of a process.
    Client {
        /// The process.
        process: u32,
        /// The client.
        client: u32,
    },
}

/// Bits of a token for the id of a process.
const PROCESS_BITS: u32 = 28;

impl Token {
    fn pack(self) -> u64 {
        let (kind, low, high) = match self {
            Token::Listener => (0, 0, 0),
            Token::Connection(id) => (1, 0, id),
            Token::Process(id) => (2, id, 0),
            Token::Oom => (3, 0, 0),
            Token::Input(id) => (4, id, 0),
            Token::Stdout(id) => (5, id, 0),
            Token::Stderr(id) => (6, id, 0),
            Token::Client { process, client } => (7, process, client),
            Token::Receiver => (8, 0, 0),
        };
        u64::from(high) << 32 | u64::from(low & ((1 << PROCESS_BITS) - 1)) << 4 | kind
    }
    fn unpack(raw: u64) -> Option<Self> {
        let high = (raw >> 32) as u32;
        let low = raw as u32 >> 4;
        Some(match raw & 15 {
            0 => Token::Listener,
            1 => Token::Connection(high),
            2 => Token::Process(low),
            3 => Token::Oom,
            4 => Token::Input(low),
            5 => Token::Stdout(low),
            6 => Token::Stderr(low),
            7 => Token::Client { process: low, client: high },
            8 => Token::Receiver,
            _ => return None,
        })
    }
}

/// The epoll.
#[derive(Debug)]
pub struct Reactor {
    epoll: OwnedFd,
}

impl Reactor {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }
    /// Waits for at most `timeout`. An empty answer means that it passed (or a signal came).
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<(Token, EventFlags)>> {
        let mut events = Vec::with_capacity(BATCH);
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(events.iter().filter_map(|e| Some((Token::unpack(e.data.u64())?, e.flags))).collect())
    }
}

/// A descriptor and what the epoll watches it for.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    token: Token,
    /// `None`: not in the epoll at all, not even for hang-ups.
    interest: Option<EventFlags>,
}

impl Watched {
    /// Not watched yet.
    pub fn new(fd: OwnedFd, token: Token) -> Self {
        Self { fd, token, interest: None }
    }
    /// Watches for exactly `interest` from now on. `Some(empty)` still reports hang-ups, `None` reports nothing.
    pub fn watch(&mut self, reactor: &Reactor, interest: Option<EventFlags>) -> io::Result<()> {
        if self.interest == interest {
            return Ok(());
        }
        let data = epoll::EventData::new_u64(self.token.pack());
        match (self.interest, interest) {
            (None, Some(flags)) => epoll::add(&reactor.epoll, &self.fd, data, flags)?,
            (Some(_), Some(flags)) => epoll::modify(&reactor.epoll, &self.fd, data, flags)?,
            (_, None) => epoll::delete(&reactor.epoll, &self.fd)?,
        }
        self.interest = interest;
        Ok(())
    }
    /// Takes it out of the epoll. Must come before the drop of a descriptor that others hold duplicates of, because
    /// the epoll watches what is behind the descriptor.
    pub fn forget(mut self, reactor: &Reactor) {
        let _ = self.watch(reactor, None);
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let high = u32::MAX;
        let low = (1 << PROCESS_BITS) - 1;
        for token in [
            Token::Listener,
            Token::Connection(high),
            Token::Process(low),
            Token::Oom,
            Token::Receiver,
            Token::Input(1),
            Token::Stdout(2),
            Token::Stderr(low),
            Token::Client { process: low, client: high },
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(15), None);
    }

    #[test]
    fn interest_can_be_changed_and_dropped() {
        let reactor = Reactor::new().unwrap();
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut watched = Watched::new(a.into(), Token::Oom);
        watched.watch(&reactor, Some(EventFlags::OUT)).unwrap();
        let got = reactor.wait(None).unwrap();
        assert_eq!(got.len(), 1);
        assert!(got[0].0 == Token::Oom && got[0].1.contains(EventFlags::OUT));
        watched.watch(&reactor, Some(EventFlags::empty())).unwrap();
        assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), []);
        drop(b);
        assert!(reactor.wait(None).unwrap()[0].1.contains(EventFlags::HUP));
        watched.watch(&reactor, None).unwrap();
        assert_eq!(reactor.wait(Some(Duration::ZERO)).unwrap(), []);
    }
}
