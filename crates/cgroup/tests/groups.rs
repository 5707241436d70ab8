//! Real groups on whatever this machine has: v2, hybrid or v1. Each test makes groups of its own beneath the default
//! parent and removes them; what a machine can't show is named as `SKIP <test>: <reason>`.
// Clippy spares only functions marked #[test], not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use dhow_cgroup::resources::{DeviceRule, HugepageLimit, Memory, Pids};
use dhow_cgroup::{Group, GroupMount, GroupPath, Hierarchy, Layout, Mode, Resources, Version};
use dhow_types::ErrorKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

/// How long the kernel may take for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A layout, and a path that no other test uses; the group, and the parents made for it, are removed at the end.
struct Place {
    layout: Layout,
    path: GroupPath,
}

impl Place {
    /// `None`, after saying so, where the machine has no control groups or this is not root.
    fn new(test: &str) -> Option<Place> {
        let layout = Layout::detect().unwrap();
        if layout.mode() == Mode::None {
            return skip(test, "no control groups are mounted");
        }
        if !rustix::process::geteuid().is_root() {
            return skip(test, "needs root");
        }
        let parent = layout.default_parent().child(&format!("test-{}-{test}", std::process::id())).unwrap();
        let path = GroupPath::new(&parent, "group").unwrap();
        Some(Place { layout, path })
    }
    fn create(&self, json: &str) -> Group {
        let r: Resources = serde_json::from_str(json).unwrap();
        let (group, warnings) = Group::create(&self.layout, &self.path, &r).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        group
    }
    fn dir(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount_point().join(self.path.path_in(hierarchy.key()).trim_start_matches('/'))
    }
    /// The text of a file, in the hierarchy that has the controller.
    fn read(&self, controller: &str, v1: &str, v2: &str) -> String {
        let hierarchy = self.layout.holder(controller).unwrap();
        let file = if hierarchy.version() == Version::V1 { v1 } else { v2 };
        fs::read_to_string(self.dir(hierarchy).join(file)).unwrap().trim().to_string()
    }
    fn has(&self, controller: &str) -> bool {
        self.layout.holder(controller).is_some()
    }
    /// Where the group exists.
    fn present(&self) -> Vec<&str> {
        self.layout.hierarchies().iter().filter(|h| self.dir(h).exists()).map(|h| h.key()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(group) = Group::open(&self.layout, &self.path) {
            let _ = group.kill_all();
            let _ = group.delete();
        }
        for h in self.layout.hierarchies() {
            // The parent of this test; `dhow` above it stays, other tests use it.
            let _ = fs::remove_dir(self.dir(h).parent().unwrap());
        }
    }
}

fn skip<T>(test: &str, reason: &str) -> Option<T> {
    println!("SKIP {test}: {reason}");
    None
}

/// A shell that does what is written to it, line by line.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// Started outside, then put into the group.
    fn inside(group: &Group) -> Shell {
        let shell = Shell::outside();
        group.join(shell.pid(), false).unwrap();
        shell
    }
    fn outside() -> Shell {
        let mut child =
            Command::new("/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Shell { child, input, output }
    }
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).unwrap()
    }
    fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
    /// What the command prints, as one line.
    fn ask(&mut self, line: &str) -> String {
        self.send(&format!("echo $({line})"));
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim().to_string()
    }
    /// Whether the command succeeds.
    fn try_do(&mut self, line: &str) -> bool {
        self.ask(&format!("if ({line}) >/dev/null 2>&1; then echo yes; else echo no; fi")) == "yes"
    }
    fn end(mut self) {
        self.send("exit");
        self.child.wait().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn a_group_is_made_joined_and_removed() {
    let Some(place) = Place::new("a_group_is_made_joined_and_removed") else { return };
    let group = place.create("{}");
    assert_eq!(group.v2_dir().is_some(), place.layout.v2().is_some());
    let mut shell = Shell::inside(&group);
    assert_eq!(group.pids(false).unwrap(), [shell.child.id() as i32]);
    let text = shell.ask("cat /proc/self/cgroup | tr '\\n' ';'");
    for key in place.present() {
        let name = if key == "unified" { "" } else { key };
        let want = format!(":{name}:{}", place.path.path_in(key));
        assert!(text.split(';').any(|l| l.ends_with(&want)), "{want} in {text}");
    }
    shell.end();
    group.delete().unwrap();
    assert_eq!(place.present(), Vec::<&str>::new());
}

#[test]
fn groups_and_layouts_may_be_used_by_any_thread() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Group>();
    check::<Layout>();
    check::<GroupPath>();
}

