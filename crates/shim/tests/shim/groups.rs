//! Containers in a cgroup of their own.

use crate::Case;
use crate::place::*;
use dhow_cgroup::{Group, GroupPath, Layout};
use dhow_shim::protocol::*;
use dhow_shim::spec::NamespaceKind;

pub const CASES: &[Case] = &[
    ("groups::the_group_goes_with_the_container", the_group_goes_with_the_container),
    ("groups::a_failed_start_leaves_no_group", a_failed_start_leaves_no_group),
    ("groups::without_own_pids_the_rest_is_killed", without_own_pids_the_rest_is_killed),
    ("groups::a_signal_to_all", a_signal_to_all),
    ("groups::a_change_of_limits_is_taken_back", a_change_of_limits_is_taken_back),
    ("groups::want_of_memory_is_told", want_of_memory_is_told),
];

/// A group that no other test uses.
fn group(name: &str) -> GroupPath {
    let layout = Layout::detect().unwrap();
    GroupPath::new(&layout.default_parent(), &format!("shim-test-{}-{name}", std::process::id())).unwrap()
}

fn exists(path: &GroupPath) -> bool {
    Group::open(&Layout::detect().unwrap(), path).is_ok()
}

/// The programs that run in the group, in order.
fn names(path: &GroupPath) -> Vec<String> {
    let pids = Group::open(&Layout::detect().unwrap(), path).map_or_else(|_| Vec::new(), |g| g.pids(true).unwrap());
    let first_word = |pid: i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let word = line.split(|b| *b == 0).next()?;
        Some(String::from_utf8_lossy(word.rsplit(|b| *b == b'/').next()?).into_owned())
    };
    let mut names: Vec<String> = pids.into_iter().filter_map(first_word).collect();
    names.sort_unstable();
    names
}

fn the_group_goes_with_the_container() {
    let place = Place::new();
    let path = group("goes");
    let mut container = place.run(&["/bin/sleep", "1000"]).with(|l| l.cgroup = Some(path.clone())).start();
    assert_eq!(Group::open(&Layout::detect().unwrap(), &path).unwrap().pids(true).unwrap(), [container.pid]);
    container.kill();
    container.wait();
    container.wait_gone();
    assert!(!exists(&path));
}

fn a_failed_start_leaves_no_group() {
    let place = Place::new();
    let path = group("failed");
    place.run(&["/bin/nosuch"]).with(|l| l.cgroup = Some(path.clone())).try_start().unwrap_err();
    assert!(!exists(&path));
}

fn without_own_pids_the_rest_is_killed() {
    let place = Place::new();
    let path = group("host");
    let order = place.shell("sleep 1000 & setsid sleep 1000 & echo two; exit 3").with(|l| {
        l.cgroup = Some(path.clone());
        l.spec.linux.as_mut().unwrap().namespaces.retain(|n| n.kind != NamespaceKind::Pid);
    });
    let mut container = order.start();
    // Its pipes are held by the two, and the group too.
    assert_eq!(container.wait().exit_code, 3);
    assert_eq!(container.log(), [("stdout".into(), "two\n".into())]);
    container.wait_gone();
    assert!(!exists(&path));
}

fn a_signal_to_all() {
    let place = Place::new();
    let path = group("all");
    let order =
        place.shell("trap : TERM; sleep 1000 & sleep 1000; wait; exit 9").with(|l| l.cgroup = Some(path.clone()));
    let mut container = order.start();
    // A process that is not yet sleep itself is still a shell with the trap.
    until("the shell and two that sleep", || names(&path) == ["sh", "sleep", "sleep"]);
    container.call(Request::Signal { exec_id: None, signo: 15, all: true }).unwrap();
    assert_eq!(container.wait().exit_code, 9);
    container.wait_gone();
}

fn a_change_of_limits_is_taken_back() {
    let place = Place::new();
    let path = group("back");
    let order = place.run(&["/bin/sleep", "1000"]).with(|l| {
        l.cgroup = Some(path.clone());
        let resources = serde_json::json!({"pids": {"limit": 100}});
        l.spec.linux.as_mut().unwrap().resources = Some(serde_json::from_value(resources).unwrap());
    });
    let mut container = order.start();
    let limit = || Group::open(&Layout::detect().unwrap(), &path).unwrap().stats().unwrap().pids.limit;
    let mut change = |limit: i64, number, back| {
        let resources = Box::new(serde_json::from_value(serde_json::json!({"pids": {"limit": limit}})).unwrap());
        let reply = container.connection.call(Request::Update { resources, number, back }, &[]).unwrap();
        assert!(matches!(reply, Reply::Updated { .. }), "{reply:?}");
    };
    change(50, 1, false);
    change(60, 2, false);
    assert_eq!(limit(), Some(60));
    // One that never arrived: the one before stays.
    change(0, 3, true);
    assert_eq!(limit(), Some(60));
    change(70, 4, false);
    change(0, 4, true);
    assert_eq!(limit(), Some(60));
    // It is taken back once.
    change(0, 4, true);
    change(0, 2, true);
    assert_eq!(limit(), Some(60));
    container.kill();
    container.wait();
    container.wait_gone();
}

fn want_of_memory_is_told() {
    let place = Place::new();
    let path = group("oom");
    // tail keeps the endless last line in memory.
    let order = place.shell("tail /dev/zero; echo survived").with(|l| {
        l.cgroup = Some(path.clone());
        let resources = serde_json::json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
        l.spec.linux.as_mut().unwrap().resources = Some(serde_json::from_value(resources).unwrap());
    });
    let mut container = order.start();
    let mut told = false;
    let status = loop {
        match container.connection.event().unwrap().unwrap() {
            Event::OomKilled => told = true,
            Event::Exited(status) => break status,
            _ => continue,
        }
    };
    assert!(told, "no event before {status:?}");
    assert!(status.oom_killed && status.exit_code == 0, "{status:?}");
    assert_eq!(container.log().last().unwrap().1, "survived\n");
    container.wait_gone();
}
