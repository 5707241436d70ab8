//! What a shim costs, and that it does not cost more with time.

use crate::Case;
use crate::place::*;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("costs::an_idle_shim_is_small", an_idle_shim_is_small),
    ("costs::ten_thousand_attaches_leave_nothing", ten_thousand_attaches_leave_nothing),
    ("costs::a_start_is_quick", a_start_is_quick),
];

/// The aim is 100 KiB in a release build; this is the limit of the issue.
const MAX_PSS_KIB: u64 = 300;

fn an_idle_shim_is_small() {
    let place = Place::new();
    let mut containers: Vec<Container> = (0..10).map(|_| place.run(&["/bin/sleep", "1000"]).start()).collect();
    let pss = |c: &Container| memory_kib(c.shim_pid, "Pss:");
    until("every shim gives its memory back", || containers.iter().all(|c| pss(c) < MAX_PSS_KIB));
    for c in &containers {
        until_idle(c.shim_pid);
    }
    until("they settle", || containers.iter().all(|c| memory_kib(c.shim_pid, "Private_Dirty") < MAX_PSS_KIB / 2));
    let first = &containers[0];
    println!(
        "an idle shim: Pss {} KiB, private {} KiB, zygote Pss {} KiB",
        containers.iter().map(pss).sum::<u64>() / 10,
        memory_kib(first.shim_pid, "Private_Dirty"),
        zygote_pss(first)
    );
    for container in &mut containers {
        container.kill();
        container.wait();
    }
}

fn zygote_pss(container: &Container) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.shim_pid)).unwrap();
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    memory_kib(parent, "Pss:")
}

fn ten_thousand_attaches_leave_nothing() {
    let place = Place::new();
    let mut container = place.shell("while read line; do echo $line; done").stdin(false).start();
    let mut round = |n: usize| {
        for at in 0..n {
            let mut client = container.attach(options(true)).unwrap();
            if at % 100 == 0 {
                client.send("x\n");
                client.expect("x\n");
            }
        }
        until("the clients are let go", || container.state().clients == 0);
        (open_fds(container.shim_pid), memory_kib(container.shim_pid, "Private_Dirty"))
    };
    let (fds, memory) = round(1_000);
    let (fds_later, memory_later) = round(10_000);
    assert_eq!(fds, fds_later);
    assert!(memory_later <= memory + 64, "{memory} KiB became {memory_later} KiB");
    container.kill();
    container.wait();
}

fn a_start_is_quick() {
    let place = Place::new();
    let mut times: Vec<Duration> = (0..30)
        .map(|_| {
            let order = place.run(&["/bin/true"]);
            let begin = Instant::now();
            order.start().wait();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("start and end of a container without cgroup and network: median {:?}", times[times.len() / 2]);
    // Generous: a debug build on a busy machine. It guards against sleeps and time-outs on the road.
    assert!(times[times.len() / 2] < Duration::from_millis(250), "{times:?}");
}
