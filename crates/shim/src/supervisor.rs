//! The life of one shim after its container started.
//!
//! ```text
//!   Launch ──► running ──init ended──► recorded ──execs ended──► swept ──clients served──► over
//!                │                        │                        │
//!                │ stdio, log, attach,    │ pipes drained, log     │ cgroup deleted, socket removed,
//!                │ exec, resize, signals  │ complete, clients      │ control connections closed
//!                │                        │ flushed, exit file
//!                │                        │ written, then Exited
//! ```
//!
//! One thread, one epoll. What a request does is in `control`; how bytes flow is in `stdio`.

use crate::capture::Capture;
use crate::clock;
use crate::connection::Connection;
use crate::exit::{self, Ended};
use crate::launch::MAIN;
use crate::log::{Log, Stream};
use crate::pace::Pace;
use crate::protocol::{AttachOptions, Event, ExitStatus, MAX_CONNECTIONS, Message};
use crate::reactor::{EventFlags, Reactor, Token, Watched};
use crate::sinks::Sink;
use crate::stdio::{Notice, SCRATCH, Stdio, Turn};
use dhow_cgroup::{Group, OomWatch, Undo};
use dhow_runtime::seccomp::Program;
use dhow_runtime::spec::Spec;
use dhow_types::Result;
use rustix::net::{SocketFlags, accept_with};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After this long without work, memory is given back.
const IDLE: Duration = Duration::from_millis(500);
/// How long an exec's output is awaited after its end, when something in the background still holds its pipes.
const LINGER: Duration = Duration::from_millis(500);
/// How often a failed write of the exit file is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The container's init or an exec process.
#[derive(Debug)]
pub struct Process {
    /// [`MAIN`] for init; unique in the shim.
    pub id: u32,
    /// The engine's name for an exec.
    pub exec_id: Option<String>,
    /// In the daemon's pid namespace.
    pub pid: i32,
    /// Held so that the pid cannot mean another process.
    pub pidfd: Watched,
    /// Its streams.
    pub stdio: Stdio,
    /// Set when it was reaped.
    pub ended: Option<Ended>,
    /// Its output is awaited until then.
    linger_until: Option<Instant>,
    /// Keeps its output until its end is told.
    pub capture: Option<Box<Capture>>,
}

impl Process {
    /// A process that runs.
    pub fn new(id: u32, exec_id: Option<String>, pid: i32, pidfd: OwnedFd, stdio: Stdio) -> Self {
        let pidfd = Watched::new(pidfd, Token::Process(id));
        Self { id, exec_id, pid, pidfd, stdio, ended: None, linger_until: None, capture: None }
    }
    /// Nothing is left to do for it.
    fn is_over(&self) -> bool {
        self.ended.is_some() && self.stdio.output_ended() && self.stdio.clients() == 0
    }
}

/// A shim with a container.
#[derive(Debug)]
pub struct Supervisor {
    /// The container's id.
    pub id: String,
    /// RFC 3339.
    pub started_at: String,
    /// Removed at the end.
    pub socket: PathBuf,
    /// Written at the end.
    pub exit_path: PathBuf,
    /// Removed at the end.
    pub pid_file: Option<PathBuf>,
    /// The container's log.
    pub log: Option<Log>,
    /// Where its output is sent besides.
    pub sink: Option<Sink>,
    /// The end of init is the end of all processes.
    pub private_pids: bool,
    /// For execs.
    pub exec_spec: Spec,
    /// For execs.
    pub seccomp: Option<Program>,
    /// Deleted at the end.
    pub group: Option<Group>,
    /// The last change of limits, by its number.
    pub undo: Option<(u64, Undo)>,
    /// The epoll.
    pub reactor: Reactor,
    /// Init first, then execs.
    pub processes: Vec<Process>,
    /// How init ended.
    pub exit: Option<ExitStatus>,
    listener: Option<Watched>,
    connections: Vec<Connection>,
    oom: Option<(OomWatch, Watched)>,
    oom_seen: bool,
    /// Processes, clients and connections draw their ids here.
    last_id: u32,
    /// The exit file could not be written yet, and nobody has been told.
    unrecorded: bool,
    scratch: Vec<u8>,
    pace: Pace,
}

