//! Writes for controllers on v1 hierarchies (Documentation/admin-guide/cgroup-v1/). Pure.

use dhow_types::{Error, Result};

use super::{Absent, Now, Plan, v2::check_device};
use crate::convert;
use crate::layout::Version;
use crate::resources::{BlockIo, Cpu, Memory, Network, ThrottleDevice};

/// The kernel clamps to this range without a word.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn memory(plan: &mut Plan, m: &Memory, now: &Now) -> Result<()> {
    let limit = m.limit.filter(|l| *l != 0);
    let swap = match (limit, m.swap.filter(|s| *s != 0)) {
        // Memory without a limit takes the limit of both together with it.
        (Some(-1), None) => Some(-1),
        (_, swap) => swap,
    };
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap > 0
        && (swap < limit || limit == -1)
    {
        return Err(Error::invalid(format!(
            "memory.swap: memory and swap together ({swap}) must not be less than memory.limit ({limit})"
        )));
    }
    if let (None, Some(1..)) = (limit, swap) {
        // A fresh group has no limit on memory, and the limit on both must not be less.
        if now.v1_memory_limit.is_none() {
            return Err(Error::invalid("memory.swap: memory and swap together can't be limited without memory.limit"));
        }
    }
    let mut pair = Vec::new();
    if let Some(limit) = limit {
        pair.push(("memory.limit", "memory.limit_in_bytes", limit));
    }
    if let Some(swap) = swap {
        pair.push(("memory.swap", "memory.memsw.limit_in_bytes", swap));
    }
    // The kernel holds "memory <= both" at every moment: whichever grows beyond the other goes first.
    if swap == Some(-1) || matches!((now.v1_memory_limit, swap), (Some(old), Some(new)) if old < new.unsigned_abs()) {
        pair.reverse();
    }
    for (field, file, value) in pair {
        let write = plan.push("memory", field, file, value);
        if field == "memory.swap" && value == -1 {
            write.absent = Absent::Skip;
        }
    }
    if let Some(value) = m.reservation.filter(|r| *r != 0) {
        plan.push("memory", "memory.reservation", "memory.soft_limit_in_bytes", value);
    }
    if let Some(value) = m.kernel_tcp.filter(|k| *k != 0) {
        plan.push("memory", "memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", value);
    }
    if let Some(disable) = m.disable_oom_killer {
        plan.push("memory", "memory.disableOOMKiller", "memory.oom_control", u8::from(disable));
    }
    if let Some(value) = m.swappiness {
        plan.push("memory", "memory.swappiness", "memory.swappiness", value);
    }
    Ok(())
}

pub(super) fn cpu(plan: &mut Plan, c: &Cpu) -> Result<()> {
    if let Some(value) = c.realtime_period.filter(|p| *p != 0) {
        plan.push("cpu", "cpu.realtimePeriod", "cpu.rt_period_us", value).retry = true;
    }
    if let Some(value) = c.realtime_runtime.filter(|r| *r != 0) {
        plan.push("cpu", "cpu.realtimeRuntime", "cpu.rt_runtime_us", value);
    }
    if let Some(shares) = c.shares.filter(|s| *s != 0) {
        if !SHARES.contains(&shares) {
            return Err(Error::invalid(format!("cpu.shares: {shares} is not in the range from 2 to 262144")));
        }
        if c.idle != Some(1) {
            plan.push("cpu", "cpu.shares", "cpu.shares", shares);
        }
    }
    // A new period may not fit the old quota, and a burst may not fit it either: both again after the quota.
    if let Some(period) = c.period.filter(|p| *p != 0) {
        plan.push("cpu", "cpu.period", "cpu.cfs_period_us", period).retry = true;
    }
    if let Some(burst) = c.burst {
        plan.push("cpu", "cpu.burst", "cpu.cfs_burst_us", burst).retry = true;
    }
    if let Some(quota) = c.quota.filter(|q| *q != 0) {
        plan.push("cpu", "cpu.quota", "cpu.cfs_quota_us", quota.max(-1));
    }
    if let Some(idle) = c.idle {
        plan.push("cpu", "cpu.idle", "cpu.idle", idle);
    }
    Ok(())
}

pub(super) fn blkio(plan: &mut Plan, b: &BlockIo) -> Result<()> {
    // CFQ's files up to kernel 4.x, BFQ's since.
    let bfq = |file: &str| file.replacen("blkio.", "blkio.bfq.", 1);
    if let Some(weight) = convert::check_io_weight("blockIO.weight", b.weight.unwrap_or(0))? {
        plan.push("blkio", "blockIO.weight", "blkio.weight", weight).absent =
            Absent::Other(bfq("blkio.weight"), weight.to_string());
    }
    if let Some(weight) = convert::check_io_weight("blockIO.leafWeight", b.leaf_weight.unwrap_or(0))? {
        plan.push("blkio", "blockIO.leafWeight", "blkio.leaf_weight", weight);
    }
    for d in &b.weight_device {
        check_device("blockIO.weightDevice", d.major, d.minor)?;
        if let Some(weight) = d.weight {
            let weight = convert::check_io_weight("blockIO.weightDevice", weight)?.unwrap_or(0);
            let value = format!("{}:{} {weight}", d.major, d.minor);
            let other = Absent::Other(bfq("blkio.weight_device"), value.clone());
            plan.push("blkio", "blockIO.weightDevice", "blkio.weight_device", value).absent = other;
        }
        if let Some(weight) = d.leaf_weight {
            let weight = convert::check_io_weight("blockIO.weightDevice", weight)?.unwrap_or(0);
            let value = format!("{}:{} {weight}", d.major, d.minor);
            plan.push("blkio", "blockIO.weightDevice", "blkio.leaf_weight_device", value);
        }
    }
    for (field, file, list) in [
        ("blockIO.throttleReadBpsDevice", "blkio.throttle.read_bps_device", &b.throttle_read_bps_device),
        ("blockIO.throttleWriteBpsDevice", "blkio.throttle.write_bps_device", &b.throttle_write_bps_device),
        ("blockIO.throttleReadIOPSDevice", "blkio.throttle.read_iops_device", &b.throttle_read_iops_device),
        ("blockIO.throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", &b.throttle_write_iops_device),
    ] {
        for ThrottleDevice { major, minor, rate } in list {
            check_device(field, *major, *minor)?;
            plan.push("blkio", field, file, format!("{major}:{minor} {rate}"));
        }
    }
    Ok(())
}

pub(super) fn network(plan: &mut Plan, n: &Network, version: &dyn Fn(&str) -> Option<Version>) -> Result<()> {
    if let (Some(id), true) = (n.class_id, version("net_cls").is_some()) {
        plan.push("net_cls", "network.classID", "net_cls.classid", id);
    }
    for p in &n.priorities {
        if p.name.is_empty() || p.name.len() > 15 || p.name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid(format!("network.priorities: {:?} is not the name of an interface", p.name)));
        }
        if version("net_prio").is_some() {
            let value = format!("{} {}", p.name, p.priority);
            plan.push("net_prio", "network.priorities", "net_prio.ifpriomap", value);
        }
    }
    Ok(())
}
