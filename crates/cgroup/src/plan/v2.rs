//! Writes for controllers on the v2 hierarchy (Documentation/admin-guide/cgroup-v2.rst). Pure.

use dhow_types::{Error, Result};

use super::{Absent, MAX_UNIFIED, MAX_UNIFIED_VALUE, Now, Plan};
use crate::convert;
use crate::resources::{BlockIo, Cpu, Memory, Resources, ThrottleDevice};

/// The kernel's own default period.
const PERIOD_US: u64 = 100_000;

pub(super) fn memory(plan: &mut Plan, m: &Memory) -> Result<()> {
    let limit = m.limit.filter(|l| *l != 0);
    if let Some(swap) = convert::v2_swap(m.limit, m.swap)? {
        let write = plan.push("memory", "memory.swap", "memory.swap.max", convert::or_max(swap));
        // Without swap accounting, "no swap" and "all the swap" need no enforcement.
        if swap <= 0 {
            write.absent = Absent::Skip;
        }
    }
    if let Some(limit) = limit {
        plan.push("memory", "memory.limit", "memory.max", convert::or_max(limit));
    }
    if let Some(low) = m.reservation.filter(|r| *r != 0) {
        plan.push("memory", "memory.reservation", "memory.low", convert::or_max(low));
    }
    Ok(())
}

pub(super) fn cpu(plan: &mut Plan, c: &Cpu, now: &Now) -> Result<()> {
    if let Some(idle) = c.idle {
        plan.push("cpu", "cpu.idle", "cpu.idle", idle);
    }
    // An idle group has the least weight, and the kernel refuses another.
    if let (Some(weight), false) = (c.shares.and_then(convert::cpu_weight), c.idle == Some(1)) {
        plan.push("cpu", "cpu.shares", "cpu.weight", weight);
    }
    if let Some(burst) = c.burst {
        plan.push("cpu", "cpu.burst", "cpu.max.burst", burst).retry = true;
    }
    let (quota, period) = (c.quota.filter(|q| *q != 0), c.period.filter(|p| *p != 0));
    if quota.is_some() || period.is_some() {
        let quota = match quota {
            Some(q) => convert::or_max(q),
            None => now.v2_quota.clone().unwrap_or_else(|| "max".into()),
        };
        // Without a period the kernel keeps the one it has; a fresh group has its default.
        let value = match period {
            Some(p) => format!("{quota} {p}"),
            None if now.v2_quota.is_some() => quota,
            None => format!("{quota} {PERIOD_US}"),
        };
        plan.push("cpu", if c.quota.is_some() { "cpu.quota" } else { "cpu.period" }, "cpu.max", value);
    }
    Ok(())
}

pub(super) fn io(plan: &mut Plan, b: &BlockIo) -> Result<()> {
    if let Some(weight) = convert::check_io_weight("blockIO.weight", b.weight.unwrap_or(0))? {
        // BFQ's own file where that scheduler is built in, else the cost model's, which has another scale.
        plan.push("io", "blockIO.weight", "io.bfq.weight", weight).absent =
            Absent::Other("io.weight".into(), convert::io_weight(weight).to_string());
    }
    for d in &b.weight_device {
        let (major, minor) = (d.major, d.minor);
        check_device("blockIO.weightDevice", major, minor)?;
        let Some(weight) = d.weight else { continue };
        let (bfq, cost) = match convert::check_io_weight("blockIO.weightDevice", weight)? {
            Some(w) => (w.to_string(), convert::io_weight(w).to_string()),
            None => ("default".into(), "default".into()),
        };
        plan.push("io", "blockIO.weightDevice", "io.bfq.weight", format!("{major}:{minor} {bfq}")).absent =
            Absent::Other("io.weight".into(), format!("{major}:{minor} {cost}"));
    }
    for (field, key, list) in throttles(b) {
        for ThrottleDevice { major, minor, rate } in list {
            check_device(field, *major, *minor)?;
            let rate = if *rate == 0 { "max".to_string() } else { rate.to_string() };
            plan.push("io", field, "io.max", format!("{major}:{minor} {key}={rate}"));
        }
    }
    Ok(())
}

fn throttles(b: &BlockIo) -> [(&'static str, &'static str, &[ThrottleDevice]); 4] {
    [
        ("blockIO.throttleReadBpsDevice", "rbps", &b.throttle_read_bps_device),
        ("blockIO.throttleWriteBpsDevice", "wbps", &b.throttle_write_bps_device),
        ("blockIO.throttleReadIOPSDevice", "riops", &b.throttle_read_iops_device),
        ("blockIO.throttleWriteIOPSDevice", "wiops", &b.throttle_write_iops_device),
    ]
}

pub(super) fn check_device(field: &str, major: i64, minor: i64) -> Result<()> {
    let range = 0..=i64::from(u32::MAX);
    if range.contains(&major) && range.contains(&minor) {
        return Ok(());
    }
    Err(Error::invalid(format!("{field}: {major}:{minor} is not a device number")))
}

/// Raw files. Only a controller's own files and the two limits on groups inside are lawful; the files that move
/// processes or change the tree's shape are the runtime's.
pub(super) fn unified(plan: &mut Plan, r: &Resources) -> Result<()> {
    if r.unified.len() > MAX_UNIFIED {
        return Err(Error::invalid(format!("unified: more than {MAX_UNIFIED} files")));
    }
    for (file, value) in &r.unified {
        let refuse = |why: &str| Err(Error::invalid(format!("unified: {file:?} is refused: {why}")));
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let Some((controller, rest)) = file.split_once('.') else {
            return refuse("it is not the name of a file like memory.high");
        };
        if controller.is_empty() || rest.is_empty() || file.len() > 255 || !file.chars().all(plain) {
            return refuse("it is not the name of a file like memory.high");
        }
        if controller == "cgroup" && !matches!(rest, "max.depth" | "max.descendants") {
            return refuse("only the runtime writes this file");
        }
        if value.len() > MAX_UNIFIED_VALUE {
            return refuse("its value is longer than 4096 bytes");
        }
        // The kernel takes one line per write.
        let lines: Vec<&str> = value.lines().filter(|l| !l.trim().is_empty()).collect();
        for line in if lines.is_empty() { vec![value.as_str()] } else { lines } {
            plan.push(controller, &format!("unified.{file}"), file.as_str(), line).raw = true;
        }
    }
    Ok(())
}
