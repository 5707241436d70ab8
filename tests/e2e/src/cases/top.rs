//! `top` and `port`: the processes of a container, as `ps` shows them, and where its ports are reached.

use super::clients::{docker, docker_ok, needs_docker_28, python};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::process::Stdio;

super::cases!("top": shows_its_processes_alone, columns_of_ps, what_top_refuses, ports_by_number, docker_and_docker_py_show_the_same);

/// A container with a shell and two programs, all of them there.
fn three(d: &Daemon) -> Result<String> {
    let id = d.ok(&["run", "-d", "--user", "12345", "busybox", "sh", "-c", "sleep 1001 & sleep 1002 & wait"])?;
    until("the programs to run", || {
        let shown = d.ok(&["top", &id, "-o", "pid,args"])?;
        Ok((shown.contains("sleep 1001") && shown.contains("sleep 1002")).then_some(()))
    })?;
    Ok(id)
}

/// The cells of each line: words, the last with what is left.
fn cells(text: &str, columns: usize) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let mut row: Vec<String> = words.by_ref().take(columns - 1).map(str::to_owned).collect();
        row.push(words.collect::<Vec<_>>().join(" "));
        row
    };
    text.lines().map(row).collect()
}

fn shows_its_processes_alone(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (id, other) = (three(&d)?, d.ok(&["run", "-d", "busybox", "sleep", "1003"])?);
    let main = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let rows = cells(&d.ok(&["top", &id])?, 8);
    ensure!(rows[0] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    ensure!(rows.len() == 4, "three processes, and none of the other container: {rows:?}");
    ensure!(rows[1..].iter().all(|row| row[0] == "12345" && row[5] == "?"), "{rows:?}");
    ensure!(rows[1][1] == main && rows[1][7].starts_with("sh -c sleep 1001"), "{rows:?}");
    ensure!(rows[2..].iter().all(|row| row[2] == main && row[7].starts_with("sleep 100")), "{rows:?}");
    // An exec's program is one of them; so is one that stands still.
    let mut exec = d.command(&["exec", &id, "sleep", "1004"]).stderr(Stdio::null()).spawn()?;
    until("the exec to be shown", || Ok(d.ok(&["top", &id])?.contains("sleep 1004").then_some(())))?;
    d.ok(&["pause", &id])?;
    ensure!(d.ok(&["container", "top", &id])?.lines().count() == 5);
    d.ok(&["rm", "-f", &id, &other])?;
    exec.wait()?;
    Ok(())
}

fn columns_of_ps(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = three(&d)?;
    let main = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let status = crate::daemon::read(format!("/proc/{main}/status"))?;
    let of = |word: &str| -> Result<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(word)).context("no such line")?;
        Ok(line.split_whitespace().next().context("no number")?.to_owned())
    };
    let rows = cells(&d.ok(&["top", &id, "aux"])?, 11);
    ensure!(rows[0].join(" ") == "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND", "{rows:?}");
    ensure!(rows[1][1] == main && rows[1][4] == of("VmSize:")? && rows[1][7].starts_with('S'), "{rows:?}");
    let rows = cells(&d.ok(&["top", &id, "-eo", "pid,ppid,comm,nlwp"])?, 4);
    ensure!(rows[0] == ["PID", "PPID", "COMMAND", "NLWP"] && rows[1] == [main, of("PPid:")?, "sh".into(), "1".into()]);
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn what_top_refuses(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    d.cli(&["top", &id, "-o", "user"])?.fails(1, &["Couldn't find PID field in ps output"])?;
    d.cli(&["top", &id, "-o", "pid,label"])?.fails(1, &["the column \"label\" is not built", "ppid"])?;
    d.cli(&["top", &id, "--forest"])?.fails(1, &["--forest", "-ef"])?;
    d.cli(&["top", "missing"])?.fails(1, &["No such container: missing"])?;
    d.ok(&["kill", &id])?;
    d.cli(&["top", &id])?.fails(1, &[&format!("container {id} is not running")])?;
    let (status, _, body) = d.http("GET", &format!("/containers/{id}/top"), "")?;
    ensure!(status == 409, "{status} {body}");
    d.ok(&["rm", &id])?;
    Ok(())
}

fn ports_by_number(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    let publish = ["-p", "18443:443", "-p", "127.0.0.1:18080:80", "-p", "18053:53/udp", "--expose", "99"];
    let id = d.ok(&[&["run", "-d", "--name", "open"], &publish[..], &["busybox", "sleep", "1000"]].concat())?;
    for words in [&["open"][..], &["open", "443"], &["open", "80/tcp"], &["open", "53/udp"], &[&id[..12]]] {
        let theirs = docker_ok(&d, &[&["port"], words].concat())?;
        let ours = d.cli(&[&["port"], words].concat())?;
        ensure!(ours.code == 0 && ours.out == theirs, "{words:?}: {ours:?} {theirs}");
    }
    ensure!(d.ok(&["container", "port", "open", "80"])? == "127.0.0.1:18080");
    let all = d.ok(&["port", "open"])?;
    ensure!(all.starts_with("53/udp -> 0.0.0.0:18053\n80/tcp -> "), "{all}");
    for (port, want) in
        [("53", "No public port '53' published for open"), ("99", "No public port"), ("x", "invalid port (x)")]
    {
        d.cli(&["port", "open", port])?.fails(1, &[want])?;
    }
    d.ok(&["stop", "-t", "0", "open"])?;
    ensure!(d.ok(&["port", "open"])?.is_empty(), "one that does not run has none");
    d.cli(&["port", "missing"])?.fails(1, &["No such container: missing"])?;
    Ok(())
}

const PY: &str = r#"
import docker, sys
c = docker.from_env()
k = c.containers.get(sys.argv[1])
t = k.top()
assert t["Titles"][1] == "PID" and len(t["Processes"]) == 3, t
t = k.top(ps_args="-o pid,args")
assert t["Titles"] == ["PID", "COMMAND"] and t["Processes"][0][0] == str(k.attrs["State"]["Pid"]), t
print("all well")
"#;

fn docker_and_docker_py_show_the_same(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = three(&d)?;
    for options in [&["-o", "pid,ppid,user,args"][..], &["-eo", "pid,comm"]] {
        let theirs = docker_ok(&d, &[&["top", &id], options].concat())?;
        let ours = d.cli(&[&["top", &id], options].concat())?;
        ensure!(ours.out == theirs, "{options:?}:\n{}\n{theirs}", ours.out);
    }
    let theirs = docker(&d, &["top", &id, "-o", "user"])?.output()?;
    let ours = d.cli(&["top", &id, "-o", "user"])?;
    let said = ours.err.trim_end().trim_start_matches("dhow: ");
    ensure!(
        theirs.status.code() == Some(ours.code) && String::from_utf8(theirs.stderr)?.trim_end() == said,
        "{ours:?}"
    );
    let out = python(&d)?.arg("-c").arg(PY).arg(&id).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}
