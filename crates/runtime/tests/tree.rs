//! The container's tree: mounts with their options, devices, hidden paths, namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::{Bench, done};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn bind_mounts_with_their_options() {
    let mut b = Bench::new("bind");
    let vol = b.path("vol");
    std::fs::create_dir_all(vol.join("sub")).unwrap();
    std::fs::write(vol.join("f"), "file\n").unwrap();
    let v = vol.to_str().unwrap().to_owned();
    b.mount("/rw", "bind", &v, &["bind"]);
    b.mount("/ro", "bind", &v, &["rbind", "ro", "nosuid"]);
    b.mount("/rec", "bind", &v, &["rbind", "rro", "rnoexec"]);
    b.mount("/etc/one", "bind", &format!("{v}/f"), &["bind", "ro"]);
    b.mount("/rel", "bind", "vol", &["bind", "rprivate", "noatime"]);
    let out = b
        .ok("echo x >/rw/new && cat /ro/new /etc/one; touch /ro/y 2>&1; touch /rec/y 2>&1; echo x 2>&1 >/etc/one; \
         grep -E ' /(ro|rec|rel) ' /proc/self/mountinfo | cut -d' ' -f5,6");
    assert!(out.starts_with("x\nfile\n"), "{out}");
    assert_eq!(out.matches("Read-only file system").count(), 3, "{out}");
    let line = |p: &str| out.lines().find(|l| l.starts_with(p)).unwrap_or_default().to_owned();
    assert!(line("/ro ").contains("ro,nosuid"), "{out}");
    assert!(line("/rec ").contains("noexec"), "{out}");
    assert!(line("/rel ").contains("noatime"), "{out}");
    assert_eq!(std::fs::read_to_string(vol.join("new")).unwrap(), "x\n");
}

/// A read-only tree covers what is mounted below; plain `ro` is of the top mount, as in runc.
#[test]
fn recursive_read_only_covers_submounts() {
    let mut b = Bench::new("rro");
    let script = "mount -t tmpfs t vol/sub && exec \"$0\" --root state run \"$1\"";
    std::fs::create_dir_all(b.path("vol/sub")).unwrap();
    for (option, want) in [("rro", "denied\n"), ("ro", "written\n")] {
        b.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/v");
        b.mount("/v", "bind", "vol", &["rbind", option]);
        b.sh("touch /v/sub/x 2>/dev/null && echo written || echo denied").write();
        let run = std::process::Command::new("unshare")
            .args(["-m", "/bin/sh", "-c", script])
            .arg(common::runtime())
            .arg(b.fresh())
            .current_dir(&b.dir)
            .output()
            .unwrap();
        assert_eq!(done(run).out, want, "{option}");
    }
}

