//! The tree of one layer while it is being made: every step by descriptor, no name resolved twice.
//!
//! A symbolic link of the archive in the middle of a later name is followed inside the tree, as a chroot
//! would; the link stays. Nothing existing is ever opened for writing: what is in the way is moved
//! aside, since the recipe may need its content.

mod finish;
mod way;

use super::xattr;
use super::{Limits, Workplace};
use crate::names::{join, shown, split};
use crate::tar::Entry;
use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, chmodat, chownat, fchmod, fchown,
    futimens, linkat, major, makedev, minor, mkdirat, mknodat, openat, renameat, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

/// A directory of the tree: its descriptor and its real path, without links.
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    path: Vec<u8>,
}

/// A file that is being written.
pub(super) struct OpenFile {
    file: File,
    /// The real path of the directory it is in.
    pub(super) parent_path: Vec<u8>,
}

impl OpenFile {
    pub(super) fn set_len(&self, len: u64) -> Result<()> {
        Ok(self.file.set_len(len)?)
    }
    pub(super) fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        Ok(self.file.write_all_at(data, offset)?)
    }
}

/// Something that was in the way of a later entry.
struct Lost {
    /// Where it was.
    path: Vec<u8>,
    /// The number of file records made before.
    when: u64,
    /// Whether it lies in the directory of lost things, its index in the list being its name there.
    kept: bool,
}

/// What is done to directories when all else is done.
#[derive(Default)]
struct Late {
    path: Vec<u8>,
    mtime: (i64, u32),
    /// The whole mode, if it has a set-group-id bit, which new files would inherit.
    mode: Option<u32>,
    default_acl: Option<Vec<u8>>,
}

/// How many open directories are remembered.
const OPEN_DIRS: usize = 24;
/// How many warnings are kept.
const MAX_WARNINGS: usize = 16;

pub(super) struct Tree {
    root: Rc<Dir>,
    /// The root's path as /proc shows it, to cut from what it shows of others.
    root_path: Vec<u8>,
    /// By name as written in the archive, most recently used last.
    open: Vec<(Vec<u8>, Rc<Dir>)>,
    late: Vec<Late>,
    late_bytes: usize,
    root_mtime: Option<(i64, u32)>,
    root_late: Option<Late>,
    lost_dir: Option<OwnedFd>,
    lost: Vec<Lost>,
    now: u64,
    opaque_root: bool,
    warnings: Vec<String>,
    limits: Limits,
    /// Bits that the process takes from the mode of new files.
    umask: u32,
    /// Who new files belong to.
    owner: (u32, u32),
    lost_path: std::path::PathBuf,
}

const DIR_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn io(e: Errno) -> Error {
    std::io::Error::from(e).into()
}

