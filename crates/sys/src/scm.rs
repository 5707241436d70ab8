//! Messages with descriptors over unix sockets (SCM_RIGHTS). Received descriptors are close-on-exec.

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The most descriptors one message can carry here (the kernel's own limit is 253).
pub const MAX_FDS: usize = 64;

/// Sends `bytes` with `fds`; returns how many bytes went (all of them on a message socket). Never raises SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::from(rustix::io::Errno::INVAL));
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let data = [IoSlice::new(bytes)];
    Ok(rustix::io::retry_on_intr(|| sendmsg(socket, &data, &mut control, SendFlags::NOSIGNAL))?)
}

/// Receives up to `buffer.len()` bytes and up to [`MAX_FDS`] descriptors. 0 bytes: the other side is closed.
/// A message cut short (of bytes on a message socket, or of descriptors) is an error.
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(buffer)];
    let message = rustix::io::retry_on_intr(|| recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::from(rustix::io::Errno::MSGSIZE));
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::AsFd;

    #[test]
    fn bytes_and_descriptors_arrive_and_truncation_is_an_error() {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        assert_eq!(send(a.as_fd(), b"hello", &[a.as_fd(), b.as_fd()]).unwrap(), 5);
        let mut buffer = [0; 16];
        let (n, fds) = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..n], fds.len()), (&b"hello"[..], 2));
        for fd in &fds {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        send(a.as_fd(), b"too long", &[]).unwrap();
        assert!(recv(b.as_fd(), &mut buffer[..4]).is_err());
        drop(fds);
        drop(a);
        assert_eq!(recv(b.as_fd(), &mut buffer).unwrap().0, 0);
    }
}
