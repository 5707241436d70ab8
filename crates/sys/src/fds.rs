//! Descriptor tables: what a program inherits and at which number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Marks every descriptor from `first` on as closed by the next execve (R4: none of ours reaches a container).
pub fn cloexec_from(first: u32) -> io::Result<()> {
    // SAFETY: sets a flag on descriptors; none is closed under its owner's feet.
    match unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes that were sent on a unix socket and not yet read by the other side (SIOCOUTQ in unix(7)), with what the kernel
/// needs around them; 0 when all is read.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut n: libc::c_int = 0;
    // SAFETY: writes one int, which is there; the descriptor is borrowed and open.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut n) } {
        0 => Ok(usize::try_from(n).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes `number` (a standard stream, or one that nobody in this process owns) a copy of `fd` that survives execve.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        return Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?);
    }
    // SAFETY: the caller states that no `OwnedFd` of this process stands for `number`, or that it is 0, 1 or 2.
    match unsafe { libc::dup2(fd.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes over a descriptor that the program's starter left open at `number`, after checking that it is open.
/// To be called once per number, before anything else could have taken the number.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag and fails on a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the caller's word nobody in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor is open at `number`.
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD reads a flag.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::spawn;
    use rustix::process::{Pid, WaitOptions, waitpid};
    use std::os::fd::AsFd;

    #[test]
    fn placed_descriptors_survive_and_the_rest_is_marked() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let child = spawn(0, None, || {
            let placed = place(write.as_fd(), 200).is_ok() && is_open(200) && cloexec_from(3).is_ok();
            // SAFETY: F_GETFD only reads.
            let flag = unsafe { libc::fcntl(read.as_raw_fd(), libc::F_GETFD) };
            i32::from(!(placed && flag == libc::FD_CLOEXEC))
        })
        .unwrap();
        let (_, status) = waitpid(Pid::from_raw(child.pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
        assert!(inherited(1_000_000).is_err());
    }
}
