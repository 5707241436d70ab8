//! Mounts of the document, one after the other, each made detached, given its attributes, and attached by descriptor.

use super::copyup;
use super::tree::{self, Root};
use crate::context::Context;
use crate::plan::mounts::allowed_over_proc;
use crate::plan::{MountPlan, Source};
use dhow_cgroup::GroupMount;
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_sys::path::Kind;
use dhow_sys::procfs;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{FileType, Mode, OFlags, fstat, fstatfs, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Mounts that later steps need.
#[derive(Default)]
pub(crate) struct Kept {
    /// At `/dev/pts`.
    pub devpts: Option<OwnedFd>,
    /// At `/dev`, made by us.
    pub dev: Option<OwnedFd>,
    /// The kernel's own file systems, by where they were put: what is to be hidden in them is found from these, not
    /// by names that somebody who shares the tree may change meanwhile (2019-19921).
    pub kernel: Vec<(PathBuf, OwnedFd)>,
}

/// Makes `plan`, from `prepared` if the parent has it opened already.
pub(crate) fn make(
    root: &Root,
    plan: &MountPlan,
    prepared: Option<OwnedFd>,
    cgroup: &[GroupMount],
    kept: &mut Kept,
) -> Result<()> {
    let result = match &plan.source {
        Source::Bind { path, tree } => bind(root, plan, prepared, path, *tree, kept),
        Source::Fs { kind, device } => file_system(root, plan, kind, device.as_deref(), kept),
        Source::Cgroup => control_groups(root, plan, cgroup),
    };
    result.with_context(|| format!("mount {}", plan.destination.display()))
}

/// Opens the source of a bind mount, detached.
pub(crate) fn open_source(path: &Path, tree: bool) -> Result<OwnedFd> {
    tree::copy_of_path(path, tree).map_err(|e| {
        let error = Error::from(std::io::Error::from(e)).prefixed(format!("source {}", path.display()));
        if e == Errno::NOENT { error.with_kind(ErrorKind::NotFound) } else { error }
    })
}

fn bind(
    root: &Root,
    plan: &MountPlan,
    prepared: Option<OwnedFd>,
    path: &Path,
    tree: bool,
    kept: &mut Kept,
) -> Result<()> {
    let source = match prepared {
        Some(fd) => fd,
        None => open_source(path, tree)?,
    };
    let is_dir = FileType::from_raw_mode(fstat(&source).context("look at the source")?.st_mode) == FileType::Directory;
    let on_proc = plan.destination == Path::new("/proc");
    if on_proc && fstatfs(&source).context("look at the source")?.f_type as u64 != procfs::MAGIC {
        return Err(Error::invalid("only a procfs may be mounted there"));
    }
    let kind = if is_dir { Kind::Dir } else { Kind::File };
    let (target, _) = root.target(&plan.destination, kind, on_proc)?;
    finish(plan, source.as_fd(), target.as_fd(), true)?;
    if on_proc || plan.destination == Path::new("/sys") {
        kept.kernel.push((plan.destination.clone(), source));
    }
    Ok(())
}

/// Attributes, attachment, propagation.
fn finish(plan: &MountPlan, mount: BorrowedFd<'_>, target: BorrowedFd<'_>, bound: bool) -> Result<()> {
    let o = &plan.options;
    if plan.destination != Path::new("/proc")
        && fstatfs(target).context("look at the mount point")?.f_type as u64 == procfs::MAGIC
        && !allowed_over_proc(&plan.destination)
    {
        return Err(Error::invalid("the mount point lies inside a procfs"));
    }
    if bound && (o.set | o.clear) != 0 {
        let attributes = Attributes { set: o.set, clear: o.clear, ..Attributes::default() };
        set_attributes(mount, &attributes, false).context("set its attributes")?;
    }
    if (o.set_tree | o.clear_tree) != 0 {
        let attributes = Attributes { set: o.set_tree, clear: o.clear_tree, ..Attributes::default() };
        set_attributes(mount, &attributes, true).context("set the attributes of its tree")?;
    }
    tree::attach(mount, target).context("attach it")?;
    for (propagation, tree) in &o.propagation {
        let attributes = Attributes { propagation: *propagation, ..Attributes::default() };
        set_attributes(mount, &attributes, *tree).context("set its propagation")?;
    }
    Ok(())
}

/// A fresh mount, detached, with the attributes of `plan`.
fn fresh(plan: &MountPlan, kind: &str, device: Option<&str>, mode: Option<u32>) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| match e {
        Errno::NODEV => Error::new(ErrorKind::Unavailable, format!("this kernel has no file system {kind:?}")),
        e => Error::from(std::io::Error::from(e)).prefixed(format!("file system {kind}")),
    })?;
    let fail = |key: &str, e: Errno| tree::fs_error(context.as_fd(), e).prefixed(format!("{kind}: {key}"));
    if let Some(device) = device.filter(|d| !d.is_empty()) {
        fsconfig_set_string(context.as_fd(), "source", device).map_err(|e| fail("source", e))?;
    }
    for flag in &plan.options.flags {
        fsconfig_set_flag(context.as_fd(), *flag).map_err(|e| fail(flag, e))?;
    }
    for (key, value) in &plan.options.data {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str()),
            None => fsconfig_set_flag(context.as_fd(), key.as_str()),
        }
        .map_err(|e| fail(key, e))?;
    }
    if let Some(mode) = mode {
        fsconfig_set_string(context.as_fd(), "mode", format!("{mode:o}")).map_err(|e| fail("mode", e))?;
    }
    fsconfig_create(context.as_fd()).map_err(|e| fail("create", e))?;
    let attributes = MountAttrFlags::from_bits_retain(plan.options.set as u32);
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|e| fail("mount", e))
}

