//! Tables: a document, and the files it becomes on either kind of hierarchy.

use super::*;

fn plan(version: Version, json: &str, now: &Now) -> Result<Vec<String>> {
    let r: Resources = serde_json::from_str(json).unwrap();
    let known = |c: &str| match (c, version) {
        ("io" | "unified", Version::V1) | ("blkio" | "net_cls" | "net_prio", Version::V2) => None,
        _ => Some(version),
    };
    Ok(writes(&r, &known, now)?.into_iter().map(|w| format!("{}={}", w.file, w.value)).collect())
}

#[track_caller]
fn check(version: Version, json: &str, want: &[&str]) {
    assert_eq!(plan(version, json, &Now::default()).unwrap(), want, "{version:?} {json}");
}

#[track_caller]
fn refused(version: Version, json: &str, words: &str) {
    let e = plan(version, json, &Now::default()).unwrap_err();
    assert!(e.text().contains(words), "{version:?} {json}: {e}");
}

use Version::{V1, V2};

#[test]
fn nothing_asked_nothing_written() {
    for json in ["{}", r#"{"memory":{},"cpu":{},"pids":{},"blockIO":{},"network":{}}"#] {
        check(V1, json, &[]);
        check(V2, json, &[]);
    }
    check(V2, r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0,"period":0}}"#, &[]);
    check(V1, r#"{"memory":{"limit":0,"swap":0},"cpu":{"shares":0,"quota":0,"period":0}}"#, &[]);
}

