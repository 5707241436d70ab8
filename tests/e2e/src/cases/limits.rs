//! Resource limits are enforced, seen from inside and from the machine.

use crate::daemon::Daemon;
use crate::runner::{World, skip};
use anyhow::{Context as _, Result, ensure};

super::cases!("limits": memory_is_bounded_and_an_oom_kill_is_told, processes_are_bounded, cpu_quota_and_weight, cpuset, devices_are_denied, parents, missing_controllers_are_named);

/// The value of a control file of the container's own group: v2 name, or v1 controller and name.
pub(super) fn control(d: &Daemon, id: &str, v2: &str, v1: (&str, &str)) -> Result<String> {
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", id])?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let find = |want: &str| {
        groups.lines().find_map(|l| {
            let mut parts = l.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            (names.split(',').any(|n| n == want)).then(|| path.to_owned())
        })
    };
    let file = match find(v1.0) {
        Some(path) => format!("/sys/fs/cgroup/{}{path}/{}", v1.0, v1.1),
        None => format!("/sys/fs/cgroup{}/{v2}", find("").context("no v2 group")?),
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(e).context(file),
    }
}

pub(super) fn has(controller: &str) -> bool {
    let v1 = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    v1.lines().any(|l| l.split(':').nth(1).is_some_and(|n| n.split(',').any(|c| c == controller)))
        || std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|c| c.split_whitespace().any(|w| w == controller))
}

pub(super) fn need(controller: &str) -> Result<()> {
    if has(controller) { Ok(()) } else { skip(format!("no {controller} controller")) }
}

fn memory_is_bounded_and_an_oom_kill_is_told(w: &World) -> Result<()> {
    need("memory")?;
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "-m", "32m", "--memory-swap", "32m", "busybox", "sleep", "1000"])?;
    ensure!(control(&d, &id, "memory.max", ("memory", "memory.limit_in_bytes"))? == (32 << 20).to_string());
    d.ok(&["rm", "-f", &id])?;
    let id = d.ok(&[
        "run",
        "-d",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}",
    ])?;
    let code = d.ok(&["wait", &id])?;
    ensure!(d.ok(&["inspect", "-f", "{{.State.OOMKilled}}", &id])? == "true", "exit code {code}");
    ensure!(!d.ok(&["logs", &id])?.contains("200000000"));
    d.ok(&["rm", &id])?;
    Ok(())
}

fn processes_are_bounded(w: &World) -> Result<()> {
    need("pids")?;
    let d = w.daemon()?;
    let r = d.cli(&[
        "run",
        "--rm",
        "--pids-limit",
        "10",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all",
    ])?;
    ensure!(r.err.contains("can't fork") && !r.out.contains("all"), "{r:?}");
    Ok(())
}

fn cpu_quota_and_weight(w: &World) -> Result<()> {
    need("cpu")?;
    let d = w.daemon()?;
    let id = d.ok(&["run", "-d", "--cpus", "0.5", "--cpu-shares", "512", "busybox", "sleep", "1000"])?;
    let quota = control(&d, &id, "cpu.max", ("cpu", "cpu.cfs_quota_us"))?;
    ensure!(quota == "50000" || quota == "50000 100000", "{quota}");
    let weight = control(&d, &id, "cpu.weight", ("cpu", "cpu.shares"))?;
    ensure!(weight == "512" || (20..=70).contains(&weight.parse::<u32>()?), "{weight}");
    d.ok(&["rm", "-f", &id])?;
    d.cli(&["run", "--rm", "--cpus", "1000", "busybox", "true"])?.fails(125, &["CPUs"])?;
    Ok(())
}

fn cpuset(w: &World) -> Result<()> {
    need("cpuset")?;
    let d = w.daemon()?;
    ensure!(
        d.ok(&["run", "--rm", "--cpuset-cpus", "0", "busybox", "grep", "Cpus_allowed_list", "/proc/self/status"])?
            .ends_with("\t0")
    );
    d.cli(&["run", "--rm", "--cpuset-cpus", "0-99999", "busybox", "true"])?.fails(125, &["0-99999"])?;
    Ok(())
}

fn devices_are_denied(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let script = "mknod /disk b 7 0 && head -c 1 /disk; mknod /null2 c 1 3 && echo x > /null2 && echo null-works";
    let r = d.cli(&["run", "--rm", "busybox", "sh", "-c", script])?;
    ensure!(r.out == "null-works\n" && r.err.contains("Operation not permitted"), "{r:?}");
    let r = d.cli(&[
        "run",
        "--rm",
        "--device",
        "/dev/loop-control:/dev/k:r",
        "busybox",
        "sh",
        "-c",
        "test -c /dev/k && : < /dev/k && echo open; : > /dev/k",
    ])?;
    ensure!(r.out == "open\n" && r.code != 0, "read was allowed, write was not: {r:?}");
    // Docker's client takes these words for a program that is missing, and gives 127.
    d.cli(&["run", "--rm", "--device", "/dev/nothing", "busybox", "true"])?
        .fails(125, &["/dev/nothing", "o such file or directory"])?;
    Ok(())
}

fn parents(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let show = |flags: &[&str]| {
        d.ok(&[&["run", "--rm", "--cgroupns", "host"], flags, &["busybox", "cat", "/proc/self/cgroup"]].concat())
    };
    let usual = show(&[])?;
    ensure!(usual.lines().all(|l| l.contains("/dhow/") || l.ends_with(":/")), "{usual}");
    let name = format!("/dhow-e2e-parent-{}", std::process::id());
    let own = show(&["--cgroup-parent", &name])?;
    ensure!(own.lines().any(|l| l.contains(&format!(":{name}/"))), "{own}");
    for base in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let dir = base.path().join(&name[1..]);
        if dir.is_dir() {
            crate::daemon::until("the group to be empty", || Ok(std::fs::remove_dir(&dir).is_ok().then_some(())))?;
        }
    }
    let plain = std::path::Path::new("/sys/fs/cgroup").join(&name[1..]);
    let _ = std::fs::remove_dir(plain);
    Ok(())
}

fn missing_controllers_are_named(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = d.cli(&["run", "--rm", "--blkio-weight", "300", "busybox", "true"])?;
    ensure!(r.code == 0 || r.err.to_lowercase().contains("weight"), "{r:?}");
    ensure!(r.code != 0 || r.err.is_empty() || r.err.contains("WARNING"), "{r:?}");
    Ok(())
}
