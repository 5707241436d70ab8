//! The zygote: a small process that forks shims, without exec, and does nothing else. It outlives the daemon and goes
//! home when its socket is removed.
//!
//! ```text
//!   daemon ──starts──► `dhow shim zygote` ──fork, setsid──► zygote ──fork──► spare shim, waiting in accept
//!                                                              ▲                 │ takes a connection,
//!                                                              └─────────────────┘ lets go of its pipe: next spare
//! ```
//!
//! The spare stands ready so that the fork is not on the road of a start. Nothing here knows what a container is.

use crate::connection::Connection;
use crate::control::{hello, own_pid};
use crate::frame::{CallReader, Received, send_frame};
use crate::launch::{self, Host};
use crate::protocol::{Message, Reply, Request};
use crate::supervisor::Supervisor;
use dhow_sys::fork::{Disposition, Fork, close_inherited, fork_single_threaded, release_memory, set_disposition};
use dhow_types::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::net::{SocketFlags, accept_with};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Until the next attempt when a fork fails.
const FORK_RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// After so long without a start, memory is given back.
const QUIET: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// The buffer that a launch is read with.
const LAUNCH_BUFFER: usize = 64 << 10;
/// The oldest kernels' lowest score but one: a shim goes after everything it serves.
const OOM_SCORE_ADJ: &str = "-999";

/// The entry of `dhow shim zygote SOCKET`: descriptor 0 is the listening socket, descriptor 2 takes the words of a
/// failed start; all others are closed, so call it before anything is opened. Returns the exit code of whichever process it is that comes back: the one that was started, the
/// zygote, or a shim.
pub fn zygote_main(args: Vec<OsString>) -> i32 {
    close_inherited();
    let started = args.last().map(PathBuf::from).ok_or_else(|| Error::invalid("the zygote needs a socket's path"));
    let (socket, listener) = match started.and_then(|socket| Ok((socket, take_listener()?))) {
        Ok(both) => both,
        Err(e) => {
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("{e}\n").as_bytes());
            return 1;
        }
    };
    match background() {
        Ok(Fork::Parent(_)) => 0,
        Ok(Fork::Child) => i32::from(serve(&socket, listener).is_err()),
        Err(e) => {
            let _ = rustix::io::write(rustix::stdio::stderr(), format!("{e}\n").as_bytes());
            1
        }
    }
}

/// Takes the socket off descriptor 0.
fn take_listener() -> Result<OwnedFd> {
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(std::io::Error::from)
        .context("take the listening socket from descriptor 0")?;
    let listening = rustix::net::sockopt::socket_acceptconn(&listener).map_err(std::io::Error::from);
    if !listening.context("descriptor 0 of the zygote")? {
        return Err(Error::invalid("descriptor 0 of the zygote is no listening socket: the daemon starts it"));
    }
    Ok(listener)
}

/// Leaves the daemon's session and process tree.
fn background() -> Result<Fork> {
    let fork = fork_single_threaded().context("start the zygote in the background")?;
    if fork == Fork::Child {
        let _ = setsid();
        let _ = rustix::process::chdir("/");
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let null = File::options().read(true).write(true).open("/dev/null").context("open /dev/null")?;
        for place in [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr] {
            place(null.as_fd()).map_err(std::io::Error::from)?;
        }
    }
    Ok(fork)
}