impl Tree {
    /// Makes the directory of the tree and stands in it.
    pub(super) fn create(place: &Workplace, limits: &Limits) -> Result<Self> {
        std::fs::create_dir(&place.tree).with_context(|| format!("make {}", place.tree.display()))?;
        let fd = OwnedFd::from(File::open(&place.tree)?);
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        // A set-group-id bit or a group inherited from the store's parent must not reach the image.
        fchown(&fd, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1))).map_err(io)?;
        fchmod(&fd, Mode::from_raw_mode(0o755)).map_err(io)?;
        let root_path = path_of(fd.as_fd())?;
        Ok(Self {
            root: Rc::new(Dir { fd, path: Vec::new() }),
            root_path,
            open: Vec::with_capacity(OPEN_DIRS),
            late: Vec::new(),
            late_bytes: 0,
            root_mtime: None,
            root_late: None,
            lost_dir: None,
            lost: Vec::new(),
            now: 0,
            opaque_root: false,
            warnings: Vec::new(),
            limits: limits.clone(),
            umask: umask(),
            owner,
            lost_path: place.lost.clone(),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.fd.as_fd()
    }
    pub(super) fn opaque_root(&self) -> bool {
        self.opaque_root
    }
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
    /// Tells how many file records there are; what is moved aside from now on was recorded before.
    pub(super) fn set_now(&mut self, records: u64) {
        self.now = records;
    }

    // ---- entries ----

    pub(super) fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        let root = Rc::clone(&self.root);
        fchown(&root.fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))).map_err(io)?;
        fchmod(&root.fd, Mode::from_raw_mode(entry.mode & 0o5777)).map_err(io)?;
        let late = self.dir_xattrs(root.fd.as_fd(), entry)?;
        self.root_mtime = Some(entry.mtime);
        self.root_late = Some(Late { mode: with_setgid(entry.mode), default_acl: late, ..Late::default() });
        Ok(())
    }

    pub(super) fn file(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<OpenFile> {
        let dir = self.parent(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let fd = match openat(&dir.fd, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.displace(&dir, name)?;
                // What was moved aside may have been the way here.
                let dir = self.parent(parent)?;
                let fd = openat(&dir.fd, name, flags, mode).map_err(io)?;
                return Ok(OpenFile { file: fd.into(), parent_path: dir.path.clone() });
            }
            other => other.map_err(io)?,
        };
        Ok(OpenFile { file: fd.into(), parent_path: dir.path.clone() })
    }

    /// Owner, mode, attributes and times, in the order in which they do not undo each other.
    pub(super) fn finish_file(&mut self, open: OpenFile, entry: &Entry) -> Result<()> {
        let fd = open.file.as_fd();
        if (entry.uid, entry.gid) != self.owner {
            fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))).map_err(io)?;
        }
        if entry.mode & (self.umask | 0o7000) != 0 {
            fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(io)?;
        }
        for (key, value) in &entry.xattrs {
            self.attribute(key, |k| xattr::set(fd, k, value))?;
        }
        futimens(fd, &times(entry.mtime)).map_err(io)
    }

    pub(super) fn dir(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        let dir = self.parent(parent)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let mut fresh = true;
        let mut opaque = false;
        match mkdirat(&dir.fd, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
                match what(&stat) {
                    What::Dir => fresh = false,
                    other => {
                        opaque = other == What::Whiteout;
                        self.displace(&dir, name)?;
                        mkdirat(&dir.fd, name, mode).map_err(io)?;
                    }
                }
            }
            Err(e) => return Err(io(e)),
        }
        let path = join(&dir.path, name);
        self.check_depth(&path)?;
        if !fresh || (entry.uid, entry.gid) != self.owner {
            let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            chownat(&dir.fd, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        }
        let early = entry.mode & 0o5777;
        if !fresh || early & (self.umask | 0o5000) != 0 {
            // The name is a directory that was just made or looked at, and nobody else is here.
            chmodat(&dir.fd, name, Mode::from_raw_mode(early), AtFlags::empty()).map_err(io)?;
        }
        let mut default_acl = None;
        if opaque || !entry.xattrs.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&dir.fd, name, flags, Mode::empty()).map_err(io)?;
            if opaque {
                xattr::set(&fd, xattr::OPAQUE.0, xattr::OPAQUE.1).map_err(io)?;
            }
            default_acl = self.dir_xattrs(fd.as_fd(), entry)?;
        }
        self.later(Late { path, mtime: entry.mtime, mode: with_setgid(entry.mode), default_acl })
    }

    pub(super) fn symlink(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        if entry.link.is_empty() || entry.link.contains(&0) {
            return Err(Error::invalid("a symbolic link without a proper target"));
        }
        let dir = self.in_place(parent, name, |dir| symlinkat(entry.link.as_slice(), &dir.fd, name))?;
        self.finish_name(&dir, name, entry)
    }

    /// A device or a named pipe.
    pub(super) fn node(&mut self, parent: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        use crate::tar::Kind;
        let kind = match entry.kind {
            Kind::Char => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let dir = self.in_place(parent, name, |dir| mknodat(&dir.fd, name, kind, mode, device))?;
        self.finish_name(&dir, name, entry)?;
        if entry.mode & (self.umask | 0o7000) != 0 {
            chmodat(&dir.fd, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).map_err(io)?;
            utimensat(&dir.fd, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        }
        Ok(())
    }

    /// A second name for a file of this layer; `target` is clean.
    pub(super) fn hardlink(&mut self, parent: &[u8], name: &[u8], target: &[u8]) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid(format!("hard link to {}: {why}", shown(target))));
        if target.is_empty() {
            return refuse("it is the root");
        }
        let (target_parent, target_name) = split(target);
        let there = match self.existing(target_parent) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return refuse("no such file before it in this layer"),
            Err(e) => return Err(io(e)),
        };
        let stat = match statat(&there.fd, target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return refuse("no such file before it in this layer"),
            Err(e) => return Err(io(e)),
        };
        match what(&stat) {
            What::Dir => return refuse("it is a directory"),
            What::Whiteout => return refuse("it was deleted"),
            What::File | What::Other => {}
        }
        let here = self.parent(parent)?;
        if here.path == there.path && name == target_name {
            return Ok(());
        }
        match linkat(&there.fd, target_name, &here.fd, name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                let old = statat(&here.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
                if (old.st_dev, old.st_ino) == (stat.st_dev, stat.st_ino) {
                    return Ok(());
                }
                self.displace(&here, name)?;
                linkat(&there.fd, target_name, &here.fd, name, AtFlags::empty()).map_err(io)
            }
            other => other.map_err(io),
        }
    }

    /// Hides `name` of lower layers. An entry of this layer with that name stays, whichever came first.
    pub(super) fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let dir = self.parent(parent)?;
        match mknodat(&dir.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {
                let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
                if what(&stat) == What::Dir { self.make_opaque(&dir, name) } else { Ok(()) }
            }
            Ok(()) => {
                // The same archive must give the same tree, so the time cannot be now.
                utimensat(&dir.fd, name, &times((0, 0)), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
                self.mark(&dir, b".", xattr::WHITEOUTS)
            }
            Err(e) => Err(io(e)),
        }
    }

    /// Hides all that lower layers have in the directory `path`.
    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<()> {
        let dir = self.parent(path)?;
        if dir.path.is_empty() {
            // overlayfs joins the roots of all layers whatever their attributes say.
            self.opaque_root = true;
            return Ok(());
        }
        self.make_opaque(&dir, b".")
    }

    // ---- what is in the way ----

    /// Makes something at a name, moving aside what is there. Returns its directory.
    fn in_place(
        &mut self,
        parent: &[u8],
        name: &[u8],
        make: impl Fn(&Dir) -> rustix::io::Result<()>,
    ) -> Result<Rc<Dir>> {
        let dir = self.parent(parent)?;
        match make(&dir) {
            Ok(()) => Ok(dir),
            Err(Errno::EXIST) => {
                self.displace(&dir, name)?;
                let dir = self.parent(parent)?;
                make(&dir).map_err(io)?;
                Ok(dir)
            }
            Err(Errno::PERM) => Err(Error::new(
                ErrorKind::Forbidden,
                "not permitted to make a device here: the store needs root outside of user namespaces, and a file \
                 system that takes devices",
            )),
            Err(e) => Err(io(e)),
        }
    }

    /// Takes away what is at a name; content that the recipe refers to is kept until the end.
    fn displace(&mut self, dir: &Dir, name: &[u8]) -> Result<()> {
        let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        if self.lost.len() >= self.limits.displaced {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("more than {} entries replace earlier ones", self.limits.displaced),
            ));
        }
        let kept = match what(&stat) {
            What::Dir => {
                self.open.clear();
                unlinkat(&dir.fd, name, AtFlags::REMOVEDIR).is_err()
            }
            What::File => stat.st_size > 0,
            What::Whiteout | What::Other => {
                self.open.clear();
                false
            }
        };
        if kept {
            let lost = match &self.lost_dir {
                Some(fd) => fd,
                None => {
                    std::fs::create_dir(&self.lost_path)?;
                    self.lost_dir.insert(OwnedFd::from(File::open(&self.lost_path)?))
                }
            };
            renameat(&dir.fd, name, lost, self.lost.len().to_string()).map_err(io)?;
        } else if what(&stat) != What::Dir {
            unlinkat(&dir.fd, name, AtFlags::empty()).map_err(io)?;
        }
        self.lost.push(Lost { path: join(&dir.path, name), when: self.now, kept });
        Ok(())
    }

    // ---- attributes ----

    fn make_opaque(&self, dir: &Dir, name: &[u8]) -> Result<()> {
        self.mark(dir, name, xattr::OPAQUE)
    }

    /// One of overlayfs' own marks on a directory.
    fn mark(&self, dir: &Dir, name: &[u8], (key, value): (&[u8], &[u8])) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&dir.fd, name, flags, Mode::empty()).map_err(io)?;
        xattr::set(&fd, key, value)
            .map_err(io)
            .context("mark a directory for overlayfs (the store's file system must take trusted attributes)")
    }

    /// Owner, attributes and times of what cannot be opened.
    fn finish_name(&mut self, dir: &Dir, name: &[u8], entry: &Entry) -> Result<()> {
        if (entry.uid, entry.gid) != self.owner {
            let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            chownat(&dir.fd, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        }
        for (key, value) in &entry.xattrs {
            self.attribute(key, |k| xattr::set_on_name(dir, name, k, value))?;
        }
        utimensat(&dir.fd, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(io)
    }

    /// Attributes of a directory; what its files would inherit is returned for the end.
    fn dir_xattrs(&mut self, fd: BorrowedFd<'_>, entry: &Entry) -> Result<Option<Vec<u8>>> {
        let mut default_acl = None;
        for (key, value) in &entry.xattrs {
            if key == xattr::DEFAULT_ACL {
                default_acl = Some(value.clone());
            } else {
                self.attribute(key, |k| xattr::set(fd, k, value))?;
            }
        }
        Ok(default_acl)
    }

    fn attribute(&mut self, key: &[u8], set: impl FnOnce(&[u8]) -> rustix::io::Result<()>) -> Result<()> {
        if !xattr::allowed(key) {
            return Ok(());
        }
        match set(key) {
            Ok(()) => Ok(()),
            Err(e) if xattr::is_unsupported(e) => {
                let text = format!("attribute {} left out: the file system does not take it", shown(key));
                if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&text) {
                    self.warnings.push(text);
                }
                Ok(())
            }
            Err(e) => Err(io(e)).with_context(|| format!("attribute {}", shown(key))),
        }
    }

    fn later(&mut self, late: Late) -> Result<()> {
        self.late_bytes += late.path.len() + size_of::<Late>();
        if self.late_bytes > self.limits.directory_bytes {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("names of directories need more than {} bytes", self.limits.directory_bytes),
            ));
        }
        self.late.push(late);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Dir,
    File,
    Whiteout,
    Other,
}

fn what(stat: &Stat) -> What {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => What::Dir,
        FileType::RegularFile => What::File,
        FileType::CharacterDevice if (major(stat.st_rdev), minor(stat.st_rdev)) == (0, 0) => What::Whiteout,
        _ => What::Other,
    }
}

fn with_setgid(mode: u32) -> Option<u32> {
    (mode & 0o2000 != 0).then_some(mode)
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let t = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: t, last_modification: t }
}

/// The path /proc shows for a descriptor.
fn path_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
    Ok(std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?.into_os_string().into_vec())
}

/// The process's file mode mask. It can only be asked for without changing it through /proc; if that
/// fails, all bits count as masked and every mode is set a second time.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|l| l.strip_prefix("Umask:"))
        .and_then(|v| u32::from_str_radix(v.trim(), 8).ok())
        .unwrap_or(0o777)
}
