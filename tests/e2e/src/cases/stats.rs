//! `stats`: the same figures as Docker's client over the same daemon, and what the document says.

use super::clients::{docker_ok, needs_docker_28};
use crate::runner::World;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

super::cases!("stats": one_answer_has_two_samples, what_does_not_run_uses_nothing, docker_shows_the_same);

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
