//! Docker's document of what a container uses. Its lists of memory's kinds are fixed: what the kernel does not tell is 0.

use super::time;
use dhow_engine::view::{IoKind, IoStats, StatsView, Traffic, Used};
use serde_json::{Map, Value, json};

/// Kinds of memory with cgroup v1.
const V1: [&str; 32] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "total_cache",
    "total_rss",
    "total_rss_huge",
    "total_mapped_file",
    "total_dirty",
    "total_writeback",
    "total_pgpgin",
    "total_pgpgout",
    "total_pgfault",
    "total_pgmajfault",
    "total_inactive_anon",
    "total_active_anon",
    "total_inactive_file",
    "total_active_file",
    "total_unevictable",
];
/// Kinds of memory with cgroup v2.
const V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// One sample.
pub(crate) fn document(view: &StatsView) -> Value {
    let mut out = json!({
        "id": view.id.as_str(),
        "name": format!("/{}", view.name),
        "os_type": "linux",
        "read": time(view.read),
        "preread": time(view.before.as_ref().map(|(at, _)| *at)),
        "num_procs": 0,
        "storage_stats": {},
        "pids_stats": pids(view.used.as_ref()),
        "blkio_stats": io(view.used.as_ref()),
        "cpu_stats": cpu(view.used.as_ref()),
        "precpu_stats": cpu(view.before.as_ref().map(|(_, used)| used)),
        "memory_stats": memory(view.used.as_ref()),
    });
    if let Some(networks) = view.used.as_ref().and_then(|used| used.networks.as_ref())
        && !networks.is_empty()
    {
        out["networks"] = networks.iter().map(|(name, t)| (name.clone(), traffic(t))).collect::<Map<_, _>>().into();
    }
    out
}

/// Docker leaves zeros out.
fn without_zeros(pairs: &[(&str, u64)]) -> Map<String, Value> {
    pairs.iter().filter(|(_, n)| *n > 0).map(|(name, n)| ((*name).to_owned(), json!(n))).collect()
}

fn pids(used: Option<&Used>) -> Value {
    let Some(used) = used else { return json!({}) };
    let pids = &used.group.pids;
    // No limit is the largest number with v2, and left out with v1.
    let none = if is_v1(used) { 0 } else { u64::MAX };
    without_zeros(&[("current", pids.current), ("limit", pids.limit.unwrap_or(none))]).into()
}

/// Only v1 counts what lies below a group apart from the group itself.
fn is_v1(used: &Used) -> bool {
    used.group.memory.as_ref().is_some_and(|memory| memory.stat.contains_key("total_rss"))
}

fn cpu(used: Option<&Used>) -> Value {
    let none = Default::default();
    let cpu = used.map_or(&none, |used| &used.group.cpu);
    let mut usage = json!({
        "total_usage": cpu.usage_ns,
        "usage_in_kernelmode": cpu.system_ns,
        "usage_in_usermode": cpu.user_ns,
    });
    if !cpu.per_cpu_ns.is_empty() {
        usage["percpu_usage"] = json!(cpu.per_cpu_ns);
    }
    let mut out = json!({
        "cpu_usage": usage,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    });
    if let Some(used) = used {
        out["system_cpu_usage"] = json!(used.system_ns);
        out["online_cpus"] = json!(used.online_cpus);
    }
    out
}

