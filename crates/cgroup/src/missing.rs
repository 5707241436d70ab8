//! Which limits that were asked for this machine can't enforce. Pure, so that the engine can turn each into an
//! error or into Docker's warning before it asks for a group; `Group::create` and `Group::update` refuse them.

use dhow_types::{Error, ErrorKind, Result};

use crate::layout::{Layout, Mode, Version};
use crate::resources::Resources;

/// One limit that can't be enforced here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The field, as in the OCI document: `memory.limit`, `cpu.quota`, `unified.memory.high`.
    pub field: String,
    /// What it needs: a controller (`memory`) or one of its files (`memory.memsw.limit_in_bytes`).
    pub needs: String,
    /// A sentence for people: the field, the cause, the next step.
    pub text: String,
}

impl Missing {
    fn new(field: &str, needs: &str, why: impl std::fmt::Display) -> Self {
        Self { field: field.into(), needs: needs.into(), text: format!("{field} can't be enforced: {why}") }
    }
}

/// Which hierarchy kinds know a limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Both,
    V1,
}

/// What the machine can do, as far as the rules below need to know it.
pub(crate) struct Facts<'a> {
    /// The kind of hierarchy that holds a controller.
    pub(crate) version: &'a dyn Fn(&str) -> Option<Version>,
    /// Whether a controller has this file; `None` where that can't be seen without making a group.
    pub(crate) has_file: &'a dyn Fn(&str, &str) -> Option<bool>,
    /// Whether the v2 hierarchy holds this controller.
    pub(crate) v2_has: &'a dyn Fn(&str) -> bool,
}

