//! `create`, `run` and `start`.

use super::args::{Flag, Line};
use super::foreground::{self, Relay};
use super::record::{self, Dir, Record, START_SOCKET};
use super::{Global, bundle_dir, terminal};
use crate::context::Context;
use crate::created::Created;
use crate::hooks;
use crate::launch::{Launch, Rootfs, Stdio};
use crate::spec::{Resources, Spec};
use crate::state::{State, Status};
use crate::wire::{Message, Wire};
use dhow_cgroup::{Group, GroupPath, Layout, Mode};
use dhow_types::{Error, ErrorKind, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const CREATE: &[Flag] = &[
    Flag::value("bundle", "b"),
    Flag::value("console-socket", ""),
    Flag::value("pidfd-socket", ""),
    Flag::value("pid-file", ""),
    Flag::value("preserve-fds", ""),
    Flag::switch("no-pivot", ""),
    Flag::switch("no-new-keyring", ""),
    // What only `run` has follows.
    Flag::switch("detach", "d"),
    Flag::switch("keep", ""),
    Flag::switch("no-subreaper", ""),
];
/// How many of those `create` has.
const OF_CREATE: usize = 7;

/// A container being made, with everything to undo it.
struct Making {
    dir: Dir,
    bundle: PathBuf,
    spec: Spec,
    rootfs: PathBuf,
    group: Option<Group>,
}

/// `create ID`.
pub(crate) fn create(global: &Global, words: Vec<OsString>, warn: &mut dyn FnMut(&[String])) -> Result<i32> {
    let line = Line::all(&CREATE[..OF_CREATE], words)?;
    let making = Making::new(global, &line, warn)?;
    let result = making.create(global, &line, true, warn);
    match result {
        Ok(_) => Ok(0),
        Err(e) => Err(making.undo(e)),
    }
}

/// `run ID`.
pub(crate) fn run(global: &Global, words: Vec<OsString>, warn: &mut dyn FnMut(&[String])) -> Result<i32> {
    let line = Line::all(CREATE, words)?;
    let detach = line.has("detach");
    let making = Making::new(global, &line, warn)?;
    // Held back before the process exists, so that none is lost.
    let signals = if detach { None } else { Some(foreground::hold_signals()?) };
    let started = making
        .create(global, &line, false, warn)
        .and_then(|(mut created, relay)| created.start().map(|()| (created, relay)));
    let (created, relay) = match started {
        Ok(started) => started,
        Err(e) => return Err(making.undo(e)),
    };
    let state = making.state(Status::Running, Some(created.pid()));
    if let Err(e) = making.run_hooks("poststart", &state) {
        // As runc: the container goes if its poststart hook fails.
        let _ = rustix::process::pidfd_send_signal(created.pidfd(), rustix::process::Signal::KILL);
        let _ = foreground::reap(&created);
        return Err(making.undo(e));
    }
    let Some(signals) = signals else { return Ok(0) };
    let code = foreground::wait(&created, signals, relay);
    if !line.has("keep") {
        for e in making.clean_up() {
            warn(&[e.text().to_owned()]);
        }
    }
    code
}

/// `start ID`.
pub(crate) fn start(global: &Global, words: Vec<OsString>) -> Result<i32> {
    let line = Line::all(&[], words)?;
    let dir = Dir::open(&global.root, &line.only_id()?)?;
    let record = dir.record()?;
    match record.status(&dir)? {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::conflict(format!("container {} has stopped; it can't be started", dir.id)));
        }
        _ => return Err(Error::conflict(format!("container {} runs already", dir.id))),
    }
    let wire = connect_start(&dir)?;
    wire.send(&Message::Start)?;
    // Whatever comes of it, nobody else shall say "start".
    let _ = rustix::fs::unlinkat(&dir.fd, START_SOCKET, rustix::fs::AtFlags::empty());
    loop {
        match wire.recv()? {
            None => break,
            Some(Message::Failed(e)) => return Err(e),
            Some(Message::Warning(_)) => {}
            Some(Message::Notify(fd)) => {
                let spec = dir.spec()?;
                let program = crate::create::filter(None, spec.linux.as_ref().and_then(|l| l.seccomp.as_ref()))?;
                match crate::create::notify_target(program.as_deref(), &record.state(Status::Created)) {
                    Some(target) => target.deliver(record.pid, &fd)?,
                    None => return Err(Error::system("a seccomp descriptor nobody asked for")),
                }
            }
            Some(other) => return Err(Error::system(format!("unexpected message from the container: {other:?}"))),
        }
    }
    let spec = dir.spec()?;
    if let Some(h) = spec.hooks.as_ref().filter(|h| !h.poststart.is_empty()) {
        hooks::run("poststart", &h.poststart, &record.state(Status::Running))?;
    }
    Ok(0)
}

