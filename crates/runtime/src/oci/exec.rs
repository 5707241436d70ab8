//! `exec`.

use super::args::{self, Flag, Line};
use super::foreground::{self, Relay};
use super::record::{self, Dir};
use super::run::{pid_file, preserve_fds};
use super::{Global, ids, terminal};
use crate::context::Context;
use crate::launch::{Exec, Stdio};
use crate::spec::{Capabilities, ConsoleSize, Process, Spec};
use crate::state::Status;
use dhow_types::{Error, Result};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;

const FLAGS: &[Flag] = &[
    Flag::value("console-socket", ""),
    Flag::value("pidfd-socket", ""),
    Flag::value("cwd", ""),
    Flag::value("env", "e"),
    Flag::switch("tty", "t"),
    Flag::value("user", "u"),
    Flag::value("additional-gids", "g"),
    Flag::value("process", "p"),
    Flag::switch("detach", "d"),
    Flag::value("pid-file", ""),
    Flag::value("process-label", ""),
    Flag::value("apparmor", ""),
    Flag::switch("no-new-privs", ""),
    Flag::value("cap", "c"),
    Flag::value("preserve-fds", ""),
    Flag::value("cgroup", ""),
    Flag::switch("ignore-paused", ""),
];

/// `exec ID COMMAND...`.
pub(crate) fn exec(global: &Global, words: Vec<OsString>, warn: &mut dyn FnMut(&[String])) -> Result<i32> {
    let line = Line::around_id(FLAGS, words)?;
    let (id, command) = line.rest.split_first().ok_or_else(|| Error::invalid("the container's id is missing"))?;
    if line.path("cgroup").is_some() {
        return Err(Error::not_implemented("--cgroup: exec into a sub-group is not supported"));
    }
    let dir = Dir::open(&global.root, &args::text(id)?)?;
    let record = dir.record()?;
    let init = match record.process()? {
        Some(init) => init,
        None => return Err(Error::conflict(format!("container {} is not running", dir.id))),
    };
    if record.status(&dir)? == Status::Paused && !line.has("ignore-paused") {
        return Err(Error::conflict(format!("container {} is paused; resume it, or give --ignore-paused", dir.id)));
    }
    let spec = dir.spec()?;
    let process = process(&line, command, &spec)?;
    let detach = line.has("detach");
    let console_socket = line.path("console-socket");
    terminal::check(process.terminal, detach, console_socket)?;
    let stdio = if process.terminal { Stdio::Console { size: process.console_size } } else { Stdio::Inherit };
    let group = record.group()?;
    let mut order = Exec::new(init.as_fd(), &spec, &process, stdio);
    order.cgroup = group.as_ref();
    order.preserve_fds = preserve_fds(global, &line)?;
    let signals = if detach { None } else { Some(foreground::hold_signals()?) };
    let mut created = crate::exec(order)?;
    warn(created.warnings());
    let relay = match (created.console(), console_socket) {
        (Some(master), Some(socket)) => {
            terminal::send(socket, &master)?;
            None
        }
        (Some(master), None) => Some(Relay::new(master)?),
        (None, _) => None,
    };
    if let Some(socket) = line.path("pidfd-socket") {
        terminal::send_pidfd(socket, created.pidfd())?;
    }
    if let Some(path) = line.path("pid-file") {
        pid_file(path, created.pid())?;
    }
    match signals {
        None => Ok(0),
        Some(signals) => foreground::wait(&created, signals, relay),
    }
}

/// The process: from `--process`, or the container's own with what the flags change.
fn process(line: &Line, command: &[OsString], spec: &Spec) -> Result<Process> {
    if let Some(path) = line.path("process") {
        let what = || format!("--process {}", path.display());
        let text = record::read_limited(File::open(path).with_context(what)?).with_context(what)?;
        return serde_json::from_slice(&text).map_err(|e| Error::invalid(format!("{}: {e}", what())));
    }
    if command.is_empty() {
        return Err(Error::invalid("the command to run is missing (or --process)"));
    }
    let mut p = spec.process.clone().unwrap_or_default();
    p.args = command.iter().map(|w| args::text(w)).collect::<Result<_>>()?;
    p.terminal = line.has("tty");
    p.console_size = None::<ConsoleSize>;
    if let Some(cwd) = line.text("cwd")? {
        p.cwd = cwd.to_owned();
    }
    p.env.extend(line.texts("env")?);
    if let Some(profile) = line.text("apparmor")? {
        p.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = line.text("process-label")? {
        p.selinux_label = Some(label.to_owned());
    }
    if line.path("no-new-privs").is_some() {
        p.no_new_privileges = line.has("no-new-privs");
    }
    if let Some(user) = line.text("user")? {
        let (uid, gid) = ids::user(user)?;
        p.user.uid = uid;
        if let Some(gid) = gid {
            p.user.gid = gid;
        }
    }
    for gids in line.texts("additional-gids")? {
        for gid in gids.split(',') {
            p.user.additional_gids.push(ids::user(gid)?.0);
        }
    }
    let caps = line.texts("cap")?;
    if !caps.is_empty() {
        // Not inheritable, and so not ambient either: those would leak to programs of other users (2022-29162).
        let sets = p.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(caps.iter().map(|c| match c.starts_with("CAP_") {
                true => c.clone(),
                false => format!("CAP_{}", c.to_ascii_uppercase()),
            }));
        }
    }
    Ok(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn flags_change_the_containers_own_process() {
        let spec: Spec = serde_json::from_str(
            r#"{"process":{"terminal":true,"args":["init"],"cwd":"/w","env":["A=1"],"user":{"uid":5,"gid":6},
                "capabilities":{"bounding":["CAP_KILL"],"inheritable":["CAP_KILL"]}}}"#,
        )
        .unwrap();
        let line = Line::around_id(FLAGS, words("-e B=2 id --user 7 -c net_raw -g 8,9 sh -c x")).unwrap();
        let p = process(&line, &line.rest[1..], &spec).unwrap();
        assert_eq!(
            (p.args.as_slice(), p.terminal, p.cwd.as_str()),
            (&["sh", "-c", "x"].map(String::from)[..], false, "/w")
        );
        assert_eq!((p.user.uid, p.user.gid, p.user.additional_gids), (7, 6, vec![8, 9]));
        assert_eq!(p.env, ["A=1", "B=2"]);
        let caps = p.capabilities.unwrap();
        assert_eq!((caps.bounding.len(), caps.inheritable.len(), caps.ambient.len()), (2, 1, 0));
        let line = Line::around_id(FLAGS, words("id")).unwrap();
        assert!(process(&line, &line.rest[1..], &spec).is_err());
    }
}