#[test]
fn file_systems_take_their_data() {
    let mut b = Bench::new("fs");
    std::fs::create_dir(b.root("old")).unwrap();
    std::fs::set_permissions(b.root("old"), PermissionsExt::from_mode(0o1731)).unwrap();
    std::fs::write(b.root("old/f"), "image\n").unwrap();
    std::fs::create_dir_all(b.root("cp/d")).unwrap();
    std::fs::write(b.root("cp/d/f"), "copied\n").unwrap();
    b.mount("/t", "tmpfs", "tmpfs", &["size=64k", "mode=700", "noexec"]);
    b.mount("/new", "tmpfs", "tmpfs", &[]);
    b.mount("/old", "tmpfs", "tmpfs", &[]);
    b.mount("/cp", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    let out = b.ok("stat -c %a /t /new /old; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2; ls /old; cat /cp/d/f; touch /cp/x 2>&1; true");
    assert!(out.starts_with("700\n1777\n1731\n64\ncopied\n"), "{out}");
    assert!(out.contains("Read-only"), "{out}");
    b.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/t");
    b.mount("/t", "tmpfs", "tmpfs", &["bogus=1"]);
    let bad = b.run();
    assert!(bad.code == 1 && bad.err.contains("mount /t: tmpfs: bogus"), "{bad:?}");
    b.spec["mounts"].as_array_mut().unwrap().pop();
    b.mount("/t", "nosuchfs", "x", &[]);
    assert!(b.run().err.contains("this kernel has no file system \"nosuchfs\""));
    b.spec["mounts"].as_array_mut().unwrap().pop();
    b.mount("/t", "bind", "/nosuch/source", &["bind"]);
    assert!(b.run().err.contains("source /nosuch/source: no such file or directory"));
}

#[test]
fn the_root_can_be_read_only_and_the_working_directory_is_made() {
    let mut b = Bench::new("ro");
    b.spec["root"]["readonly"] = json!(true);
    b.spec["process"]["cwd"] = json!("/made/deep");
    let out = b.ok("pwd; touch /x 2>&1; touch /dev/shm/x && echo fine");
    assert!(out.starts_with("/made/deep\n") && out.contains("Read-only") && out.ends_with("fine\n"), "{out}");
}

#[test]
fn devices_links_and_masks() {
    let mut b = Bench::new("dev");
    b.spec["linux"]["devices"] = json!([
        {"type": "c", "path": "/dev/net/tun", "major": 10, "minor": 200, "fileMode": 0o600, "uid": 3, "gid": 4},
        {"type": "p", "path": "/dev/pipe"},
    ]);
    let out = b.ok("stat -c '%n %F %a %t:%T' /dev/null /dev/tty; stat -c '%F %a %u:%g %t:%T' /dev/net/tun /dev/pipe; \
         readlink /dev/fd; readlink /dev/ptmx; echo x >/dev/null; head -c 3 /dev/zero | wc -c; cat /proc/keys | wc -c; \
         ls -A /proc/acpi; ls -A /sys/firmware; echo x 2>&1 >/proc/sys/kernel/core_pattern; true");
    assert!(out.contains("/dev/null character special file 666 1:3\n"), "{out}");
    assert!(out.contains("character special file 600 3:4 a:c8\nfifo 666 0:0 0:0\n"), "{out}");
    assert!(out.contains("/proc/self/fd\npts/ptmx\n3\n0\nsh: "), "nothing but the complaint follows: {out}");
    assert_eq!(out.matches("Read-only").count(), 1, "{out}");
}

#[test]
fn namespaces_are_new_or_joined_by_path() {
    let mut b = Bench::new("ns");
    let ns = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    let holder = b.detached("sleep 1000");
    let pid = b.pid(&holder);
    let of = |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string();
    let mut other = Bench::new("ns2");
    for (kind, file) in [("network", "net"), ("uts", "uts"), ("ipc", "ipc"), ("pid", "pid"), ("cgroup", "cgroup")] {
        other.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    let show = "for n in net uts ipc pid cgroup mnt; do readlink /proc/self/ns/$n; done; echo $$";
    other.spec.as_object_mut().unwrap().remove("hostname");
    let joined: Vec<String> = other.ok(show).lines().map(str::to_owned).collect();
    for (at, kind) in ["net", "uts", "ipc", "pid", "cgroup"].into_iter().enumerate() {
        assert_eq!(joined[at], of(kind), "{kind}");
    }
    assert_ne!(joined[5], of("mnt"));
    assert_ne!(joined[6], "1", "it is not the first process of the joined pid namespace");
    // Shared with the host where the document does not name them.
    let mut host = Bench::new("ns3");
    for kind in ["network", "uts", "ipc", "pid", "cgroup"] {
        host.namespace(kind, None);
    }
    host.spec.as_object_mut().unwrap().remove("hostname");
    host.spec["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "mqueue");
    let shared: Vec<String> = host.ok(show).lines().map(str::to_owned).collect();
    for (at, kind) in ["net", "uts", "ipc", "pid", "cgroup"].into_iter().enumerate() {
        assert_eq!(shared[at], ns(kind), "{kind}");
    }
    other.namespace("network", Some("/nosuch/ns"));
    assert!(other.run().err.contains("Network namespace /nosuch/ns: no such file"));
    other.namespace("network", Some("/proc/self/ns/uts"));
    assert!(other.run().err.contains("join the Network namespace"), "a namespace of another kind is refused");
}

#[test]
fn user_namespaces_map_ids_and_bind_private_sources() {
    let mut b = Bench::new("userns");
    b.namespace("user", Some(""));
    b.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 200000, "size": 65536}]);
    b.spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 300000, "size": 65536}]);
    let secret = b.path("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("f"), "for it\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&b.dir, PermissionsExt::from_mode(0o700)).unwrap();
    // Its root may not make anything in a tree that belongs to the host's root.
    for point in ["s", "idmapped"] {
        std::fs::create_dir(b.root(point)).unwrap();
    }
    b.mount("/s", "bind", secret.to_str().unwrap(), &["bind", "ro"]);
    b.mount("/idmapped", "bind", secret.to_str().unwrap(), &["bind", "idmap"]);
    let out = b.ok("id -u; cat /proc/self/uid_map | tr -s ' '; cat /s/f; stat -c %u /s/f /idmapped/f; stat -c %t:%T /dev/null; echo x >/dev/null && echo null; cat /proc/keys | wc -c");
    assert_eq!(out, "0\n 0 200000 65536\nfor it\n65534\n0\n1:3\nnull\n0\n", "{out}");
    // The container's root is nobody on the host.
    std::fs::set_permissions(b.root("tmp"), PermissionsExt::from_mode(0o777)).unwrap();
    b.ok("touch /tmp/mine");
    assert_eq!(std::fs::metadata(b.root("tmp/mine")).unwrap().uid(), 200000);
    // exec joins it too.
    let id = b.detached("sleep 1000");
    let exec = b.oci(&["exec", "--user", "5", &id, "sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '"]);
    assert_eq!(exec.out, "5\n 0 200000 65536\n", "{exec:?}");
}

