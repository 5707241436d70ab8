//! Execs: one more program in a running container.

use crate::config::{ExecRequest, ExecStart};
use crate::container::Container;
use crate::core::{Core, blocking, random};
use crate::link::Link;
use crate::plan::{self, keys, merge, resources, security};
use crate::users;
use crate::view::ExecView;
use dhow_shim::protocol::{AttachOptions, Exec as Launch, ExecSeccomp, Reply, Request};
use dhow_shim::spec::{ConsoleSize, Process, User};
use dhow_store::merged::View;
use dhow_types::{ContainerId, Context, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Execs remembered per container; the oldest that ended is forgotten first, then the oldest that nobody started.
const MAX_EXECS: usize = 1024;
/// Exit code of an exec whose container ended before it.
const KILLED: i32 = 137;

/// One exec.
#[derive(Debug)]
pub(crate) struct Exec {
    id: String,
    container: ContainerId,
    /// The run of the container that it belongs to: it is never carried out in another.
    run: u64,
    pub(crate) request: ExecRequest,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    started: bool,
    running: bool,
    pid: i32,
    exit_code: Option<i32>,
}

/// All execs.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    table: Mutex<Table>,
}

/// Each is in both, so that neither an id nor a container is looked for among all.
#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Arc<Exec>>,
    /// Oldest first.
    by_container: HashMap<ContainerId, VecDeque<Arc<Exec>>>,
}

impl Execs {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Finds one.
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Exec>> {
        self.lock().by_id.get(id).cloned().ok_or_else(|| missing(id))
    }
    /// An exec's program ended. False if it is none of these.
    fn exited(&self, id: &str, code: i32) -> bool {
        let exec = self.lock().by_id.get(id).cloned();
        exec.inspect(|exec| exec.ended(code)).is_some()
    }
    /// A container ended, and with it what was started in it, also what is still on its way to the shim. What nobody
    /// started is gone: it was for that run.
    pub(crate) fn container_ended(&self, container: &ContainerId) {
        let mut table = self.lock();
        let Table { by_id, by_container } = &mut *table;
        let Some(own) = by_container.get_mut(container) else { return };
        own.retain(|exec| {
            let waits = exec.state().waits();
            if waits {
                by_id.remove(&exec.id);
            } else {
                exec.over(KILLED);
            }
            !waits
        });
        if own.is_empty() {
            by_container.remove(container);
        }
    }
    /// Takes one that is to be started, unless `may` refuses.
    fn claim(&self, id: &str, may: impl FnOnce(&Exec, &State) -> Result<()>) -> Result<Arc<Exec>> {
        // Under the lock, so that it is not forgotten at this moment for not being started.
        let table = self.lock();
        let exec = table.by_id.get(id).ok_or_else(|| missing(id))?;
        let mut state = exec.state();
        may(exec, &state)?;
        state.started = true;
        Ok(exec.clone())
    }
    /// A container is gone, and the memory of its execs.
    pub(crate) fn container_removed(&self, container: &ContainerId) {
        let mut table = self.lock();
        for exec in table.by_container.remove(container).into_iter().flatten() {
            table.by_id.remove(&exec.id);
        }
    }
    /// Forgets one that came too late.
    fn forget(&self, exec: &Exec) {
        let mut table = self.lock();
        table.by_id.remove(&exec.id);
        let Some(own) = table.by_container.get_mut(&exec.container) else { return };
        own.retain(|other| other.id != exec.id);
        if own.is_empty() {
            table.by_container.remove(&exec.container);
        }
    }
    /// Ids of the execs of a container that were not yet started or run.
    pub(crate) fn alive(&self, container: &ContainerId) -> Vec<String> {
        let table = self.lock();
        let own = table.by_container.get(container).into_iter().flatten();
        let mut ids: Vec<String> = own.filter(|e| e.state().exit_code.is_none()).map(|e| e.id.clone()).collect();
        ids.sort();
        ids
    }
    fn add(&self, exec: Arc<Exec>) -> Result<()> {
        let mut table = self.lock();
        let Table { by_id, by_container } = &mut *table;
        let own = by_container.entry(exec.container.clone()).or_default();
        if own.len() >= MAX_EXECS {
            let ended = own.iter().position(|e| e.state().exit_code.is_some());
            let least = ended.or_else(|| own.iter().position(|e| e.state().waits()));
            let Some(least) = least.and_then(|at| own.remove(at)) else {
                return Err(Error::new(ErrorKind::Exhausted, format!("a container can have {MAX_EXECS} execs")));
            };
            by_id.remove(&least.id);
        }
        own.push_back(exec.clone());
        by_id.insert(exec.id.clone(), exec);
        Ok(())
    }
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("No such exec instance: {id}"))
}

