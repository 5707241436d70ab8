//! Restart policies: who is started again, how often, by what it is ended, and over daemons that come and go.
//!
//! Nothing here looks at a clock: loops are seen by `RestartCount`, waits by the state, and by when they are due.

use super::clients::{docker_ok, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

super::cases!("restarts":
    a_crash_loop_goes_on_until_it_is_stopped, on_failure_counts, what_ended_well_or_by_hand_stays, stop_kill_rm_and_start_end_the_wait,
    a_killed_daemon_goes_on_with_the_wait, ends_while_the_daemon_is_away, unless_stopped_over_a_killed_daemon, what_is_started_with_the_daemon,
    joined_ones_come_after_what_they_join, a_start_that_fails_is_tried_again, waits_end_at_each_exit, what_a_waiting_one_refuses,
    policies_are_checked, a_lost_shim_is_an_end, docker_and_docker_py_see_policies,
);

fn show(d: &Daemon, id: &str, format: &str) -> Result<String> {
    d.ok(&["inspect", "-f", format, id])
}

fn count(d: &Daemon, id: &str) -> Result<u64> {
    Ok(show(d, id, "{{.RestartCount}}")?.parse()?)
}

fn status(d: &Daemon, id: &str) -> Result<String> {
    show(d, id, "{{.State.Status}}")
}

fn reaches(d: &Daemon, id: &str, want: &str) -> Result<()> {
    until(want, || Ok((status(d, id)? == want).then_some(()))).with_context(|| format!("container {id}"))
}

fn restarted(d: &Daemon, id: &str, at_least: u64) -> Result<()> {
    until("restarts", || Ok((count(d, id)? >= at_least).then_some(())))
}

/// A folder of the machine that a container looks into.
struct Gate(PathBuf);

impl Gate {
    fn new(d: &Daemon, name: &str) -> Result<Self> {
        let dir = d.dir.path().join(name);
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
    fn bind(&self) -> String {
        format!("{}:/g", self.0.display())
    }
    fn open(&self) -> Result<()> {
        Ok(std::fs::write(self.0.join("go"), "")?)
    }
    fn close(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.0.join("go"))?)
    }
    /// Lines that the container wrote, one a start.
    fn starts(&self) -> usize {
        std::fs::read_to_string(self.0.join("starts")).unwrap_or_default().lines().count()
    }
}

/// Says that it was started, and ends with a code as soon as the gate is open.
fn gated(d: &Daemon, gate: &Gate, flags: &[&str], code: u8) -> Result<String> {
    let script = format!("echo up >> /g/starts; while [ ! -e /g/go ]; do sleep 0.02; done; exit {code}");
    d.ok(&[&["run", "-d", "-v", &gate.bind()], flags, &["busybox", "sh", "-c", &script]].concat())
}

/// One that fails at once, again and again.
fn failing(d: &Daemon, flags: &[&str]) -> Result<String> {
    d.ok(&[&["run", "-d"], flags, &["busybox", "sh", "-c", "exit 3"]].concat())
}

/// The start of the run before, once it waits for its next one, and has been started so often by itself.
fn waits(d: &Daemon, id: &str, restarts: u64) -> Result<String> {
    until("a wait for the next start", || {
        let state = show(d, id, "{{.State.Status}} {{.RestartCount}} {{.State.StartedAt}}")?;
        let mut words = state.split(' ');
        let waits = words.next() == Some("restarting");
        let count: u64 = words.next().unwrap_or_default().parse()?;
        Ok((waits && count >= restarts).then(|| words.next().unwrap_or_default().to_owned()))
    })
}

