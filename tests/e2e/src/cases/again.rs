//! `restart` and `rename`: the same container once more, or under another name.

use super::clients::{docker, docker_ok, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::process::Stdio;
use std::time::Duration;

super::cases!("again":
    restart_in_every_state, a_restart_keeps_what_would_remove_itself, restart_frees_and_takes_ports, rename_moves_everything,
    rename_refuses, a_new_name_is_kept, killed_at_restarts, one_name_one_container, docker_and_docker_py_restart_and_rename,
);

fn state(d: &Daemon, id: &str) -> Result<String> {
    d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id])
}

fn starts(d: &Daemon, id: &str) -> Result<usize> {
    Ok(d.ok(&["logs", id])?.lines().filter(|line| *line == "up").count())
}

/// A container that says how often it was started, and heeds signals.
fn speaker(d: &Daemon, more: &[&str]) -> Result<String> {
    let script = "trap 'echo term; exit 5' TERM; trap 'echo usr1; exit 6' USR1; echo up; while :; do sleep 0.05; done";
    d.ok(&[&["create"], more, &["busybox", "sh", "-c", script]].concat())
}

fn begun(d: &Daemon, id: &str, times: usize) -> Result<()> {
    until("the program to begin", || Ok((starts(d, id)? == times).then_some(())))
}

fn restart_in_every_state(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = speaker(&d, &[])?;
    ensure!(d.ok(&["restart", &id])? == id, "one that never ran is started");
    begun(&d, &id, 1)?;
    let first = d.ok(&["inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", &id])?;
    d.ok(&["restart", "-t", "60", &id])?;
    begun(&d, &id, 2)?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", &id])? != first);
    ensure!(d.ok(&["logs", &id])?.contains("term"), "it was asked before");
    ensure!(state(&d, &id)? == "running 0" && d.ok(&["inspect", "-f", "{{.RestartCount}}", &id])? == "0");
    d.ok(&["container", "restart", "-s", "USR1", "-t", "60", &id])?;
    begun(&d, &id, 3)?;
    ensure!(d.ok(&["logs", &id])?.contains("usr1"));
    d.ok(&["pause", &id])?;
    d.ok(&["restart", "-t", "60", &id])?;
    begun(&d, &id, 4)?;
    ensure!(state(&d, &id)? == "running 0");
    d.ok(&["kill", &id])?;
    d.ok(&["restart", &id])?;
    begun(&d, &id, 5)?;
    d.cli(&["restart", "missing", &id])?.fails(1, &["No such container: missing"])?;
    begun(&d, &id, 6)?;
    d.ok(&["rm", "-f", &id])?;
    let bad = d.ok(&["create", "busybox", "nope"])?;
    d.cli(&["restart", &bad])?
        .fails(1, &[&format!("Cannot restart container {bad}: "), "executable file not found"])?;
    for (path, want) in
        [(format!("{bad}/restart"), 500), ("nothing/restart".into(), 404), (format!("{bad}/restart?t=x"), 400)]
    {
        let (status, _, body) = d.http("POST", &format!("/containers/{path}"), "")?;
        ensure!(status == want, "{path}: {status} {body}");
    }
    d.ok(&["rm", &bad])?;
    Ok(())
}

fn a_restart_keeps_what_would_remove_itself(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = speaker(&d, &["--rm"])?;
    d.ok(&["start", &id])?;
    begun(&d, &id, 1)?;
    d.ok(&["restart", "-t", "60", &id])?;
    begun(&d, &id, 2)?;
    ensure!(state(&d, &id)? == "running 0");
    // Its end removes it as ever.
    d.ok(&["stop", "-t", "60", &id])?;
    until("the container to be gone", || Ok((d.cli(&["inspect", &id])?.code == 1).then_some(())))?;
    // So does a start that fails.
    let host = d.dir.path().join("restart-gate");
    std::fs::create_dir_all(&host)?;
    // busybox does what its name says.
    let program = host.join("sleep");
    std::fs::copy("/bin/busybox", &program)?;
    let mount = format!("{}:/p", host.display());
    let id = d.ok(&["run", "-d", "--rm", "-v", &mount, "--entrypoint", "/p/sleep", "busybox", "1000"])?;
    std::fs::remove_file(&program)?;
    d.cli(&["restart", "-t", "0", &id])?.fails(1, &["Cannot restart container"])?;
    until("the container to be gone", || Ok((d.cli(&["inspect", &id])?.code == 1).then_some(())))
}

