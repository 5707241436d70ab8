//! The container's root as a tree of mounts: attached by descriptor, entered by `pivot_root`.
//!
//! R1: the root and every mount point are descriptors; no path of the container is ever resolved from the host's
//! root. Mount points are found and made inside the root by `dhow_sys::path`.

use crate::context::Context;
use crate::launch::{Overlay, Rootfs};
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_sys::path::{self, Kind};
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags, fchmod, fstat, mkdirat, mknodat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The kernel cuts strings given to fsconfig at this length.
const MAX_FSCONFIG: usize = 255;
/// The kernel's limit on lower layers.
const MAX_LAYERS: usize = 500;
/// The kernel's limit on mount(2)'s data.
const MAX_MOUNT_DATA: usize = 4095;
/// Said always, since their defaults are parameters of the kernel's module: what a container changes must be a plain
/// layer, whole files under their own names, that can be committed and read anywhere; and no attribute in a layer may
/// lead to another place (Documentation/filesystems/overlayfs.rst, "Renaming directories", "Metadata only copy up").
const PLAIN: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Attaches the detached mount `mount` at `target`.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

/// A detached copy of the mount (tree) that `fd` stands in, rooted at `fd`.
pub(crate) fn copy_of(fd: BorrowedFd<'_>, tree: bool) -> rustix::io::Result<OwnedFd> {
    open_tree(fd, c"", clone_flags(tree) | OpenTreeFlags::AT_EMPTY_PATH)
}

/// A detached copy of what is at `path` on the host.
pub(crate) fn copy_of_path(path: &Path, tree: bool) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, clone_flags(tree))
}

fn clone_flags(tree: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if tree { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// What a file system says about a failed configuration, in its own words if it has any.
pub(crate) fn fs_error(context: BorrowedFd<'_>, error: Errno) -> Error {
    let mut text = [0; 512];
    let said = rustix::io::read(context, &mut text).unwrap_or(0);
    let said = String::from_utf8_lossy(&text[..said]);
    // "e overlay: Unrecognized mount option": a letter for the level, then the words.
    let said = said.trim().trim_start_matches(|c: char| c.is_ascii_lowercase()).trim();
    let plain = Error::from(std::io::Error::from(error));
    if said.is_empty() { plain } else { Error::new(plain.kind(), format!("{} ({said})", plain.text())) }
}

/// A small private tmpfs under the container's root, out of its reach: the sources of what hides paths, and of
/// `--init`'s program. Copies of its parts are attached in the container; it goes with the host's tree.
pub(crate) struct Stash(OwnedFd);

impl Stash {
    /// Makes it and lays it over the old root, where the container's root will lie over it.
    pub(crate) fn new() -> Result<Self> {
        let what = "make a private tmpfs";
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).context(what)?;
        fsconfig_set_string(context.as_fd(), "mode", "0700").context(what)?;
        fsconfig_create(context.as_fd()).context(what)?;
        let mount =
            fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOSUID).context(what)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(mount.as_fd(), c"", CWD, c"/", flags).context(what)?;
        Ok(Self(mount))
    }

    /// An empty directory to mount on.
    fn dir(&self, name: &str) -> Result<OwnedFd> {
        mkdirat(&self.0, name, Mode::from_bits_truncate(0o555)).context("make an empty directory")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name, flags, Mode::empty()).context("open an empty directory")
    }

    /// What files are hidden with: a null device of our own making, or the host's where nodes can't be made.
    pub(crate) fn null(&self) -> Result<OwnedFd> {
        let device = rustix::fs::makedev(1, 3);
        match mknodat(&self.0, "null", FileType::CharacterDevice, Mode::from_bits_truncate(0o666), device) {
            Ok(()) => openat(&self.0, "null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                .context("open our null device"),
            Err(Errno::PERM) => {
                let host =
                    rustix::fs::open("/dev/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                        .context("open the host's /dev/null")?;
                let stat = fstat(&host).context("look at the host's /dev/null")?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != device {
                    return Err(Error::system("the host's /dev/null is not the null device (char 1:3)"));
                }
                Ok(host)
            }
            Err(e) => Err(e).context("make a null device"),
        }
    }

    /// What directories are hidden with.
    pub(crate) fn empty(&self) -> Result<OwnedFd> {
        self.dir("empty")
    }

    /// A program that only the container may read and run.
    pub(crate) fn program(&self, bytes: &[u8]) -> Result<OwnedFd> {
        let what = "write the init program";
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.0, "init", flags, Mode::from_bits_truncate(0o555)).context(what)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest).context(what)?;
            rest = &rest[n..];
        }
        fchmod(&file, Mode::from_bits_truncate(0o555)).context(what)?;
        openat(&self.0, "init", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).context(what)
    }
}