/// Does something to one that waits for its next start. If that comes in the middle, the machine was slow, and it is done
/// again in a wait that is twice as long; `back` makes it fail again.
fn in_a_wait(d: &Daemon, id: &str, back: &dyn Fn() -> Result<()>, mut f: impl FnMut() -> Result<()>) -> Result<()> {
    // The waits are 100 ms, 200 ms, …: first one of 3.2 s, at last one of 51 s.
    const FIRST: u64 = 5;
    const LAST: u64 = 9;
    for restarts in FIRST.. {
        let before = waits(d, id, restarts)?;
        let done = f();
        if done.is_ok() || restarts == LAST || show(d, id, "{{.State.StartedAt}}")? == before {
            return done;
        }
        back()?;
    }
    Ok(())
}

fn a_crash_loop_goes_on_until_it_is_stopped(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let gate = Gate::new(&d, "loop")?;
    gate.open()?;
    let id = gated(&d, &gate, &["--restart", "always"], 0)?;
    restarted(&d, &id, 3)?;
    ensure!(gate.starts() >= 3, "it was really started: {}", gate.starts());
    d.ok(&["stop", "-t", "0", &id])?;
    ensure!(status(&d, &id)? == "exited");
    let (starts, restarts) = (gate.starts(), count(&d, &id)?);
    // Its own wait would have been over by now, or ends the moment another one's begins: neither starts it.
    let other = d.ok(&["run", "-d", "--restart", "on-failure:4", "busybox", "false"])?;
    reaches(&d, &other, "exited")?;
    ensure!((gate.starts(), count(&d, &id)?) == (starts, restarts) && status(&d, &id)? == "exited");
    // By hand it is started, and its restarts are counted anew.
    gate.close()?;
    d.ok(&["start", &id])?;
    ensure!(count(&d, &id)? == 0 && status(&d, &id)? == "running");
    gate.open()?;
    restarted(&d, &id, 1)?;
    d.ok(&["rm", "-f", &id, &other])?;
    Ok(())
}

fn on_failure_counts(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let gate = Gate::new(&d, "count")?;
    gate.open()?;
    let id = gated(&d, &gate, &["--restart", "on-failure:2"], 7)?;
    reaches(&d, &id, "exited")?;
    ensure!(show(&d, &id, "{{.RestartCount}} {{.State.ExitCode}}")? == "2 7" && gate.starts() == 3);
    d.ok(&["start", &id])?;
    reaches(&d, &id, "exited")?;
    ensure!(count(&d, &id)? == 2 && gate.starts() == 6, "by hand, the count begins anew");
    d.ok(&["rm", &id])?;
    let forever = gated(&d, &gate, &["--restart", "on-failure"], 7)?;
    restarted(&d, &forever, 4)?;
    d.ok(&["rm", "-f", &forever])?;
    Ok(())
}

fn what_ended_well_or_by_hand_stays(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let well = d.ok(&["run", "-d", "--restart", "on-failure", "busybox", "true"])?;
    reaches(&d, &well, "exited")?;
    ensure!(count(&d, &well)? == 0);
    for (policy, how) in [
        ("always", &["stop", "-t", "0"][..]),
        ("always", &["kill"]),
        ("unless-stopped", &["stop", "-t", "0"]),
        ("unless-stopped", &["kill"]),
        ("on-failure", &["kill"]),
    ] {
        let id = d.ok(&["run", "-d", "--restart", policy, "busybox", "sleep", "1000"])?;
        d.ok(&[how, &[&id]].concat())?;
        ensure!(show(&d, &id, "{{.State.Status}} {{.RestartCount}}")? == "exited 0", "{policy} {how:?}");
        d.ok(&["rm", &id])?;
    }
    // A signal that is not its stop signal ends it only if the program wants that: `always` starts it again,
    // `unless-stopped` takes any signal for a stop.
    let script = "trap 'exit 5' HUP; echo ready; while :; do sleep 0.02; done";
    for (policy, again) in [("always", true), ("unless-stopped", false)] {
        let id = d.ok(&["run", "-d", "--restart", policy, "--stop-signal", "TERM", "busybox", "sh", "-c", script])?;
        until("the trap", || Ok(d.ok(&["logs", &id])?.contains("ready").then_some(())))?;
        d.ok(&["kill", "-s", "HUP", &id])?;
        match again {
            true => restarted(&d, &id, 1)?,
            false => reaches(&d, &id, "exited")?,
        }
        ensure!(again || count(&d, &id)? == 0, "{policy}");
        d.ok(&["rm", "-f", &id])?;
    }
    d.ok(&["rm", &well])?;
    Ok(())
}