fn restart_frees_and_takes_ports(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "-p", "18099:80", "busybox", "sleep", "1000"])?;
    for _ in 0..3 {
        d.ok(&["restart", "-t", "0", &id])?;
        let bound = d.inspect(&id)?["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].clone();
        ensure!(bound == "18099", "{bound}");
    }
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn rename_moves_everything(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "--name", "before", "busybox", "sleep", "1000"])?;
    let joined = d.ok(&["create", "--network", "container:before", "busybox", "true"])?;
    ensure!(d.ok(&["rename", "before", "after"])?.is_empty());
    ensure!(d.ok(&["inspect", "-f", "{{.Id}} {{.Name}}", "after"])? == format!("{id} /after"));
    d.cli(&["inspect", "before"])?.fails(1, &["No such object"])?;
    ensure!(d.ok(&["ps", "--format", "{{.Names}}"])? == "after");
    ensure!(d.ok(&["ps", "-q", "--no-trunc", "-f", "name=^after$"])? == id);
    ensure!(d.ok(&["exec", "after", "echo", "same"])? == "same");
    // The old name is free, and who joined the container joins it still.
    d.ok(&["create", "--name", "before", "busybox", "true"])?;
    d.ok(&["start", &joined])?;
    ensure!(d.ok(&["wait", &joined])? == "0");
    // By id, with a slash before the new name, and back again; also one that does not run.
    d.ok(&["rename", &id[..12], "/third"])?;
    d.ok(&["container", "rename", "/third", "after"])?;
    d.ok(&["stop", "-t", "0", "after"])?;
    d.ok(&["rename", "after", "fourth"])?;
    ensure!(d.ok(&["inspect", "-f", "{{.Name}}", &id])? == "/fourth");
    d.ok(&["rm", "fourth"])?;
    d.ok(&["create", "--name", "fourth", "busybox", "true"])?;
    Ok(())
}

fn rename_refuses(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["create", "--name", "mine-alone", "busybox", "true"])?;
    let taken = d.ok(&["create", "--name", "taken-already", "busybox", "true"])?;
    let failed = "Error: failed to rename container named ";
    let conflict = format!(
        "Error when allocating new name: Conflict. The container name \"/taken-already\" is already in use by container \"{taken}\"."
    );
    for (words, want) in [
        (["mine-alone", "mine-alone"], "Renaming a container with the same name as its current name"),
        (["mine-alone", "/mine-alone"], "Renaming a container with the same name as its current name"),
        (["mine-alone", "taken-already"], conflict.as_str()),
        (["mine-alone", "not allowed"], "Error when allocating new name: Invalid container name (not allowed), only"),
        (["mine-alone", "/"], "Neither old nor new names may be empty"),
        (["missing", "other"], "No such container: missing"),
    ] {
        d.cli(&["rename", words[0], words[1]])?.fails(1, &[want, failed, words[0]])?;
    }
    d.cli(&["rename", "mine-alone", " "])?.fails(1, &["Neither old nor new names may be empty"])?;
    for (path, want) in [
        (format!("{id}/rename"), 400),
        (format!("{id}/rename?name=taken-already"), 409),
        (format!("{id}/rename?name=a%20b"), 400),
        ("nothing/rename?name=other".into(), 404),
    ] {
        let (status, _, body) = d.http("POST", &format!("/containers/{path}"), "")?;
        ensure!(status == want, "{path}: {status} {body}");
    }
    ensure!(d.ok(&["inspect", "-f", "{{.Name}}", &id])? == "/mine-alone", "nothing was changed");
    d.ok(&["rename", "mine-alone", "mine-now"])?;
    d.ok(&["rm", "mine-now", &taken])?;
    Ok(())
}

fn a_new_name_is_kept(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (running, made) = (
        d.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"])?,
        d.ok(&["create", "--rm", "--name", "two", "busybox", "true"])?,
    );
    d.ok(&["rename", "one", "uno"])?;
    d.ok(&["rename", "two", "due"])?;
    d.kill()?;
    d.up()?;
    for (id, name) in [(&running, "uno"), (&made, "due")] {
        ensure!(d.ok(&["inspect", "-f", "{{.Id}} {{.Name}}", name])? == format!("{id} /{name}"));
    }
    // The names are those of the rows, too: the old ones can be given, the new ones are taken.
    d.cli(&["create", "--name", "uno", "busybox"])?.fails(1, &["Conflict", &running])?;
    d.ok(&["create", "--name", "one", "busybox", "true"])?;
    d.ok(&["restart", "-t", "0", "uno"])?;
    ensure!(d.ok(&["inspect", "-f", "{{.Name}}", &running])? == "/uno");
    Ok(())
}

