//! bpf(2), as far as a v2 control group needs it to guard devices: load a program, attach it, find and replace it.
//!
//! Which program that is, is decided in `dhow-cgroup`; nothing here knows a device.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Commands, types and flags: include/uapi/linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;
/// The kernel keeps at most this many programs of one type on one group.
const MAX_ATTACHED: usize = 64;
/// Bound of the verifier for a caller with CAP_BPF is a million; ours are far shorter.
const MAX_INSTRUCTIONS: usize = 65_536;

/// The part of `union bpf_attr` that PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` that PROG_ATTACH and PROG_DETACH read.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part of `union bpf_attr` that PROG_QUERY reads and writes.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    _pad: u32,
}

/// The part of `union bpf_attr` that PROG_GET_FD_BY_ID reads.
#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`; each word is one `struct bpf_insn`.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    if instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    // The license only matters for helper functions, and none is called.
    let license = c"Apache-2.0";
    let mut attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: ATTACH_CGROUP_DEVICE,
        ..LoadAttr::default()
    };
    attr.prog_name[..11].copy_from_slice(b"dhow_device");
    // SAFETY: `attr` is valid for its size; the pointers in it lead to `instructions`, whose length is given, and to a
    // NUL-terminated string; both outlive the call, which only reads them. The name is NUL-terminated.
    let fd = unsafe { call(PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else owns it. It is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches `program` to a group beside what is there, or in the place of `replace`.
pub fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: group.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if replace.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |r| r.as_raw_fd() as u32),
    };
    // SAFETY: `attr` is valid for its size and holds no pointers.
    unsafe { call(PROG_ATTACH, &mut attr) }.map(|_| ())
}

/// Takes `program` off a group.
pub fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: group.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    // SAFETY: `attr` is valid for its size and holds no pointers.
    unsafe { call(PROG_DETACH, &mut attr) }.map(|_| ())
}

/// The device programs attached to this very group, in the order in which they run.
pub fn device_programs(group: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_ATTACHED];
    let mut attr = QueryAttr {
        target_fd: group.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_ATTACHED as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `attr` is valid for its size; `prog_ids` leads to `prog_cnt` writable words that outlive the call.
    unsafe { call(PROG_QUERY, &mut attr) }?;
    let count = (attr.prog_cnt as usize).min(MAX_ATTACHED);
    let mut programs = Vec::with_capacity(count);
    for &id in &ids[..count] {
        let mut attr = IdAttr { id, ..IdAttr::default() };
        // SAFETY: `attr` is valid for its size and holds no pointers.
        match unsafe { call(PROG_GET_FD_BY_ID, &mut attr) } {
            // SAFETY: the kernel has just returned this descriptor, and nobody else owns it.
            Ok(fd) => programs.push(unsafe { OwnedFd::from_raw_fd(fd) }),
            // It was taken off between the two calls.
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(programs)
}

/// Makes `program` the only device program of `group`, without a moment in which there is none.
pub fn set_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let old = device_programs(group)?;
    match old.as_slice() {
        [only] => match attach_device_program(group, program, Some(only.as_fd())) {
            // Kernels before 5.6 can't replace: attach first, detach then, as with several.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        },
        [] => return attach_device_program(group, program, None),
        _ => {}
    }
    attach_device_program(group, program, None)?;
    old.iter().try_for_each(|p| detach_device_program(group, p.as_fd()))
}

/// The system call.
///
/// # Safety
/// `attr` must be laid out as the kernel's `union bpf_attr` for `command`, and each pointer in it be valid for what
/// the kernel does with it.
unsafe fn call<T>(command: libc::c_long, attr: &mut T) -> io::Result<i32> {
    // SAFETY: the caller vouches for `attr`; its size is that of its type.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_endless_program_is_refused_before_the_kernel_sees_it() {
        assert_eq!(load_device_program(&[]).unwrap_err().raw_os_error(), Some(libc::E2BIG));
        assert_eq!(load_device_program(&vec![0x95; 70_000]).unwrap_err().raw_os_error(), Some(libc::E2BIG));
    }
}