fn memory(used: Option<&Used>) -> Value {
    let Some(used) = used else { return json!({}) };
    let Some(memory) = used.group.memory.as_ref() else { return json!({}) };
    let limit = memory.limit.map_or(used.memory_total, |limit| limit.min(used.memory_total));
    let v1 = is_v1(used);
    let mut out = without_zeros(&[
        ("usage", memory.usage),
        ("limit", limit),
        ("max_usage", if v1 { memory.max_usage.unwrap_or(0) } else { 0 }),
        ("failcnt", if v1 { memory.failures } else { memory.ooms.unwrap_or(0) }),
    ]);
    let names: &[&str] = if v1 { &V1 } else { &V2 };
    // Where the kernel writes it in two, or under another name, since Docker's list was made.
    let of = |name: &str| match (memory.stat.get(name), name) {
        (Some(n), _) => *n,
        (None, "workingset_refault") => {
            ["workingset_refault_anon", "workingset_refault_file"].iter().filter_map(|n| memory.stat.get(*n)).sum()
        }
        (None, "workingset_activate") => {
            ["workingset_activate_anon", "workingset_activate_file"].iter().filter_map(|n| memory.stat.get(*n)).sum()
        }
        (None, _) => 0,
    };
    out.insert("stats".to_owned(), names.iter().map(|n| ((*n).to_owned(), json!(of(n)))).collect::<Map<_, _>>().into());
    out.into()
}

fn io(used: Option<&Used>) -> Value {
    const LISTS: [&str; 8] = [
        "io_service_bytes_recursive",
        "io_serviced_recursive",
        "io_queue_recursive",
        "io_service_time_recursive",
        "io_wait_time_recursive",
        "io_merged_recursive",
        "io_time_recursive",
        "sectors_recursive",
    ];
    let v1 = used.is_some_and(is_v1);
    // Docker's lists are empty where v1 tells nothing, and null where v2 never tells anything.
    let nothing = if v1 { json!([]) } else { Value::Null };
    let mut out: Map<String, Value> = LISTS.iter().map(|name| ((*name).to_owned(), nothing.clone())).collect();
    let devices = used.map_or(&[][..], |used| &used.group.io);
    let row = |d: &IoStats, op: &str, value: u64| json!({"major": d.major, "minor": d.minor, "op": op, "value": value});
    // Of v1 all kinds that the kernel has, in its words; of v2 two, in Docker's.
    let kinds = |of: fn(&IoKind) -> u64| -> Value {
        devices.iter().flat_map(|d| d.kinds.iter().map(move |kind| row(d, &kind.name, of(kind)))).collect()
    };
    if v1 {
        out.insert(LISTS[0].to_owned(), kinds(|kind| kind.bytes));
        out.insert(LISTS[1].to_owned(), kinds(|kind| kind.operations));
    } else if !devices.is_empty() {
        let bytes = devices.iter().flat_map(|d| [row(d, "read", d.read_bytes), row(d, "write", d.write_bytes)]);
        out.insert(LISTS[0].to_owned(), bytes.collect());
    }
    out.into()
}

