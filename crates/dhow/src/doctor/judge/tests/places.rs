//! Disk, store, network.

use super::super::super::facts::*;
use super::super::super::finding::State::{Error, Note, Ok as Well, Warning};
use super::{check, root, row};
use std::net::IpAddr;

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
            &["mount -o remount,size=4096m /small"],
        ),
        row(|f| root(f).inodes = (3, 1000), "disk.root-inodes", Error, &["3 of 1000"], &["prune"]),
        row(
            |f| {
                root(f).inodes = (3, 100_000);
                root(f).kind = "tmpfs".into();
                root(f).mount = "/small".into();
            },
            "disk.root-inodes",
            Error,
            &[],
            &["mount -o remount,nr_inodes=200000 /small"],
        ),
        row(
            |f| {
                root(f).bytes = (0, 6 << 30);
                root(f).kind = "tmpfs".into();
                root(f).mount = "/large".into();
            },
            "disk.root-bytes",
            Error,
            &[],
            &["mount -o remount,size=12288m /large"],
        ),
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
        row(
            |f| {
                root(f).options = vec!["ro".into()];
                root(f).mount = "/my disk".into();
            },
            "disk.root-mount",
            Error,
            &["/my disk"],
            &["mount -o remount,rw '/my disk'"],
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
            &["\"bip\": \"172.18.0.1/16\"", "ip link delete dhow0"],
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
