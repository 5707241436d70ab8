//! Power cuts: a machine works on a store on a disk of its own and is killed at a random moment, again and again.
//!
//! What the guest's kernel had not yet written is lost then, as in a real cut; the disk itself keeps what it was given.
//! After every cut the store must be whole, with every image in it whose making had been answered, and none whose
//! removal had been.

use super::{MEMORY, Machine};
use crate::tally::Tally;
use crate::{packages, run};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Cuts in the normal run of the tests.
pub const FEW: u32 = 3;
/// How long a machine may take for anything but its work.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest time of work before a cut.
const LONGEST: Duration = Duration::from_secs(5);
/// Images made in a round.
const IMAGES: usize = 16;

/// The commands of a round: images are made, and some removed again.
fn script(round: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for i in 0..IMAGES {
        lines.push(format!("import /tmp/{i}.tar p:{round}-{i}"));
        if i % 3 == 2 {
            lines.push(format!("tag p:{round}-{i} t:{round}-{i}"));
            lines.push(format!("rmi p:{round}-{}", i - 1));
        }
    }
    lines
}

/// What must be there, and what may be, because it was under way.
#[derive(Default)]
struct Expected {
    must: BTreeSet<String>,
    may: BTreeSet<String>,
}

impl Expected {
    /// A command was answered.
    fn done(&mut self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["import" | "tag", _, name] => drop(self.must.insert((*name).to_owned())),
            ["rmi", name] => drop(self.must.remove(*name)),
            _ => {}
        }
    }
    /// A command may have been carried out, or not.
    fn begun(&mut self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        if let ["import" | "tag", _, name] | ["rmi", name] = words.as_slice() {
            self.must.remove(*name);
            self.may.insert((*name).to_owned());
        }
    }
    /// Compares with what is there.
    fn check(&self, have: &BTreeSet<String>) -> Result<()> {
        let lost: Vec<&String> = self.must.difference(have).collect();
        let back: Vec<&String> = have.iter().filter(|n| !self.must.contains(*n) && !self.may.contains(*n)).collect();
        if !lost.is_empty() || !back.is_empty() {
            bail!("lost although it was answered: {lost:?}; there although it was removed or never made: {back:?}");
        }
        Ok(())
    }
}

/// Cuts the power `times` times; counts as one test.
pub fn cuts(times: u32, tally: &mut Tally) -> Result<()> {
    let seed = std::process::id() ^ std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
    let seed = std::env::var("DHOW_POWER_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed);
    println!("== power cuts: {times}, DHOW_POWER_SEED={seed}");
    let result = all(times, u64::from(seed));
    if let Err(e) = &result {
        println!("{e:#}");
    }
    tally.add(&format!("vm power cuts (DHOW_POWER_SEED={seed})"), result.is_ok());
    Ok(())
}

fn all(times: u32, seed: u64) -> Result<()> {
    packages::ensure(&["e2fsprogs"])?;
    // The whole workspace, because another selection would have other features and so build all again.
    run::run(run::cargo().args(["build", "--workspace", "--example", "strike"]))?;
    let mut machine = Machine::new()?;
    machine.add("bin/strike", &run::built("debug")?.join("examples/strike"))?;
    machine.cpio.bytes("system/power.sh", 0o755, include_bytes!("power.sh"))?;
    machine.cpio.bytes("system/power.script", 0o644, (script("ROUND").join("\n") + "\n").as_bytes())?;
    machine.cpio.bytes("system/steps", 0o644, b"power|sh /power.sh\n")?;
    let Machine { kernel, cpio, initramfs, .. } = machine;
    cpio.finish()?;
    let disk = run::scratch("vm")?.join("power.img");
    std::fs::File::create(&disk)?.set_len(512 << 20)?;
    run::run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk))?;

    let mut random = seed;
    let mut expected = Expected::default();
    for round in 1..=times + 1 {
        // The last boot only looks.
        let number = if round > times { 0 } else { round };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = LONGEST.mul_f64((random >> 40) as f64 / f64::from(1u32 << 24));
        let mut guest = Guest::boot(&kernel, &initramfs, &disk, number)?;
        guest.look(&mut expected).with_context(|| format!("after cut {}", round - 1))?;
        if number > 0 {
            guest.work(&mut expected, &script(&number.to_string()), moment)?;
        }
        drop(guest);
    }
    println!("after {times} cuts the store was whole, with {} images answered for", expected.must.len());
    Ok(())
}

