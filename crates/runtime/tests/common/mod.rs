//! Bundles made from the host's static busybox, and the runtime run on them as a program of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static COUNT: AtomicU32 = AtomicU32::new(0);

const APPLETS: [&str; 40] = [
    "cat", "chmod", "cp", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id", "kill",
    "ln", "ls", "mkdir", "mkfifo", "mount", "mv", "nc", "ps", "pwd", "readlink", "rm", "sed", "sh", "sleep", "sort",
    "stat", "stty", "test", "touch", "true", "tty", "umount", "uname", "wc", "tr",
];

/// The capabilities that Docker gives.
pub const CAPS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A directory of its own for one test: bundle, root file system, state. Gone when dropped.
pub struct Bench {
    pub dir: PathBuf,
    pub spec: Value,
    ids: AtomicU32,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!(
            "dhow-rt-{name}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let _ = std::fs::remove_dir_all(&dir);
        let bin = dir.join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        copy("/bin/busybox", bin.join("busybox"));
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        for d in ["etc", "tmp", "proc", "sys", "dev"] {
            std::fs::create_dir(dir.join("rootfs").join(d)).unwrap();
        }
        std::fs::write(
            dir.join("rootfs/etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
        )
        .unwrap();
        Self { dir, spec: spec(), ids: AtomicU32::new(0) }
    }

    pub fn root(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Sets the program.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.spec["process"]["args"] = json!(args);
        self
    }

    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["sh", "-c", script])
    }

    /// Adds a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Drops the namespace `kind`, or joins the one at `path`.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        let list = self.spec["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|n| n["type"] != kind);
        if let Some(path) = path {
            list.push(if path.is_empty() { json!({"type": kind}) } else { json!({"type": kind, "path": path}) });
        }
        self
    }

    pub fn write(&self) {
        std::fs::write(self.dir.join("config.json"), self.spec.to_string()).unwrap();
    }

    pub fn fresh(&self) -> String {
        let name = self.dir.file_name().unwrap().to_str().unwrap().to_owned();
        format!("{name}-{}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.dir.join("state")).args(args).current_dir(&self.dir);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of the runtime.
    pub fn oci(&self, args: &[&str]) -> Done {
        done(self.command(args).output().unwrap())
    }

    /// Runs a command whose container outlives it: output goes to files, not to pipes that would stay open.
    pub fn oci_quiet(&self, args: &[&str]) -> Done {
        let out = self.dir.join(format!("out-{}", self.ids.fetch_add(1, Ordering::Relaxed)));
        let file = std::fs::File::create(&out).unwrap();
        let status = self.command(args).stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        Done { code: code(status), out: text.clone(), err: text }
    }

    /// `run` on the present document.
    pub fn run(&self) -> Done {
        self.write();
        self.oci(&["run", &self.fresh()])
    }

    /// Runs a script, which must succeed, and returns what it printed.
    pub fn ok(&mut self, script: &str) -> String {
        self.sh(script);
        let done = self.run();
        assert_eq!(done.code, 0, "{script}: {done:?}");
        done.out
    }

    pub fn status(&self, id: &str) -> String {
        let done = self.oci(&["state", id]);
        assert_eq!(done.code, 0, "{done:?}");
        serde_json::from_str::<Value>(&done.out).unwrap()["status"].as_str().unwrap().to_owned()
    }

    pub fn pid(&self, id: &str) -> i32 {
        serde_json::from_str::<Value>(&self.oci(&["state", id]).out).unwrap()["pid"].as_i64().unwrap() as i32
    }

    /// A detached container that runs `script`.
    pub fn detached(&mut self, script: &str) -> String {
        self.sh(script).write();
        let id = self.fresh();
        let done = self.oci_quiet(&["run", "-d", &id]);
        assert_eq!(done.code, 0, "{done:?}");
        id
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(ids) = std::fs::read_dir(self.dir.join("state")) {
            for id in ids.flatten() {
                self.oci(&["delete", "--force", id.file_name().to_str().unwrap()]);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Waits until `check` is true; fails the test after ten seconds.
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

/// The OCI runtime as a program, built with the tests.
pub fn runtime() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_runtime-test-oci"))
}

/// The library as a program, built with the tests.
pub fn launcher() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_runtime-test-launch"))
}

pub fn done(output: Output) -> Done {
    Done {
        code: code(output.status),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or(0))
}

/// What is in a directory tree, to prove that nobody touched it.
pub fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        all.push(format!("{} {:?} {}", entry.path().display(), meta.permissions(), meta.len()));
        if meta.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

/// Docker's container, as far as an OCI document goes.
fn spec() -> Value {
    let hard = ["nosuid", "noexec", "nodev"];
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {"bounding": CAPS, "effective": CAPS, "permitted": CAPS}, "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": hard},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": hard},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
        ],
        "linux": {
            "resources": {"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "access": "m"},
                {"allow": true, "type": "b", "access": "m"},
                {"allow": true, "type": "c", "major": 1, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "access": "rwm"},
                {"allow": true, "type": "c", "major": 136, "access": "rwm"},
            ]},
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"}, {"type": "ipc"},
                {"type": "cgroup"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Copies a program.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    // By another process: a descriptor of ours that may write could be inherited by what is started beside us at the
    // same moment, and such a file can't be executed ("text file busy").
    let status = Command::new("cp").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(status.success(), "{} could not be copied", from.as_ref().display());
}