#[test]
fn only_what_is_asked_for_costs_a_hierarchy() {
    let Some(place) = Place::new("only_what_is_asked_for_costs_a_hierarchy") else { return };
    let before = place.create("{}");
    let basic = place.present().len();
    before.delete().unwrap();
    match place.layout.mode() {
        Mode::V2 => assert_eq!(basic, 1),
        _ if !place.has("cpu") || !place.has("blkio") => {
            skip::<()>("only_what_is_asked_for_costs_a_hierarchy", "no cpu or blkio controller on v1");
        }
        _ => {
            assert!(!place.present().contains(&"blkio"));
            let group = place.create(r#"{"cpu":{"shares":512}}"#);
            assert!(place.present().iter().any(|k| k.split(',').any(|c| c == "cpu")));
            assert!(!place.present().contains(&"blkio"));
            group.delete().unwrap();
        }
    }
}

#[test]
fn limits_stand_in_the_files() {
    let test = "limits_stand_in_the_files";
    let Some(place) = Place::new(test) else { return };
    let mut parts = Vec::new();
    for (controller, json) in [
        ("memory", r#""memory":{"limit":67108864,"reservation":33554432}"#),
        ("cpu", r#""cpu":{"shares":512,"quota":50000,"period":200000}"#),
        ("pids", r#""pids":{"limit":20}"#),
    ] {
        if place.has(controller) {
            parts.push(json);
        } else {
            skip::<()>(test, &format!("no {controller} controller"));
        }
    }
    let group = place.create(&format!("{{{}}}", parts.join(",")));
    if place.has("memory") {
        assert_eq!(place.read("memory", "memory.limit_in_bytes", "memory.max"), "67108864");
        assert_eq!(place.read("memory", "memory.soft_limit_in_bytes", "memory.low"), "33554432");
    }
    if place.has("cpu") {
        let v1 = place.layout.holder("cpu").unwrap().version() == Version::V1;
        assert_eq!(place.read("cpu", "cpu.shares", "cpu.weight"), if v1 { "512" } else { "59" });
        assert_eq!(place.read("cpu", "cpu.cfs_quota_us", "cpu.max"), if v1 { "50000" } else { "50000 200000" });
        let r: Resources = serde_json::from_str(r#"{"cpu":{"period":100000}}"#).unwrap();
        group.update(&r).unwrap();
        assert_eq!(place.read("cpu", "cpu.cfs_period_us", "cpu.max"), if v1 { "100000" } else { "50000 100000" });
    }
    if place.has("pids") {
        assert_eq!(place.read("pids", "pids.max", "pids.max"), "20");
    }
    let stats = group.stats().unwrap();
    if place.has("memory") {
        assert_eq!(stats.memory.unwrap().limit, Some(64 << 20));
    }
    if place.has("pids") {
        assert_eq!(stats.pids.limit, Some(20));
    }
    group.delete().unwrap();
}

#[test]
fn a_cpuset_holds_its_processes() {
    let test = "a_cpuset_holds_its_processes";
    let Some(place) = Place::new(test) else { return };
    if !place.has("cpuset") {
        return skip(test, "no cpuset controller").unwrap_or_default();
    }
    let group = place.create(r#"{"cpu":{"cpus":"0","mems":"0"}}"#);
    assert_eq!(place.read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let mut shell = Shell::inside(&group);
    assert_eq!(shell.ask("grep Cpus_allowed_list /proc/self/status | cut -f2"), "0");
    shell.end();
    group.delete().unwrap();
}

#[test]
fn the_limit_on_tasks_holds() {
    let test = "the_limit_on_tasks_holds";
    let Some(place) = Place::new(test) else { return };
    if !place.has("pids") {
        return skip(test, "no pids controller").unwrap_or_default();
    }
    let group = place.create(r#"{"pids":{"limit":3}}"#);
    let mut shell = Shell::inside(&group);
    assert!(shell.try_do("true"));
    assert!(!shell.try_do("sleep 9 & sleep 9 & sleep 9 & sleep 9 & wait"));
    group.kill_all().unwrap();
    shell.child.wait().unwrap();
    group.delete().unwrap();
}

#[test]
fn running_out_of_memory_is_seen_and_counted() {
    let test = "running_out_of_memory_is_seen_and_counted";
    let Some(place) = Place::new(test) else { return };
    if !place.has("memory") {
        return skip(test, "no memory controller").unwrap_or_default();
    }
    let limit = 32 << 20;
    let mut r = Resources { memory: Some(Memory { limit: Some(limit), ..Memory::default() }), ..Resources::default() };
    let swap =
        Resources { memory: Some(Memory { swap: Some(limit), limit: Some(limit), ..Memory::default() }), ..r.clone() };
    if place.layout.missing_for(&swap).is_empty() {
        r = swap;
    }
    let (group, _) = Group::create(&place.layout, &place.path, &r).unwrap();
    let mut watch = group.oom_watch().unwrap();
    assert!(!watch.take().unwrap());
    assert_eq!(group.oom_kills().unwrap(), 0);
    let mut shell = Shell::inside(&group);
    // `tail` keeps what it reads, because there is no end of line in it.
    shell.send("head -c 200000000 /dev/zero | tail -n 1 >/dev/null; echo over");
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap();
    assert_eq!(ready, 1, "no news about memory");
    let mut seen = false;
    until("news of an OOM kill", || {
        seen |= watch.take().unwrap();
        seen
    });
    until("the count of kills", || group.oom_kills().unwrap() >= 1);
    assert!(group.stats().unwrap().memory.unwrap().oom_kills >= 1);
    drop(shell);
    group.kill_all().unwrap();
    group.delete().unwrap();
    // The end of a group is no news about memory.
    watch.take().unwrap();
    assert!(!watch.take().unwrap());
}

#[test]
fn devices_are_guarded_and_rules_can_change() {
    let test = "devices_are_guarded_and_rules_can_change";
    let Some(place) = Place::new(test) else { return };
    if fs::File::open("/dev/kmsg").is_err() {
        return skip(test, "/dev/kmsg can't be opened even outside").unwrap_or_default();
    }
    let rule = |allow, minor, access: &str| DeviceRule {
        allow,
        kind: Some("c".into()),
        major: Some(1),
        minor: Some(minor),
        access: Some(access.into()),
    };
    let all = DeviceRule { allow: false, access: Some("rwm".into()), ..DeviceRule::default() };
    let mut r = Resources { devices: vec![all.clone()], ..Resources::default() };
    let (group, _) = Group::create(&place.layout, &place.path, &r).unwrap();
    let mut shell = Shell::inside(&group);
    assert!(shell.try_do(": </dev/null && : >/dev/null && head -c 1 /dev/urandom"));
    assert!(!shell.try_do(": </dev/kmsg"));
    r.devices.push(rule(true, 11, "r"));
    group.update(&r).unwrap();
    assert!(shell.try_do(": </dev/kmsg") && !shell.try_do(": >/dev/kmsg") && shell.try_do(": >/dev/null"));
    r.devices.pop();
    group.update(&r).unwrap();
    assert!(!shell.try_do(": </dev/kmsg") && shell.try_do(": </dev/null"));
    // All but one.
    r.devices = vec![DeviceRule { allow: true, ..all }, rule(false, 11, "w")];
    group.update(&r).unwrap();
    assert!(shell.try_do(": </dev/kmsg") && !shell.try_do(": >/dev/kmsg"));
    // And back to a list.
    r.devices = vec![DeviceRule { allow: false, ..DeviceRule::default() }];
    group.update(&r).unwrap();
    assert!(!shell.try_do(": </dev/kmsg") && shell.try_do(": >/dev/null"));
    shell.end();
    group.delete().unwrap();
}

#[test]
fn a_privileged_group_may_use_everything() {
    let test = "a_privileged_group_may_use_everything";
    let Some(place) = Place::new(test) else { return };
    if fs::File::open("/dev/kmsg").is_err() {
        return skip(test, "/dev/kmsg can't be opened even outside").unwrap_or_default();
    }
    let group = place.create(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    let mut shell = Shell::inside(&group);
    assert!(shell.try_do(": </dev/kmsg"));
    let r: Resources = serde_json::from_str(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#).unwrap();
    group.update(&r).unwrap();
    assert!(!shell.try_do(": </dev/kmsg"));
    shell.end();
    group.delete().unwrap();
}

#[test]
fn a_frozen_group_stands_still() {
    let Some(place) = Place::new("a_frozen_group_stands_still") else { return };
    let group = place.create("{}");
    let mut shell = Shell::inside(&group);
    assert!(!group.frozen().unwrap() && !group.is_paused().unwrap());
    group.freeze(true).unwrap();
    assert!(group.frozen().unwrap() && group.is_paused().unwrap());
    shell.send("echo alive");
    let waits = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let output = shell.output.get_ref();
    let mut fds = [PollFd::new(output, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&waits)).unwrap(), 0, "a frozen process answered");
    group.freeze(false).unwrap();
    assert!(!group.frozen().unwrap() && !group.is_paused().unwrap());
    let mut answer = String::new();
    shell.output.read_line(&mut answer).unwrap();
    assert_eq!(answer, "alive\n");
    // Killing works on a frozen group too.
    group.freeze(true).unwrap();
    group.kill_all().unwrap();
    assert!(!shell.child.wait().unwrap().success());
    group.delete().unwrap();
}

#[test]
fn kill_and_delete_reach_groups_inside() {
    let Some(place) = Place::new("kill_and_delete_reach_groups_inside") else { return };
    let group = place.create("{}");
    let mut shell = Shell::inside(&group);
    for key in place.present() {
        let h = place.layout.hierarchies().iter().find(|h| h.key() == key).unwrap();
        fs::create_dir_all(place.dir(h).join("a/b")).unwrap();
    }
    let first = place.layout.hierarchies().iter().find(|h| place.dir(h).exists()).unwrap();
    let inner = place.dir(first).join("a/b/cgroup.procs");
    shell.send("sleep 1000 & sleep 1000 & echo $!");
    let mut pid = String::new();
    shell.output.read_line(&mut pid).unwrap();
    fs::write(inner, pid.trim()).unwrap();
    assert_eq!(group.pids(false).unwrap().len(), 2);
    assert_eq!(group.pids(true).unwrap().len(), 3);
    group.kill_all().unwrap();
    shell.child.wait().unwrap();
    group.delete().unwrap();
    assert_eq!(place.present(), Vec::<&str>::new());
}

#[test]
fn delete_waits_for_processes_that_are_ending() {
    let Some(place) = Place::new("delete_waits_for_processes_that_are_ending") else { return };
    let group = place.create("{}");
    let mut shell = Shell::inside(&group);
    shell.send("sleep 0.3; exit");
    group.delete().unwrap();
    assert_eq!(place.present(), Vec::<&str>::new());
    assert!(shell.child.wait().unwrap().success());
}

#[test]
fn a_limit_the_kernel_refuses_leaves_nothing_behind() {
    let test = "a_limit_the_kernel_refuses_leaves_nothing_behind";
    let Some(place) = Place::new(test) else { return };
    if !place.has("cpu") {
        return skip(test, "no cpu controller").unwrap_or_default();
    }
    // The least period is a millisecond.
    let r: Resources = serde_json::from_str(r#"{"cpu":{"period":10}}"#).unwrap();
    let e = Group::create(&place.layout, &place.path, &r).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidParameter, "{e}");
    assert!(e.text().contains("cpu.period") && e.text().contains("invalid argument"), "{e}");
    assert_eq!(place.present(), Vec::<&str>::new());
    for h in place.layout.hierarchies() {
        assert!(!place.dir(h).parent().unwrap().exists(), "the parent was made for it too");
    }
}

/// What a change of limits may touch.
const LIMITS: [&str; 22] = [
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "memory.max",
    "memory.swap.max",
    "memory.low",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.shares",
    "cpu.max",
    "cpu.weight",
    "cpuset.cpus",
    "cpuset.mems",
    "pids.max",
    "blkio.bfq.weight",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_iops_device",
    "io.bfq.weight",
    "io.weight",
    "io.max",
];

/// The files of [`LIMITS`] that there are, and what they say.
fn limits_of(place: &Place) -> Vec<(PathBuf, String)> {
    let files = place.layout.hierarchies().iter().flat_map(|h| LIMITS.map(|file| place.dir(h).join(file)));
    files.filter_map(|file| fs::read_to_string(&file).ok().map(|text| (file, text))).collect()
}

/// A disk of this machine.
fn disk() -> Option<String> {
    let table = fs::read_to_string("/proc/partitions").unwrap();
    let mut rows = table.lines().skip(2).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find_map(|row| match row[..] {
        [major, minor, blocks, _] if blocks != "0" => Some(format!(r#""major":{major},"minor":{minor}"#)),
        _ => None,
    })
}

#[test]
fn a_change_that_fails_or_is_taken_back_leaves_every_limit_as_it_was() {
    let test = "a_change_that_fails_or_is_taken_back_leaves_every_limit_as_it_was";
    let Some(place) = Place::new(test) else { return };
    if !["memory", "cpu", "cpuset", "pids"].iter().all(|c| place.has(c)) || !(place.has("io") || place.has("blkio")) {
        return skip(test, "not all controllers").unwrap_or_default();
    }
    // In every hierarchy from the start, so that nothing is only found there afterwards.
    let Some(disk) = disk() else { return skip(test, "no disk").unwrap_or_default() };
    let group = place.create(&format!(
        r#"{{"memory":{{"limit":134217728}},"cpu":{{"shares":512,"cpus":"0"}},"pids":{{"limit":100}},
        "blockIO":{{"throttleReadBpsDevice":[{{{disk},"rate":0}}]}}}}"#
    ));
    let shell = Shell::inside(&group);
    let before = limits_of(&place);
    let all = |device: &str| -> Resources {
        let text = format!(
            r#"{{"memory":{{"limit":67108864,"reservation":33554432,"swappiness":7}},
            "cpu":{{"shares":256,"period":50000,"quota":20000,"mems":"0"}},"pids":{{"limit":50}},
            "blockIO":{{"throttleReadBpsDevice":[{{{device},"rate":1048576}}]}}}}"#
        );
        let mut r: Resources = serde_json::from_str(&text).unwrap();
        if place.layout.holder("memory").unwrap().version() == Version::V2
            && let Some(memory) = &mut r.memory
        {
            memory.swappiness = None;
        }
        r
    };
    // The last write fails: there is no such disk.
    let e = group.update(&all(r#""major":4000,"minor":77"#)).unwrap_err();
    assert!(e.text().contains("no such device"), "{e}");
    assert_eq!(limits_of(&place), before);
    let (_, undo) = group.change(&all(&disk)).unwrap();
    assert!(limits_of(&place).iter().zip(&before).filter(|(a, b)| a != b).count() >= 5, "it was changed");
    group.take_back(undo).unwrap();
    assert_eq!(limits_of(&place), before);
    shell.end();
    group.delete().unwrap();
}

#[test]
fn groups_come_and_go_at_once_beneath_one_parent() {
    let Some(place) = Place::new("groups_come_and_go_at_once_beneath_one_parent") else { return };
    // Each thread's failures take away the parent that the others are about to use.
    let bad = place.has("cpu").then(|| serde_json::from_str::<Resources>(r#"{"cpu":{"period":10}}"#).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (place, bad) = (&place, &bad);
            scope.spawn(move || {
                for round in 0..20 {
                    let path = format!("{}/t{thread}-{round}", place.path.path_in("unified"));
                    let parent = place.layout.default_parent();
                    let base = parent.path_in("unified");
                    let name = path.strip_prefix(base).unwrap();
                    let path = GroupPath::new(&parent, name).unwrap();
                    if let Some(bad) = bad {
                        let e = Group::create(&place.layout, &path, bad).unwrap_err();
                        assert_eq!(e.kind(), ErrorKind::InvalidParameter, "{e}");
                    }
                    let (group, _) = Group::create(&place.layout, &path, &Resources::default()).unwrap();
                    group.delete().unwrap();
                }
            });
        }
    });
}

#[test]
fn a_group_in_use_is_not_taken_over() {
    let Some(place) = Place::new("a_group_in_use_is_not_taken_over") else { return };
    let group = place.create("{}");
    // An empty one is, like in runc.
    let (again, _) = Group::create(&place.layout, &place.path, &Resources::default()).unwrap();
    drop(again);
    let shell = Shell::inside(&group);
    let e = Group::create(&place.layout, &place.path, &Resources::default()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict, "{e}");
    assert_eq!(group.pids(true).unwrap().len(), 1, "the group itself is untouched");
    shell.end();
    group.delete().unwrap();
}

#[test]
fn an_existing_group_is_opened_again() {
    let Some(place) = Place::new("an_existing_group_is_opened_again") else { return };
    let e = Group::open(&place.layout, &place.path).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    let first = place.create("{}");
    let shell = Shell::inside(&first);
    drop(first);
    let second = Group::open(&place.layout, &place.path).unwrap();
    assert_eq!(second.pids(false).unwrap(), [shell.child.id() as i32]);
    second.kill_all().unwrap();
    drop(shell);
    // Gone while it was open: nothing is left to be done, and that is no error.
    let third = Group::open(&place.layout, &place.path).unwrap();
    second.delete().unwrap();
    assert_eq!(third.pids(true).unwrap(), Vec::<i32>::new());
    third.delete().unwrap();
}

#[test]
fn an_update_brings_running_processes_along() {
    let test = "an_update_brings_running_processes_along";
    let Some(place) = Place::new(test) else { return };
    if !place.has("cpu") {
        return skip(test, "no cpu controller").unwrap_or_default();
    }
    let group = place.create("{}");
    let mut shell = Shell::inside(&group);
    shell.send("sleep 1000 & echo started");
    shell.output.read_line(&mut String::new()).unwrap();
    let r: Resources = serde_json::from_str(r#"{"cpu":{"shares":2048,"quota":20000}}"#).unwrap();
    group.update(&r).unwrap();
    let v1 = place.layout.holder("cpu").unwrap().version() == Version::V1;
    assert_eq!(place.read("cpu", "cpu.shares", "cpu.weight"), if v1 { "2048" } else { "174" });
    let members = place.read("cpu", "cgroup.procs", "cgroup.procs");
    assert_eq!(members.lines().count(), 2, "{members}");
    // A busy loop in the group is stopped by the quota, and the statistics say so.
    shell.send("while :; do :; done");
    until("throttling", || group.stats().unwrap().cpu.throttled_periods > 0);
    assert!(group.stats().unwrap().cpu.usage_ns > 0);
    group.kill_all().unwrap();
    shell.child.wait().unwrap();
    group.delete().unwrap();
}

#[test]
fn a_process_puts_itself_into_the_group() {
    let Some(place) = Place::new("a_process_puts_itself_into_the_group") else { return };
    let group = place.create("{}");
    let joiner = group.joiner(false).unwrap();
    let files: Vec<_> = joiner.files().map(|f| f.try_clone_to_owned().unwrap()).collect();
    assert_eq!(files.len(), place.present().len());
    // On v2 by a process of its own, because the file takes whole processes; it gets the file as its standard input.
    if place.layout.v2().is_some() {
        let file = files[0].try_clone().unwrap();
        let out = Command::new("/bin/sh")
            .args(["-c", "printf 0 >&0; cat /proc/self/cgroup"])
            .stdin(Stdio::from(file))
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains(&format!("0::{}\n", place.path.path_in("unified"))), "{text}");
    }
    // On v1 by a thread of this test, which the files take alone.
    if place.layout.mode() != Mode::V2 {
        let rest = group.joiner(true).unwrap();
        let text = std::thread::spawn(move || {
            rest.join_current().unwrap();
            fs::read_to_string("/proc/thread-self/cgroup").unwrap()
        });
        let text = text.join().unwrap();
        for key in place.present().into_iter().filter(|k| *k != "unified") {
            assert!(text.contains(&format!(":{key}:{}\n", place.path.path_in(key))), "{key} in {text}");
        }
    }
    group.delete().unwrap();
}

#[test]
fn the_mount_plan_shows_the_group_and_nothing_else() {
    let Some(place) = Place::new("the_mount_plan_shows_the_group_and_nothing_else") else { return };
    let group = place.create("{}");
    let plan = group.mount_plan();
    assert!(!plan.is_empty());
    for mount in plan {
        let dir = match &mount {
            GroupMount::Unified { dir } => {
                assert_eq!(place.layout.mode(), Mode::V2);
                dir
            }
            GroupMount::V1 { name, data, dir, .. } => {
                assert!(data.ends_with(name.as_str()));
                dir
            }
        };
        assert!(dir.join("cgroup.procs").exists() && dir.ends_with("group"), "{mount:?}");
    }
    group.delete().unwrap();
}

#[test]
fn raw_v2_files_are_written_or_refused_by_name() {
    let Some(place) = Place::new("raw_v2_files_are_written_or_refused_by_name") else { return };
    let high: Resources = serde_json::from_str(r#"{"unified":{"memory.high":"67108864"}}"#).unwrap();
    if place.layout.v2().is_some_and(|h| h.controllers().iter().any(|c| c == "memory")) {
        let (group, _) = Group::create(&place.layout, &place.path, &high).unwrap();
        assert_eq!(place.read("memory", "", "memory.high"), "67108864");
        group.delete().unwrap();
    } else {
        let e = Group::create(&place.layout, &place.path, &high).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert!(e.text().contains("unified.memory.high"), "{e}");
    }
    if place.layout.v2().is_some() {
        let group = place.create(r#"{"unified":{"cgroup.max.depth":"3"}}"#);
        assert_eq!(fs::read_to_string(place.dir(place.layout.v2().unwrap()).join("cgroup.max.depth")).unwrap(), "3\n");
        group.delete().unwrap();
    }
}

/// A limit that needs a controller on the v2 hierarchy, if there is one.
fn needs_v2(layout: &Layout) -> Option<Resources> {
    let has = |c: &str| layout.v2().is_some_and(|h| h.controllers().iter().any(|have| have == c));
    if has("pids") {
        return Some(Resources { pids: Some(Pids { limit: Some(50) }), ..Resources::default() });
    }
    if !has("hugetlb") {
        return None;
    }
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").ok()?;
    let name = sizes.filter_map(|e| e.ok()?.file_name().into_string().ok()).next()?;
    let kb: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    let page_size = match kb {
        kb if kb >= 1 << 20 => format!("{}GB", kb >> 20),
        kb if kb >= 1 << 10 => format!("{}MB", kb >> 10),
        kb => format!("{kb}KB"),
    };
    let limit = HugepageLimit { page_size, limit: 0 };
    Some(Resources { hugepage_limits: vec![limit], ..Resources::default() })
}

#[test]
fn a_parent_with_processes_of_others_is_named_and_left_alone() {
    let test = "a_parent_with_processes_of_others_is_named_and_left_alone";
    let Some(place) = Place::new(test) else { return };
    let Some(r) = needs_v2(&place.layout) else {
        return skip(test, "no controller on the v2 hierarchy").unwrap_or_default();
    };
    let busy = place.create("{}");
    let shell = Shell::inside(&busy);
    let inner = GroupPath::from_cgroups_path(&format!("{}/inner", place.path.path_in("unified"))).unwrap();
    let e = Group::create(&place.layout, &inner, &r).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
    assert!(e.text().contains(place.path.path_in("unified")) && e.text().contains("--cgroup-parent"), "{e}");
    assert_eq!(busy.pids(false).unwrap().len(), 1, "the processes of others are where they were");
    assert_eq!(busy.pids(true).unwrap().len(), 1);
    shell.end();
    busy.delete().unwrap();
}

/// Runs twice: as the test, and inside a shell that the test has put into a group of its own, where it plays the
/// daemon. What tells the two apart is the group's name.
#[test]
fn a_daemon_makes_way_for_groups_beneath_its_own() {
    const OWN: &str = "makes-way-daemon";
    let test = "a_daemon_makes_way_for_groups_beneath_its_own";
    let Some(place) = Place::new(test) else { return };
    let Some(r) = needs_v2(&place.layout) else {
        return skip(test, "no controller on the v2 hierarchy").unwrap_or_default();
    };
    let v2 = place.layout.v2().unwrap();
    if v2.own().ends_with(OWN) {
        let (group, _) = Group::create(&place.layout, &place.path, &r).unwrap();
        let now = Layout::detect().unwrap();
        assert!(now.v2().unwrap().own().ends_with("makes-way-daemon/dhow-daemon"), "{now:?}");
        assert_eq!(now.default_parent(), place.layout.default_parent(), "it is found again after a restart");
        assert!(place.path.path_in("unified").contains("/makes-way-daemon/dhow/test-"));
        group.delete().unwrap();
        return;
    }
    let own = GroupPath::new(&place.layout.default_parent().child(&format!("w{}", std::process::id())).unwrap(), OWN);
    let own = own.unwrap();
    let (group, _) = Group::create(&place.layout, &own, &Resources::default()).unwrap();
    let mut shell = Shell::inside(&group);
    let exe = std::env::current_exe().unwrap();
    let run = format!("{} --exact {test} --test-threads=1 | grep -c '^test result: ok. 1 passed'", exe.display());
    assert_eq!(shell.ask(&run), "1");
    shell.end();
    group.delete().unwrap();
    for h in place.layout.hierarchies() {
        let _ = fs::remove_dir(h.mount_point().join(own.path_in(h.key()).trim_start_matches('/')).parent().unwrap());
    }
}