impl State {
    /// Nobody has started it.
    fn waits(&self) -> bool {
        !self.started && self.exit_code.is_none()
    }
}

impl Exec {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn ended(&self, code: i32) {
        let mut state = self.state();
        (state.running, state.pid, state.exit_code) = (false, 0, Some(code));
    }
    /// The same, unless its end is known already.
    fn over(&self, code: i32) {
        let mut state = self.state();
        if state.exit_code.is_none() {
            (state.running, state.pid, state.exit_code) = (false, 0, Some(code));
        }
    }
    /// Whether it can be started as the client believes, in the run that goes on.
    fn may_start(&self, state: &State, start: &ExecStart, run: u64) -> Result<()> {
        let id = &self.id;
        if state.exit_code.is_some() {
            return Err(Error::conflict(format!("exec instance {id} has already run")));
        }
        if state.started {
            return Err(Error::conflict(format!("exec instance {id} is already running")));
        }
        // As if it had been forgotten with its run, which it is about to be.
        if self.run != run {
            return Err(missing(id));
        }
        if start.tty != self.request.tty && !start.detach {
            return Err(Error::invalid(format!(
                "exec instance {id} was created with tty {}: start it alike",
                self.request.tty
            )));
        }
        Ok(())
    }
}

/// An exec's program ended.
pub(crate) fn died(core: &Core, container: &Container, id: &str, code: i32) {
    if core.execs.exited(id, code) {
        tell_died(core, container, id, code);
    }
}

/// Tells of the end of an exec, a health check's among them.
pub(crate) fn tell_died(core: &Core, container: &Container, id: &str, code: i32) {
    let more = [("execID", id), ("exitCode", &code.to_string())];
    core.events.container(&container.record(), "exec_die", &more);
}

/// Docker's name of what happens to an exec has its words in it.
pub(crate) fn tell(core: &Core, container: &Container, what: &str, id: &str, words: &[String]) {
    let action = format!("{what}: {}", words.join(" "));
    core.events.container(&container.record(), action, &[("execID", id)]);
}

/// Prepares one.
pub(crate) fn create(core: &Core, container: &Arc<Container>, request: ExecRequest) -> Result<String> {
    let run = container.awake()?.generation;
    if request.cmd.is_empty() || request.cmd[0].is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    if let Some(text) = &request.detach_keys {
        keys::parse(text)?;
    }
    if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' needs to be an absolute path",
            request.working_dir
        )));
    }
    if request.cmd.iter().chain(&request.env).any(|t| t.contains('\0')) {
        return Err(Error::invalid("an argument or variable contains a zero byte"));
    }
    let id = dhow_types::Digest::from_raw(random()?).hex();
    let exec = Exec { id: id.clone(), container: container.id.clone(), run, request, state: Mutex::default() };
    let exec = Arc::new(exec);
    core.execs.add(exec.clone())?;
    // An end that came before this was added has not seen it. One that comes from now on does.
    if let Err(e) = container.record_of(run) {
        core.execs.forget(&exec);
        return Err(e);
    }
    tell(core, container, "exec_create", &exec.id, &exec.request.cmd);
    Ok(id)
}

/// Checks that one can be started as the client believes, and takes it: nobody starts it twice.
pub(crate) fn claim(core: &Core, id: &str, start: &ExecStart) -> Result<Arc<Exec>> {
    let exec = core.execs.find(id)?;
    let container = core.registry().find(exec.container.as_str())?;
    let run = container.awake()?.generation;
    core.execs.claim(id, |exec, state| exec.may_start(state, start, run))
}

