//! The way back from a change of limits: what each file said before it was written, as the kernel had it. What the limits
//! were meant to be is not asked, so that a limit nobody had set comes back, too. Device rules are not among them.

use std::io;

use dhow_types::{Error, Result};
use rustix::io::Errno;

use crate::group::Group;
use crate::plan::{Absent, Write};

/// What [`Group::change`] changed, to be given back to [`Group::take_back`].
#[derive(Debug, Default)]
pub struct Undo(Vec<Step>);

/// One value that was there.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    controller: String,
    raw: bool,
    file: String,
    value: String,
}

impl Undo {
    /// Notes what the file of a write says before it is written.
    pub(crate) fn note(&mut self, group: &Group, write: &Write) {
        let Some((_, dir)) = group.target(write) else { return };
        let mut file = &write.file;
        let text = match (dir.read(file), &write.absent) {
            (Err(e), Absent::Other(other, _)) if e.kind() == io::ErrorKind::NotFound => {
                file = other;
                dir.read(other)
            }
            (text, _) => text,
        };
        // What can't be read is not there, and can't be written either.
        if let Some(value) = text.ok().and_then(|text| before(file, &write.value, &text)) {
            let (controller, file) = (write.controller.clone(), file.clone());
            self.0.push(Step { controller, raw: write.raw, file, value });
        }
    }
}

impl Group {
    /// Sets what was changed to what it was. Goes on after a failure, and reports all of them.
    pub fn take_back(&self, undo: Undo) -> Result<()> {
        let write = |step: &Step| -> io::Result<()> {
            let member = if step.raw { self.members().find(|(h, _)| h.is_v2()) } else { self.member(&step.controller) };
            let (_, dir) = member.ok_or_else(|| io::Error::from(Errno::NOENT))?;
            dir.write(&step.file, &step.value)
        };
        // The last first: it was written when what came before it was so already.
        let again: Vec<&Step> = undo.0.iter().rev().filter(|step| write(step).is_err()).collect();
        let tell = |step: &Step| write(step).err().map(|e| format!("{} to {:?}: {e}", step.file, step.value.trim()));
        let failures: Vec<String> = again.into_iter().filter_map(tell).collect();
        match failures.is_empty() {
            true => Ok(()),
            false => Err(Error::system(format!("set back {}", failures.join("; ")))),
        }
    }
}

/// What is to be written to `file` so that it says `text` again after `value` was written to it.
fn before(file: &str, value: &str, text: &str) -> Option<String> {
    let (text, key) = (text.trim(), value.split(' ').next().unwrap_or_default());
    let line = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key));
    // One line for each device.
    if key.contains(':') && value.contains(' ') {
        let absent = match file {
            "io.max" => "rbps=max wbps=max riops=max wiops=max",
            _ if file.contains("weight") => "default",
            _ => "0",
        };
        return Some(line(key).map_or_else(|| format!("{key} {absent}"), str::to_owned));
    }
    match file {
        "memory.oom_control" => line("oom_kill_disable")?.split(' ').nth(1).map(str::to_owned),
        "net_prio.ifpriomap" | "rdma.max" => line(key).map(str::to_owned),
        // The kernel takes a write of nothing for none at all.
        _ if text.is_empty() => Some("\n".to_owned()),
        // A weight for all devices, before those of some.
        _ => Some(line("default").and_then(|line| line.split(' ').nth(1)).unwrap_or(text).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_written_in_the_files_own_words() {
        for (file, value, text, want) in [
            ("memory.soft_limit_in_bytes", "5", "9223372036854771712\n", Some("9223372036854771712")),
            ("memory.swappiness", "0", "60\n", Some("60")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", Some("0")),
            ("cpu.cfs_period_us", "5000", "100000\n", Some("100000")),
            ("cpu.max", "max 5000", "25000 100000\n", Some("25000 100000")),
            ("cpuset.cpus", "0", "0-1\n", Some("0-1")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("pids.max", "5", "max\n", Some("max")),
            ("blkio.bfq.weight", "500", "100\n", Some("100")),
            ("io.bfq.weight", "500", "default 100\n8:0 300\n", Some("100")),
            ("io.bfq.weight", "8:0 500", "default 100\n8:0 300\n", Some("8:0 300")),
            ("io.weight", "8:16 500", "default 100\n8:0 300\n", Some("8:16 default")),
            ("io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            (
                "io.max",
                "8:0 rbps=1",
                "8:0 rbps=7 wbps=max riops=max wiops=max\n",
                Some("8:0 rbps=7 wbps=max riops=max wiops=max"),
            ),
            ("blkio.throttle.read_bps_device", "8:0 500", "8:16 1\n", Some("8:0 0")),
            ("blkio.throttle.read_bps_device", "8:0 500", "8:16 1\n8:0 7\n", Some("8:0 7")),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 1\n", Some("eth0 1")),
        ] {
            assert_eq!(before(file, value, text).as_deref(), want, "{file} {value}");
        }
    }
}
