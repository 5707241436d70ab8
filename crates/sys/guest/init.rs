//! The first process of a container that was asked for with `--init`: starts the program, hands signals on to it,
//! reaps whatever is orphaned, and ends with the program's status (128+n for signal n).
//!
//! `init [-g] [--] COMMAND [ARGUMENT...]`; with `-g` signals go to the program's whole process group.
#![no_std]
#![no_main]

mod linux;

use linux::{exit, number, syscall, write};

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SIGCHLD: i32 = 17;
const SIGTTIN: usize = 21;
const SIGTTOU: usize = 22;
/// Signals that mean a fault of this very process, and those that can't be blocked: never taken from the queue.
/// ILL 4, TRAP 5, ABRT 6, BUS 7, FPE 8, SEGV 11, SYS 31, TTIN 21, TTOU 22.
const LEFT_ALONE: u64 = bit(4) | bit(5) | bit(6) | bit(7) | bit(8) | bit(11) | bit(31) | bit(21) | bit(22);
const SIG_SETMASK: usize = 2;
const WNOHANG: usize = 1;
const TIOCSPGRP: usize = 0x5410;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const EINTR: isize = -4;
const ENOENT: isize = -2;
const ENOEXEC: isize = -8;
const EACCES: isize = -13;
const ENOTDIR: isize = -20;
/// Linux's longest path.
const PATH_MAX: usize = 4096;
/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// The kernel's `struct sigaction`, the same on both architectures; the restorer stays empty because only "ignore"
/// and "default" are set.
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Runs the program and waits for it.
///
/// # Safety
/// `argv` and `env` are the arrays the kernel left for this process.
pub unsafe fn main(argc: usize, argv: *mut *const u8, env: *mut *const u8) -> i32 {
    let (mut at, mut whole_group) = (1, false);
    while at < argc {
        // SAFETY: `at` is less than argc.
        let word = bytes(unsafe { *argv.add(at) });
        if word == b"--" {
            at += 1;
            break;
        } else if word == b"-g" {
            whole_group = true;
        } else if word.first() == Some(&b'-') {
            complain(word, b"is no option of init; usage: init [-g] [--] COMMAND [ARGUMENT...]");
            return 125;
        } else {
            break;
        }
        at += 1;
    }
    if at >= argc {
        write(2, b"init: no command; usage: init [-g] [--] COMMAND [ARGUMENT...]\n");
        return 125;
    }

    let mask: u64 = !LEFT_ALONE;
    let mut old: u64 = 0;
    // SAFETY: both masks are eight bytes, as the last argument says; the rest are plain numbers.
    let child = unsafe {
        syscall(number::RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, &raw mut old as usize, 8, 0, 0]);
        // A background process that touches the terminal would be stopped; the program gets the terminal below.
        set_action(SIGTTIN, SIG_IGN);
        set_action(SIGTTOU, SIG_IGN);
        if syscall(number::GETPID, [0; 6]) != 1 {
            // Not the first process: orphans come here only if asked for.
            syscall(number::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0]);
        }
        syscall(number::CLONE, [SIGCHLD as usize, 0, 0, 0, 0, 0])
    };
    if child < 0 {
        write(2, b"init: the kernel refuses to make a process: a limit on processes or memory is reached\n");
        return 125;
    }
    if child == 0 {
        // SAFETY: this is the only thread of a new process; `old` is the mask from before.
        unsafe {
            // A group of its own, in the foreground of the terminal if there is one, so that keys reach it directly.
            syscall(number::SETPGID, [0; 6]);
            let own = syscall(number::GETPID, [0; 6]) as i32;
            syscall(number::IOCTL, [0, TIOCSPGRP, &raw const own as usize, 0, 0, 0]);
            set_action(SIGTTIN, SIG_DFL);
            set_action(SIGTTOU, SIG_DFL);
            syscall(number::RT_SIGPROCMASK, [SIG_SETMASK, &raw const old as usize, 0, 8, 0, 0]);
            exec(argv.add(at), env)
        }
    }
    // SAFETY: `mask` is eight bytes.
    unsafe { supervise(child, if whole_group { -child } else { child }, &mask) }
}

/// Hands on signals and reaps, until `child` has ended; its status as an exit code.
unsafe fn supervise(child: isize, target: isize, mask: &u64) -> i32 {
    loop {
        // SAFETY: `mask` is eight bytes, as the last argument says; no signal information or timeout is asked for.
        let signal = unsafe { syscall(number::RT_SIGTIMEDWAIT, [&raw const *mask as usize, 0, 0, 8, 0, 0]) };
        match signal {
            EINTR => {}
            // SIGCHLD. An error could only mean a wrong mask; then reaping is still right.
            17 | ..=0 => {
                if let Some(code) = reap(child) {
                    return code;
                }
            }
            // SAFETY: plain numbers. The program may just have ended; then nobody gets it.
            n => unsafe {
                syscall(number::KILL, [target as usize, n as usize, 0, 0, 0, 0]);
            },
        }
    }
}