fn stop_kill_rm_and_start_end_the_wait(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ways = [&["stop"][..], &["kill"], &["kill", "-s", "TERM"], &["start"], &["restart"], &["rm", "-f"]];
    // All together, so that they come to their long waits together. They fail unless the gate is open.
    let script = "[ -e /g/go ] && exec sleep 1000; exit 3";
    let all = ways.into_iter().enumerate().map(|(n, how)| {
        let gate = Gate::new(&d, &format!("ends-the-wait-{n}"))?;
        let id = d.ok(&["run", "-d", "--restart", "always", "-v", &gate.bind(), "busybox", "sh", "-c", script])?;
        Ok((how, gate, id))
    });
    for (how, gate, id) in all.collect::<Result<Vec<_>>>()? {
        let act = || d.ok(&[how, &[id.as_str()][..]].concat());
        let back = || {
            let _ = gate.close();
            d.ok(&["kill", &id]).or_else(|_| status(&d, &id))?;
            d.ok(&["start", &id]).map(drop)
        };
        in_a_wait(&d, &id, &back, || match how[0] {
            "rm" => {
                let why = "container is restarting: stop the container before removing or force remove";
                d.cli(&["rm", &id])?.fails(1, &[why])?;
                act()?;
                d.cli(&["inspect", &id])?.fails(1, &["No such object"]).map(drop)
            }
            "start" | "restart" => {
                gate.open()?;
                act()?;
                let state = show(&d, &id, "{{.State.Status}} {{.RestartCount}}")?;
                ensure!(state == "running 0", "{how:?} counts anew: {state}");
                Ok(())
            }
            _ => {
                ensure!(act()? == id);
                let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Restarting}}";
                let state = show(&d, &id, format)?;
                ensure!(state == "exited 3 false false", "{how:?}: {state}");
                Ok(())
            }
        })
        .with_context(|| format!("{how:?}"))?;
        if how[0] != "rm" {
            d.ok(&["rm", "-f", &id])?;
        }
    }
    Ok(())
}

fn a_killed_daemon_goes_on_with_the_wait(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = failing(&d, &["--restart", "always"])?;
    let stopped = failing(&d, &["--restart", "unless-stopped"])?;
    waits(&d, &id, 4)?;
    let before = count(&d, &id)?;
    d.kill()?;
    d.up()?;
    ensure!(count(&d, &id)? >= before, "the count goes on");
    restarted(&d, &id, before + 1)?;
    // One that is stopped in its wait stays so, whatever becomes of the daemon.
    waits(&d, &stopped, 4)?;
    d.ok(&["stop", &stopped])?;
    d.kill()?;
    d.up()?;
    ensure!(status(&d, &stopped)? == "exited");
    Ok(())
}

/// Kills the daemon, lets what waits at the gate end, and starts the daemon.
fn away(d: &Daemon, gate: &Gate, ids: &[&str]) -> Result<()> {
    let pids = ids.iter().map(|id| show(d, id, "{{.State.Pid}}")).collect::<Result<Vec<_>>>()?;
    d.kill()?;
    gate.open()?;
    for pid in pids {
        let running = format!("/proc/{pid}");
        until("the container to end", || Ok((!Path::new(&running).exists()).then_some(())))?;
    }
    gate.close()?;
    d.up()
}

