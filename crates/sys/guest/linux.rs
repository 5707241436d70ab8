//! System calls for programs without a C library, shared by the guest programs: numbers and calling convention of
//! x86_64 and aarch64, and an entry point that finds arguments and environment where the kernel put them.

use core::arch::{asm, global_asm};

#[cfg(target_arch = "x86_64")]
pub mod number {
    pub const WRITE: usize = 1;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SETPGID: usize = 109;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
}
#[cfg(target_arch = "aarch64")]
pub mod number {
    pub const WRITE: usize = 64;
    pub const IOCTL: usize = 29;
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
    pub const KILL: usize = 129;
    pub const SETPGID: usize = 154;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
    pub const EXIT_GROUP: usize = 94;
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call {main}",
    "ud2",
    main = sym start,
    options(att_syntax),
);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl {main}", "brk #1", main = sym start);

/// Where the kernel leaves argc, argv and the environment.
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel's process start: argc, argc pointers, a null, the environment's pointers, a null.
    let (argc, argv) = unsafe { (*stack, stack.add(1).cast_mut().cast::<*const u8>()) };
    // SAFETY: as above.
    exit(unsafe { crate::main(argc, argv, argv.add(argc + 1)) })
}

/// A system call with up to six arguments.
///
/// # Safety
/// The arguments must be what the kernel asks for.
#[cfg(target_arch = "x86_64")]
pub unsafe fn syscall(n: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the convention of x86_64 (syscall(2)); rcx and r11 are overwritten.
    unsafe {
        asm!("syscall", inlateout("rax") n => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// A system call with up to six arguments.
///
/// # Safety
/// The arguments must be what the kernel asks for.
#[cfg(target_arch = "aarch64")]
pub unsafe fn syscall(n: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the convention of aarch64 (syscall(2)).
    unsafe {
        asm!("svc #0", in("x8") n, inlateout("x0") a[0] => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return, touches no memory.
    unsafe { syscall(number::EXIT_GROUP, [code as usize, 0, 0, 0, 0, 0]) };
    loop {}
}

/// Writes all of `text` to a descriptor; gives up at the first error.
pub fn write(fd: usize, text: &[u8]) {
    let (mut at, end) = (text.as_ptr() as usize, text.as_ptr() as usize + text.len());
    while at < end {
        // SAFETY: from `at` to `end` is what is left of `text`.
        let n = unsafe { syscall(number::WRITE, [fd, at, end - at, 0, 0, 0]) };
        match n {
            // EINTR.
            -4 => {}
            ..=0 => return,
            n => at += n as usize,
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

/// The compiler may call it for a copy.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    let mut i = 0;
    while i < n {
        // SAFETY: the caller vouches for both; volatile, so that this loop is not turned into a call of itself.
        unsafe { to.add(i).write_volatile(from.add(i).read()) };
        i += 1;
    }
    to
}

/// The compiler may call it to clear memory.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    let mut i = 0;
    while i < n {
        // SAFETY: the caller vouches for it; volatile as above.
        unsafe { to.add(i).write_volatile(byte as u8) };
        i += 1;
    }
    to
}

/// The compiler recognises loops that look for a NUL, and calls it.
///
/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: the caller vouches for a NUL; volatile as above.
    while unsafe { text.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}

/// The precompiled core library names it in its unwind tables; with aborting panics nothing ever calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
