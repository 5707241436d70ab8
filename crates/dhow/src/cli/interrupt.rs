//! Ctrl-C while something is under way: the client leaves at once with Docker's code, whatever it waits for, and the
//! terminal is as it was.

use anyhow::Result;
use dhow_sys::signals::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::JoinHandle;

/// SIGINT, SIGTERM
const SIGNALS: [i32; 2] = [2, 15];
/// What a shell adds to the number of a signal.
const BY_SIGNAL: i32 = 128;
/// Enough for a thread that waits.
const STACK: usize = 64 * 1024;

/// From when it is made until it is dropped, an interrupt ends the program with 130 (SIGTERM with 143). Programs that are
/// started meanwhile would never see these signals: none may be, least of all a daemon.
pub struct Leave {
    signals: Option<SignalFd>,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Leave {
    /// Begins. `before` is what the terminal of standard input is to be again.
    pub fn when_interrupted(before: Option<Termios>) -> Result<Self> {
        let signals = SignalFd::block(&SIGNALS)?;
        let own = signals.as_fd().try_clone_to_owned()?;
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let wait = move || {
            let mut fds = [PollFd::new(&own, PollFlags::IN), PollFd::new(&stopped, PollFlags::IN)];
            while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
            let mut number = [0; 128];
            // It does not block: the descriptor has the flags of the one it was made of.
            if rustix::io::read(&own, &mut number).is_ok_and(|n| n == number.len()) {
                if let Some(before) = &before {
                    let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
                }
                let _ = rustix::io::write(rustix::stdio::stderr(), b"\n");
                let signal = i32::from_ne_bytes([number[0], number[1], number[2], number[3]]);
                std::process::exit(BY_SIGNAL + signal);
            }
        };
        let thread = std::thread::Builder::new().name("interrupt".into()).stack_size(STACK).spawn(wait)?;
        Ok(Self { signals: Some(signals), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(signals) = self.signals.take() {
            let _ = signals.unblock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_back() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned()
    }

    #[test]
    fn signals_are_held_back_only_meanwhile() {
        let before = held_back();
        let leave = Leave::when_interrupted(None).unwrap();
        assert_ne!(held_back(), before);
        drop(leave);
        assert_eq!(held_back(), before);
    }
}
