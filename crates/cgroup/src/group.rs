//! (rough: signatures first)
use std::os::fd::BorrowedFd;
use dhow_types::Result;
use rustix::process::Pid;
use crate::{GroupMount, GroupPath, Layout, OomWatch, Resources, Stats};

/// An open group over all hierarchies it is in.
#[derive(Debug)]
pub struct Group { path: GroupPath }
/// Descriptors with which a new process puts itself into the v1 hierarchies.
#[derive(Debug)]
pub struct Joiner {}
impl Joiner {
    /// Moves the calling single-threaded process.
    pub fn join_current(&self) -> std::io::Result<()> { Ok(()) }
}
impl Group {
    /// Makes the group with its limits; returns warnings.
    pub fn create(_layout: &Layout, path: &GroupPath, _r: &Resources) -> Result<(Group, Vec<String>)> { Ok((Group { path: path.clone() }, vec![])) }
    /// An existing group.
    pub fn open(_layout: &Layout, path: &GroupPath) -> Result<Group> { Ok(Group { path: path.clone() }) }
    /// Its path.
    pub fn path(&self) -> &GroupPath { &self.path }
    /// For clone3.
    pub fn v2_dir(&self) -> Option<BorrowedFd<'_>> { None }
    /// Moves a process into the group.
    pub fn join(&self, _pid: Pid, _already_in_v2: bool) -> Result<()> { Ok(()) }
    /// See `Joiner`.
    pub fn joiner(&self, _already_in_v2: bool) -> Result<Joiner> { Ok(Joiner {}) }
    /// Changes limits.
    pub fn update(&self, _r: &Resources) -> Result<Vec<String>> { Ok(vec![]) }
    /// Statistics.
    pub fn stats(&self) -> Result<Stats> { Ok(Stats::default()) }
    /// Freezes or thaws.
    pub fn freeze(&self, _on: bool) -> Result<()> { Ok(()) }
    /// Whether all processes are frozen.
    pub fn frozen(&self) -> Result<bool> { Ok(false) }
    /// Processes.
    pub fn pids(&self, _recursive: bool) -> Result<Vec<i32>> { Ok(vec![]) }
    /// SIGKILL to all.
    pub fn kill_all(&self) -> Result<()> { Ok(()) }
    /// OOM kills.
    pub fn oom_kills(&self) -> Result<u64> { Ok(0) }
    /// Watches OOM.
    pub fn oom_watch(&self) -> Result<OomWatch> { Err(dhow_types::Error::not_implemented("being written")) }
    /// Deletes.
    pub fn delete(self) -> Result<()> { Ok(()) }
    /// What to mount at /sys/fs/cgroup of the container.
    pub fn mount_plan(&self) -> Vec<GroupMount> { vec![] }
}