#[test]
fn memory_and_swap() {
    for (json, v1, v2) in [
        (r#"{"limit":100}"#, &["memory.limit_in_bytes=100"][..], &["memory.max=100"][..]),
        (
            r#"{"limit":100,"swap":300}"#,
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300"],
            &["memory.swap.max=200", "memory.max=100"],
        ),
        (
            r#"{"limit":100,"swap":100}"#,
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
            &["memory.swap.max=0", "memory.max=100"],
        ),
        (
            r#"{"limit":100,"swap":-1}"#,
            &["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=100"],
            &["memory.swap.max=max", "memory.max=100"],
        ),
        (
            r#"{"limit":-1}"#,
            &["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"],
            &["memory.swap.max=max", "memory.max=max"],
        ),
        (r#"{"reservation":50}"#, &["memory.soft_limit_in_bytes=50"], &["memory.low=50"]),
    ] {
        let json = format!(r#"{{"memory":{json}}}"#);
        check(V1, &json, v1);
        check(V2, &json, v2);
    }
    check(
        V1,
        r#"{"memory":{"kernelTCP":7,"disableOOMKiller":true,"swappiness":60}}"#,
        &["memory.kmem.tcp.limit_in_bytes=7", "memory.oom_control=1", "memory.swappiness=60"],
    );
    for version in [V1, V2] {
        refused(version, r#"{"memory":{"limit":100,"swap":50}}"#, "must not be less than memory.limit");
        refused(version, r#"{"memory":{"swap":50}}"#, "can't be limited without memory.limit");
        refused(version, r#"{"memory":{"limit":-5}}"#, "memory.limit: -5");
        refused(version, r#"{"memory":{"swappiness":101}}"#, "memory.swappiness: 101");
        refused(version, r#"{"memory":{"useHierarchy":false}}"#, "memory.useHierarchy");
    }
}

#[test]
fn v1_memory_grows_and_shrinks_in_the_order_the_kernel_takes() {
    let json = r#"{"memory":{"limit":200,"swap":400}}"#;
    let now = |limit| Now { v1_memory_limit: Some(limit), ..Now::default() };
    let both_first = ["memory.memsw.limit_in_bytes=400", "memory.limit_in_bytes=200"];
    let memory_first = ["memory.limit_in_bytes=200", "memory.memsw.limit_in_bytes=400"];
    assert_eq!(plan(V1, json, &now(100)).unwrap(), both_first);
    assert_eq!(plan(V1, json, &now(800)).unwrap(), memory_first);
    let swap_alone = r#"{"memory":{"swap":400}}"#;
    assert_eq!(plan(V1, swap_alone, &now(100)).unwrap(), ["memory.memsw.limit_in_bytes=400"]);
}

#[test]
fn a_limit_beneath_the_use_is_refused_only_when_asked_to() {
    let now = Now { memory_usage: Some(500), ..Now::default() };
    for version in [V1, V2] {
        let e = plan(version, r#"{"memory":{"limit":400,"checkBeforeUpdate":true}}"#, &now).unwrap_err();
        assert!(e.text().contains("500 bytes in use"), "{e}");
        assert!(plan(version, r#"{"memory":{"limit":400}}"#, &now).is_ok());
        assert!(plan(version, r#"{"memory":{"limit":600,"checkBeforeUpdate":true}}"#, &now).is_ok());
    }
}

#[test]
fn cpu_time() {
    for (json, v1, v2) in [
        (r#"{"shares":1024}"#, &["cpu.shares=1024"][..], &["cpu.weight=100"][..]),
        (r#"{"quota":50000}"#, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]),
        (
            r#"{"quota":50000,"period":200000}"#,
            &["cpu.cfs_period_us=200000", "cpu.cfs_quota_us=50000"],
            &["cpu.max=50000 200000"],
        ),
        (r#"{"quota":-1}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]),
        (r#"{"period":200000}"#, &["cpu.cfs_period_us=200000"], &["cpu.max=max 200000"]),
        (
            r#"{"quota":50000,"burst":10}"#,
            &["cpu.cfs_burst_us=10", "cpu.cfs_quota_us=50000"],
            &["cpu.max.burst=10", "cpu.max=50000 100000"],
        ),
        (r#"{"idle":1,"shares":50}"#, &["cpu.idle=1"], &["cpu.idle=1"]),
        (r#"{"cpus":"0-1","mems":"0"}"#, &["cpuset.cpus=0-1", "cpuset.mems=0"], &["cpuset.cpus=0-1", "cpuset.mems=0"]),
    ] {
        let json = format!(r#"{{"cpu":{json}}}"#);
        check(V1, &json, v1);
        check(V2, &json, v2);
    }
    check(
        V1,
        r#"{"cpu":{"realtimePeriod":1000,"realtimeRuntime":500}}"#,
        &["cpu.rt_period_us=1000", "cpu.rt_runtime_us=500"],
    );
    refused(V1, r#"{"cpu":{"shares":1}}"#, "cpu.shares: 1");
    for version in [V1, V2] {
        refused(version, r#"{"cpu":{"cpus":"0-99999999999"}}"#, "cpu.cpus");
        refused(version, r#"{"cpu":{"mems":"x"}}"#, "cpu.mems");
    }
}

#[test]
fn an_update_of_the_period_keeps_the_quota() {
    let now = Now { v2_quota: Some("30000".into()), ..Now::default() };
    assert_eq!(plan(V2, r#"{"cpu":{"period":200000}}"#, &now).unwrap(), ["cpu.max=30000 200000"]);
    assert_eq!(plan(V2, r#"{"cpu":{"quota":40000}}"#, &now).unwrap(), ["cpu.max=40000"]);
}

#[test]
fn tasks() {
    for version in [V1, V2] {
        check(version, r#"{"pids":{"limit":20}}"#, &["pids.max=20"]);
        check(version, r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]);
        check(version, r#"{"pids":{"limit":0}}"#, &["pids.max=1"]);
    }
}

#[test]
fn block_io() {
    let json = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":100},{"major":8,"minor":1,"weight":0}],
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}],"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]}}"#;
    check(
        V1,
        json,
        &[
            "blkio.weight=500",
            "blkio.weight_device=8:0 100",
            "blkio.weight_device=8:1 0",
            "blkio.throttle.read_bps_device=8:0 1000",
            "blkio.throttle.write_bps_device=8:0 0",
            "blkio.throttle.read_iops_device=8:0 3",
            "blkio.throttle.write_iops_device=8:0 4",
        ],
    );
    check(
        V2,
        json,
        &[
            "io.bfq.weight=500",
            "io.bfq.weight=8:0 100",
            "io.bfq.weight=8:1 default",
            "io.max=8:0 rbps=1000",
            "io.max=8:0 wbps=max",
            "io.max=8:0 riops=3",
            "io.max=8:0 wiops=4",
        ],
    );
    let r: Resources = serde_json::from_str(json).unwrap();
    let all = writes(&r, &|_| Some(V2), &Now::default()).unwrap();
    assert_eq!(all[0].absent, Absent::Other("io.weight".into(), "4950".into()));
    assert_eq!(all[1].absent, Absent::Other("io.weight".into(), "8:0 910".into()));
    for version in [V1, V2] {
        refused(version, r#"{"blockIO":{"weight":5}}"#, "blockIO.weight: 5");
        let bad = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#;
        refused(version, bad, "-1:0");
    }
}

#[test]
fn huge_pages_network_rdma() {
    let huge = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4096}]}"#;
    check(V1, huge, &["hugetlb.2MB.limit_in_bytes=4096", "hugetlb.2MB.rsvd.limit_in_bytes=4096"]);
    check(V2, huge, &["hugetlb.2MB.max=4096", "hugetlb.2MB.rsvd.max=4096"]);
    for bad in ["", "2", "MB", "0MB", "2mb", "../2MB", "2/MB", "2MB/x", "9999999MB"] {
        refused(V2, &format!(r#"{{"hugepageLimits":[{{"pageSize":"{bad}","limit":1}}]}}"#), "hugepageLimits");
    }
    let net = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#;
    check(V1, net, &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
    refused(V1, r#"{"network":{"priorities":[{"name":"a b","priority":5}]}}"#, "network.priorities");
    let rdma = r#"{"rdma":{"mlx5_1":{"hcaHandles":3},"mlx5_2":{"hcaObjects":4}}}"#;
    let want = ["rdma.max=mlx5_1 hca_handle=3 hca_object=max", "rdma.max=mlx5_2 hca_handle=max hca_object=4"];
    check(V1, rdma, &want);
    check(V2, rdma, &want);
    refused(V2, r#"{"rdma":{"a\nb":{}}}"#, "rdma");
}

#[test]
fn raw_files() {
    check(V2, r#"{"unified":{"memory.high":"1000"}}"#, &["memory.high=1000"]);
    check(V2, r#"{"unified":{"io.max":"8:0 rbps=1\n8:1 rbps=2\n"}}"#, &["io.max=8:0 rbps=1", "io.max=8:1 rbps=2"]);
    check(V2, r#"{"unified":{"cgroup.max.depth":"3"}}"#, &["cgroup.max.depth=3"]);
    for bad in [
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.kill",
        "../x.y",
        "memory",
        "memory.",
        ".max",
        "a/b.c",
        "a.b c",
    ] {
        refused(V2, &format!(r#"{{"unified":{{"{bad}":"1"}}}}"#), "unified");
    }
    let long = format!(r#"{{"unified":{{"memory.high":"{}"}}}}"#, "1".repeat(5000));
    refused(V2, &long, "4096 bytes");
}
