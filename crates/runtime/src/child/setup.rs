//! A container's first process: from clone to READY, then to its program.

use super::last::{self, Armed, Last};
use super::mounts::Kept;
use super::tree::{Root, Stash, isolate};
use super::{dev, hide, mounts};
use crate::context::Context;
use crate::hooks;
use crate::launch::{Rootfs, Stdio};
use crate::plan::{self, Plan};
use crate::seccomp::Program;
use crate::spec::{ConsoleSize, Hook, Linux, NamespaceKind, Spec};
use crate::state::{State, Status};
use crate::wire::{Message, Wire};
use dhow_cgroup::{GroupMount, Joiner};
use dhow_sys::clone;
use dhow_sys::exec::CStringArray;
use dhow_sys::path;
use dhow_sys::procfs::Procfs;
use dhow_types::{Error, Result};
use rustix::fs::Mode;
use rustix::net::{SocketFlags, acceptfrom_with};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

/// Everything the child needs, made before the clone.
pub(crate) struct Setup<'a> {
    pub wire: &'a Wire,
    pub spec: &'a Spec,
    pub plan: &'a Plan,
    pub rootfs: &'a Rootfs<'a>,
    /// The root, opened by the parent (user namespaces).
    pub root_mount: Option<OwnedFd>,
    /// Sources opened by the parent, by the mount's index.
    pub sources: Vec<Option<OwnedFd>>,
    pub stdio: &'a Stdio,
    pub joiner: Option<Joiner>,
    pub cgroup_mounts: Vec<GroupMount>,
    /// Namespaces to join in the child.
    pub join: Vec<(NamespaceKind, OwnedFd)>,
    pub seccomp: Option<&'a Program>,
    pub state: &'a State,
    pub init_binary: Option<&'a [u8]>,
    pub parent_death_signal: Option<Signal>,
    pub preserve_fds: u32,
    pub keep_keyring: bool,
    pub no_pivot: bool,
    pub start_listener: Option<&'a OwnedFd>,
    pub groups_locked: bool,
}

