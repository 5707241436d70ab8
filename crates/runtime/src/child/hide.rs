//! Masked and read-only paths, and the program of `--init`.
//!
//! 2025-31133: what hides a path never comes from the container's tree. The null device and the empty directory are
//! of our own making, outside of its reach, and are attached read-only, so that nobody can even change their modes.

use super::mounts::Kept;
use super::tree::{self, Root, Stash};
use crate::context::Context;
use crate::plan::mounts::clean;
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_sys::path::{self, Kind};
use dhow_types::Result;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Where `--init`'s program is, as with Docker.
pub(crate) const INIT_PATH: &str = "/sbin/docker-init";

/// Hides `paths`; those that do not exist need no hiding.
pub(crate) fn mask(root: &Root, kept: &Kept, stash: &Stash, paths: &[String]) -> Result<()> {
    let mut null: Option<OwnedFd> = None;
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(target) = find(root, kept, path)? else { continue };
        let what = || format!("mask {path}");
        let is_dir = FileType::from_raw_mode(fstat(&target).with_context(what)?.st_mode) == FileType::Directory;
        let source = match (is_dir, &mut null, &mut empty) {
            (true, _, Some(fd)) | (false, Some(fd), _) => fd,
            (true, _, none) => none.insert(stash.empty()?),
            (false, none, _) => none.insert(stash.null()?),
        };
        let mount = tree::copy_of(source.as_fd(), false).with_context(what)?;
        let nodev = if is_dir { attr::NODEV } else { 0 };
        let set = attr::RDONLY | attr::NOSUID | attr::NOEXEC | nodev;
        set_attributes(mount.as_fd(), &Attributes { set, ..Attributes::default() }, false).with_context(what)?;
        tree::attach(mount.as_fd(), target.as_fd()).with_context(what)?;
    }
    Ok(())
}

/// Makes `paths`, and what is mounted below them, read-only.
pub(crate) fn make_readonly(root: &Root, kept: &Kept, paths: &[String]) -> Result<()> {
    for path in paths {
        let Some(target) = find(root, kept, path)? else { continue };
        let what = || format!("make {path} read-only");
        let mount = tree::copy_of(target.as_fd(), true).with_context(what)?;
        let ro = Attributes { set: attr::RDONLY, ..Attributes::default() };
        set_attributes(mount.as_fd(), &ro, true).with_context(what)?;
        tree::attach(mount.as_fd(), target.as_fd()).with_context(what)?;
    }
    Ok(())
}

/// Finds what is to be hidden: in procfs and sysfs from their own mounts, elsewhere from the root.
fn find(root: &Root, kept: &Kept, path: &str) -> Result<Option<OwnedFd>> {
    let path = clean(path);
    let inside = kept.kernel.iter().rev().find_map(|(place, mount)| Some((mount, path.strip_prefix(place).ok()?)));
    let (from, rest) = inside.unwrap_or((&root.mount, &path));
    match path::open(from.as_fd(), rest, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if [Errno::NOENT, Errno::NOTDIR].map(|n| Some(n.raw_os_error())).contains(&e.raw_os_error()) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("hide {}", path.display())),
    }
}

/// Mounts the program of `--init`.
pub(crate) fn mount_init(root: &Root, stash: &Stash, program: &[u8]) -> Result<()> {
    let what = || format!("mount the init program at {INIT_PATH}");
    let source = stash.program(program)?;
    let (target, _) = root.target(Path::new(INIT_PATH), Kind::File, false)?;
    let mount = tree::copy_of(source.as_fd(), false).with_context(what)?;
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV;
    set_attributes(mount.as_fd(), &Attributes { set, ..Attributes::default() }, false).with_context(what)?;
    tree::attach(mount.as_fd(), target.as_fd()).with_context(what)
}
