//! Docker's limits to the OCI form: ranges checked, and what the machine lacks left out with Docker's own warning.
//!
//! Rules: Docker's checks at create; conversions to kernel files belong to `dhow-cgroup`.

use super::facts::Facts;
use crate::config::{Resources, Ulimit};
use dhow_shim::spec;
use dhow_types::{Error, Result};

/// Smallest memory limit, Docker's.
const MIN_MEMORY: i64 = 6 << 20;
/// Longest list of CPUs or nodes, and the largest number in one (CVE-2018-20699).
const MAX_LIST: usize = 4096;
const MAX_CPU: u32 = 8191;

/// Checks the values alone.
pub fn check(r: &Resources) -> Result<()> {
    let rule = |ok: bool, text: &str| if ok { Ok(()) } else { Err(Error::invalid(text)) };
    rule(r.memory == 0 || r.memory >= MIN_MEMORY, "Minimum memory limit allowed is 6MB")?;
    rule(r.memory >= 0, "invalid memory limit: it can't be negative")?;
    rule(r.memory_swap >= -1, "invalid memory-swap limit: use -1 for no limit")?;
    rule(
        r.memory == 0 || r.memory_swap <= 0 || r.memory_swap >= r.memory,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )?;
    rule(
        r.memory != 0 || r.memory_swap <= 0,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )?;
    rule(r.memory_reservation == 0 || r.memory_reservation >= MIN_MEMORY, "Minimum memory reservation allowed is 6MB")?;
    rule(
        r.memory == 0 || r.memory_reservation <= r.memory,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )?;
    if let Some(s) = r.memory_swappiness
        && !(-1..=100).contains(&s)
    {
        return Err(Error::invalid(format!("Invalid value: {s}, valid memory swappiness range is 0-100")));
    }
    rule(r.nano_cpus >= 0, "invalid CPUs: the number can't be negative")?;
    rule(r.nano_cpus == 0 || r.cpu_period == 0, "Conflicting options: Nano CPUs and CPU Period cannot both be set.")?;
    rule(r.nano_cpus == 0 || r.cpu_quota == 0, "Conflicting options: Nano CPUs and CPU Quota cannot both be set.")?;
    if r.cpu_shares < 0 {
        return Err(Error::invalid(format!("invalid CPU shares ({}): value must be a positive integer", r.cpu_shares)));
    }
    rule(
        r.cpu_period == 0 || (1000..=1_000_000).contains(&r.cpu_period),
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )?;
    rule(r.cpu_quota <= 0 || r.cpu_quota >= 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)")?;
    rule(r.blkio_weight == 0 || (10..=1000).contains(&r.blkio_weight), "Range of blkio weight is from 10 to 1000")?;
    for w in &r.blkio_weight_device {
        rule((10..=1000).contains(&w.weight), "Range of blkio weight is from 10 to 1000")?;
    }
    check_list(&r.cpuset_cpus, "cpus")?;
    check_list(&r.cpuset_mems, "mems")?;
    for u in &r.ulimits {
        rlimit(u)?;
    }
    for rule in &r.device_cgroup_rules {
        super::devices::rule(rule)?;
    }
    Ok(())
}

