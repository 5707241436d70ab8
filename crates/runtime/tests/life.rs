//! The life of a container through runc's commands: create, start, exec, state, kill, pause, delete, hooks, terminals.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::{Bench, done, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

#[test]
fn create_start_state_kill_delete() {
    let mut b = Bench::new("life");
    b.sh("echo started >/tmp/mark; exec sleep 1000").write();
    let id = b.fresh();
    let pid_file = b.path("pid");
    let created = b.oci_quiet(&["create", &id, "--pid-file", pid_file.to_str().unwrap()]);
    assert_eq!(created.code, 0, "{created:?}");
    assert_eq!(b.status(&id), "created");
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), b.pid(&id).to_string());
    assert!(!b.root("tmp/mark").exists(), "nothing of the program has run");
    let again = b.oci_quiet(&["create", &id]);
    assert!(again.code == 1 && again.err.contains("exists already"), "{again:?}");

    assert_eq!(b.oci(&["start", &id]).code, 0);
    until("the program runs", || b.root("tmp/mark").exists());
    assert_eq!(b.status(&id), "running");
    assert!(b.oci(&["start", &id]).err.contains("runs already"));
    let running = b.oci(&["delete", &id]);
    assert!(running.code == 1 && running.err.contains("is running"), "{running:?}");

    let list = b.oci(&["list", "--format", "json"]).out;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((list[0]["id"].as_str(), list[0]["status"].as_str()), (Some(id.as_str()), Some("running")));
    assert_eq!(b.oci(&["list", "-q"]).out, format!("{id}\n"));
    assert!(b.oci(&["ps", &id]).out.contains("sleep 1000"));

    assert_eq!(b.oci(&["kill", &id, "KILL"]).code, 0);
    until("it has stopped", || b.status(&id) == "stopped");
    assert!(b.oci(&["kill", &id]).err.contains("is not running"));
    assert!(b.oci(&["start", &id]).err.contains("has stopped"));
    assert_eq!(b.oci(&["delete", &id]).code, 0);
    assert!(b.oci(&["state", &id]).err.contains("does not exist"));
    assert_eq!(b.oci(&["delete", "--force", &id]).code, 0, "force does not mind that it is gone");
    assert_eq!(b.oci(&["delete", &id]).code, 1);
}

#[test]
fn a_created_container_can_be_deleted_and_errors_of_the_start_come_back() {
    let mut b = Bench::new("created");
    b.sh("true").write();
    let id = b.fresh();
    assert_eq!(b.oci_quiet(&["create", &id]).code, 0);
    let pid = b.pid(&id);
    assert_eq!(b.oci(&["delete", &id]).code, 0);
    until("its process is gone", || !std::path::Path::new(&format!("/proc/{pid}/root")).exists());
    // The program vanishes between create and start.
    b.args(&["/bin/late"]).write();
    common::copy("/bin/busybox", b.root("bin/late"));
    let id = b.fresh();
    assert_eq!(b.oci_quiet(&["create", &id]).code, 0);
    std::fs::remove_file(b.root("bin/late")).unwrap();
    let started = b.oci(&["start", &id]);
    assert_eq!(started.code, 127, "{started:?}");
    assert!(started.err.contains("no such file or directory"), "{started:?}");
    until("it has stopped", || b.status(&id) == "stopped");
    assert_eq!(b.oci(&["delete", &id]).code, 0);
}

