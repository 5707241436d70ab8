//! Runs the hooks of a document: each gets the container's state on its stdin, may be given a time, and fails the
//! operation if it exits with anything but 0.

use crate::context::Context;
use crate::spec::Hook;
use crate::state::State;
use dhow_sys::clone::{self, Child};
use dhow_sys::exec::{self, CStringArray};
use dhow_sys::fds;
use dhow_types::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use std::ffi::CString;
use std::os::fd::AsFd;

/// The most hooks of one kind.
const MAX_HOOKS: usize = 128;

/// Runs `hooks` in order and stops at the first that fails.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    check(kind, hooks)?;
    let document = serde_json::to_vec(state).map_err(|e| Error::system(e.to_string()))?;
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &document).with_context(|| format!("{kind} hook #{index} ({})", hook.path))?;
    }
    Ok(())
}

/// What can be said about hooks before any of them runs.
pub(crate) fn check(kind: &str, hooks: &[Hook]) -> Result<()> {
    if hooks.len() > MAX_HOOKS {
        return Err(Error::invalid(format!("{} {kind} hooks; at most {MAX_HOOKS} are run", hooks.len())));
    }
    for hook in hooks {
        if !hook.path.starts_with('/') {
            return Err(Error::invalid(format!("{kind} hook {:?}: the path is not absolute", hook.path)));
        }
        if hook.timeout.is_some_and(|t| t <= 0) {
            return Err(Error::invalid(format!("{kind} hook {}: the timeout is not positive", hook.path)));
        }
    }
    Ok(())
}

fn run_one(hook: &Hook, document: &[u8]) -> Result<()> {
    // A memfd, not a pipe: a hook that never reads must not block us, nor one that reads late miss anything.
    let stdin = memfd_create("state", MemfdFlags::CLOEXEC).context("make the state document")?;
    let mut written = 0;
    while written < document.len() {
        written += rustix::io::pwrite(&stdin, &document[written..], written as u64).context("write the state")?;
    }
    let path = CString::new(hook.path.as_str()).map_err(|_| Error::invalid("the path has a NUL byte"))?;
    let args: Vec<&str> = match hook.args.as_slice() {
        [] => vec![&hook.path],
        args => args.iter().map(String::as_str).collect(),
    };
    let args = CStringArray::new(args).context("arguments")?;
    let env = CStringArray::new(hook.env.iter().map(String::as_str)).context("environment")?;
    let null =
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).context("open /dev/null")?;
    let child = clone::spawn(0, None, || {
        exec::reset_signals();
        let placed = fds::place(stdin.as_fd(), 0)
            .and_then(|()| fds::place(null.as_fd(), 1))
            .and_then(|()| fds::place(null.as_fd(), 2))
            .and_then(|()| fds::cloexec_from(3));
        if placed.is_ok() {
            exec::execve(&path, &args, &env);
        }
        127
    })
    .context("make a process")?;
    wait(&child, hook.timeout)
}

fn wait(child: &Child, timeout: Option<i64>) -> Result<()> {
    let limit = timeout.map(|s| Timespec { tv_sec: s, tv_nsec: 0 });
    let mut ready = [PollFd::new(&child.pidfd, PollFlags::IN)];
    let late = rustix::io::retry_on_intr(|| poll(&mut ready, limit.as_ref())).context("wait for it")? == 0;
    if late {
        let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    }
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED))
        .context("wait for it")?;
    if late {
        return Err(Error::system(format!("did not end within its {} s and was killed", timeout.unwrap_or(0))));
    }
    match status.and_then(|s| s.exit_status().map(Ok).or_else(|| s.terminating_signal().map(Err))) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(127)) => Err(Error::system("exit status 127 (the program can't be run)")),
        Some(Ok(code)) => Err(Error::system(format!("exit status {code}"))),
        Some(Err(signal)) => Err(Error::system(format!("killed by signal {signal}"))),
        None => Err(Error::system("ended in an unknown way")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Status;

    fn state() -> State {
        State {
            oci_version: "1.3.0".into(),
            id: "x".into(),
            status: Status::Creating,
            pid: Some(1),
            bundle: "/b".into(),
            annotations: Default::default(),
        }
    }

    fn sh(script: &str, timeout: Option<i64>) -> Hook {
        Hook { path: "/bin/sh".into(), args: vec!["sh".into(), "-c".into(), script.into()], env: vec![], timeout }
    }

    #[test]
    fn a_hook_reads_the_state_and_its_status_counts() {
        run("prestart", &[sh("grep -q '\"id\":\"x\"'", None)], &state()).unwrap();
        let e = run("prestart", &[sh("exit 3", Some(10))], &state()).unwrap_err();
        assert_eq!(e.text(), "prestart hook #0 (/bin/sh): exit status 3");
    }

    #[test]
    fn a_hook_that_hangs_is_killed_and_bad_hooks_are_refused() {
        let e = run("poststop", &[sh("exec sleep 1000", Some(1))], &state()).unwrap_err();
        assert!(e.text().contains("was killed"), "{e}");
        assert!(run("prestart", &[Hook { path: "sh".into(), ..Hook::default() }], &state()).is_err());
        assert!(run("prestart", &[sh("true", Some(0))], &state()).is_err());
    }
}
