//! A question to a file system that may never answer, asked by a process of its own: who waits for a server in vain can
//! neither go on nor be killed, and must therefore be nobody that is needed, and hold nothing that is.

use crate::clone::{self, Child};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    /// It is there, or the error.
    Given(io::Result<()>),
    /// Nothing in time. Who was sent is killed, and ends when the file system lets it; see [`ended`].
    Silence(Child),
}

/// Whether something is at `path`; behind a link at its end if `follow`.
pub fn is_there(path: &CStr, follow: bool, patience: Duration) -> io::Result<Answer> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let child = clone::spawn(0, None, || {
        // SAFETY: the descriptors are this copy's alone, and nothing of it runs but what follows. A kernel without the
        // call leaves them open.
        unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
        let mut stat = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: path ends in NUL, and the kernel writes one stat.
        match unsafe { libc::fstatat(libc::AT_FDCWD, path.as_ptr(), stat.as_mut_ptr(), flags) } {
            0 => 0,
            // All errors of the kernel are below 134, so that one fits into an exit code.
            _ => io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        }
    })?;
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    let mut fds = [PollFd::new(&child.pidfd, PollFlags::IN)];
    if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))? == 0 {
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
        return Ok(Answer::Silence(child));
    }
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED))?;
    Ok(Answer::Given(match status.and_then(|s| s.exit_status()) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Err(io::Error::other("who asked was killed")),
    }))
}

/// Whether a child has ended; one that has is collected.
pub fn ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    // One that somebody else collected has ended too.
    !matches!(waitid(WaitId::PidFd(child.pidfd.as_fd()), options), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let link = std::ffi::CString::new(link.to_str().unwrap()).unwrap();
        for (path, follow, want) in [
            (c"/", true, None),
            (c"/nonexistent/x", true, Some(libc::ENOENT)),
            (c"/proc/self/exe/x", true, Some(libc::ENOTDIR)),
            (link.as_c_str(), true, Some(libc::ENOENT)),
            (link.as_c_str(), false, None),
        ] {
            match is_there(path, follow, Duration::from_secs(60)).unwrap() {
                Answer::Given(given) => assert_eq!(given.err().and_then(|e| e.raw_os_error()), want, "{path:?}"),
                silence => panic!("{silence:?}"),
            }
        }
    }

    #[test]
    fn silence_is_no_answer() {
        // No time at all: the child can't have ended, as it was not even looked at before.
        let mut silent = None;
        for _ in 0..1000 {
            if let Answer::Silence(child) = is_there(c"/", true, Duration::ZERO).unwrap() {
                silent = Some(child);
                break;
            }
        }
        let child = silent.expect("one of a thousand is not done at once");
        while !ended(&child) {
            std::thread::yield_now();
        }
        assert!(ended(&child), "and stays so");
    }
}
