//! SIGKILL for all processes of a group, and why one may not take effect. Nothing here waits for them to end: some may
//! never do.

use std::collections::BTreeSet;
use std::io;

use dhow_types::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::dir::GroupDir;
use crate::group::{Group, all_pids};
use crate::layout::Layout;
use crate::path::components;

/// How often the processes of a group are listed and killed before it has to stand still for that: each round finds what
/// was born in the one before.
const MAX_KILL_ROUNDS: usize = 16;

impl Group {
    /// Sends SIGKILL to every process in the group and in groups inside, also to those born meanwhile, and lets a group
    /// go on that was frozen.
    pub fn kill_all(&self) -> Result<()> {
        let done = match self.v2().map(|dir| dir.write("cgroup.kill", "1")) {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) if Errno::from_io_error(&e) == Some(Errno::NODEV) => Ok(()),
            // Before kernel 5.14.
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).context("kill the processes of the control group")
            }
            _ => self.kill_listed(),
        };
        // Frozen processes of v2 can be killed, those of v1 only when they go on.
        if let Some((_, dir)) = self.member("freezer")
            && dir.read("freezer.self_freezing").is_ok_and(|own| own.trim() == "1")
        {
            let _ = dir.write("freezer.state", "THAWED");
        }
        done
    }

    fn kill_listed(&self) -> Result<()> {
        let Some(dir) = self.any_dir() else { return Ok(()) };
        // Who was told can't fork any more: only what is new counts.
        let mut told = BTreeSet::new();
        for _ in 0..MAX_KILL_ROUNDS {
            if !kill_new(dir, &mut told)? {
                return Ok(());
            }
        }
        // It is born faster than it is listed. Frozen processes can't fork.
        let frozen = self.freeze(true).is_ok();
        let result = kill_new(dir, &mut told).map(drop);
        if frozen {
            self.freeze(false)?;
        }
        result
    }
}

/// The nearest group around the process `pid` that keeps it frozen so that not even SIGKILL ends it, as a path whose
/// `freezer.state` can be written to. Only v1 has such, and anybody may have put the process there.
pub fn held_frozen_by(layout: &Layout, pid: i32) -> Option<String> {
    let hierarchy = layout.holder("freezer").filter(|h| !h.is_v2())?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == "freezer").then_some(path)
    })?;
    let root = GroupDir::root(hierarchy.mount_point()).ok()?;
    let names: Vec<&str> = components(path).collect();
    (1..=names.len()).rev().map(|depth| names[..depth].join("/")).find_map(|path| {
        let own = root.open(&path).ok()?.read("freezer.self_freezing").ok()?;
        (own.trim() == "1").then(|| hierarchy.dir(&path).display().to_string())
    })
}

/// Kills those that were not told yet. False if there were none.
fn kill_new(dir: &GroupDir, told: &mut BTreeSet<i32>) -> Result<bool> {
    let mut news = false;
    for raw in all_pids(dir).context("list the processes of the control group")? {
        let Some(pid) = Pid::from_raw(raw).filter(|_| told.insert(raw)) else { continue };
        news = true;
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => return Err(io::Error::from(e)).with_context(|| format!("kill process {raw}")),
        }
    }
    Ok(news)
}
