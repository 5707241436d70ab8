//! Id maps: of the container's user namespace, and of id-mapped mounts.

use crate::context::Context;
use crate::plan::options::IdMap;
use dhow_sys::clone;
use dhow_sys::mount::{self as attr, Attributes, set_attributes};
use dhow_sys::procfs::Procfs;
use dhow_types::Result;
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Writes the maps of the process `pid`, which is in a new user namespace. Group ids may be mapped and `setgroups`
/// used, because the writer is privileged where the namespace was made.
pub(crate) fn write(procfs: &Procfs, pid: i32, uids: &str, gids: &str) -> Result<()> {
    procfs.write(&format!("{pid}/uid_map"), uids.as_bytes()).context("write linux.uidMappings")?;
    procfs.write(&format!("{pid}/gid_map"), gids.as_bytes()).context("write linux.gidMappings")
}

/// Maps the ids of a detached mount.
pub(crate) fn apply(mount: BorrowedFd<'_>, uids: &str, gids: &str, how: IdMap) -> Result<()> {
    let namespace = user_namespace(uids, gids)?;
    let attributes = Attributes { set: attr::IDMAP, user_namespace: Some(namespace.as_fd()), ..Attributes::default() };
    set_attributes(mount, &attributes, how == IdMap::Tree).context("map its ids (does its file system support that?)")
}

/// A user namespace with these maps: that of a process that exists only for it.
fn user_namespace(uids: &str, gids: &str) -> Result<OwnedFd> {
    let (read, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("make a pipe")?;
    let holder = clone::spawn(clone::NEWUSER, None, || {
        // Until it is killed, or whoever made it is gone.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
        let _ = rustix::io::read(&read, &mut [0; 1]);
        0
    })
    .context("make a user namespace")?;
    let result = (|| {
        let procfs = Procfs::host().context("open /proc")?;
        write(&procfs, holder.pid, uids, gids)?;
        let path = format!("{}/ns/user", holder.pid);
        openat(procfs.as_fd(), path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context("open the user namespace")
    })();
    let _ = pidfd_send_signal(&holder.pidfd, Signal::KILL);
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(holder.pidfd.as_fd()), WaitIdOptions::EXITED));
    drop(write_end);
    result
}
