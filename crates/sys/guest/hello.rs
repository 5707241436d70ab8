//! The program of the image `dhow/hello`: says what has just happened, and what to try next.
#![no_std]
#![no_main]

mod linux;

const TEXT: &[u8] = b"
  Hello from dhow!

  This text comes from a program that runs isolated. To get here, dhow
    1. unpacked a tiny image that it carries inside its own binary,
    2. laid a writable, throw-away layer over it,
    3. made namespaces of its own for processes, mounts, network and host name,
    4. put limits around it with a control group and a system call filter,
    5. and started this program as process 1. Nothing was downloaded.

  What to try next:
    dhow run --rm -it --rootfs /:O bash        a shell in a copy of this machine; changes vanish at exit
    dhow load -i busybox.tar                   take in an image that `docker save` wrote
    dhow run --rm -it -m 64m busybox sh        run it, with at most 64 MiB of memory
    dhow run -d --name web -p 8080:80 IMAGE    in the background, with a published port
    dhow ps -a                                 what runs, and what ran
    dhow help                                  everything else

";

/// Prints, and ends with 0.
///
/// # Safety
/// Called once, by the entry point.
pub unsafe fn main(_argc: usize, _argv: *mut *const u8, _env: *mut *const u8) -> i32 {
    linux::write(1, TEXT);
    0
}
