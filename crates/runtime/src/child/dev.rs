//! The container's `/dev`: nodes, links, and the console.
//!
//! Everything is made relative to the descriptor of a `/dev` that was reached without following a link (2026-41579).

use super::mounts::Kept;
use super::tree::{self, Root};
use crate::context::Context;
use crate::spec::{ConsoleSize, Device};
use dhow_sys::path::{self, Kind};
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, fstatfs, mknodat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// The nodes that the runtime specification wants ("Default Devices").
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links ("Default symlinks", Linux).
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes nodes and links. `mknod_works` is false in a user namespace: the host's nodes are bound then.
pub(crate) fn populate(root: &Root, devices: &[Device], kept: &mut Kept, mknod_works: bool) -> Result<()> {
    let dev = open_dev(root, kept)?;
    for (name, major, minor) in NODES {
        if devices.iter().any(|d| d.path.strip_prefix("/dev/") == Some(name)) {
            continue;
        }
        let node = Node { kind: FileType::CharacterDevice, device: rustix::fs::makedev(major, minor), mode: 0o666 };
        node.make(dev.as_fd(), name, &format!("/dev/{name}"), mknod_works)?;
    }
    for device in devices {
        let path = Path::new(&device.path);
        let what = || format!("device {}", device.path);
        // The parent may be reached over a link inside the container's tree only outside of /dev.
        let parent = path.parent().unwrap_or(Path::new("/"));
        let ensure = if parent.starts_with("/dev") { path::ensure_plain } else { path::ensure };
        let parent = ensure(root.mount.as_fd(), parent, Kind::Dir, 0o755).with_context(what)?;
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| Error::invalid(what()))?;
        let kind = match device.kind.as_str() {
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            _ => FileType::CharacterDevice,
        };
        let (major, minor) = (device.major.unwrap_or(0) as u32, device.minor.unwrap_or(0) as u32);
        let device_number = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(major, minor) };
        let mode = device.file_mode.unwrap_or(0o666) & 0o7777;
        Node { kind, device: device_number, mode }.make(parent.as_fd(), name, &device.path, mknod_works)?;
        if mknod_works && (device.uid.unwrap_or(0), device.gid.unwrap_or(0)) != (0, 0) {
            let (uid, gid) = (device.uid.map(Uid::from_raw), device.gid.map(Gid::from_raw));
            chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).with_context(what)?;
        }
    }
    for (name, target) in LINKS {
        link(dev.as_fd(), name, target)?;
    }
    if path::open_plain(root.mount.as_fd(), Path::new("/proc/kcore"), OFlags::PATH).is_ok() {
        link(dev.as_fd(), "core", "/proc/kcore")?;
    }
    // A node there would belong to another devpts instance.
    match unlinkat(&dev, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e).context("replace /dev/ptmx"),
    }
    link(dev.as_fd(), "ptmx", "pts/ptmx")
}

fn open_dev(root: &Root, kept: &mut Kept) -> Result<OwnedFd> {
    if let Some(dev) = kept.dev.take() {
        return Ok(dev);
    }
    path::ensure_plain(root.mount.as_fd(), Path::new("/dev"), Kind::Dir, 0o755).map_err(|e| {
        let link = e.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        let e = Error::from(e).prefixed("/dev");
        if link { Error::invalid(format!("{} (it is a symbolic link in the image)", e.text())) } else { e }
    })
}

fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<()> {
    match symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("link /dev/{name}")),
    }
}

struct Node {
    kind: FileType,
    device: u64,
    mode: u32,
}

impl Node {
    /// Makes the node. One that is there already is kept if it is what we want, and replaced otherwise: an image must
    /// not decide what `/dev/null` is.
    fn make(&self, dir: BorrowedFd<'_>, name: &str, path: &str, mknod_works: bool) -> Result<()> {
        let what = || format!("make the device {path}");
        if !mknod_works && self.kind != FileType::Fifo {
            return self.bind(dir, name, path).with_context(what);
        }
        let mknod = || mknodat(dir, name, self.kind, Mode::from_raw_mode(self.mode), self.device);
        match mknod() {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).with_context(what)?;
                if FileType::from_raw_mode(stat.st_mode) == self.kind && stat.st_rdev == self.device {
                    return Ok(());
                }
                unlinkat(dir, name, AtFlags::empty()).with_context(what)?;
                mknod().with_context(what)
            }
            Err(Errno::PERM) => self.bind(dir, name, path).with_context(what),
            Err(e) => Err(e).with_context(what),
        }
    }

    fn bind(&self, dir: BorrowedFd<'_>, name: &str, path: &str) -> Result<()> {
        let source = tree::copy_of_path(Path::new(path), false).context("the host's node")?;
        let stat = fstat(&source).context("the host's node")?;
        if FileType::from_raw_mode(stat.st_mode) != self.kind || stat.st_rdev != self.device {
            return Err(Error::invalid("the host has another device at this path, and nodes can't be made here"));
        }
        let target = path::ensure_plain(dir, Path::new(name), Kind::File, 0o644)?;
        tree::attach(source.as_fd(), target.as_fd()).context("bind the host's node")
    }
}

/// A terminal of the container's own devpts: master, slave.
pub(crate) fn open_pty(devpts: BorrowedFd<'_>, size: Option<ConsoleSize>) -> Result<(OwnedFd, OwnedFd)> {
    if fstatfs(devpts).context("look at /dev/pts")?.f_type as u64 != DEVPTS_MAGIC {
        return Err(Error::invalid("a terminal needs a devpts at /dev/pts"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = openat(devpts, "ptmx", flags, Mode::empty()).context("open a terminal in /dev/pts/ptmx")?;
    unlockpt(&master).context("unlock the terminal")?;
    // By the master, not by the slave's name, which could be made to mean another file (2025-52565).
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).context("open the terminal's other side")?;
    if let Some(size) = size.filter(|s| (s.width, s.height) != (0, 0)) {
        let size = rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).context("set the terminal's size")?;
    }
    Ok((master, slave))
}

/// Makes `/dev/console` the terminal.
pub(crate) fn mount_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let what = "make /dev/console";
    let target = match path::ensure_plain(root.mount.as_fd(), Path::new("/dev/console"), Kind::File, 0o600) {
        // Whatever stands in its place in an image is not what we mount on.
        Err(e) if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(Error::new(ErrorKind::InvalidParameter, "/dev/console is a symbolic link in the image"));
        }
        result => result.context(what)?,
    };
    let mount = tree::copy_of(slave, false).context(what)?;
    tree::attach(mount.as_fd(), target.as_fd()).context(what)
}
