//! `stop`, `restart` and `rm -f` of what does not end by itself: who can't hear the signal, and who can't be killed.

use super::clients::docker_ok;
use crate::daemon::{Daemon, until};
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

super::cases!("stop":
    who_does_not_hear_is_killed_and_told, who_hears_ends_by_itself, somebody_said_how_long, the_daemon_waits_if_told,
    docker_stops_a_shell, a_zombie_nobody_collects, frozen_from_outside, left_by_host_pids,
);

const DEAF: &str = "neither handles nor blocks SIGTERM";

fn code(d: &Daemon, id: &str) -> Result<String> {
    d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id])
}

/// A container whose program says when it is ready.
fn ready(d: &Daemon, more: &[&str], script: &str) -> Result<String> {
    let script = format!("{script}; echo ready; while :; do read -t 1 x; done");
    let id = d.ok(&[&["run", "-d", "-i"], more, &["busybox", "sh", "-c", &script]].concat())?;
    until("the container to be ready", || Ok(d.ok(&["logs", &id])?.contains("ready").then_some(())))?;
    Ok(id)
}

fn who_does_not_hear_is_killed_and_told(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (script, why) in [(":", DEAF), ("trap '' TERM", "ignores SIGTERM"), ("trap : USR1", DEAF)] {
        let id = ready(&d, &[], script)?;
        let ran = d.cli(&["stop", &id])?;
        ensure!(ran.code == 0 && ran.out.trim() == id, "{ran:?}");
        ensure!(ran.err.contains("PID 1 (sh)") && ran.err.contains(why) && ran.err.contains("--init"), "{}", ran.err);
        ensure!(code(&d, &id)? == "exited 137", "{script}");
        d.ok(&["start", &id])?;
        let (status, head, _) = d.http("POST", &format!("/containers/{id}/stop"), "")?;
        ensure!(status == 204 && head.to_lowercase().contains("dhow-note: pid 1 (sh) "), "{status} {head}");
        d.ok(&["rm", &id])?;
    }
    let id = ready(&d, &[], ":")?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let ran = d.cli(&["restart", &id])?;
    ensure!(ran.code == 0 && ran.err.contains(DEAF), "{ran:?}");
    ensure!(code(&d, &id)? == "running 0" && d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])? != pid);
    let ran = d.cli(&["rm", "-f", &id])?;
    ensure!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
    Ok(())
}

fn who_hears_ends_by_itself(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (more, script, want) in [
        (&[][..], "trap 'exit 5' TERM", "exited 5"),
        (&["--init"], ":", "exited 143"),
        (&["--pid", "host"], ":", "exited 143"),
        (&["--stop-signal", "USR1"], "trap '' TERM; trap 'exit 6' USR1", "exited 6"),
    ] {
        let id = ready(&d, more, script)?;
        let ran = d.cli(&["stop", &id])?;
        ensure!(ran.code == 0 && ran.err.is_empty(), "{more:?}: {ran:?}");
        ensure!(code(&d, &id)? == want, "{more:?}: {}", code(&d, &id)?);
        d.ok(&["rm", &id])?;
    }
    // Paused, it hears it when it goes on.
    let id = ready(&d, &[], "trap 'exit 5' TERM")?;
    d.ok(&["pause", &id])?;
    d.ok(&["stop", &id])?;
    ensure!(code(&d, &id)? == "exited 5");
    Ok(())
}

fn somebody_said_how_long(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (more, words) in [(&[][..], &["stop", "-t", "1"][..]), (&["--stop-timeout", "1"], &["stop"])] {
        let id = ready(&d, more, ":")?;
        let ran = d.cli(&[words, &[id.as_str()]].concat())?;
        ensure!(ran.code == 0 && ran.err.is_empty(), "it was waited for: {ran:?}");
        ensure!(code(&d, &id)? == "exited 137");
    }
    Ok(())
}

