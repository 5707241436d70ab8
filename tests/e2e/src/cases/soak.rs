//! Many commands in a row: nothing may be more afterwards than before.
//!
//! A small number here; `cargo xtask soak` runs ten thousand.

use crate::daemon::{Daemon, PATIENCE, until};
use crate::footprint::{Footprint, hierarchies};
use crate::made::Made;
use crate::registry::{Kind, Registry};
use crate::runner::World;
use crate::transfers::pull;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

super::cases!("soak": nothing_grows, pulls_leave_nothing);

/// Of each, before anything is measured: what is made once is made then.
const WARM_UP: usize = 30;
/// KiB by which memory may grow: what the allocator keeps in reserve.
const RESERVE: u64 = 1024;
/// The same for a shim and for the zygote.
const SMALL_RESERVE: u64 = 96;
/// KiB by which the database's files may grow: its journal is used again from 4 MiB on.
const JOURNAL: u64 = 5 << 10;

/// An exec, and its exit code.
fn exec(number: usize) -> (&'static [&'static str], i32) {
    match number % 10 {
        1 => (&["exec", "-d", "soaked", "true"], 0),
        3 => (&["exec", "soaked", "nothing-of-this-name"], 127),
        5 => (&["exec", "-i", "soaked", "cat"], 0),
        7 => (&["exec", "-e", "A=b", "-w", "/tmp", "soaked", "sh", "-c", "echo out; echo err >&2; exit 3"], 3),
        _ => (&["exec", "soaked", "true"], 0),
    }
}

/// A run, without its group, and its exit code.
fn run(number: usize) -> (&'static [&'static str], i32) {
    match number % 10 {
        1 => (&["-p", "80", "busybox", "true"], 0),
        2 => (&["busybox", "nothing-of-this-name"], 127),
        3 => (&["-v", "/data", "busybox", "touch", "/data/file"], 0),
        4 => (&["--network", "none", "--init", "busybox", "sh", "-c", "exit 4"], 4),
        5 => (&["-i", "busybox", "cat"], 0),
        6 => (&["--tmpfs", "/t", "-m", "64m", "busybox", "sh", "-c", "sleep 100 & echo hi"], 0),
        7 => (&["--health-cmd", "true", "--health-interval", "1s", "busybox", "true"], 0),
        _ => (&["busybox", "true"], 0),
    }
}

fn rounds(d: &Daemon, parent: &str, execs: usize, runs: usize) -> Result<()> {
    for number in 0..execs {
        let (words, code) = exec(number);
        let ran = d.cli(words)?;
        ensure!(ran.code == code, "{words:?}: {ran:?}");
    }
    for number in 0..runs {
        let (words, code) = run(number);
        let ran = d.cli(&[&["run", "--rm", "--cgroup-parent", parent], words].concat())?;
        ensure!(ran.code == code, "{words:?}: {ran:?}");
    }
    Ok(())
}

fn nothing_grows(w: &World) -> Result<()> {
    let (execs, runs) = w.setup.soak;
    let d = w.own_daemon()?;
    let parent = format!("/dhow-e2e-soak-{}", std::process::id());
    let looked = look(&d, &parent, execs, runs);
    d.ok(&["rm", "-f", "soaked"])?;
    for base in hierarchies() {
        // Made by the daemon for its containers; they are gone.
        let _ = std::fs::remove_dir(base.join(&parent[1..]));
    }
    looked
}

/// How often an image comes and goes.
const PULLS: usize = 50;
/// Of these, before anything is measured.
const FIRST_PULLS: usize = 10;

fn pulls_leave_nothing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let parent = format!("/dhow-e2e-soak-pulls-{}", std::process::id());
    let looked = look_at_pulls(&d, &parent);
    d.ok(&["rm", "-f", "soaked"])?;
    for base in hierarchies() {
        // Made by the daemon for its containers; they are gone.
        let _ = std::fs::remove_dir(base.join(&parent[1..]));
    }
    looked
}

fn look_at_pulls(d: &Daemon, parent: &str) -> Result<()> {
    d.ok(&["run", "-d", "--name", "soaked", "--cgroup-parent", parent, "busybox", "sleep", "100000"])?;
    let init: i32 = d.ok(&["inspect", "-f", "{{.State.Pid}}", "soaked"])?.parse()?;
    let r = Registry::start(d, Kind::PLAIN)?;
    Made::sized(50, 2 << 20).put(&r, "soak/image", "latest")?;
    let name = r.name("soak/image:latest");
    let pulls = |times: usize| -> Result<()> {
        for _ in 0..times {
            pull(d, &name)?.ok()?;
            d.ok(&["rmi", &name])?;
        }
        Ok(())
    };
    // Layers that go are deleted behind the answer, and a connection that is kept open is closed when it is old.
    let look = || Footprint::of(d, init, parent);
    pulls(FIRST_PULLS)?;
    let before = settled(&look)?;
    pulls(PULLS)?;
    let mut after = settled(&look)?;
    let patience = Instant::now();
    while !after.more_than(&before).is_empty() && patience.elapsed() < PATIENCE {
        after = settled(&look)?;
    }
    let grown = after.more_than(&before);
    ensure!(grown.is_empty(), "after {PULLS} pulls there is more than before:\n{}", grown.join("\n"));
    let of = |f: &Footprint| f.memory.get("the daemon").copied().unwrap_or(0);
    println!("    memory of the daemon: {} KiB before, {} KiB after {PULLS} pulls", of(&before), of(&after));
    ensure!(of(&after) <= of(&before) + RESERVE, "its memory: {} KiB became {}", of(&before), of(&after));
    ensure!(
        after.database <= before.database + JOURNAL,
        "the database: {} KiB became {}",
        before.database,
        after.database
    );
    Ok(())
}

