//! mount_setattr: attributes of a mount, of a whole tree of them, propagation, and id mapping.
//!
//! The rest of the new mount API is in rustix.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Read-only.
pub const RDONLY: u64 = 0x1;
/// Set-user-id bits and file capabilities have no effect.
pub const NOSUID: u64 = 0x2;
/// Device nodes can't be opened.
pub const NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const NOEXEC: u64 = 0x8;
/// The bits that say how access times are kept; zero means relatime.
pub const ATIME: u64 = 0x70;
/// Access times are not updated.
pub const NOATIME: u64 = 0x10;
/// Access times are always updated.
pub const STRICTATIME: u64 = 0x20;
/// Access times of directories are not updated.
pub const NODIRATIME: u64 = 0x80;
/// Ids are mapped by a user namespace.
pub const IDMAP: u64 = 0x10_0000;
/// Symbolic links are not followed.
pub const NOSYMFOLLOW: u64 = 0x20_0000;

/// Propagation: events go both ways.
pub const SHARED: u64 = libc::MS_SHARED;
/// Propagation: none.
pub const PRIVATE: u64 = libc::MS_PRIVATE;
/// Propagation: events come in.
pub const SLAVE: u64 = libc::MS_SLAVE;
/// Propagation: none, and the mount can't be bound elsewhere.
pub const UNBINDABLE: u64 = libc::MS_UNBINDABLE;

/// What [`set_attributes`] changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear, before those are set.
    pub clear: u64,
    /// Propagation, or 0.
    pub propagation: u64,
    /// The user namespace for `IDMAP`.
    pub user_namespace: Option<BorrowedFd<'a>>,
}

/// Changes the attributes of the mount behind `mount`, and of all below it if `recursive`.
pub fn set_attributes(mount: BorrowedFd<'_>, attributes: &Attributes<'_>, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attr = MountAttr {
        set: attributes.set,
        clear: attributes.clear,
        propagation: attributes.propagation,
        user_namespace: attributes.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is static and `attr` has the layout and size of the kernel's first mount_attr.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