impl Supervisor {
    /// Takes over `main`, listening on `listener`.
    pub fn new(reactor: Reactor, listener: OwnedFd, mut main: Process) -> Result<Self> {
        let mut listener = Watched::new(listener, Token::Listener);
        listener.watch(&reactor, Some(EventFlags::IN))?;
        main.pidfd.watch(&reactor, Some(EventFlags::IN))?;
        main.stdio.start(&reactor);
        Ok(Self {
            id: String::new(),
            started_at: String::new(),
            socket: PathBuf::new(),
            exit_path: PathBuf::new(),
            pid_file: None,
            log: None,
            sink: None,
            private_pids: false,
            exec_spec: Spec::default(),
            seccomp: None,
            group: None,
            undo: None,
            reactor,
            processes: vec![main],
            exit: None,
            listener: Some(listener),
            connections: Vec::new(),
            oom: None,
            oom_seen: false,
            last_id: MAIN,
            unrecorded: false,
            scratch: Vec::new(),
            pace: Pace::default(),
        })
    }

    /// An id that was not used before.
    pub fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// Adds a control connection.
    pub fn add_connection(&mut self, mut connection: Connection) {
        connection.watch(&self.reactor);
        self.connections.push(connection);
    }

    /// Joins a client to a process.
    pub fn attach(&mut self, process: u32, socket: OwnedFd, options: AttachOptions) -> Result<()> {
        let id = self.next_id();
        let Some(at) = self.processes.iter().position(|p| p.id == process) else { return Ok(()) };
        let notice = self.processes[at].stdio.attach(id, socket, options, &self.reactor)?;
        self.tell(notice, at);
        Ok(())
    }

    /// Adds an exec process.
    pub fn add_process(&mut self, mut process: Process) -> Result<()> {
        process.pidfd.watch(&self.reactor, Some(EventFlags::IN))?;
        process.stdio.start(&self.reactor);
        self.processes.push(process);
        Ok(())
    }

    /// Init's process id.
    pub fn pid(&self) -> i32 {
        self.processes.iter().find(|p| p.id == MAIN).map_or(0, |p| p.pid)
    }

    /// Clients attached to init.
    pub fn clients(&self) -> usize {
        self.processes.iter().find(|p| p.id == MAIN).map_or(0, |p| p.stdio.clients())
    }

