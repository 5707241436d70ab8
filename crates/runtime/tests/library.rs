//! The library as the shim uses it: overlay roots, `--init`, a container that dies with its maker.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::{Bench, Done, done, launcher, until};
use std::process::{Command, Stdio};

fn command(b: &Bench, lower: &str, init: bool) -> Command {
    b.write();
    // A volatile overlay can't be mounted again over what it left.
    for dir in ["upper", "work"] {
        let _ = std::fs::remove_dir_all(b.path(dir));
        std::fs::create_dir_all(b.path(dir)).unwrap();
    }
    let mut command = Command::new(launcher());
    command.arg(&b.dir).arg(lower).arg(b.path("upper")).arg(b.path("work")).current_dir(&b.dir);
    if init {
        command.arg("init");
    }
    command.stdin(Stdio::null());
    command
}

fn launch(b: &Bench, lower: &str, init: bool) -> Done {
    done(command(b, lower, init).output().unwrap())
}

#[test]
fn an_overlay_is_the_root_and_changes_go_to_its_upper_directory() {
    let mut b = Bench::new("overlay");
    std::fs::create_dir_all(b.path("top/etc")).unwrap();
    std::fs::write(b.path("top/etc/passwd"), "from the top\n").unwrap();
    let lower = format!("{}:{}", b.path("top").display(), b.root("").display());
    b.sh("cat /etc/passwd; echo new >/tmp/new; rm /bin/tr");
    let ran = launch(&b, &lower, false);
    assert_eq!((ran.code, ran.out.as_str()), (0, "from the top\n"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(b.path("upper/tmp/new")).unwrap(), "new\n");
    assert!(!b.root("tmp/new").exists() && b.root("bin/tr").is_symlink(), "the image is as it was");
    let missing = launch(&b, "/nosuch/layer", false);
    assert!(missing.code == 1 && missing.err.contains("overlay of 1 layers"), "{missing:?}");
}

#[test]
fn init_is_the_first_process_and_passes_the_code_on() {
    let mut b = Bench::new("init");
    let lower = b.root("").display().to_string();
    b.sh("echo $$ $(cat /proc/1/comm); touch /sbin/docker-init 2>&1; exit 6");
    let ran = launch(&b, &lower, true);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.out.starts_with("2 docker-init\n") && ran.out.contains("Read-only"), "{ran:?}");
    b.args(&["nosuch"]);
    assert!(launch(&b, &lower, true).err.contains("executable file not found in $PATH"));
}

#[test]
fn the_container_dies_with_its_maker() {
    let mut b = Bench::new("pdeath");
    let lower = b.root("").display().to_string();
    b.sh("echo up >/tmp/up; exec sleep 1000");
    b.namespace("pid", None);
    let mut maker = command(&b, &lower, false).spawn().unwrap();
    until("the program runs", || b.path("upper/tmp/up").exists());
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", maker.id())).unwrap();
    let pid = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    let program = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    maker.kill().unwrap();
    maker.wait().unwrap();
    let mut ended = [rustix::event::PollFd::new(&program, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&limit)).unwrap(), 1, "it lives on");
}
