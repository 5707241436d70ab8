//! The guest programs, run as ordinary processes: what `--init` promises, tried one promise at a time.
// Clippy spares only functions marked #[test], not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// One of the programs as a file of its own, removed at the end.
struct Program(PathBuf);

impl Program {
    fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("dhow-guest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // Written by another process: a descriptor of ours could be inherited by what a test beside this one starts at
        // the same moment, and a file that somebody may write can't be executed ("text file busy").
        let mut cat = Command::new("sh");
        cat.args(["-c", r#"cat >"$0" && chmod 755 "$0""#]).arg(&path).stdin(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        cat.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(cat.wait().unwrap().success());
        Self(path)
    }
    fn init() -> Self {
        Self::new(dhow_sys::guest::INIT)
    }
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let out = Command::new(&self.0).args(args).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn both_are_small_static_and_for_this_machine() {
    for bytes in [dhow_sys::guest::INIT, dhow_sys::guest::HELLO] {
        assert!(bytes.starts_with(b"\x7fELF") && bytes.len() < 16 << 10, "{} bytes", bytes.len());
        // e_type EXEC: no relocation at start.
        assert_eq!(bytes[16], 2);
    }
}

#[test]
fn hello_says_what_happened_and_what_to_try() {
    let (code, out, err) = Program::new(dhow_sys::guest::HELLO).run(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("Hello from dhow!") && out.contains("dhow run --rm -it --rootfs /:O bash"), "{out}");
}

#[test]
fn the_status_of_the_command_comes_back() {
    let init = Program::init();
    for (args, code) in [
        (&["--", "sh", "-c", "exit 7"][..], 7),
        (&["sh", "-c", "exit 0"], 0),
        (&["-g", "--", "sh", "-c", "kill -TERM $$"], 143),
        (&["--", "/bin/sh", "-c", "kill -KILL $$"], 137),
    ] {
        assert_eq!(init.run(args).0, Some(code), "{args:?}");
    }
    let (code, out, _) = init.run(&["--", "echo", "--", "-g"]);
    assert_eq!((code, out.as_str()), (Some(0), "-- -g\n"));
}

#[test]
fn a_command_that_cannot_run_is_named() {
    let init = Program::init();
    let plain = Program::new(b"\x7fELFnonsense");
    let script = Program::new(b"echo \"script got $1\"\n");
    let denied = Program::new(b"x");
    fs::set_permissions(&denied.0, fs::Permissions::from_mode(0o644)).unwrap();
    for (command, code, words) in [
        ("no-such-command-of-dhow", 127, "\"no-such-command-of-dhow\" was not found in any directory of PATH"),
        ("/no/such", 127, "\"/no/such\" was not found"),
        ("", 127, "\"\" was not found"),
        (denied.0.to_str().unwrap(), 126, "permission denied"),
        ("/", 126, "permission denied"),
    ] {
        let (got, _, err) = init.run(&["--", command]);
        assert_eq!(got, Some(code), "{command}: {err}");
        assert!(err.contains(words), "{err}");
    }
    // The shell refuses what is no script either.
    assert!(matches!(init.run(&["--", plain.0.to_str().unwrap()]).0, Some(126 | 127 | 2)));
    let (code, out, err) = init.run(&["--", script.0.to_str().unwrap(), "one"]);
    assert_eq!((code, out.as_str()), (Some(0), "script got one\n"), "{err}");
    assert_eq!(init.run(&[]).0, Some(125));
    assert_eq!(init.run(&["--nonsense", "true"]).0, Some(125));
}

#[test]
fn path_comes_from_the_environment_or_has_a_default() {
    let init = Program::init();
    let found = Command::new(&init.0).args(["--", "true"]).env_clear().status().unwrap();
    assert_eq!(found.code(), Some(0));
    let other = Command::new(&init.0).args(["--", "true"]).env_clear().env("PATH", "/no/such:/dev/null").status();
    assert_eq!(other.unwrap().code(), Some(127));
    // An empty entry means the current directory.
    let mut here = Command::new(&init.0);
    here.args(["--", "true"]).env_clear().env("PATH", "/no/such:").current_dir("/bin");
    assert_eq!(here.status().unwrap().code(), Some(0));
}

#[test]
fn signals_reach_the_command() {
    let init = Program::init();
    let script =
        "trap 'echo got term; exit 5' TERM; trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done";
    let mut child = Command::new(&init.0).args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id() as i32;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|l| l.unwrap());
    assert_eq!(lines.next().as_deref(), Some("ready"));
    kill(pid, libc::SIGUSR1);
    assert_eq!(lines.next().as_deref(), Some("got usr1"));
    kill(pid, libc::SIGTERM);
    assert_eq!(lines.next().as_deref(), Some("got term"));
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn with_g_signals_reach_the_whole_group() {
    let init = Program::init();
    // The outer shell sets its trap before there is an inner one that could say that both are ready.
    let script = "trap : USR1; sh -c 'trap \"echo inner; exit\" USR1; echo ready; while :; do sleep 0.05; done' & \
                  wait; wait; exit 9";
    let mut child =
        Command::new(&init.0).args(["-g", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|l| l.unwrap());
    assert_eq!(lines.next().as_deref(), Some("ready"));
    kill(child.id() as i32, libc::SIGUSR1);
    assert_eq!(lines.next().as_deref(), Some("inner"));
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn orphans_are_reaped_and_do_not_end_it() {
    let init = Program::init();
    // The orphan's parent is gone at once; when init has reaped it, its entry in /proc vanishes.
    let script = "orphan=$( (sleep 0.1 >/dev/null & echo $!) ); i=0; \
                  while [ -e /proc/$orphan ]; do i=$((i+1)); [ $i -gt 400 ] && exit 1; sleep 0.02; done; exit 3";
    assert_eq!(init.run(&["--", "sh", "-c", script]).0, Some(3));
}

#[test]
fn the_command_gets_the_terminal_and_a_clean_signal_state() {
    let init = Program::init();
    // Whatever this test was started with, init adds nothing to it.
    let script = ["-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"];
    let without = Command::new("sh").args(script).output().unwrap();
    let with = init.run(&["--", "sh", script[0], script[1]]);
    assert_eq!((with.0, with.1), (Some(0), String::from_utf8(without.stdout).unwrap()));

    let (master, slave) = pty();
    // Whoever runs this test may have started it with interrupts ignored, as a shell does for what it puts in the
    // background; that would be inherited down to the command.
    let child = Command::new("setsid")
        .args(["-c", "-w", "env", "--default-signal=INT"])
        .arg(&init.0)
        .args(["--", "sh", "-c", "read line; echo \"line=$line\"; ps -o stat= -p $$; while :; do sleep 0.05; done"])
        .stdin(slave.try_clone().unwrap())
        .stdout(slave)
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.unwrap();
    write_all(&master, b"hello\n");
    let mut text = String::new();
    while !text.contains("line=hello") || !text.contains('+') {
        text += &read_some(&master);
    }
    // Control-C goes from the terminal straight to the command, which is in the foreground.
    write_all(&master, b"\x03");
    let status = child.wait().unwrap();
    assert!(status.code() == Some(130) || status.signal() == Some(2), "{status:?} {text}");
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: plain numbers; the process is a child of this test that has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn pty() -> (OwnedFd, OwnedFd) {
    // SAFETY: calls with valid arguments; each descriptor is new and owned once.
    unsafe {
        let master = OwnedFd::from_raw_fd(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC));
        assert_eq!((libc::grantpt(master.as_raw_fd()), libc::unlockpt(master.as_raw_fd())), (0, 0));
        let mut name = [0i8; 64];
        assert_eq!(libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()), 0);
        let name = CString::from_vec_unchecked(name.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect());
        let slave = libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        (master, OwnedFd::from_raw_fd(slave))
    }
}

fn write_all(fd: &OwnedFd, text: &[u8]) {
    assert_eq!(rustix::io::write(fd, text).unwrap(), text.len());
}

fn read_some(fd: &OwnedFd) -> String {
    let mut buffer = [0u8; 512];
    let n = rustix::io::read(fd, &mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}
