//! SIGKILL at any moment: of the daemon, of a shim; and daemons side by side.

use crate::daemon::{Daemon, pids, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::process::Stdio;

super::cases!("recovery":
    containers_outlive_the_daemon, exits_while_the_daemon_is_away, attached_clients_outlive_the_daemon, rm_happens_late, killed_shim_ends_its_container,
    killed_zygote_is_replaced, kill_during_starts_leaves_order, two_daemons_side_by_side, one_root_one_daemon, stop_and_exec_after_recovery,
);

fn containers_outlive_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&[
        "run",
        "-d",
        "--name",
        "long",
        "busybox",
        "sh",
        "-c",
        "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done",
    ])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    d.kill()?;
    ensure!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    d.up()?;
    ensure!(
        d.ok(&["inspect", "-f", "{{.State.Running}} {{.State.Pid}} {{.Name}}", &id])? == format!("true {pid} /long")
    );
    let count = d.ok(&["logs", &id])?.lines().count();
    until("the log to go on", || Ok((d.ok(&["logs", &id])?.lines().count() > count + 5).then_some(())))?;
    let log = d.ok(&["logs", &id])?;
    for (i, line) in log.lines().enumerate() {
        ensure!(line == format!("line {i}"), "line {i} is {line:?}: one was lost or doubled");
    }
    d.ok(&["rm", "-f", "long"])?;
    Ok(())
}

fn exits_while_the_daemon_is_away(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let host = d.dir.path().join("gate");
    std::fs::create_dir(&host)?;
    let id = d.ok(&[
        "run",
        "-d",
        "-v",
        &format!("{}:/g", host.display()),
        "busybox",
        "sh",
        "-c",
        "while [ ! -e /g/go ]; do sleep 0.02; done; echo last words; exit 17",
    ])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    d.kill()?;
    std::fs::write(host.join("go"), "")?;
    until("the container to end", || Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())))?;
    d.up()?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &id])? == "exited 17");
    ensure!(d.ok(&["wait", &id])? == "17" && d.ok(&["logs", &id])? == "last words");
    ensure!(d.inspect(&id)?["State"]["FinishedAt"].as_str().is_some_and(|t| t.starts_with("20")));
    Ok(())
}

fn attached_clients_outlive_the_daemon(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let host = d.dir.path().join("gate");
    std::fs::create_dir(&host)?;
    let child = d
        .command(&[
            "run",
            "--name",
            "held",
            "-v",
            &format!("{}:/g", host.display()),
            "busybox",
            "sh",
            "-c",
            "echo one; while [ ! -e /g/go ]; do sleep 0.02; done; echo two",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    until("the first line", || Ok(d.cli(&["logs", "held"])?.out.contains("one").then_some(())))?;
    d.kill()?;
    std::fs::write(host.join("go"), "")?;
    let r = Daemon::finish(child)?;
    ensure!(r.out == "one\ntwo\n", "the shim serves the client itself: {r:?}");
    d.up()?;
    ensure!(d.ok(&["logs", "held"])? == "one\ntwo");
    Ok(())
}

fn rm_happens_late(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let host = d.dir.path().join("gate");
    std::fs::create_dir(&host)?;
    let bind = format!("{}:/g", host.display());
    let wait = "while [ ! -e /g/go ]; do sleep 0.02; done";
    let gone = d.ok(&["run", "-d", "--rm", "-v", &bind, "busybox", "sh", "-c", wait])?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &gone])?;
    d.kill()?;
    std::fs::write(host.join("go"), "")?;
    until("the container to end", || Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())))?;
    d.up()?;
    until("the container to be removed", || Ok(d.ok(&["ps", "-aq"])?.is_empty().then_some(())))?;
    std::fs::remove_file(host.join("go"))?;
    let stays = d.ok(&["run", "-d", "--rm", "-v", &bind, "busybox", "sh", "-c", wait])?;
    d.kill()?;
    d.up()?;
    ensure!(d.ok(&["ps", "-q", "--no-trunc"])? == stays, "one that runs is kept until it ends");
    std::fs::write(host.join("go"), "")?;
    until("the container to be removed", || Ok(d.ok(&["ps", "-aq"])?.is_empty().then_some(())))?;
    until("its directory to go", || {
        Ok(std::fs::read_dir(d.root().join("containers"))?.next().is_none().then_some(()))
    })?;
    Ok(())
}

