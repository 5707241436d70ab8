//! Kernel, control groups, privileges.

use super::super::super::facts::*;
use super::super::super::finding::State::{Error, Note, Ok as Well, Warning};
use super::{check, row};

#[test]
fn the_kernel() {
    check(vec![
        row(
            |f| part!(f.kernel).release = "5.4.0".into(),
            "kernel.version",
            Error,
            &["5.4.0", "5.12"],
            &["linux-image-amd64"],
        ),
        row(|f| part!(f.kernel).release = "5.15.1-x".into(), "kernel.version", Note, &["6.1"], &[]),
        row(
            |f| drop(part!(f.kernel).calls.insert("openat2".into(), Err("not there".into()))),
            "kernel.calls",
            Error,
            &["openat2 (not there)"],
            &["Seccomp"],
        ),
        row(
            |f| part!(f.kernel).namespaces[4].1 = Ok(Err("no".into())),
            "kernel.namespaces",
            Error,
            &["net: no"],
            &["CapEff"],
        ),
        row(
            |f| {
                part!(f.kernel).namespaces[4].1 = Ok(Err("no space".into()));
                part!(f.kernel).namespace_limits.insert("net".into(), 0);
            },
            "kernel.namespaces",
            Error,
            &["net"],
            &["sysctl -w user.max_net_namespaces=65536"],
        ),
        row(
            |f| part!(f.kernel).namespaces[0].1 = Err(Unseen::Root),
            "kernel.namespaces",
            Note,
            &["not seen without root"],
            &["sudo"],
        ),
        row(
            |f| *part!(f.kernel).namespace_limits.entry("net".into()).or_default() = 7,
            "kernel.namespace-limits",
            Error,
            &["net 7"],
            &["sysctl -w user.max_net_namespaces=65536", "/etc/sysctl.d/"],
        ),
        row(
            |f| *part!(f.kernel).namespace_limits.entry("user".into()).or_default() = 0,
            "kernel.namespace-limits",
            Note,
            &["user 0"],
            &[],
        ),
        row(|f| part!(f.kernel).seccomp.clear(), "kernel.seccomp", Error, &["errno"], &["unconfined"]),
        row(
            |f| part!(f.kernel).overlay = Ok(Err("open overlayfs: No such device".into())),
            "kernel.overlay",
            Error,
            &["no overlayfs"],
            &["modprobe overlay", "/etc/modules-load.d/"],
        ),
        row(
            |f| part!(f.kernel).overlay = Ok(Err("make an overlay here: Invalid argument".into())),
            "kernel.overlay",
            Error,
            &["Invalid argument"],
            &["dhow daemon --root"],
        ),
        row(|f| part!(f.kernel).dirent_types = Some(false), "kernel.d-type", Error, &["no d_type"], &["ftype=1"]),
        row(
            |f| part!(f.kernel).network = Ok(Err("create the bridge dhow0: not supported".into())),
            "kernel.network",
            Error,
            &["create the bridge", "--network host"],
            &["modprobe -a bridge veth nf_tables", "linux-modules-extra"],
        ),
        row(|f| part!(f.kernel).fuse = false, "kernel.fuse", Note, &["/dev/fuse"], &["modprobe fuse"]),
        row(|f| part!(f.kernel).keys = Some((190, 200)), "kernel.keys", Warning, &["190 of 200"], &["root_maxkeys"]),
        row(
            |f| part!(f.kernel).pids = Some((32_768, 30_000)),
            "kernel.pids",
            Warning,
            &["30000 of 32768"],
            &["kernel.pid_max"],
        ),
    ]);
}

