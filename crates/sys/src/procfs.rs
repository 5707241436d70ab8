//! procfs as the kernel made it: opened by descriptor, never through a mount that somebody else could have covered.
//!
//! R2: every write to procfs goes through a [`Procfs`]: the file system type is checked, no other mount is
//! crossed on the way, and neither are magic links followed.

use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `PROC_SUPER_MAGIC`.
pub const MAGIC: u64 = 0x9fa0;

/// A procfs mount, held by its root.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// A mount of this process's pid namespace that no path leads to. `pids_only` leaves out all but the process
    /// directories (`subset=pid`), where the kernel can (5.8).
    pub fn private(pids_only: bool) -> io::Result<Self> {
        let make = |subset: bool| -> rustix::io::Result<OwnedFd> {
            let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            if subset {
                fsconfig_set_string(context.as_fd(), "subset", "pid")?;
            }
            fsconfig_create(context.as_fd())?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        };
        let fd = match make(pids_only) {
            Err(Errno::INVAL) if pids_only => make(false)?,
            result => result?,
        };
        Self::from_mount(fd)
    }

    /// The host's `/proc`, for a process that has never left the host's mount namespace.
    pub fn host() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Self::from_mount(rustix::fs::open("/proc", flags, Mode::empty())?)
    }

    /// Takes the root of a mount that the caller made or trusts, after checking its type.
    pub fn from_mount(root: OwnedFd) -> io::Result<Self> {
        if fstatfs(&root)?.f_type as u64 != MAGIC {
            return Err(io::Error::other("not a procfs"));
        }
        Ok(Self(root))
    }

    /// Opens `path` (relative), on this very mount.
    pub fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let fd = openat2(&self.0, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), resolve)?;
        if fstatfs(&fd)?.f_type as u64 != MAGIC {
            return Err(io::Error::from(Errno::XDEV));
        }
        Ok(fd)
    }

    /// Writes `value` to `path` in one call.
    pub fn write(&self, path: &str, value: &[u8]) -> io::Result<()> {
        let fd = self.open(path, OFlags::WRONLY)?;
        match rustix::io::write(&fd, value)? {
            n if n == value.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)),
        }
    }

    /// Reads all of `path`, up to `limit` bytes.
    pub fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let fd = self.open(path, OFlags::RDONLY)?;
        let mut all = vec![0; limit];
        let mut filled = 0;
        while filled < limit {
            match rustix::io::read(&fd, &mut all[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        all.truncate(filled);
        Ok(all)
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_status_and_refuses_what_leads_away() {
        let host = Procfs::host().unwrap();
        assert!(String::from_utf8(host.read("self/status", 1 << 16).unwrap()).unwrap().contains("Pid:"));
        assert!(host.open("self/root", OFlags::PATH).is_ok(), "the link itself may be named");
        assert!(host.open("self/root/etc/passwd", OFlags::RDONLY).is_err());
        assert!(host.open("../etc/passwd", OFlags::RDONLY).is_err());
        assert!(host.open("self/cwd/x", OFlags::RDONLY).is_err());
    }

    #[test]
    fn only_a_procfs_is_taken() {
        let dir = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(Procfs::from_mount(dir).is_err());
    }

    #[test]
    fn a_private_mount_works_without_a_path() {
        let private = Procfs::private(true).unwrap();
        assert!(private.read("self/status", 4096).unwrap().starts_with(b"Name:"));
    }
}
