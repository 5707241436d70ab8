//! What the engine and a shim say to each other, and nothing else: message types, frames, limits.
//!
//! The wire is a unix stream socket. A frame is a little-endian `u32` length and that many bytes of JSON. Descriptors
//! travel by `SCM_RIGHTS` with the first byte of the frame; [`Call::fds`] says how many belong to it, and a
//! [`FdIndex`] inside the message counts among them.
//!
//! ```text
//!   engine ── Call{seq, fds, request} ─────────────────► shim
//!          ◄─ Message::Reply{seq, reply} ────────────────      one for each call, in the order of the calls
//!          ◄─ Message::Event(event) ─────────────────────      to connections that launched or subscribed
//! ```
//!
//! A connection to the zygote's socket reaches a fresh shim: its first calls are `Hello` (optional) and `Launch`. A
//! connection to the container's own socket ([`Launch::socket`]) takes every other request. The end of file on a
//! connection says that the shim is gone, and with it the container's processes and its cgroup; the exit status then
//! stands in [`Launch::exit_path`].
//!
//! Rules of change: a field may be added with a serde default; anything else raises [`VERSION`]. A daemon must be able
//! to talk to shims that an older daemon started, so a version stays understood for as long as its shims can live.

pub use crate::sinks::config::{Receiver, SendConfig, SyslogAddress, SyslogConfig, SyslogFormat};
use dhow_cgroup::GroupPath;
use dhow_runtime::Overlay;
use dhow_runtime::seccomp::Program;
use dhow_runtime::spec::{ConsoleSize, NamespaceKind, Process, Resources, Spec};
use dhow_types::{Cause, Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of this protocol. `Launch` with one that is not understood is refused.
///
/// - 1: all but what stands below.
/// - 2: [`Exec::capture`], [`Request::Stop`]. A shim whose [`State::protocol`] is 1 would end the connection at the latter.
pub const VERSION: u32 = 2;
/// The oldest version that is understood.
pub const OLDEST: u32 = 1;
/// The largest frame; a longer one ends the connection.
pub const MAX_FRAME: usize = 16 << 20;
/// The most descriptors one frame may carry.
pub const MAX_FDS: usize = 64;
/// The most bytes of [`AttachOptions::leftover`].
pub const MAX_LEFTOVER: usize = 1 << 20;
/// The most clients attached to one process at the same time.
pub const MAX_CLIENTS: usize = 256;
/// The most exec processes alive in one container.
pub const MAX_EXECS: usize = 1024;
/// The most bytes kept for [`Exec::capture`].
pub const MAX_CAPTURE: u32 = 64 << 10;
/// The most control connections to one shim.
pub const MAX_CONNECTIONS: usize = 64;

/// The place of a descriptor among those of its frame.
pub type FdIndex = u32;

/// One request on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the caller; comes back in the reply.
    pub seq: u64,
    /// How many descriptors travel with this frame.
    #[serde(default)]
    pub fds: u32,
    /// What is asked.
    pub request: Request,
}

/// What the engine may ask of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Who are you? Answered by [`Reply::Hello`].
    Hello,
    /// Start the container. Only as the first real request of a fresh shim. Answered by [`Reply::Launched`], or by
    /// [`Reply::Failed`] after everything that was made has been removed; the shim then ends.
    /// The connection is subscribed to events from then on.
    Launch(Box<Launch>),
    /// Give a client's socket to the container's (or an exec's) stdio. Answered by [`Reply::Done`].
    Attach {
        /// The exec process, or the container's own when absent.
        #[serde(default)]
        exec_id: Option<String>,
        /// How, and with which descriptor.
        options: AttachOptions,
    },
    /// Start one more process in the container. Answered by [`Reply::ExecStarted`] or [`Reply::Failed`].
    Exec(Box<Exec>),
    /// Set a terminal's size. [`Reply::Done`]; `Conflict` when the process has no terminal.
    Resize {
        /// The exec process, or the container's own when absent.
        #[serde(default)]
        exec_id: Option<String>,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Send a signal. [`Reply::Done`]; `NotFound` when the process has ended.
    Signal {
        /// The exec process, or the container's own when absent.
        #[serde(default)]
        exec_id: Option<String>,
        /// The signal's number.
        signo: i32,
        /// To every process of the container's cgroup instead of one.
        #[serde(default)]
        all: bool,
    },
    /// Send a signal that is to end the container to its own process, and look whether it can (since version 2).
    /// [`Reply::Stopping`]; `NotFound` when the process has ended.
    Stop {
        /// The signal's number.
        signo: i32,
    },
    /// Close the process's stdin once what was queued for it is written.
    CloseStdin {
        /// The exec process, or the container's own when absent.
        #[serde(default)]
        exec_id: Option<String>,
    },
    /// Send events to this connection from now on. Answered by [`Reply::State`], so that nothing falls between.
    Subscribe,
    /// Answered by [`Reply::State`].
    State,
    /// Change limits of the container's group; what is not named stays. Answered by [`Reply::Updated`], or by a failure
    /// that leaves all as it was. From version 2 on.
    Update {
        /// The limits.
        resources: Box<Resources>,
        /// Names this change.
        #[serde(default)]
        number: u64,
        /// Instead: take back the change of that number, if it was the last.
        #[serde(default)]
        back: bool,
    },
}

