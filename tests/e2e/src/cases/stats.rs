//! `stats`: the same figures as Docker's client over the same daemon, and what the document says.

use super::clients::{docker_ok, needs_docker_28};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

super::cases!("stats": one_answer_has_two_samples, what_does_not_run_uses_nothing, docker_shows_the_same,
    rows_come_and_go, block_traffic_in_dockers_words);

fn one_answer_has_two_samples(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "-m", "64m", "--pids-limit", "77", "busybox", "sleep", "1000"])?;
    let ask = |query: &str| -> Result<Value> {
        let (status, _, body) = d.http("GET", &format!("/v1.48/containers/{id}/stats?{query}"), "")?;
        ensure!(status == 200, "{status}: {body}");
        // It comes in a chunk, between lines with sizes.
        let document = body.lines().find(|line| line.starts_with('{')).context("no document")?;
        Ok(serde_json::from_str(document)?)
    };
    let two = ask("stream=0")?;
    ensure!(two["memory_stats"]["limit"] == 64 << 20 && two["pids_stats"]["limit"] == 77, "{two}");
    ensure!(two["pids_stats"]["current"] == 1 && two["networks"]["eth0"]["rx_bytes"].is_u64(), "{two}");
    let system = |stats: &str| two[stats]["system_cpu_usage"].as_u64();
    ensure!(system("cpu_stats") > system("precpu_stats") && system("precpu_stats") > Some(0), "{two}");
    let one = ask("stream=0&one-shot=1")?;
    ensure!(one["preread"] == "0001-01-01T00:00:00Z" && one["precpu_stats"].get("system_cpu_usage").is_none(), "{one}");
    let (status, _, body) = d.http("GET", &format!("/v1.48/containers/{id}/stats?one-shot=1"), "")?;
    ensure!(status == 400 && body.contains("cannot have stream=true and one-shot=true"), "{status}: {body}");
    d.ok(&["rm", "-f", &id])?;
    d.cli(&["stats", "--no-stream", &id])?.fails(1, &["No such container"])?;
    Ok(())
}

