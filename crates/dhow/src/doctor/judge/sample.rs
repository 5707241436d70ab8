//! A machine on which everything is well, for tables of what is not.

use super::super::facts::*;

/// Everything is well: root, a daemon that answers, docker speaks to it.
pub fn well() -> Facts {
    let ok = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), Ok(()))).collect();
    let kinds = ["mnt", "uts", "ipc", "pid", "net", "cgroup"];
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let room = |kind: &str, mount: &str| Room {
        exists: mount.into(),
        bytes: (40 << 30, 100 << 30),
        inodes: (1 << 20, 2 << 20),
        kind: kind.into(),
        mount: mount.into(),
        ..Room::default()
    };
    Facts {
        caller: Caller {
            user: "root".into(),
            packager: "apt-get".into(),
            systemd: true,
            root: "/var/lib/dhow".into(),
            state: "/run/dhow".into(),
            host: "unix:///run/dhow.sock".into(),
            context: "default".into(),
            now: 1_795_000_000,
            ..Caller::default()
        },
        kernel: Ok(Kernel {
            release: "6.1.0-30-amd64".into(),
            calls: ok(&["clone3", "openat2"]),
            namespaces: kinds.iter().map(|k| ((*k).to_owned(), Ok(Ok(())))).collect(),
            namespace_limits: kinds.iter().chain(&["user"]).map(|k| ((*k).to_owned(), 15_000)).collect(),
            seccomp: words(&["kill_process", "errno", "allow"]),
            overlay: Ok(Ok(())),
            dirent_types: Some(true),
            network: Ok(Ok(())),
            fuse: true,
            keys: Some((8, 1_000_000)),
            pids: Some((4_194_304, 300)),
        }),
        groups: Ok(Groups {
            mode: "v2".into(),
            controllers: words(&["cpu", "cpuset", "io", "memory", "pids"]),
            handed_down: Some(words(&["cpu", "cpuset", "io", "memory", "pids"])),
            own: "/system.slice/dhow.service".into(),
            mount: "/sys/fs/cgroup".into(),
            kill: Some(true),
            swap: 1 << 30,
            swap_counted: Some(true),
            ..Groups::default()
        }),
        rights: Ok(Rights {
            effective: u64::MAX,
            bounding: u64::MAX,
            files_of: Some(812),
            files: (65_536, 1_048_576),
            modules: Some(words(&["capability", "yama"])),
            ..Rights::default()
        }),
        disks: vec![
            Disk { what: "root".into(), path: "/var/lib/dhow".into(), room: Ok(room("ext4", "/")) },
            Disk { what: "state".into(), path: "/run/dhow".into(), room: Ok(room("tmpfs", "/run")) },
        ],
        store: Ok(Store {
            made: true,
            mode: 0o700,
            owner: 0,
            schema: Some(Ok(1)),
            known: 1,
            layers: 7,
            damaged: Ok(0),
            leftovers: 0,
            holder: Some(812),
        }),
        network: Ok(Network {
            forwarding: Some(true),
            bridge_filter: None,
            loopback: true,
            bridges: vec![Bridge { name: "dhow0".into(), mtu: 1500, up: true, subnet: Some("172.17.0.0/16".into()) }],
            way_out: Some(("eth0".into(), 1500)),
            routes: vec![
                ("0.0.0.0/0".into(), "eth0".into()),
                ("192.168.1.0/24".into(), "eth0".into()),
                ("172.17.0.0/16".into(), "dhow0".into()),
            ],
            free: Ok("172.18.0.0/16".into()),
            chains: Ok(Vec::new()),
            old_iptables: Some(false),
            nameservers: Ok(vec![[192, 168, 1, 1].into()]),
            resolved: false,
            localhost: true,
            ipv6: Some(true),
        }),
        daemon: Ok(Daemon {
            socket: Some("/run/dhow.sock".into()),
            default: true,
            answer: Answer::Well,
            node: Some(Node { mode: 0o660, uid: 0, group: "root".into(), members: Vec::new() }),
            peer: Some(Peer {
                pid: 812,
                name: "dhow".into(),
                words: ["dhow", "daemon", "--root", "/a b"].map(str::to_owned).to_vec(),
                age: Some(3600),
                ..Peer::default()
            }),
            client_version: "0.1.0".into(),
            said: Some(Said {
                product: "dhow".into(),
                version: "0.1.0".into(),
                time: Some(1_795_000_001),
                root: "/var/lib/dhow".into(),
                running: 2,
                warnings: Vec::new(),
            }),
            shims: Ok((2, Vec::new())),
            newest: Some(1_794_999_000),
        }),
        clients: Ok(Clients {
            docker: Some(("/usr/bin/docker".into(), "28.2.2".into())),
            plugins: vec![("compose".into(), "2.36.0".into())],
            docker_host: Some("unix:///run/dhow.sock".into()),
            ..Clients::default()
        }),
    }
}
