//! An open group over all the hierarchies it is in: made with its limits, joined, changed, and deleted.
//!
//! Which hierarchies a group is in: v2 always; on v1 `devices` (safety), `memory` and `pids` (statistics), and each
//! one that a limit asks for, because each costs 50 to 200 microseconds at start and end. Without v2 beside them also
//! `freezer` and `cpuacct`, whose work v2 does otherwise. An update brings the group into further hierarchies.
//!
//! How a process gets in without waiting for an RCU grace period (5 to 17 ms), which moving another process costs:
//! it is born into the v2 group (`clone3` with `CLONE_INTO_CGROUP` and [`Group::v2_dir`]), and writes itself into the
//! v1 hierarchies as its first act ([`Group::joiner`], [`Joiner::join_current`]): the kernel takes the lock that
//! waits only for a process that is not the caller, or that has several threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use dhow_types::{Context, Error, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::devices::DeviceSet;
use crate::dir::{GroupDir, split, write_fd};
use crate::layout::{Hierarchy, Layout, Mode};
use crate::limits::needed_in;
use crate::path::{GroupPath, components};
use crate::plan::{self, Now, Write};
use crate::resources::Resources;
use crate::subtree;

/// Controllers that are worth having in any case, on v2.
const WELCOME_V2: &[&str] = &["memory", "pids"];
/// The same on v1.
const WELCOME_V1: &[&str] = &["devices", "memory", "pids"];
/// And on v1 without v2.
const WELCOME_V1_ALONE: &[&str] = &["freezer", "cpuacct"];

/// How often a path is made again that somebody else removes meanwhile.
const MAX_MAKE_ROUNDS: usize = 16;

/// An open group over all hierarchies it is in. Closing it leaves the group as it is.
#[derive(Debug)]
pub struct Group {
    pub(crate) layout: Layout,
    path: GroupPath,
    /// One cell for each of the layout's hierarchies, filled where the group exists. Only an update fills more.
    pub(crate) dirs: Vec<OnceLock<GroupDir>>,
}

/// What the calling process needs to put itself into a group: open files, made before `clone3`.
#[derive(Debug)]
pub struct Joiner {
    files: Vec<(String, OwnedFd)>,
}

impl Joiner {
    /// Moves the calling process into the group, in each hierarchy. It must be single-threaded, and must not yet have
    /// a cgroup namespace that should have the group as its root (that is taken from where it is then).
    pub fn join_current(&self) -> Result<()> {
        for (key, file) in &self.files {
            write_fd(file.as_fd(), "0").map_err(|e| join_error(e, "the new process", key))?;
        }
        Ok(())
    }
    /// The open files, for a process that writes `0` into each of them itself.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|(_, f)| f.as_fd())
    }
}

/// A directory that was made, for the way back.
pub(crate) struct Made {
    parent: GroupDir,
    name: String,
}

impl Group {
    /// Makes the group, with its limits, in the hierarchies it needs; nothing of it is left behind on failure.
    ///
    /// Returns warnings about what is good to have and could not be had. A limit that can't be enforced is an error.
    /// A group that is there already is taken over if it is empty, as in runc.
    pub fn create(layout: &Layout, path: &GroupPath, r: &Resources) -> Result<(Group, Vec<String>)> {
        path.check()?;
        layout.require(r)?;
        let devices = DeviceSet::effective(&r.devices)?;
        let writes = plan::writes(r, &|c| layout.holder(c).map(Hierarchy::version), &Now::default())?;
        let dirs = layout.hierarchies().iter().map(|_| OnceLock::new()).collect();
        let group = Group { layout: layout.clone(), path: path.clone(), dirs };
        let mut made = Vec::new();
        let mut warnings = Vec::new();
        match group.build(&writes, &devices, &mut made, &mut warnings) {
            Ok(()) => Ok((group, warnings)),
            Err(e) => {
                for m in made.iter().rev() {
                    // A parent that somebody else uses by now stays.
                    let _ = m.parent.remove(&m.name);
                }
                Err(e)
            }
        }
    }

    fn build(
        &self,
        writes: &[Write],
        devices: &DeviceSet,
        made: &mut Vec<Made>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        for (at, hierarchy) in self.layout.hierarchies().iter().enumerate() {
            let needed = needed_in(hierarchy, writes);
            let must = !needed.is_empty() || hierarchy.is_v2() || hierarchy.has("devices");
            if !must && !self.is_welcome(hierarchy) {
                continue;
            }
            match self.make_in(at, &needed, made) {
                Ok(()) => {}
                Err(e) if must => return Err(e),
                Err(e) => warnings.push(format!("no statistics from {}: {e}", hierarchy.key())),
            }
        }
        self.apply(writes, None)?;
        self.set_devices(devices, true, warnings)
    }

