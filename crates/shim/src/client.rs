//! The engine's side: finding or starting the zygote, and reaching shims.
//!
//! Reading replies is left to the caller, who may be asynchronous: see [`FrameDecoder`].
//! [`Connection`] is the blocking form, for tests and simple callers.

use crate::frame::{FrameDecoder, encode_call, send_bytes};
use crate::paths;
use crate::protocol::{Event, Message, Reply, Request};
use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Connections that may wait for a shim; the kernel clamps it to `net.core.somaxconn`.
pub const BACKLOG: i32 = 4096;
/// A connection that a dying zygote dropped is tried again this often.
const ATTEMPTS: usize = 3;

/// How to start a zygote: a program that ends up in [`zygote_main`](crate::zygote_main).
#[derive(Clone, Debug)]
pub struct Spawn {
    /// The program, usually `/proc/self/exe`.
    pub exe: PathBuf,
    /// Its arguments, for dhow `["shim", "zygote"]`. The socket's path is added as the last one.
    pub args: Vec<OsString>,
}

/// The zygote of one state folder: each connection to it is a fresh shim.
///
/// It outlives the daemon, and belongs to one build of the program, so that a new build gets a new one.
#[derive(Debug)]
pub struct Zygote {
    socket: PathBuf,
    lock: PathBuf,
    spawn: Spawn,
}

impl Zygote {
    /// The zygote of `state`, an existing folder of mode 0700, started if it does not run. Zygotes of other builds
    /// in that folder are sent home; their shims live on.
    pub fn connect_or_start(state: &Path, spawn: &Spawn) -> Result<Zygote> {
        let meta = std::fs::metadata(&spawn.exe).with_context(|| format!("find {}", spawn.exe.display()))?;
        let build = format!("{:x}-{:x}.{:x}", meta.size(), meta.mtime(), meta.mtime_nsec());
        let zygote = Zygote {
            socket: state.join(format!("zygote-{build}.sock")),
            lock: state.join("zygote.lock"),
            spawn: spawn.clone(),
        };
        zygote.retire_others(state)?;
        if paths::connect(&zygote.socket).is_err() {
            zygote.start()?;
        }
        Ok(zygote)
    }

    /// A connection to a fresh shim. Starts the zygote anew if it has died.
    pub fn connect(&self) -> Result<UnixStream> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match paths::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(e) => last = Some(e),
            }
            self.start()?;
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("reach {}: {}", self.socket.display(), last.map_or_else(String::new, |e| e.to_string())),
        ))
    }

    /// Sends a first frame to a fresh shim. One whose zygote has just died may go before it has read all of the frame; then
    /// nothing was begun, and the next one gets it.
    pub fn send(&self, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<UnixStream> {
        let mut tries = 1..ATTEMPTS;
        loop {
            let stream = self.connect()?;
            match send_bytes(&stream, frame, fds) {
                Ok(()) => return Ok(stream),
                Err(e) if tries.next().is_none() => return Err(e),
                Err(_) => {}
            }
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends the zygote home: it sees that its socket is gone. Shims live on.
    pub fn retire(self) -> Result<()> {
        match std::fs::remove_file(&self.socket) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("remove {}", self.socket.display()))
            }
            _ => Ok(()),
        }
    }

    fn retire_others(&self, state: &Path) -> Result<()> {
        let list = std::fs::read_dir(state).with_context(|| format!("list {}", state.display()))?;
        for entry in list.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("zygote-") && name.ends_with(".sock") && entry.path() != self.socket {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Binds the socket and starts a zygote on it. The socket listens before the program runs, so nobody waits
    /// for it to come up.
    fn start(&self) -> Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = rustix::fs::open(&self.lock, flags, Mode::RUSR | Mode::WUSR)
            .map_err(std::io::Error::from)
            .with_context(|| format!("open {}", self.lock.display()))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        if paths::connect(&self.socket).is_ok() {
            // Somebody else was faster. The spare shim this woke sees the end of the connection and ends.
            return Ok(());
        }
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(std::io::Error::from)
            .context("make the zygote's socket")?;
        paths::bind(&listener, &self.socket)?;
        rustix::net::listen(&listener, BACKLOG).map_err(std::io::Error::from)?;
        let done = self.spawn_on(listener);
        if done.is_err() {
            let _ = std::fs::remove_file(&self.socket);
        }
        done
    }

    fn spawn_on(&self, listener: OwnedFd) -> Result<()> {
        let name = self.spawn.exe.display();
        let mut child = Command::new(&self.spawn.exe)
            .args(&self.spawn.args)
            .arg(&self.socket)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start the shim's zygote {name}"))?;
        // It forks into the background at once and closes stderr, so this ends within milliseconds.
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(MAX_SAID).read_to_string(&mut said);
        }
        let status = child.wait().with_context(|| format!("wait for the shim's zygote {name}"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::system(format!("the shim's zygote {name} failed ({status}): {}", said.trim())))
    }
}

/// How much of a failing zygote's words is kept.
const MAX_SAID: u64 = 16 << 10;

/// A connection to the socket of a running container's shim.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    paths::connect(socket).with_context(|| format!("reach the shim at {}", socket.display()))
}

/// Sends `request` with `fds` over `sock` (blocking or not); the reply will carry `seq`.
pub fn send_request(sock: impl AsFd, seq: u64, request: Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
    send_bytes(sock, &encode_call(seq, request, fds.len())?, fds)
}

/// A blocking connection: calls one at a time, events kept for later.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    decoder: FrameDecoder,
    seq: u64,
    events: std::collections::VecDeque<Event>,
}

impl Connection {
    /// Over a stream from [`Zygote::connect`] or [`connect`].
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: FrameDecoder::new(), seq: 0, events: Default::default() }
    }
    /// Asks and waits. A [`Reply::Failed`] becomes the error it carries.
    pub fn call(&mut self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
        self.seq += 1;
        send_request(&self.stream, self.seq, request, fds)?;
        loop {
            match self.message()? {
                Some(Message::Reply { seq, reply }) if seq == self.seq => match reply {
                    Reply::Failed(failure) => return Err(failure.into()),
                    reply => return Ok(reply),
                },
                Some(Message::Reply { .. }) => {}
                Some(Message::Event(event)) => self.events.push_back(event),
                None => return Err(Error::new(ErrorKind::Unavailable, "the shim went away before it answered")),
            }
        }
    }
    /// The next event; `None` when the shim is gone.
    pub fn event(&mut self) -> Result<Option<Event>> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.message()? {
                Some(Message::Event(event)) => return Ok(Some(event)),
                Some(Message::Reply { .. }) => {}
                None => return Ok(None),
            }
        }
    }
    fn message(&mut self) -> Result<Option<Message>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_frame()? {
                return Ok(Some(message));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(n) => self.decoder.push(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(e).context("read from the shim"),
            }
        }
    }
}
