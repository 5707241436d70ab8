//! Logs as they are kept by default: in bounded segments, which other people's clients read as they read Docker's.

use super::clients::{docker, python};
use crate::daemon::{Daemon, until};
use crate::disk::Disk;
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

super::cases!("log_segments": what_is_kept_where, a_flood_is_bounded_packed_and_in_order, dockers_client_reads_the_same, docker_py_gets_lines,
    a_killed_shim_tears_no_line, nothing_is_lost_while_no_daemon_runs, a_full_disk_is_told_in_its_place);

/// The directory of the segments.
fn dir(d: &Daemon, id: &str) -> PathBuf {
    d.root().join("containers").join(id).join("log")
}

fn files(dir: &Path) -> Result<Vec<(String, u64)>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // One that was packed meanwhile is listed under its new name, too.
        if let Ok(meta) = entry.metadata() {
            out.push((entry.file_name().to_string_lossy().into_owned(), meta.len()));
        }
    }
    out.sort();
    Ok(out)
}

/// The numbers in `text`, which must be without a gap.
pub(super) fn in_order(text: &str) -> Result<(u64, u64)> {
    let mut lines = text.lines().map(|line| line.trim_start_matches("line ").parse::<u64>());
    let first = lines.next().context("no line at all")??;
    let mut last = first;
    for line in lines {
        let line = line?;
        ensure!(line == last + 1, "after {last} comes {line}");
        last = line;
    }
    Ok((first, last))
}

fn what_is_kept_where(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let quiet = d.ok(&["run", "-d", "busybox", "true"])?;
    let own = d.ok(&["run", "-d", "busybox", "sh", "-c", "echo out; echo err >&2"])?;
    let exact = d.ok(&["run", "-d", "--log-driver", "json-file", "busybox", "sh", "-c", "echo out; echo err >&2"])?;
    for id in [&quiet, &own, &exact] {
        d.ok(&["wait", id])?;
    }
    ensure!(files(&dir(&d, &quiet))?.is_empty(), "who says nothing has no segment");
    ensure!(d.inspect(&own)?["LogPath"] == "" && d.inspect(&own)?["HostConfig"]["LogConfig"]["Type"] == "json-file");
    ensure!(files(&dir(&d, &own))?.iter().map(|f| f.0.as_str()).eq(["00000001.seg"]));
    // For those who read the file itself.
    let path = d.inspect(&exact)?["LogPath"].as_str().context("no LogPath")?.to_owned();
    ensure!(std::fs::read_to_string(path)?.starts_with("{\"log\":\"out\\n\",\"stream\":\"stdout\",\"time\":\""));
    ensure!(!dir(&d, &exact).exists());
    for id in [&own, &exact] {
        let r = d.cli(&["logs", id])?;
        ensure!(r.out == "out\n" && r.err == "err\n", "{r:?}");
    }
    d.ok(&["rm", &quiet, &own, &exact])?;
    until("the logs to go", || Ok((!dir(&d, &own).exists()).then_some(())))?;
    Ok(())
}

/// Twenty times what may be kept, followed from the beginning.
fn a_flood_is_bounded_packed_and_in_order(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let words = ["run", "-d", "--log-opt", "max-size=512k", "--log-opt", "max-file=4", "busybox", "seq", "5000000"];
    let id = d.ok(&words)?;
    let followed = d.ok(&["logs", "-f", &id])?;
    ensure!(followed.ends_with("\n5000000"), "the follower has the end: {:?}", followed.lines().next_back());
    d.ok(&["wait", &id])?;
    let kept = d.ok(&["logs", &id])?;
    let (first, last) = in_order(&kept)?;
    ensure!(last == 5_000_000 && first > 4_000_000, "{first} {last}");
    let sum: u64 = files(&dir(&d, &id))?.iter().map(|f| f.1).sum();
    ensure!(sum <= 2 << 20, "{sum} bytes are kept where 2 MiB are the most");
    until("all but the newest to be packed", || {
        let files = files(&dir(&d, &id))?;
        let plain = files.iter().filter(|f| f.0.ends_with(".seg")).count();
        Ok((plain == 1 && files.iter().all(|f| !f.0.ends_with(".tmp"))).then_some(()))
    })?;
    ensure!(d.ok(&["logs", &id])? == kept, "packing changed what is read");
    ensure!(d.ok(&["logs", "-n", "100000", &id])?.lines().next() == Some("4900001"));
    d.ok(&["rm", &id])?;
    Ok(())
}

fn dockers_client_reads_the_same(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "for i in $(seq 200); do echo out $i; echo err $i >&2; done; \
                  head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'no end'";
    let mut texts = Vec::new();
    for driver in [&[][..], &["--log-driver", "json-file"]] {
        let id = d.ok(&[&["run", "-d"], driver, &["busybox", "sh", "-c", script]].concat())?;
        d.ok(&["wait", &id])?;
        let moment = d.ok(&["logs", "-t", "-n", "150", &id])?;
        let moment = moment.split(' ').next().context("no time")?;
        for flags in [
            &[][..],
            &["-n", "7"],
            &["-n", "0"],
            &["--since", moment],
            &["--until", moment],
            &["--since", moment, "-n", "3"],
            &["-f", "-n", "2"],
        ] {
            let words = [&["logs"], flags, &[&id[..]]].concat();
            let theirs = docker(&d, &words)?.output()?;
            let ours = d.command(&words).output()?;
            ensure!(theirs.stdout == ours.stdout && theirs.stderr == ours.stderr, "{words:?}");
            ensure!(theirs.status.success() && ours.status.success(), "{words:?}");
        }
        texts.push(d.cli(&["logs", &id])?);
        d.ok(&["rm", &id])?;
    }
    ensure!(texts[0].out == texts[1].out && texts[0].err == texts[1].err, "the kinds of log differ");
    ensure!(texts[0].out.ends_with("x\nno end") && texts[0].err.ends_with("err 200\n"));
    Ok(())
}

