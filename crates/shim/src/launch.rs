//! From a [`Launch`] frame to a running container, or back to nothing: every step that is taken is undone when a later
//! one fails.

use crate::exit;
use crate::log::Log;
use crate::paths;
use crate::protocol::{AttachOptions, FdIndex, Launch, OLDEST, Rootfs, VERSION};
use crate::reactor::Reactor;
use crate::sinks::Sink;
use crate::stdio::{Ends, Policy, Stdio};
use crate::supervisor::{Process, Supervisor};
use dhow_cgroup::{Group, Layout};
use dhow_runtime::spec::{Linux, Namespace, NamespaceKind, Process as SpecProcess, Spec};
use dhow_types::{Context, Error, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Control connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// The id of the container's own process.
pub const MAIN: u32 = 0;

/// What the zygote knows already when a shim is forked.
#[derive(Debug)]
pub struct Host {
    /// The cgroup hierarchies, if they could be read.
    pub layout: Option<Layout>,
    /// The out-of-memory score that processes have without a word of their own.
    pub oom_score_adj: Option<i32>,
}

/// What a successful launch gives.
pub struct Launched {
    /// Keeps the container from now on.
    pub supervisor: Box<Supervisor>,
    /// For the user.
    pub warnings: Vec<String>,
}

/// What was made so far. Dropped, it is unmade.
#[derive(Default)]
struct Undo {
    socket: Option<PathBuf>,
    group: Option<Group>,
    pidfd: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
}

impl Undo {
    fn disarm(&mut self) {
        (self.socket, self.group, self.pidfd, self.pid_file) = (None, None, None, None);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(pidfd) = self.pidfd.take() {
            let _ = exit::signal(pidfd.as_fd(), Signal::KILL.as_raw());
            exit::reap_now(pidfd.as_fd());
        }
        if let Some(group) = self.group.take() {
            let _ = group.kill_all();
            let _ = group.delete();
        }
        for path in [self.socket.take(), self.pid_file.take()].into_iter().flatten() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes the descriptor at `index` out of a frame's.
pub fn take_fd(fds: &mut [Option<OwnedFd>], index: FdIndex) -> Result<OwnedFd> {
    let slot = fds.get_mut(index as usize);
    slot.and_then(Option::take).ok_or_else(|| Error::invalid(format!("descriptor {index} did not come with the frame")))
}

/// Starts what `launch` says.
pub fn launch(mut launch: Box<Launch>, mut fds: Vec<Option<OwnedFd>>, host: &Host) -> Result<Launched> {
    if !(OLDEST..=VERSION).contains(&launch.protocol) {
        let text = format!("the shim speaks protocol {VERSION}, the daemon {}: restart the daemon", launch.protocol);
        return Err(Error::invalid(text));
    }
    let mut undo = Undo::default();
    let mut warnings = Vec::new();
    let namespaces = launch
        .namespaces
        .iter()
        .map(|(kind, index)| Ok((*kind, take_fd(&mut fds, *index)?)))
        .collect::<Result<Vec<(NamespaceKind, OwnedFd)>>>()?;
    let clients = take_clients(&mut launch.attach, &mut fds)?;
    let process = launch.spec.process.get_or_insert_default();
    if process.oom_score_adj.is_none() {
        process.oom_score_adj = host.oom_score_adj;
    }
    let log = Log::open(&launch.log)?;
    let sink = launch.send.take().map(Sink::open).transpose();
    let sink = sink.context("failed to create task for container: failed to initialize logging driver")?;
    let _ = std::fs::remove_file(&launch.exit_path);
    let listener = listen(&launch.socket)?;
    undo.socket = Some(launch.socket.clone());
    if let Some(path) = &launch.cgroup {
        let resources = launch.spec.linux.as_ref().and_then(|l| l.resources.clone()).unwrap_or_default();
        let detected;
        let layout = match &host.layout {
            Some(layout) => layout,
            None => {
                detected = Layout::detect()?;
                &detected
            }
        };
        let (group, said) = Group::create(layout, path, &resources)?;
        undo.group = Some(group);
        warnings.extend(said);
    }
    let mut pipes = Pipes::for_process(
        launch.spec.process.as_ref(),
        launch.open_stdin,
        Wanted { stdout: true, stderr: true, together: false },
    )?;
    let bundle = launch.exit_path.parent().unwrap_or(Path::new("/"));
    let rootfs = match &launch.rootfs {
        Rootfs::Dir(path) => dhow_runtime::Rootfs::Dir(path),
        Rootfs::Overlay(overlay) => dhow_runtime::Rootfs::Overlay(overlay.clone()),
    };
    let mut order = dhow_runtime::Launch::new(&launch.id, bundle, &launch.spec, rootfs, pipes.take_inner());
    order.cgroup = undo.group.as_ref();
    order.namespaces = &namespaces;
    order.parent_death_signal = Some(Signal::KILL);
    order.init_binary = launch.init.then_some(dhow_sys::guest::INIT);
    order.seccomp = launch.seccomp.as_ref();
    let mut created = dhow_runtime::create(order)?;
    let pidfd = exit::own_pidfd(created.pidfd())?;
    undo.pidfd = Some(exit::own_pidfd(created.pidfd())?);
    if let Some(path) = &launch.pid_file {
        exit::write_atomically(path, created.pid().to_string().as_bytes())?;
        undo.pid_file = Some(path.clone());
    }
    if let Err(e) = created.start() {
        // It is dead and reaped.
        undo.pidfd = None;
        return Err(e);
    }
    let started_at = crate::clock::now();
    warnings.extend(created.warnings().iter().cloned());
    let reactor = Reactor::new()?;
    let policy = Policy { open_stdin: launch.open_stdin, stdin_once: launch.stdin_once };
    let stdio = Stdio::new(MAIN, pipes.outer(created.console())?, policy)?;
    let main = Process::new(MAIN, None, created.pid(), pidfd, stdio);
    drop(created);
    let mut supervisor = Box::new(Supervisor::new(reactor, listener, main)?);
    for (socket, options) in clients {
        supervisor.attach(MAIN, socket, options)?;
    }
    supervisor.id = launch.id.clone();
    supervisor.started_at = started_at;
    supervisor.socket = launch.socket.clone();
    supervisor.exit_path = launch.exit_path.clone();
    supervisor.pid_file = launch.pid_file.clone();
    supervisor.log = log;
    supervisor.sink = sink;
    supervisor.private_pids = has_private_pids(&launch.spec, &namespaces);
    supervisor.exec_spec = for_exec(&launch.spec, &namespaces);
    supervisor.seccomp = launch.seccomp.take();
    supervisor.group = undo.group.take();
    undo.disarm();
    Ok(Launched { supervisor, warnings })
}

fn take_clients(attach: &mut Vec<AttachOptions>, fds: &mut [Option<OwnedFd>]) -> Result<Vec<(OwnedFd, AttachOptions)>> {
    std::mem::take(attach).into_iter().map(|options| Ok((take_fd(fds, options.fd)?, options))).collect()
}

fn listen(path: &Path) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(std::io::Error::from)
        .context("make the shim's socket")?;
    paths::bind(&socket, path)?;
    rustix::net::listen(&socket, BACKLOG)
        .map_err(std::io::Error::from)
        .with_context(|| format!("listen on {}", path.display()))?;
    Ok(socket)
}

/// The outputs somebody may want to hear.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Make a pipe for it; else it leads to `/dev/null`.
    pub stdout: bool,
    /// Make a pipe for it; else it leads to `/dev/null`.
    pub stderr: bool,
    /// Both through one pipe, in the order in which they are written; then the two above say nothing.
    pub together: bool,
}

/// Both ends of a new process's stdio.
pub struct Pipes {
    inner: Option<dhow_runtime::Stdio>,
    outer: Option<Ends>,
}

impl Pipes {
    /// A terminal when the document says so, pipes and `/dev/null` otherwise.
    pub fn for_process(process: Option<&SpecProcess>, open_stdin: bool, wanted: Wanted) -> Result<Self> {
        if let Some(process) = process.filter(|p| p.terminal) {
            let inner = dhow_runtime::Stdio::Console { size: process.console_size };
            return Ok(Self { inner: Some(inner), outer: None });
        }
        let (stdin, feed) = if open_stdin {
            let (read, write) = pipe()?;
            (read, Some(write))
        } else {
            (null(false)?, None)
        };
        let output = |wanted: bool| -> Result<(Option<OwnedFd>, OwnedFd)> {
            if !wanted {
                return Ok((None, null(true)?));
            }
            let (read, write) = pipe()?;
            Ok((Some(read), write))
        };
        let (hear_out, stdout) = output(wanted.stdout || wanted.together)?;
        let (hear_err, stderr) = match wanted.together {
            true => (None, stdout.try_clone().context("share a pipe for both outputs")?),
            false => output(wanted.stderr)?,
        };
        Ok(Self {
            inner: Some(dhow_runtime::Stdio::Fds { stdin, stdout, stderr }),
            outer: Some(Ends::Pipes { stdin: feed, stdout: hear_out, stderr: hear_err }),
        })
    }
    /// What the process gets. Once.
    pub fn take_inner(&mut self) -> dhow_runtime::Stdio {
        self.inner.take().unwrap_or(dhow_runtime::Stdio::Inherit)
    }
    /// What the shim keeps; `console` is what the runtime sent back.
    pub fn outer(self, console: Option<OwnedFd>) -> Result<Ends> {
        match (self.outer, console) {
            (Some(ends), _) => Ok(ends),
            (None, Some(master)) => Ok(Ends::Terminal(master)),
            (None, None) => Err(Error::system("the container was set up without its terminal")),
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).context("make a pipe for the container's stdio")
}

fn null(write: bool) -> Result<OwnedFd> {
    let file = File::options().read(!write).write(write).open("/dev/null").context("open /dev/null")?;
    Ok(file.into())
}

/// The container's processes die with its init, because it has a pid namespace of its own.
fn has_private_pids(spec: &Spec, joined: &[(NamespaceKind, OwnedFd)]) -> bool {
    let by_spec = spec
        .linux
        .iter()
        .flat_map(|l| &l.namespaces)
        .any(|n| n.kind == NamespaceKind::Pid && n.path.as_deref().unwrap_or_default().is_empty());
    by_spec && joined.iter().all(|(kind, _)| *kind != NamespaceKind::Pid)
}

/// What of the document an exec needs, in fresh memory, so that the rest can go.
fn for_exec(spec: &Spec, joined: &[(NamespaceKind, OwnedFd)]) -> Spec {
    let mut linux = match &spec.linux {
        Some(linux) => Linux {
            namespaces: linux.namespaces.clone(),
            uid_mappings: linux.uid_mappings.clone(),
            gid_mappings: linux.gid_mappings.clone(),
            seccomp: linux.seccomp.clone(),
            mount_label: linux.mount_label.clone(),
            personality: linux.personality.clone(),
            ..Linux::default()
        },
        None => Linux::default(),
    };
    for (kind, _) in joined {
        if linux.namespaces.iter().all(|n| n.kind != *kind) {
            linux.namespaces.push(Namespace { kind: *kind, path: None });
        }
    }
    Spec { oci_version: spec.oci_version.clone(), linux: Some(linux), ..Spec::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(namespaces: &[(NamespaceKind, Option<&str>)]) -> Spec {
        let namespaces =
            namespaces.iter().map(|(kind, path)| Namespace { kind: *kind, path: path.map(str::to_owned) }).collect();
        Spec { linux: Some(Linux { namespaces, ..Linux::default() }), ..Spec::default() }
    }

    #[test]
    fn who_has_its_own_pids() {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        assert!(has_private_pids(&spec(&[(NamespaceKind::Pid, None)]), &[]));
        assert!(has_private_pids(&spec(&[(NamespaceKind::Pid, Some(""))]), &[]));
        assert!(!has_private_pids(&spec(&[(NamespaceKind::Pid, Some("/proc/7/ns/pid"))]), &[]));
        assert!(!has_private_pids(&spec(&[(NamespaceKind::Uts, None)]), &[]));
        assert!(!has_private_pids(&spec(&[(NamespaceKind::Pid, None)]), &[(NamespaceKind::Pid, null())]));
        assert!(!has_private_pids(&Spec::default(), &[]));
        let exec = for_exec(&spec(&[(NamespaceKind::Pid, None)]), &[(NamespaceKind::Network, null())]);
        assert_eq!(exec.linux.unwrap().namespaces.len(), 2);
    }

    #[test]
    fn a_descriptor_is_taken_once() {
        let mut fds = vec![Some(OwnedFd::from(File::open("/dev/null").unwrap()))];
        assert!(take_fd(&mut fds, 1).is_err());
        assert!(take_fd(&mut fds, 0).is_ok());
        assert!(take_fd(&mut fds, 0).unwrap_err().text().contains("descriptor 0"));
    }
}
