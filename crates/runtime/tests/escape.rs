//! Attacks on the runtime that worked on others, each with its lawful twin: paths (R1), procfs (R2), the binary (R4).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::{Bench, done, listing, until};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many starts a race is given.
const RACES: usize = 100;

/// A directory on the host that nobody may touch.
fn canary(b: &Bench) -> (PathBuf, Vec<String>) {
    let dir = b.path("canary");
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::fs::write(dir.join("secret"), "host-secret\n").unwrap();
    let before = listing(&dir);
    (dir, before)
}

fn untouched(dir: &Path, before: &[String]) {
    assert_eq!(listing(dir), before);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "something was mounted on the host: {mounts}");
}

/// Exchanges `a` and `b` until it is dropped.
struct Racer<'a> {
    stop: &'a AtomicBool,
}

impl Drop for Racer<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn exchange_while(a: &Path, b: &Path, body: impl FnOnce()) -> usize {
    let stop = AtomicBool::new(false);
    let mut count = 0;
    std::thread::scope(|scope| {
        let racer = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
                    Ok(()) => count += 1,
                    // The runtime is just replacing one of them.
                    Err(rustix::io::Errno::NOENT) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            count
        });
        let guard = Racer { stop: &stop };
        body();
        drop(guard);
        count = racer.join().unwrap();
    });
    count
}

/// esc-mount-toctou, esc-mkdir-race (2021-30465, 2024-45310): a directory on the way to mount points that are there,
/// or have to be made, becomes a link to the host and back, all the time.
#[test]
fn esc_mount_toctou_and_mkdir_race() {
    let mut b = Bench::new("race");
    let (host, before) = canary(&b);
    std::fs::create_dir_all(b.root("vol/x/sub")).unwrap();
    symlink(&host, b.root("vol/y")).unwrap();
    std::fs::create_dir(b.path("data")).unwrap();
    std::fs::write(b.path("data/f"), "data\n").unwrap();
    b.mount("/vol/x/sub", "bind", "data", &["bind"]);
    b.mount("/vol/x/made/deep", "tmpfs", "tmpfs", &[]);
    b.mount("/vol/x/file", "bind", "data/f", &["bind"]);
    // A mount that went to the host's side of the link would be missing inside.
    b.sh("grep -cE '/(sub|made/deep|file) ' /proc/self/mountinfo");
    let mut worked = 0;
    let swaps = exchange_while(&b.root("vol/x"), &b.root("vol/y"), || {
        for _ in 0..RACES {
            let ran = b.run();
            assert!(ran.code == 1 && ran.out.is_empty() && ran.err.contains("mount") || ran.out == "3\n", "{ran:?}");
            worked += usize::from(ran.code == 0);
        }
    });
    untouched(&host, &before);
    assert!(swaps > RACES && worked > 0, "{swaps} exchanges, {worked} starts");
    // The lawful twin: the same mounts, nobody moves anything.
    let link = if b.root("vol/x").is_symlink() { "vol/x" } else { "vol/y" };
    std::fs::remove_file(b.root(link)).unwrap();
    assert_eq!(b.ok("cat /vol/x/sub/f /vol/x/file; touch /vol/x/made/deep/t && echo fine"), "data\ndata\nfine\n");
}

/// esc-volume-proc-race (2019-19921): what procfs is to be mounted on becomes a link.
#[test]
fn esc_volume_proc_race() {
    let mut b = Bench::new("procrace");
    let (host, before) = canary(&b);
    symlink("/tmp", b.root("lnk")).unwrap();
    // What hides parts of procfs must hide the real one, wherever its name leads at that moment, or the start must
    // fail. The program waits until it stands in procfs itself.
    b.sh("until cd /proc 2>/dev/null && [ -r self/status ]; do cd /; done; cat keys | wc -c; \
          (: >>sys/kernel/core_pattern) 2>/dev/null && echo escaped; (: >>sysrq-trigger) 2>/dev/null && echo escaped; true");
    let swaps = exchange_while(&b.root("proc"), &b.root("lnk"), || {
        for _ in 0..RACES {
            let ran = b.run();
            let refused = ran.code == 1 && ran.out.is_empty() && ran.err.contains("mount");
            assert!(refused || ran.out == "0\n", "{ran:?}");
        }
    });
    assert!(swaps > RACES);
    untouched(&host, &before);
}

