//! Namespaces that the parent must be in for the moment of the clone, and the way back.

use crate::context::Context;
use crate::plan::{Plan, flag};
use crate::spec::NamespaceKind;
use dhow_sys::clone;
use dhow_sys::procfs::Procfs;
use dhow_types::Result;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, OwnedFd};

/// What to join before the clone.
#[derive(Default)]
pub(crate) struct Detour(Vec<(NamespaceKind, OwnedFd)>);

/// Goes back when dropped.
pub(crate) struct Back(Vec<(NamespaceKind, OwnedFd)>);

impl Detour {
    pub(crate) fn add(&mut self, kind: NamespaceKind, fd: OwnedFd) {
        self.0.push((kind, fd));
    }

    /// Joins them, and makes the new time namespace, whose clocks must be set before a process is in it.
    pub(crate) fn enter(self, plan: &Plan) -> Result<Back> {
        let new_time = plan.namespaces.is_new(NamespaceKind::Time);
        let mut back = Back(Vec::new());
        if self.0.is_empty() && !new_time {
            return Ok(back);
        }
        let procfs = Procfs::host().context("open /proc")?;
        let mut remember = |kind: NamespaceKind| -> Result<()> {
            let path = format!("self/ns/{}", name(kind));
            // The magic link is the host's own; it is read, not walked through.
            let own =
                rustix::fs::openat(procfs.as_fd(), path, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
                    .context("open our own namespace")?;
            back.0.push((kind, own));
            Ok(())
        };
        for (kind, fd) in &self.0 {
            remember(*kind)?;
            clone::setns(fd.as_fd(), flag(*kind)).with_context(|| format!("join the {kind:?} namespace"))?;
        }
        if new_time {
            remember(NamespaceKind::Time)?;
            clone::unshare(clone::NEWTIME).context("make a time namespace")?;
            if !plan.time_offsets.is_empty() {
                procfs.write("self/timens_offsets", plan.time_offsets.as_bytes()).context("set linux.timeOffsets")?;
            }
        }
        Ok(back)
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        for (kind, fd) in self.0.drain(..).rev() {
            // Our own namespace: nothing but a lack of memory could refuse it.
            let _ = clone::setns(fd.as_fd(), flag(kind));
        }
    }
}

fn name(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Pid => "pid",
        NamespaceKind::Network => "net",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Uts => "uts",
        NamespaceKind::User => "user",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Time => "time",
    }
}