impl Making {
    fn new(global: &Global, line: &Line, warn: &mut dyn FnMut(&[String])) -> Result<Self> {
        let id = line.only_id()?;
        super::ids::check_id(&id)?;
        let bundle = bundle_dir(line.path("bundle"))?;
        let path = bundle.join("config.json");
        let file = File::open(&path).map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::System };
            Error::from(e).prefixed(path.display()).with_kind(kind)
        })?;
        let text = record::read_limited(file).with_context(|| path.display().to_string())?;
        let mut spec = record::parse(&text)?;
        let root = spec.root.as_ref().ok_or_else(|| Error::invalid("config.json has no root"))?;
        let rootfs = bundle.join(&root.path);
        listen_fds(global, &mut spec);
        let dir = Dir::make(&global.root, &id)?;
        let mut making = Self { dir, bundle, spec, rootfs, group: None };
        let result = making.dir.write("config.json", &text).and_then(|()| making.make_group(warn));
        match result {
            Ok(()) => Ok(making),
            Err(e) => Err(making.undo(e)),
        }
    }

    fn make_group(&mut self, warn: &mut dyn FnMut(&[String])) -> Result<()> {
        let layout = Layout::detect()?;
        let linux = self.spec.linux.as_ref();
        let none = Resources::default();
        let resources = linux.and_then(|l| l.resources.as_ref()).unwrap_or(&none);
        if layout.mode() == Mode::None {
            return match layout.missing_for(resources).first() {
                Some(missing) => Err(Error::unavailable(missing.text.clone())),
                None => Ok(()),
            };
        }
        let path = match linux.and_then(|l| l.cgroups_path.as_deref()).filter(|p| !p.is_empty()) {
            Some(path) => GroupPath::resolve(&layout, path)?,
            None => GroupPath::new(&layout.default_parent(), &self.dir.id)?,
        };
        let (group, warnings) = Group::create(&layout, &path, resources)?;
        warn(&warnings);
        self.group = Some(group);
        Ok(())
    }

    /// Makes the process and records it. `held`: another program will start it.
    fn create(
        &self,
        global: &Global,
        line: &Line,
        held: bool,
        warn: &mut dyn FnMut(&[String]),
    ) -> Result<(Created, Option<Relay>)> {
        let console_socket = line.path("console-socket");
        let terminal = self.spec.process.as_ref().is_some_and(|p| p.terminal);
        let detached = held || line.has("detach");
        terminal::check(terminal, detached, console_socket)?;
        let size = self.spec.process.as_ref().and_then(|p| p.console_size);
        let stdio = if terminal { Stdio::Console { size } } else { Stdio::Inherit };
        let mut launch = Launch::new(&self.dir.id, &self.bundle, &self.spec, Rootfs::Dir(&self.rootfs), stdio);
        launch.cgroup = self.group.as_ref();
        launch.preserve_fds = preserve_fds(global, line)?;
        launch.no_new_keyring = line.has("no-new-keyring");
        launch.no_pivot = line.has("no-pivot");
        if held {
            launch.start_listener = Some(listen_start(&self.dir)?);
        }
        let mut created = crate::create(launch)?;
        warn(created.warnings());
        let recorded = self.record(&mut created, line, terminal);
        match recorded {
            Ok(relay) => Ok((created, relay)),
            Err(e) => {
                created.kill_and_reap();
                Err(e)
            }
        }
    }

    fn record(&self, created: &mut Created, line: &Line, terminal: bool) -> Result<Option<Relay>> {
        let cgroup = self.group.as_ref().map(|g| g.path().clone());
        let record = Record::new(&self.dir.id, created.pid(), &self.bundle, &self.rootfs, &self.spec, cgroup)?;
        self.dir.save(&record)?;
        let relay = match (created.console(), line.path("console-socket")) {
            (Some(master), Some(socket)) => {
                terminal::send(socket, &master)?;
                None
            }
            (Some(master), None) => Some(Relay::new(master)?),
            (None, _) if terminal => return Err(Error::system("no terminal came back from the container")),
            (None, _) => None,
        };
        if let Some(socket) = line.path("pidfd-socket") {
            terminal::send_pidfd(socket, created.pidfd())?;
        }
        if let Some(path) = line.path("pid-file") {
            pid_file(path, created.pid())?;
        }
        Ok(relay)
    }

    fn state(&self, status: Status, pid: Option<i32>) -> State {
        State {
            oci_version: crate::spec::OCI_VERSION.into(),
            id: self.dir.id.clone(),
            status,
            pid,
            bundle: self.bundle.display().to_string(),
            annotations: self.spec.annotations.clone(),
        }
    }

    fn run_hooks(&self, kind: &str, state: &State) -> Result<()> {
        let Some(h) = &self.spec.hooks else { return Ok(()) };
        let list = if kind == "poststart" { &h.poststart } else { &h.poststop };
        hooks::run(kind, list, state)
    }

    /// Removes everything; goes on after a failure and returns them all.
    fn clean_up(self) -> Vec<Error> {
        let mut errors = Vec::new();
        let state = self.state(Status::Stopped, None);
        if let Some(group) = self.group {
            errors.extend(group.kill_all().err());
            errors.extend(group.delete().err());
        }
        errors.extend(self.dir.remove().err());
        if let Some(h) = &self.spec.hooks {
            errors.extend(hooks::run("poststop", &h.poststop, &state).err());
        }
        errors
    }

    /// After a failed start: nothing is left behind, and the first error is the one that counts.
    fn undo(self, error: Error) -> Error {
        match self.clean_up().first() {
            None => error,
            Some(more) => {
                let text = format!("{}; and while cleaning up: {}", error.text(), more.text());
                error.with_text(text)
            }
        }
    }
}