#[test]
fn control_groups() {
    check(vec![
        row(
            |f| part!(f.groups).mode = "none".into(),
            "cgroups.version",
            Error,
            &["nothing is limited"],
            &["mount -t cgroup2"],
        ),
        row(
            |f| part!(f.groups).mode = "hybrid".into(),
            "cgroups.version",
            Note,
            &["hybrid"],
            &["systemd.unified_cgroup_hierarchy=1", "update-grub", "reboot"],
        ),
        row(
            |f| {
                part!(f.groups).mode = "v1".into();
                f.caller.packager = "dnf".into();
            },
            "cgroups.version",
            Note,
            &[],
            &["grubby --update-kernel=ALL"],
        ),
        row(
            |f| part!(f.groups).controllers.retain(|c| c != "memory"),
            "cgroups.controllers",
            Warning,
            &["missing: memory", "--memory"],
            &["echo '+memory' > /sys/fs/cgroup/system.slice/cgroup.subtree_control", "Delegate=yes"],
        ),
        row(
            |f| {
                part!(f.groups).controllers.retain(|c| c != "memory");
                part!(f.groups).switched_off.push("memory".into());
            },
            "cgroups.controllers",
            Warning,
            &["memory"],
            &["cgroup_enable=memory", "cmdline.txt"],
        ),
        row(|f| part!(f.groups).controllers.retain(|c| c != "io"), "cgroups.controllers", Note, &["io"], &["+io"]),
        row(
            |f| part!(f.groups).read_only = true,
            "cgroups.writable",
            Error,
            &["read-only"],
            &["mount -o remount,rw /sys/fs/cgroup"],
        ),
        row(|f| part!(f.groups).handed_down = Some(vec!["cpu".into()]), "cgroups.delegation", Note, &["memory"], &[]),
        row(
            |f| part!(f.groups).swap_counted = Some(false),
            "cgroups.swap",
            Warning,
            &["not counted"],
            &["swapaccount=1"],
        ),
        row(|f| part!(f.groups).swap = 0, "cgroups.swap", Well, &["none"], &[]),
        row(|f| part!(f.groups).kill = Some(false), "cgroups.kill", Note, &["5.14"], &[]),
    ]);
}

#[test]
fn privileges() {
    check(vec![
        row(
            |f| {
                f.caller.uid = 1000;
                f.caller.user = "ann".into();
            },
            "privileges.root",
            Note,
            &["ann (1000)"],
            &["sudo"],
        ),
        row(
            |f| part!(f.rights).bounding &= !(1 << 24),
            "privileges.capabilities",
            Warning,
            &["CAP_SYS_RESOURCE"],
            &["systemd-run", "CapabilityBoundingSet"],
        ),
        row(
            |f| {
                part!(f.rights).effective &= !(1 << 21);
                f.caller.container = Some("docker".into());
            },
            "privileges.capabilities",
            Error,
            &["CAP_SYS_ADMIN", "namespaces"],
            &["--cap-add SYS_ADMIN", "--privileged"],
        ),
        row(
            |f| part!(f.rights).files = (64, 64),
            "privileges.files",
            Error,
            &["64"],
            &["prlimit --pid 812 --nofile=65536:1048576"],
        ),
        row(
            |f| part!(f.rights).files = (1024, u64::MAX),
            "privileges.files",
            Warning,
            &["1024"],
            &["LimitNOFILE", "prlimit --pid 812 --nofile=65536: "],
        ),
        row(
            |f| {
                part!(f.rights).files = (1024, 4096);
                part!(f.rights).files_of = None;
            },
            "privileges.files",
            Note,
            &["of this process"],
            &["ulimit -n"],
        ),
        row(|f| part!(f.rights).selinux = Some(true), "privileges.lsm", Note, &["SELinux enforces"], &["ausearch"]),
        row(|f| part!(f.rights).apparmor = true, "privileges.lsm", Note, &["AppArmor"], &[]),
        row(|f| part!(f.rights).filtered = true, "privileges.surroundings", Note, &["seccomp"], &[]),
        row(
            |f| f.caller.container = Some("podman".into()),
            "privileges.surroundings",
            Note,
            &["podman", "volume"],
            &[],
        ),
    ]);
}