/// A machine that runs.
struct Guest {
    qemu: Child,
    lines: Receiver<String>,
}

impl Guest {
    fn boot(kernel: &Path, initramfs: &Path, disk: &Path, round: u32) -> Result<Guest> {
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", &MEMORY.to_string()])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none"])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio", disk.display()))
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &format!("console=ttyS0 quiet loglevel=1 panic=-1 dhow.round={round}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start qemu-system-x86_64")?;
        let out = qemu.stdout.take().context("no output of qemu")?;
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).split(b'\n').map_while(std::result::Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Guest { qemu, lines })
    }

    /// The next line before `end`, if there is one.
    fn line(&self, end: Instant) -> Result<Option<String>> {
        match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended by itself"),
        }
    }

    /// Waits until the guest has looked at the store, and compares.
    fn look(&mut self, expected: &mut Expected) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let (mut have, mut whole) = (BTreeSet::new(), false);
        loop {
            let Some(line) = self.line(end)? else { bail!("the machine did not look at the store in time") };
            if let Some(name) = line.strip_prefix("have ") {
                have.insert(name.to_owned());
            } else if line.starts_with("failed") || line.contains("no disk") || line.contains("@@problem") {
                bail!("{line}");
            } else if line == "done 0" {
                whole = true;
            } else if line.ends_with("@@power looked") {
                break;
            }
        }
        if !whole {
            bail!("the store was not checked");
        }
        expected.check(&have)?;
        *expected = Expected { must: have, may: BTreeSet::new() };
        Ok(())
    }

    /// Lets the guest work until the moment of the cut.
    fn work(&mut self, expected: &mut Expected, script: &[String], moment: Duration) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Some(line) = self.line(end)? else { bail!("the machine did not begin its work in time") };
            if line.ends_with("@@power work") {
                break;
            }
        }
        let end = Instant::now() + moment;
        let mut next = 0;
        while let Some(line) = self.line(end)? {
            if line.starts_with("failed") {
                bail!("{line}");
            }
            if let Some(command) = line.strip_prefix("done ").and_then(|n| script.get(n.parse::<usize>().ok()?)) {
                expected.done(command);
                next += 1;
            }
        }
        // What was said before the cut and not yet read counts as well; what comes after it can't.
        self.qemu.kill()?;
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if let Some(command) = line.strip_prefix("done ").and_then(|n| script.get(n.parse::<usize>().ok()?)) {
                expected.done(command);
                next += 1;
            }
        }
        if let Some(command) = script.get(next) {
            expected.begun(command);
        }
        println!("cut after {:.2} s, {next} of {} commands answered", moment.as_secs_f64(), script.len());
        Ok(())
    }
}

impl Drop for Guest {
    /// Takes the power away, if it is not gone already.
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_and_what_may_be_there() {
        let mut e = Expected::default();
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        e.done("import x a");
        e.done("import x b");
        e.done("rmi a");
        e.begun("tag b c");
        assert!(e.check(&set(&["b"])).is_ok() && e.check(&set(&["b", "c"])).is_ok());
        assert!(e.check(&set(&[])).is_err() && e.check(&set(&["a", "b"])).is_err());
        e.begun("rmi b");
        assert!(e.check(&set(&[])).is_ok());
        assert_eq!(script("7").iter().filter(|l| l.starts_with("import")).count(), IMAGES);
    }
}
