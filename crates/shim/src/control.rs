//! What each request does to the container.

use crate::capture::Capture;
use crate::connection::Connection;
use crate::exit;
use crate::heed;
use crate::launch::{Pipes, Wanted, take_fd};
use crate::protocol::{Exec, ExecSeccomp, MAX_EXECS, Reply, Request, State, VERSION};
use crate::stdio::{Policy, Stdio};
use crate::supervisor::{Process, Supervisor};
use dhow_cgroup::{Group, Resources};
use dhow_types::{Error, ErrorKind, Result};
use rustix::process::Signal;
use std::os::fd::{AsFd, OwnedFd};

impl Supervisor {
    /// Carries a request out and says how it went.
    pub fn answer(&mut self, request: Request, mut fds: Vec<Option<OwnedFd>>, connection: &mut Connection) -> Reply {
        let done = match request {
            Request::Hello => return hello(),
            Request::State => return Reply::State(self.state()),
            Request::Subscribe => {
                connection.subscribed = true;
                return Reply::State(self.state());
            }
            Request::Update { resources, number, back } => {
                let updated = if back { self.take_back(number) } else { self.update(&resources, number) };
                return updated.map_or_else(|e| Reply::Failed(e.into()), |warnings| Reply::Updated { warnings });
            }
            Request::Exec(exec) => return self.exec(*exec, fds).unwrap_or_else(|e| Reply::Failed(e.into())),
            Request::Launch(_) => Err(Error::conflict("this shim has a container already")),
            Request::Attach { exec_id, options } => self.running(exec_id.as_deref()).and_then(|id| {
                let socket = take_fd(&mut fds, options.fd)?;
                self.attach(id, socket, options)
            }),
            Request::Resize { exec_id, width, height } => {
                self.process(exec_id.as_deref()).and_then(|p| p.stdio.resize(width, height))
            }
            Request::Signal { exec_id, signo, all } => self.signal(exec_id.as_deref(), signo, all),
            Request::Stop { signo } => {
                let before = self.process(None).ok().and_then(|p| heed::look(p.pid, signo));
                return match self.signal(None, signo, false) {
                    Ok(()) => Reply::Stopping { unheeded: before.and_then(|_| heed::look(self.pid(), signo)) },
                    Err(e) => Reply::Failed(e.into()),
                };
            }
            Request::CloseStdin { exec_id } => self.running(exec_id.as_deref()).map(|id| {
                if let Some(process) = self.processes.iter_mut().find(|p| p.id == id) {
                    process.stdio.close_input(&self.reactor);
                }
            }),
        };
        done.map_or_else(|e| Reply::Failed(e.into()), |()| Reply::Done)
    }

    fn update(&mut self, resources: &Resources, number: u64) -> Result<Vec<String>> {
        self.undo = None;
        let no_group = || Error::new(ErrorKind::Unavailable, "the container has no control group");
        let (warnings, undo) = self.group.as_ref().ok_or_else(no_group)?.change(resources)?;
        self.undo = Some((number, undo));
        Ok(warnings)
    }

    fn take_back(&mut self, number: u64) -> Result<Vec<String>> {
        match (&self.group, self.undo.take()) {
            (Some(group), Some((last, undo))) if last == number => group.take_back(undo).map(|()| Vec::new()),
            // It was never made.
            _ => Ok(Vec::new()),
        }
    }

    fn state(&self) -> State {
        let execs = self.processes.iter().filter(|p| p.ended.is_none());
        State {
            protocol: VERSION,
            id: self.id.clone(),
            pid: self.pid(),
            shim_pid: own_pid(),
            started_at: self.started_at.clone(),
            exit: self.exit.clone(),
            execs: execs.filter_map(|p| Some((p.exec_id.clone()?, p.pid))).collect(),
            clients: self.clients(),
        }
    }

    /// The process of that name, running; the container's own without a name.
    fn process(&self, exec_id: Option<&str>) -> Result<&Process> {
        let found = self.processes.iter().find(|p| p.exec_id.as_deref() == exec_id);
        match (found.filter(|p| p.ended.is_none()), exec_id) {
            (Some(process), _) => Ok(process),
            (None, Some(exec_id)) => Err(Error::not_found(format!("exec process {exec_id} does not run"))),
            (None, None) => Err(Error::not_found("the container's process has ended")),
        }
    }

