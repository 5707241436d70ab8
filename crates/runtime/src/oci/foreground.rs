//! Waiting for a container: signals are passed on, a terminal is relayed, the exit code becomes ours.

use crate::context::Context;
use crate::created::Created;
use dhow_sys::signals::SignalFd;
use dhow_types::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;
/// What is passed on: all that a person or a supervisor sends (not SIGKILL and SIGSTOP, which can't be held back, nor
/// the faults and job control signals that are about ourselves).
const PASSED: [i32; 13] = [1, 2, 3, 10, 12, 14, 15, 16, 18, 23, SIGWINCH, 30, SIGCHLD];
/// How much is relayed at once.
const CHUNK: usize = 16 << 10;

/// Holds back the signals that [`wait`] passes on.
pub(crate) fn hold_signals() -> Result<SignalFd> {
    SignalFd::block(&PASSED).context("hold back signals")
}

/// Our own terminal joined to the container's. Puts ours back as it was when dropped.
pub(crate) struct Relay {
    master: OwnedFd,
    saved: Option<Termios>,
}

impl Relay {
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        let own = stdin();
        let saved = match isatty(&own) {
            true => {
                let saved = tcgetattr(&own).context("read our terminal's settings")?;
                let mut raw = saved.clone();
                raw.make_raw();
                tcsetattr(&own, OptionalActions::Now, &raw).context("make our terminal raw")?;
                Some(saved)
            }
            false => None,
        };
        let relay = Self { master, saved };
        relay.resize();
        Ok(relay)
    }

    fn resize(&self) {
        // A terminal that has gone away has no size, and needs none.
        if let Ok(size) = tcgetwinsize(stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, saved);
        }
    }
}

/// Waits for the process, and returns its exit code (128 + signal).
pub(crate) fn wait(created: &Created, signals: SignalFd, relay: Option<Relay>) -> Result<i32> {
    let mut buffer = vec![0; if relay.is_some() { CHUNK } else { 0 }];
    let mut stdin_open = relay.is_some();
    let mut output_open = relay.is_some();
    loop {
        let own = stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(created.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(relay) = &relay {
            let wanted = |open: bool| if open { PollFlags::IN } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(relay.master.as_fd(), wanted(output_open)));
            if stdin_open {
                fds.push(PollFd::from_borrowed_fd(own.as_fd(), PollFlags::IN));
            }
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).context("wait for the container")?;
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        while let Some(signal) = signals.next().context("read signals")? {
            pass_on(created, relay.as_ref(), signal);
        }
        if let Some(relay) = &relay {
            if output_open && !ready[2].is_empty() {
                output_open = copy(relay.master.as_fd(), stdout().as_fd(), &mut buffer);
            }
            if ready.get(3).is_some_and(|r| !r.is_empty()) {
                stdin_open = copy(own.as_fd(), relay.master.as_fd(), &mut buffer);
            }
        }
        if !ready[0].is_empty() {
            if let Some(relay) = &relay {
                // What the program wrote last is still in the terminal.
                drain(relay, &mut buffer);
            }
            return reap(created);
        }
    }
}

fn pass_on(created: &Created, relay: Option<&Relay>, signal: i32) {
    match signal {
        SIGCHLD => {}
        SIGWINCH => {
            if let Some(relay) = relay {
                relay.resize();
            }
        }
        // With a terminal the keys are the container's own business; what arrives here was sent to us.
        signal => {
            let _ = dhow_sys::clone::send_signal(created.pidfd(), signal);
        }
    }
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut *buffer)) {
        Ok(0) => false,
        Ok(n) => write_all(to, &buffer[..n]),
        Err(Errno::AGAIN) => true,
        Err(_) => false,
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(to, bytes)) {
            Ok(n) => bytes = &bytes[n..],
            Err(_) => return false,
        }
    }
    true
}

fn drain(relay: &Relay, buffer: &mut [u8]) {
    // A grandchild may hold the terminal open and write for ever: only what is there now counts.
    if let Ok(flags) = rustix::fs::fcntl_getfl(&relay.master)
        && rustix::fs::fcntl_setfl(&relay.master, flags | OFlags::NONBLOCK).is_ok()
    {
        while let Ok(n @ 1..) = rustix::io::read(&relay.master, &mut *buffer) {
            if !write_all(stdout().as_fd(), &buffer[..n]) {
                break;
            }
        }
    }
}

/// The exit code of a process that has ended.
pub(crate) fn reap(created: &Created) -> Result<i32> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(created.pidfd()), WaitIdOptions::EXITED))
        .context("wait for the container")?
        .ok_or_else(|| Error::system("the container's process has no exit status"))?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    })
}