/// What Docker's library for Python gets: a line at a time, and what was said before an attachment.
fn docker_py_gets_lines(w: &World) -> Result<()> {
    const PY: &str = r#"
import docker
c = docker.from_env()
x = c.containers.run("busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; done"], detach=True)
x.wait()
assert x.logs() == b"1\n2\n3\n", x.logs()
assert list(x.logs(stream=True, follow=True)) == [b"1\n", b"2\n", b"3\n"]
assert x.logs(tail=2) == b"2\n3\n" and x.logs(stdout=False) == b""
assert x.logs(timestamps=True, tail=1).endswith(b"Z 3\n")
assert x.logs(since=1) == b"1\n2\n3\n" and x.logs(until=1) == b""
assert x.attach(logs=True, stream=False) == b"1\n2\n3\n"
x.remove()
print("all well")
"#;
    let d = w.daemon()?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let err = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).trim() == "all well", "{err}");
    Ok(())
}

/// The container goes with its shim; what was written before is whole, and the next start goes on behind it.
fn a_killed_shim_tears_no_line(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "n=0; [ -e /n ] && n=$(cat /n); while :; do n=$((n+1)); echo line $n; done";
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", script])?;
    for round in 1..=3 {
        until("some output", || Ok((d.ok(&["logs", "-n", "1", &id])?.len() > 5).then_some(())))?;
        let pid = d.inspect(&id)?["State"]["Pid"].as_i64().context("no pid")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let shim = status.lines().find_map(|l| l.strip_prefix("PPid:\t")).context("no parent")?.parse()?;
        let shim = rustix::process::Pid::from_raw(shim).context("no shim")?;
        rustix::process::kill_process(shim, rustix::process::Signal::KILL)?;
        ensure!(d.ok(&["wait", &id])? == "137");
        let text = d.ok(&["logs", &id])?;
        let starts = text.lines().filter(|l| *l == "line 1").count();
        ensure!(starts == round, "{starts} starts after {round}");
        for part in text.split("line 1\n").skip(1).filter(|part| !part.is_empty()) {
            ensure!(in_order(part)?.0 == 2);
        }
        d.ok(&["start", &id])?;
    }
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

/// The shim keeps the bound alone; what it filled meanwhile is packed by the next daemon.
fn nothing_is_lost_while_no_daemon_runs(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let script = "while [ ! -e /run/go ]; do sleep 0.02; done; seq 1000000; touch /run/done; exec sleep 1000000";
    let words =
        ["--log-opt", "max-size=1m", "--log-opt", "max-file=3", "--tmpfs", "/run", "busybox", "sh", "-c", script];
    let id = d.ok(&[&["run", "-d"], &words[..]].concat())?;
    let pid = d.inspect(&id)?["State"]["Pid"].as_i64().context("no pid")?;
    d.kill()?;
    let inside = PathBuf::from(format!("/proc/{pid}/root/run"));
    std::fs::write(inside.join("go"), "")?;
    until("the flood to end", || Ok(inside.join("done").exists().then_some(())))?;
    // The last of it is in the pipe at most.
    until("the log to be written", || {
        let newest = files(&dir(&d, &id))?.pop().context("no segment")?;
        let bytes = std::fs::read(dir(&d, &id).join(newest.0))?;
        Ok(bytes.ends_with(b"\n1000000\n").then_some(()))
    })?;
    let kept = files(&dir(&d, &id))?;
    ensure!(kept.iter().map(|f| f.1).sum::<u64>() <= 3 << 20 && kept.iter().all(|f| f.0.ends_with(".seg")), "{kept:?}");
    d.up()?;
    until("the segments to be packed", || {
        let files = files(&dir(&d, &id))?;
        Ok((files.iter().filter(|f| f.0.ends_with(".seg")).count() == 1).then_some(()))
    })?;
    ensure!(in_order(&d.ok(&["logs", &id])?)?.1 == 1_000_000);
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn a_full_disk_is_told_in_its_place(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, "{}", |dir| Disk::memory(&dir.join("root"), 24).map(Some))?;
    d.load("busybox")?;
    let script = "echo before; for step in 1 2; do while [ ! -e /run/$step ]; do sleep 0.02; done; \
                  [ $step = 2 ] || seq 100000; touch /run/done$step; done; echo after";
    let id = d.ok(&["run", "-d", "--tmpfs", "/run", "busybox", "sh", "-c", script])?;
    until("the first line", || Ok((d.ok(&["logs", &id])? == "before").then_some(())))?;
    d.disk()?.fill()?;
    d.ok(&["exec", &id, "touch", "/run/1"])?;
    until("the flood", || Ok((d.cli(&["exec", &id, "ls", "/run/done1"])?.code == 0).then_some(())))?;
    d.disk()?.relieve()?;
    d.ok(&["exec", &id, "touch", "/run/2"])?;
    d.ok(&["wait", &id])?;
    let r = d.cli(&["logs", &id])?;
    ensure!(r.out.starts_with("before\n") && r.out.ends_with("after\n"), "{r:?}");
    ensure!(
        r.err.starts_with("dhow: ")
            && r.err.ends_with(" bytes of output are missing here: they could not be written\n")
    );
    let error = d.inspect(&id)?["State"]["Error"].clone();
    ensure!(error.as_str().is_some_and(|e| e.ends_with("bytes of the log could not be written")), "{error}");
    d.ok(&["rm", &id])?;
    Ok(())
}
