//! `pause` and `unpause`: standing still, alone and together with everything else that is done to a container.

use super::clients::{docker_ok, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::process::Stdio;
use std::time::Duration;

super::cases!("pause":
    stands_still_and_goes_on, what_a_paused_one_refuses, each_alone_of_several, signals_that_wake_and_signals_that_wait,
    ends_while_paused, commit_leaves_it_paused, outlives_the_daemon, killed_at_pauses, ends_whoever_comes_first, execs_beside_pauses,
    docker_and_docker_py_pause,
);

/// A container that counts in its log, and has begun to.
fn counter(d: &Daemon, more: &[&str]) -> Result<String> {
    let script = "trap 'exit 5' TERM; trap 'exit 6' QUIT; trap 'echo usr1' USR1; \
                  i=0; while :; do i=$((i+1)); echo $i > /new; mv /new /count; done";
    let id = d.ok(&[&["run", "-d"], more, &["busybox", "sh", "-c", script]].concat())?;
    until("the first number", || Ok(count(d, &id).ok()))?;
    Ok(id)
}

fn count(d: &Daemon, id: &str) -> Result<u64> {
    Ok(d.ok(&["exec", id, "cat", "/count"])?.trim().parse()?)
}

fn goes_on(d: &Daemon, id: &str) -> Result<()> {
    let now = count(d, id)?;
    until("the container to go on", || Ok((count(d, id)? > now).then_some(())))
}

fn state(d: &Daemon, id: &str) -> Result<String> {
    d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}", id])
}

/// Whether the kernel says that the container's own group is frozen.
fn frozen(d: &Daemon, id: &str) -> Result<bool> {
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", id])?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names.split(',').any(|name| name == controller).then_some(path)
        })
    };
    if let Some(path) = of("") {
        let events = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(|root| format!("{root}{path}/cgroup.events"));
        let known = events.iter().filter_map(|file| std::fs::read_to_string(file).ok());
        if let Some(line) =
            known.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).find(|l| l.starts_with("frozen "))
        {
            return Ok(line == "frozen 1");
        }
    }
    let path = of("freezer").context("neither a group of v2 nor the freezer controller")?;
    let file = format!("/sys/fs/cgroup/freezer{path}/freezer.state");
    Ok(std::fs::read_to_string(&file).context(file)?.trim() == "FROZEN")
}

fn stands_still_and_goes_on(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = counter(&d, &["--name", "still"])?;
    let other = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    ensure!(!frozen(&d, &id)? && state(&d, &id)? == "running true false");
    ensure!(d.ok(&["pause", "still"])? == "still");
    ensure!(frozen(&d, &id)? && !frozen(&d, &other)?, "this one stands still, and no other");
    ensure!(state(&d, &id)? == "paused true true");
    let file = format!("/proc/{}/root/count", d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?);
    let at = std::fs::read_to_string(&file)?;
    let q = |filter: &str| d.ok(&["ps", "-q", "--no-trunc", "-f", filter]);
    ensure!(q("status=paused")? == id && q("status=running")? == other);
    ensure!(d.ok(&["ps", "-q", "--no-trunc"])?.contains(&id), "it runs all the same");
    let row = d.ok(&["ps", "-f", "name=still", "--format", "{{.State}} {{.Status}}"])?;
    ensure!(row.starts_with("paused Up ") && row.ends_with(" (Paused)"), "{row}");
    let info = d.http("GET", "/info", "")?.2;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    let counts = ["ContainersRunning", "ContainersPaused", "ContainersStopped"].map(|key| info[key].as_i64());
    ensure!(counts == [Some(1), Some(1), Some(0)], "{counts:?}");
    ensure!(std::fs::read_to_string(&file)? == at, "it wrote while it stood still");
    ensure!(d.ok(&["container", "unpause", "still"])? == "still");
    ensure!(!frozen(&d, &id)? && state(&d, &id)? == "running true false");
    goes_on(&d, &id)
}

