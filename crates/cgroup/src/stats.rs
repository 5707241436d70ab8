//! Statistics of a group, in one shape for v1 and v2. Parsing is pure; percentages and Docker's document live in the
//! engine, never here.

use std::collections::BTreeMap;

use dhow_types::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use crate::dir::GroupDir;
use crate::group::{Group, read_optional};
use crate::layout::Version;

/// What a group has used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory; absent when the group is in no memory hierarchy.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: PidsStats,
    /// Block I/O.
    pub io: Vec<IoStats>,
    /// Huge pages by page size.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
}

/// CPU time of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStats {
    /// All CPU time, in nanoseconds.
    pub usage_ns: u64,
    /// Of it in user mode.
    pub user_ns: u64,
    /// Of it in the kernel.
    pub system_ns: u64,
    /// By CPU, where the kernel tells (v1 with cpuacct); else empty.
    pub per_cpu_ns: Vec<u64>,
    /// Periods in which the quota was in force.
    pub periods: u64,
    /// Periods in which the group was stopped by it.
    pub throttled_periods: u64,
    /// How long it was stopped, in nanoseconds.
    pub throttled_ns: u64,
}

/// Memory of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// Bytes in use, page cache included.
    pub usage: u64,
    /// The most that was in use, where the kernel tells.
    pub max_usage: Option<u64>,
    /// The limit; none means unlimited.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
    /// Swap in use (v1: memory and swap less memory).
    pub swap: Option<u64>,
    /// The kernel's `memory.stat`, as it names things on this kind of hierarchy.
    pub stat: BTreeMap<String, u64>,
    /// How often memory ran out, where the kernel tells (v2).
    #[serde(default)]
    pub ooms: Option<u64>,
    /// Tasks that were killed because memory ran out.
    pub oom_kills: u64,
}

/// Tasks of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsStats {
    /// Tasks now.
    pub current: u64,
    /// The limit; none means unlimited.
    pub limit: Option<u64>,
}

/// One kind of traffic with a block device, with v1. Some are parts of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoKind {
    /// The kernel's name.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Operations.
    pub operations: u64,
}

/// Traffic with one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStats {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
    /// With v1: every kind of traffic that the kernel counts (Read, Write, Sync, Async, Discard, Total), in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<IoKind>,
}

/// Huge pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbStats {
    /// Bytes in use.
    pub usage: u64,
    /// The most that was in use, where the kernel tells.
    pub max_usage: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// The v1 kernel's word for "no limit" is the largest multiple of a page; nothing real comes near.
const V1_UNLIMITED: u64 = 1 << 62;
/// Clock ticks of `cpuacct.stat` per second: USER_HZ, the same on all architectures dhow runs on.
const TICK_NS: u64 = 10_000_000;

