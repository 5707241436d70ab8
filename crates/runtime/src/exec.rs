//! Runs one more program in a container that exists: clone, join its namespaces through a pidfd, take the document's
//! identity, execve.
//!
//! 2016-9962 and 2024-21626: the process is not dumpable until its program runs; it holds no descriptor of the host
//! that execve would not close; its working directory is looked up inside the container's root and proved to be there.

use crate::child::dev;
use crate::child::last::{self, Last};
use crate::child::setup::{become_namespace_root, report};
use crate::context::Context;
use crate::create::{filter, notify_target, set_oom_score_adj, undumpable};
use crate::created::Created;
use crate::launch::{Exec, Stdio};
use crate::plan::{ProcessPlan, namespaces};
use crate::seccomp::Program;
use crate::spec::{Linux, NamespaceKind, OCI_VERSION};
use crate::state::{State, Status};
use crate::wire::{Message, Wire};
use dhow_cgroup::Joiner;
use dhow_sys::procfs::Procfs;
use dhow_sys::{clone, path};
use dhow_types::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Runs `exec.process` in the container. When this comes back, its program runs.
///
/// The caller must be single-threaded, as for [`create`](crate::create).
pub fn exec(mut exec: Exec<'_>) -> Result<Created> {
    let mut warnings = Vec::new();
    let empty = Linux::default();
    let linux = exec.spec.linux.as_ref().unwrap_or(&empty);
    let process = ProcessPlan::new(exec.process, None, &mut warnings)?;
    let seccomp = filter(exec.seccomp, linux.seccomp.as_ref())?;
    let all = namespaces(linux, &[])?;
    let state = State {
        oci_version: OCI_VERSION.into(),
        id: String::new(),
        status: Status::Running,
        pid: None,
        bundle: String::new(),
        annotations: exec.spec.annotations.clone(),
    };
    let (ours, theirs) = Wire::pair()?;
    undumpable()?;
    let stdio = std::mem::replace(&mut exec.stdio, Stdio::Inherit);
    let v2_dir = exec.cgroup.and_then(|g| g.v2_dir());
    let entry = Entry {
        wire: &theirs,
        init: exec.init,
        flags: all.all_flags() & !clone::NEWPID,
        in_user_namespace: all.has(NamespaceKind::User),
        process: &process,
        stdio: &stdio,
        size: exec.process.console_size,
        joiner: exec.cgroup.map(|g| g.joiner(v2_dir.is_some())).transpose()?,
        seccomp: seccomp.as_deref(),
        parent_death_signal: exec.parent_death_signal,
        preserve_fds: exec.preserve_fds,
        keep_keyring: exec.no_new_keyring,
    };
    let back = if all.has(NamespaceKind::Pid) { Some(enter_pid_namespace(exec.init)?) } else { None };
    let child = clone::spawn(0, v2_dir, move || entry.run());
    drop(back);
    let child = child.context("make the process")?;
    drop(theirs);
    drop(stdio);
    let mut created = Created {
        pid: child.pid,
        pidfd: child.pidfd,
        wire: Some(ours),
        console: None,
        notify: notify_target(seccomp.as_deref(), &state),
        warnings,
        started: true,
        held: false,
    };
    let adjusted = match process.oom_score_adj {
        None => Ok(()),
        Some(adj) => Procfs::host()
            .context("open /proc")
            .and_then(|procfs| set_oom_score_adj(&procfs, created.pid, adj, &mut created.warnings)),
    };
    let result = adjusted
        .and_then(|()| created.until_ready(|_| Ok(())))
        .and_then(|()| created.wire.as_ref().map_or(Ok(()), |wire| wire.send(&Message::Start)))
        .and_then(|()| created.until_exec());
    created.finish(result)?;
    Ok(created)
}

/// Goes back to our own pid namespace for children.
struct Back(OwnedFd);

impl Drop for Back {
    fn drop(&mut self) {
        // Our own namespace: it can't be refused.
        let _ = clone::setns(self.0.as_fd(), clone::NEWPID);
    }
}

/// Children are born in the container's pid namespace from here on, so that the one clone suffices.
fn enter_pid_namespace(init: BorrowedFd<'_>) -> Result<Back> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).context("open ourselves")?;
    clone::setns(init, clone::NEWPID).map_err(|e| {
        if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) {
            Error::conflict("the container is not running")
        } else {
            Error::from(e).prefixed("join the container's pid namespace")
        }
    })?;
    Ok(Back(own))
}

/// What the child needs.
struct Entry<'a> {
    wire: &'a Wire,
    init: BorrowedFd<'a>,
    flags: u64,
    in_user_namespace: bool,
    process: &'a ProcessPlan,
    stdio: &'a Stdio,
    size: Option<crate::spec::ConsoleSize>,
    joiner: Option<Joiner>,
    seccomp: Option<&'a Program>,
    parent_death_signal: Option<Signal>,
    preserve_fds: u32,
    keep_keyring: bool,
}

impl Entry<'_> {
    fn run(mut self) -> i32 {
        dhow_sys::exec::reset_signals();
        let result = self.join().and_then(|procfs| {
            let slave = self.terminal()?;
            last::streams(self.stdio, slave.as_ref())?;
            drop(slave);
            let last = Last {
                wire: self.wire,
                plan: self.process,
                seccomp: self.seccomp,
                parent_death_signal: self.parent_death_signal,
                preserve_fds: self.preserve_fds,
                keep_keyring: self.keep_keyring,
                groups_locked: self.in_user_namespace,
                own_terminal: matches!(self.stdio, Stdio::Console { .. }),
                init: None,
                procfs,
            };
            let armed = last.prepare()?;
            self.wire.send(&Message::Ready)?;
            match self.wire.recv()? {
                Some(Message::Start) => Err(last.run(&armed)),
                _ => Err(Error::system("the process that execs went away")),
            }
        });
        match result {
            Ok(()) => 0,
            Err(e) => report(self.wire, e),
        }
    }

    fn join(&mut self) -> Result<Option<Procfs>> {
        rustix::process::setsid().context("make a session")?;
        if let Some(joiner) = self.joiner.take() {
            joiner.join_current().context("join the container's cgroup")?;
        }
        // Before the namespaces: afterwards whatever is at /proc is the container's.
        let procfs = match self.process.apparmor {
            Some(_) => Some(Procfs::private(true).context("mount a private procfs")?),
            None => None,
        };
        clone::setns(self.init, self.flags).map_err(|e| {
            if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) {
                Error::conflict("the container is not running")
            } else {
                Error::from(e).prefixed("join the container's namespaces")
            }
        })?;
        if self.in_user_namespace {
            become_namespace_root()?;
        }
        Ok(procfs)
    }

    fn terminal(&self) -> Result<Option<OwnedFd>> {
        let Stdio::Console { size } = self.stdio else { return Ok(None) };
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .context("open the container's root")?;
        let devpts = path::open_plain(root.as_fd(), Path::new("/dev/pts"), OFlags::PATH | OFlags::DIRECTORY)
            .context("a terminal needs /dev/pts in the container")?;
        let (master, slave) = dev::open_pty(devpts.as_fd(), size.or(self.size))?;
        self.wire.send(&Message::Console(master))?;
        Ok(Some(slave))
    }
}