/// The answer to one [`Call`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello {
        /// [`VERSION`] of this shim.
        protocol: u32,
        /// The shim's own process id.
        pid: i32,
    },
    /// The container's program runs.
    Launched {
        /// Process id of the container's init, in the daemon's pid namespace.
        pid: i32,
        /// The shim's own process id.
        shim_pid: i32,
        /// RFC 3339 with nanoseconds.
        started_at: String,
        /// What was clamped or left out, for the user.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// An exec process runs.
    ExecStarted {
        /// Its process id, in the daemon's pid namespace.
        pid: i32,
        /// What was clamped or left out, for the user.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// To [`Request::Subscribe`] and [`Request::State`].
    State(State),
    /// To [`Request::Stop`]: the signal was sent.
    Stopping {
        /// Nothing will come of it.
        #[serde(default)]
        unheeded: Option<Unheeded>,
    },
    /// To [`Request::Update`].
    Updated {
        /// What was clamped or left out, for the user.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// The request was carried out.
    Done,
    /// The request failed, without effect.
    Failed(Failure),
}

/// What reaches the engine from a shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The answer to the call with this `seq`.
    Reply {
        /// The `seq` of the call.
        seq: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something happened.
    Event(Event),
}

/// What subscribers learn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The container's init ended. Its exit file is written, the log is complete, and every client that reads has got
    /// its last byte. The cgroup is gone when the connection ends, which follows.
    Exited(ExitStatus),
    /// An exec process ended. Sent before its client's stream ends. As replies and events keep their order, a
    /// [`Request::State`] that is answered after the client saw the end comes after this event: ask before telling
    /// anybody that an exec still runs. With [`Exec::capture`] it is sent when the output has ended, too.
    ExecExited {
        /// The id given in [`Exec`].
        exec_id: String,
        /// The exit code, 128 + n when killed by signal n.
        exit_code: i32,
        /// What [`Exec::capture`] asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        captured: Option<Captured>,
    },
    /// The kernel killed something in the container's cgroup for want of memory.
    OomKilled,
    /// A file of the log is full and may be packed: see [`LogConfig`].
    LogTurned,
    /// A client typed its detach keys and was let go.
    Detached {
        /// The exec process, or the container's own when absent.
        exec_id: Option<String>,
    },
}

/// The container's process takes no notice of a signal: it neither handles nor blocks it, and the kernel spares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheeded {
    /// The process's name, as the kernel has it.
    pub program: String,
    /// It asked for the signal to be ignored; else it is the first of its pid namespace, for which the default is the same.
    #[serde(default)]
    pub ignored: bool,
}

/// How the container ended; also the content of [`Launch::exit_path`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitStatus {
    /// The exit code, 128 + n when killed by signal n.
    pub exit_code: i32,
    /// The signal that killed it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The kernel killed something in the cgroup for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds; not told by older shims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339 with nanoseconds.
    pub finished_at: String,
    /// The pid that init had.
    pub pid: i32,
    /// Why the shim could not do all of its work, empty when it could.
    #[serde(default)]
    pub error: String,
}

/// What a shim knows of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`] of this shim.
    pub protocol: u32,
    /// The container's id.
    pub id: String,
    /// Process id of init.
    pub pid: i32,
    /// The shim's own process id.
    pub shim_pid: i32,
    /// RFC 3339 with nanoseconds.
    pub started_at: String,
    /// Present once init has ended.
    #[serde(default)]
    pub exit: Option<ExitStatus>,
    /// The exec processes that still run: id and process id.
    #[serde(default)]
    pub execs: Vec<(String, i32)>,
    /// Clients attached to the container's own stdio.
    #[serde(default)]
    pub clients: usize,
}