#[test]
fn id_mapped_mounts_without_a_user_namespace() {
    let mut b = Bench::new("idmap");
    std::fs::create_dir(b.path("v")).unwrap();
    std::fs::write(b.path("v/f"), "").unwrap();
    std::os::unix::fs::chown(b.path("v/f"), Some(7), Some(8)).unwrap();
    b.mount("/v", "bind", "v", &["bind"]);
    let at = b.spec["mounts"].as_array().unwrap().len() - 1;
    b.spec["mounts"][at]["uidMappings"] = json!([{"containerID": 7, "hostID": 1007, "size": 1}]);
    b.spec["mounts"][at]["gidMappings"] = json!([{"containerID": 8, "hostID": 1008, "size": 1}]);
    assert_eq!(b.ok("stat -c %u:%g /v/f"), "1007:1008\n");
}

#[test]
fn time_namespaces_have_their_offsets() {
    let mut b = Bench::new("time");
    b.namespace("time", Some(""));
    b.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000_000}});
    let uptime: f64 = b.ok("cat /proc/uptime").split_whitespace().next().unwrap().parse().unwrap();
    assert!(uptime > 1e9, "{uptime}");
    let id = b.detached("sleep 1000");
    let inside: f64 =
        b.oci(&["exec", &id, "cat", "/proc/uptime"]).out.split_whitespace().next().unwrap().parse().unwrap();
    assert!(inside > 1e9, "{inside}");
}

#[test]
fn sysctls_of_own_namespaces() {
    let mut b = Bench::new("sysctl");
    b.spec["linux"]["sysctl"] = json!({"kernel.shmmax": "4096", "net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "11"});
    assert_eq!(
        b.ok("cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_forward /proc/sys/fs/mqueue/msg_max"),
        "4096\n1\n11\n"
    );
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/shmmax").unwrap(), "4096\n");
}

#[test]
fn propagation_of_the_root() {
    let mut b = Bench::new("prop");
    for (word, want) in [("private", ""), ("shared", "shared:"), ("rslave", "")] {
        b.spec["linux"]["rootfsPropagation"] = json!(word);
        let out = b.ok("grep -E '^[^ ]+ [^ ]+ [^ ]+ [^ ]+ / ' /proc/self/mountinfo");
        assert_eq!(out.contains("shared:"), !want.is_empty(), "{word}: {out}");
    }
    // Nothing of a container appears on the host.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("dhow-rt-prop"), "{mounts}");
}

/// Mount points in an image are often links; they are followed as the container would.
#[test]
fn mount_points_over_links_stay_in_the_root() {
    let mut b = Bench::new("links");
    std::fs::create_dir_all(b.root("run")).unwrap();
    std::fs::create_dir_all(b.root("var")).unwrap();
    symlink("/run", b.root("var/run")).unwrap();
    symlink("../run/resolve/stub.conf", b.root("etc/resolv.conf")).unwrap();
    std::fs::write(b.path("resolv"), "nameserver x\n").unwrap();
    b.mount("/var/run/x", "tmpfs", "tmpfs", &[]);
    b.mount("/etc/resolv.conf", "bind", "resolv", &["bind"]);
    assert_eq!(b.ok("cat /etc/resolv.conf; grep -c ' /run/x ' /proc/self/mountinfo"), "nameserver x\n1\n");
}