/// The root's mount, detached where the kernel allows; `attached` if it already lies in the tree.
pub(crate) struct Root {
    pub(crate) mount: OwnedFd,
    attached: bool,
}

impl Root {
    /// Makes it. `stash` is made when an old kernel needs a place for an overlay.
    pub(crate) fn new(rootfs: &Rootfs<'_>, stash: &mut Option<Stash>) -> Result<Self> {
        match rootfs {
            Rootfs::Dir(dir) => {
                let mount = copy_of_path(dir, true).map_err(|e| root_error(dir, e))?;
                let kind = FileType::from_raw_mode(fstat(&mount).context("look at the root")?.st_mode);
                if kind != FileType::Directory {
                    return Err(Error::invalid(format!("the root {} is not a directory", dir.display())));
                }
                Ok(Self { mount, attached: false })
            }
            Rootfs::Overlay(overlay) => Self::overlay(overlay, stash),
        }
    }

    /// A root that somebody else opened.
    pub(crate) fn opened(mount: OwnedFd) -> Self {
        Self { mount, attached: false }
    }

    fn overlay(o: &Overlay, stash: &mut Option<Stash>) -> Result<Self> {
        if o.lower.is_empty() || o.lower.len() > MAX_LAYERS {
            return Err(Error::invalid(format!("an overlay of {} layers; 1 to {MAX_LAYERS} work", o.lower.len())));
        }
        let what = || format!("mount the overlay of {} layers at {}", o.lower.len(), o.upper.display());
        // Long paths are given through a descriptor; it must live until the mount is made.
        let mut held = Vec::new();
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| {
            let e = Error::from(std::io::Error::from(e));
            e.prefixed("overlayfs (is the kernel's module overlay loaded?)")
        })?;
        let fail = |e: Errno| fs_error(context.as_fd(), e).prefixed(what());
        for lower in &o.lower {
            match fsconfig_set_string(context.as_fd(), "lowerdir+", short(lower, &mut held)?.as_path()) {
                Err(Errno::INVAL) if held.len() < o.lower.len() => {
                    drop(context);
                    return Self::old_overlay(o, stash);
                }
                result => result.map_err(fail)?,
            }
        }
        for (key, value) in PLAIN {
            fsconfig_set_string(context.as_fd(), key, value).map_err(fail)?;
        }
        if !o.readonly {
            for (key, dir) in [("upperdir", &o.upper), ("workdir", &o.work)] {
                fsconfig_set_string(context.as_fd(), key, short(dir, &mut held)?.as_path()).map_err(fail)?;
            }
            if o.volatile {
                fsconfig_set_flag(context.as_fd(), "volatile").map_err(fail)?;
            }
        }
        match fsconfig_create(context.as_fd()) {
            // Before 6.5 overlayfs takes any option when it is set, and looks at it only now.
            Err(Errno::INVAL) => {
                let error = fail(Errno::INVAL);
                return Self::old_overlay(o, stash).map_err(|_| error);
            }
            result => result.map_err(fail)?,
        }
        let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(fail)?;
        Ok(Self { mount, attached: false })
    }

    /// Kernels before 6.8: one string of all lower directories, by mount(2). Each is named by the number of a
    /// descriptor, seen from `/proc/self/fd`, so that many fit.
    fn old_overlay(o: &Overlay, stash: &mut Option<Stash>) -> Result<Self> {
        let what = || format!("mount the overlay of {} layers at {}", o.lower.len(), o.upper.display());
        let stash = match stash {
            Some(stash) => stash,
            none => none.insert(Stash::new()?),
        };
        let target = stash.dir("root")?;
        let open = |dir: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(dir, flags, Mode::empty()).with_context(|| format!("open the layer {}", dir.display()))
        };
        let lower = o.lower.iter().map(|dir| open(dir)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        let mut data = format!("lowerdir={}", names.join(":"));
        for (key, value) in PLAIN {
            data.push_str(&format!(",{key}={value}"));
        }
        let mut held = Vec::new();
        if !o.readonly {
            for (key, dir) in [("upperdir", &o.upper), ("workdir", &o.work)] {
                let fd = open(dir)?;
                data.push_str(&format!(",{key}={}", fd.as_raw_fd()));
                held.push(fd);
            }
            if o.volatile {
                data.push_str(",volatile");
            }
        }
        if data.len() > MAX_MOUNT_DATA {
            return Err(Error::new(ErrorKind::Exhausted, "too many layers for this kernel's overlayfs (before 6.8)")
                .prefixed(what()));
        }
        let data = std::ffi::CString::new(data).map_err(|_| Error::invalid("an overlay path has a NUL byte"))?;
        let here = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context("open the cwd")?;
        rustix::process::chdir("/proc/self/fd").context("enter /proc/self/fd")?;
        let place = target.as_raw_fd().to_string();
        rustix::mount::mount("overlay", place.as_str(), "overlay", rustix::mount::MountFlags::empty(), &*data)
            .with_context(what)?;
        rustix::process::fchdir(&here).context("go back to the cwd")?;
        let mount = openat(&stash.0, "root", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(what)?;
        Ok(Self { mount, attached: true })
    }

    /// Lays it over the old root. From here on it can be mounted on.
    pub(crate) fn attach(&mut self) -> Result<()> {
        if !self.attached {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(self.mount.as_fd(), c"", CWD, c"/", flags).context("attach the container's root")?;
            self.attached = true;
        }
        Ok(())
    }

    /// Makes it `/`, and lets go of everything else. The old root is detached with all that was mounted in it.
    /// `stashed`: a [`Stash`] lies over the old root.
    pub(crate) fn enter(&self, no_pivot: bool, stashed: bool) -> Result<()> {
        rustix::process::fchdir(&self.mount).context("enter the container's root")?;
        if no_pivot {
            return rustix::process::chroot(c".").context("change the root");
        }
        rustix::process::pivot_root(c".", c".").context("pivot_root to the container's root")?;
        // The old root lies over the new one now, with the stash over it, and `.` finds what lies on top: exactly as
        // often as there is something of the host's, or the container's own root would go too.
        for _ in 0..1 + usize::from(stashed) {
            unmount(c".", UnmountFlags::DETACH).context("let go of the host's tree")?;
        }
        rustix::process::chdir(c"/").context("enter the container's root")
    }

    /// Finds the mount point `destination`, or makes it. Says whether it was there.
    pub(crate) fn target(&self, destination: &Path, kind: Kind, plain: bool) -> Result<(OwnedFd, bool)> {
        let root = self.mount.as_fd();
        let open = if plain { path::open_plain } else { path::open };
        let found = match open(root, destination, OFlags::PATH) {
            Ok(fd) => Ok((fd, true)),
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                let ensure = if plain { path::ensure_plain } else { path::ensure };
                ensure(root, destination, kind, 0o755).map(|fd| (fd, false))
            }
            Err(e) => Err(e),
        };
        found.map_err(|e| {
            let plain_only = plain && e.raw_os_error() == Some(Errno::LOOP.raw_os_error());
            let e = Error::from(e).prefixed(format!("mount point {}", destination.display()));
            if plain_only { Error::invalid(format!("{} (a symbolic link is not accepted there)", e.text())) } else { e }
        })
    }

    /// Propagation and read-only state of the root itself, last of all.
    pub(crate) fn seal(&self, propagation: Option<(u64, bool)>, readonly: bool) -> Result<()> {
        if readonly {
            let ro = Attributes { set: attr::RDONLY, ..Attributes::default() };
            set_attributes(self.mount.as_fd(), &ro, false).context("make the root read-only")?;
        }
        if let Some((propagation, tree)) = propagation {
            let p = Attributes { propagation, ..Attributes::default() };
            set_attributes(self.mount.as_fd(), &p, tree).context("set linux.rootfsPropagation")?;
        }
        Ok(())
    }
}

