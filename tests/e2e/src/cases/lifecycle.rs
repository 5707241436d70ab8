//! create, start, stop, kill, wait, rm, ps, inspect.

use crate::daemon::until;
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("lifecycle":
    create_start_stop_start_rm, stop_kills_after_the_timeout, stop_signal_and_kill, names_and_conflicts, removing_running_ones,
    ps_filters_and_formats, inspect_documents, wait_conditions, ids_by_prefix, start_attached,
);

fn status(d: &crate::daemon::Daemon, id: &str) -> Result<String> {
    d.ok(&["inspect", "-f", "{{.State.Status}}", id])
}

fn create_start_stop_start_rm(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&[
        "create",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo up >> /count; while :; do sleep 0.05; done",
    ])?;
    ensure!(status(&d, &id)? == "created");
    d.ok(&["start", &id])?;
    ensure!(status(&d, &id)? == "running");
    until("the first start to write", || {
        Ok(d.cli(&["exec", &id, "cat", "/count"])?.out.lines().count().eq(&1).then_some(()))
    })?;
    d.ok(&["stop", &id])?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &id])? == "exited 5");
    d.ok(&["start", &id])?;
    until("the second start to write", || {
        Ok(d.cli(&["exec", &id, "cat", "/count"])?.out.lines().count().eq(&2).then_some(()))
    })?;
    d.ok(&["rm", "-f", &id])?;
    d.cli(&["inspect", &id])?.fails(1, &["No such object"])?;
    Ok(())
}

fn stop_kills_after_the_timeout(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"])?;
    until("the trap to be set", || Ok(d.ok(&["logs", &id])?.contains("ready").then_some(())))?;
    d.ok(&["stop", "-t", "1", &id])?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.ExitCode}}", &id])? == "137");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn stop_signal_and_kill(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "trap 'echo usr1' USR1; trap 'exit 9' QUIT; echo ready; while :; do sleep 0.05; done";
    let id = d.ok(&["run", "-d", "--stop-signal", "SIGQUIT", "busybox", "sh", "-c", script])?;
    until("the traps to be set", || Ok(d.ok(&["logs", &id])?.contains("ready").then_some(())))?;
    d.ok(&["kill", "-s", "USR1", &id])?;
    until("the signal to arrive", || Ok(d.ok(&["logs", &id])?.contains("usr1").then_some(())))?;
    d.cli(&["kill", "-s", "NOSUCH", &id])?.fails(1, &["NOSUCH"])?;
    d.ok(&["stop", "-t", "30", &id])?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.ExitCode}}", &id])? == "9");
    d.cli(&["kill", &id])?.fails(1, &["is not running"])?;
    d.ok(&["rm", &id])?;
    Ok(())
}

fn names_and_conflicts(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["create", "--name", "taken", "busybox", "true"])?;
    d.cli(&["create", "--name", "taken", "busybox", "true"])?
        .fails(1, &["Conflict", "/taken", &id, "remove (or rename)"])?;
    d.cli(&["create", "--name", "not allowed", "busybox"])?.fails(1, &["not allowed"])?;
    d.ok(&["rm", "taken"])?;
    d.ok(&["create", "--name", "taken", "busybox", "true"])?;
    d.ok(&["rm", "taken"])?;
    let id = d.ok(&["create", "busybox", "true"])?;
    let name = d.ok(&["inspect", "-f", "{{.Name}}", &id])?;
    ensure!(name.contains('_'), "a container without a name gets one: {name}");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn removing_running_ones(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    d.cli(&["rm", &id])?.fails(1, &["running", "stop the container before"])?;
    d.ok(&["rm", "-f", &id])?;
    d.cli(&["rm", &id])?.fails(1, &["No such container"])?;
    let r = d.cli(&["rm", "-f", &id])?;
    ensure!(r.code == 0 && r.err.contains("No such container"), "{r:?}");
    Ok(())
}