fn what_a_paused_one_refuses(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = counter(&d, &[])?;
    let made = d.http("POST", &format!("/containers/{id}/exec"), r#"{"Cmd":["true"]}"#)?.2;
    let made: serde_json::Value = serde_json::from_str(&made)?;
    let exec = made["Id"].as_str().context("no exec")?;
    d.ok(&["pause", &id])?;
    let words = format!("Container {id} is paused, unpause the container before exec");
    d.cli(&["exec", &id, "true"])?.fails(1, &[&words])?;
    let (status, _, body) = d.http("POST", &format!("/exec/{exec}/start"), r#"{"Detach":true}"#)?;
    ensure!(status == 409 && body.contains(&words), "{status} {body}");
    d.cli(&["pause", &id])?.fails(1, &[&format!("container {id} is already paused")])?;
    d.cli(&["attach", &id])?.fails(1, &["You cannot attach to a paused container, unpause it first"])?;
    d.cli(&["start", &id])?.fails(1, &["cannot start a paused container, try unpause instead"])?;
    d.cli(&["rm", &id])?.fails(1, &["container is paused and must be unpaused first"])?;
    for (path, want) in [
        (format!("{id}/pause"), 409),
        (format!("{id}/attach?stream=1&stdout=1"), 409),
        (format!("{id}/start"), 409),
        (format!("{id}/unpause"), 204),
        (format!("{id}/unpause"), 500),
        ("nothing/pause".to_owned(), 404),
        ("nothing/unpause".to_owned(), 404),
    ] {
        let (status, _, body) = d.http("POST", &format!("/containers/{path}"), "")?;
        ensure!(status == want, "{path}: {status} {body}");
    }
    // What was refused works now.
    goes_on(&d, &id)?;
    let (status, _, body) = d.http("POST", &format!("/exec/{exec}/start"), r#"{"Detach":true}"#)?;
    ensure!(status == 200, "{status} {body}");
    d.cli(&["unpause", &id])?.fails(1, &[&format!("Container {id} is not paused")])?;
    d.ok(&["kill", &id])?;
    d.cli(&["pause", &id])?.fails(1, &[&format!("container {id} is not running")])?;
    d.ok(&["rm", &id])?;
    Ok(())
}

fn each_alone_of_several(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ids = (0..3).map(|_| d.ok(&["run", "-d", "busybox", "sleep", "1000"])).collect::<Result<Vec<_>>>()?;
    let words = |command: &'static str| [command, &ids[0], "missing", &ids[1], &ids[2]];
    let r = d.cli(&words("pause"))?;
    ensure!(r.out.lines().eq(ids.iter()), "in the order given: {r:?}");
    r.fails(1, &["No such container: missing"])?;
    for id in &ids {
        ensure!(frozen(&d, id)?);
    }
    let r = d.cli(&words("unpause"))?;
    ensure!(r.code == 1 && r.out.lines().eq(ids.iter()), "{r:?}");
    let r = d.cli(&words("kill"))?;
    ensure!(r.code == 1 && r.out.lines().eq(ids.iter()), "{r:?}");
    let r = d.cli(&words("rm"))?;
    ensure!(r.code == 1 && r.out.lines().eq(ids.iter()), "{r:?}");
    Ok(())
}

fn signals_that_wake_and_signals_that_wait(w: &World) -> Result<()> {
    let d = w.daemon()?;
    // Without a stop signal of its own any signal lets it go on, as with Docker.
    let id = counter(&d, &[])?;
    d.ok(&["pause", &id])?;
    d.ok(&["kill", "-s", "USR1", &id])?;
    ensure!(state(&d, &id)? == "running true false");
    until("the signal to arrive", || Ok(d.ok(&["logs", &id])?.contains("usr1").then_some(())))?;
    d.ok(&["rm", "-f", &id])?;
    // With one only that signal, and SIGKILL. What was sent before waits for it.
    let id = counter(&d, &["--stop-signal", "QUIT"])?;
    d.ok(&["pause", &id])?;
    d.ok(&["kill", "-s", "USR1", &id])?;
    ensure!(frozen(&d, &id)? && state(&d, &id)? == "paused true true");
    ensure!(!d.ok(&["logs", &id])?.contains("usr1"));
    d.ok(&["unpause", &id])?;
    until("the signal to arrive", || Ok(d.ok(&["logs", &id])?.contains("usr1").then_some(())))?;
    d.ok(&["pause", &id])?;
    d.ok(&["kill", "-s", "QUIT", &id])?;
    ensure!(d.ok(&["wait", &id])? == "6");
    ensure!(state(&d, &id)? == "exited false false");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn ends_while_paused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for (words, code) in [
        (&["stop", "-t", "60"][..], "5"),
        (&["kill"], "137"),
        // A signal that it ignores: SIGKILL follows.
        (&["stop", "-t", "0", "-s", "URG"], "137"),
    ] {
        let id = counter(&d, &[])?;
        d.ok(&["pause", &id])?;
        d.ok(&[words, &[&id]].concat())?;
        let now = d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Paused}} {{.State.ExitCode}}", &id])?;
        ensure!(now == format!("exited false {code}"), "{words:?}: {now}");
        // The next run begins awake.
        d.ok(&["start", &id])?;
        ensure!(!frozen(&d, &id)? && state(&d, &id)? == "running true false");
        d.ok(&["pause", &id])?;
        d.ok(&["rm", "-f", &id])?;
        d.cli(&["inspect", &id])?.fails(1, &["No such object"])?;
    }
    Ok(())
}

fn commit_leaves_it_paused(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = counter(&d, &[])?;
    d.ok(&["exec", &id, "sh", "-c", "echo mine > /file"])?;
    d.ok(&["pause", &id])?;
    for pause in [&[][..], &["--no-pause"]] {
        d.ok(&[&["commit"], pause, &[&id, "kept:v1"]].concat())?;
        ensure!(frozen(&d, &id)? && state(&d, &id)? == "paused true true", "{pause:?}");
    }
    ensure!(d.ok(&["run", "--rm", "kept:v1", "cat", "/file"])? == "mine");
    ensure!(!d.root().join("containers").join(&id).join("frozen-by-commit").exists());
    d.ok(&["unpause", &id])?;
    goes_on(&d, &id)?;
    d.ok(&["commit", &id, "kept:v2"])?;
    ensure!(state(&d, &id)? == "running true false", "one that was awake goes on after its commit");
    goes_on(&d, &id)
}

fn outlives_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (id, awake) = (counter(&d, &["--name", "still"])?, counter(&d, &[])?);
    d.ok(&["pause", &id])?;
    d.kill()?;
    d.up()?;
    ensure!(frozen(&d, &id)? && state(&d, &id)? == "paused true true");
    ensure!(!frozen(&d, &awake)? && state(&d, &awake)? == "running true false");
    d.cli(&["exec", &id, "true"])?.fails(1, &["is paused"])?;
    d.end()?;
    d.up()?;
    ensure!(state(&d, &id)? == "paused true true");
    d.ok(&["unpause", &id])?;
    goes_on(&d, &id)?;
    // A shim that is killed takes the container along, also one that stands still.
    d.ok(&["pause", &id])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let status = crate::daemon::read(format!("/proc/{pid}/status"))?;
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).context("no parent")?.trim().parse()?;
    d.kill()?;
    let shim = rustix::process::Pid::from_raw(shim).context("no shim")?;
    rustix::process::kill_process(shim, rustix::process::Signal::KILL)?;
    d.up()?;
    ensure!(d.ok(&["wait", &id])? == "137" && state(&d, &id)? == "exited false false");
    d.ok(&["start", &id])?;
    goes_on(&d, &id)
}