fn look(d: &Daemon, parent: &str, execs: usize, runs: usize) -> Result<()> {
    d.ok(&["run", "-d", "--name", "soaked", "--cgroup-parent", parent, "busybox", "sleep", "100000"])?;
    let init: i32 = d.ok(&["inspect", "-f", "{{.State.Pid}}", "soaked"])?.parse()?;
    rounds(d, parent, WARM_UP.max(execs / 50), WARM_UP.max(runs / 50))?;
    let look = || Footprint::of(d, init, parent);
    let before = settled(&look)?;
    rounds(d, parent, execs / 2, runs / 2)?;
    let half = settled(&look)?;
    let began = Instant::now();
    rounds(d, parent, execs - execs / 2, runs - runs / 2)?;
    let took = began.elapsed();
    // What is done in the background may take a moment: it has come to an end when nothing is more than before.
    // And what is lost with every command is more than half way, too, where a reserve may have been short before.
    let more = |after: &Footprint| match after.more_than(&half) {
        none if none.is_empty() => none,
        _ => after.more_than(&before),
    };
    let mut after = settled(&look)?;
    let mut grown = more(&after);
    let patience = Instant::now();
    while !grown.is_empty() && patience.elapsed() < PATIENCE {
        after = settled(&look)?;
        grown = more(&after);
    }
    for (kind, things) in &after.things {
        let of = |f: &Footprint| f.things.get(kind).map_or(0, std::collections::BTreeSet::len);
        println!("    {kind}: {} before, {} after", of(&before), things.len());
    }
    for (name, now) in &after.memory {
        let of = |f: &Footprint| f.memory.get(name).copied().unwrap_or(0);
        println!("    memory of {name}: {} KiB before, {} half way, {now} after", of(&before), of(&half));
        let reserve = if *name == "the daemon" { RESERVE } else { SMALL_RESERVE };
        if *now > of(&before) + reserve {
            grown.push(format!("memory of {name}: {} KiB became {now}", of(&before)));
        }
    }
    println!("    database: {} KiB before, {} after", before.database, after.database);
    if after.database > before.database + JOURNAL {
        grown.push(format!("the database: {} KiB became {}", before.database, after.database));
    }
    println!("    the last {} execs and {} runs took {:.1} s", execs - execs / 2, runs - runs / 2, took.as_secs_f64());
    ensure!(grown.is_empty(), "after {execs} execs and {runs} runs there is more than before:\n{}", grown.join("\n"));
    let left = d.ok(&["ps", "-aq"])?;
    ensure!(left.lines().count() == 1, "containers are left: {left}");
    // The looks would have seen it: one container more is more of these.
    d.ok(&["run", "-d", "--name", "more", "--cgroup-parent", parent, "busybox", "sleep", "100000"])?;
    for kind in ["descriptors of the daemon", "processes", "namespaces", "groups", "network links", "files"] {
        until(&format!("a container more to be seen in the {kind}"), || {
            let Ok(seen) = look().map(|now| now.more_than(&after)) else { return Ok(None) };
            Ok(seen.iter().any(|line| line.starts_with(&format!("{kind}:"))).then_some(()))
        })?;
    }
    d.ok(&["rm", "-f", "more"])?;
    Ok(())
}

/// Equal looks, one after the other, that say that nothing is done in the background any more.
const STILL: usize = 5;

/// A look at a moment when nothing changes any more.
fn settled(look: &dyn Fn() -> Result<Footprint>) -> Result<Footprint> {
    let count = |f: &Footprint| f.things.values().map(std::collections::BTreeSet::len).collect::<Vec<_>>();
    let (mut last, mut equal) = (None, 0);
    until("nothing to change any more", || {
        std::thread::sleep(Duration::from_millis(100));
        // A process that ends while it is looked at is no fault.
        let Ok(now) = look() else { return Ok(None) };
        equal = if last.as_ref() == Some(&count(&now)) { equal + 1 } else { 0 };
        last = Some(count(&now));
        Ok((equal >= STILL).then_some(now))
    })
}