/// esc-proc-symlink (2023-28642), esc-dev-symlink (2026-41579, 2026-47766): links in the image where the kernel's own
/// file systems and the devices go.
#[test]
fn esc_proc_and_dev_symlink() {
    for place in ["proc", "sys", "dev"] {
        let mut b = Bench::new("dirlink");
        let (host, before) = canary(&b);
        std::fs::remove_dir(b.root(place)).unwrap();
        for target in [host.to_str().unwrap(), "/tmp", "../canary"] {
            symlink(target, b.root(place)).unwrap();
            let ran = b.run();
            assert!(ran.code == 1 && ran.err.contains("symbolic link"), "{place} -> {target}: {ran:?}");
            // Without the mount over it, /dev's nodes would go where the link leads.
            if place == "dev" {
                let mounts = b.spec["mounts"].take();
                b.spec["mounts"] = json!([mounts[0]]);
                let ran = b.run();
                assert!(ran.code == 1 && ran.err.contains("symbolic link"), "{target}: {ran:?}");
                b.spec["mounts"] = mounts;
            }
            untouched(&host, &before);
            assert_eq!(std::fs::read_dir(b.root("tmp")).unwrap().count(), 0);
            std::fs::remove_file(b.root(place)).unwrap();
        }
        // The lawful twin: an image without the directory at all.
        assert_eq!(b.ok("[ -c /dev/null ] && [ -d /proc/1 ] && [ -d /sys/kernel ] && echo whole"), "whole\n");
    }
}

/// esc-dev-symlink, inside /dev: the image's own /dev/pts and /dev/shm are links, and nothing is mounted on /dev.
#[test]
fn esc_links_inside_dev() {
    let mut b = Bench::new("devlinks");
    let (host, before) = canary(&b);
    b.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    for name in ["pts", "shm", "mqueue"] {
        // What a run before has made.
        let _ = std::fs::remove_dir(b.root("dev").join(name));
        symlink(&host, b.root("dev").join(name)).unwrap();
        let ran = b.run();
        assert!(ran.code == 1 && ran.err.contains("symbolic link"), "{name}: {ran:?}");
        std::fs::remove_file(b.root("dev").join(name)).unwrap();
        untouched(&host, &before);
    }
    assert_eq!(b.ok("[ -d /dev/pts ] && echo x >/dev/null && echo fine"), "fine\n");
}

/// esc-restart-symlink (2015-3629): between two runs the container leaves a link where a file is mounted.
#[test]
fn esc_restart_symlink() {
    let mut b = Bench::new("restart");
    let (host, before) = canary(&b);
    std::fs::write(b.path("hosts"), "hosts\n").unwrap();
    b.mount("/etc/hosts", "bind", "hosts", &["bind"]);
    assert_eq!(b.ok("cat /etc/hosts"), "hosts\n");
    for target in [host.join("secret"), host.join("new"), PathBuf::from("../../canary/new2")] {
        std::fs::remove_file(b.root("etc/hosts")).unwrap();
        symlink(&target, b.root("etc/hosts")).unwrap();
        // The link means what it would mean inside: the file is made and mounted there.
        assert_eq!(b.ok("cat /etc/hosts"), "hosts\n", "{}", target.display());
        untouched(&host, &before);
    }
}

