//! Extended attributes of entries: which are kept, and how they are set by descriptor.

use super::tree::Dir;
use rustix::fs::{XattrFlags, fsetxattr, lsetxattr};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd as _};

/// overlayfs' own mark of an opaque directory.
pub(super) const OPAQUE: (&[u8], &[u8]) = (b"trusted.overlay.opaque", b"y");
/// Tells overlayfs that a directory may hold whiteouts although no layer below has it, as where an image was squashed or
/// put together by hand: else they show up as names that lead nowhere. Empty, it says nothing of an origin
/// (`ovl_get_inode` in fs/overlayfs/inode.c).
pub(super) const WHITEOUTS: (&[u8], &[u8]) = (b"trusted.overlay.origin", b"");
/// Rules that files made in a directory inherit; set last, so that this unpacking does not inherit them.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Whether an archive may set this attribute. overlayfs' own would let it reach other layers; labels of
/// security modules belong to the host, file capabilities do not.
pub(crate) fn allowed(name: &[u8]) -> bool {
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let security = name.starts_with(b"security.") && name != b"security.capability";
    !overlay && !security
}

/// Whether an attribute says nothing: the kernel stores capabilities without bytes, and then fails whoever reads them.
pub(crate) fn is_void(name: &[u8], value: &[u8]) -> bool {
    name == b"security.capability" && value.is_empty()
}

/// Sets an attribute on an open file or directory.
pub(super) fn set(fd: impl AsFd, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    if is_void(name, value) {
        return Ok(());
    }
    fsetxattr(fd, name, value, XattrFlags::empty())
}

/// Sets an attribute on what cannot be opened: a link or a node, by one component below an open directory.
pub(super) fn set_on_name(dir: &Dir, name: &[u8], key: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    if is_void(key, value) {
        return Ok(());
    }
    let mut path = format!("/proc/self/fd/{}/", dir.fd.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    lsetxattr(path, key, value, XattrFlags::empty())
}

/// Whether a failure means that this file system has no such attributes: then they are left out, as Docker does.
pub(super) fn is_unsupported(e: Errno) -> bool {
    matches!(e, Errno::OPNOTSUPP | Errno::PERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_ones() {
        for (name, want) in [
            (&b"user.mime"[..], true),
            (b"security.capability", true),
            (b"trusted.x", true),
            (b"system.posix_acl_access", true),
            (b"security.selinux", false),
            (b"security.ima", false),
            (b"trusted.overlay.opaque", false),
            (b"trusted.overlay.redirect", false),
            (b"user.overlay.metacopy", false),
        ] {
            assert_eq!(allowed(name), want, "{}", String::from_utf8_lossy(name));
        }
    }
}