fn check_list(text: &str, what: &str) -> Result<()> {
    let number = |t: &str| t.parse::<u32>().ok().filter(|n| *n <= MAX_CPU);
    let item = |t: &str| match t.split_once('-') {
        Some((a, b)) => matches!((number(a), number(b)), (Some(a), Some(b)) if a <= b),
        None => number(t).is_some(),
    };
    if text.is_empty() || (text.len() <= MAX_LIST && text.split(',').all(|t| item(t.trim()))) {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    Err(Error::invalid(format!("Invalid value {shown} for cpuset {what}")))
}

/// That only memory is limited.
pub(crate) const NO_SWAP: &str =
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";

/// What the machine lacks is taken out of `r`, each with its warning.
pub fn adapt(r: &mut Resources, facts: &Facts) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut lacks = |missing: bool, asked: bool, text: &str| {
        let drop = missing && asked;
        if drop {
            warnings.push(text.to_owned());
        }
        drop
    };
    let has = |name: &str| facts.has_controller(name);
    if lacks(
        !has("memory"),
        r.memory > 0,
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ) {
        (r.memory, r.memory_swap) = (0, 0);
    }
    if r.memory > 0 && r.memory_swap == 0 {
        // Docker's default: as much swap as memory.
        r.memory_swap = r.memory.saturating_mul(2);
        if !facts.swap_accounting {
            r.memory_swap = 0;
        }
    } else if lacks(!facts.swap_accounting, r.memory > 0 && r.memory_swap > 0, NO_SWAP) {
        r.memory_swap = 0;
    }
    if lacks(
        facts.pure_v2 || !has("memory"),
        r.memory_swappiness.is_some_and(|s| s >= 0),
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
    ) {
        r.memory_swappiness = None;
    }
    if lacks(
        !has("memory"),
        r.memory_reservation > 0,
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.",
    ) {
        r.memory_reservation = 0;
    }
    if lacks(
        facts.pure_v2 || !has("memory"),
        r.oom_kill_disable == Some(true),
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    ) {
        r.oom_kill_disable = None;
    }
    if lacks(
        !has("pids"),
        r.pids_limit.is_some_and(|n| n > 0),
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.",
    ) {
        r.pids_limit = None;
    }
    if !has("cpu") && r.nano_cpus > 0 {
        return Err(Error::invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        ));
    }
    if r.nano_cpus > 0 && r.nano_cpus > facts.cpus as i64 * 1_000_000_000 {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {}.00, as there are only {} CPUs available",
            facts.cpus, facts.cpus
        )));
    }
    if lacks(
        !has("cpu"),
        r.cpu_shares > 0,
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    ) {
        r.cpu_shares = 0;
    }
    if lacks(
        !has("cpu"),
        r.cpu_period > 0 || r.cpu_quota > 0,
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
    ) {
        (r.cpu_period, r.cpu_quota) = (0, 0);
    }
    if lacks(
        facts.pure_v2 || !has("cpu"),
        r.cpu_realtime_period > 0 || r.cpu_realtime_runtime > 0,
        "Your kernel does not support CPU real-time scheduler. CPU real-time settings discarded.",
    ) {
        (r.cpu_realtime_period, r.cpu_realtime_runtime) = (0, 0);
    }
    if lacks(
        !has("cpuset"),
        !r.cpuset_cpus.is_empty() || !r.cpuset_mems.is_empty(),
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    ) {
        r.cpuset_cpus.clear();
        r.cpuset_mems.clear();
    }
    let block = !r.blkio_device_read_bps.is_empty()
        || !r.blkio_device_write_bps.is_empty()
        || !r.blkio_device_read_iops.is_empty()
        || !r.blkio_device_write_iops.is_empty()
        || !r.blkio_weight_device.is_empty()
        || r.blkio_weight > 0;
    if lacks(
        !has("blkio") && !has("io"),
        block,
        "Your kernel does not support Block I/O limits or the cgroup is not mounted. Block I/O settings discarded.",
    ) {
        r.blkio_weight = 0;
        r.blkio_weight_device.clear();
        r.blkio_device_read_bps.clear();
        r.blkio_device_write_bps.clear();
        r.blkio_device_read_iops.clear();
        r.blkio_device_write_iops.clear();
    }
    Ok(warnings)
}

/// The OCI form, as JSON fields are absent where nothing was asked. `number` gives a device node's numbers.
pub fn oci(r: &Resources, number: &dyn Fn(&str) -> Result<(i64, i64)>) -> Result<spec::Resources> {
    let mut out = spec::Resources::default();
    let positive = |n: i64| (n > 0).then_some(n);
    if r.memory > 0
        || r.memory_reservation > 0
        || r.memory_swappiness.is_some_and(|s| s >= 0)
        || r.oom_kill_disable == Some(true)
    {
        let m = out.memory.get_or_insert_default();
        m.limit = positive(r.memory);
        m.reservation = positive(r.memory_reservation);
        m.swap = (r.memory_swap != 0).then_some(r.memory_swap);
        m.swappiness = r.memory_swappiness.and_then(|s| u64::try_from(s).ok());
        m.disable_oom_killer = r.oom_kill_disable.filter(|d| *d);
    }
    let (period, quota) = match r.nano_cpus {
        0 => (r.cpu_period, r.cpu_quota),
        nano => (100_000, nano / 10_000),
    };
    if period > 0
        || quota != 0
        || r.cpu_shares > 0
        || r.cpu_realtime_period > 0
        || r.cpu_realtime_runtime > 0
        || !r.cpuset_cpus.is_empty()
        || !r.cpuset_mems.is_empty()
    {
        let c = out.cpu.get_or_insert_default();
        c.shares = positive(r.cpu_shares).map(i64::unsigned_abs);
        c.period = positive(period).map(i64::unsigned_abs);
        c.quota = (quota != 0).then_some(quota);
        c.realtime_period = positive(r.cpu_realtime_period).map(i64::unsigned_abs);
        c.realtime_runtime = positive(r.cpu_realtime_runtime);
        c.cpus.clone_from(&r.cpuset_cpus);
        c.mems.clone_from(&r.cpuset_mems);
    }
    if let Some(limit) = r.pids_limit.filter(|n| *n != 0) {
        out.pids.get_or_insert_default().limit = Some(if limit < 0 { -1 } else { limit });
    }
    block_io(r, number, &mut out)?;
    Ok(out)
}

fn block_io(r: &Resources, number: &dyn Fn(&str) -> Result<(i64, i64)>, out: &mut spec::Resources) -> Result<()> {
    if r.blkio_weight > 0 {
        out.block_io.get_or_insert_default().weight = Some(r.blkio_weight);
    }
    for w in &r.blkio_weight_device {
        let (major, minor) = number(&w.path)?;
        let list = &mut out.block_io.get_or_insert_default().weight_device;
        list.push(Default::default());
        if let Some(d) = list.last_mut() {
            (d.major, d.minor, d.weight) = (major, minor, Some(w.weight));
        }
    }
    for (i, devices) in
        [&r.blkio_device_read_bps, &r.blkio_device_write_bps, &r.blkio_device_read_iops, &r.blkio_device_write_iops]
            .into_iter()
            .enumerate()
    {
        for t in devices {
            let (major, minor) = number(&t.path)?;
            let b = out.block_io.get_or_insert_default();
            let list = match i {
                0 => &mut b.throttle_read_bps_device,
                1 => &mut b.throttle_write_bps_device,
                2 => &mut b.throttle_read_iops_device,
                _ => &mut b.throttle_write_iops_device,
            };
            list.push(Default::default());
            if let Some(d) = list.last_mut() {
                (d.major, d.minor, d.rate) = (major, minor, t.rate);
            }
        }
    }
    Ok(())
}