/// An error as data: [`dhow_types::Error`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The name of the [`ErrorKind`], as its `Debug` form prints it; an unknown one reads as `System`.
    pub kind: String,
    /// The text for people.
    pub text: String,
    /// The name of the [`Cause`], where it is known; an unknown one reads as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Everything needed to start a container: one frame in, one `clone3`, one reply.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`] of the caller.
    pub protocol: u32,
    /// The container's id; used in messages, and as the name of nothing on disk.
    pub id: String,
    /// The OCI document. `process.terminal` and `process.console_size` decide about the terminal; `linux.resources`
    /// are the limits of the cgroup.
    pub spec: Spec,
    /// Where the root comes from; `spec.root.path` is not looked at.
    pub rootfs: Rootfs,
    /// The cgroup to create, and to delete at the end. `None`: stay in the shim's own.
    #[serde(default)]
    pub cgroup: Option<GroupPath>,
    /// Namespaces to join, in place of the paths in the spec.
    #[serde(default)]
    pub namespaces: Vec<(NamespaceKind, FdIndex)>,
    /// A compiled filter, in place of `linux.seccomp`.
    #[serde(default)]
    pub seccomp: Option<Program>,
    /// Run dhow's small init first (`--init`).
    #[serde(default)]
    pub init: bool,
    /// Keep the container's stdin open, so that clients can write to it (`-i`). Else it reads `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// Close the container's stdin when the first client that writes to it is done (`StdinOnce`).
    #[serde(default)]
    pub stdin_once: bool,
    /// The log.
    pub log: LogConfig,
    /// Who gets the output besides it.
    #[serde(default)]
    pub send: Option<SendConfig>,
    /// The socket the shim listens on while the container runs. Its folder exists, 0700.
    pub socket: PathBuf,
    /// Where [`ExitStatus`] is written, atomically, before anybody is told. A file that exists is replaced.
    pub exit_path: PathBuf,
    /// Where init's process id is written before the container's program starts.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// Clients attached from the first byte on.
    #[serde(default)]
    pub attach: Vec<AttachOptions>,
}

/// Where the container's root comes from.
#[derive(Debug, Serialize, Deserialize)]
pub enum Rootfs {
    /// A folder that is there already.
    Dir(PathBuf),
    /// An overlay, mounted inside the container's own mount namespace.
    Overlay(Overlay),
}

/// Where output goes besides the clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogConfig {
    /// Nowhere.
    None,
    /// Docker's `json-file`: one JSON object a line.
    JsonFile {
        /// The newest file; older ones are called `path.1`, `path.2`, ….
        path: PathBuf,
        /// Rotate when the file would grow beyond this many bytes; 0 = never.
        #[serde(default)]
        max_size: u64,
        /// How many files to keep, the newest included; 0 and 1 mean that the file starts again.
        #[serde(default)]
        max_files: u32,
        /// Somebody compresses older files: they are called `path.1.gz` then, and it is told when there is one more.
        #[serde(default)]
        compress: bool,
        /// An object that stands in each line as `attrs`.
        #[serde(default)]
        attrs: Option<String>,
    },
    /// Bounded segments, for the engine's own reader.
    Segments {
        /// Where they are; made if it is not there.
        dir: PathBuf,
        /// Bytes of one segment.
        max_size: u64,
        /// How many segments to keep, the newest included.
        max_files: u32,
    },
}

/// How a client is joined to a process's stdio. The socket is the client's own, so that it outlives the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachOptions {
    /// The client's socket. The sender closes its own copy after sending.
    pub fd: FdIndex,
    /// Feed what the client sends to the process.
    #[serde(default)]
    pub stdin: bool,
    /// Send the process's stdout (and a terminal's output).
    #[serde(default)]
    pub stdout: bool,
    /// Send the process's stderr.
    #[serde(default)]
    pub stderr: bool,
    /// Wrap output in Docker's 8-byte frames; raw otherwise (Docker: raw exactly when there is a terminal).
    #[serde(default)]
    pub framed: bool,
    /// The bytes that detach a client of a terminal; `None` means ctrl-p ctrl-q, empty means never.
    #[serde(default)]
    pub detach_keys: Option<Vec<u8>>,
    /// Input that was read together with the HTTP request.
    #[serde(default)]
    pub leftover: Vec<u8>,
}