fn ends_while_the_daemon_is_away(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for (policy, code, want) in [
        ("always", 0, "running"),
        ("unless-stopped", 0, "running"),
        ("on-failure", 4, "running"),
        ("on-failure", 0, "exited"),
        ("no", 4, "exited"),
    ] {
        let gate = Gate::new(&d, &format!("away-{policy}-{code}"))?;
        let id = gated(&d, &gate, &["--restart", policy], code)?;
        away(&d, &gate, &[&id])?;
        reaches(&d, &id, want)?;
        let starts = if want == "running" { 2 } else { 1 };
        until("its start", || Ok((gate.starts() == starts).then_some(())))?;
        ensure!(count(&d, &id)? == starts as u64 - 1, "{policy} {code}");
        d.ok(&["rm", "-f", &id])?;
    }
    Ok(())
}

fn unless_stopped_over_a_killed_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let gate = Gate::new(&d, "stopped")?;
    let stopped = gated(&d, &gate, &["--restart", "unless-stopped"], 0)?;
    let goes_on = gated(&d, &gate, &["--restart", "unless-stopped"], 0)?;
    let signalled = gated(&d, &gate, &["--restart", "unless-stopped", "--stop-signal", "TERM"], 0)?;
    d.ok(&["stop", "-t", "0", &stopped])?;
    // Ignored by the program, and yet a signal by hand: written before it was sent.
    d.ok(&["kill", "-s", "WINCH", &signalled])?;
    away(&d, &gate, &[&goes_on, &signalled])?;
    reaches(&d, &goes_on, "running")?;
    reaches(&d, &signalled, "exited")?;
    ensure!(status(&d, &stopped)? == "exited" && count(&d, &stopped)? == 0);
    // And over one more.
    d.kill()?;
    d.up()?;
    ensure!(status(&d, &stopped)? == "exited" && status(&d, &signalled)? == "exited");
    d.ok(&["start", &stopped])?;
    ensure!(status(&d, &stopped)? == "running", "its own start takes the mark away");
    away(&d, &gate, &[&stopped, &goes_on])?;
    reaches(&d, &stopped, "running")
}

fn what_is_started_with_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let run = |policy: &str| d.ok(&["run", "-d", "--restart", policy, "busybox", "sleep", "1000"]);
    let (always, unless, failure) = (run("always")?, run("unless-stopped")?, run("on-failure")?);
    let never = d.ok(&["create", "--restart", "always", "busybox", "sleep", "1000"])?;
    d.ok(&["stop", "-t", "0", &always, &unless, &failure])?;
    d.end()?;
    d.up()?;
    reaches(&d, &always, "running")?;
    ensure!(count(&d, &always)? == 0);
    for (id, want) in [(&unless, "exited"), (&failure, "exited"), (&never, "created")] {
        ensure!(status(&d, id)? == want, "{id}: {want}");
    }
    Ok(())
}