/// Starts one without a client.
pub(crate) async fn start_detached(core: &Arc<Core>, exec: &Arc<Exec>, size: Option<(u16, u16)>) -> Result<()> {
    launch(core, exec, size, None).await
}

/// Starts one with a client. What goes wrong is told to the client on its stream, as Docker does; the exit code says
/// it again.
pub(crate) async fn start_attached(
    core: &Arc<Core>,
    exec: &Arc<Exec>,
    size: Option<(u16, u16)>,
    connection: OwnedFd,
    leftover: Vec<u8>,
) -> Result<()> {
    let r = &exec.request;
    let keys = r.detach_keys.as_deref().map(keys::parse).transpose()?;
    let options = AttachOptions {
        fd: 0,
        stdin: r.attach_stdin,
        stdout: r.attach_stdout,
        stderr: r.attach_stderr,
        framed: !r.tty,
        detach_keys: keys,
        leftover,
    };
    let copy = connection.try_clone().context("keep the client's connection")?;
    match launch(core, exec, size, Some((options, connection))).await {
        Ok(()) => Ok(()),
        Err(e) => {
            let tty = r.tty;
            let text = format!("{e}\r\n");
            blocking(move || {
                if !tty {
                    // Docker's frame: stderr, three zeros, the length.
                    let mut head = [2, 0, 0, 0, 0, 0, 0, 0];
                    head[4..].copy_from_slice(&(text.len() as u32).to_be_bytes());
                    dhow_shim::send_bytes(&copy, &head, &[])?;
                }
                dhow_shim::send_bytes(&copy, text.as_bytes(), &[])
            })
            .await?;
            Err(e)
        }
    }
}

async fn launch(
    core: &Arc<Core>,
    exec: &Arc<Exec>,
    size: Option<(u16, u16)>,
    client: Option<(AttachOptions, OwnedFd)>,
) -> Result<()> {
    let done = run(core, exec, size, client).await;
    match &done {
        Ok(pid) => {
            let mut state = exec.state();
            // It may be over before this is noted.
            if state.exit_code.is_none() {
                (state.running, state.pid) = (true, *pid);
            }
        }
        // If the container ended meanwhile, that was the reason.
        Err(e) => exec.over(match e.kind() {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::CommandNotExecutable => 126,
            // Docker's code when the start failed for another reason.
            _ => 126,
        }),
    }
    done.map(drop)
}

async fn run(
    core: &Arc<Core>,
    exec: &Arc<Exec>,
    size: Option<(u16, u16)>,
    client: Option<(AttachOptions, OwnedFd)>,
) -> Result<i32> {
    let container = core.registry().find(exec.container.as_str())?;
    let (shared, request, same, of) = (core.clone(), exec.request.clone(), container.clone(), exec.run);
    let process = blocking(move || process(&shared, &same, of, &request, size)).await?;
    let (attach, fds) = match client {
        Some((options, fd)) => (Some(options), vec![fd]),
        None => (None, Vec::new()),
    };
    let launch = Launch {
        exec_id: exec.id.clone(),
        process,
        seccomp: ExecSeccomp::Inherit,
        open_stdin: exec.request.attach_stdin,
        attach,
        pid_file: None,
        capture: None,
    };
    // Nobody makes it stand still before the program runs.
    let _together = container.standing.read().await;
    let link = still(&container, of)?;
    tell(core, &container, "exec_start", &exec.id, &exec.request.cmd);
    match link.call(Request::Exec(Box::new(launch)), fds).await? {
        Reply::ExecStarted { pid, warnings } => {
            for warning in warnings {
                tracing::warn!("exec in {}: {warning}", exec.container.short());
            }
            Ok(pid)
        }
        _ => Err(Error::system("the shim gave an answer to another question")),
    }
}

/// The shim of a container whose processes do not stand still, if the run is still this one.
pub(crate) fn still(container: &Container, run: u64) -> Result<Arc<Link>> {
    let live = container.awake()?;
    // It may have been started again meanwhile.
    if live.generation == run { Ok(live.link) } else { Err(container.not_running()) }
}