fn serve(socket: &Path, listener: OwnedFd) -> Result<()> {
    name("dhow-zygote");
    // Shims that end are nobody's to wait for.
    set_disposition(Signal::CHILD, Disposition::Ignore)?;
    let host = Host { layout: dhow_cgroup::Layout::detect().ok(), oom_score_adj: protect() };
    let gone = watch_socket(socket)?;
    let mut spare: Option<OwnedFd> = None;
    let mut busy = true;
    loop {
        if !socket.exists() {
            return Ok(());
        }
        if spare.is_none() {
            let (alive, held) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
            let zygote = getpid();
            match fork_single_threaded() {
                Ok(Fork::Child) => {
                    drop((alive, gone));
                    return shim(listener, held, zygote, &host);
                }
                Ok(Fork::Parent(_)) => spare = Some(alive),
                Err(_) => {}
            }
        }
        let mut fds = vec![PollFd::new(&gone, PollFlags::IN)];
        fds.extend(spare.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = match (&spare, busy) {
            (None, _) => Some(&FORK_RETRY),
            (Some(_), true) => Some(&QUIET),
            (Some(_), false) => None,
        };
        if matches!(poll(&mut fds, timeout), Ok(0)) && spare.is_some() {
            release_memory();
            busy = false;
            continue;
        }
        busy = true;
        let (news, taken) = (!fds[0].revents().is_empty(), fds.get(1).is_some_and(|fd| !fd.revents().is_empty()));
        if news {
            // What it says does not matter: the loop looks for itself.
            let _ = rustix::io::read(&gone, &mut [0; 1024]);
        }
        if taken {
            spare = None;
        }
    }
}

/// Hears when the socket's path goes away.
fn watch_socket(socket: &Path) -> Result<OwnedFd> {
    let watch = || -> rustix::io::Result<OwnedFd> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // The socket itself keeps its inode alive, so that a removal shows as a change of the link count.
        inotify::add_watch(&fd, socket, inotify::WatchFlags::ATTRIB | inotify::WatchFlags::DELETE_SELF)?;
        Ok(fd)
    };
    watch().map_err(std::io::Error::from).with_context(|| format!("watch {}", socket.display()))
}

/// Asks the kernel to spare this process when memory is short, where it may. Returns the score it had.
fn protect() -> Option<i32> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let before = std::fs::read_to_string(FILE).ok()?.trim().parse().ok();
    let _ = std::fs::write(FILE, OOM_SCORE_ADJ);
    before
}

fn name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// The life of a shim: wait for a connection, take its launch, keep the container.
fn shim(listener: OwnedFd, held: OwnedFd, zygote: Pid, host: &Host) -> Result<()> {
    name("dhow-shim");
    set_disposition(Signal::CHILD, Disposition::Default)?;
    // As long as it is a spare one, it goes with its zygote.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    if getppid() != Some(zygote) {
        return Ok(());
    }
    let connection = loop {
        match accept_with(&listener, SocketFlags::CLOEXEC) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
            other => break other.map_err(std::io::Error::from)?,
        }
    };
    set_parent_process_death_signal(None).map_err(std::io::Error::from)?;
    drop((held, listener));
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        set_disposition(signal, Disposition::Swallow)?;
    }
    match first_calls(connection, host)? {
        // The frames of the launch are dead by now, so that their pages can be given back.
        Some(supervisor) => supervisor.run(),
        None => Ok(()),
    }
}

/// Serves the connection until the container runs. `None` when that will not happen.
#[inline(never)]
fn first_calls(socket: OwnedFd, host: &Host) -> Result<Option<Box<Supervisor>>> {
    let mut reader = CallReader::new();
    let mut scratch = vec![0; LAUNCH_BUFFER];
    loop {
        let Some((call, fds)) = reader.next_call()? else {
            match reader.receive(socket.as_fd(), &mut scratch)? {
                Received::Some | Received::WouldBlock => continue,
                Received::Eof => return Ok(None),
            }
        };
        let reply = match call.request {
            Request::Hello => hello(),
            Request::Launch(order) => match launch::launch(order, fds, host) {
                Ok(launched) => return keep(socket, reader, call.seq, launched).map(Some),
                Err(e) => {
                    send_frame(&socket, &Message::Reply { seq: call.seq, reply: Reply::Failed(e.into()) }, &[])?;
                    return Ok(None);
                }
            },
            _ => Reply::Failed(Error::conflict("this shim has no container yet").into()),
        };
        send_frame(&socket, &Message::Reply { seq: call.seq, reply }, &[])?;
    }
}

/// Answers the launch; the connection is a subscriber from now on.
fn keep(socket: OwnedFd, reader: CallReader, seq: u64, launched: launch::Launched) -> Result<Box<Supervisor>> {
    let launch::Launched { mut supervisor, warnings } = launched;
    let started_at = supervisor.started_at.clone();
    let pid = supervisor.pid();
    let mut connection = Connection::new(supervisor.next_id(), socket, reader)?;
    connection.subscribed = true;
    let reply = Reply::Launched { pid, shim_pid: own_pid(), started_at, warnings };
    connection.push(&Message::Reply { seq, reply });
    supervisor.serve(&mut connection);
    supervisor.add_connection(connection);
    Ok(supervisor)
}
