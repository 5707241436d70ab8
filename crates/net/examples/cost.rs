//! What the network of a container costs here: `cargo run -p dhow-net --example cost [rounds]`, as root.
//!
//! Works in a network namespace of its own. Wall time is per step on the start path; processor time is of the whole
//! process, so it includes what is prepared in the background.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use dhow_net::{Bridge, BridgeConfig, Connect, NetnsSlot, Pool, PoolConfig, PortBinding, loopback_netns};
use dhow_types::ContainerId;
use std::time::{Duration, Instant};

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(50, |n| n.parse().unwrap());
    dhow_sys::netns::unshare_net().unwrap();
    std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();

    measure("ensure the bridge", 1, || drop(Bridge::ensure(BridgeConfig::new("cost")).unwrap()));
    let bridge = Bridge::ensure(BridgeConfig::new("cost")).unwrap();
    measure("loopback_netns, dropped", rounds, || drop(loopback_netns().unwrap()));
    let mut slots = Vec::new();
    measure("NetnsSlot::new", rounds, || slots.push(NetnsSlot::new().unwrap()));
    let mut n = 0u32;
    let mut ends = Vec::new();
    let mut connect = |slot: &mut NetnsSlot, ports: &[PortBinding]| {
        n += 1;
        let mut raw = [0u8; 32];
        raw[..4].copy_from_slice(&n.to_be_bytes());
        let container = ContainerId::from_raw(raw);
        let request = Connect { container: &container, netns: slot, ports, mac: None, ip: None };
        ends.push(bridge.connect(request).unwrap());
    };
    let mut all = slots.iter_mut();
    measure("connect a bare namespace", rounds, || connect(all.next().unwrap(), &[]));
    slots.clear();
    let tcp = [PortBinding::parse("80/tcp", "", "").unwrap()];
    let udp = [PortBinding::parse("80/udp", "", "").unwrap()];

    let pool = Pool::start(&bridge, PoolConfig { target: rounds as usize * 3, ..PoolConfig::default() }).unwrap();
    let cpu = cpu_time();
    pool.fill();
    while pool.ready() < rounds as usize * 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!(
        "{:<34} {:>9.1} us of processor each",
        "prepare ahead",
        (cpu_time() - cpu).as_secs_f64() * 1e6 / f64::from(rounds * 3)
    );
    let mut kept = Vec::new();
    measure("take", rounds * 3, || kept.push(pool.take().unwrap()));
    let mut all = kept.iter_mut();
    measure("connect a prepared one", rounds, || connect(all.next().unwrap(), &[]));
    measure("the same with one TCP port", rounds, || connect(all.next().unwrap(), &tcp));
    measure("the same with one UDP port", rounds, || connect(all.next().unwrap(), &udp));
    drop(pool);
    let mut left = ends.iter();
    measure("disconnect", rounds * 2, || bridge.disconnect(left.next().unwrap()).unwrap());
    measure("the same with one TCP port", rounds, || bridge.disconnect(left.next().unwrap()).unwrap());
    measure("the same with one UDP port", rounds, || bridge.disconnect(left.next().unwrap()).unwrap());
}

fn measure(what: &str, rounds: u32, mut step: impl FnMut()) {
    let cpu = cpu_time();
    let mut walls: Vec<Duration> = (0..rounds)
        .map(|_| {
            let t = Instant::now();
            step();
            t.elapsed()
        })
        .collect();
    walls.sort();
    let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / f64::from(rounds);
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    println!(
        "{what:<34} median {:>8.1} us, worst {:>8.1} us, processor {cpu:>8.1} us",
        us(walls[walls.len() / 2]),
        us(walls[walls.len() - 1])
    );
}

/// User and system time of the process, from /proc/self/schedstat's nanoseconds of all threads.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ns = tasks.filter_map(|t| {
        let text = std::fs::read_to_string(t.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(ns.sum())
}