fn root_error(dir: &Path, e: Errno) -> Error {
    let error = Error::from(std::io::Error::from(e)).prefixed(format!("the root {}", dir.display()));
    if e == Errno::NOENT { error.with_kind(ErrorKind::NotFound) } else { error }
}

/// `path`, or a name for it that fsconfig can take.
fn short(path: &Path, held: &mut Vec<OwnedFd>) -> Result<std::path::PathBuf> {
    if path.as_os_str().len() <= MAX_FSCONFIG {
        return Ok(path.to_owned());
    }
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open {}", path.display()))?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd()).into();
    held.push(fd);
    Ok(name)
}

/// The propagation that the new mount namespace starts with. In a tree that stays shared at least the mount the root
/// is laid over becomes private, or pivot_root would be refused and the host would see the root appear.
pub(crate) fn isolate(propagation: u64) -> Result<()> {
    let what = "set the propagation of the mount namespace";
    let top = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context(what)?;
    let (propagation, tree) = if propagation == 0 { (attr::PRIVATE, false) } else { (propagation, true) };
    set_attributes(top.as_fd(), &Attributes { propagation, ..Attributes::default() }, tree).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_sys::clone;
    use std::path::PathBuf;

    /// Layers, upper and work directory under a directory of the test's own, gone afterwards. `body` runs in a thread
    /// with a mount namespace of its own.
    fn with_layers(name: &str, body: impl FnOnce(Overlay) + Send) {
        let dir = std::env::temp_dir().join(format!("dhow-tree-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        // One of them longer than what fsconfig takes.
        let long: PathBuf = std::iter::repeat_n("long-name-of-a-directory", 12).collect();
        let overlay = Overlay {
            lower: vec![dir.join(long), dir.join("b:c,d"), dir.join("e")],
            upper: dir.join("upper"),
            work: dir.join("work"),
            volatile: true,
            readonly: false,
        };
        for (number, layer) in overlay.lower.iter().chain([&overlay.upper, &overlay.work]).enumerate() {
            std::fs::create_dir_all(layer).unwrap();
            if number < 3 {
                std::fs::write(layer.join("same"), format!("layer {number}")).unwrap();
                std::fs::write(layer.join(number.to_string()), "").unwrap();
            }
        }
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                clone::unshare(clone::NEWNS).unwrap();
                isolate(attr::PRIVATE).unwrap();
                body(overlay);
            });
            thread.join().unwrap();
        });
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn read(root: &Root, name: &str) -> String {
        let file = path::open(root.mount.as_fd(), Path::new(name), OFlags::RDONLY).unwrap();
        std::io::read_to_string(std::fs::File::from(file)).unwrap()
    }

    fn check(mut root: Root, upper: &Path) {
        root.attach().unwrap();
        assert_eq!(read(&root, "same"), "layer 0");
        for name in ["0", "1", "2"] {
            assert_eq!(read(&root, name), "");
        }
        path::ensure(root.mount.as_fd(), Path::new("new"), Kind::File, 0o600).unwrap();
        assert!(upper.join("new").exists());
    }

    #[test]
    fn overlays_by_the_new_interface() {
        with_layers("new", |o| check(Root::new(&Rootfs::Overlay(o.clone()), &mut None).unwrap(), &o.upper));
    }

    #[test]
    fn overlays_by_the_old_interface() {
        with_layers("old", |o| {
            let mut stash = None;
            check(Root::old_overlay(&o, &mut stash).unwrap(), &o.upper);
        });
    }

    #[test]
    fn overlays_without_an_upper_directory_and_with_too_many_layers() {
        with_layers("ro", |o| {
            let readonly = Overlay { readonly: true, ..o.clone() };
            let mut root = Root::new(&Rootfs::Overlay(readonly), &mut None).unwrap();
            root.attach().unwrap();
            assert!(path::ensure(root.mount.as_fd(), Path::new("new"), Kind::File, 0o600).is_err());
            let many = Overlay { lower: vec![o.lower[1].clone(); MAX_LAYERS + 1], ..o };
            assert!(Root::new(&Rootfs::Overlay(many), &mut None).is_err_and(|e| e.text().contains("501 layers")));
        });
    }
}
