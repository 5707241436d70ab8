//! Statistics of a group, in one shape for v1 and v2. Parsing is pure; which file is read where is in `group`.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