impl Setup<'_> {
    /// Runs in the child. Comes back with the exit code of a failure.
    pub(crate) fn run(mut self) -> i32 {
        dhow_sys::exec::reset_signals();
        let init = self.init_command();
        let ready = self.until_ready().and_then(|ready| Ok((ready, init?)));
        let ((armed, procfs), init) = match ready {
            Ok(done) => done,
            Err(e) => return report(self.wire, e),
        };
        let last = self.last(procfs, init.as_ref().map(|(path, args)| (path, args)));
        // The conversation about the start: with the parent, or with whoever connects.
        let starter = match self.wait_for_start() {
            Ok(Some(starter)) => starter,
            Ok(None) => return 0,
            Err(e) => return report(self.wire, e),
        };
        let wire = starter.as_ref().unwrap_or(self.wire);
        let state = State { status: Status::Created, pid: Some(own_pid()), ..self.state.clone() };
        let start_container: &[Hook] = self.spec.hooks.as_ref().map_or(&[], |h| &h.start_container);
        let result = hooks::run("startContainer", start_container, &state);
        let error = match result {
            Ok(()) => Last { wire, ..last }.run(&armed),
            Err(e) => e,
        };
        report(wire, error)
    }

    fn linux(&self) -> &Linux {
        static EMPTY: LazyLock<Linux> = LazyLock::new(Linux::default);
        self.spec.linux.as_ref().unwrap_or(&EMPTY)
    }

    fn last<'b>(&'b self, procfs: Option<Procfs>, init: Option<(&'b CString, &'b CStringArray)>) -> Last<'b> {
        Last {
            wire: self.wire,
            plan: &self.plan.process,
            seccomp: self.seccomp,
            parent_death_signal: self.parent_death_signal,
            preserve_fds: self.preserve_fds,
            keep_keyring: self.keep_keyring,
            groups_locked: self.groups_locked,
            own_terminal: matches!(self.stdio, Stdio::Console { .. }),
            init,
            procfs,
        }
    }

    fn init_command(&self) -> Result<Option<(CString, CStringArray)>> {
        if self.init_binary.is_none() {
            return Ok(None);
        }
        let nul = || Error::invalid("process.args has a NUL byte");
        let path = CString::new(hide::INIT_PATH).map_err(|_| nul())?;
        let real = self.plan.process.args.strings().iter().map(|s| s.as_bytes());
        let args = [hide::INIT_PATH.as_bytes(), b"--"].into_iter().chain(real);
        Ok(Some((path, CStringArray::new(args).map_err(|_| nul())?)))
    }

    fn until_ready(&mut self) -> Result<(Armed, Option<Procfs>)> {
        let namespaces = &self.plan.namespaces;
        rustix::process::setsid().context("make a session")?;
        if namespaces.is_new(NamespaceKind::User) {
            self.wire.wait_continue()?;
        }
        if let Some(joiner) = self.joiner.take() {
            joiner.join_current().context("join the container's cgroup")?;
        }
        for (kind, fd) in std::mem::take(&mut self.join) {
            clone::setns(fd.as_fd(), plan::flag(kind)).with_context(|| format!("join the {kind:?} namespace"))?;
        }
        if namespaces.has(NamespaceKind::User) {
            become_namespace_root()?;
        }
        if namespaces.is_new(NamespaceKind::Cgroup) {
            // Only now: the group this process is in becomes the namespace's root.
            clone::unshare(clone::NEWCGROUP).context("make a cgroup namespace")?;
        }
        let procfs = self.kernel_settings()?;
        let slave = self.file_systems()?;
        last::streams(self.stdio, slave.as_ref())?;
        drop(slave);
        let armed = self.last(None, None).prepare()?;
        self.wire.send(&Message::Ready)?;
        Ok((armed, procfs))
    }

    /// Names and sysctls: before the tree, because a user namespace may mount procfs only while it sees a whole one.
    fn kernel_settings(&self) -> Result<Option<Procfs>> {
        if let Some(name) = &self.spec.hostname {
            rustix::system::sethostname(name.as_bytes()).context("set the host name")?;
        }
        if let Some(name) = &self.spec.domainname {
            rustix::system::setdomainname(name.as_bytes()).context("set the domain name")?;
        }
        if self.plan.sysctl.is_empty() && self.plan.process.apparmor.is_none() {
            return Ok(None);
        }
        let procfs = Procfs::private(self.plan.sysctl.is_empty()).context("mount a private procfs")?;
        for (path, value) in &self.plan.sysctl {
            procfs
                .write(path, value.as_bytes())
                .with_context(|| format!("set the sysctl /proc/{path} to {value:?}"))?;
        }
        Ok(Some(procfs))
    }

    /// Builds the tree and enters it. Returns the terminal's slave.
    fn file_systems(&mut self) -> Result<Option<OwnedFd>> {
        rustix::process::umask(Mode::empty());
        isolate(self.plan.base_propagation)?;
        let mut stash = match !self.linux().masked_paths.is_empty() || self.init_binary.is_some() {
            true => Some(Stash::new()?),
            false => None,
        };
        let mut root = match self.root_mount.take() {
            Some(mount) => Root::opened(mount),
            None => Root::new(self.rootfs, &mut stash)?,
        };
        root.attach()?;
        let mut kept = Kept::default();
        for (index, mount) in self.plan.mounts.iter().enumerate() {
            let source = self.sources.get_mut(index).and_then(Option::take);
            mounts::make(&root, mount, source, &self.cgroup_mounts, &mut kept)?;
        }
        if self.plan.make_dev {
            let mknod_works = !self.plan.namespaces.has(NamespaceKind::User);
            dev::populate(&root, &self.linux().devices, &mut kept, mknod_works)?;
        }
        let slave = match self.stdio {
            Stdio::Console { size } => Some(self.terminal(&root, &kept, *size)?),
            _ => None,
        };
        if let (Some(program), Some(stash)) = (self.init_binary, &stash) {
            hide::mount_init(&root, stash, program)?;
        }
        hide::make_readonly(&root, &kept, &self.linux().readonly_paths)?;
        if let Some(stash) = &stash {
            hide::mask(&root, &kept, stash, &self.linux().masked_paths)?;
        }
        self.hooks_before_the_root_changes()?;
        // A missing working directory is made while the root can still be written; whether it is one the process may
        // enter is seen later, so errors are too.
        let _ = path::ensure(root.mount.as_fd(), &self.plan.process.cwd, path::Kind::Dir, 0o755);
        root.enter(self.no_pivot, stash.is_some())?;
        root.seal(self.plan.root_propagation, self.plan.root_readonly)?;
        Ok(slave)
    }

    fn terminal(&self, root: &Root, kept: &Kept, size: Option<ConsoleSize>) -> Result<OwnedFd> {
        let devpts = kept
            .devpts
            .as_ref()
            .ok_or_else(|| Error::invalid("process.terminal needs a devpts mounted at /dev/pts"))?;
        let (master, slave) = dev::open_pty(devpts.as_fd(), size)?;
        dev::mount_console(root, slave.as_fd())?;
        self.wire.send(&Message::Console(master))?;
        Ok(slave)
    }

    fn hooks_before_the_root_changes(&self) -> Result<()> {
        let Some(h) = &self.spec.hooks else { return Ok(()) };
        if !h.prestart.is_empty() || !h.create_runtime.is_empty() {
            self.wire.send(&Message::Hooks)?;
            self.wire.wait_continue()?;
        }
        let state = State { pid: Some(own_pid()), ..self.state.clone() };
        hooks::run("createContainer", &h.create_container, &state)
    }

    /// `Some(connection)` if it came from elsewhere; `None` from here means that nobody wants the process any more.
    fn wait_for_start(&self) -> Result<Option<Option<Wire>>> {
        let Some(listener) = self.start_listener else {
            return Ok(matches!(self.wire.recv()?, Some(Message::Start)).then_some(None));
        };
        loop {
            let accepted = rustix::io::retry_on_intr(|| acceptfrom_with(listener, SocketFlags::CLOEXEC));
            let (socket, _) = accepted.context("wait for the start command")?;
            let wire = Wire::from_socket(socket);
            // Somebody who connects and says nothing starts nothing.
            if matches!(wire.recv(), Ok(Some(Message::Start))) {
                return Ok(Some(Some(wire)));
            }
        }
    }
}

/// Root inside the user namespace: what is made until the change of user belongs to it.
pub(crate) fn become_namespace_root() -> Result<()> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).context("become group 0 of the user namespace")?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).context("become user 0 of the user namespace")
}

pub(crate) fn report(wire: &Wire, error: Error) -> i32 {
    // If this fails nobody listens any more.
    let _ = wire.send(&Message::Failed(error));
    1
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}
