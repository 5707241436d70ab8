//! execve, and what a process sets about itself before it: signals, personality, priorities, keyring, limits.
//!
//! Which program, and with which rights, is decided elsewhere.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// A list of C strings as execve wants it: built before a clone, used after it without allocating.
#[derive(Debug)]
pub struct CStringArray {
    /// Keeps the strings alive; never changed after `pointers` was made.
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStringArray {
    /// From byte strings; an error names the first one with a NUL byte in it.
    pub fn new<T: Into<Vec<u8>>>(items: impl IntoIterator<Item = T>) -> io::Result<Self> {
        let strings = items
            .into_iter()
            .map(|s| CString::new(s).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e)))
            .collect::<io::Result<Vec<_>>>()?;
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { strings, pointers })
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces this process's program by the one at `path`. Comes back only with the error.
pub fn execve(path: &CStr, args: &CStringArray, env: &CStringArray) -> io::Error {
    // SAFETY: all three point to NUL-terminated strings in NULL-terminated arrays that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this process's program by the file behind `fd`. Comes back only with the error.
pub fn fexecve(fd: BorrowedFd<'_>, args: &CStringArray, env: &CStringArray) -> io::Error {
    // SAFETY: as in `execve`; the empty path is static.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Gives every signal its default action and unblocks all: neither ignored nor blocked signals may leak into a
/// container (Rust ignores SIGPIPE, a shim blocks what it reads from a signalfd).
pub fn reset_signals() {
    // The kernel's own call: libc hides the two real-time signals it uses itself, which a parent may have ignored.
    #[repr(C)]
    struct KernelSigaction {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let default = KernelSigaction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=64 {
        // SAFETY: `default` is a valid kernel sigaction for an 8-byte mask; the default action runs no code of ours.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<u8>(), 8) };
    }
    let none = 0u64;
    // SAFETY: `none` is an 8-byte signal set that outlives the call.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, ptr::null::<u8>(), 8) };
}

/// Sets the execution domain (personality(2)).
pub fn personality(persona: u32) -> io::Result<()> {
    // SAFETY: changes flags of the process only; no memory is passed.
    check(unsafe { libc::personality(libc::c_ulong::from(persona)) }.into())
}

/// Sets this process's I/O priority (ioprio_set(2)): class 1-3, level 0-7.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = (libc::c_int::from(class) << 13) | libc::c_int::from(level);
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// The fields of `struct sched_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, SCHED_DEADLINE.
    pub period: u64,
}

/// Sets this process's scheduler (sched_setattr(2)).
pub fn set_scheduler(attr: &SchedAttr) -> io::Result<()> {
    #[repr(C)]
    struct Raw {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let raw = Raw {
        size: size_of::<Raw>() as u32,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: `raw` is a sched_attr of the first version with its size in it, and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) })
}

/// Gives this process a new, anonymous session keyring. A kernel without keyrings, or a filter that denies the call,
/// is no error: there is then nothing to inherit either.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<u8>()) }) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        result => result,
    }
}

/// Sets a resource limit by the kernel's number (`RLIMIT_*`); `u64::MAX` is no limit.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call and no old value is asked for.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, ptr::null_mut::<libc::rlimit64>())
    })
}

/// The soft and hard value of a resource limit.
pub fn rlimit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<libc::rlimit64>(), &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::spawn;
    use rustix::process::{Pid, WaitOptions, waitpid};

    #[test]
    fn a_nul_byte_is_refused_and_execve_runs() {
        assert!(CStringArray::new(["a\0b"]).is_err());
        let args = CStringArray::new(["sh", "-c", "exit $X"]).unwrap();
        let env = CStringArray::new(["X=7"]).unwrap();
        let child = spawn(0, None, || {
            reset_signals();
            execve(c"/bin/sh", &args, &env);
            1
        })
        .unwrap();
        let (_, status) = waitpid(Pid::from_raw(child.pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn limits_are_read_and_set() {
        let (soft, hard) = rlimit(libc::RLIMIT_CORE).unwrap();
        set_rlimit(libc::RLIMIT_CORE, soft, hard).unwrap();
        assert_eq!(rlimit(libc::RLIMIT_CORE).unwrap(), (soft, hard));
    }
}
