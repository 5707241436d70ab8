//! Limits of an open group: the planned values written into its files, on creation and when they change later.
//!
//! What is written, and in which order, is decided in `plan` and `devices`; here are the files, and what a refusal of
//! the kernel most often means.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::devices::DeviceSet;
use crate::dir::{GroupDir, write_fd};
use crate::group::{Group, all_pids, join_error, read_optional};
use crate::layout::{Hierarchy, Version};
use crate::plan::{self, Absent, Now, Write};
use crate::resources::Resources;
use crate::subtree;
use crate::undo::Undo;

/// How often the processes of a group are listed again while they are moved and keep forking.
const MAX_MOVE_ROUNDS: usize = 64;

impl Group {
    /// Changes limits of a living group; what `r` does not name stays as it is. Returns warnings.
    ///
    /// Device rules replace the present ones as a whole, if there are any in `r`. After a failure all other limits are
    /// as they were.
    pub fn update(&self, r: &Resources) -> Result<Vec<String>> {
        self.change(r).map(|(warnings, _)| warnings)
    }

    /// As [`Group::update`], and gives the way back.
    pub fn change(&self, r: &Resources) -> Result<(Vec<String>, Undo)> {
        let (mut warnings, mut undo) = (Vec::new(), Undo::default());
        match self.change_noting(r, &mut warnings, &mut undo) {
            Ok(()) => Ok((warnings, undo)),
            Err(e) => Err(match self.take_back(undo) {
                Ok(()) => e,
                Err(more) => Error::new(e.kind(), format!("{}; then: {}", e.text(), more.text())),
            }),
        }
    }

    fn change_noting(&self, r: &Resources, warnings: &mut Vec<String>, undo: &mut Undo) -> Result<()> {
        self.layout.require(r)?;
        let version = |c: &str| self.layout.holder(c).map(Hierarchy::version);
        let writes = plan::writes(r, &version, &self.now()?)?;
        let devices = if r.devices.is_empty() { None } else { Some(DeviceSet::effective(&r.devices)?) };
        for (at, hierarchy) in self.layout.hierarchies().iter().enumerate() {
            let needed = needed_in(hierarchy, &writes);
            if needed.is_empty() {
                continue;
            }
            if self.dirs[at].get().is_none() {
                self.enter(at, &needed, &writes, undo)?;
            } else if let (true, Some(dir)) = (hierarchy.is_v2(), self.dirs[at].get()) {
                let root = GroupDir::root(hierarchy.mount_point())
                    .with_context(|| format!("open {}", hierarchy.mount_point().display()))?;
                subtree::enable(hierarchy, &root, self.path().path_in(hierarchy.key()), dir, &needed, &[])?;
            }
        }
        self.apply(&writes, Some(undo))?;
        if let Some(devices) = devices {
            self.set_devices(&devices, false, warnings)?;
        }
        Ok(())
    }