/// A daemon that is killed somewhere in a pause or an unpause says afterwards what is true.
fn killed_at_pauses(w: &World) -> Result<()> {
    const ROUNDS: u64 = 10;
    let d = w.own_daemon()?;
    let id = counter(&d, &[])?;
    for round in 0..ROUNDS {
        let word = if frozen(&d, &id)? { "unpause" } else { "pause" };
        let mut child = d.command(&[word, &id]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Another place in the work each time; none of them is special.
        std::thread::sleep(Duration::from_millis(round));
        d.kill()?;
        child.wait()?;
        d.up()?;
        let said = state(&d, &id)?;
        let stands = until("the processes to stop or to go", || {
            let stands = frozen(&d, &id)?;
            Ok((stands == (said == "paused true true")).then_some(stands))
        })?;
        ensure!(stands || said == "running true false", "round {round}: {said}");
        if !stands {
            goes_on(&d, &id)?;
        }
    }
    if frozen(&d, &id)? {
        d.ok(&["unpause", &id])?;
    }
    goes_on(&d, &id)
}

/// Whatever order two commands come in, a killed container ends, and nothing waits for ever.
fn ends_whoever_comes_first(w: &World) -> Result<()> {
    const ROUNDS: usize = 8;
    let d = w.daemon()?;
    for round in 0..ROUNDS {
        let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
        let end: &[&str] = if round % 2 == 0 { &["kill", &id] } else { &["stop", "-t", "0", &id] };
        let (paused, ended) = std::thread::scope(|scope| {
            let pause = scope.spawn(|| d.cli(&["pause", &id]));
            (d.cli(end), pause.join())
        });
        paused?.ok().with_context(|| format!("round {round}: {end:?}"))?;
        let pause = ended.map_err(|_| anyhow::anyhow!("the thread failed"))??;
        ensure!(pause.code == 0 || pause.err.contains("is not running"), "{pause:?}");
        ensure!(state(&d, &id)? == "exited false false");
        d.ok(&["rm", &id])?;
    }
    Ok(())
}

/// A program that starts while its container is paused either ran before or is refused: the shim stays reachable.
fn execs_beside_pauses(w: &World) -> Result<()> {
    const ROUNDS: usize = 10;
    let d = w.daemon()?;
    let id = counter(&d, &[])?;
    for _ in 0..ROUNDS {
        std::thread::scope(|scope| -> Result<()> {
            let execs: Vec<_> = (0..2).map(|_| scope.spawn(|| d.cli(&["exec", &id, "echo", "ran"]))).collect();
            d.ok(&["pause", &id])?;
            ensure!(frozen(&d, &id)?);
            d.ok(&["unpause", &id])?;
            for exec in execs {
                let exec = exec.join().map_err(|_| anyhow::anyhow!("the thread failed"))??;
                let ran = exec.code == 0 && exec.out == "ran\n";
                ensure!(ran || exec.err.contains("is paused"), "{exec:?}");
            }
            Ok(())
        })?;
    }
    goes_on(&d, &id)?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

const PY: &str = r#"
import docker, sys
c = docker.from_env()
k = c.containers.run("busybox", ["sleep", "1000"], detach=True)
k.pause()
k.reload()
assert k.status == "paused" and k.attrs["State"]["Running"], k.attrs["State"]
assert [x.id for x in c.containers.list(filters={"status": "paused"})] == [k.id]
for refused in (k.pause, lambda: k.exec_run("true")):
    try:
        refused()
        sys.exit("not refused")
    except docker.errors.APIError as e:
        assert e.status_code == 409 and "paused" in e.explanation, e
k.unpause()
k.reload()
assert k.status == "running", k.status
assert k.exec_run(["sh", "-c", "exit 7"]).exit_code == 7
k.pause()
k.remove(force=True)
print("all well")
"#;

fn docker_and_docker_py_pause(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    docker_ok(&d, &["run", "-d", "--name", "theirs", "busybox", "sleep", "1000"])?;
    ensure!(docker_ok(&d, &["pause", "theirs"])? == "theirs\n");
    ensure!(frozen(&d, "theirs")?);
    ensure!(docker_ok(&d, &["ps", "--format", "{{.Names}} {{.State}} {{.Status}}"])?.trim_end().ends_with("(Paused)"));
    ensure!(docker_ok(&d, &["inspect", "-f", "{{.State.Status}}", "theirs"])? == "paused\n");
    ensure!(docker_ok(&d, &["unpause", "theirs"])? == "theirs\n");
    ensure!(!frozen(&d, "theirs")?);
    docker_ok(&d, &["exec", "theirs", "true"])?;
    docker_ok(&d, &["rm", "-f", "theirs"])?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