    /// Works until nothing is left to do.
    pub fn run(mut self: Box<Self>) -> Result<()> {
        self.watch_oom();
        self.tend_sink(Instant::now());
        let mut busy = true;
        while !self.is_over() {
            let events = self.reactor.wait(self.timeout(busy))?;
            if events.is_empty() && busy && self.deadline().is_none() {
                self.scratch = Vec::new();
                if let Some(log) = &mut self.log {
                    log.rest();
                }
                dhow_sys::fork::release_memory();
                busy = false;
            } else if !events.is_empty() {
                busy = true;
            }
            for (token, flags) in events {
                self.dispatch(token, flags);
            }
            self.after();
            if let Some(rest) = self.pace.rest(Instant::now()) {
                std::thread::sleep(rest);
            }
        }
        self.sweep();
        Ok(())
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Connection(id) => self.connection_ready(id, flags),
            Token::Process(id) => self.process_ready(id),
            Token::Oom => self.oom_ready(),
            Token::Receiver => {
                if let Some(sink) = &mut self.sink {
                    sink.ready(flags);
                }
            }
            Token::Input(id) => {
                if let Some(at) = self.position(id) {
                    self.processes[at].stdio.write_input(&self.reactor);
                }
            }
            Token::Stdout(id) => self.output_ready(id, Stream::Stdout),
            Token::Stderr(id) => self.output_ready(id, Stream::Stderr),
            Token::Client { process, client } => {
                let Some(at) = self.position(process) else { return };
                let notice = self.with_turn(at, |stdio, turn| stdio.client_ready(client, flags, turn));
                self.tell(notice, at);
            }
        }
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.processes.iter().position(|p| p.id == id)
    }

    /// Gives the streams of the process at `at` what they work with.
    fn with_turn<T>(&mut self, at: usize, work: impl FnOnce(&mut Stdio, &mut Turn<'_>) -> T) -> T {
        if self.scratch.is_empty() {
            self.scratch = vec![0; SCRATCH];
        }
        let process = &mut self.processes[at];
        let (log, sink) = if process.id == MAIN { (self.log.as_mut(), self.sink.as_mut()) } else { (None, None) };
        let capture = process.capture.as_deref_mut();
        let (scratch, pace) = (&mut self.scratch, &mut self.pace);
        work(&mut process.stdio, &mut Turn { reactor: &self.reactor, log, sink, capture, scratch, pace })
    }

    fn output_ready(&mut self, id: u32, stream: Stream) {
        let Some(at) = self.position(id) else { return };
        let running = self.processes[at].ended.is_none();
        self.with_turn(at, |stdio, turn| stdio.read_output(stream, running, turn));
        if self.log.as_mut().is_some_and(Log::take_turned) {
            self.broadcast(Event::LogTurned);
        }
    }

    fn tell(&mut self, notice: Option<Notice>, at: usize) {
        if notice == Some(Notice::Detached) {
            let exec_id = self.processes[at].exec_id.clone();
            self.broadcast(Event::Detached { exec_id });
        }
    }

    fn process_ready(&mut self, id: u32) {
        let Some(at) = self.position(id) else { return };
        let process = &mut self.processes[at];
        if process.ended.is_some() {
            return;
        }
        let Some(ended) = exit::reap(process.pidfd.as_fd()) else { return };
        process.ended = Some(ended);
        let _ = process.pidfd.watch(&self.reactor, None);
        match process.exec_id.clone() {
            Some(exec_id) => {
                process.linger_until = Some(Instant::now() + LINGER);
                // What is kept of its output goes with the news, when it is complete.
                if process.capture.is_none() {
                    self.broadcast(Event::ExecExited { exec_id, exit_code: ended.code, captured: None });
                }
                self.with_turn(at, |stdio, turn| stdio.read_rest(turn));
            }
            None => self.main_ended(at, ended),
        }
    }

    /// The output of a process that has ended is complete: tells what was kept of it.
    fn tell_capture(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if let (Some(capture), Some(exec_id), Some(ended)) =
            (process.capture.take(), process.exec_id.clone(), process.ended)
        {
            let captured = Some(capture.finish());
            self.broadcast(Event::ExecExited { exec_id, exit_code: ended.code, captured });
        }
    }

    /// Init has ended: everything it wrote reaches the log and the clients, then the disk knows, then others.
    fn main_ended(&mut self, at: usize, ended: Ended) {
        let mut error = String::new();
        if !self.private_pids
            && let Some(Err(e)) = self.group.as_ref().map(Group::kill_all)
        {
            error = format!("end the container's other processes: {e}");
        }
        self.with_turn(at, |stdio, turn| {
            stdio.drain(turn);
            stdio.close(turn);
        });
        let oom_kills = self.group.as_ref().and_then(|g| g.oom_kills().ok());
        if self.log.as_mut().is_some_and(Log::take_turned) {
            self.broadcast(Event::LogTurned);
        }
        let lost = self.log.take().map_or(0, |log| log.lost());
        if lost > 0 && error.is_empty() {
            error = format!("{lost} bytes of the log could not be written");
        }
        let finished_at = clock::now();
        // Waits a moment for a receiver that is slow.
        let unsent = self.sink.take().map_or(0, Sink::close);
        if unsent > 0 && error.is_empty() {
            error = format!("{unsent} messages did not reach the receiver of the log");
        }
        let status = ExitStatus {
            exit_code: ended.code,
            signal: ended.signal,
            oom_killed: oom_kills.map_or(self.oom_seen, |kills| kills > 0),
            started_at: Some(self.started_at.clone()),
            finished_at,
            pid: self.processes[at].pid,
            error,
        };
        self.exit = Some(status);
        self.record();
        if let Some(status) = self.exit.clone() {
            self.broadcast(Event::Exited(status));
        }
    }

    /// Does what is due for the receiver, and lets the container's process go on when it has caught up.
    fn tend_sink(&mut self, now: Instant) {
        let Some(sink) = &mut self.sink else { return };
        sink.tick(now);
        sink.watch(&self.reactor);
        let full = sink.is_full();
        if let Some(main) = self.processes.iter_mut().find(|p| p.id == MAIN) {
            main.stdio.sink_moved(full, &self.reactor);
        }
    }

    /// Writes the exit file. When that fails, the shim stays until it works or somebody has been told.
    fn record(&mut self) {
        let Some(status) = &mut self.exit else { return };
        let done = exit::record(&self.exit_path, status);
        self.unrecorded = done.is_err();
        if let (Err(e), true) = (done, status.error.is_empty()) {
            status.error = e.text().to_owned();
        }
    }

    /// What is due without an event.
    fn after(&mut self) {
        let now = Instant::now();
        self.tend_sink(now);
        for at in (0..self.processes.len()).rev() {
            let process = &mut self.processes[at];
            if let (None, Some(capture)) = (process.ended, &mut process.capture) {
                capture.enforce(process.pid, now);
            }
            if process.ended.is_some() && process.id != MAIN {
                let late = process.linger_until.is_some_and(|until| until <= now);
                let over = process.stdio.output_ended() || late || self.exit.is_some();
                if over && process.linger_until.is_some() {
                    self.processes[at].linger_until = None;
                    self.with_turn(at, |stdio, turn| {
                        stdio.drain(turn);
                        stdio.close(turn);
                    });
                    self.tell_capture(at);
                }
                if self.processes[at].is_over() {
                    let gone = self.processes.swap_remove(at);
                    gone.pidfd.forget(&self.reactor);
                }
            }
        }
        if self.unrecorded {
            self.record();
            let told = self.connections.iter().any(|c| c.subscribed && c.is_flushed() && !c.is_gone());
            self.unrecorded &= !told;
        }
        let mut at = 0;
        while at < self.connections.len() {
            if self.connections[at].is_gone() {
                self.connections.swap_remove(at).forget(&self.reactor);
            } else {
                at += 1;
            }
        }
        if self.exit.is_some() && !self.unrecorded && self.processes.iter().all(|p| p.ended.is_some()) {
            self.sweep();
        }
    }

    /// Removes what the container left in the system. Clients may still read what is queued for them.
    fn sweep(&mut self) {
        self.oom = None;
        if let Some(group) = self.group.take() {
            let _ = group.delete();
        }
        if let Some(listener) = self.listener.take() {
            let _ = std::fs::remove_file(&self.socket);
            if let Some(path) = &self.pid_file {
                let _ = std::fs::remove_file(path);
            }
            listener.forget(&self.reactor);
        }
        for mut connection in self.connections.drain(..) {
            connection.flush();
            connection.forget(&self.reactor);
        }
    }

    fn is_over(&self) -> bool {
        self.exit.is_some() && self.listener.is_none() && self.processes.iter().all(Process::is_over)
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = self.unrecorded.then(|| Instant::now() + RETRY);
        let sink = self.sink.as_ref().and_then(Sink::deadline);
        let times = self.processes.iter().filter_map(|p| match (p.ended, &p.capture) {
            (None, Some(capture)) => capture.deadline(),
            _ => p.linger_until,
        });
        times.chain(retry).chain(sink).min()
    }

    fn timeout(&self, busy: bool) -> Option<Duration> {
        match self.deadline() {
            Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            None => busy.then_some(IDLE),
        }
    }

    fn watch_oom(&mut self) {
        let Some(Ok(watch)) = self.group.as_ref().map(Group::oom_watch) else { return };
        let Ok(fd) = watch.as_fd().try_clone_to_owned() else { return };
        let mut watched = Watched::new(fd, Token::Oom);
        if watched.watch(&self.reactor, Some(EventFlags::IN)).is_ok() {
            self.oom = Some((watch, watched));
        }
    }

    fn oom_ready(&mut self) {
        let Some((watch, watched)) = &mut self.oom else { return };
        match watch.take() {
            Ok(true) => {
                self.oom_seen = true;
                self.broadcast(Event::OomKilled);
            }
            Ok(false) => {}
            Err(_) => {
                let _ = watched.watch(&self.reactor, None);
                self.oom = None;
            }
        }
    }

    fn accept(&mut self) {
        while self.connections.len() < MAX_CONNECTIONS {
            let Some(listener) = &self.listener else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(socket) = accept_with(listener, flags) else { break };
            let id = self.next_id();
            if let Ok(connection) = Connection::new(id, socket, Default::default()) {
                self.add_connection(connection);
            }
        }
        self.listen_if_room();
    }

    /// With all places taken, those who knock wait in the kernel's queue.
    fn listen_if_room(&mut self) {
        let room = self.connections.len() < MAX_CONNECTIONS;
        if let Some(listener) = &mut self.listener {
            let _ = listener.watch(&self.reactor, room.then_some(EventFlags::IN));
        }
    }

    fn connection_ready(&mut self, id: u32, flags: EventFlags) {
        let Some(at) = self.connections.iter().position(|c| c.id == id) else { return };
        // Taken out while it is served, so that requests can use all of the supervisor.
        let mut connection = self.connections.swap_remove(at);
        if flags.contains(EventFlags::OUT) {
            connection.flush();
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            if self.scratch.is_empty() {
                self.scratch = vec![0; SCRATCH];
            }
            connection.receive(&mut self.scratch);
            self.serve(&mut connection);
        }
        if connection.is_gone() {
            connection.forget(&self.reactor);
            self.listen_if_room();
        } else {
            self.add_connection(connection);
        }
    }

    /// Answers every whole call that has come.
    pub fn serve(&mut self, connection: &mut Connection) {
        while let Some((call, fds)) = connection.next_call() {
            let reply = self.answer(call.request, fds, connection);
            connection.push(&Message::Reply { seq: call.seq, reply });
        }
    }

    /// Tells all subscribers.
    pub fn broadcast(&mut self, event: Event) {
        let message = Message::Event(event);
        for connection in self.connections.iter_mut().filter(|c| c.subscribed) {
            connection.push(&message);
            connection.watch(&self.reactor);
        }
    }
}