/// Descriptors handed over by socket activation come first, then `--preserve-fds`.
pub(crate) fn preserve_fds(global: &Global, line: &Line) -> Result<u32> {
    /// More than any program is given.
    const MAX: u32 = 4096;
    let listen = listen_fds_count(global);
    let count = line.number::<u32>("preserve-fds")?.unwrap_or(0).saturating_add(listen);
    if count > MAX {
        return Err(Error::invalid(format!("--preserve-fds: at most {MAX}")));
    }
    match (3..3 + count as i32).find(|fd| !dhow_sys::fds::is_open(*fd)) {
        Some(fd) => Err(Error::invalid(format!("--preserve-fds: descriptor {fd} is not open"))),
        None => Ok(count),
    }
}

fn listen_fds_count(global: &Global) -> u32 {
    let get = |name: &str| global.env.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.to_str());
    match get("LISTEN_PID").and_then(|p| p.parse::<u32>().ok()) {
        Some(pid) if pid == std::process::id() => get("LISTEN_FDS").and_then(|n| n.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

/// Tells the program about descriptors handed over by socket activation, as runc does.
pub(crate) fn listen_fds(global: &Global, spec: &mut Spec) {
    let count = listen_fds_count(global);
    if let (1.., Some(process)) = (count, &mut spec.process) {
        process.env.push(format!("LISTEN_FDS={count}"));
        process.env.push("LISTEN_PID=1".into());
    }
}

/// Writes the pid to a file, whole or not at all.
pub(crate) fn pid_file(path: &Path, pid: i32) -> Result<()> {
    let what = || format!("--pid-file {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::invalid(what()))?.to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::write(&temporary, pid.to_string()).with_context(what)?;
    std::fs::rename(&temporary, path).with_context(what)
}

/// The address of the start socket, by the number of the directory's descriptor: paths may be longer than addresses.
fn start_address(dir: &Dir) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{START_SOCKET}", dir.fd.as_raw_fd())).context("name the start socket")
}

fn start_socket() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).context("make a socket")
}

fn listen_start(dir: &Dir) -> Result<OwnedFd> {
    let socket = start_socket()?;
    bind(&socket, &start_address(dir)?).context("bind the start socket")?;
    listen(&socket, 1).context("listen on the start socket")?;
    Ok(socket)
}

fn connect_start(dir: &Dir) -> Result<Wire> {
    let socket = start_socket()?;
    connect(&socket, &start_address(dir)?).map_err(|e| {
        Error::from(std::io::Error::from(e)).prefixed(format!("reach the waiting container {}", dir.id))
    })?;
    Ok(Wire::from_socket(socket))
}