/// All processes are gone, as after the machine was started anew: those that join another one come after it.
fn joined_ones_come_after_what_they_join(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let always = |name: &str, more: &[&str]| {
        d.ok(&[&["run", "-d", "--restart", "always", "--name", name], more, &["busybox", "sleep", "1000"]].concat())
    };
    // By name the last comes first, and by age, too.
    let base = always("z-base", &["--ipc", "shareable"])?;
    let middle = always("m-middle", &["--network", "container:z-base", "--ipc", "container:z-base"])?;
    let top = always("a-top", &["--network", "container:m-middle", "--pid", "container:m-middle"])?;
    let plain: Vec<String> = (0..12).map(|n| always(&format!("plain-{n}"), &[])).collect::<Result<_>>()?;
    let all: Vec<&String> = [&base, &middle, &top].into_iter().chain(&plain).collect();
    let pids = all.iter().map(|id| show(&d, id, "{{.State.Pid}}")).collect::<Result<Vec<_>>>()?;
    d.kill()?;
    // The shims first: one that sees its container end writes that down.
    for pid in d.processes() {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    for pid in &pids {
        let path = format!("/proc/{pid}");
        until("the containers to end", || Ok((!Path::new(&path).exists()).then_some(())))?;
    }
    d.up()?;
    for id in &all {
        reaches(&d, id, "running")?;
        let state = show(&d, id, "{{.RestartCount}}{{.State.Error}}")?;
        ensure!(state == "0", "it was started at the first try: {state}");
    }
    let inode = |id: &str| d.ok(&["exec", id, "readlink", "/proc/self/ns/net"]);
    ensure!(inode(&base)? == inode(&middle)? && inode(&base)? == inode(&top)?);
    Ok(())
}

fn a_start_that_fails_is_tried_again(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let gate = Gate::new(&d, "program")?;
    // busybox does what its name says.
    let (program, aside) = (gate.0.join("sleep"), gate.0.join("aside"));
    std::process::Command::new("cp").arg("/bin/busybox").arg(&program).status()?;
    let run = |policy: &str| {
        d.ok(&["run", "-d", "--restart", policy, "-v", &gate.bind(), "--entrypoint", "/g/sleep", "busybox", "1000"])
    };
    let (id, twice) = (run("always")?, run("on-failure:2")?);
    std::fs::rename(&program, &aside)?;
    for id in [&id, &twice] {
        let pid = show(&d, id, "{{.State.Pid}}")?.parse().context("a process id")?;
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).context("0")?,
            rustix::process::Signal::KILL,
        )?;
    }
    restarted(&d, &id, 3)?;
    until("the failure to be told", || {
        let state = d.inspect(&id)?["State"].clone();
        let said = state["Error"].as_str().is_some_and(|e| e.contains("/g/sleep"));
        Ok((said && state["Status"] == "restarting" && state["ExitCode"] == 127).then_some(()))
    })?;
    reaches(&d, &twice, "exited")?;
    ensure!(show(&d, &twice, "{{.RestartCount}} {{.State.ExitCode}}")? == "2 127");
    std::fs::rename(&aside, &program)?;
    reaches(&d, &id, "running")?;
    ensure!(show(&d, &id, "{{.State.Error}}{{.State.ExitCode}}")? == "0");
    d.ok(&["rm", "-f", &id, &twice])?;
    Ok(())
}

fn waits_end_at_each_exit(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "--restart", "always", "busybox", "sh", "-c", "exit 9"])?;
    // Whether it runs or waits for its next start: the next end serves both kinds.
    for path in ["wait", "wait?condition=next-exit"] {
        let (status, _, body) = d.http("POST", &format!("/containers/{id}/{path}"), "")?;
        ensure!(status == 200 && body.contains("\"StatusCode\":9"), "{path}: {status} {body}");
    }
    let removed = std::thread::scope(|scope| -> Result<String> {
        let waiting = scope.spawn(|| d.http("POST", &format!("/containers/{id}/wait?condition=removed"), ""));
        restarted(&d, &id, count(&d, &id)? + 1)?;
        ensure!(!waiting.is_finished(), "an end is no removal");
        d.ok(&["rm", "-f", &id])?;
        Ok(waiting.join().map_err(|_| anyhow::anyhow!("the thread failed"))??.2)
    })?;
    ensure!(removed.contains("StatusCode"), "{removed}");
    Ok(())
}

