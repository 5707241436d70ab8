//! Filters installed for real, each in a thread that ends with them.

use super::*;
use crate::seccomp::default_profile;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use std::os::fd::AsFd;

/// Runs `f` in a thread under the filter.
fn under<T: Send + 'static>(program: Program, f: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        program.install().unwrap();
        f()
    });
    thread.join().unwrap()
}

#[test]
fn the_default_profile_refuses_and_allows() {
    let profile = |caps: &[&str]| {
        compile(&default_profile(caps, Arch::native(), KernelVersion::running()), Arch::native()).unwrap()
    };
    let attempts = || {
        let socket = |family| rustix::net::socket(AddressFamily::from_raw(family), SocketType::STREAM, None).err();
        (
            rustix::process::chroot("/nowhere/at/all").unwrap_err(),
            rustix::mount::unmount("/nowhere/at/all", rustix::mount::UnmountFlags::empty()).unwrap_err(),
            socket(38),
            socket(1),
        )
    };
    let without = under(profile(&[]), attempts);
    assert_eq!(without, (Errno::PERM, Errno::PERM, Some(Errno::PERM), None));
    let with = under(profile(&["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]), attempts);
    assert_eq!((with.0, with.1), (Errno::NOENT, Errno::NOENT));
    assert_eq!(with.2, Some(Errno::PERM), "AF_ALG needs more than a capability");
}

#[test]
fn a_notifying_filter_gives_its_descriptor() {
    let program = compile(
        &parse(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x","flags":[],
            "syscalls":[{"names":["getpgid"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        ),
        Arch::native(),
    )
    .unwrap();
    let thread = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        let listener = program.install().unwrap().unwrap();
        rustix::io::fcntl_getfd(listener.as_fd()).unwrap()
    });
    assert_eq!(thread.join().unwrap(), rustix::io::FdFlags::CLOEXEC);
}