    /// Brings the group, with all its processes, into a hierarchy it was not in.
    fn enter(&self, at: usize, needed: &[&str], writes: &[Write], undo: &mut Undo) -> Result<()> {
        let mut made = Vec::new();
        self.make_in(at, needed, &mut made)?;
        let hierarchy = &self.layout.hierarchies()[at];
        let (Some(new), Some(all)) = (self.dirs[at].get(), self.any_dir()) else { return Ok(()) };
        // A cpuset must not be empty when processes enter, and a limit should hold from their first moment in it.
        let first: Vec<Write> = writes.iter().filter(|w| hierarchy.has(&w.controller) && !w.raw).cloned().collect();
        self.apply(&first, Some(undo))?;
        for _ in 0..MAX_MOVE_ROUNDS {
            let there = all_pids(new).context("list the processes of the group")?;
            let missing: Vec<i32> = all_pids(all)
                .context("list the processes of the group")?
                .into_iter()
                .filter(|p| !there.contains(p))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                match new.write("cgroup.procs", &pid.to_string()) {
                    Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                    Err(e) => return Err(join_error(e, &format!("process {pid}"), hierarchy.key())),
                    Ok(()) => {}
                }
            }
        }
        Err(Error::new(
            ErrorKind::Exhausted,
            format!("the processes of {} fork faster than they can be moved", self.dir_text(hierarchy)),
        ))
    }

    /// What the plan must know about a group that is in use.
    fn now(&self) -> Result<Now> {
        let mut now = Now::default();
        if let Some((h, dir)) = self.member("cpu")
            && h.is_v2()
        {
            now.v2_quota = read_optional(dir, "cpu.max")?.and_then(|t| t.split(' ').next().map(str::to_string));
        }
        if let Some((h, dir)) = self.member("memory") {
            let file = |v1, v2| if h.version() == Version::V1 { v1 } else { v2 };
            let usage = read_optional(dir, file("memory.usage_in_bytes", "memory.current"))?;
            now.memory_usage = usage.and_then(|t| t.trim().parse().ok());
            if h.version() == Version::V1 {
                let limit = read_optional(dir, "memory.limit_in_bytes")?;
                now.v1_memory_limit = limit.and_then(|t| t.trim().parse().ok());
            }
        }
        Ok(now)
    }

    /// Writes values in order; those that may fail on a sibling's old value come again at the end. What was there is noted
    /// in `undo`.
    pub(crate) fn apply(&self, writes: &[Write], mut undo: Option<&mut Undo>) -> Result<()> {
        let mut again = Vec::new();
        for write in writes {
            if let Some(undo) = &mut undo {
                undo.note(self, write);
            }
            match self.write(write) {
                Err(e) if write.retry && e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => again.push(write),
                Err(e) => return Err(self.explain(write, e)),
                Ok(()) => {}
            }
        }
        again.into_iter().try_for_each(|w| self.write(w).map_err(|e| self.explain(w, e)))
    }

    pub(crate) fn target(&self, write: &Write) -> Option<(&Hierarchy, &GroupDir)> {
        if write.raw { self.members().find(|(h, _)| h.is_v2()) } else { self.member(&write.controller) }
    }

    fn write(&self, write: &Write) -> io::Result<()> {
        let Some((_, dir)) = self.target(write) else {
            return Err(io::Error::from_raw_os_error(Errno::NOENT.raw_os_error()));
        };
        match (dir.write(&write.file, &write.value), &write.absent) {
            (Err(e), Absent::Skip) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            (Err(e), Absent::Other(file, value)) if e.kind() == io::ErrorKind::NotFound => dir.write(file, value),
            (result, _) => result,
        }
    }

    /// The field, the file, the kernel's words, and what they most often mean.
    fn explain(&self, write: &Write, e: io::Error) -> Error {
        let dir = self.target(write).map(|(h, _)| self.dir_text(h)).unwrap_or_default();
        let (kind, hint) = match Errno::from_io_error(&e) {
            Some(Errno::NOENT) => (ErrorKind::Unavailable, "; this kernel has no such limit"),
            Some(Errno::INVAL | Errno::RANGE) => {
                (ErrorKind::InvalidParameter, "; the value is out of range here, or more than a group above allows")
            }
            Some(Errno::BUSY) if write.field.starts_with("memory.") => {
                (ErrorKind::Conflict, "; more than that is in use and can't be freed")
            }
            Some(Errno::NODEV | Errno::NXIO) => (ErrorKind::InvalidParameter, "; there is no such device"),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => (ErrorKind::Forbidden, ""),
            _ => (ErrorKind::System, ""),
        };
        let what = format!("{}: write {:?} to {dir}/{}", write.field, write.value, write.file);
        let e = Error::from(e).with_kind(kind).prefixed(what);
        Error::new(e.kind(), format!("{}{hint}", e.text()))
    }

    /// Device rules: files on v1, else a program on v2.
    pub(crate) fn set_devices(&self, set: &DeviceSet, fresh: bool, warnings: &mut Vec<String>) -> Result<()> {
        if let Some((hierarchy, dir)) = self.member("devices") {
            let now = match fresh {
                true => None,
                false => DeviceSet::parse_v1_list(
                    &dir.read("devices.list").with_context(|| format!("read {}", self.dir_text(hierarchy)))?,
                ),
            };
            // One line for each write, but one open file for all lines in a row.
            let mut open: Option<(&str, OwnedFd)> = None;
            for (file, value) in set.v1_lines(now.as_ref()) {
                let what = || format!("devices: write {value:?} to {}/{file}", self.dir_text(hierarchy));
                if open.as_ref().is_none_or(|(name, _)| *name != file) {
                    open = Some((file, dir.open_file(file, OFlags::WRONLY).with_context(what)?));
                }
                if let Some((_, fd)) = &open {
                    write_fd(fd.as_fd(), &value).with_context(what)?;
                }
            }
        } else if let Some(dir) = self.v2() {
            // A fresh group that may use everything needs no program.
            if !(fresh && set.allows_all()) {
                guard_devices(dir, set).map_err(device_program_error)?;
            }
        } else if !set.allows_all() {
            warnings.push("device access is not restricted: no control group can do it on this machine".into());
        }
        Ok(())
    }
}