fn file_system(root: &Root, plan: &MountPlan, kind: &str, device: Option<&str>, kept: &mut Kept) -> Result<()> {
    // A link in the place of one of these is an attack (2019-19921, 2023-28642), never a layout.
    let plain = matches!(kind, "proc" | "sysfs") || plan.destination.starts_with("/dev");
    let (target, existed) = root.target(&plan.destination, Kind::Dir, plain)?;
    // As runc: a tmpfs looks like the directory it covers, unless it is told otherwise.
    let mode = match existed && kind == "tmpfs" && !plan.options.has_data("mode") {
        true => Some(fstat(&target).context("look at the mount point")?.st_mode & 0o7777),
        false => None,
    };
    if plan.options.copy_up {
        // The copy has to be made while the tmpfs can be written, so read-only comes after it.
        let mut writable = plan.clone();
        writable.options.set &= !attr::RDONLY;
        let mount = fresh(&writable, kind, device, mode)?;
        copyup::copy(target.as_fd(), mount.as_fd()).context("fill it with the image's content")?;
        return finish(plan, mount.as_fd(), target.as_fd(), true);
    }
    let mount = fresh(plan, kind, device, mode)?;
    finish(plan, mount.as_fd(), target.as_fd(), false)?;
    match plan.destination.to_str() {
        Some("/dev/pts") if kind == "devpts" => kept.devpts = Some(mount),
        Some("/dev") => kept.dev = Some(mount),
        _ if matches!(kind, "proc" | "sysfs") => kept.kernel.push((plan.destination.clone(), mount)),
        _ => {}
    }
    Ok(())
}

/// The container's own groups: the directory of its group in each hierarchy, bound. In a cgroup namespace this is the
/// same as a fresh mount of the hierarchy, whose root the group is, at a third of the system calls.
fn control_groups(root: &Root, plan: &MountPlan, cgroup: &[GroupMount]) -> Result<()> {
    let (target, _) = root.target(&plan.destination, Kind::Dir, false)?;
    let bound = |dir: &Path, target: BorrowedFd<'_>| -> Result<()> {
        let mount = open_source(dir, false)?;
        let attributes = Attributes { set: plan.options.set, clear: plan.options.clear, ..Attributes::default() };
        if (attributes.set | attributes.clear) != 0 {
            set_attributes(mount.as_fd(), &attributes, false).context("set its attributes")?;
        }
        tree::attach(mount.as_fd(), target).context("attach it")
    };
    let (unified, v1): (Vec<_>, Vec<_>) = cgroup.iter().partition(|m| matches!(m, GroupMount::Unified { .. }));
    if let Some(GroupMount::Unified { dir }) = unified.first() {
        return bound(dir, target.as_fd());
    }
    if v1.is_empty() {
        let mount = fresh(plan, "cgroup2", None, None)?;
        return finish(plan, mount.as_fd(), target.as_fd(), false);
    }
    let mut top = plan.clone();
    top.options.set &= !attr::RDONLY;
    top.options.data = vec![("mode".into(), Some("755".into()))];
    let tmpfs = fresh(&top, "tmpfs", Some("cgroup"), None)?;
    tree::attach(tmpfs.as_fd(), target.as_fd()).context("attach it")?;
    for hierarchy in v1 {
        let GroupMount::V1 { name, dir, links, .. } = hierarchy else { continue };
        mkdirat(&tmpfs, name.as_str(), Mode::from_bits_truncate(0o755)).with_context(|| format!("make {name}"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let place = openat(&tmpfs, name.as_str(), flags, Mode::empty()).with_context(|| format!("open {name}"))?;
        bound(dir, place.as_fd()).with_context(|| format!("hierarchy {name}"))?;
        for link in links {
            symlinkat(name.as_str(), &tmpfs, link.as_str()).with_context(|| format!("link {link}"))?;
        }
    }
    if plan.options.set & attr::RDONLY != 0 {
        let ro = Attributes { set: attr::RDONLY, ..Attributes::default() };
        set_attributes(tmpfs.as_fd(), &ro, false).context("make it read-only")?;
    }
    for (propagation, tree) in &plan.options.propagation {
        let attributes = Attributes { propagation: *propagation, ..Attributes::default() };
        set_attributes(tmpfs.as_fd(), &attributes, *tree).context("set its propagation")?;
    }
    Ok(())
}