/// The process, as the container's own but for what the request says. It is only for the shim of that run: what was
/// looked up by the number of its process is right if that shim can start it, because then the process is there.
pub(crate) fn process(
    core: &Core,
    container: &Container,
    run: u64,
    request: &ExecRequest,
    size: Option<(u16, u16)>,
) -> Result<Process> {
    let record = container.record_of(run)?;
    let root = format!("/proc/{}/root", record.state.pid);
    let root = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .with_context(|| format!("reach the files of container {}", record.id.short()))?;
    let root = View::from_fd(root);
    let identity = match request.user.as_str() {
        "" => users::of_tree(&root, &record.config.user, &record.host.group_add)?,
        user => users::of_tree(&root, user, &[])?,
    };
    let capabilities = if request.privileged {
        plan::caps::resolve(&[], &[], true, false, core.facts.capabilities)?
    } else {
        plan::spec::capabilities(&record.host, &core.facts, core.settings.hardened)?
    };
    let mut config = record.config.clone();
    config.tty = request.tty;
    merge::overlay_env(&mut config.env, &request.env);
    let security = security::parse(&record.host.security_opt)?;
    let size = size.or(request.console_size);
    let cwd = [&request.working_dir, &record.config.working_dir].into_iter().find(|d| !d.is_empty());
    Ok(Process {
        terminal: request.tty,
        console_size: size.map(|(height, width)| ConsoleSize { height, width }),
        user: User { uid: identity.uid, gid: identity.gid, umask: None, additional_gids: identity.groups },
        args: request.cmd.clone(),
        env: merge::environment(&config, &record.hostname, &identity.home),
        cwd: cwd.map_or("/", String::as_str).to_owned(),
        capabilities: Some(plan::spec::capability_sets(&capabilities, identity.uid)),
        rlimits: record.host.resources.ulimits.iter().map(resources::rlimit).collect::<Result<_>>()?,
        no_new_privileges: security.no_new_privileges.unwrap_or(core.settings.hardened),
        ..Process::default()
    })
}

/// What is known about one.
pub(crate) async fn inspect(core: &Arc<Core>, id: &str) -> Result<ExecView> {
    let exec = core.execs.find(id)?;
    let running = exec.state().running;
    let link = if running { link(core, &exec).ok() } else { None };
    if let Some(link) = link {
        // An answer comes after all events before it: a client whose stream has ended finds the exit code here.
        let _ = link.call(Request::Hello, Vec::new()).await;
    }
    let state = *exec.state();
    Ok(ExecView {
        id: exec.id.clone(),
        container: exec.container.clone(),
        running: state.running,
        exit_code: state.exit_code,
        pid: state.pid,
        request: exec.request.clone(),
        open_stdin: exec.request.attach_stdin && state.running,
    })
}

fn link(core: &Core, exec: &Exec) -> Result<Arc<Link>> {
    core.registry().find(exec.container.as_str())?.running()
}