impl Group {
    /// What the group has used so far. What the machine does not count is absent or zero.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let text = |dir: &GroupDir, file: &str| read_optional(dir, file).map(Option::unwrap_or_default);
        let number = |dir: &GroupDir, file: &str| Ok::<_, Error>(parse_number(&text(dir, file)?));
        // v2 counts CPU time of every group, with or without its cpu controller.
        if let Some(dir) = self.v2() {
            stats.cpu.add_v2(&text(dir, "cpu.stat")?);
        }
        if let Some((_, dir)) = self.member("cpuacct") {
            let per_cpu = text(dir, "cpuacct.usage_percpu")?;
            stats.cpu.per_cpu_ns = per_cpu.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            if stats.cpu.usage_ns == 0 {
                stats.cpu.usage_ns = number(dir, "cpuacct.usage")?.unwrap_or(0);
                let ticks = pairs(&text(dir, "cpuacct.stat")?);
                stats.cpu.user_ns = ticks.get("user").unwrap_or(&0) * TICK_NS;
                stats.cpu.system_ns = ticks.get("system").unwrap_or(&0) * TICK_NS;
            }
        }
        if let Some((h, dir)) = self.member("cpu")
            && h.version() == Version::V1
        {
            let counts = pairs(&text(dir, "cpu.stat")?);
            stats.cpu.periods = *counts.get("nr_periods").unwrap_or(&0);
            stats.cpu.throttled_periods = *counts.get("nr_throttled").unwrap_or(&0);
            stats.cpu.throttled_ns = *counts.get("throttled_time").unwrap_or(&0);
        }
        match self.member("memory") {
            Some((h, dir)) if h.version() == Version::V1 => {
                let usage = number(dir, "memory.usage_in_bytes")?.unwrap_or(0);
                let both = number(dir, "memory.memsw.usage_in_bytes")?;
                stats.memory = Some(MemoryStats {
                    usage,
                    max_usage: number(dir, "memory.max_usage_in_bytes")?,
                    limit: number(dir, "memory.limit_in_bytes")?.filter(|l| *l < V1_UNLIMITED),
                    failures: number(dir, "memory.failcnt")?.unwrap_or(0),
                    swap: both.map(|b| b.saturating_sub(usage)),
                    stat: pairs(&text(dir, "memory.stat")?),
                    ooms: None,
                    oom_kills: self.oom_kills()?,
                });
            }
            Some((_, dir)) => {
                // Without the controller handed down there is no such file, and nothing is counted.
                if let Some(usage) = number(dir, "memory.current")? {
                    let events = pairs(&text(dir, "memory.events")?);
                    stats.memory = Some(MemoryStats {
                        usage,
                        max_usage: number(dir, "memory.peak")?,
                        limit: number(dir, "memory.max")?,
                        failures: *events.get("max").unwrap_or(&0),
                        swap: number(dir, "memory.swap.current")?,
                        stat: pairs(&text(dir, "memory.stat")?),
                        ooms: Some(*events.get("oom").unwrap_or(&0)),
                        oom_kills: *events.get("oom_kill").unwrap_or(&0),
                    });
                }
            }
            None => {}
        }
        if let Some((_, dir)) = self.member("pids") {
            stats.pids.current = number(dir, "pids.current")?.unwrap_or(0);
            stats.pids.limit = number(dir, "pids.max")?;
        }
        if stats.pids.current == 0 {
            stats.pids.current = self.pids(true)?.len() as u64;
        }
        if let Some((h, dir)) = self.member("io")
            && h.is_v2()
        {
            stats.io = parse_v2_io(&text(dir, "io.stat")?);
        } else if let Some((_, dir)) = self.member("blkio") {
            // With groups inside, where the kernel counts those, too.
            let of = |file: &str| match text(dir, &format!("{file}_recursive"))? {
                all if all.is_empty() => text(dir, file),
                all => Ok(all),
            };
            stats.io = parse_v1_io(&of("blkio.throttle.io_service_bytes")?, &of("blkio.throttle.io_serviced")?);
        }
        if let Some((h, dir)) = self.member("hugetlb") {
            stats.hugetlb = hugetlb(h.version(), dir)?;
        }
        Ok(stats)
    }
}

fn hugetlb(version: Version, dir: &GroupDir) -> Result<BTreeMap<String, HugetlbStats>> {
    let mut all = BTreeMap::new();
    let end = if version == Version::V2 { "current" } else { "usage_in_bytes" };
    for file in dir.files().context("list the files of the control group")? {
        let Some(size) = file.strip_prefix("hugetlb.").and_then(|f| f.strip_suffix(end)?.strip_suffix('.')) else {
            continue;
        };
        if size.contains('.') {
            continue;
        }
        let number = |file: &str| read_optional(dir, &format!("hugetlb.{size}.{file}"));
        let usage = number(end)?.and_then(|t| parse_number(&t)).unwrap_or(0);
        let stats = match version {
            Version::V2 => {
                let events = pairs(&number("events")?.unwrap_or_default());
                HugetlbStats { usage, max_usage: None, failures: *events.get("max").unwrap_or(&0) }
            }
            Version::V1 => HugetlbStats {
                usage,
                max_usage: number("max_usage_in_bytes")?.and_then(|t| parse_number(&t)),
                failures: number("failcnt")?.and_then(|t| parse_number(&t)).unwrap_or(0),
            },
        };
        all.insert(size.to_string(), stats);
    }
    Ok(all)
}

