//! Sockets to receivers: where they are looked for, how they are opened, how one message is sent.

use super::config::{Receiver, SyslogAddress};
use crate::paths;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socket_with, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where the local syslog daemon is looked for.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// What a journal's socket may hold, as systemd's own library asks for.
const JOURNAL_BUFFER: usize = 8 << 20;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over a connection, one after the other.
    Stream,
    /// Each for itself.
    Datagram,
    /// Each for itself; a large one in a file.
    Journal,
    /// Each for itself, and nobody knows whether it arrives.
    Udp,
}

/// A socket towards a receiver.
#[derive(Debug)]
pub struct Opened {
    /// Non-blocking.
    pub socket: OwnedFd,
    /// How messages travel on it.
    pub kind: Kind,
    /// A connection that is still being made: the socket becomes writable when it is known how that ends.
    pub pending: bool,
}

/// Opens a socket towards `receiver`, without waiting. `round` chooses among several addresses.
pub fn open(receiver: &Receiver, round: usize) -> io::Result<Opened> {
    let address = match receiver {
        Receiver::Journal { socket, .. } => {
            let opened = unix(socket, SocketType::DGRAM, Kind::Journal)?;
            let _ = sockopt::set_socket_send_buffer_size_force(&opened.socket, JOURNAL_BUFFER)
                .or_else(|_| sockopt::set_socket_send_buffer_size(&opened.socket, JOURNAL_BUFFER));
            return Ok(opened);
        }
        Receiver::Syslog(config) => &config.address,
    };
    match address {
        SyslogAddress::Local => local(&LOCAL.map(Path::new)),
        SyslogAddress::Unix(path) => unix(path, SocketType::STREAM, Kind::Stream),
        SyslogAddress::Unixgram(path) => unix(path, SocketType::DGRAM, Kind::Datagram),
        SyslogAddress::Udp(all) => inet(pick(all, round)?, SocketType::DGRAM, Kind::Udp),
        SyslogAddress::Tcp(all) => inet(pick(all, round)?, SocketType::STREAM, Kind::Stream),
    }
}

/// What `open` looks for, for people.
pub fn name(receiver: &Receiver) -> String {
    let list = |all: &[SocketAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match receiver {
        Receiver::Journal { socket, .. } => format!("the journal at {}", socket.display()),
        Receiver::Syslog(config) => match &config.address {
            SyslogAddress::Local => format!("the local syslog daemon at {}", LOCAL.join(", ")),
            SyslogAddress::Unix(path) => format!("unix://{}", path.display()),
            SyslogAddress::Unixgram(path) => format!("unixgram://{}", path.display()),
            SyslogAddress::Udp(all) => format!("udp://{}", list(all)),
            SyslogAddress::Tcp(all) => format!("tcp://{}", list(all)),
        },
    }
}

/// How many addresses there are to choose from.
pub fn choices(receiver: &Receiver) -> usize {
    match receiver {
        Receiver::Syslog(config) => match &config.address {
            SyslogAddress::Udp(all) | SyslogAddress::Tcp(all) => all.len().max(1),
            _ => 1,
        },
        Receiver::Journal { .. } => 1,
    }
}

/// Waits until a pending connection stands or has failed.
pub fn finish(socket: BorrowedFd<'_>, limit: Timespec) -> io::Result<()> {
    let mut fds = [PollFd::new(&socket, PollFlags::OUT)];
    if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))? == 0 {
        return Err(Errno::TIMEDOUT.into());
    }
    Ok(sockopt::socket_error(socket)??)
}

/// Sends one message, or on a stream a part of it. Returns how much went.
pub fn send(socket: BorrowedFd<'_>, kind: Kind, message: &[u8]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let once = || rustix::io::retry_on_intr(|| rustix::net::send(socket, message, flags));
    match (once(), kind) {
        (Ok(n), Kind::Stream) => Ok(n),
        (Ok(_), _) => Ok(message.len()),
        (Err(Errno::MSGSIZE | Errno::NOBUFS), Kind::Journal) => in_a_file(socket, message),
        // The answer to an earlier datagram: nobody listened. This one may still arrive.
        (Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH), Kind::Udp) => match once() {
            Err(Errno::AGAIN) => Err(Errno::AGAIN),
            _ => Ok(message.len()),
        },
        (Err(e), _) => Err(e),
    }
}

/// A message too large for a datagram: the journal takes it from a file that nobody can change any more.
fn in_a_file(socket: BorrowedFd<'_>, message: &[u8]) -> Result<usize, Errno> {
    let file = rustix::fs::memfd_create(c"entry", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut done = 0;
    while done < message.len() {
        done += rustix::io::retry_on_intr(|| rustix::io::write(&file, &message[done..]))?;
    }
    rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    match dhow_sys::scm::send(socket, &[], &[file.as_fd()]) {
        Ok(_) => Ok(message.len()),
        Err(e) => Err(Errno::from_io_error(&e).unwrap_or(Errno::IO)),
    }
}

fn pick(all: &[SocketAddr], round: usize) -> io::Result<SocketAddr> {
    all.get(round % all.len().max(1)).copied().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn local(paths: &[&Path]) -> io::Result<Opened> {
    for (kind, message) in [(SocketType::DGRAM, Kind::Datagram), (SocketType::STREAM, Kind::Stream)] {
        for path in paths {
            if let Ok(opened) = unix(path, kind, message) {
                return Ok(opened);
            }
        }
    }
    Err(io::Error::other("nobody listens there"))
}

fn unix(path: &Path, r#type: SocketType, kind: Kind) -> io::Result<Opened> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, r#type, flags, None)?;
    paths::connect_socket(&socket, path)?;
    Ok(Opened { socket, kind, pending: false })
}

fn inet(address: SocketAddr, r#type: SocketType, kind: Kind) -> io::Result<Opened> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, r#type, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if kind == Kind::Stream {
        // A receiver that vanished without a word is noticed some time even if nothing is written.
        let _ = sockopt::set_socket_keepalive(&socket, true);
    }
    let pending = match rustix::net::connect(&socket, &address) {
        Ok(()) => false,
        Err(Errno::INPROGRESS) => true,
        Err(e) => return Err(e.into()),
    };
    Ok(Opened { socket, kind, pending })
}