fn what_does_not_run_uses_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.ok(&["create", "--name", "still", "busybox", "true"])?;
    d.ok(&["run", "-d", "--name", "busy", "busybox", "sleep", "1000"])?;
    let names = |words: &[&str]| d.ok(&[&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"], words].concat());
    ensure!(names(&[])? == "busy 1");
    ensure!(names(&["-a"])? == "busy 1\nstill 0");
    ensure!(names(&["still"])? == "still 0");
    let table = d.ok(&["stats", "--no-stream", "--no-trunc", "busy"])?;
    ensure!(table.starts_with("CONTAINER ID ") && table.contains("MEM USAGE / LIMIT"), "{table}");
    ensure!(table.lines().nth(1).is_some_and(|row| row.split_whitespace().next().is_some_and(|id| id.len() == 64)));
    Ok(())
}

fn docker_shows_the_same(w: &World) -> Result<()> {
    needs_docker_28()?;
    let d = w.own_daemon()?;
    d.ok(&["run", "-d", "--name", "web", "--network", "none", "-m", "64m", "busybox", "sleep", "1000"])?;
    // What a program that sleeps does not change between two answers; its memory may.
    let words = ["stats", "--no-stream", "--format", "{{.Container}}|{{.Name}}|{{.ID}}|{{.NetIO}}|{{.PIDs}}"];
    let (theirs, ours) = (docker_ok(&d, &words)?, d.ok(&words)?);
    let without_container = |text: &str| text.split_once('|').map(|(_, rest)| rest.trim().to_owned());
    ensure!(without_container(&theirs) == without_container(&ours), "docker: {theirs}\ndhow: {ours}");
    Ok(())
}

/// A `stats` that goes on until this is dropped, and what it has printed.
struct Watch(Child, Arc<Mutex<Vec<String>>>);

impl Watch {
    fn start(d: &Daemon, words: &[&str]) -> Result<Self> {
        let words = [&["stats", "--format", "{{.Name}} {{.PIDs}}"], words].concat();
        let mut child = d.command(&words).stdout(Stdio::piped()).spawn()?;
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, all) = (BufReader::new(child.stdout.take().context("no pipe")?), lines.clone());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Ok(mut all) = all.lock() {
                    all.push(line);
                }
            }
        });
        Ok(Self(child, lines))
    }

    /// Waits until the last lines, twice as many as there are rows, are these rows in any order, each twice.
    fn shows(&mut self, rows: &[&str]) -> Result<()> {
        let mut want: Vec<String> = rows.iter().chain(rows).map(|row| (*row).to_owned()).collect();
        want.sort();
        until(&format!("the rows {rows:?}"), || {
            ensure!(self.0.try_wait()?.is_none(), "it ended");
            let lines = self.1.lock().map_err(|_| anyhow::anyhow!("the reader failed"))?;
            let mut last = lines[lines.len().saturating_sub(want.len())..].to_vec();
            last.sort();
            Ok((last == want).then_some(()))
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rows_come_and_go(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let run = |name: &str| d.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    run("one")?;
    let mut running = Watch::start(&d, &[])?;
    let mut all = Watch::start(&d, &["-a"])?;
    running.shows(&["one 1"])?;
    all.shows(&["one 1"])?;
    run("two")?;
    d.ok(&["create", "--name", "still", "busybox", "true"])?;
    running.shows(&["one 1", "two 1"])?;
    all.shows(&["one 1", "two 1", "still 0"])?;
    d.ok(&["kill", "one"])?;
    running.shows(&["two 1"])?;
    all.shows(&["one 0", "two 1", "still 0"])?;
    let mut named = Watch::start(&d, &["one", "two"])?;
    named.shows(&["one 0", "two 1"])?;
    d.ok(&["start", "one"])?;
    running.shows(&["one 1", "two 1"])?;
    named.shows(&["one 1", "two 1"])?;
    d.ok(&["rm", "-f", "one", "still"])?;
    running.shows(&["two 1"])?;
    all.shows(&["two 1"])?;
    // One that was asked for by name keeps its row, as in Docker.
    named.shows(&["one --", "two 1"])?;
    run("three")?;
    running.shows(&["two 1", "three 1"])?;
    named.shows(&["one --", "two 1"])?;
    Ok(())
}

/// A container in the hierarchy that counts it: with v1 that is one with a limit on some disk.
fn block_traffic_in_dockers_words(w: &World) -> Result<()> {
    let v1 = std::path::Path::new("/sys/fs/cgroup/blkio/blkio.throttle.io_service_bytes").exists();
    let disks = std::fs::read_to_string("/proc/partitions")?;
    let disk = disks
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().nth(3))
        .find(|name| std::fs::metadata(format!("/dev/{name}")).is_ok());
    let (true, Some(disk)) = (v1, disk) else { return crate::runner::skip("no cgroup v1 that counts, or no disk") };
    let d = w.daemon()?;
    let limit = format!("/dev/{disk}:1gb");
    // Written through to the disk, whatever it is on.
    let script = "dd if=/dev/zero of=/x bs=64k count=4 conv=fsync 2>/dev/null; echo done; sleep 1000";
    let id = d.ok(&["run", "-d", "--device-read-bps", &limit, "busybox", "sh", "-c", script])?;
    until("the program to have written", || Ok((d.ok(&["logs", &id])? == "done").then_some(())))?;
    let (status, _, body) = d.http("GET", &format!("/v1.48/containers/{id}/stats?stream=0&one-shot=1"), "")?;
    ensure!(status == 200, "{status}: {body}");
    let document = body.lines().find(|line| line.starts_with('{')).context("no document")?;
    let told: Value = serde_json::from_str(document)?;
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = groups.lines().find_map(|line| line.split_once(":blkio:")).context("not in blkio")?.1;
    for (list, file) in [("io_service_bytes_recursive", "io_service_bytes"), ("io_serviced_recursive", "io_serviced")] {
        let kernel = std::fs::read_to_string(format!("/sys/fs/cgroup/blkio{path}/blkio.throttle.{file}"))?;
        let want: Vec<String> = kernel.lines().filter(|l| l.contains(':')).map(str::to_owned).collect();
        let rows = told["blkio_stats"][list].as_array().with_context(|| format!("{told}"))?;
        let got = rows
            .iter()
            .map(|r| format!("{}:{} {} {}", r["major"], r["minor"], r["op"].as_str().unwrap_or(""), r["value"]));
        ensure!(got.collect::<Vec<_>>() == want, "{rows:?} {want:?}");
    }
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}