/// The parent of a process.
fn parent(pid: &str) -> Result<i32> {
    let stat = crate::daemon::read(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(") ").context("stat")?.1;
    Ok(after.split(' ').nth(1).context("ppid")?.parse()?)
}

fn kill_pid(pid: i32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).context("no pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    Ok(())
}

fn killed_shim_ends_its_container(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for away in [false, true] {
        let id = d.ok(&["run", "-d", "busybox", "sh", "-c", "sleep 1000 & sleep 1000"])?;
        let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
        if away {
            d.kill()?;
        }
        kill_pid(parent(&pid)?)?;
        until("the container's processes to die", || {
            Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        })?;
        if away {
            d.up()?;
        }
        let state = until("the daemon to notice", || {
            let state = d.inspect(&id)?["State"].clone();
            Ok((state["Running"] == false).then_some(state))
        })?;
        ensure!(state["ExitCode"] == 137 && state["Error"].as_str().is_some_and(|e| e.contains("shim")), "{state}");
        d.ok(&["start", &id])?;
        ensure!(d.ok(&["exec", &id, "echo", "again"])? == "again");
        d.ok(&["rm", "-f", &id])?;
    }
    Ok(())
}

fn killed_zygote_is_replaced(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    let shim = parent(&d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?)?;
    let zygote = parent(&shim.to_string())?;
    ensure!(zygote > 1 && zygote != d.pid() as i32, "{zygote}");
    kill_pid(zygote)?;
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "new"])? == "new");
    ensure!(d.ok(&["exec", &id, "echo", "old"])? == "old", "what ran goes on");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn kill_during_starts_leaves_order(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    for round in 0..12u64 {
        let clients: Vec<_> = (0..3)
            .map(|i| {
                d.command(&["run", "-d", "--name", &format!("k{round}-{i}"), "-p", "80", "busybox", "sleep", "1000"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
            })
            .collect::<std::io::Result<_>>()?;
        // a different moment of the start each time, by the count of what it has left on disk so far
        let until_dirs = (round % 4) as usize;
        until("some of the starts to begin", || {
            let begun = std::fs::read_dir(d.root().join("containers")).map_or(0, Iterator::count);
            Ok((begun >= until_dirs || begun >= 3).then_some(()))
        })?;
        d.kill()?;
        for mut client in clients {
            client.wait()?;
        }
        d.up()?;
        for line in d.ok(&["ps", "-a", "--format", "{{.ID}} {{.State}}"])?.lines() {
            let (id, state) = line.split_once(' ').context("a line")?;
            match state {
                "running" => ensure!(d.ok(&["exec", id, "echo", "x"])? == "x"),
                "created" | "exited" => {
                    d.ok(&["start", id])?;
                }
                other => anyhow::bail!("{id} is {other}"),
            }
        }
        let ids = d.ok(&["ps", "-aq"])?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if !ids.is_empty() {
            d.ok(&[&["rm", "-f"], &ids[..]].concat())?;
        }
    }
    until("all directories to go", || {
        Ok(std::fs::read_dir(d.root().join("containers"))?.next().is_none().then_some(()))
    })?;
    let marker = d.dir.path().display().to_string();
    until("every shim to go", || {
        let shims = pids()
            .into_iter()
            .filter(|p| std::fs::read_to_string(format!("/proc/{p}/cmdline")).is_ok_and(|c| c.contains(&marker)))
            .count();
        Ok((shims <= 3).then_some(()))
    })?;
    Ok(())
}

fn two_daemons_side_by_side(w: &World) -> Result<()> {
    let (a, b) = (w.own_daemon()?, w.own_daemon()?);
    a.ok(&["run", "-d", "--name", "same", "-p", "8080:80", "busybox", "sleep", "1000"])?;
    b.ok(&["run", "-d", "--name", "same", "-p", "8080:80", "busybox", "sleep", "1000"])?;
    a.ok(&["rm", "-f", "same"])?;
    ensure!(b.ok(&["exec", "same", "echo", "mine"])? == "mine");
    Ok(())
}

fn one_root_one_daemon(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let out = d
        .command(&[
            "daemon",
            "-H",
            &format!("unix://{}/other.sock", d.dir.path().display()),
            "--root",
            &d.root().display().to_string(),
            "--state",
            &format!("{}/state2", d.dir.path().display()),
        ])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(!out.status.success() && said.contains(&d.pid().to_string()), "the other's pid is named: {said}");
    let out = d
        .command(&[
            "daemon",
            "-H",
            &d.host(),
            "--root",
            &format!("{}/root3", d.dir.path().display()),
            "--state",
            &format!("{}/state3", d.dir.path().display()),
        ])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(!out.status.success() && said.contains("dhow.sock"), "the socket in use is named: {said}");
    ensure!(d.ok(&["run", "--rm", "busybox", "echo", "fine"])? == "fine");
    Ok(())
}

fn stop_and_exec_after_recovery(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let id = d.ok(&["run", "-d", "-i", "busybox", "sh", "-c", "trap 'exit 8' TERM; while :; do sleep 0.05; done"])?;
    d.kill()?;
    d.up()?;
    ensure!(d.ok(&["exec", &id, "echo", "inside"])? == "inside");
    d.ok(&["stop", "-t", "20", &id])?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.ExitCode}}", &id])? == "8");
    d.ok(&["start", &id])?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}