/// Collects all ended processes; the exit code if `child` was among them.
fn reap(child: isize) -> Option<i32> {
    let mut code = None;
    loop {
        let mut status: i32 = 0;
        // SAFETY: `status` is one writable int.
        let pid = unsafe { syscall(number::WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0, 0]) };
        match pid {
            EINTR => {}
            ..=0 => return code,
            _ if pid == child => {
                let signal = status & 0x7f;
                code = Some(if signal == 0 { status >> 8 & 0xff } else { 128 + signal });
            }
            _ => {}
        }
    }
}

unsafe fn set_action(signal: usize, handler: usize) {
    let action = Action { handler, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: `action` is laid out as the kernel's; no handler function is set.
    unsafe { syscall(number::RT_SIGACTION, [signal, &raw const action as usize, 0, 8, 0, 0]) };
}

/// Becomes the program, looked for as execvp(3) does; ends with 127 or 126 and a message if that fails.
unsafe fn exec(argv: *mut *const u8, env: *mut *const u8) -> ! {
    // SAFETY: the first entry is the command; the caller has checked that it is there.
    let name = bytes(unsafe { *argv });
    let mut path = [0u8; PATH_MAX];
    let mut refused = false;
    if name.contains(&b'/') {
        // SAFETY: all pointers are the kernel's own arrays.
        refused = unsafe { run(*argv, argv, env) } == EACCES;
    } else if !name.is_empty() {
        // SAFETY: the environment ends with a null pointer.
        for dir in unsafe { search_path(env) }.split(|b| *b == b':') {
            let dir = if dir.is_empty() { b"." } else { dir };
            let length = dir.len() + 1 + name.len();
            if length >= PATH_MAX {
                continue;
            }
            path[..dir.len()].copy_from_slice(dir);
            path[dir.len()] = b'/';
            path[dir.len() + 1..length].copy_from_slice(name);
            path[length] = 0;
            // SAFETY: `path` ends with NUL; the arrays are the kernel's own.
            match unsafe { run(path.as_ptr(), argv, env) } {
                ENOENT | ENOTDIR => {}
                EACCES => refused = true,
                _ => break,
            }
        }
        if !refused {
            complain(name, b"was not found in any directory of PATH");
            exit(127);
        }
    }
    if refused {
        complain(name, b"can't be executed: permission denied");
        exit(126);
    }
    complain(name, b"was not found");
    exit(127)
}

/// One try; returns the error if it is one that a search goes on after, else ends the process with a message.
unsafe fn run(path: *const u8, argv: *mut *const u8, env: *mut *const u8) -> isize {
    // SAFETY: the caller's `path` ends with NUL; the arrays end with null pointers.
    let error = unsafe { syscall(number::EXECVE, [path as usize, argv as usize, env as usize, 0, 0, 0]) };
    match error {
        ENOENT | ENOTDIR | EACCES => error,
        ENOEXEC => {
            // A script without a first line that names its interpreter. At least init's own name stands before the
            // command, so there is room for the shell's.
            // SAFETY: as above; the arrays are writable memory of this process.
            unsafe {
                *argv = path;
                let argv = argv.sub(1);
                *argv = c"/bin/sh".as_ptr().cast();
                syscall(number::EXECVE, [*argv as usize, argv as usize, env as usize, 0, 0, 0]);
            }
            complain(bytes(path), b"has a format that this machine can't execute");
            exit(126)
        }
        _ => {
            complain(bytes(path), b"can't be executed");
            exit(126)
        }
    }
}

/// The value of PATH.
unsafe fn search_path<'a>(mut env: *mut *const u8) -> &'a [u8] {
    // SAFETY: the caller says that the array ends with a null pointer.
    while let word = unsafe { *env }
        && !word.is_null()
    {
        if let Some(value) = bytes(word).strip_prefix(b"PATH=") {
            return value;
        }
        // SAFETY: not yet at the end.
        env = unsafe { env.add(1) };
    }
    DEFAULT_PATH
}

/// A string of the kernel's without its NUL.
fn bytes<'a>(text: *const u8) -> &'a [u8] {
    let mut n = 0;
    // SAFETY: all strings here come from the kernel's arrays or end with a NUL of our own.
    unsafe {
        while *text.add(n) != 0 {
            n += 1;
        }
        core::slice::from_raw_parts(text, n)
    }
}

fn complain(name: &[u8], what: &[u8]) {
    write(2, b"init: \"");
    write(2, name);
    write(2, b"\" ");
    write(2, what);
    write(2, b"\n");
}