    fn is_welcome(&self, hierarchy: &Hierarchy) -> bool {
        let any = |list: &[&str]| list.iter().any(|c| hierarchy.has(c));
        // systemd kills what is in a service's group of its own hierarchy when the service stops; where it manages us,
        // the container must not be in there.
        let managed = hierarchy.key() == "name=systemd" && hierarchy.own() != "/";
        managed || any(WELCOME_V1) || (self.layout.v2().is_none() && any(WELCOME_V1_ALONE))
    }

    /// Makes and opens the group in one hierarchy.
    pub(crate) fn make_in(&self, at: usize, needed: &[&str], made: &mut Vec<Made>) -> Result<()> {
        let hierarchy = &self.layout.hierarchies()[at];
        let path = self.path.path_in(hierarchy.key());
        let shown = hierarchy.dir(path);
        let root = GroupDir::root(hierarchy.mount_point())
            .with_context(|| format!("open {}", hierarchy.mount_point().display()))?;
        let (parent_path, name) = split(path);
        let what = || format!("make the control group {}", shown.display());
        let mut round = 0;
        let (parent, fresh, dir) = loop {
            round += 1;
            // The parent is there for every container but the first.
            let parent = match root.open(&parent_path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => make_chain(&root, &parent_path, made),
                result => result,
            };
            let opened = parent.and_then(|parent| {
                let fresh = parent.make(name)?;
                let dir = parent.open(name)?;
                Ok((parent, fresh, dir))
            });
            match opened {
                // Somebody whose own group failed took the parents back that we were about to use.
                Err(e) if e.kind() == io::ErrorKind::NotFound && round < MAX_MAKE_ROUNDS => {}
                result => break result.with_context(what)?,
            }
        };
        if fresh {
            made.push(Made { parent, name: name.into() });
        } else {
            let pids = dir.pids().with_context(|| format!("list the processes of {}", shown.display()))?;
            if !pids.is_empty() {
                return Err(Error::conflict(format!(
                    "the control group {} already exists and has {} processes; choose another, or end them first",
                    shown.display(),
                    pids.len()
                )));
            }
        }
        if hierarchy.is_v2() {
            subtree::enable(hierarchy, &root, path, &dir, needed, WELCOME_V2)?;
            subtree::check_usable(&dir, path)?;
        } else if hierarchy.has("cpuset") {
            inherit_cpuset(&root, path).with_context(|| format!("prepare the cpuset of {}", shown.display()))?;
        }
        let _ = self.dirs[at].set(dir);
        Ok(())
    }

    /// An existing group, in all hierarchies where it is.
    pub fn open(layout: &Layout, path: &GroupPath) -> Result<Group> {
        path.check()?;
        let mut found = false;
        let mut dirs = Vec::with_capacity(layout.hierarchies().len());
        for hierarchy in layout.hierarchies() {
            let cell = OnceLock::new();
            let group = path.path_in(hierarchy.key());
            match GroupDir::root(hierarchy.mount_point()).and_then(|root| root.open(group)) {
                Ok(dir) => {
                    found = true;
                    let _ = cell.set(dir);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e).with_context(|| format!("open {}", hierarchy.dir(group).display())),
            }
            dirs.push(cell);
        }
        if !found && layout.mode() != Mode::None {
            return Err(Error::not_found(format!("there is no control group {}", path.path_in(""))));
        }
        Ok(Group { layout: layout.clone(), path: path.clone(), dirs })
    }

