//! `update`: what the kernel has afterwards, in every state of a container, and what is refused.

use super::clients::{docker_ok, python};
use super::limits::{control, has, need};
use crate::daemon::{Daemon, until};
use crate::runner::World;
use anyhow::{Result, ensure};

super::cases!("update":
    every_limit_reaches_the_kernel, paused_and_stopped_ones_are_changed, what_was_changed_is_kept, conflicts_change_nothing,
    a_limit_below_the_use_is_explained, policies_change_what_follows, flags_are_needed, docker_and_docker_py_update,
);

fn sleeper(d: &Daemon, flags: &[&str]) -> Result<String> {
    d.ok(&[&["run", "-d"], flags, &["busybox", "sleep", "1000"]].concat())
}

/// A row: controller, flags, the file and what it says in v2, and in v1.
type Row = (&'static str, &'static [&'static str], (&'static str, &'static str), (&'static str, &'static str));

const ROWS: &[Row] = &[
    (
        "memory",
        &["-m", "64m", "--memory-swap", "-1"],
        ("memory.max", "67108864"),
        ("memory.limit_in_bytes", "67108864"),
    ),
    ("memory", &["-m", "128m"], ("memory.max", "134217728"), ("memory.limit_in_bytes", "134217728")),
    ("memory", &["-m", "32m"], ("memory.max", "33554432"), ("memory.limit_in_bytes", "33554432")),
    (
        "memory",
        &["--memory-reservation", "16m"],
        ("memory.low", "16777216"),
        ("memory.soft_limit_in_bytes", "16777216"),
    ),
    ("pids", &["--pids-limit", "77"], ("pids.max", "77"), ("pids.max", "77")),
    ("pids", &["--pids-limit", "-1"], ("pids.max", "max"), ("pids.max", "max")),
    ("cpu", &["--cpus", "0.5"], ("cpu.max", "50000 100000"), ("cpu.cfs_quota_us", "50000")),
    ("cpu", &["--cpus", "0.25"], ("cpu.max", "25000 100000"), ("cpu.cfs_quota_us", "25000")),
    ("cpu", &["-c", "512"], ("cpu.weight", ""), ("cpu.shares", "512")),
    ("cpuset", &["--cpuset-cpus", "0"], ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("cpuset", &["--cpuset-mems", "0"], ("cpuset.mems", "0"), ("cpuset.mems", "0")),
];

fn every_limit_reaches_the_kernel(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let id = sleeper(&d, &[])?;
    let mut seen = 0;
    for (controller, flags, v2, v1) in ROWS.iter().filter(|(controller, ..)| has(controller)) {
        ensure!(d.ok(&[&["update"], *flags, &[&id]].concat())?.starts_with(&id), "{flags:?}");
        let value = control(&d, &id, v2.0, (controller, v1.0))?;
        // A weight of v2 is computed from shares: that it is no longer the usual one is enough.
        let weight = v2.1.is_empty() && value != "100" && value.parse::<u32>().is_ok_and(|w| w < 100);
        ensure!(value == v1.1 || value == v2.1 || weight, "{flags:?}: {value}");
        seen += 1;
    }
    if seen == 0 {
        return crate::runner::skip("no controllers");
    }
    // What was not named stayed: all of it is shown, and holds after the next start, too.
    let shown = |format: &str| d.ok(&["inspect", "-f", format, &id]);
    if has("cpu") {
        ensure!(shown("{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}")? == "250000000 512");
        d.ok(&["restart", "-t", "0", &id])?;
        let quota = control(&d, &id, "cpu.max", ("cpu", "cpu.cfs_quota_us"))?;
        ensure!(quota == "25000" || quota == "25000 100000", "{quota}");
    }
    // Its group goes with it, also where a limit brought it into more hierarchies.
    let pid = shown("{{.State.Pid}}")?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    d.ok(&["rm", "-f", &id])?;
    for line in groups.lines().filter(|line| line.contains(&id)) {
        let parts: Vec<&str> = line.splitn(3, ':').collect();
        for dir in [parts[1].trim_start_matches("name="), parts[1].split(',').next().unwrap_or_default(), "unified"] {
            let path = format!("/sys/fs/cgroup/{dir}{}", parts[2]);
            until("the group to go", || Ok((!std::path::Path::new(&path).exists()).then_some(())))?;
        }
    }
    Ok(())
}

fn paused_and_stopped_ones_are_changed(w: &World) -> Result<()> {
    need("pids")?;
    let d = w.daemon()?;
    let id = sleeper(&d, &[])?;
    d.ok(&["pause", &id])?;
    d.ok(&["update", "--pids-limit", "55", &id])?;
    ensure!(control(&d, &id, "pids.max", ("pids", "pids.max"))? == "55");
    ensure!(d.ok(&["inspect", "-f", "{{.State.Status}}", &id])? == "paused");
    d.ok(&["unpause", &id])?;
    d.ok(&["stop", "-t", "0", &id])?;
    let made = d.ok(&["create", "busybox", "sleep", "1000"])?;
    ensure!(d.ok(&["container", "update", "--pids-limit", "66", &id, &made])? == format!("{id}\n{made}"));
    for id in [&id, &made] {
        d.ok(&["start", id])?;
        ensure!(control(&d, id, "pids.max", ("pids", "pids.max"))? == "66");
    }
    d.ok(&["rm", "-f", &id, &made])?;
    Ok(())
}

fn what_was_changed_is_kept(w: &World) -> Result<()> {
    need("pids")?;
    let d = w.own_daemon()?;
    let id = sleeper(&d, &[])?;
    d.ok(&["update", "--pids-limit", "44", "--restart", "on-failure:5", &id])?;
    d.kill()?;
    d.up()?;
    let format =
        "{{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    ensure!(d.ok(&["inspect", "-f", format, &id])? == "44 on-failure 5");
    // The shim of the last daemon does it for this one.
    d.ok(&["update", "--pids-limit", "33", &id])?;
    ensure!(control(&d, &id, "pids.max", ("pids", "pids.max"))? == "33");
    Ok(())
}

fn conflicts_change_nothing(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let prefix = |id: &str| format!("Cannot update container {id}: ");
    if has("cpu") {
        let id = sleeper(&d, &["--cpus", "0.5"])?;
        let why = "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set";
        d.cli(&["update", "--cpu-period", "50000", &id])?.fails(1, &[&prefix(&id), why])?;
        let quota = control(&d, &id, "cpu.max", ("cpu", "cpu.cfs_quota_us"))?;
        ensure!(quota.starts_with("50000"), "{quota}");
        d.ok(&["rm", "-f", &id])?;
    }
    let id = sleeper(&d, &["--rm"])?;
    let why = "Restart policy cannot be updated because AutoRemove is enabled for the container";
    d.cli(&["update", "--restart", "always", &id])?.fails(1, &[&prefix(&id), why])?;
    d.cli(&["update", "--restart", "sometimes", &id])?.fails(1, &["unknown policy 'sometimes'"])?;
    d.cli(&["update", "-m", "1m", &id])?.fails(1, &["Minimum memory limit allowed is 6MB"])?;
    d.cli(&["update", "--pids-limit", "5", "missing", &id])?.fails(1, &["No such container: missing"])?;
    ensure!(d.ok(&["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", &id])? == "0 no");
    for (body, status, why) in [
        (r#"{"Devices":[{"PathOnHost":"/dev/null"}]}"#, 400, "Devices can't be updated"),
        (r#"{"Ulimits":[{"Name":"nofile","Soft":1,"Hard":1}]}"#, 400, "Ulimits can't be updated"),
        (r#"{"Privileged":true}"#, 400, "only limits (Memory, CpuShares, ...) and RestartPolicy"),
        ("{}", 200, r#"{"Warnings":null}"#),
    ] {
        let (got, _, said) = d.http("POST", &format!("/containers/{id}/update"), body)?;
        ensure!(got == status && said.contains(why), "{body}: {got} {said}");
    }
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

/// The kernel can't take away what a program holds: the old limit stays.
fn a_limit_below_the_use_is_explained(w: &World) -> Result<()> {
    need("memory")?;
    if has("memory") && std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return crate::runner::skip("on v2 the kernel ends the program instead, as Docker lets it");
    }
    let d = w.daemon()?;
    let hold = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo held; sleep 1000";
    let id = d.ok(&["run", "-d", "-m", "512m", "--memory-swap", "512m", "busybox", "sh", "-c", hold])?;
    until("the memory to be held", || Ok(d.ok(&["logs", &id])?.contains("held").then_some(())))?;
    let r = d.cli(&["update", "-m", "8m", &id])?;
    // With swap it may fit after all.
    if r.code != 0 {
        // What it uses is told if that is still more when it is looked at.
        ensure!(r.err.contains("more than that is in use"), "{r:?}");
        let limit = control(&d, &id, "memory.max", ("memory", "memory.limit_in_bytes"))?;
        ensure!(limit == (512 << 20).to_string(), "the old limit stays: {limit}");
        ensure!(d.ok(&["inspect", "-f", "{{.HostConfig.Memory}}", &id])? == (512 << 20).to_string());
    }
    d.ok(&["update", "-m", "256m", &id])?;
    d.ok(&["rm", "-f", &id])?;
    Ok(())
}

fn policies_change_what_follows(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let count = |id: &str| Ok::<u64, anyhow::Error>(d.ok(&["inspect", "-f", "{{.RestartCount}}", id])?.parse()?);
    // From none to always, while it runs.
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    d.ok(&["update", "--restart", "always", &id])?;
    let pid: i32 = d.ok(&["inspect", "-f", "{{.State.Pid}}", &id])?.parse()?;
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    until("its next start", || Ok((count(&id)? == 1).then_some(())))?;
    d.ok(&["rm", "-f", &id])?;
    // From always to none, in a loop: it comes to its end.
    let id = d.ok(&["run", "-d", "--restart", "always", "busybox", "false"])?;
    until("a restart", || Ok((count(&id)? >= 1).then_some(())))?;
    d.ok(&["update", "--restart", "no", &id])?;
    until("its end", || Ok((d.ok(&["inspect", "-f", "{{.State.Status}}", &id])? == "exited").then_some(())))?;
    d.ok(&["rm", &id])?;
    Ok(())
}

fn flags_are_needed(w: &World) -> Result<()> {
    let d = w.daemon()?;
    d.cli(&["update", "any"])?.fails(1, &["you must provide one or more flags when using this command"])?;
    d.cli(&["update", "--restart", "on-failure:x", "any"])?.fails(1, &["maximum retry count must be an integer"])?;
    Ok(())
}

const PY: &str = r#"
import docker
c = docker.from_env()
k = c.containers.run("busybox", ["sleep", "1000"], detach=True)
print(k.update(mem_limit="64m", memswap_limit="128m", restart_policy={"Name": "on-failure", "MaximumRetryCount": 3}))
k.reload()
h = k.attrs["HostConfig"]
assert h["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}, h["RestartPolicy"]
assert h["Memory"] == 64 << 20, h["Memory"]
try:
    c.api.update_container(k.id, mem_limit="1m")
    raise SystemExit("not refused")
except docker.errors.APIError as e:
    assert e.status_code == 400 and "6MB" in e.explanation, e
k.remove(force=True)
print("fine")
"#;

fn docker_and_docker_py_update(w: &World) -> Result<()> {
    need("memory")?;
    let d = w.daemon()?;
    let id = sleeper(&d, &[])?;
    let said = docker_ok(&d, &["update", "--memory", "64m", "--memory-swap", "64m", "--restart", "always", &id])?;
    ensure!(said.starts_with(&id), "{said}");
    ensure!(control(&d, &id, "memory.max", ("memory", "memory.limit_in_bytes"))? == (64 << 20).to_string());
    ensure!(d.ok(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &id])? == "always");
    d.ok(&["rm", "-f", &id])?;
    let out = python(&d)?.arg("-c").arg(PY).output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success() && said.trim().ends_with("fine"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
