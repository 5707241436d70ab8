//! Where the terminal of a container goes: to whoever listens at `--console-socket`, or to our own terminal.

use crate::context::Context;
use dhow_sys::scm;
use dhow_types::{Error, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The rules of runc about `terminal`, `--detach` and `--console-socket`.
pub(crate) fn check(terminal: bool, detached: bool, console_socket: Option<&Path>) -> Result<()> {
    match (terminal, detached, console_socket) {
        (true, true, None) => Err(Error::invalid(
            "a terminal without anybody at it: give --console-socket, or set process.terminal to false",
        )),
        (false, _, Some(_)) => Err(Error::invalid("--console-socket is given, but process.terminal is false")),
        (true, false, Some(_)) => Err(Error::invalid("--console-socket is for containers that are not waited for")),
        _ => Ok(()),
    }
}

/// Sends the terminal's master, with its name as runc does.
pub(crate) fn send(path: &Path, master: &OwnedFd) -> Result<()> {
    send_fd(path, b"/dev/ptmx", master.as_fd()).with_context(|| format!("--console-socket {}", path.display()))
}

/// Sends the descriptor of the container's process.
pub(crate) fn send_pidfd(path: &Path, pidfd: BorrowedFd<'_>) -> Result<()> {
    send_fd(path, b"pidfd", pidfd).with_context(|| format!("--pidfd-socket {}", path.display()))
}

fn send_fd(path: &Path, name: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).context("socket")?;
    connect(&socket, &SocketAddrUnix::new(path).context("address")?).context("connect")?;
    scm::send(socket.as_fd(), name, &[fd]).context("send")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sits_at_the_terminal() {
        let socket = Some(Path::new("/s"));
        for (terminal, detached, socket, fine) in [
            (true, true, None, false),
            (true, true, socket, true),
            (true, false, None, true),
            (true, false, socket, false),
            (false, true, None, true),
            (false, false, None, true),
            (false, true, socket, false),
        ] {
            assert_eq!(check(terminal, detached, socket).is_ok(), fine, "{terminal} {detached} {socket:?}");
        }
    }
}