/// A daemon that is killed somewhere in a restart leaves a container that runs or has ended, and one that removes itself
/// running or gone.
fn killed_at_restarts(w: &World) -> Result<()> {
    const ROUNDS: u64 = 10;
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--name", "stays", "busybox", "sleep", "1000"])?;
    for round in 0..ROUNDS {
        d.ok(&["run", "-d", "--rm", "--name", "goes", "busybox", "sleep", "1000"])?;
        let children = ["stays", "goes"]
            .map(|name| d.command(&["restart", "-t", "0", name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn());
        // Another place in the work each time; none of them is special.
        std::thread::sleep(Duration::from_millis(round * 3));
        d.kill()?;
        for child in children {
            child?.wait()?;
        }
        d.up()?;
        let stays = d.ok(&["inspect", "-f", "{{.State.Status}}", "stays"])?;
        ensure!(stays == "running" || stays == "exited", "round {round}: {stays}");
        let goes = d.cli(&["inspect", "-f", "{{.State.Status}}", "goes"])?;
        ensure!(goes.code == 1 || goes.out == "running\n", "round {round}: {goes:?}");
        d.ok(&["restart", "-t", "0", "stays"])?;
        ensure!(d.ok(&["exec", "stays", "echo", "again"])? == "again");
        d.ok(&["rm", "-f", "goes"])?;
    }
    Ok(())
}

/// Several want one name at once: one gets it, the others keep theirs.
fn one_name_one_container(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let ids = (0..4).map(|_| d.ok(&["create", "busybox", "true"])).collect::<Result<Vec<_>>>()?;
    let before = ids.iter().map(|id| d.ok(&["inspect", "-f", "{{.Name}}", id])).collect::<Result<Vec<_>>>()?;
    let won = std::thread::scope(|scope| -> Result<Vec<bool>> {
        let tries: Vec<_> = ids.iter().map(|id| scope.spawn(|| d.cli(&["rename", id, "wanted-by-all"]))).collect();
        tries.into_iter().map(|t| Ok(t.join().map_err(|_| anyhow::anyhow!("the thread failed"))??.code == 0)).collect()
    })?;
    ensure!(won.iter().filter(|won| **won).count() == 1, "{won:?}");
    for ((id, won), before) in ids.iter().zip(&won).zip(before) {
        let now = d.ok(&["inspect", "-f", "{{.Name}}", id])?;
        ensure!(now == if *won { "/wanted-by-all".to_owned() } else { before });
    }
    d.ok(&[&["rm"][..], &ids.iter().map(String::as_str).collect::<Vec<_>>()].concat())?;
    Ok(())
}

const PY: &str = r#"
import docker, sys
c = docker.from_env()
k = c.containers.run("busybox", ["sleep", "1000"], detach=True, name="py-one")
first = k.attrs["State"]["StartedAt"]
k.restart(timeout=0)
k.reload()
assert k.status == "running" and k.attrs["State"]["StartedAt"] != first, k.attrs["State"]
k.rename("py-two")
k.reload()
assert k.name == "py-two", k.name
assert c.containers.get("py-two").id == k.id
try:
    c.containers.get("py-one")
    sys.exit("found")
except docker.errors.NotFound:
    pass
try:
    k.rename("py-two")
    sys.exit("not refused")
except docker.errors.APIError as e:
    assert e.status_code == 400, e
k.remove(force=True)
print("all well")
"#;

fn docker_and_docker_py_restart_and_rename(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = docker_ok(&d, &["run", "-d", "--name", "theirs", "busybox", "sleep", "1000"])?;
    ensure!(docker_ok(&d, &["restart", "-t", "0", "theirs"])? == "theirs\n");
    docker_ok(&d, &["rename", "theirs", "renamed"])?;
    ensure!(
        docker_ok(&d, &["inspect", "-f", "{{.Id}} {{.State.Status}}", "renamed"])?
            == format!("{} running\n", id.trim())
    );
    // Both clients say the same about a failure.
    let theirs = docker(&d, &["rename", "renamed", "renamed"])?.output()?;
    let ours = d.cli(&["rename", "renamed", "renamed"])?;
    ensure!(theirs.status.code() == Some(ours.code));
    ensure!(String::from_utf8(theirs.stderr)?.trim_end() == ours.err.trim_end(), "{ours:?}");
    docker_ok(&d, &["rm", "-f", "renamed"])?;
    let out = python(&d)?.arg("-c").arg(PY).output().context("python")?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}
