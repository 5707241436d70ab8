//! The standard streams of one process, between it, its log and its clients.
//!
//! ```text
//!                        ┌──► log (always)
//!   process's output ────┼──► client's queue ──► client        a full queue stops the reading: the process waits
//!                        └──► …
//!   process's input ◄──── queue ◄──── clients                  a full queue stops the reading of clients
//! ```
//!
//! Nothing here knows control connections or how the process came to be.

use crate::attached::{Attached, Input, QUEUE_LIMIT};
use crate::capture::Capture;
use crate::log::{Log, Stream};
use crate::pace::Pace;
use crate::protocol::{AttachOptions, MAX_CLIENTS, MAX_LEFTOVER};
use crate::reactor::{EventFlags, Reactor, Token, Watched};
use crate::sinks::Sink;
use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::os::fd::{AsFd, OwnedFd};

/// The size of the buffer that streams are read with.
pub const SCRATCH: usize = 32 << 10;
/// The same while they are a flood. With the beginning of a line from before it makes one record of the log.
const WIDE_SCRATCH: usize = 112 << 10;
/// What a pipe holds from its first flood on, where the kernel lets it: its writer goes on while it is not read.
const WIDE_PIPE: usize = 256 << 10;
/// What one read of a flood brings at least.
const MUCH: usize = 4 << 10;
/// What a pipe holds before.
const PIPE: usize = 64 << 10;
/// Bytes of one stream before others get their turn.
const TURN: usize = 128 << 10;
/// What is read from a terminal after its process ended; the kernel holds less.
const TERMINAL_REST: usize = 1 << 20;

/// The shim's ends of a process's streams.
#[derive(Debug)]
pub enum Ends {
    /// Pipes; those that are absent lead to `/dev/null`.
    Pipes {
        /// The end to write to.
        stdin: Option<OwnedFd>,
        /// The end to read from.
        stdout: Option<OwnedFd>,
        /// The end to read from.
        stderr: Option<OwnedFd>,
    },
    /// The master of a pseudo terminal.
    Terminal(OwnedFd),
}

/// How a process treats its input.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Clients may write to it.
    pub open_stdin: bool,
    /// The end of a client's input is the end of the process's.
    pub stdin_once: bool,
}

/// What the streams work with while they have their turn.
pub struct Turn<'a> {
    /// Where descriptors are watched.
    pub reactor: &'a Reactor,
    /// The log, for the container's own process.
    pub log: Option<&'a mut Log>,
    /// Where its output is sent besides.
    pub sink: Option<&'a mut Sink>,
    /// What keeps the beginning of an exec's output.
    pub capture: Option<&'a mut Capture>,
    /// A buffer of at least [`SCRATCH`] bytes.
    pub scratch: &'a mut Vec<u8>,
    /// Hears how much was read.
    pub pace: &'a mut Pace,
}

/// What clients' actions mean for others.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// A client typed its detach keys.
    Detached,
}

#[derive(Debug)]
struct Terminal {
    /// For `TIOCSWINSZ` and to open the other side again.
    master: OwnedFd,
    /// Kept open so that a program that closes its terminal for a while does not end it.
    slave: Option<OwnedFd>,
}

/// The streams of one process.
#[derive(Debug)]
pub struct Stdio {
    process: u32,
    policy: Policy,
    terminal: Option<Terminal>,
    input: Option<Watched>,
    /// Waits for the process to read it.
    input_queue: Vec<u8>,
    /// Close the input once the queue is empty.
    input_ends: bool,
    stdout: Option<Watched>,
    stderr: Option<Watched>,
    clients: Vec<Attached>,
    /// Where output is sent besides the log is so far behind that nothing is read.
    sink_full: bool,
    /// What each pipe of output holds, when that was asked to be more.
    pipes: [Option<usize>; 2],
}

