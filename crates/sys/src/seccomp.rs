//! seccomp(2): install a filter that somebody else compiled, and ask which actions and flags the kernel knows.
//!
//! An instruction is one `u64` whose memory layout is the kernel's `struct sock_filter` (code in bits 0-15, `jt` in
//! 16-23, `jf` in 24-31, `k` in 32-63), so a program is handed over without a copy and is plain data for serde.
//! What a filter should say never lives here: that is `dhow-runtime`.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

// The layout above is that of a little-endian machine, which is all that dhow builds for.
#[cfg(not(target_endian = "little"))]
compile_error!("seccomp programs are laid out for little-endian machines");

/// `SECCOMP_FILTER_FLAG_TSYNC`: give the filter to every thread of the process.
pub const FLAG_TSYNC: u32 = 1 << 0;
/// `SECCOMP_FILTER_FLAG_LOG`: log every action but allow.
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: leave speculative-execution mitigations alone.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: return a descriptor on which notifications arrive.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`: report a failed TSYNC as ESRCH, so that it can go with a listener.
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a notified thread can only be interrupted by a fatal signal.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The longest program the kernel accepts (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

const SET_MODE_FILTER: libc::c_uint = 1;
const GET_ACTION_AVAIL: libc::c_uint = 2;

const _: () = assert!(size_of::<libc::sock_filter>() == size_of::<u64>());
const _: () = assert!(align_of::<libc::sock_filter>() <= align_of::<u64>());

/// Installs `instructions` for the calling thread, which needs no_new_privs or CAP_SYS_ADMIN in its user namespace.
///
/// With [`FLAG_NEW_LISTENER`] the notification descriptor comes back, close-on-exec as the kernel makes it.
/// Nothing is allocated: safe between a fork and an exec.
pub fn install(instructions: &[u64], flags: u32) -> io::Result<Option<OwnedFd>> {
    if instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let program = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: `program` and the instructions it points to outlive the call; the kernel only reads `len` elements of
    // `sock_filter`, whose size and layout are those of the `u64`s behind the pointer (asserted above).
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), &raw const program) };
    match result {
        0 if flags & FLAG_NEW_LISTENER == 0 => Ok(None),
        fd if fd >= 0 && flags & FLAG_NEW_LISTENER != 0 => {
            // SAFETY: the kernel has just returned this descriptor to us and nobody else knows it.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
        }
        // A positive number without a listener is the thread that TSYNC could not synchronise.
        positive if positive > 0 => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel knows the return action (one of the `SECCOMP_RET_*` values), see `SECCOMP_GET_ACTION_AVAIL`.
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads one `u32` from a pointer to a live local.
    unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0 as libc::c_ulong, &raw const action) == 0 }
}

/// Whether the kernel knows all of the filter flags: it complains about a flag before it reads the (null) program.
pub fn flags_available(flags: u32) -> bool {
    // SAFETY: a null program is never dereferenced by us; the kernel answers EFAULT when it tries to read it, so no
    // filter can come of this call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), std::ptr::null::<libc::c_void>())
    };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_knows() {
        assert!(action_available(0x7fff_0000), "allow");
        assert!(!action_available(0x1234_0000), "an action nobody defined");
        assert!(flags_available(FLAG_TSYNC | FLAG_LOG));
        assert!(!flags_available(1 << 30));
    }

    #[test]
    fn length_is_checked_before_the_kernel_truncates_it() {
        let ret_allow = 0x7fff_0000_u64 << 32 | 0x06;
        assert_eq!(install(&[], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(install(&vec![ret_allow; 65537], 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_filter_works_in_its_thread_only() {
        // Return errno 77 for every call whose number is that of getpgid; everything else is allowed.
        let number = u64::from(libc::SYS_getpgid as u32);
        let program = [
            0x20,                                // load word 0: the number
            number << 32 | 1 << 24 | 0x15,       // equal: next, else skip one
            (0x0005_0000_u64 | 77) << 32 | 0x06, // errno 77
            0x7fff_0000_u64 << 32 | 0x06,        // allow
        ];
        let inside = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            install(&program, 0).unwrap();
            rustix::process::getpgid(None).unwrap_err().raw_os_error()
        });
        assert_eq!(inside.join().unwrap(), 77);
        rustix::process::getpgid(None).unwrap();
    }

    #[test]
    fn a_listener_is_a_descriptor() {
        let program = [0x7fff_0000_u64 << 32 | 0x06];
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            install(&program, FLAG_NEW_LISTENER).unwrap()
        });
        assert!(thread.join().unwrap().is_some());
    }
}
