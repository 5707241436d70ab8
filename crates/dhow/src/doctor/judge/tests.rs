//! What is broken in the facts comes out as the finding, in its state, with the command that mends it.

use super::super::facts::*;
use super::super::finding::{Finding, State};
use super::sample::well;
use std::net::IpAddr;

/// What one change to a machine that is well comes to.
struct Row {
    change: fn(&mut Facts),
    id: &'static str,
    state: State,
    /// Parts of what was seen, or why it matters.
    said: &'static [&'static str],
    /// Parts of the commands that mend it.
    mend: &'static [&'static str],
}

fn row(
    change: fn(&mut Facts),
    id: &'static str,
    state: State,
    said: &'static [&'static str],
    mend: &'static [&'static str],
) -> Row {
    Row { change, id, state, said, mend }
}

fn check(rows: Vec<Row>) {
    for Row { change, id, state, said, mend } in rows {
        let mut facts = well();
        change(&mut facts);
        let findings = super::all(&facts);
        let found: Vec<&Finding> = findings.iter().filter(|f| f.id == id).collect();
        assert_eq!(found.len(), 1, "{id} {said:?}: {findings:#?}");
        let f = found[0];
        assert_eq!(f.state, state, "{f:#?}");
        let text = format!("{} {}", f.seen, f.why);
        said.iter().for_each(|part| assert!(text.contains(part), "{part:?} not in {f:#?}"));
        let commands = f.mend.iter().map(|m| format!("{} {}\n", m.command, m.note)).collect::<String>();
        mend.iter().for_each(|part| assert!(commands.contains(part), "{part:?} not in {f:#?}"));
        // Who is told of a problem is told what to do, and why.
        if state >= State::Warning {
            assert!(!f.mend.is_empty() && !f.why.is_empty(), "{f:#?}");
        }
    }
}

macro_rules! part {
    ($facts:ident . $part:ident) => {
        $facts.$part.as_mut().unwrap()
    };
}

fn root(f: &mut Facts) -> &mut Room {
    f.disks[0].room.as_mut().unwrap()
}

use State::{Error, Note, Ok as Well, Warning};

#[test]
fn nothing_is_said_of_a_machine_on_which_all_is_well() {
    let bad: Vec<Finding> = super::all(&well()).into_iter().filter(|f| f.state != Well).collect();
    assert_eq!(bad, []);
}