    fn running(&self, exec_id: Option<&str>) -> Result<u32> {
        self.process(exec_id).map(|p| p.id)
    }

    fn signal(&mut self, exec_id: Option<&str>, signo: i32, all: bool) -> Result<()> {
        let process = self.process(exec_id)?;
        match (&self.group, all) {
            (Some(group), true) => signal_all(group, signo),
            (None, true) => Err(Error::not_implemented("a signal to all processes of a container without a cgroup")),
            (_, false) => match exit::signal(process.pidfd.as_fd(), signo)? {
                true => Ok(()),
                false => Err(Error::not_found("the process has ended")),
            },
        }
    }

    fn exec(&mut self, exec: Exec, mut fds: Vec<Option<OwnedFd>>) -> Result<Reply> {
        let main = self.process(None)?;
        if self.processes.iter().any(|p| p.exec_id.as_deref() == Some(&exec.exec_id)) {
            return Err(Error::conflict(format!("exec process {} runs already", exec.exec_id)));
        }
        if self.processes.len() > MAX_EXECS {
            let text = format!("{MAX_EXECS} exec processes run in the container already");
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        let client = match &exec.attach {
            Some(options) => Some((take_fd(&mut fds, options.fd)?, options.clone())),
            None => None,
        };
        if exec.capture.is_some() && (exec.process.terminal || exec.attach.is_some()) {
            return Err(Error::invalid("an exec whose output is kept can have neither a terminal nor a client"));
        }
        let wanted = Wanted {
            together: exec.capture.is_some(),
            stdout: exec.attach.as_ref().is_some_and(|a| a.stdout),
            stderr: exec.attach.as_ref().is_some_and(|a| a.stderr),
        };
        let mut pipes = Pipes::for_process(Some(&exec.process), exec.open_stdin, wanted)?;
        let unconfined;
        let (spec, seccomp) = match &exec.seccomp {
            ExecSeccomp::Inherit => (&self.exec_spec, self.seccomp.as_ref()),
            ExecSeccomp::Program(program) => (&self.exec_spec, Some(program.as_ref())),
            ExecSeccomp::Unconfined => {
                let mut spec = self.exec_spec.clone();
                if let Some(linux) = &mut spec.linux {
                    linux.seccomp = None;
                }
                unconfined = spec;
                (&unconfined, None)
            }
        };
        let mut order = dhow_runtime::Exec::new(main.pidfd.as_fd(), spec, &exec.process, pipes.take_inner());
        order.cgroup = self.group.as_ref();
        order.seccomp = seccomp;
        order.parent_death_signal = Some(Signal::KILL);
        let mut created = dhow_runtime::exec(order)?;
        let pidfd = exit::own_pidfd(created.pidfd())?;
        let policy = Policy { open_stdin: exec.open_stdin, stdin_once: true };
        let (pid, warnings) = (created.pid(), created.warnings().to_vec());
        let id = self.next_id();
        let adopted = pipes
            .outer(created.console())
            .and_then(|ends| Stdio::new(id, ends, policy))
            .and_then(|stdio| {
                let mut process = Process::new(id, Some(exec.exec_id), pid, pidfd, stdio);
                process.capture = exec.capture.as_ref().map(|wanted| Box::new(Capture::new(wanted)));
                self.add_process(process)
            })
            .and_then(|()| match &exec.pid_file {
                Some(path) => exit::write_atomically(path, pid.to_string().as_bytes()),
                None => Ok(()),
            })
            .and_then(|()| match client {
                Some((socket, options)) => self.attach(id, socket, options),
                None => Ok(()),
            });
        if let Err(e) = adopted {
            let _ = exit::signal(created.pidfd(), Signal::KILL.as_raw());
            if self.processes.iter().all(|p| p.id != id) {
                exit::reap_now(created.pidfd());
            }
            return Err(e);
        }
        Ok(Reply::ExecStarted { pid, warnings })
    }
}

/// The answer to [`Request::Hello`].
pub fn hello() -> Reply {
    Reply::Hello { protocol: VERSION, pid: own_pid() }
}

/// The shim's own process id.
pub fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// To every process of the group. SIGKILL is final; others may miss a process that is being born.
fn signal_all(group: &Group, signo: i32) -> Result<()> {
    if signo == Signal::KILL.as_raw() { group.kill_all() } else { group.signal_all(signo) }
}