/// The rules.
pub(crate) fn find(r: &Resources, facts: &Facts<'_>) -> Vec<Missing> {
    let mut out = Vec::new();
    let memory = r.memory.clone().unwrap_or_default();
    let cpu = r.cpu.clone().unwrap_or_default();
    let io = r.block_io.clone().unwrap_or_default();
    let network = r.network.clone().unwrap_or_default();
    // No limit, or nothing said, is enforced by doing nothing.
    let limited = |v: Option<i64>| v.is_some_and(|v| v > 0);
    let positive = |v: Option<u64>| v.is_some_and(|v| v > 0);
    let block = if (facts.version)("io").is_some() { "io" } else { "blkio" };
    let throttled = [
        ("blockIO.throttleReadBpsDevice", &io.throttle_read_bps_device),
        ("blockIO.throttleWriteBpsDevice", &io.throttle_write_bps_device),
        ("blockIO.throttleReadIOPSDevice", &io.throttle_read_iops_device),
        ("blockIO.throttleWriteIOPSDevice", &io.throttle_write_iops_device),
    ];
    // Field, asked for, controller, where it exists, a file that not every kernel has.
    type Rule = (&'static str, bool, &'static str, On, Option<&'static str>);
    let mut rules: Vec<Rule> = vec![
        ("memory.limit", limited(memory.limit), "memory", On::Both, None),
        ("memory.reservation", limited(memory.reservation), "memory", On::Both, None),
        ("memory.swap", limited(memory.swap), "memory", On::Both, Some("swap")),
        ("memory.kernelTCP", limited(memory.kernel_tcp), "memory", On::V1, Some("memory.kmem.tcp.limit_in_bytes")),
        ("memory.swappiness", memory.swappiness.is_some(), "memory", On::V1, None),
        ("memory.disableOOMKiller", memory.disable_oom_killer == Some(true), "memory", On::V1, None),
        ("cpu.shares", positive(cpu.shares), "cpu", On::Both, None),
        ("cpu.quota", limited(cpu.quota), "cpu", On::Both, Some("quota")),
        ("cpu.period", positive(cpu.period), "cpu", On::Both, Some("quota")),
        ("cpu.burst", positive(cpu.burst), "cpu", On::Both, Some("burst")),
        ("cpu.idle", cpu.idle.is_some_and(|i| i != 0), "cpu", On::Both, Some("cpu.idle")),
        ("cpu.realtimeRuntime", cpu.realtime_runtime.is_some_and(|r| r != 0), "cpu", On::V1, Some("cpu.rt_runtime_us")),
        ("cpu.realtimePeriod", positive(cpu.realtime_period), "cpu", On::V1, Some("cpu.rt_period_us")),
        ("cpu.cpus", !cpu.cpus.is_empty(), "cpuset", On::Both, None),
        ("cpu.mems", !cpu.mems.is_empty(), "cpuset", On::Both, None),
        ("pids.limit", r.pids.as_ref().and_then(|p| p.limit).is_some_and(|l| l >= 0), "pids", On::Both, None),
        ("blockIO.weight", io.weight.is_some_and(|w| w != 0), block, On::Both, Some("weight")),
        ("blockIO.leafWeight", io.leaf_weight.is_some_and(|w| w != 0), block, On::V1, Some("blkio.leaf_weight")),
        ("blockIO.weightDevice", !io.weight_device.is_empty(), block, On::Both, Some("weight")),
        ("hugepageLimits", !r.hugepage_limits.is_empty(), "hugetlb", On::Both, None),
        ("network.classID", network.class_id.is_some_and(|c| c != 0), "net_cls", On::V1, None),
        ("network.priorities", !network.priorities.is_empty(), "net_prio", On::V1, None),
        ("rdma", !r.rdma.is_empty(), "rdma", On::Both, None),
    ];
    rules.extend(throttled.map(|(field, list)| (field, !list.is_empty(), block, On::Both, None)));
    for (field, asked, controller, on, file) in rules {
        if asked {
            out.extend(check(field, controller, on, file, facts));
        }
    }
    if limited(memory.kernel) {
        let why = "no kernel limits its own memory apart any more; use memory.limit, which includes it";
        out.push(Missing::new("memory.kernel", "memory.kmem.limit_in_bytes", why));
    }
    for file in r.unified.keys() {
        let controller = file.split('.').next().unwrap_or("");
        if controller != "cgroup" && !(facts.v2_has)(controller) {
            let why = format!("the v2 hierarchy has no {controller} controller");
            out.push(Missing::new(&format!("unified.{file}"), controller, why));
        }
    }
    out
}

fn check(field: &str, controller: &str, on: On, file: Option<&str>, facts: &Facts<'_>) -> Option<Missing> {
    let Some(version) = (facts.version)(controller) else {
        let why =
            format!("this machine has no {controller} controller mounted; boot a kernel with it, or leave it out");
        return Some(Missing::new(field, controller, why));
    };
    if on == On::V1 && version == Version::V2 {
        return Some(Missing::new(field, controller, "control groups v2 do not have it; leave it out"));
    }
    let file = file?;
    let candidates: &[&str] = match (file, version) {
        ("swap", Version::V1) => &["memory.memsw.limit_in_bytes"],
        ("swap", Version::V2) => &["memory.swap.max"],
        ("quota", Version::V1) => &["cpu.cfs_quota_us"],
        ("quota", Version::V2) => &["cpu.max"],
        ("burst", Version::V1) => &["cpu.cfs_burst_us"],
        ("burst", Version::V2) => &["cpu.max.burst"],
        ("weight", Version::V1) => &["blkio.weight", "blkio.bfq.weight"],
        ("weight", Version::V2) => &["io.bfq.weight", "io.weight"],
        _ => std::slice::from_ref(&file),
    };
    let answers: Vec<Option<bool>> = candidates.iter().map(|f| (facts.has_file)(controller, f)).collect();
    if answers.iter().all(|a| *a == Some(false)) {
        let why = format!("this kernel has no {}; boot one with it, or leave it out", candidates.join(" or "));
        return Some(Missing::new(field, candidates[0], why));
    }
    None
}

impl Layout {
    /// Which of the limits in `r` this machine can't enforce, and why. Values without effect (-1 where nothing limits)
    /// are not missing.
    pub fn missing_for(&self, r: &Resources) -> Vec<Missing> {
        find(
            r,
            &Facts {
                version: &|c| self.holder(c).map(|h| h.version()),
                has_file: &|c, f| self.has_file(c, f),
                v2_has: &|c| self.v2().is_some_and(|h| h.has(c)),
            },
        )
    }

    /// The first missing limit as an error.
    pub(crate) fn require(&self, r: &Resources) -> Result<()> {
        match self.missing_for(r).into_iter().next() {
            None => Ok(()),
            Some(m) if self.mode() == Mode::None => {
                Err(Error::new(ErrorKind::Unavailable, format!("{} (no control groups are mounted)", m.text)))
            }
            Some(m) => Err(Error::new(ErrorKind::Unavailable, m.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version: Option<Version>, files: Option<bool>, json: &str, want: &[&str]) {
        let r: Resources = serde_json::from_str(json).unwrap();
        let name = |c: &str| match (c, version) {
            ("io", Some(Version::V1)) | ("blkio" | "net_cls" | "net_prio", Some(Version::V2)) => None,
            _ => version,
        };
        let facts = Facts {
            version: &name,
            has_file: &|_, _| files,
            v2_has: &|c| version == Some(Version::V2) && c == "memory",
        };
        let got = find(&r, &facts);
        let fields: Vec<&str> = got.iter().map(|m| m.field.as_str()).collect();
        assert_eq!(fields, want, "{version:?} {json}: {got:?}");
        assert!(got.iter().all(|m| m.text.contains(&m.field)));
    }

    const V1: Option<Version> = Some(Version::V1);
    const V2: Option<Version> = Some(Version::V2);

    #[test]
    fn nothing_asked_nothing_missing() {
        for json in [
            "{}",
            r#"{"devices":[{"allow":false,"access":"rwm"}]}"#,
            r#"{"memory":{"limit":-1,"swap":-1,"disableOOMKiller":false,"kernel":-1},"cpu":{"quota":-1,"shares":0},
                "pids":{"limit":-1},"network":{"classID":0}}"#,
        ] {
            check(None, Some(false), json, &[]);
        }
    }

    #[test]
    fn without_controllers_all_that_is_asked_is_missing() {
        let json = r#"{"memory":{"limit":1,"swap":2},"cpu":{"shares":2,"quota":1,"cpus":"0"},"pids":{"limit":0},
            "blockIO":{"weight":10,"throttleReadBpsDevice":[{}]},"hugepageLimits":[{"pageSize":"2MB"}],
            "rdma":{"a":{}},"unified":{"memory.high":"1","cgroup.max.depth":"1"}}"#;
        let want = [
            "memory.limit",
            "memory.swap",
            "cpu.shares",
            "cpu.quota",
            "cpu.cpus",
            "pids.limit",
            "blockIO.weight",
            "hugepageLimits",
            "rdma",
            "blockIO.throttleReadBpsDevice",
            "unified.memory.high",
        ];
        check(None, None, json, &want);
        check(V1, Some(true), json, &["unified.memory.high"]);
        check(V2, Some(true), json, &[]);
    }

    #[test]
    fn what_only_v1_has_is_missing_on_v2() {
        let json = r#"{"memory":{"swappiness":1,"disableOOMKiller":true,"kernelTCP":1},"cpu":{"realtimeRuntime":1},
            "network":{"classID":1}}"#;
        let all = ["memory.kernelTCP", "memory.swappiness", "memory.disableOOMKiller", "cpu.realtimeRuntime"];
        check(V2, Some(true), json, &[&all[..], &["network.classID"]].concat());
        check(V1, Some(true), json, &[]);
        check(V1, None, json, &[]);
    }

    #[test]
    fn files_that_a_kernel_lacks() {
        let json = r#"{"memory":{"limit":5,"swap":6},"cpu":{"idle":1},"blockIO":{"weight":10}}"#;
        check(V1, Some(false), json, &["memory.swap", "cpu.idle", "blockIO.weight"]);
        check(V2, Some(false), json, &["memory.swap", "cpu.idle", "blockIO.weight"]);
        check(V2, None, json, &[]);
        check(V2, Some(true), r#"{"memory":{"kernel":5}}"#, &["memory.kernel"]);
    }
}