fn ps_filters_and_formats(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let up = d.ok(&["run", "-d", "--name", "up", "-l", "k=v", "-p", "18080:80", "busybox", "sleep", "1000"])?;
    let down = d.ok(&["run", "-d", "--name", "down", "busybox", "sh", "-c", "exit 3"])?;
    d.ok(&["wait", "down"])?;
    let q = |words: &[&str]| d.ok(&[&["ps", "-q", "--no-trunc"], words].concat());
    ensure!(q(&[])? == up);
    ensure!(q(&["-a"])?.lines().collect::<Vec<_>>() == [down.as_str(), up.as_str()], "newest first");
    for (filter, want) in [
        ("name=up", &up),
        ("status=exited", &down),
        ("exited=3", &down),
        ("label=k", &up),
        ("label=k=v", &up),
        ("ancestor=busybox", &down),
        ("status=running", &up),
    ] {
        let got = q(&["-a", "-f", filter])?;
        ensure!(got.lines().next() == Some(want), "{filter}: {got}");
    }
    ensure!(q(&["-a", "-f", &format!("id={}", &up[..10])])? == up);
    ensure!(q(&["-a", "-f", "name=nothing"])?.is_empty());
    ensure!(q(&["-a", "-f", "bogus=1"]).is_err(), "an unknown filter is refused");
    ensure!(q(&["-l"])? == down && q(&["-n", "1"])? == down);
    let table = d.ok(&["ps", "-a"])?;
    ensure!(
        table.starts_with("CONTAINER ID   IMAGE     COMMAND")
            && table.contains("Exited (3)")
            && table.contains("0.0.0.0:18080->80/tcp"),
        "{table}"
    );
    ensure!(d.ok(&["ps", "--format", "{{.Names}}|{{.State}}"])? == "up|running");
    ensure!(d.ok(&["ps", "--format", "table {{.Names}}\t{{.Image}}"])? == "NAMES     IMAGE\nup        busybox");
    Ok(())
}

fn inspect_documents(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "-m", "64m", "-e", "A=b", "busybox", "sleep", "1000"])?;
    let i = d.inspect(&id)?;
    ensure!(i["State"]["Running"] == true && i["State"]["Pid"].as_i64() > Some(1), "{i}");
    ensure!(i["HostConfig"]["Memory"] == 64 << 20 && i["Path"] == "sleep" && i["Args"][0] == "1000", "{i}");
    ensure!(i["Config"]["Env"].as_array().is_some_and(|e| e.contains(&"A=b".into())), "{i}");
    ensure!(i["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].as_str().is_some_and(|a| a.contains('.')), "{i}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn wait_conditions(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "exit 4"])?;
    ensure!(d.ok(&["wait", &id])? == "4" && d.ok(&["wait", &id])? == "4", "also when it has ended");
    std::thread::scope(|s| -> Result<()> {
        let waiting = s.spawn(|| d.http("POST", &format!("/containers/{id}/wait?condition=removed"), ""));
        d.ok(&["rm", &id])?;
        let (status, _, body) = waiting.join().map_err(|_| anyhow::anyhow!("panic"))??;
        ensure!(status == 200 && body.contains("\"StatusCode\":4") || status == 404, "{status} {body}");
        Ok(())
    })?;
    let (status, _, body) = d.http("POST", "/containers/nope/wait", "")?;
    ensure!(status == 404 && body.contains("No such container: nope"), "{body}");
    Ok(())
}

fn ids_by_prefix(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["create", "busybox", "true"])?;
    ensure!(d.ok(&["inspect", "-f", "{{.Id}}", &id[..12]])? == id);
    d.ok(&["rm", &id[..10]])?;
    Ok(())
}

fn start_attached(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["create", "-i", "busybox", "sh", "-c", "read x; echo got $x; exit 6"])?;
    let r = d.with_input(&["start", "-ai", &id], b"word\n")?;
    ensure!((r.code, r.out.as_str()) == (6, "got word\n"), "{r:?}");
    d.ok(&["rm", &id])?;
    Ok(())
}
