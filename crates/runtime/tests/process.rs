//! What a container's process is: identity, limits, capabilities, environment, program, exit code.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::Bench;
use serde_json::json;

#[test]
fn a_program_runs_as_the_document_says_and_its_code_comes_back() {
    let mut b = Bench::new("run");
    assert_eq!(b.ok("id -u; hostname; pwd; echo $$; umask"), "0\nbox\n/\n1\n0022\n");
    b.sh("exit 7");
    assert_eq!(b.run().code, 7);
    b.sh("sh -c 'kill -9 $$'; exit $?");
    assert_eq!(b.run().code, 128 + 9);
    assert!(!b.path("state").join("x").exists());
    assert_eq!(std::fs::read_dir(b.path("state")).unwrap().count(), 0, "nothing is left of a container that ended");
}

#[test]
fn docker_words_for_programs_that_cannot_run() {
    let mut b = Bench::new("missing");
    std::fs::write(b.root("bin/noexec"), "#!/bin/sh\n").unwrap();
    script(&b, "nointerp", b"#!/opt/none -x\n");
    script(&b, "text", b"just text\n");
    let mut arm = vec![0u8; 64];
    arm[..6].copy_from_slice(b"\x7fELF\x02\x01");
    arm[18] = 183;
    script(&b, "foreign", &arm);
    for (program, code, text) in [
        ("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"),
        ("/bin/nosuch", 127, "exec: \"/bin/nosuch\": stat /bin/nosuch: no such file or directory"),
        ("/bin/noexec", 126, "exec: \"/bin/noexec\": permission denied"),
        ("noexec", 126, "exec: \"noexec\": permission denied"),
        ("/bin", 126, "exec: \"/bin\": is a directory"),
        ("/bin/nointerp", 127, "no such file or directory: its interpreter \"/opt/none\" is not in the container"),
        ("/bin/text", 126, "exec format error: it is no ELF program, and has no #! line"),
        ("/bin/foreign", 126, "exec format error: it is built for arm64, this machine is amd64"),
        ("", 127, "executable file not found in $PATH"),
    ] {
        b.args(&[program]);
        let done = b.run();
        assert_eq!(done.code, code, "{program}: {done:?}");
        assert!(done.err.contains(text), "{program}: {done:?}");
        assert_eq!(std::fs::read_dir(b.path("state")).map_or(0, |d| d.count()), 0, "{program}: state is left");
    }
}

fn script(b: &Bench, name: &str, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let path = b.root("bin").join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// grp-matrix: the caller's groups never come along, the document's are all there.
#[test]
fn users_and_groups() {
    let mut b = Bench::new("user");
    for (user, want) in [
        (json!({"uid": 0, "gid": 0}), "uid=0(root) gid=0"),
        (json!({"uid": 1000, "gid": 1000}), "uid=1000(u) gid=1000"),
        (json!({"uid": 1000, "gid": 7, "additionalGids": [8, 9]}), "uid=1000(u) gid=7 groups=8,9"),
        (json!({"uid": 5, "gid": 0, "additionalGids": [0]}), "uid=5 gid=0 groups=0"),
    ] {
        b.spec["process"]["user"] = user.clone();
        let out = b.ok("id; cat /proc/self/status");
        let id = out.lines().next().unwrap();
        let ids = |n: &str| out.lines().find_map(|l| l.strip_prefix(n)).unwrap().split_whitespace().collect::<Vec<_>>();
        assert!(id.starts_with(want.split(" groups").next().unwrap()), "{user}: {id}");
        let groups: Vec<String> =
            user["additionalGids"].as_array().map_or(vec![], |g| g.iter().map(|n| n.to_string()).collect());
        assert_eq!(ids("Groups:"), groups, "{user}");
        let uid = user["uid"].to_string();
        assert!(ids("Uid:").iter().all(|u| *u == uid), "{user}");
    }
}

/// esc-inh-caps and esc-ambient-caps: nothing inheritable or ambient unless the document says so, and a user who is
/// not root has nothing effective after its program starts.
#[test]
fn esc_inh_caps_and_ambient_caps() {
    let mut b = Bench::new("caps");
    let caps = |b: &mut Bench| {
        let out = b.ok("grep ^Cap /proc/self/status");
        out.lines().map(|l| u64::from_str_radix(l.split_whitespace().nth(1).unwrap(), 16).unwrap()).collect::<Vec<_>>()
    };
    let docker = 0xa804_25fb;
    assert_eq!(caps(&mut b), [0, docker, docker, docker, 0]);
    b.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert_eq!(caps(&mut b), [0, 0, 0, docker, 0]);
    // The lawful twin: ambient capabilities that are asked for work.
    let one = json!(["CAP_NET_BIND_SERVICE"]);
    b.spec["process"]["capabilities"] =
        json!({"bounding": one, "effective": one, "permitted": one, "inheritable": one, "ambient": one});
    assert_eq!(caps(&mut b), [1 << 10; 5]);
    b.spec["process"].as_object_mut().unwrap().remove("capabilities");
    assert_eq!(caps(&mut b), [0; 5]);
}

#[test]
fn what_the_runtime_does_not_have_is_clamped_and_said() {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap().trim().to_owned();
    let lacks_resource = u64::from_str_radix(&own, 16).unwrap() & (1 << 24) == 0;
    let mut b = Bench::new("clamp");
    let list = json!(["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_BOGUS"]);
    b.spec["process"]["capabilities"] = json!({"bounding": list, "effective": list, "permitted": list});
    b.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": 1u64 << 30, "soft": 512}, {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]);
    b.spec["process"]["oomScoreAdj"] = json!(-500);
    b.sh("grep CapEff /proc/self/status; ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
    let done = b.run();
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("unknown capabilities are left out: CAP_BOGUS"), "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!((lines[1], lines[2]), ("512", "0"));
    if lacks_resource {
        assert!(done.err.contains("does not have them: CAP_SYS_RESOURCE"), "{done:?}");
        assert!(done.err.contains("RLIMIT_NOFILE") && done.err.contains("clamped"), "{done:?}");
        assert!(done.err.contains("oomScoreAdj -500 is below"), "{done:?}");
        assert_eq!(lines[0].split_whitespace().nth(1), Some("0000000000000001"));
    }
    // The lawful twin: what may be raised is raised.
    b.spec["process"]["oomScoreAdj"] = json!(300);
    b.sh("cat /proc/self/oom_score_adj");
    assert_eq!(b.run().out, "300\n");
}

#[test]
fn umask_nnp_home_and_environment() {
    let mut b = Bench::new("env");
    b.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "umask": 0o77});
    b.spec["process"]["noNewPrivileges"] = json!(true);
    b.spec["process"]["env"] = json!(["PATH=/bin", "A=1", "A=2"]);
    assert_eq!(
        b.ok("umask; grep NoNewPrivs /proc/self/status; echo $HOME $A; env | wc -l"),
        "0077\nNoNewPrivs:\t1\n/home/u 2\n5\n"
    );
    b.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/x"]);
    b.spec["process"]["noNewPrivileges"] = json!(false);
    assert_eq!(b.ok("echo $HOME; grep NoNewPrivs /proc/self/status"), "/x\nNoNewPrivs:\t0\n");
}