#[test]
fn every_id_is_its_own() {
    let mut ids: Vec<String> = super::all(&well()).into_iter().map(|f| f.id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

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

#[test]
fn the_disk() {
    check(vec![
        row(
            |f| root(f).bytes = (1 << 20, 40 << 20),
            "disk.root-bytes",
            Error,
            &["of 41.9MB free (2 %)"],
            &["dhow system prune", "dhow image prune -a"],
        ),
        row(
            |f| root(f).bytes = (900 << 20, 100 << 30),
            "disk.root-bytes",
            Warning,
            &["may not fit"],
            &["dhow system df"],
        ),
        row(|f| root(f).bytes = (900 << 20, 1 << 30), "disk.root-bytes", Well, &[], &[]),
        row(
            |f| {
                root(f).bytes = (0, 8 << 20);
                root(f).kind = "tmpfs".into();
                root(f).mount = "/small".into();
            },
            "disk.root-bytes",
            Error,
            &[],
            &["mount -o remount,size=4g /small"],
        ),
        row(|f| root(f).inodes = (3, 1000), "disk.root-inodes", Error, &["3 of 1000"], &["prune"]),
        row(|f| root(f).inodes = (0, 0), "disk.root-inodes", Well, &["as needed"], &[]),
        row(
            |f| root(f).options = vec!["ro".into()],
            "disk.root-mount",
            Error,
            &["nothing can be stored"],
            &["mount -o remount,rw /"],
        ),
        row(
            |f| root(f).options = vec!["noexec".into(), "nodev".into()],
            "disk.root-mount",
            Warning,
            &["noexec", "volumes"],
            &["mount -o remount,exec,dev /", "/etc/fstab"],
        ),
        row(|f| root(f).options = vec!["nodev".into()], "disk.root-mount", Note, &["device nodes"], &["remount,dev"]),
        row(|f| root(f).kind = "nfs4".into(), "disk.root-kind", Error, &["nfs4"], &["dhow daemon --root"]),
        row(|f| root(f).kind = "overlay".into(), "disk.root-kind", Warning, &["memory"], &["--root"]),
        row(|f| root(f).kind = "tmpfs".into(), "disk.root-kind", Note, &["next boot"], &[]),
        row(
            |f| root(f).elsewhere = vec!["/var/lib/dhow/layers".into()],
            "disk.root-whole",
            Error,
            &["/var/lib/dhow/layers"],
            &["umount /var/lib/dhow/layers"],
        ),
        row(
            |f| f.disks[1].room.as_mut().unwrap().bytes = (4096, 1 << 20),
            "disk.state-bytes",
            Error,
            &[],
            &["mount -o remount,size=64m /run"],
        ),
        row(|f| f.disks[1].room.as_mut().unwrap().options = vec!["noexec".into()], "disk.state-mount", Well, &[], &[]),
        row(
            |f| f.disks[1].room.as_mut().unwrap().kind = "nfs".into(),
            "disk.state-kind",
            Error,
            &[],
            &["--state /run/dhow"],
        ),
    ]);
}

#[test]
fn the_store() {
    check(vec![
        row(|f| part!(f.store).made = false, "store.root", Well, &["not there yet"], &[]),
        row(|f| part!(f.store).mode = 0o40755, "store.root", Warning, &["0755"], &["chmod 700 /var/lib/dhow"]),
        row(|f| part!(f.store).schema = Some(Ok(2)), "store.database", Error, &["newer"], &["--version"]),
        row(
            |f| {
                part!(f.store).schema = Some(Err("no database".into()));
                part!(f.daemon).answer = Answer::Absent;
            },
            "store.database",
            Error,
            &["no database", "no daemon starts"],
            &["dhow system check --repair --root /var/lib/dhow"],
        ),
        row(
            |f| {
                part!(f.store).schema = None;
                part!(f.store).holder = None;
            },
            "store.database",
            Error,
            &["missing, with 7 layers"],
            &["--repair --root"],
        ),
        row(|f| part!(f.store).damaged = Ok(2), "store.damaged", Error, &["2 found"], &["dhow system check --repair "]),
        row(
            |f| {
                part!(f.store).damaged = Ok(1);
                part!(f.daemon).answer = Answer::Dead;
            },
            "store.damaged",
            Error,
            &[],
            &["dhow system check --repair --root /var/lib/dhow"],
        ),
        row(
            |f| {
                part!(f.store).leftovers = 3;
                part!(f.daemon).answer = Answer::Absent;
            },
            "store.leftovers",
            Note,
            &["3 entries"],
            &["dhow daemon"],
        ),
        row(
            |f| part!(f.daemon).answer = Answer::Absent,
            "store.holder",
            Note,
            &["process 812"],
            &["/proc/812/cmdline"],
        ),
    ]);
}

#[test]
fn the_network() {
    check(vec![
        row(
            |f| part!(f.network).forwarding = Some(false),
            "network.forwarding",
            Error,
            &["dhow0"],
            &["sysctl -w net.ipv4.ip_forward=1", "/etc/sysctl.d/"],
        ),
        row(
            |f| {
                part!(f.network).forwarding = Some(false);
                part!(f.network).bridges.clear();
            },
            "network.forwarding",
            Well,
            &["switches it on"],
            &[],
        ),
        row(|f| part!(f.network).loopback = false, "network.loopback", Warning, &["127.0.0.1"], &["ip link set lo up"]),
        row(
            |f| {
                part!(f.network).chains =
                    Ok(vec![Chain { table: "ip filter".into(), name: "FORWARD".into(), drops: true, lets: vec![] }]);
            },
            "network.firewall",
            Error,
            &["chain FORWARD of table ip filter"],
            &["iptables -I FORWARD -i dhow0 -j ACCEPT && iptables -I FORWARD -o dhow0 -j ACCEPT"],
        ),
        row(
            |f| {
                let chain =
                    |name: &str| Chain { table: "ip filter".into(), name: name.into(), drops: true, lets: vec![] };
                part!(f.network).chains = Ok(vec![chain("FORWARD"), chain("DOCKER-USER")]);
            },
            "network.firewall",
            Error,
            &[],
            &["iptables -I DOCKER-USER -i dhow0"],
        ),
        row(
            |f| {
                let lets = vec!["dhow0".into()];
                part!(f.network).chains =
                    Ok(vec![Chain { table: "inet x".into(), name: "fwd".into(), drops: true, lets }]);
            },
            "network.firewall",
            Well,
            &["1 chains"],
            &[],
        ),
        row(
            |f| {
                part!(f.network).chains = Ok(vec![Chain {
                    table: "inet firewalld".into(),
                    name: "filter_FORWARD".into(),
                    ..Chain::default()
                }]);
            },
            "network.firewall",
            Error,
            &["firewalld"],
            &["firewall-cmd --permanent --zone=trusted --add-interface=dhow0"],
        ),
        row(
            |f| {
                part!(f.network).chains =
                    Ok(vec![Chain { table: "inet own".into(), name: "fwd".into(), drops: true, lets: vec![] }]);
                part!(f.network).bridges.clear();
            },
            "network.firewall",
            Note,
            &["will reach nothing"],
            &["nft insert rule inet own fwd iifname dhow0 accept"],
        ),
        row(|f| part!(f.network).chains = Err(Unseen::Root), "network.firewall", Note, &["without root"], &["sudo"]),
        row(
            |f| part!(f.network).old_iptables = Some(true),
            "network.old-iptables",
            Note,
            &["filter"],
            &["iptables-legacy -S FORWARD"],
        ),
        row(
            |f| part!(f.network).routes.push(("172.17.8.0/24".into(), "tun0".into())),
            "network.addresses",
            Error,
            &["172.17.8.0/24 goes by tun0"],
            &["\"bip\": \"10.213.0.1/16\"", "ip link delete dhow0"],
        ),
        row(
            |f| {
                part!(f.network).bridges.clear();
                f.caller.bip = Some("192.168.1.1/25".into());
            },
            "network.addresses",
            Error,
            &["192.168.1.0/24"],
            &["bip"],
        ),
        row(
            |f| {
                part!(f.network).bridges.clear();
                part!(f.network).free = Err("all pools are taken".into());
            },
            "network.addresses",
            Error,
            &["all pools"],
            &["echo '{\"bip\""],
        ),
        row(
            |f| part!(f.network).way_out = Some(("wg0".into(), 1420)),
            "network.mtu",
            Warning,
            &["1420 on wg0"],
            &["\"mtu\": 1420", "ip link set dhow0 mtu 1420"],
        ),
        row(|f| part!(f.network).way_out = None, "network.mtu", Note, &["no default route"], &[]),
        row(
            |f| part!(f.network).nameservers = Ok(vec![IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()]),
            "network.dns",
            Warning,
            &["only 127.0.0.1, ::1", "8.8.8.8"],
            &["\"dns\": [\"ADDRESS\"]"],
        ),
        row(
            |f| {
                part!(f.network).nameservers = Ok(vec![IpAddr::from([127, 0, 0, 53])]);
                part!(f.network).resolved = true;
            },
            "network.dns",
            Well,
            &["systemd-resolved"],
            &[],
        ),
        row(
            |f| {
                part!(f.network).nameservers = Err("No such file".into());
                f.caller.config = Some("/etc/dhow/daemon.json".into());
            },
            "network.dns",
            Warning,
            &["No such file"],
            &["${EDITOR:-vi} /etc/dhow/daemon.json", "set \"dns\""],
        ),
        row(|f| f.caller.dns = vec!["10.0.0.1".into()], "network.dns", Well, &["configured"], &[]),
        row(|f| part!(f.network).localhost = false, "network.localhost", Note, &["/etc/hosts"], &[">> /etc/hosts"]),
        row(|f| part!(f.network).ipv6 = None, "network.ipv6", Well, &["kernel has none"], &[]),
        row(
            |f| {
                part!(f.network).bridge_filter = Some(true);
                let chain = Chain { table: "ip filter".into(), name: "FORWARD".into(), drops: true, lets: vec![] };
                part!(f.network).chains = Ok(vec![chain]);
            },
            "network.bridge-filter",
            Note,
            &[],
            &["bridge-nf-call-iptables=0"],
        ),
    ]);
}

fn unanswered(f: &mut Facts, answer: Answer, default: bool) {
    let d = part!(f.daemon);
    d.said = None;
    d.answer = answer;
    d.default = default;
    if !default {
        d.socket = Some("/x.sock".into());
    }
}

#[test]
fn the_daemon() {
    check(vec![
        row(|f| unanswered(f, Answer::Absent, true), "daemon.answer", Note, &["no daemon runs"], &["dhow daemon"]),
        row(
            |f| unanswered(f, Answer::Absent, false),
            "daemon.answer",
            Error,
            &["/x.sock"],
            &["unset DHOW_HOST DOCKER_HOST", "-H unix:///x.sock"],
        ),
        row(
            |f| unanswered(f, Answer::Dead, true),
            "daemon.answer",
            Warning,
            &["nobody listens"],
            &["rm /run/dhow.sock"],
        ),
        row(|f| unanswered(f, Answer::Dead, false), "daemon.answer", Error, &["nobody listens"], &["rm /x.sock"]),
        row(
            |f| unanswered(f, Answer::NoSocket, true),
            "daemon.answer",
            Error,
            &["is no socket"],
            &["mv /run/dhow.sock"],
        ),
        row(
            |f| unanswered(f, Answer::Silent, true),
            "daemon.answer",
            Error,
            &["nobody answers"],
            &["kill -CONT 812", "kill -9 812"],
        ),
        row(
            |f| {
                unanswered(f, Answer::Failed("odd".into()), true);
                part!(f.daemon).socket = None;
                f.caller.host = "tcp://far".into();
            },
            "daemon.answer",
            Error,
            &["tcp://far"],
            &["dhow -H unix:///run/dhow.sock ps", "unset DHOW_HOST DOCKER_HOST"],
        ),
        row(|f| unanswered(f, Answer::Failed("odd".into()), true), "daemon.answer", Error, &["odd"], &["ls -l"]),
        row(
            |f| {
                unanswered(f, Answer::Forbidden, true);
                f.caller.user = "ann".into();
                part!(f.daemon).node = Some(Node { mode: 0o660, uid: 0, group: "docker".into(), members: vec![] });
            },
            "daemon.answer",
            Error,
            &["ann may not"],
            &["usermod -aG docker ann", "are root"],
        ),
        row(
            |f| {
                unanswered(f, Answer::Forbidden, true);
                f.caller.user = "ann".into();
            },
            "daemon.answer",
            Error,
            &[],
            &["groupadd docker && usermod -aG docker ann"],
        ),
        row(
            |f| f.caller.config_error = Some("rooot: unknown".into()),
            "daemon.config",
            Error,
            &["rooot"],
            &["/etc/dhow/daemon.json"],
        ),
        row(
            |f| part!(f.daemon).client_version = "0.2.0".into(),
            "daemon.version",
            Warning,
            &["0.1.0", "0.2.0"],
            &["kill 812 && dhow daemon"],
        ),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().product = "Docker Engine".into(),
            "daemon.version",
            Note,
            &["another engine"],
            &["unset DHOW_HOST DOCKER_HOST"],
        ),
        row(
            |f| part!(f.daemon).node.as_mut().unwrap().mode = 0o666,
            "daemon.socket",
            Error,
            &["0666", "become root"],
            &["chmod 660 /run/dhow.sock"],
        ),
        row(|f| part!(f.daemon).node.as_mut().unwrap().uid = 5, "daemon.socket", Warning, &[], &["chown root"]),
        row(
            |f| {
                let node = part!(f.daemon).node.as_mut().unwrap();
                node.group = "docker".into();
                node.members = vec!["ann".into(), "bob".into()];
            },
            "daemon.socket",
            Note,
            &["ann, bob", "root on this machine"],
            &["gpasswd -d USER docker"],
        ),
        row(
            |f| part!(f.daemon).peer.as_mut().unwrap().replaced = true,
            "daemon.process",
            Warning,
            &["replaced"],
            &["kill 812"],
        ),
        row(
            |f| part!(f.daemon).peer.as_mut().unwrap().other_network = true,
            "daemon.surroundings",
            Note,
            &["another network"],
            &["nsenter -t 812 -n dhow doctor"],
        ),
        row(|f| f.caller.now = 1000, "daemon.clock", Error, &["1970"], &["timedatectl set-ntp true"]),
        row(|f| part!(f.daemon).newest = Some(1_795_900_000), "daemon.clock", Warning, &["future"], &["timedatectl"]),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().time = Some(1_795_000_100),
            "daemon.clock",
            Note,
            &["100 seconds off"],
            &[],
        ),
        row(
            |f| part!(f.daemon).shims = Ok((2, vec![("abc".into(), Shim::Gone)])),
            "daemon.shims",
            Error,
            &["abc"],
            &["dhow rm -f abc"],
        ),
        row(
            |f| part!(f.daemon).shims = Ok((2, vec![("abc".into(), Shim::Older)])),
            "daemon.shims",
            Note,
            &["older"],
            &["dhow restart abc"],
        ),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().warnings = vec!["No swap limit support".into()],
            "daemon.warning",
            Note,
            &["No swap limit"],
            &[],
        ),
    ]);
}