/// Sets the size of its terminal.
pub(crate) async fn resize(core: &Arc<Core>, id: &str, height: u16, width: u16) -> Result<()> {
    let exec = core.execs.find(id)?;
    if !exec.state().started || exec.state().exit_code.is_some() {
        return Err(Error::conflict(format!("exec {id} is not running")));
    }
    let link = link(core, &exec)?;
    link.call(Request::Resize { exec_id: Some(exec.id.clone()), width, height }, Vec::new()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(container: &ContainerId, number: usize) -> Arc<Exec> {
        let request = ExecRequest { cmd: vec!["true".into()], ..ExecRequest::default() };
        let id = format!("{}-{number}", container.short());
        Arc::new(Exec { id, container: container.clone(), run: 7, request, state: Mutex::default() })
    }

    #[test]
    fn the_oldest_that_ended_is_forgotten_first_and_others_are_left_alone() {
        let execs = Execs::default();
        let [a, b] = [[1; 32], [2; 32]].map(ContainerId::from_raw);
        execs.add(exec(&b, 0)).unwrap();
        let id = |number: usize| format!("{}-{number}", a.short());
        for number in 0..MAX_EXECS {
            execs.add(exec(&a, number)).unwrap();
        }
        execs.claim(&id(0), |_, _| Ok(())).unwrap();
        execs.exited(&id(5), 0);
        execs.exited(&id(3), 1);
        execs.add(exec(&a, MAX_EXECS)).unwrap();
        assert!(execs.find(&id(3)).is_err(), "the older of the two that ended");
        assert_eq!(execs.find(&id(5)).unwrap().state().exit_code, Some(0));
        assert_eq!(execs.alive(&a).len(), MAX_EXECS - 1);
        // The other one that ended, then the oldest that waits; what was started stays.
        for number in 1..=2 {
            execs.add(exec(&a, MAX_EXECS + number)).unwrap();
        }
        assert_eq!([0, 1, 2, 5].map(|number| execs.find(&id(number)).is_ok()), [true, false, true, false]);
        assert_eq!(execs.claim(&id(1), |_, _| Ok(())).unwrap_err().text(), format!("No such exec instance: {}", id(1)));
        execs.container_removed(&a);
        assert!(execs.find(&id(5)).is_err() && execs.alive(&a).is_empty());
        assert_eq!(execs.alive(&b).len(), 1);
        assert_eq!(execs.lock().by_id.len(), 1);
    }

    #[test]
    fn more_than_can_be_remembered_do_not_run_at_once() {
        let execs = Execs::default();
        let a = ContainerId::from_raw([1; 32]);
        for number in 0..MAX_EXECS {
            let exec = exec(&a, number);
            exec.state().started = true;
            execs.add(exec).unwrap();
        }
        assert_eq!(execs.add(exec(&a, MAX_EXECS)).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn one_is_started_once_and_only_in_its_run() {
        let one = exec(&ContainerId::from_raw([1; 32]), 0);
        let may = |run| one.may_start(&one.state(), &ExecStart::default(), run).map_err(|e| e.kind());
        assert_eq!((may(7), may(8)), (Ok(()), Err(ErrorKind::NotFound)), "the next run is not its own");
        one.state().started = true;
        assert_eq!(may(7), Err(ErrorKind::Conflict));
        one.ended(0);
        assert_eq!((may(7), may(8)), (Err(ErrorKind::Conflict), Err(ErrorKind::Conflict)));
    }

    #[test]
    fn what_is_on_its_way_when_the_container_ends_has_an_end() {
        let execs = Execs::default();
        let a = ContainerId::from_raw([1; 32]);
        execs.add(exec(&a, 0)).unwrap();
        let claimed = execs.claim(&exec(&a, 0).id, |_, _| Ok(())).unwrap();
        execs.container_ended(&a);
        assert_eq!(claimed.state().exit_code, Some(KILLED));
        assert!(execs.find(&claimed.id).is_ok() && execs.alive(&a).is_empty());
        // What its start says afterwards is not the reason.
        claimed.over(126);
        assert_eq!(claimed.state().exit_code, Some(KILLED));
        // One that came too late leaves nothing behind.
        let late = exec(&a, 1);
        execs.add(late.clone()).unwrap();
        execs.forget(&late);
        assert!(execs.find(&late.id).is_err() && execs.find(&claimed.id).is_ok());
        execs.forget(&claimed);
        assert!(execs.lock().by_container.is_empty() && execs.lock().by_id.is_empty());
    }

    #[test]
    fn what_runs_ends_with_its_container_and_what_waits_is_gone() {
        let execs = Execs::default();
        let [a, b] = [[1; 32], [2; 32]].map(ContainerId::from_raw);
        let [running, waiting, over, other] = [exec(&a, 0), exec(&a, 1), exec(&a, 2), exec(&b, 0)];
        {
            let mut state = running.state();
            (state.started, state.running) = (true, true);
        }
        over.ended(3);
        for exec in [&running, &waiting, &over, &other] {
            execs.add(exec.clone()).unwrap();
        }
        execs.container_ended(&a);
        assert_eq!((running.state().exit_code, over.state().exit_code), (Some(KILLED), Some(3)));
        assert_eq!(execs.find(&waiting.id).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(execs.claim(&waiting.id, |_, _| Ok(())).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(execs.find(&running.id).is_ok() && execs.find(&other.id).is_ok());
        assert_eq!(execs.alive(&a), Vec::<String>::new());
    }
}