/// dos-passwd: the file that HOME comes from belongs to the image.
#[test]
fn dos_passwd() {
    let mut b = Bench::new("passwd");
    let passwd = b.root("etc/passwd");
    std::fs::remove_file(&passwd).unwrap();
    std::fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(b.ok("echo $HOME"), "/\n");
    std::fs::remove_file(&passwd).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&passwd).status().unwrap().success());
    assert_eq!(b.ok("echo $HOME"), "/\n");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/proc/self/fd/0", &passwd).unwrap();
    assert_eq!(b.ok("echo $HOME"), "/\n");
    std::fs::remove_file(&passwd).unwrap();
    std::fs::write(b.root("etc/real"), "root:x:0:0::/r:\n").unwrap();
    std::os::unix::fs::symlink("/etc/real", &passwd).unwrap();
    assert_eq!(b.ok("echo $HOME"), "/r\n");
}

#[test]
fn seccomp_filters_act() {
    let mut b = Bench::new("seccomp");
    let deny = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]});
    for nnp in [true, false] {
        b.spec["linux"]["seccomp"] = deny.clone();
        b.spec["process"]["noNewPrivileges"] = json!(nnp);
        let out = b.ok("mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status; grep CapPrm /proc/self/status");
        assert!(out.contains("Read-only file system"), "{out}");
        assert!(out.contains("Seccomp:\t2"), "{out}");
        assert!(out.contains("00000000a80425fb"), "CAP_SYS_ADMIN was only for the filter: {out}");
    }
    let kill = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    b.spec["linux"]["seccomp"] = kill;
    assert_eq!(b.run().code, 128 + 31);
}

#[test]
fn scheduling_personality_and_priorities() {
    let mut b = Bench::new("sched");
    b.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    b.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 7});
    b.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    let out = b.ok("cat /proc/self/stat; uname -m");
    // Field 41 of stat is the policy.
    assert_eq!(out.lines().next().unwrap().split_whitespace().nth(40), Some("3"), "{out}");
    assert_eq!(out.lines().nth(1), Some("i686"));
}

#[test]
fn ignored_and_blocked_signals_do_not_leak() {
    let mut b = Bench::new("signals");
    // No shell between: it would set its own.
    b.args(&["grep", "Sig[BI]", "/proc/self/status"]);
    let out = b.run().out;
    assert_eq!(out.lines().count(), 2, "{out}");
    for line in out.lines() {
        let bits = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(bits, 0, "{line}");
    }
}