#[test]
fn exec_joins_all_namespaces_and_takes_an_identity() {
    let mut b = Bench::new("exec");
    let id = b.detached("sleep 1000");
    let same = "for n in mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done";
    let inside = b.oci(&["exec", &id, "sh", "-c", same]).out;
    let init = b.oci(&["exec", &id, "sh", "-c", &same.replace("self", "1")]).out;
    assert_eq!((inside.lines().count(), &inside), (6, &init));
    let user = b.oci(&[
        "exec",
        "--user",
        "1000:7",
        "--cwd",
        "/tmp",
        "-e",
        "X=y",
        &id,
        "sh",
        "-c",
        "id -u; id -g; pwd; echo $X $HOME; grep CapEff /proc/self/status",
    ]);
    assert_eq!(user.out, "1000\n7\n/tmp\ny /home/u\nCapEff:\t0000000000000000\n", "{user:?}");
    assert_eq!(b.oci(&["exec", &id, "sh", "-c", "exit 3"]).code, 3);
    assert_eq!(b.oci(&["exec", &id, "sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(b.oci(&["exec", &id, "nosuch"]).code, 127);
    let cap = b.oci(&["exec", "--cap", "CAP_SYS_PTRACE", &id, "sh", "-c", "grep Cap /proc/self/status"]).out;
    let bits =
        |name: &str| u64::from_str_radix(cap.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim(), 16).unwrap();
    assert_eq!((bits("CapInh:"), bits("CapEff:") & (1 << 19), bits("CapAmb:")), (0, 1 << 19, 0));
    // From a document, and detached with a pid file.
    let process = json!({"args": ["sh", "-c", "echo doc; exit 4"], "cwd": "/", "env": ["PATH=/bin"]});
    std::fs::write(b.path("p.json"), process.to_string()).unwrap();
    let from_doc = b.oci(&["exec", "--process", "p.json", &id]);
    assert_eq!((from_doc.code, from_doc.out.as_str()), (4, "doc\n"));
    let detached = b.oci_quiet(&["exec", "-d", "--pid-file", "exec.pid", &id, "sleep", "1000"]);
    assert_eq!(detached.code, 0, "{detached:?}");
    let pid = std::fs::read_to_string(b.path("exec.pid")).unwrap();
    let pids: Vec<i32> = serde_json::from_str(&b.oci(&["ps", "--format", "json", &id]).out).unwrap();
    assert!(pids.contains(&pid.parse().unwrap()), "{pids:?} {pid}");
    assert!(b.oci(&["exec", "nosuch-id", "true"]).err.contains("does not exist"));
    for (flag, kind) in [("--cgroup=/x", "--cgroup"), ("--process-label=x", "selinuxLabel")] {
        let refused = b.oci(&["exec", flag, &id, "true"]);
        assert!(refused.code == 1 && refused.err.contains(kind), "{refused:?}");
    }
}

#[test]
fn pause_resume_update() {
    let mut b = Bench::new("pause");
    let id = b.detached("while :; do sleep 1; done");
    assert_eq!(b.oci(&["pause", &id]).code, 0);
    assert_eq!(b.status(&id), "paused");
    assert!(b.oci(&["exec", &id, "true"]).err.contains("is paused"));
    assert!(b.oci(&["pause", &id]).err.contains("can't be paused"));
    assert_eq!(b.oci(&["resume", &id]).code, 0);
    assert_eq!(b.status(&id), "running");
    let update = b.oci(&["update", "--pids-limit", "50", &id]);
    assert_eq!(update.code, 0, "{update:?}");
    assert!(b.oci(&["update", "--kernel-memory", "1", &id]).err.contains("--kernel-memory"));
    assert_eq!(b.oci(&["pause", &id]).code, 0);
    assert_eq!(b.oci(&["delete", "--force", &id]).code, 0, "a frozen container can be deleted");
}

#[test]
fn hooks_run_where_and_when_they_should() {
    let mut b = Bench::new("hooks");
    let log = b.path("hooks.log");
    let line = |name: &str| {
        // The state's status, and whether the hook sees the host's tree and the runtime's namespaces.
        let script = format!(
            "s=$(cat); printf '{name} %s %s %s\\n' \"$(echo \"$s\" | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/')\" \
             \"$([ -d {0} ] && echo host || echo box)\" \"$(hostname)\" >> {1}",
            b.dir.display(),
            if name == "startContainer" { "/tmp/hook.log".to_owned() } else { log.display().to_string() },
        );
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
    };
    let names = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let hooks: serde_json::Map<String, Value> = names.iter().map(|n| ((*n).to_owned(), json!([line(n)]))).collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();
    b.spec["hooks"] = Value::Object(hooks);
    b.sh("cat /tmp/hook.log");
    let ran = b.run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "startContainer created box box\n");
    let log = std::fs::read_to_string(&log).unwrap();
    let want = format!(
        "prestart creating host {host}\ncreateRuntime creating host {host}\ncreateContainer creating host box\n\
         poststart running host {host}\npoststop stopped host {host}\n"
    );
    assert_eq!(log, want);
    // A hook that fails is the end of it, and nothing is left.
    b.spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 9"]}]});
    let failed = b.run();
    assert!(failed.code == 1 && failed.err.contains("createRuntime hook #0 (/bin/sh): exit status 9"), "{failed:?}");
    assert_eq!(std::fs::read_dir(b.path("state")).unwrap().count(), 0);
}

#[test]
fn terminals_go_to_the_console_socket() {
    let mut b = Bench::new("console");
    b.spec["process"]["terminal"] = json!(true);
    b.spec["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    b.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    b.sh("stty size; tty; stat -c %u /dev/pts/0; stat -c %F /dev/console; echo >/dev/console; cat").write();
    let socket = b.path("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let id = b.fresh();
    let without = b.oci(&["run", "-d", &b.fresh()]);
    assert!(without.code == 1 && without.err.contains("--console-socket"), "{without:?}");
    let ran = b.oci_quiet(&["run", "-d", "--console-socket", socket.to_str().unwrap(), &id]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let master = receive(&listener);
    let mut master = std::fs::File::from(master);
    let mut text = String::new();
    let mut buffer = [0; 4096];
    // Also the empty line by way of /dev/console: the echo of what is typed would come between.
    while !text.ends_with("file\r\n\r\n") {
        let n = master.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(text.starts_with("33 77\r\n/dev/pts/0\r\n1000\r\ncharacter special file\r\n"), "{text:?}");
    master.write_all(b"echoed\n").unwrap();
    while !text.contains("echoed\r\nechoed") {
        let n = master.read(&mut buffer).unwrap();
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    // An exec's own terminal, in the container's devpts.
    let exec = b.oci_quiet(&["exec", "-d", "-t", "--console-socket", socket.to_str().unwrap(), &id, "tty"]);
    assert_eq!(exec.code, 0, "{exec:?}");
    let mut master = std::fs::File::from(receive(&listener));
    let n = master.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"/dev/pts/1\r\n");
}

fn receive(listener: &UnixListener) -> OwnedFd {
    let (connection, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let (n, mut fds) = dhow_sys::scm::recv(connection.as_fd(), &mut name).unwrap();
    assert!(n > 0 && fds.len() == 1);
    fds.pop().unwrap()
}

#[test]
fn a_terminal_in_the_foreground_is_relayed() {
    let mut b = Bench::new("relay");
    b.spec["process"]["terminal"] = json!(true);
    b.sh("tty; read line; echo got $line; exit 5").write();
    let mut child = b.command(&["run", &b.fresh()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"word\n").unwrap();
    let ran = done(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.out.contains("/dev/pts/0\r\n") && ran.out.contains("got word\r\n"), "{ran:?}");
}

#[test]
fn signals_to_the_runtime_reach_the_program() {
    let mut b = Bench::new("relay-signal");
    b.sh("trap 'echo term; exit 9' TERM; echo ready >/tmp/ready; while :; do sleep 0.01; done").write();
    let child = b.command(&["run", &b.fresh()]).stdout(Stdio::piped()).spawn().unwrap();
    until("the program is ready", || b.root("tmp/ready").exists());
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ran = done(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (9, "term\n"));
}

#[test]
fn descriptors_are_passed_only_when_asked_for() {
    let mut b = Bench::new("fds");
    b.sh("ls /proc/self/fd | wc -l; cat <&3 2>/dev/null").write();
    std::fs::write(b.path("data"), "from outside\n").unwrap();
    let run = |flags: &str| {
        let script = format!("exec 3<data 4</ 5</etc; exec \"$0\" --root state run {flags} \"$1\"");
        let out = std::process::Command::new("/bin/sh")
            .args(["-c", &script])
            .arg(common::runtime())
            .arg(b.fresh())
            .current_dir(&b.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        done(out)
    };
    let none = run("");
    // 0, 1, 2, and the one that ls itself reads the directory with.
    assert_eq!(none.out, "4\n", "{none:?}");
    let one = run("--preserve-fds 1");
    assert_eq!(one.out, "5\nfrom outside\n", "{one:?}");
    let missing = run("--preserve-fds 9");
    assert!(missing.code == 1 && missing.err.contains("is not open"), "{missing:?}");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let b = Bench::new("refused");
    b.write();
    for (args, names) in [
        (&["--systemd-cgroup", "run", "x"][..], "--systemd-cgroup"),
        (&["checkpoint", "x"], "checkpoint"),
        (&["restore", "x"], "restore"),
        (&["events", "x"], "events"),
        (&["frobnicate"], "frobnicate"),
        (&["run", "--frob", "x"], "--frob"),
        (&["run"], "id is missing"),
        (&["run", "../x"], "../x"),
        (&["run", "a", "b"], "\"b\""),
        (&["create", "--detach", "x"], "--detach"),
        (&["run", "-b", "/nosuch", "x"], "/nosuch"),
        (&["--rootless=true", "list"], "--rootless"),
    ] {
        let refused = b.oci(args);
        assert!(refused.code == 1 && refused.err.contains(names), "{args:?}: {refused:?}");
    }
    let features: Value = serde_json::from_str(&b.oci(&["features"]).out).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(b.oci(&["--version"]).code, 0);
}

#[test]
fn the_log_file_gets_the_error_too() {
    let b = Bench::new("log");
    b.oci(&["--log", "log.json", "--log-format", "json", "state", "nobody"]);
    let line: Value = serde_json::from_str(&std::fs::read_to_string(b.path("log.json")).unwrap()).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["msg"].as_str()),
        (Some("error"), Some("container nobody does not exist"))
    );
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    let b = Bench::new("spec");
    assert_eq!(b.oci(&["spec"]).code, 0);
    assert!(b.oci(&["spec"]).err.contains("exists already"));
    let mut spec: Value = serde_json::from_str(&std::fs::read_to_string(b.path("config.json")).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["hostname"]);
    std::fs::write(b.path("config.json"), spec.to_string()).unwrap();
    let ran = b.oci(&["run", &b.fresh()]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "dhow\n"), "{ran:?}");
}

/// The descriptor of a filter that asks an agent goes to the agent, with the container's state, by both ways to start.
#[test]
fn a_notifying_filter_reaches_its_agent() {
    let mut b = Bench::new("notify");
    let socket = b.path("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    b.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "meta",
        "syscalls": [{"names": ["swapoff"], "action": "SCMP_ACT_NOTIFY"}],
    });
    b.sh("exec sleep 1000").write();
    let (ran, created) = (b.fresh(), b.fresh());
    assert_eq!(b.oci_quiet(&["run", "-d", &ran]).code, 0);
    assert_eq!(b.oci_quiet(&["create", &created]).code, 0);
    assert_eq!(b.oci(&["start", &created]).code, 0);
    for id in [ran, created] {
        let (connection, _) = listener.accept().unwrap();
        let mut text = [0; 4096];
        let (n, fds) = dhow_sys::scm::recv(connection.as_fd(), &mut text).unwrap();
        let message: Value = serde_json::from_slice(&text[..n]).unwrap();
        assert_eq!((message["fds"][0].as_str(), message["metadata"].as_str()), (Some("seccompFd"), Some("meta")));
        assert_eq!((message["state"]["id"].as_str(), fds.len()), (Some(id.as_str()), 1));
        assert_eq!(message["pid"], b.pid(&id));
        let kind = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fds[0]))).unwrap();
        assert_eq!(kind.to_str(), Some("anon_inode:seccomp notify"));
    }
}