impl CpuStats {
    fn add_v2(&mut self, text: &str) {
        let counts = pairs(text);
        let us = |key: &str| counts.get(key).copied().unwrap_or(0) * 1000;
        (self.usage_ns, self.user_ns, self.system_ns) = (us("usage_usec"), us("user_usec"), us("system_usec"));
        self.periods = counts.get("nr_periods").copied().unwrap_or(0);
        self.throttled_periods = counts.get("nr_throttled").copied().unwrap_or(0);
        self.throttled_ns = us("throttled_usec");
    }
}

/// A file with one number; `max`, and a file that is not there, are none.
fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Lines of a name and a number.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_string(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Lines like `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn parse_v2_io(text: &str) -> Vec<IoStats> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = words.next()?.split_once(':')?;
        let mut io = IoStats { major: major.parse().ok()?, minor: minor.parse().ok()?, ..IoStats::default() };
        for (key, value) in words.filter_map(|w| w.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match key {
                "rbytes" => io.read_bytes = value,
                "wbytes" => io.write_bytes = value,
                "rios" => io.reads = value,
                "wios" => io.writes = value,
                _ => {}
            }
        }
        Some(io)
    };
    text.lines().filter_map(line).collect()
}

/// Lines like `8:0 Read 1`, in one file for bytes and one for operations.
fn parse_v1_io(bytes: &str, operations: &str) -> Vec<IoStats> {
    let mut all: BTreeMap<(u64, u64), IoStats> = BTreeMap::new();
    for (text, in_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            // The sum of all devices comes last, and has no number of one.
            let [device, name, value] = words[..] else { continue };
            let Some((Ok(major), Ok(minor))) = device.split_once(':').map(|(a, b)| (a.parse(), b.parse())) else {
                continue;
            };
            let Ok(value) = value.parse::<u64>() else { continue };
            let io = all.entry((major, minor)).or_insert(IoStats { major, minor, ..IoStats::default() });
            match (name, in_bytes) {
                ("Read", true) => io.read_bytes = value,
                ("Write", true) => io.write_bytes = value,
                ("Read", false) => io.reads = value,
                ("Write", false) => io.writes = value,
                _ => {}
            }
            let at = io.kinds.iter().position(|kind| kind.name == name).unwrap_or_else(|| {
                io.kinds.push(IoKind { name: name.to_owned(), ..IoKind::default() });
                io.kinds.len() - 1
            });
            let kind = &mut io.kinds[at];
            *(if in_bytes { &mut kind.bytes } else { &mut kind.operations }) = value;
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_io_has_one_shape() {
        let want =
            IoStats { major: 8, minor: 1, read_bytes: 10, write_bytes: 20, reads: 3, writes: 4, ..IoStats::default() };
        let v2 = "8:1 rbytes=10 wbytes=20 rios=3 wios=4 dbytes=0 dios=0\nnonsense\n";
        assert_eq!(parse_v2_io(v2), std::slice::from_ref(&want));
        let bytes = "8:1 Read 10\n8:1 Write 20\n8:1 Sync 25\n8:1 Discard 9\n8:1 Total 30\nTotal 30\n";
        let operations = "8:1 Read 3\n8:1 Write 4\n8:1 Sync 5\n8:1 Discard 1\n8:1 Total 7\nTotal 7\n";
        let [got] = &parse_v1_io(bytes, operations)[..] else { panic!() };
        assert_eq!(IoStats { kinds: Vec::new(), ..got.clone() }, want);
        let kinds: Vec<_> = got.kinds.iter().map(|k| (k.name.as_str(), k.bytes, k.operations)).collect();
        assert_eq!(kinds, [("Read", 10, 3), ("Write", 20, 4), ("Sync", 25, 5), ("Discard", 9, 1), ("Total", 30, 7)]);
    }

    #[test]
    fn cpu_time_is_in_nanoseconds() {
        let mut cpu = CpuStats::default();
        cpu.add_v2("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\nthrottled_usec 9\n");
        let got = (cpu.usage_ns, cpu.user_ns, cpu.system_ns, cpu.periods, cpu.throttled_periods, cpu.throttled_ns);
        assert_eq!(got, (5000, 3000, 2000, 7, 1, 9000));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(parse_number("max\n"), None);
        assert_eq!(parse_number("42\n"), Some(42));
        assert_eq!(pairs("a 1\nb x\nc\n"), BTreeMap::from([("a".to_string(), 1)]));
    }
}
