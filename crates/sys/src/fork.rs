//! `fork` without exec for programs of one thread, and giving memory back to the kernel after a burst of work.
//!
//! What parent and child do afterwards never lives here.

use rustix::process::Pid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork one is on.
#[derive(Debug, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The old one; the child is the caller's to reap.
    Parent(Pid),
}

/// True when the calling process has one thread.
pub fn single_threaded() -> bool {
    // Changes nothing: the kernel accepts CLONE_THREAD here only from a process that is alone in its thread group.
    // SAFETY: unshare takes no pointer, and this flag gives up nothing that any code relies on.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// `fork`. Refused when the process has more than one thread: a lock held by another thread would stay locked in
/// the child for ever.
pub fn fork_single_threaded() -> io::Result<Fork> {
    if !single_threaded() {
        return Err(io::Error::other("fork: the process has more than one thread"));
    }
    // SAFETY: the only thread is this one, so the child's copy of the address space is consistent: no other thread
    // can be in the middle of changing it or hold a lock. The child may therefore run any code, not only what is safe
    // in a signal handler.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).map(Fork::Parent).ok_or_else(|| io::Error::other("fork: no pid")),
    }
}

/// Closes every descriptor from 3 on. For the first thing a long-lived program does: what it inherited by accident (the
/// pipe of a shell, say) would stay open as long as it lives. Kernels before 5.9 cannot; then nothing happens.
pub fn close_inherited() {
    // SAFETY: closing touches no memory. Only descriptors that this program did not open are meant, because it calls
    // this before it opens any.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
    }
}

/// Gives back what the heap does not need and the pages of the stack below the caller's frame, and lets go of the pages
/// of the program's text, which come back from the page cache when they are run again. For processes that idle for
/// hours after a burst of work; costs some system calls now and some page faults later.
pub fn release_memory() {
    crate::heap::give_back();
    release_stack();
    release_text();
}

/// Unmaps the pages of the program's own text. Shared as they are, each process that maps them is charged its part.
fn release_text() {
    unsafe extern "C" {
        // Defined by the linker (ld and lld alike): where the program's image begins, and where its text ends.
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start as usize, &raw const etext as usize & !(PAGE - 1));
    if start.is_multiple_of(PAGE) && start < end {
        // SAFETY: from the image's beginning to the end of its text lie headers, text and, depending on the linker,
        // read-only data: private mappings of the binary that the program never writes to (the tables that relocation
        // writes to lie behind the text). Dropped pages are therefore read again from the same file, which the kernel
        // protects from being written while it runs.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// How far below the current frame the stack's pages are given back. Less than the gap that the kernel keeps free
/// below a stack (`stack_guard_gap`, 256 pages), so no other mapping can lie in the range.
const STACK_REACH: usize = 512 << 10;
/// Left alone below the current frame: red zone, the frames of the calls made here, and whatever a signal handler
/// would use meanwhile is written anew anyway.
const STACK_MARGIN: usize = 8 << 10;
/// Where pages are larger, the kernel refuses the unaligned range and nothing happens.
const PAGE: usize = 4 << 10;

#[inline(never)]
fn release_stack() {
    if !single_threaded() || rustix::thread::gettid() != rustix::process::getpid() {
        // Only the main thread's stack has the gap below it that makes the range certain.
        return;
    }
    let here = 0u8;
    let top = (std::ptr::from_ref(&here) as usize).saturating_sub(STACK_MARGIN) & !(PAGE - 1);
    let Some(start) = top.checked_sub(STACK_REACH) else { return };
    // SAFETY: the range lies wholly below this function's frame by more than a red zone and the frame of the call
    // itself, and within the gap below the main thread's stack, so it holds only dead frames of this thread's stack or
    // nothing. Dead frames are never read before they are written. A hole in the range makes the call
    // report ENOMEM after it has done the mapped part.
    unsafe {
        libc::madvise(start as *mut libc::c_void, STACK_REACH, libc::MADV_DONTNEED);
    }
}

/// What a signal does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What the kernel does by itself.
    Default,
    /// Nothing. Stays so across exec.
    Ignore,
    /// Nothing, by a handler that does nothing. Goes back to the default at exec.
    Swallow,
}

extern "C" fn swallow(_signal: libc::c_int) {}

/// Sets the disposition of one signal.
pub fn set_disposition(signal: rustix::process::Signal, to: Disposition) -> io::Result<()> {
    let handler = match to {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Swallow => swallow as extern "C" fn(libc::c_int) as usize,
    };
    // SAFETY: a sigaction of zeros is a valid value of the plain C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is fully set up, the handler touches nothing at all, the old action is not asked for.
    match unsafe { libc::sigaction(signal.as_raw(), &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends any signal, also a real-time one, to the process behind a pidfd.
pub fn send_signal(pidfd: BorrowedFd<'_>, signo: i32) -> io::Result<()> {
    // SAFETY: the descriptor is valid for the call, and a null siginfo is allowed: the kernel then fills one in as kill
    // does.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signo, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Signal;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test harness itself runs this on a thread of its own.
        assert!(!single_threaded());
        assert!(fork_single_threaded().unwrap_err().to_string().contains("more than one thread"));
    }

    #[test]
    fn a_swallowed_signal_does_not_kill() {
        set_disposition(Signal::USR2, Disposition::Swallow).unwrap();
        // By default it would end the whole test program; another thread may take it a moment later, so it stays so.
        rustix::process::kill_process(rustix::process::getpid(), Signal::USR2).unwrap();
    }

    #[test]
    fn memory_is_given_back_without_harm() {
        let kept = vec![7u8; 100_000];
        drop(vec![1u8; 60_000]);
        release_memory();
        assert!(kept.iter().all(|b| *b == 7));
    }
}
