//! clone3: a child process, in new namespaces and straight in its cgroup, with a descriptor that names it.
//!
//! The child gets a copy of the address space (no CLONE_VM), so it may allocate; it runs one closure and ends with
//! `_exit`. What the child does never lives here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// New mount namespace.
pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
/// New cgroup namespace; its root is the cgroup of the *caller*, so a runtime unshares it in the child instead.
pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// New uts namespace.
pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
/// New ipc namespace.
pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
/// New user namespace.
pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
/// New pid namespace.
pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
/// New network namespace.
pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
/// New time namespace (for `unshare` and `setns`, clone3 does not take it with every kernel).
pub const NEWTIME: u64 = 0x80;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child of this process that was not waited for.
#[derive(Debug)]
pub struct Child {
    /// Its id in this process's pid namespace.
    pub pid: i32,
    /// A descriptor that names it for good.
    pub pidfd: OwnedFd,
}

/// Makes a child in new namespaces (`flags`: the `NEW…` constants), in `cgroup` if given (a directory of a v2
/// hierarchy), that runs `child` and exits with what it returns.
///
/// Meant for single-threaded processes. With other threads about, the copy holds whatever locks they held: the
/// closure must then not allocate or lock.
pub fn spawn(flags: u64, cgroup: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<Child> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size given and `pidfd` outlives the call. Without CLONE_VM and with
    // no stack given the child goes on on its own copy of this stack, as after fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(70);
            exit(code)
        }
        pid => {
            // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: pid as i32, pidfd })
        }
    }
}

/// Ends this process at once: no destructors, no flushing of buffers copied from a parent.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Moves this process (single-threaded) into new namespaces.
pub fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: only namespace flags are let through, none that changes what memory or descriptors are shared.
    let allowed = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET | NEWTIME;
    if flags & !allowed != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: see above; unshare of namespaces touches no memory of the process.
    check(unsafe { libc::unshare(flags as libc::c_int) })
}

/// Joins the namespace behind `fd`, or those of the process behind the pidfd `fd`, as far as `flags` names them.
pub fn setns(fd: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: setns touches no memory of the process.
    check(unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) })
}

/// Sends any signal, real-time ones too, to the process behind a pidfd.
pub fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill in that of kill(2).
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitOptions, waitpid};

    #[test]
    fn the_child_runs_the_closure_and_its_code_comes_back() {
        let child = spawn(0, None, || 42).unwrap();
        let (_, status) = waitpid(Pid::from_raw(child.pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(42));
    }

    #[test]
    fn unshare_refuses_flags_that_are_no_namespaces() {
        assert_eq!(unshare(libc::CLONE_FILES as u64).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
