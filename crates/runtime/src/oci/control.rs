//! `kill`, `delete`, `pause`, `resume`.

use super::args::{self, Flag, Line};
use super::record::{Dir, Record};
use super::{Global, ids};
use crate::context::Context;
use crate::hooks;
use crate::state::Status;
use dhow_types::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};

/// How long a killed process may take to go.
const KILL_WAIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const SIGKILL: i32 = 9;

/// `kill ID [SIGNAL]`.
pub(crate) fn kill(global: &Global, words: Vec<OsString>) -> Result<i32> {
    let line = Line::all(&[Flag::switch("all", "a")], words)?;
    let (id, signal) = match line.rest.as_slice() {
        [] => return Err(Error::invalid("the container's id is missing")),
        [id] => (id, 15),
        [id, signal] => (id, ids::signal(&args::text(signal)?)?),
        [.., extra] => return Err(Error::invalid(format!("unexpected argument {:?}", extra.to_string_lossy()))),
    };
    let dir = Dir::open(&global.root, &args::text(id)?)?;
    let record = dir.record()?;
    if line.has("all") {
        return kill_all(&record, signal).map(|()| 0);
    }
    let init = record.process()?.ok_or_else(|| Error::conflict(format!("container {} is not running", dir.id)))?;
    send(init.as_fd(), signal)?;
    // A frozen process would die only when it thaws.
    if signal == SIGKILL
        && let Some(group) = record.group()?
        && group.frozen().unwrap_or(false)
    {
        group.freeze(false)?;
    }
    Ok(0)
}

fn kill_all(record: &Record, signal: i32) -> Result<()> {
    let Some(group) = record.group()? else {
        // As runc: a container that is gone has nobody left to signal.
        return Ok(());
    };
    if signal == SIGKILL {
        return group.kill_all();
    }
    group.signal_all(signal)
}

fn send(process: BorrowedFd<'_>, signal: i32) -> Result<()> {
    match dhow_sys::clone::send_signal(process, signal) {
        // It ended between the look and the call, which is what most signals are for.
        Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(()),
        result => result.with_context(|| format!("send signal {signal}")),
    }
}

/// `delete ID`.
pub(crate) fn delete(global: &Global, words: Vec<OsString>, warn: &mut dyn FnMut(&[String])) -> Result<i32> {
    let line = Line::all(&[Flag::switch("force", "f")], words)?;
    let force = line.has("force");
    let id = line.only_id()?;
    let dir = match Dir::open(&global.root, &id) {
        Err(e) if force && e.kind() == ErrorKind::NotFound => return Ok(0),
        dir => dir?,
    };
    let record = match dir.record() {
        // Half made, or damaged: with force what is left of it goes.
        Err(_) if force => return dir.remove().map(|()| 0),
        record => record?,
    };
    let status = record.status(&dir)?;
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        return Err(Error::conflict(format!(
            "container {id} is {}; end it first (`kill {id} KILL`), or give --force",
            status.as_str()
        )));
    }
    if let Some(init) = record.process()? {
        end(&record, init.as_fd())?;
    }
    // Goes on after a failure, and says them all.
    let mut errors: Vec<Error> = Vec::new();
    if let Some(group) = record.group()? {
        errors.extend(group.kill_all().err());
        errors.extend(group.delete().err());
    }
    let poststop = dir.spec().map(|s| s.hooks.map(|h| h.poststop).unwrap_or_default());
    errors.extend(dir.remove().err());
    match poststop {
        Ok(list) => {
            if let Err(e) = hooks::run("poststop", &list, &record.state(Status::Stopped)) {
                warn(&[e.text().to_owned()]);
            }
        }
        Err(e) => errors.push(e),
    }
    match errors.into_iter().reduce(|a, b| Error::new(a.kind(), format!("{}; {}", a.text(), b.text()))) {
        None => Ok(0),
        Some(e) => Err(e.prefixed(format!("delete {id}"))),
    }
}

fn end(record: &Record, init: BorrowedFd<'_>) -> Result<()> {
    match pidfd_send_signal(init, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(e) => return Err(e).context("kill the container's process"),
    }
    if let Some(group) = record.group()?
        && group.frozen().unwrap_or(false)
    {
        group.freeze(false)?;
    }
    let mut ended = [PollFd::from_borrowed_fd(init, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut ended, Some(&KILL_WAIT))).context("wait for the container's end")? {
        0 => Err(Error::unavailable(format!("process {} does not end although it was killed", record.pid))),
        _ => Ok(()),
    }
}

/// `pause ID` and `resume ID`.
pub(crate) fn freeze(global: &Global, words: Vec<OsString>, on: bool) -> Result<i32> {
    let dir = Dir::open(&global.root, &Line::all(&[], words)?.only_id()?)?;
    let record = dir.record()?;
    let (wanted, verb) = if on { (Status::Running, "paused") } else { (Status::Paused, "resumed") };
    let status = record.status(&dir)?;
    if status != wanted && !(on && status == Status::Created) {
        return Err(Error::conflict(format!("container {} is {}; it can't be {verb}", dir.id, status.as_str())));
    }
    match record.group()? {
        Some(group) => group.freeze(on).map(|()| 0),
        None => Err(Error::unavailable(format!("container {} has no cgroup to be {verb} with", dir.id))),
    }
}