#[test]
fn other_clients() {
    check(vec![
        row(
            |f| part!(f.clients).docker = None,
            "clients.docker",
            Note,
            &["not installed"],
            &["apt-get install -y docker-cli"],
        ),
        row(|f| part!(f.clients).is_podman = true, "clients.docker", Note, &["podman"], &["dhow ps"]),
        row(
            |f| part!(f.clients).docker_host = Some("unix:///other.sock".into()),
            "clients.reach",
            Warning,
            &["unix:///other.sock, by DOCKER_HOST"],
            &["export DOCKER_HOST=unix:///run/dhow.sock", "~/.profile"],
        ),
        row(
            |f| part!(f.clients).docker_host = Some("tcp://far:2375".into()),
            "clients.host",
            Error,
            &["tcp://far:2375"],
            &["export DHOW_HOST=unix:///run/dhow.sock"],
        ),
        row(
            |f| part!(f.clients).dhow_host = Some("ssh://far".into()),
            "clients.host",
            Error,
            &["ssh://far"],
            &["unset DHOW_HOST"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).context = Some(("far".into(), Some("ssh://far".into())));
            },
            "clients.reach",
            Warning,
            &["ssh://far, by the context far"],
            &["docker context create dhow --docker host=unix:///run/dhow.sock && docker context use dhow"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).context = Some(("lost".into(), None));
                part!(f.clients).context_by_variable = true;
            },
            "clients.reach",
            Warning,
            &["does not exist"],
            &["unset DOCKER_CONTEXT"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::By("dockerd".into(), 77);
            },
            "clients.reach",
            Note,
            &["dockerd (process 77)"],
            &["export DOCKER_HOST="],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::Absent;
            },
            "clients.reach",
            Note,
            &["not there"],
            &["dhow daemon -H unix:///run/dhow.sock -H unix:///var/run/docker.sock"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::Same;
            },
            "clients.reach",
            Well,
            &["dhow, by /var/run/docker.sock"],
            &[],
        ),
        row(
            |f| part!(f.clients).podman_socket = Other::By("podman".into(), 9),
            "clients.others",
            Note,
            &["podman (process 9)"],
            &[],
        ),
        row(
            |f| part!(f.clients).config_error = Some("bad".into()),
            "clients.config",
            Warning,
            &["bad"],
            &["config.json"],
        ),
    ]);
}

#[test]
fn what_only_root_sees_is_said_so() {
    let mut facts = well();
    facts.caller.uid = 1000;
    facts.store = Err(Unseen::Root);
    part!(facts.kernel).overlay = Err(Unseen::Root);
    part!(facts.network).chains = Err(Unseen::Root);
    part!(facts.daemon).shims = Err(Unseen::Root);
    let findings = super::all(&facts);
    assert!(findings.iter().all(|f| f.state <= Note), "{findings:#?}");
    let unseen = findings.iter().filter(|f| f.seen == "not seen without root").count();
    assert_eq!(unseen, 4);
}

#[test]
fn what_hangs_is_named() {
    let mut facts = well();
    facts.disks[0].room = Err(Unseen::Late);
    let findings = super::all(&facts);
    let f = findings.iter().find(|f| f.state == Warning).unwrap();
    assert!(f.name.contains("/var/lib/dhow") && f.why.contains("network file system"), "{f:#?}");
}