/// esc-fake-proc (2019-16884), esc-proc-writable (2015-3630, 2015-3631): nothing is mounted over or inside procfs.
#[test]
fn esc_fake_proc_and_proc_writable() {
    let mut b = Bench::new("fakeproc");
    std::fs::create_dir_all(b.path("fake/self/attr")).unwrap();
    std::fs::write(b.path("file"), "").unwrap();
    symlink("/proc/sys", b.root("way")).unwrap();
    for (destination, kind, source) in [
        ("/proc", "bind", "fake"),
        ("/proc", "tmpfs", "tmpfs"),
        ("/proc/self/attr", "bind", "fake"),
        ("/proc/sys/kernel", "tmpfs", "tmpfs"),
        ("/proc/asound", "bind", "fake"),
        ("/proc/../proc/sys/kernel/core_pattern", "bind", "file"),
        ("/way/kernel", "bind", "fake"),
    ] {
        b.mount(destination, kind, source, &["bind"][..usize::from(kind == "bind")]);
        let ran = b.run();
        assert!(
            ran.code == 1 && ran.err.contains("mount /proc") || ran.err.contains("mount /way"),
            "{destination}: {ran:?}"
        );
        assert!(ran.out.is_empty());
        b.spec["mounts"].as_array_mut().unwrap().pop();
    }
    // What is left of procfs and sysfs can't be written, but for what is a process's own.
    let out = b.ok(
        "for f in $(find /proc/sys /proc/bus /proc/fs /proc/irq /sys -type f 2>/dev/null) /proc/sysrq-trigger; do \
         (: >>$f) 2>/dev/null && echo $f; done; true",
    );
    assert_eq!(out, "", "these can be written");
    // The lawful twins: the files that lxcfs fakes, and procfs itself from elsewhere.
    std::fs::write(b.path("file"), "cpu fake\n").unwrap();
    b.mount("/proc/cpuinfo", "bind", "file", &["bind"]);
    assert_eq!(
        b.ok("cat /proc/cpuinfo; echo 5 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj"),
        "cpu fake\n5\n"
    );
    b.spec["mounts"].as_array_mut().unwrap().pop();
    b.mount("/proc", "bind", "/proc", &["rbind"]);
    b.namespace("pid", None);
    assert_eq!(b.ok("[ -d /proc/self/fd ] && echo real"), "real\n");
}

/// esc-masked-list (2018-10892, powercap): what the document hides is hidden, for root too.
#[test]
fn esc_masked_list() {
    let mut b = Bench::new("masked");
    let masked: Vec<String> = serde_json::from_value(b.spec["linux"]["maskedPaths"].clone()).unwrap();
    let masked: Vec<String> = masked.into_iter().filter(|p| Path::new(p).exists()).collect();
    assert!(!masked.is_empty());
    let script = format!(
        "for p in {}; do if [ -d $p ]; then ls -A $p; touch $p/x 2>/dev/null && echo made; \
         else [ $(stat -c %t:%T $p) = 1:3 ] || echo $p; head -c 1 $p; \
         chmod 777 $p 2>/dev/null && echo changed; fi; done; true",
        masked.join(" ")
    );
    assert_eq!(b.ok(&script), "");
    // The lawful twin: without the list they are there.
    b.spec["linux"]["maskedPaths"] = json!([]);
    assert_ne!(b.ok(&script), "");
}