    /// Its path.
    pub fn path(&self) -> &GroupPath {
        &self.path
    }
    /// The layout it was opened with.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// The group's directory on v2, for `clone3` with `CLONE_INTO_CGROUP`; `None` where there is no v2 hierarchy.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(AsFd::as_fd)
    }
    pub(crate) fn v2(&self) -> Option<&GroupDir> {
        self.members().find(|(h, _)| h.is_v2()).map(|(_, d)| d)
    }
    /// The hierarchies the group is in.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Hierarchy, &GroupDir)> {
        self.layout.hierarchies().iter().zip(&self.dirs).filter_map(|(h, cell)| Some((h, cell.get()?)))
    }
    /// The group's directory in the hierarchy that holds `controller`.
    pub(crate) fn member(&self, controller: &str) -> Option<(&Hierarchy, &GroupDir)> {
        self.members().find(|(h, _)| h.has(controller))
    }
    /// The directory that tells which processes there are: v2, else any.
    pub(crate) fn any_dir(&self) -> Option<&GroupDir> {
        self.members().map(|(_, d)| d).next()
    }

    /// Puts a process into the group, in all hierarchies but v2 if it was born there.
    ///
    /// May wait for an RCU grace period; a process at its start uses [`Group::joiner`] instead.
    pub fn join(&self, pid: Pid, already_in_v2: bool) -> Result<()> {
        let text = pid.as_raw_nonzero().to_string();
        for (hierarchy, dir) in self.members().filter(|(h, _)| !(h.is_v2() && already_in_v2)) {
            dir.write("cgroup.procs", &text).map_err(|e| join_error(e, &format!("process {text}"), hierarchy.key()))?;
        }
        Ok(())
    }

    /// Opens what a process needs to put itself into the group, in all hierarchies but v2 if it is born there.
    pub fn joiner(&self, already_in_v2: bool) -> Result<Joiner> {
        let mut files = Vec::new();
        for (hierarchy, dir) in self.members().filter(|(h, _)| !(h.is_v2() && already_in_v2)) {
            // On v1 `tasks` takes one thread, which spares the lock; on v2 there is only the file for whole processes.
            let name = if hierarchy.is_v2() { "cgroup.procs" } else { "tasks" };
            let file = dir
                .open_file(name, OFlags::WRONLY)
                .with_context(|| format!("open {name} of {}", self.dir_text(hierarchy)))?;
            files.push((hierarchy.key().to_string(), file));
        }
        Ok(Joiner { files })
    }

    /// The group's directory in a hierarchy, for messages.
    pub(crate) fn dir_text(&self, hierarchy: &Hierarchy) -> String {
        hierarchy.dir(self.path.path_in(hierarchy.key())).display().to_string()
    }

    /// The processes of the group; `recursive` also those of groups inside.
    pub fn pids(&self, recursive: bool) -> Result<Vec<i32>> {
        let Some(dir) = self.any_dir() else { return Ok(Vec::new()) };
        let pids = if recursive { all_pids(dir) } else { dir.pids() };
        match pids {
            // The group has been removed, so it has none.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODEV | Errno::NOENT)) => Ok(Vec::new()),
            result => result.context("list the processes of the control group"),
        }
    }
}

/// Makes the groups above, and opens the last.
fn make_chain(root: &GroupDir, path: &str, made: &mut Vec<Made>) -> io::Result<GroupDir> {
    let mut dir = root.open("/")?;
    for name in components(path) {
        let fresh = dir.make(name)?;
        let child = dir.open(name)?;
        if fresh {
            made.push(Made { parent: dir, name: name.into() });
        }
        dir = child;
    }
    Ok(dir)
}

/// A v1 cpuset starts empty, and an empty one takes no processes: fills each group on the path from the one above.
fn inherit_cpuset(root: &GroupDir, path: &str) -> io::Result<()> {
    let mut dir = root.open("/")?;
    for name in components(path) {
        let child = dir.open(name)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if child.read(file)?.trim().is_empty() {
                child.write(file, dir.read(file)?.trim())?;
            }
        }
        dir = child;
    }
    Ok(())
}

pub(crate) fn join_error(e: io::Error, who: &str, key: &str) -> Error {
    let hint = match Errno::from_io_error(&e) {
        Some(Errno::NOSPC) => "; its cpuset has no CPUs or no memory nodes",
        Some(Errno::SRCH) => "; the process has ended",
        Some(Errno::AGAIN) => "; the limit on processes is reached",
        Some(Errno::INVAL) => "; a real-time process needs cpu.realtimeRuntime",
        _ => "",
    };
    let e = Error::from(e).prefixed(format!("put {who} into the {key} control group"));
    Error::new(e.kind(), format!("{}{hint}", e.text()))
}

/// All processes in the group and in groups inside.
pub(crate) fn all_pids(dir: &GroupDir) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    dir.walk(&mut |d| {
        match d.pids() {
            Ok(mut more) => pids.append(&mut more),
            // A threaded or just removed group inside.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOENT)) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    })?;
    Ok(pids)
}

/// A file that not every kernel has.
pub(crate) fn read_optional(dir: &GroupDir, file: &str) -> Result<Option<String>> {
    match dir.read(file) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV)) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("read {file} of the control group")),
    }
}