impl Stdio {
    /// Over `ends`, which become non-blocking.
    pub fn new(process: u32, ends: Ends, policy: Policy) -> Result<Self> {
        let mut stdio = Self {
            process,
            policy,
            terminal: None,
            input: None,
            input_queue: Vec::new(),
            input_ends: false,
            stdout: None,
            stderr: None,
            clients: Vec::new(),
            sink_full: false,
            pipes: [None; 2],
        };
        let work = || -> std::io::Result<Self> {
            match ends {
                Ends::Pipes { stdin, stdout, stderr } => {
                    for fd in [&stdin, &stdout, &stderr].into_iter().flatten() {
                        rustix::io::ioctl_fionbio(fd, true)?;
                    }
                    stdio.input = stdin.map(|fd| Watched::new(fd, Token::Input(process)));
                    stdio.stdout = stdout.map(|fd| Watched::new(fd, Token::Stdout(process)));
                    stdio.stderr = stderr.map(|fd| Watched::new(fd, Token::Stderr(process)));
                }
                Ends::Terminal(master) => {
                    rustix::io::ioctl_fionbio(&master, true)?;
                    stdio.input = Some(Watched::new(master.try_clone()?, Token::Input(process)));
                    stdio.stdout = Some(Watched::new(master.try_clone()?, Token::Stdout(process)));
                    let slave = open_slave(&master);
                    stdio.terminal = Some(Terminal { master, slave });
                }
            }
            Ok(stdio)
        };
        work().context("set up the container's stdio")
    }

    /// Begins to listen.
    pub fn start(&mut self, reactor: &Reactor) {
        self.settle(reactor);
    }