fn traffic(t: &Traffic) -> Value {
    json!({
        "rx_bytes": t.rx_bytes,
        "rx_packets": t.rx_packets,
        "rx_errors": t.rx_errors,
        "rx_dropped": t.rx_dropped,
        "tx_bytes": t.tx_bytes,
        "tx_packets": t.tx_packets,
        "tx_errors": t.tx_errors,
        "tx_dropped": t.tx_dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_engine::view::{GroupStats, MemoryStats};

    fn view(used: Option<Used>) -> StatsView {
        let id = "ab".repeat(32).parse().unwrap();
        StatsView {
            id,
            name: "web".into(),
            read: used.as_ref().map(|_| jiff::Timestamp::UNIX_EPOCH),
            before: None,
            used,
        }
    }

    fn used(stat: &[(&str, u64)]) -> Used {
        let mut group = GroupStats::default();
        group.cpu.usage_ns = 5;
        let kind = |name: &str, bytes, operations| IoKind { name: name.to_owned(), bytes, operations };
        let kinds = match stat.iter().any(|(name, _)| *name == "total_rss") {
            true => vec![kind("Read", 10, 3), kind("Write", 20, 4), kind("Discard", 9, 1), kind("Total", 39, 8)],
            false => Vec::new(),
        };
        group.io = vec![IoStats { major: 8, minor: 1, read_bytes: 10, write_bytes: 20, reads: 3, writes: 4, kinds }];
        group.pids.current = 2;
        group.memory = Some(MemoryStats {
            usage: 1000,
            max_usage: Some(2000),
            failures: 7,
            ooms: Some(1),
            stat: stat.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
            ..MemoryStats::default()
        });
        Used { group, system_ns: 70, online_cpus: 2, memory_total: 5000, networks: None }
    }

    #[test]
    fn one_that_does_not_run_uses_nothing() {
        let document = document(&view(None));
        assert_eq!(document["name"], "/web");
        assert_eq!(document["read"], "0001-01-01T00:00:00Z");
        assert_eq!(document["memory_stats"], json!({}));
        assert_eq!(document["pids_stats"], json!({}));
        assert_eq!(document["blkio_stats"]["io_service_bytes_recursive"], Value::Null);
        assert_eq!(document["cpu_stats"]["cpu_usage"]["total_usage"], 0);
        assert!(document["cpu_stats"].get("system_cpu_usage").is_none() && document.get("networks").is_none());
    }

    #[test]
    fn each_kind_of_hierarchy_in_its_own_words() {
        let v1 = document(&view(Some(used(&[("total_rss", 1), ("total_inactive_file", 100)]))));
        assert_eq!(v1["memory_stats"]["stats"].as_object().unwrap().len(), 32);
        assert_eq!(v1["memory_stats"]["max_usage"], 2000);
        assert_eq!((&v1["memory_stats"]["failcnt"], &v1["memory_stats"]["limit"]), (&json!(7), &json!(5000)));
        assert_eq!(v1["pids_stats"], json!({"current": 2}));
        let kinds = |list: &str| -> Vec<(String, u64)> {
            let rows = v1["blkio_stats"][list].as_array().unwrap().iter();
            rows.map(|row| (row["op"].as_str().unwrap().to_owned(), row["value"].as_u64().unwrap())).collect()
        };
        let want = |values: [u64; 4]| -> Vec<(String, u64)> {
            ["Read", "Write", "Discard", "Total"].map(str::to_owned).into_iter().zip(values).collect()
        };
        assert_eq!(kinds("io_service_bytes_recursive"), want([10, 20, 9, 39]));
        assert_eq!(kinds("io_serviced_recursive"), want([3, 4, 1, 8]));
        assert_eq!(v1["blkio_stats"]["io_serviced_recursive"][1]["minor"], 1);
        assert_eq!(v1["blkio_stats"]["io_merged_recursive"], json!([]));

        let v2 = document(&view(Some(used(&[
            ("inactive_file", 100),
            ("workingset_refault_anon", 2),
            ("workingset_refault_file", 3),
        ]))));
        let memory = &v2["memory_stats"];
        assert_eq!(memory["stats"].as_object().unwrap().len(), 31);
        assert_eq!(
            (&memory["stats"]["inactive_file"], &memory["stats"]["workingset_refault"]),
            (&json!(100), &json!(5))
        );
        assert_eq!((&memory["failcnt"], memory.get("max_usage")), (&json!(1), None));
        assert_eq!(v2["pids_stats"]["limit"], json!(u64::MAX));
        assert_eq!(
            v2["blkio_stats"]["io_service_bytes_recursive"],
            json!([{"major": 8, "minor": 1, "op": "read", "value": 10}, {"major": 8, "minor": 1, "op": "write", "value": 20}])
        );
        assert_eq!(v2["blkio_stats"]["io_serviced_recursive"], Value::Null);
        assert_eq!((&v2["cpu_stats"]["system_cpu_usage"], &v2["cpu_stats"]["online_cpus"]), (&json!(70), &json!(2)));
    }

    #[test]
    fn traffic_by_device() {
        let mut with = used(&[]);
        with.networks = Some([("eth0".to_owned(), Traffic { rx_bytes: 5, ..Traffic::default() })].into());
        let document = document(&view(Some(with)));
        assert_eq!(document["networks"]["eth0"]["rx_bytes"], 5);
        assert_eq!(document["networks"]["eth0"].as_object().unwrap().len(), 8);
    }
}
