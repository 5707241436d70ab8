//! The handle of a process that was made: its pid, its terminal, what was clamped, and the word to start.

use crate::notify::NotifyTarget;
use crate::wire::{Message, Wire};
use dhow_types::{Error, ErrorKind, Result};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process that [`create`](crate::create) or [`exec`](crate::exec) made. It is a child of the caller, who reaps it.
///
/// Dropped before [`start`](Self::start), it ends by itself, unless it waits for a connection
/// (`Launch::start_listener`).
#[derive(Debug)]
pub struct Created {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) wire: Option<Wire>,
    pub(crate) console: Option<OwnedFd>,
    pub(crate) notify: Option<NotifyTarget>,
    pub(crate) warnings: Vec<String>,
    /// Whether the program was told to run (always, for an exec).
    pub(crate) started: bool,
    /// Whether the process listens to a socket instead of to this handle.
    pub(crate) held: bool,
}

impl Created {
    /// The process id, in the caller's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// A descriptor of the process: readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Takes the master of the terminal, if one was asked for.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What was clamped or left out.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Lets the program run. On failure the process is dead and reaped; the error says why exec failed, with
    /// `CommandNotFound` or `CommandNotExecutable` as its kind where Docker exits with 127 or 126.
    ///
    /// A program that a seccomp filter kills in its very execve counts as started: its exit status tells.
    pub fn start(&mut self) -> Result<()> {
        if self.started {
            return Err(Error::new(ErrorKind::NotModified, "the process was started already"));
        }
        if self.held {
            return Err(Error::conflict("the process waits for a connection to its start socket, not for this call"));
        }
        self.started = true;
        let result = match &self.wire {
            Some(wire) => wire.send(&Message::Start).and_then(|()| self.until_exec()),
            None => Ok(()),
        };
        self.finish(result)
    }

    /// Handles messages until the program runs (end of file), or an error comes.
    pub(crate) fn until_exec(&mut self) -> Result<()> {
        while let Some(wire) = &self.wire {
            match wire.recv()? {
                None => break,
                Some(Message::Failed(e)) => return Err(e),
                Some(message) => self.take(message)?,
            }
        }
        Ok(())
    }

    /// Handles messages until the process waits for its start. `at_hooks` runs the hooks of the runtime.
    pub(crate) fn until_ready(&mut self, mut at_hooks: impl FnMut(i32) -> Result<()>) -> Result<()> {
        loop {
            let Some(wire) = &self.wire else { return Ok(()) };
            match wire.recv()? {
                None => return Err(Error::system("the new process ended before it was set up")),
                Some(Message::Failed(e)) => return Err(e),
                Some(Message::Ready) => return Ok(()),
                Some(Message::Hooks) => {
                    at_hooks(self.pid)?;
                    wire.send(&Message::Continue)?;
                }
                Some(message) => self.take(message)?,
            }
        }
    }

    /// Ends the process if `result` is an error, and lets go of the conversation.
    pub(crate) fn finish(&mut self, result: Result<()>) -> Result<()> {
        if result.is_err() {
            self.kill_and_reap();
        }
        self.wire = None;
        result
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Warning(text) => self.warnings.push(text),
            Message::Console(fd) => self.console = Some(fd),
            Message::Notify(fd) => match &self.notify {
                Some(target) => target.deliver(self.pid, &fd)?,
                None => return Err(Error::system("a seccomp descriptor nobody asked for")),
            },
            other => return Err(Error::system(format!("unexpected message from the new process: {other:?}"))),
        }
        Ok(())
    }

    /// Ends a process that can't be used. The caller would have to reap it otherwise.
    pub(crate) fn kill_and_reap(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED));
    }
}