/// The controllers of this hierarchy that the writes need.
pub(crate) fn needed_in<'a>(hierarchy: &Hierarchy, writes: &'a [Write]) -> Vec<&'a str> {
    let here =
        |w: &&Write| if w.raw { hierarchy.is_v2() && w.controller != "cgroup" } else { hierarchy.has(&w.controller) };
    let mut names: Vec<&str> = writes.iter().filter(here).map(|w| w.controller.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn guard_devices(dir: &GroupDir, set: &DeviceSet) -> io::Result<()> {
    let program = dhow_sys::bpf::load_device_program(&crate::bpf::emit(set))?;
    dhow_sys::bpf::set_device_program(dir.as_fd(), program.as_fd())
}

fn device_program_error(e: io::Error) -> Error {
    let hint = match Errno::from_io_error(&e) {
        Some(Errno::PERM | Errno::ACCESS) => "; it takes CAP_BPF or CAP_SYS_ADMIN, and CAP_NET_ADMIN",
        Some(Errno::INVAL | Errno::NOSYS) => "; the kernel must be built with CONFIG_CGROUP_BPF",
        _ => "",
    };
    let e = Error::from(e).prefixed("devices: attach the program that guards them");
    Error::new(ErrorKind::Unavailable, format!("{}{hint}", e.text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::resources::DeviceRule;
    use std::process::{Command, Stdio};

    /// Whether a process in the group can open a device for reading.
    fn can_open(dir: &GroupDir, device: &str) -> bool {
        let procs = dir.open_file("cgroup.procs", OFlags::WRONLY).unwrap();
        let script = format!("printf 0 >&0; (: <{device}) 2>/dev/null");
        Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::from(procs)).status().unwrap().success()
    }

    /// On a hybrid machine the files of v1 are used, so the program is tried here on the v2 hierarchy beside them.
    #[test]
    fn the_program_guards_devices_on_v2() {
        let name = "the_program_guards_devices_on_v2";
        let layout = Layout::detect().unwrap();
        let Some(v2) = layout.v2().filter(|_| rustix::process::geteuid().is_root()) else {
            return println!("SKIP {name}: needs root and a v2 hierarchy");
        };
        if std::fs::File::open("/dev/kmsg").is_err() {
            return println!("SKIP {name}: /dev/kmsg can't be opened even outside");
        }
        let root = GroupDir::root(v2.mount_point()).unwrap();
        let group = format!("dhow-test-{}-devices", std::process::id());
        assert!(root.make(&group).unwrap());
        let dir = root.open(&group).unwrap();
        let rule = |allow, kind: &str, minor: Option<i64>| DeviceRule {
            allow,
            kind: Some(kind.into()),
            major: minor.map(|_| 1),
            minor,
            access: None,
        };
        let many: Vec<DeviceRule> = (0..500)
            .map(|n| DeviceRule { allow: true, kind: Some("c".into()), major: Some(500), minor: Some(n), access: None })
            .collect();
        let set = |rules: &[DeviceRule]| {
            let result = guard_devices(&dir, &DeviceSet::effective(rules).unwrap());
            let programs = result.and_then(|()| dhow_sys::bpf::device_programs(dir.as_fd()));
            programs.map(|p| (p.len(), can_open(&dir, "/dev/kmsg"), can_open(&dir, "/dev/null")))
        };
        let results = [
            set(&[rule(false, "a", None)]),
            set(&[rule(true, "c", Some(11))]),
            set(&[rule(true, "a", None), rule(false, "c", Some(11))]),
            set(&[rule(true, "a", None)]),
            set(&many),
        ];
        root.remove(&group).unwrap();
        if let Err(e) = &results[0]
            && matches!(Errno::from_io_error(e), Some(Errno::INVAL | Errno::NOSYS))
        {
            return println!("SKIP {name}: this kernel has no CONFIG_CGROUP_BPF");
        }
        // One program at all times: each replaces the one before.
        let want = [(1, false, true), (1, true, true), (1, false, true), (1, true, true), (1, false, true)];
        assert_eq!(results.map(Result::unwrap), want);
    }
}