/// esc-mask-null (2025-31133): the image's /dev/null is something else, and is what hides nothing.
#[test]
fn esc_mask_null() {
    let mut b = Bench::new("masknull");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let attack = "cat /proc/keys | wc -c; stat -c %t:%T /proc/keys /dev/null; echo '|/x' >/proc/keys; true";
    b.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    for what in ["link", "file", "device"] {
        let null = b.root("dev/null");
        let _ = std::fs::remove_file(&null);
        match what {
            "link" => symlink("/proc/sys/kernel/core_pattern", &null).unwrap(),
            "file" => std::fs::write(&null, "text").unwrap(),
            _ => assert!(Command::new("mknod").arg(&null).args(["c", "1", "5"]).status().unwrap().success()),
        }
        b.sh(attack);
        let ran = b.run();
        assert_eq!((ran.code, ran.out.as_str()), (0, "0\n1:3\n1:3\n"), "{what}: {ran:?}");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    // Over and over, while it changes.
    std::fs::remove_file(b.root("dev/null")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", b.root("dev/null")).unwrap();
    std::fs::write(b.root("dev/other"), "").unwrap();
    b.sh("cat /proc/keys | wc -c; stat -c %t:%T /proc/keys");
    exchange_while(&b.root("dev/null"), &b.root("dev/other"), || {
        for _ in 0..RACES / 2 {
            let ran = b.run();
            assert!(ran.code != 0 && ran.out.is_empty() || ran.out == "0\n1:3\n", "{ran:?}");
        }
    });
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
}

/// esc-console (2025-52565), esc-fd1 (2015-3627): a terminal in an image whose /dev is full of links.
#[test]
fn esc_console() {
    let mut b = Bench::new("console");
    let (host, before) = canary(&b);
    let run = |b: &Bench| {
        b.write();
        let mut child = b.command(&["run", &b.fresh()]);
        done(child.stdin(Stdio::null()).output().unwrap())
    };
    b.spec["process"]["terminal"] = json!(true);
    b.sh("tty; stat -c %F /dev/console; readlink /proc/self/fd/0; readlink /proc/self/fd/1");
    b.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/dev");
    for name in ["stdin", "stdout", "stderr", "fd"] {
        symlink(host.join("secret"), b.root("dev").join(name)).unwrap();
    }
    symlink(host.join("console"), b.root("dev/console")).unwrap();
    let ran = run(&b);
    assert!(ran.code == 1 && ran.err.contains("/dev/console is a symbolic link"), "{ran:?}");
    untouched(&host, &before);
    // The lawful twin.
    std::fs::remove_file(b.root("dev/console")).unwrap();
    let ran = run(&b);
    assert_eq!(ran.out, "/dev/pts/0\r\ncharacter special file\r\n/dev/pts/0\r\n/dev/pts/0\r\n", "{ran:?}");
    untouched(&host, &before);
}

/// esc-procwrite (2025-52881), esc-sysctl-injection (2022-0811): what the runtime writes to procfs goes to the real one
/// and only to what is the container's own, whatever is mounted meanwhile.
#[test]
fn esc_procwrite() {
    let mut b = Bench::new("procwrite");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // A tree with links where procfs has files, mounted where procfs goes: it is refused, and if it were not, the
    // sysctl would be written to the link's target.
    std::fs::create_dir_all(b.path("fake/sys/kernel")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", b.path("fake/sys/kernel/shmmax")).unwrap();
    b.spec["linux"]["sysctl"] = json!({"kernel.shmmax": "31337"});
    b.mount("/proc", "bind", "fake", &["bind"]);
    assert_eq!(b.run().code, 1);
    b.spec["mounts"].as_array_mut().unwrap().pop();
    for name in
        ["kernel.core_pattern", "kernel/shmmax/../core_pattern", "kernel.shmmax+kernel.core_pattern", "vm.swappiness"]
    {
        b.spec["linux"]["sysctl"] = json!({name: "1"});
        let ran = b.run();
        assert!(ran.code == 1 && ran.err.contains(name), "{name}: {ran:?}");
    }
    b.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    b.namespace("network", None);
    assert!(b.run().err.contains("shares its network namespace"));
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    // The lawful twin, racing: /proc of the image is exchanged, the sysctl goes where it belongs or the start fails.
    b.spec["linux"]["sysctl"] = json!({"kernel.shmmax": "31337"});
    symlink("/tmp", b.root("lnk")).unwrap();
    b.sh("cat /proc/sys/kernel/shmmax");
    exchange_while(&b.root("proc"), &b.root("lnk"), || {
        for _ in 0..RACES / 2 {
            let ran = b.run();
            assert!(ran.code == 1 || ran.out == "31337\n", "{ran:?}");
        }
    });
    if b.root("proc").is_symlink() {
        renameat_with(CWD, b.root("proc"), CWD, b.root("lnk"), RenameFlags::EXCHANGE).unwrap();
    }
    assert_eq!(b.run().out, "31337\n");
}

/// esc-cwd-fd (2024-21626): no working directory leads out over a descriptor, ours or one that was passed.
#[test]
fn esc_cwd_fd() {
    let mut b = Bench::new("cwd");
    let (host, before) = canary(&b);
    b.sh("pwd; cat secret ../secret ../canary/secret 2>/dev/null; ls");
    symlink("/proc/self/fd/3", b.root("wd")).unwrap();
    for n in 3..24 {
        b.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{n}"));
        let ran = b.run();
        assert!(ran.code != 0 && ran.out.is_empty(), "{n}: {ran:?}");
    }
    // A descriptor of the host that the caller passes on purpose is the program's, not the runtime's to walk over.
    let passed = |b: &Bench, words: &str| {
        let script = format!("exec 3<canary; exec \"$0\" --root state {words}");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).arg(common::runtime()).current_dir(&b.dir).stdin(Stdio::null());
        done(command.output().unwrap())
    };
    for cwd in ["/proc/self/fd/3", "/wd", "/wd/sub", "/proc/self/fd/3/..", "/proc/1/fd/3"] {
        b.spec["process"]["cwd"] = json!(cwd);
        b.write();
        let ran = passed(&b, &format!("run --preserve-fds 1 {}", b.fresh()));
        assert!(ran.code != 0 && ran.out.is_empty(), "{cwd}: {ran:?}");
    }
    b.spec["process"]["cwd"] = json!("/");
    let id = b.detached("sleep 1000");
    for n in 3..24 {
        let ran = b.oci(&["exec", "--cwd", &format!("/proc/self/fd/{n}"), &id, "pwd"]);
        assert!(ran.code != 0 && ran.out.is_empty(), "{n}: {ran:?}");
    }
    let ran = passed(&b, &format!("exec --preserve-fds 1 --cwd /wd {id} cat secret"));
    assert!(ran.code != 0 && ran.out.is_empty(), "{ran:?}");
    untouched(&host, &before);
    // The lawful twins: directories, over a link too.
    symlink("/tmp", b.root("way")).unwrap();
    let ran = b.oci(&["exec", "--cwd", "/way", &id, "pwd"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "/tmp\n"), "{ran:?}");
    b.spec["process"]["cwd"] = json!("/way");
    assert_eq!(b.ok("pwd"), "/tmp\n");
}

/// esc-exec-ptrace (2016-9962): a process that enters the container can't be looked into before its program runs.
#[test]
fn esc_exec_ptrace() {
    let mut b = Bench::new("ptrace");
    let id = b.detached(
        "while :; do for p in /proc/[0-9]*; do e=$(readlink $p/exe) || continue; \
         case $e in /bin/busybox) ;; *) echo \"$p $e\" >>/tmp/leak; ls -l $p/fd >>/tmp/leak; : 2>/dev/null 3<>$p/mem && echo mem >>/tmp/leak;; esac; \
         done; [ -e /tmp/round ] || : >/tmp/round; done",
    );
    until("the attacker looks around", || b.root("tmp/round").exists());
    for _ in 0..RACES / 2 {
        let ran = b.oci(&["exec", &id, "true"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let leak = std::fs::read_to_string(b.root("tmp/leak")).unwrap_or_default();
    assert_eq!(leak, "");
    // The lawful twin: processes of the container may look at each other.
    assert_eq!(b.oci(&["exec", &id, "readlink", "/proc/1/exe"]).out, "/bin/busybox\n");
}

/// esc-self-exe (2019-5736): a container makes a process run the runtime's own binary, holds it open, and writes to it
/// once nothing runs it any more.
#[test]
fn esc_self_exe() {
    let mut b = Bench::new("selfexe");
    let binary = b.path("runtime");
    common::copy(common::runtime(), &binary);
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let before = std::fs::read(&binary).unwrap();
    std::fs::write(b.root("tmp/own"), "").unwrap();
    let id = b.detached("sleep 1000");
    // It stays alive because nobody reads what it prints.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut full = writer.try_clone().unwrap();
    full.write_all(&[0; 65536]).unwrap();
    drop(full);
    let mut command = Command::new(&binary);
    command.arg("--root").arg(b.path("state")).args(["exec", &id, "/proc/self/exe", "features"]);
    let mut victim = command.current_dir(&b.dir).stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    // It holds the pipe's other end, whose closing is waited for below.
    drop(command);
    let attack = "until [ -e /tmp/gone ]; do for p in /proc/[0-9]*; do e=$(readlink $p/exe) || continue; \
         case $e in /bin/busybox) continue;; esac; [ -e /tmp/held ] && continue; exec 3<$p/exe || exit 9; \
         echo x 2>/dev/null >$p/exe && echo written; : >/tmp/held; done; done; \
         echo x >/proc/self/fd/3 && echo written; echo x >/proc/self/fd/4 && echo twin";
    let script = format!("exec 4</tmp/own; {attack}");
    let mut attacker = b.command(&["exec", &id, "sh", "-c", &script]);
    let attacker = attacker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the attacker holds the binary", || b.root("tmp/held").exists());
    let mut drained = Vec::new();
    drop(victim.stdout.take());
    reader.read_to_end(&mut drained).unwrap();
    assert!(victim.wait().unwrap().success());
    assert!(String::from_utf8_lossy(&drained).contains("ociVersionMax"), "it was the runtime that ran");
    std::fs::write(b.root("tmp/gone"), "").unwrap();
    let attacked = done(attacker.wait_with_output().unwrap());
    assert_eq!(attacked.out, "twin\n", "{attacked:?}");
    assert!(attacked.err.contains("Read-only file system"), "{attacked:?}");
    assert_eq!(std::fs::read_to_string(b.root("tmp/own")).unwrap(), "x\n");
    assert!(std::fs::read(&binary).unwrap() == before, "the binary was changed");
    // The other road: the container's first program is the runtime, by a script's first line.
    std::fs::write(b.root("bin/evil"), "#!/proc/self/exe features\n").unwrap();
    std::fs::set_permissions(b.root("bin/evil"), PermissionsExt::from_mode(0o755)).unwrap();
    b.args(&["/bin/evil"]).write();
    let mut evil = Command::new(&binary);
    evil.arg("--root").arg(b.path("state")).args(["run", &b.fresh()]).current_dir(&b.dir);
    evil.output().unwrap();
    assert!(std::fs::read(&binary).unwrap() == before, "the binary was changed");
}

/// 2024-21626, 2016-9962: of the runtime nothing but the three streams is left in the program's hands, in neither role.
#[test]
fn esc_no_descriptor_is_left() {
    let mut b = Bench::new("left");
    let show = "for f in /proc/self/fd/*; do [ -e $f ] && readlink $f; done | grep -v -e pipe: -e /dev/null -e /proc/";
    b.sh(&format!("{show}; readlink /proc/self/cwd; readlink /proc/self/root"));
    let ran = b.run();
    assert_eq!(ran.out, "/\n/\n", "{ran:?}");
    let id = b.detached("sleep 1000");
    let ran = b.oci(&["exec", &id, "sh", "-c", &format!("{show}; readlink /proc/self/cwd")]);
    assert_eq!(ran.out, "/\n", "{ran:?}");
    // The waiting process of a created container shows nothing of the host either: its root is the container's.
    b.sh("sleep 1000").write();
    let waiting = b.fresh();
    assert_eq!(b.oci_quiet(&["create", &waiting]).code, 0);
    let pid = b.pid(&waiting);
    assert!(Path::new(&format!("/proc/{pid}/root/bin/busybox")).exists());
    assert!(!Path::new(&format!("/proc/{pid}/root/{}", b.dir.display())).exists());
}

/// 2022-0492: no control group of a container can be written in it, nor another hierarchy mounted.
#[test]
fn esc_cgroup_release_agent() {
    let mut b = Bench::new("cgroup");
    let out = b.ok("for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo $d; \
         [ -w $d/release_agent ] && echo $d; done; mount -t cgroup -o rdma x /tmp 2>&1; mount -t tmpfs x /tmp 2>&1; \
         cat /proc/self/cgroup | grep -v -e ':/$' ; true");
    assert_eq!(out.matches("ermitted").count() + out.matches("denied").count(), 2, "{out}");
    assert_eq!(out.lines().count(), 2, "{out}");
    // The lawful twin: it may read its own.
    assert_eq!(b.ok("ls /sys/fs/cgroup | wc -l | grep -c '^0'; true"), "0\n");
}