    /// Sets the terminal's size.
    pub fn resize(&self, width: u16, height: u16) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(Error::conflict("the process has no terminal to resize"));
        };
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal.master, size)
            .map_err(std::io::Error::from)
            .context("resize the terminal")
    }

    /// How many clients are attached.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Nothing more will be read from the process.
    pub fn output_ended(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// A client joins.
    pub fn attach(
        &mut self,
        id: u32,
        socket: OwnedFd,
        mut options: AttachOptions,
        reactor: &Reactor,
    ) -> Result<Option<Notice>> {
        if self.clients.len() >= MAX_CLIENTS {
            let text = format!("{MAX_CLIENTS} clients are attached already; detach one first");
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        if options.leftover.len() > MAX_LEFTOVER {
            return Err(Error::invalid(format!("more than {MAX_LEFTOVER} bytes came before the attach")));
        }
        options.stdin &= self.policy.open_stdin;
        let leftover = std::mem::take(&mut options.leftover);
        let mut client = Attached::new(self.process, id, socket, &options, self.terminal.is_some());
        let mut notice = None;
        if options.stdin && !leftover.is_empty() {
            if client.filter(&leftover, &mut self.input_queue) == Input::Detach {
                client.close();
                notice = Some(Notice::Detached);
            }
            self.flush_input(reactor);
        }
        if self.output_ended() && self.input.is_none() {
            client.close();
        }
        self.clients.push(client);
        self.settle(reactor);
        Ok(notice)
    }

    /// The input ends once what is queued is written.
    pub fn close_input(&mut self, reactor: &Reactor) {
        self.input_ends = true;
        self.flush_input(reactor);
        self.settle(reactor);
    }

    /// Something can be read from `stream`.
    pub fn read_output(&mut self, stream: Stream, running: bool, turn: &mut Turn<'_>) {
        let mut left = TURN;
        while left > 0 && !self.blocked() {
            let got = self.read_once(stream, running, turn);
            if !got.more {
                break;
            }
            // At least a byte, so that interruptions do not go on for ever.
            left = left.saturating_sub(got.bytes.max(1));
        }
        self.settle(turn.reactor);
    }

    /// The process has ended, but something in the background may still write: reads on as before, and hears when
    /// the last writer is gone.
    pub fn read_rest(&mut self, turn: &mut Turn<'_>) {
        self.let_go_of_terminal();
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.read_output(stream, false, turn);
        }
    }

    /// The process has ended: reads what it left behind, however slow the clients are. Not more than the kernel held
    /// at this moment, because others may go on writing.
    pub fn drain(&mut self, turn: &mut Turn<'_>) {
        self.let_go_of_terminal();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = match self.output(stream) {
                Some(fd) => rustix::pipe::fcntl_getpipe_size(fd).unwrap_or(TERMINAL_REST),
                None => continue,
            };
            while left > 0 {
                let got = self.read_once(stream, false, turn);
                if !got.more {
                    break;
                }
                left = left.saturating_sub(got.bytes);
            }
        }
        self.settle(turn.reactor);
    }

    /// No more output is wanted; clients get what is queued and then their end.
    pub fn close(&mut self, turn: &mut Turn<'_>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.end_output(stream, turn);
        }
        self.end_input(turn.reactor);
        self.input_queue = Vec::new();
        self.terminal = None;
        self.clients.iter_mut().for_each(Attached::close);
        self.settle(turn.reactor);
    }

    /// The process's stdin can take more, or has no reader any more.
    pub fn write_input(&mut self, reactor: &Reactor) {
        self.flush_input(reactor);
        self.settle(reactor);
    }

    /// Something happened to a client.
    pub fn client_ready(&mut self, id: u32, flags: EventFlags, turn: &mut Turn<'_>) -> Option<Notice> {
        let room = self.room();
        let client = self.clients.iter_mut().find(|c| c.id == id)?;
        if flags.contains(EventFlags::OUT) {
            client.flush();
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            client.hang_up();
        }
        let mut notice = None;
        if room && client.reading() && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            match client.input(&mut turn.scratch[..SCRATCH], &mut self.input_queue) {
                Input::Bytes => {}
                Input::Detach => {
                    client.close();
                    notice = Some(Notice::Detached);
                }
                // As in Docker: the end of one client's input is the end of the process's, or else of the client's
                // session.
                Input::End if self.policy.stdin_once && self.terminal.is_none() => self.input_ends = true,
                Input::End => client.close(),
            }
            self.flush_input(turn.reactor);
        }
        self.settle(turn.reactor);
        notice
    }

    /// The sink has caught up, or not.
    pub fn sink_moved(&mut self, full: bool, reactor: &Reactor) {
        self.sink_full = full;
        self.settle(reactor);
    }

    /// Drops clients that are done, and brings the epoll in line with what is wanted now.
    fn settle(&mut self, reactor: &Reactor) {
        let mut at = 0;
        while at < self.clients.len() {
            if self.clients[at].is_done() {
                self.clients.swap_remove(at).forget(reactor);
            } else {
                at += 1;
            }
        }
        if self.clients.is_empty() {
            self.clients = Vec::new();
        }
        let room = self.room();
        for client in &mut self.clients {
            client.watch(reactor, room);
        }
        if self.input_ends && self.input_queue.is_empty() && self.terminal.is_none() {
            self.end_input(reactor);
        }
        if let Some(input) = &mut self.input {
            let want = (!self.input_queue.is_empty()).then_some(EventFlags::OUT);
            let _ = input.watch(reactor, want);
        }
        let want = (!self.blocked()).then_some(EventFlags::IN);
        for output in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            let _ = output.watch(reactor, want);
        }
    }

    /// The queue towards the process has room. Input for a process that closed its stdin is read and thrown away.
    fn room(&self) -> bool {
        self.input_queue.len() < QUEUE_LIMIT
    }

    /// A client or the sink is so far behind that nothing is read until it has caught up.
    fn blocked(&self) -> bool {
        self.sink_full || self.clients.iter().any(Attached::is_full)
    }

    fn output(&self, stream: Stream) -> Option<&Watched> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    fn output_slot(&mut self, stream: Stream) -> &mut Option<Watched> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn read_once(&mut self, stream: Stream, running: bool, turn: &mut Turn<'_>) -> Got {
        let Some(fd) = self.output(stream) else { return Got::NOTHING };
        match rustix::io::read(fd, &mut **turn.scratch) {
            Ok(n) if n > 0 => {
                // A pipe gives all it has, as far as there is room for it; a terminal gives line by line.
                let more = n == turn.scratch.len() || self.terminal.is_some() || !running;
                let gathers = (self.pipes[stream.index()].unwrap_or(PIPE) / 2).min(turn.scratch.len());
                turn.pace.took(n, if more { 0 } else { gathers });
                let data = &turn.scratch[..n];
                if let Some(log) = &mut turn.log {
                    log.write(stream, data);
                }
                if let Some(capture) = &mut turn.capture {
                    capture.take(data);
                }
                if let Some(sink) = &mut turn.sink {
                    sink.write(stream, data);
                    self.sink_full = sink.is_full();
                }
                for client in &mut self.clients {
                    client.output(stream, data);
                }
                if self.terminal.is_none() && (n == turn.scratch.len() || n >= MUCH && turn.pace.is_flood()) {
                    self.widen(stream, turn);
                }
                Got { bytes: n, more }
            }
            Err(Errno::AGAIN) => Got::NOTHING,
            Err(Errno::INTR) => Got { bytes: 0, more: true },
            // The last holder of the terminal let go of it, or it was hung up. While the process lives, it may come
            // back to it (a getty does).
            Err(_) if running && self.reopen_terminal() => Got::NOTHING,
            _ => {
                self.end_output(stream, turn);
                Got::NOTHING
            }
        }
    }

    /// Makes the buffer and the pipe larger, for as long as there is a flood and for good.
    fn widen(&mut self, stream: Stream, turn: &mut Turn<'_>) {
        if turn.scratch.len() < WIDE_SCRATCH {
            *turn.scratch = vec![0; WIDE_SCRATCH];
        }
        let Some(fd) = self.output(stream) else { return };
        if self.pipes[stream.index()].is_none() {
            // Where the kernel refuses, it is not asked again.
            let holds = rustix::pipe::fcntl_setpipe_size(fd, WIDE_PIPE).unwrap_or(PIPE);
            self.pipes[stream.index()] = Some(holds);
        }
    }

    fn end_output(&mut self, stream: Stream, turn: &mut Turn<'_>) {
        if let Some(fd) = self.output_slot(stream).take() {
            fd.forget(turn.reactor);
            if let Some(log) = &mut turn.log {
                log.finish(stream);
            }
            if let Some(sink) = &mut turn.sink {
                sink.finish(stream);
            }
        }
    }

    fn end_input(&mut self, reactor: &Reactor) {
        if let Some(fd) = self.input.take() {
            fd.forget(reactor);
        }
    }

    fn let_go_of_terminal(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.slave = None;
        }
    }

    fn reopen_terminal(&mut self) -> bool {
        let Some(terminal) = &mut self.terminal else { return false };
        terminal.slave = None;
        terminal.slave = open_slave(&terminal.master);
        terminal.slave.is_some()
    }

    fn flush_input(&mut self, reactor: &Reactor) {
        let mut done = 0;
        while done < self.input_queue.len() {
            let Some(input) = &self.input else {
                done = self.input_queue.len();
                break;
            };
            match rustix::io::write(input, &self.input_queue[done..]) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Nobody reads it any more.
                Err(_) => self.end_input(reactor),
            }
        }
        if done == self.input_queue.len() {
            self.input_queue = Vec::new();
        } else {
            self.input_queue.drain(..done);
        }
    }
}

struct Got {
    bytes: usize,
    more: bool,
}

impl Got {
    const NOTHING: Got = Got { bytes: 0, more: false };
}

/// The other side of the terminal, whatever mount namespace it lies in.
fn open_slave(master: &OwnedFd) -> Option<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master.as_fd(), flags).ok()
}