/// One more process in a running container.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exec {
    /// Chosen by the engine, unique in the container.
    pub exec_id: String,
    /// What to run. `terminal` and `console_size` decide about the terminal.
    pub process: Process,
    /// The filter for it.
    #[serde(default)]
    pub seccomp: ExecSeccomp,
    /// Give it a stdin. Else it reads `/dev/null`.
    #[serde(default)]
    pub open_stdin: bool,
    /// The client, if there is one. Its end of input closes the process's stdin.
    #[serde(default)]
    pub attach: Option<AttachOptions>,
    /// Where its process id is written.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// Keep the beginning of what it writes, and end it in time. Since version 2; not with a terminal.
    #[serde(default)]
    pub capture: Option<Capture>,
}

/// What is kept of an exec that nobody is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The first so many bytes of both outputs together; at most [`MAX_CAPTURE`].
    pub limit: u32,
    /// After this time the process and its process group are killed.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// What was kept of an exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// What it wrote; what was no UTF-8 is replaced.
    pub text: String,
    /// It wrote more.
    #[serde(default)]
    pub cut: bool,
    /// It was killed because its time was over.
    #[serde(default)]
    pub timed_out: bool,
}

/// Which seccomp filter an exec process gets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub enum ExecSeccomp {
    /// The container's own.
    #[default]
    Inherit,
    /// None (`--privileged`).
    Unconfined,
    /// This one.
    Program(Box<Program>),
}

/// Re-exported so that the engine can fill [`Process::console_size`].
pub type Size = ConsoleSize;

const KINDS: [(ErrorKind, &str); 14] = [
    (ErrorKind::InvalidParameter, "InvalidParameter"),
    (ErrorKind::NotFound, "NotFound"),
    (ErrorKind::Conflict, "Conflict"),
    (ErrorKind::NotModified, "NotModified"),
    (ErrorKind::Unauthorized, "Unauthorized"),
    (ErrorKind::Forbidden, "Forbidden"),
    (ErrorKind::NotImplemented, "NotImplemented"),
    (ErrorKind::Unavailable, "Unavailable"),
    (ErrorKind::Exhausted, "Exhausted"),
    (ErrorKind::DiskFull, "DiskFull"),
    (ErrorKind::DataLoss, "DataLoss"),
    (ErrorKind::CommandNotFound, "CommandNotFound"),
    (ErrorKind::CommandNotExecutable, "CommandNotExecutable"),
    (ErrorKind::System, "System"),
];

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        let name = KINDS.iter().find(|(kind, _)| *kind == e.kind()).map_or("System", |(_, name)| name);
        let cause = e.own_cause().map(|cause| cause.name().to_owned());
        Self { kind: name.to_owned(), text: e.text().to_owned(), cause }
    }
}

impl From<Failure> for Error {
    fn from(f: Failure) -> Self {
        let kind = KINDS.iter().find(|(_, name)| *name == f.kind).map_or(ErrorKind::System, |(kind, _)| *kind);
        Self::new(kind, f.text).because(f.cause.as_deref().and_then(Cause::parse))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for (kind, name) in KINDS {
            assert_eq!(format!("{kind:?}"), name);
            let back: Error = Failure::from(Error::new(kind, "why")).into();
            assert_eq!((back.kind(), back.text()), (kind, "why"));
            let caused = Error::new(kind, "why").because(Cause::PortTaken);
            assert_eq!(Error::from(Failure::from(caused.clone())), caused);
        }
        let strange = Failure { kind: "FromTheFuture".into(), text: "x".into(), cause: Some("from-there".into()) };
        assert_eq!(Error::from(strange), Error::system("x"));
        // A shim of before.
        let old: Failure = serde_json::from_str(r#"{"kind":"Conflict","text":"x"}"#).unwrap();
        assert_eq!(Error::from(old), Error::conflict("x"));
    }

    #[test]
    fn what_may_be_left_out_may_be_left_out() {
        let call: Call = serde_json::from_str(r#"{"seq":7,"request":{"Signal":{"signo":15}}}"#).unwrap();
        assert!(matches!(
            call,
            Call { seq: 7, fds: 0, request: Request::Signal { exec_id: None, signo: 15, all: false } }
        ));
        let call: Call = serde_json::from_str(r#"{"seq":8,"request":"State"}"#).unwrap();
        assert!(matches!(call.request, Request::State));
    }
}
