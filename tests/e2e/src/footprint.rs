//! What a daemon and its containers hold on a machine, counted: for tests that see whether anything grows.
//!
//! Everything is asked of the kernel and of the disk, never of the daemon. How it comes to grow never lives here.

use crate::daemon::{Daemon, pids};
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A set of things of one kind, by name.
type Things = BTreeSet<String>;

/// What is held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Footprint {
    /// Things that must not become more, by kind.
    pub things: BTreeMap<&'static str, Things>,
    /// Memory of its own in KiB, by process.
    pub memory: BTreeMap<&'static str, u64>,
    /// KiB of the database, which gives nothing back to the disk but must not grow for ever.
    pub database: u64,
}

impl Footprint {
    /// Looks at the daemon, at the shim of the container with this process, and at the groups below `parent`.
    pub fn of(d: &Daemon, init: i32, parent: &str) -> Result<Self> {
        let daemon = d.pid() as i32;
        let shim = status(init, "PPid:")? as i32;
        let zygote = status(shim, "PPid:")? as i32;
        let ours = family(d)?;
        let mut things = BTreeMap::from([
            ("descriptors of the daemon", descriptors(daemon)?),
            ("descriptors of the shim", descriptors(shim)?),
            ("descriptors of the zygote", descriptors(zygote)?),
            ("threads of the daemon", entries(&format!("/proc/{daemon}/task"))?),
            ("threads of the shim", entries(&format!("/proc/{shim}/task"))?),
            ("mounts", mounts(daemon, d)?),
            ("processes", ours.iter().map(|pid| format!("{pid} {}", comm(*pid))).collect()),
            ("namespaces", namespaces(&ours)),
            ("groups", groups(parent)),
            ("network links", links(daemon)?),
            ("files", files(d)?),
        ]);
        if let Some(rules) = rules(d)? {
            things.insert("nft rules and elements", rules);
        }
        let memory = [("the daemon", daemon), ("the shim", shim), ("the zygote", zygote)];
        let memory = memory.into_iter().map(|(name, pid)| Ok((name, anonymous(pid)?))).collect::<Result<_>>()?;
        let sizes = ["dhow.db", "dhow.db-wal"].map(|name| d.root().join(name).metadata().map_or(0, |m| m.len()));
        Ok(Self { things, memory, database: sizes.iter().sum::<u64>() / 1024 })
    }

    /// What is more than before, with the names of what is new. Numbers count: one thing may take the place of another.
    pub fn more_than(&self, before: &Self) -> Vec<String> {
        let mut grown = Vec::new();
        for (kind, now) in &self.things {
            let old = before.things.get(kind).cloned().unwrap_or_default();
            if now.len() > old.len() {
                let new: Vec<&str> = now.difference(&old).map(String::as_str).take(12).collect();
                grown.push(format!("{kind}: {} became {} ({})", old.len(), now.len(), new.join(", ")));
            }
        }
        grown
    }
}

fn comm(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// A number of `/proc/PID/status`.
fn status(pid: i32, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// KiB that no other process has and no file holds.
fn anonymous(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("Pss_Anon:")).context("no Pss_Anon")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn entries(dir: &str) -> Result<Things> {
    let names = std::fs::read_dir(dir).with_context(|| dir.to_owned())?;
    Ok(names.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
}

fn descriptors(pid: i32) -> Result<Things> {
    let dir = format!("/proc/{pid}/fd");
    let target = |name: &String| std::fs::read_link(format!("{dir}/{name}"));
    Ok(entries(&dir)?.iter().filter_map(|n| Some(format!("{n} {}", target(n).ok()?.display()))).collect())
}

/// The mounts that the daemon sees and that lie in its own directory: those of others come and go.
fn mounts(daemon: i32, d: &Daemon) -> Result<Things> {
    let dir = d.dir.path().display().to_string();
    let text = std::fs::read_to_string(format!("/proc/{daemon}/mountinfo"))?;
    let place = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    let ours = text.lines().filter(|line| line.contains(&dir)).enumerate();
    Ok(ours.map(|(n, line)| format!("{n} {}", place(line))).collect())
}

/// The daemon, what it started, and everything below; those that ended and were not reaped, too.
fn family(d: &Daemon) -> Result<Vec<i32>> {
    let mut parents: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids() {
        if let Ok(parent) = status(pid, "PPid:") {
            parents.entry(parent as i32).or_default().push(pid);
        }
    }
    let mut all = Vec::new();
    let mut todo: Vec<i32> = d.processes();
    todo.push(d.pid() as i32);
    // Commands of this test that still run are no part of it.
    let me = std::process::id() as i32;
    todo.retain(|pid| *pid == d.pid() as i32 || status(*pid, "PPid:").is_ok_and(|p| p as i32 != me));
    while let Some(pid) = todo.pop() {
        if !all.contains(&pid) {
            all.push(pid);
            todo.extend(parents.get(&pid).into_iter().flatten());
        }
    }
    Ok(all)
}

/// The namespaces that these processes are in, or hold.
fn namespaces(pids: &[i32]) -> Things {
    let mut all = Things::new();
    for pid in pids {
        for kind in ["ns", "fd"] {
            let links = std::fs::read_dir(format!("/proc/{pid}/{kind}")).into_iter().flatten().flatten();
            let targets = links.filter_map(|e| std::fs::read_link(e.path()).ok());
            all.extend(targets.map(|t| t.display().to_string()).filter(|t| t.contains(":[") && !t.starts_with("pipe")));
        }
    }
    all.retain(|name| ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"].contains(&kind_of(name)));
    all
}

fn kind_of(namespace: &str) -> &str {
    namespace.split(':').next().unwrap_or_default()
}

/// The groups below `parent`, in every hierarchy.
fn groups(parent: &str) -> Things {
    hierarchies().iter().flat_map(|base| below(&base.join(parent.trim_start_matches('/')), &|_| true)).collect()
}

/// The root of each hierarchy.
pub fn hierarchies() -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let mut all = vec![base.to_owned()];
    all.extend(std::fs::read_dir(base).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()));
    all
}

/// The directories below one.
fn below(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
        if entry.symlink_metadata().is_ok_and(|m| m.is_dir()) && wanted(&entry) {
            all.push(entry.display().to_string());
            all.extend(below(&entry, wanted));
        }
    }
    all
}

/// The links in the daemon's network namespace.
fn links(daemon: i32) -> Result<Things> {
    let text = std::fs::read_to_string(format!("/proc/{daemon}/net/dev"))?;
    Ok(text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

/// What stands in the firewall there, line by line; `None` where there is no nft to ask.
fn rules(d: &Daemon) -> Result<Option<Things>> {
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        return Ok(None);
    }
    let text = d.net.run(&["nft", "list", "ruleset"])?;
    // An element of a map ends in a comma or stands alone: each counts.
    let parts = text.lines().flat_map(|line| line.split(", "));
    Ok(Some(parts.enumerate().map(|(n, part)| format!("{n} {}", part.trim())).collect()))
}

/// Files and directories of the root and of the state. Events stand in two files of bounded size.
fn files(d: &Daemon) -> Result<Things> {
    let (mut all, mut todo) = (Things::new(), vec![d.root(), d.dir.path().join("state")]);
    let inside = ["layers", "events"].map(|name| d.root().join(name));
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()) {
            if entry.symlink_metadata().is_ok_and(|m| m.is_dir()) && !inside.contains(&entry) {
                todo.push(entry.clone());
            }
            all.insert(entry.display().to_string());
        }
    }
    Ok(all)
}