fn what_a_waiting_one_refuses(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = failing(&d, &["--restart", "always", "--name", "waits-for-its-next-start"])?;
    let mut names = (0..).map(|n| format!("waits-still-{n}"));
    in_a_wait(&d, &id, &|| Ok(()), || {
        let state = show(&d, &id, "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}} {{.State.ExitCode}}")?;
        ensure!(state == "true true 0 3", "{state}");
        let line =
            d.ok(&["ps", "--format", "{{.Status}}|{{.State}}", "-f", "status=restarting", "-f", &format!("id={id}")])?;
        ensure!(line.starts_with("Restarting (3) ") && line.ends_with(" ago|restarting"), "{line}");
        let api = format!("Container {id} is restarting, wait until the container is running");
        for words in [&["exec", &id, "true"][..], &["top", &id], &["pause", &id]] {
            d.cli(words)?.fails(1, &[&api])?;
        }
        let (status, _, body) = d.http("POST", &format!("/containers/{id}/attach?stream=1&stdout=1"), "")?;
        let said = body.contains("is restarting, wait until the container is running");
        ensure!(status == 409 && said, "{status} {body}");
        let words = "You cannot attach to a restarting container, wait until it is running";
        d.cli(&["attach", "--no-stdin", &id])?.fails(1, &[words])?;
        let name = names.next().unwrap_or_default();
        d.ok(&["rename", &id, &name])?;
        ensure!(d.ok(&["logs", &name])?.is_empty());
        d.cli(&["rmi", "busybox"])?.fails(1, &["conflict"]).map(drop)
    })?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn policies_are_checked(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (code, flags, want) in [
        (1, &["--restart", "sometimes"][..], "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or"),
        (1, &["--restart", "always:3"], "maximum retry count can only be used with 'on-failure'"),
        (1, &["--restart", "on-failure:-1"], "maximum retry count cannot be negative"),
        (125, &["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (125, &["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
    ] {
        d.cli(&[&["create"], flags, &["busybox", "true"]].concat())?.fails(code, &[want])?;
    }
    let both = r#"{"Image":"busybox","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}"#;
    let (status, _, body) = d.http("POST", "/containers/create", both)?;
    ensure!(status == 400 && body.contains("can't create 'AutoRemove' container with restart policy"), "{body}");
    let id = d.ok(&["create", "--restart", "on-failure:3", "busybox", "true"])?;
    let policy = d.inspect(&id)?["HostConfig"]["RestartPolicy"].clone();
    ensure!(policy["Name"] == "on-failure" && policy["MaximumRetryCount"] == 3, "{policy}");
    d.ok(&["rm", &id])?;
    Ok(())
}

/// A supervisor that is killed takes its container with it, which is then started again.
fn a_lost_shim_is_an_end(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "--restart", "on-failure:3", "busybox", "sleep", "1000"])?;
    let pid = show(&d, &id, "{{.State.Pid}}")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent: i32 = stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(1)).context("stat")?.parse()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(parent).context("no shim")?,
        rustix::process::Signal::KILL,
    )?;
    until("its next start", || Ok((count(&d, &id)? == 1 && status(&d, &id)? == "running").then_some(())))?;
    ensure!(show(&d, &id, "{{.State.Pid}}")? != pid && d.ok(&["exec", &id, "echo", "lives"])? == "lives");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

const PY: &str = r#"
import docker, time
c = docker.from_env()
k = c.containers.run("busybox", ["sh", "-c", "exit 4"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
deadline = time.time() + 60
while True:
    k.reload()
    if k.status == "exited":
        break
    assert time.time() < deadline, k.attrs["State"]
assert k.attrs["RestartCount"] == 2, k.attrs["RestartCount"]
assert k.attrs["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
k.remove()
k = c.containers.run("busybox", ["false"], detach=True, restart_policy={"Name": "always"})
assert k.wait()["StatusCode"] == 1
k.stop()
k.reload()
assert k.status == "exited", k.status
k.remove()
print("fine")
"#;

fn docker_and_docker_py_see_policies(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = docker_ok(&d, &["run", "-d", "--restart", "unless-stopped", "busybox", "false"])?.trim().to_owned();
    restarted(&d, &id, 2)?;
    docker_ok(&d, &["stop", "-t", "0", &id])?;
    let state = docker_ok(&d, &["inspect", "-f", "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}", &id])?;
    ensure!(state.trim() == "exited unless-stopped", "{state}");
    docker_ok(&d, &["rm", &id])?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success() && said.trim() == "fine", "{said}{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