/// One ulimit in the OCI form.
pub fn rlimit(u: &Ulimit) -> Result<spec::Rlimit> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let name = u.name.to_ascii_lowercase();
    if !NAMES.contains(&name.as_str()) {
        return Err(Error::invalid(format!("invalid ulimit type: {}", u.name)));
    }
    let value = |n: i64| match n {
        -1 => Ok(u64::MAX),
        n => u64::try_from(n).map_err(|_| Error::invalid(format!("invalid ulimit {}: {n} is negative", u.name))),
    };
    let (soft, hard) = (value(u.soft)?, value(u.hard)?);
    if soft > hard {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            u.soft, u.hard
        )));
    }
    Ok(spec::Rlimit { kind: format!("RLIMIT_{}", name.to_ascii_uppercase()), hard, soft })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Result<(i64, i64)> {
        Ok((8, 16))
    }

    #[test]
    fn ranges() {
        type Change = fn(&mut Resources);
        let rows: &[(&str, Change)] = &[
            ("6MB", |r| r.memory = 1 << 20),
            ("larger than memory", |r| (r.memory, r.memory_swap) = (64 << 20, 32 << 20)),
            ("always set the Memory", |r| r.memory_swap = 32 << 20),
            ("reservation", |r| (r.memory, r.memory_reservation) = (64 << 20, 128 << 20)),
            ("swappiness", |r| r.memory_swappiness = Some(101)),
            ("CPU Period", |r| (r.nano_cpus, r.cpu_period) = (1, 1000)),
            ("CPU shares", |r| r.cpu_shares = -1),
            ("cfs period", |r| r.cpu_period = 10),
            ("blkio weight", |r| r.blkio_weight = 9),
            ("cpuset cpus", |r| r.cpuset_cpus = "0-99999999".into()),
            ("cpuset cpus", |r| r.cpuset_cpus = "1,".repeat(100_000)),
            ("cpuset mems", |r| r.cpuset_mems = "a".into()),
            ("ulimit type", |r| r.ulimits.push(Ulimit { name: "x".into(), soft: 1, hard: 1 })),
            ("soft limit", |r| r.ulimits.push(Ulimit { name: "nofile".into(), soft: 2, hard: 1 })),
            ("rule format", |r| r.device_cgroup_rules.push("x".into())),
        ];
        check(&Resources { cpuset_cpus: "0-1,3".into(), ..Default::default() }).unwrap();
        for (text, change) in rows {
            let mut r = Resources::default();
            change(&mut r);
            let e = check(&r).expect_err(text);
            assert!(e.text().contains(text), "{text}: {e}");
        }
    }

    #[test]
    fn conversion() {
        let mut r = Resources {
            memory: 256 << 20,
            nano_cpus: 500_000_000,
            pids_limit: Some(64),
            blkio_device_read_bps: vec![crate::config::ThrottleDevice { path: "/dev/sda".into(), rate: 7 }],
            ..Default::default()
        };
        assert_eq!(adapt(&mut r, &Facts::for_tests()).unwrap(), Vec::<String>::new());
        let o = oci(&r, &none).unwrap();
        let m = o.memory.unwrap();
        assert_eq!((m.limit, m.swap), (Some(256 << 20), Some(512 << 20)));
        let c = o.cpu.unwrap();
        assert_eq!((c.period, c.quota), (Some(100_000), Some(50_000)));
        assert_eq!(o.pids.unwrap().limit, Some(64));
        assert_eq!(o.block_io.unwrap().throttle_read_bps_device[0].rate, 7);
        assert_eq!(oci(&Resources::default(), &none).unwrap(), spec::Resources::default());
    }

    #[test]
    fn missing_controllers_are_said() {
        let facts = Facts { controllers: vec![], ..Facts::for_tests() };
        let mut r = Resources { memory: 64 << 20, pids_limit: Some(5), cpu_shares: 5, ..Default::default() };
        let w = adapt(&mut r, &facts).unwrap();
        assert_eq!(w.len(), 3, "{w:?}");
        assert_eq!((r.memory, r.memory_swap, r.pids_limit, r.cpu_shares), (0, 0, None, 0));
        let mut r = Resources { nano_cpus: 1, ..Default::default() };
        assert!(adapt(&mut r, &facts).is_err());
        let mut r = Resources { nano_cpus: 5_000_000_000, ..Default::default() };
        assert!(adapt(&mut r, &Facts::for_tests()).unwrap_err().text().contains("only 2 CPUs"));
    }
}