fn the_daemon_waits_if_told(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.end()?;
    d.configure(r#"{"stop-unheeded": "wait"}"#)?;
    d.up()?;
    let id = ready(&d, &[], ":")?;
    let ran = d.cli(&["stop", &id])?;
    ensure!(ran.code == 0 && ran.err.is_empty(), "it was waited for: {ran:?}");
    ensure!(code(&d, &id)? == "exited 137");
    Ok(())
}

fn docker_stops_a_shell(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = ready(&d, &[], ":")?;
    ensure!(docker_ok(&d, &["stop", &id])?.trim() == id);
    ensure!(code(&d, &id)? == "exited 137");
    Ok(())
}

/// Ended with the test.
struct Outside(Child);

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.signal(Signal::CONT);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Outside {
    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), signal)?)
    }
}

fn a_zombie_nobody_collects(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "--name", "held", "busybox", "sleep", "1000"])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let Ok(child) = Command::new("nsenter").args(["-t", &pid, "-p", "sleep", "1000"]).stdout(Stdio::null()).spawn()
    else {
        return skip("no nsenter");
    };
    let outside = Outside(child);
    let children = format!("/proc/{0}/task/{0}/children", outside.0.id());
    let held = until("the process in the container", || {
        Ok(std::fs::read_to_string(&children)?.split_whitespace().next().map(str::to_owned))
    })?;
    outside.signal(Signal::STOP)?;
    d.cli(&["rm", "-f", "held"])?.fails(
        1,
        &[
            "cannot remove container \"/held\": could not kill",
            &format!("process {held} (sleep) has ended"),
            &format!("process {} (nsenter), is stopped", outside.0.id()),
            "it is removed as soon as it ends",
        ],
    )?;
    ensure!(d.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"])? == "held dead Dead");
    d.cli(&["start", "held"])?.fails(1, &["marked for removal"])?;
    d.cli(&["rm", "held"])?.fails(1, &["is removed as soon as it ends"])?;
    // Another daemon knows it too.
    d.kill()?;
    d.up()?;
    ensure!(d.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"])? == "held dead");
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "works"])? == "works");
    outside.signal(Signal::CONT)?;
    until("the container to go", || Ok(d.ok(&["ps", "-aq"])?.is_empty().then_some(())))?;
    ensure!(!d.root().join("containers").join(&id).exists());
    d.ok(&["run", "--name", "held", "busybox", "true"])?;
    Ok(())
}

/// A group of v1's freezer, removed with the test.
struct Freezer(PathBuf);

impl Freezer {
    fn write(&self, file: &str, text: &str) -> Result<()> {
        std::fs::write(self.0.join(file), text).with_context(|| format!("{file} of {}", self.0.display()))
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = self.write("freezer.state", "THAWED");
        let _ = until("the group to be empty", || Ok(std::fs::remove_dir(&self.0).ok()));
    }
}

fn frozen_from_outside(w: &World) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup/freezer");
    if !root.join("cgroup.procs").exists() {
        return skip("no freezer of control groups v1");
    }
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "--name", "cold", "busybox", "sleep", "1000"])?;
    let group = Freezer(root.join(format!("dhow-test-{}", &id[..12])));
    std::fs::create_dir(&group.0)?;
    group.write("cgroup.procs", &d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?)?;
    group.write("freezer.state", "FROZEN")?;
    d.cli(&["kill", "cold"])?
        .fails(1, &["can't be killed", &format!("frozen by the control group {}", group.0.display()), "echo THAWED"])?;
    group.write("freezer.state", "THAWED")?;
    until("the end", || Ok((code(&d, &id)? == "exited 137").then_some(())))?;
    d.ok(&["rm", "cold"])?;
    Ok(())
}

fn left_by_host_pids(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = ready(&d, &["--pid", "host"], "setsid sleep 4242 & :")?;
    let groups = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mine = crate::daemon::pids().into_iter().find(|pid| groups(*pid).contains(&id) && is_sleep(*pid));
    let mine = mine.context("the process that left the tree")?;
    d.ok(&["kill", &id])?;
    until("its end", || Ok((!is_sleep(mine)).then_some(())))?;
    ensure!(code(&d, &id)? == "exited 137");
    Ok(())
}

fn is_sleep(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.replace('\0', " ").contains("sleep 4242"))
}
