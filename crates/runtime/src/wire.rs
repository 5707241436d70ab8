//! What the new process and the one that made it say to each other while the container is set up: one message per
//! packet of a socket pair, a tag byte and its payload. Both ends are the same build, so there is no version.
//!
//! The end of file is a message too: to the parent it says that exec worked (the socket is close-on-exec) or that
//! the child died; to the child, that nobody will ever start it.

use crate::context::Context;
use dhow_sys::scm;
use dhow_types::{Cause, Error, ErrorKind, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest text of a message; longer ones are cut.
const MAX_TEXT: usize = 8 << 10;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    /// Child: go on, but tell the user.
    Warning(String),
    /// Child: it failed, the process is about to end.
    Failed(Error),
    /// Child: the master of the container's terminal.
    Console(OwnedFd),
    /// Child: the descriptor on which the seccomp filter notifies.
    Notify(OwnedFd),
    /// Child: the namespaces are there; run the hooks that belong to the runtime.
    Hooks,
    /// Child: all is set up; the program was found.
    Ready,
    /// Parent: the ids are mapped, or the hooks have run.
    Continue,
    /// Parent, or the `start` command: run the program.
    Start,
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Wire(OwnedFd);

impl Wire {
    /// Both ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context("make the socket pair to the new process")?;
        Ok((Self(a), Self(b)))
    }

    /// An end that came from elsewhere (a connection to a waiting container).
    pub(crate) fn from_socket(socket: OwnedFd) -> Self {
        Self(socket)
    }

    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        let mut bytes = Vec::new();
        match message {
            Message::Warning(text) => {
                bytes.push(b'W');
                bytes.extend_from_slice(cut(text).as_bytes());
            }
            Message::Failed(e) => {
                bytes.extend_from_slice(&[b'E', kind_to_byte(e.kind()), cause_to_byte(e.own_cause())]);
                bytes.extend_from_slice(cut(e.text()).as_bytes());
            }
            Message::Console(fd) => {
                bytes.push(b'P');
                fds.push(fd.as_fd());
            }
            Message::Notify(fd) => {
                bytes.push(b'N');
                fds.push(fd.as_fd());
            }
            Message::Hooks => bytes.push(b'H'),
            Message::Ready => bytes.push(b'R'),
            Message::Continue => bytes.push(b'C'),
            Message::Start => bytes.push(b'S'),
        }
        scm::send(self.0.as_fd(), &bytes, &fds).map(drop).context("send to the other side of the container's start")
    }

    /// The next message; `None` at the end of file.
    pub(crate) fn recv(&self) -> Result<Option<Message>> {
        let mut buffer = [0; MAX_TEXT + 3];
        let (n, mut fds) = match scm::recv(self.0.as_fd(), &mut buffer) {
            // A peer that dies with unread messages in its queue makes this a reset instead of an end of file.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            result => result.context("read from the other side of the container's start")?,
        };
        let text = |from: usize| String::from_utf8_lossy(&buffer[from.min(n)..n]).into_owned();
        let garbled = || Error::system("the other side of the container's start sent something unexpected");
        Ok(match (n, buffer[0]) {
            (0, _) => None,
            (_, b'W') => Some(Message::Warning(text(1))),
            (_, b'E') => {
                Some(Message::Failed(Error::new(byte_to_kind(buffer[1]), text(3)).because(byte_to_cause(buffer[2]))))
            }
            (_, b'P') => Some(Message::Console(fds.pop().ok_or_else(garbled)?)),
            (_, b'N') => Some(Message::Notify(fds.pop().ok_or_else(garbled)?)),
            (_, b'H') => Some(Message::Hooks),
            (_, b'R') => Some(Message::Ready),
            (_, b'C') => Some(Message::Continue),
            (_, b'S') => Some(Message::Start),
            _ => return Err(garbled()),
        })
    }

    /// Waits for `Continue`; the end of file means that the parent gave up.
    pub(crate) fn wait_continue(&self) -> Result<()> {
        match self.recv()? {
            Some(Message::Continue) => Ok(()),
            _ => Err(Error::system("the process that makes the container went away")),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

const KINDS: [ErrorKind; 14] = [
    ErrorKind::System,
    ErrorKind::InvalidParameter,
    ErrorKind::NotFound,
    ErrorKind::Conflict,
    ErrorKind::NotModified,
    ErrorKind::Forbidden,
    ErrorKind::NotImplemented,
    ErrorKind::Unavailable,
    ErrorKind::Exhausted,
    ErrorKind::DataLoss,
    ErrorKind::CommandNotFound,
    ErrorKind::CommandNotExecutable,
    ErrorKind::DiskFull,
    ErrorKind::Unauthorized,
];

fn kind_to_byte(kind: ErrorKind) -> u8 {
    KINDS.iter().position(|k| *k == kind).unwrap_or(0) as u8
}

fn byte_to_kind(byte: u8) -> ErrorKind {
    KINDS.get(usize::from(byte)).copied().unwrap_or(ErrorKind::System)
}

/// None is 0.
fn cause_to_byte(cause: Option<Cause>) -> u8 {
    cause.and_then(|cause| Cause::ALL.iter().position(|(c, _)| *c == cause)).map_or(0, |at| at as u8 + 1)
}

fn byte_to_cause(byte: u8) -> Option<Cause> {
    Cause::ALL.get(usize::from(byte.checked_sub(1)?)).map(|(cause, _)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let (a, b) = Wire::pair().unwrap();
        let failures = [None, Some(Cause::ProgramMissing), Some(Cause::Internal)]
            .map(|cause| Error::new(ErrorKind::CommandNotFound, "no x").because(cause));
        for e in &failures {
            a.send(&Message::Failed(e.clone())).unwrap();
        }
        a.send(&Message::Warning("ä".repeat(MAX_TEXT))).unwrap();
        a.send(&Message::Ready).unwrap();
        for e in &failures {
            assert!(matches!(b.recv().unwrap(), Some(Message::Failed(arrived)) if arrived == *e));
        }
        assert!(matches!(b.recv().unwrap(), Some(Message::Warning(t)) if t.len() <= MAX_TEXT));
        assert!(matches!(b.recv().unwrap(), Some(Message::Ready)));
        drop(a);
        assert!(b.recv().unwrap().is_none());
    }
}
