//! `top`: the processes of a container, read from /proc. No program is executed for it, in the container or outside.

use crate::container::Container;
use crate::core::Core;
use crate::machine::read;
use crate::pause;
use crate::plan::top::{self, Machine, Process};
use dhow_types::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most processes told of.
const MAX_PROCESSES: usize = 65_536;

/// The kernel's unit of time in `stat`, for programs, on every machine that dhow runs on.
const TICKS: i64 = 100;

/// Titles, and a row for each process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopView {
    /// What stands above the columns.
    pub titles: Vec<String>,
    /// The processes, by their ids.
    pub processes: Vec<Vec<String>>,
}

/// The processes of a running container; `args` are words of `ps`. Blocks.
pub(crate) fn top(core: &Core, container: &Arc<Container>, args: &str) -> Result<TopView> {
    let columns = top::columns(args)?;
    container.between_runs()?;
    container.running()?;
    let cannot = |e: Error| e.prefixed(format_args!("list the processes of container {}", container.id.short()));
    let group = pause::group(core, &container.record()).map_err(cannot)?;
    let mut pids = group.pids(true).map_err(cannot)?;
    pids.sort_unstable();
    pids.dedup();
    pids.truncate(MAX_PROCESSES);
    let (machine, boot) = (machine(), boot());
    let found: Vec<Process> = pids.into_iter().filter_map(|pid| process(pid, boot)).collect();
    // One that has ended meanwhile is not told of, and neither is who got its number.
    let still: BTreeSet<i32> = group.pids(true).map_err(cannot)?.into_iter().collect();
    let processes = found
        .into_iter()
        .filter(|p| still.contains(&p.pid))
        .map(|p| columns.iter().map(|column| (column.cell)(&p, &machine)).collect());
    Ok(TopView { titles: columns.iter().map(|c| c.title.to_owned()).collect(), processes: processes.collect() })
}

fn machine() -> Machine {
    let total = read("/proc/meminfo").lines().find_map(number("MemTotal:"));
    Machine {
        now: jiff::Timestamp::now().as_second(),
        memory: total.unwrap_or(0),
        users: names("/etc/passwd"),
        groups: names("/etc/group"),
        zone: jiff::tz::TimeZone::system(),
    }
}

/// The number behind a word at the beginning of a line.
fn number(word: &str) -> impl Fn(&str) -> Option<u64> {
    move |line| line.strip_prefix(word)?.split_ascii_whitespace().next()?.parse().ok()
}

/// Names by number, the first of each, from a file of this machine with colons.
fn names(file: &str) -> BTreeMap<u32, String> {
    let mut out = BTreeMap::new();
    for line in read(file).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(id)) = (fields.next(), fields.nth(1).and_then(|id| id.parse().ok())) {
            out.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    out
}

/// The second in which the machine was started, since 1970.
fn boot() -> i64 {
    let since = read("/proc/stat").lines().find_map(number("btime"));
    since.and_then(|s| s.try_into().ok()).unwrap_or(0)
}

fn process(pid: i32, boot: i64) -> Option<Process> {
    let stat = read(&format!("/proc/{pid}/stat"));
    let status = read(&format!("/proc/{pid}/status"));
    // The name may hold anything, brackets and spaces too.
    let (head, tail) = stat.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let at = |field: usize| -> Option<i64> { fields.get(field - 3)?.parse().ok() };
    let int = |field: usize| at(field).and_then(|n| i32::try_from(n).ok());
    // Real, effective, saved, of the file system.
    let effective = |word: &str| -> Option<u32> {
        status.lines().find_map(|l| l.strip_prefix(word)?.split_ascii_whitespace().nth(1)?.parse().ok())
    };
    let args = read(&format!("/proc/{pid}/cmdline"));
    // Kernel threads and zombies have none.
    let kib = |word: &str| status.lines().find_map(number(word)).unwrap_or(0);
    Some(Process {
        pid,
        ppid: int(4)?,
        groups: (int(5)?, int(6)?, int(8)?),
        tty: at(7)? as u32,
        state: fields.first()?.chars().next()?,
        ids: (effective("Uid:")?, effective("Gid:")?),
        comm,
        args: args.trim_end_matches('\0').split('\0').filter(|_| !args.is_empty()).map(str::to_owned).collect(),
        cpu: (at(14)? + at(15)?) as f64 / TICKS as f64,
        began: boot + at(22)? / TICKS,
        nice: at(19)?,
        threads: at(20)?.try_into().unwrap_or(1),
        memory: (kib("VmSize:"), kib("VmRSS:")),
        locked: kib("VmLck:") > 0,
    })
}
