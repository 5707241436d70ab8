//! An attached session: the container's output to ours, our input, signals and window size to it.
//!
//! One thread waits for output, signals and the end; a second one exists only where input is sent, because
//! a container that does not read must not keep its own output from being shown.

use super::keys::Detector;
use super::terminal;
use anyhow::Result;
use dhow_client::{Client, Hijacked, query};
use dhow_sys::signals::SignalFd;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// SIGHUP, INT, QUIT, USR1, USR2, ALRM, TERM, CONT, WINCH: what a caller may send to a program in the foreground.
const PROXIED: [i32; 9] = [1, 2, 3, 10, 12, 14, 15, 18, SIGWINCH];
const SIGWINCH: i32 = 28;
const SIGINT: i32 = 2;
/// Docker's client gives up after so many interrupts that could not be passed on.
const INTERRUPTS_TO_GIVE_UP: u32 = 3;

/// What a session is about.
pub struct Session<'a> {
    /// Makes connections for resizing and signalling.
    pub client: &'a Client,
    /// Path of the resize request, up to the query (`/containers/ID/resize`).
    pub resize: String,
    /// Path of the kill request, where signals are passed on.
    pub kill: Option<String>,
    /// The output is one raw stream.
    pub tty: bool,
    /// Send standard input.
    pub input: bool,
    /// Keys that detach.
    pub detach: Vec<u8>,
}

/// How the session ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The stream closed: the program ended, or somebody detached it elsewhere.
    Closed,
    /// The caller typed the detach keys.
    Detached,
}

/// Signals that are held back from now on, to be passed on by [`Session::run`]; made before the program starts
/// so that none is lost.
pub fn hold_signals() -> Result<SignalFd> {
    Ok(SignalFd::block(&PROXIED)?)
}

/// Written to as it comes: a buffer that waits for the end of a line would cost a second write for each piece.
fn unbuffered(stream: impl AsFd) -> Result<std::fs::File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

impl Session<'_> {
    /// Runs until the stream ends or is left. Raw mode is on for as long, if both sides are terminals.
    pub fn run(&self, stream: Hijacked, signals: &SignalFd) -> Result<End> {
        let raw = (self.tty && self.input).then(terminal::Raw::enter).flatten();
        let (left, leave) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        if self.input {
            let writer = stream.writer()?;
            let detector = Detector::new(if self.tty { self.detach.clone() } else { Vec::new() });
            std::thread::Builder::new()
                .name("stdin".into())
                .stack_size(64 * 1024)
                .spawn(move || send_input(writer, detector, leave))?;
        }
        let mut reader = stream.into_output(self.tty);
        let (mut out, mut err) = (unbuffered(std::io::stdout())?, unbuffered(std::io::stderr())?);
        let mut interrupts = 0;
        // Without input nobody holds the other end of the pipe, and its hang-up would be seen at once.
        let mut listen = self.input;
        let end = loop {
            if !reader.has_buffered() {
                let mut fds = [
                    PollFd::new(&reader, PollFlags::IN),
                    PollFd::new(signals, PollFlags::IN),
                    PollFd::new(&left, PollFlags::IN),
                ];
                match poll(&mut fds[..if listen { 3 } else { 2 }], None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    other => other?,
                };
                let ready: Vec<bool> = fds.iter().map(|f| !f.revents().is_empty()).collect();
                if ready[1] {
                    while let Some(signal) = signals.next()? {
                        self.signal(signal, &mut interrupts)?;
                    }
                }
                if listen && ready[2] {
                    let mut byte = [0];
                    if rustix::io::read(&left, &mut byte).unwrap_or(0) == 1 {
                        break End::Detached;
                    }
                    // the input has ended; there is nothing more to hear from its thread
                    listen = false;
                }
                if !ready[0] {
                    continue;
                }
            }
            if !reader.step(&mut out, &mut err)? {
                break End::Closed;
            }
        };
        drop(raw);
        Ok(end)
    }

    fn signal(&self, signal: i32, interrupts: &mut u32) -> Result<()> {
        if signal == SIGWINCH {
            if self.tty {
                self.send_size();
            }
            return Ok(());
        }
        let passed = match &self.kill {
            Some(path) => {
                let query = query::build(&[("signal", Some(signal.to_string()))]);
                self.client.sibling().post_empty(&format!("{path}{query}")).is_ok()
            }
            None => false,
        };
        if !passed && signal == SIGINT {
            *interrupts += 1;
        }
        // Not passed on by wish (exec, --sig-proxy=false): the signal ends the client, not the program.
        if (self.kill.is_none() && signal != 18) || *interrupts >= INTERRUPTS_TO_GIVE_UP {
            anyhow::bail!(super::Exit(128 + signal));
        }
        Ok(())
    }

    /// Tells the daemon the size of our terminal. It is no loss if the program has just ended.
    pub fn send_size(&self) {
        self.send_size_and(0);
    }

    /// As [`Session::send_size`], of a terminal that is larger by `more` both ways.
    pub fn send_size_and(&self, more: u16) {
        if let Some((rows, columns)) = terminal::size() {
            let (rows, columns) = (rows.saturating_add(more), columns.saturating_add(more));
            let query = query::build(&[("h", Some(rows.to_string())), ("w", Some(columns.to_string()))]);
            let _ = self.client.sibling().post_empty(&format!("{}{query}", self.resize));
        }
    }
}

/// Copies standard input until it ends or the detach keys come; says the latter by a byte on `leave`.
fn send_input(mut to: std::os::unix::net::UnixStream, mut detector: Detector, leave: OwnedFd) {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                let (bytes, detached) = detector.feed(&buffer[..n]);
                if !bytes.is_empty() && to.write_all(&bytes).is_err() {
                    break;
                }
                if detached {
                    let _ = rustix::io::write(leave.as_fd(), b"d");
                    return;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = Hijacked::close_input(&to);
}
