//! Signals for all processes of a group, SIGKILL above all, and why that may not take effect. Nothing here waits for them
//! to end: some may never do.
//!
//! A number in a list may belong to another process of the machine a moment later. So a process is opened first, and gets
//! the signal through its descriptor only if its number is still listed after that.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dhow_types::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::dir::GroupDir;
use crate::group::{Group, all_pids};
use crate::layout::Layout;
use crate::path::components;

/// How often the processes of a group are listed and killed before it has to stand still for that: each round finds what
/// was born in the one before.
const MAX_KILL_ROUNDS: usize = 16;
/// The same for other signals, which do not end what forks.
const MAX_SIGNAL_ROUNDS: usize = 3;
/// Processes that are open at one time.
const MAX_OPEN: usize = 256;

/// Lists the processes of a group.
type List<'a> = &'a dyn Fn() -> Result<Vec<i32>>;
/// Processes that were told, by number and start: a number alone is given again.
type Told = BTreeSet<(i32, u64)>;

impl Group {
    /// Sends SIGKILL to every process in the group and in groups inside, also to those born meanwhile, and lets a group
    /// go on that was frozen.
    pub fn kill_all(&self) -> Result<()> {
        let done = match self.v2().map(|dir| dir.write("cgroup.kill", "1")) {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) if Errno::from_io_error(&e) == Some(Errno::NODEV) => Ok(()),
            // Before kernel 5.14.
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).context("kill the processes of the control group")
            }
            _ => self.kill_listed(),
        };
        // Frozen processes of v2 can be killed, those of v1 only when they go on.
        if let Some((_, dir)) = self.member("freezer")
            && dir.read("freezer.self_freezing").is_ok_and(|own| own.trim() == "1")
        {
            let _ = dir.write("freezer.state", "THAWED");
        }
        done
    }

    /// Sends a signal once to every process in the group and in groups inside. One that is being born may miss it.
    pub fn signal_all(&self, signo: i32) -> Result<()> {
        let Some(dir) = self.any_dir() else { return Ok(()) };
        let mut told = Told::new();
        for _ in 0..MAX_SIGNAL_ROUNDS {
            if !signal_new(&|| list(dir), signo, &mut told)? {
                break;
            }
        }
        Ok(())
    }

    fn kill_listed(&self) -> Result<()> {
        let Some(dir) = self.any_dir() else { return Ok(()) };
        let list = || list(dir);
        let signo = Signal::KILL.as_raw();
        // Who was told can't fork any more: only what is new counts.
        let mut told = Told::new();
        for _ in 0..MAX_KILL_ROUNDS {
            if !signal_new(&list, signo, &mut told)? {
                return Ok(());
            }
        }
        // It is born faster than it is listed. Frozen processes can't fork.
        let frozen = self.freeze(true).is_ok();
        let result = signal_new(&list, signo, &mut told).map(drop);
        if frozen {
            self.freeze(false)?;
        }
        result
    }
}

fn list(dir: &GroupDir) -> Result<Vec<i32>> {
    match all_pids(dir) {
        // The group has been removed, so it has none.
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NODEV | Errno::NOENT)) => Ok(Vec::new()),
        pids => pids.context("list the processes of the control group"),
    }
}

/// The nearest group around the process `pid` that keeps it frozen so that not even SIGKILL ends it, as a path whose
/// `freezer.state` can be written to. Only v1 has such, and anybody may have put the process there.
pub fn held_frozen_by(layout: &Layout, pid: i32) -> Option<String> {
    let hierarchy = layout.holder("freezer").filter(|h| !h.is_v2())?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        names.split(',').any(|name| name == "freezer").then_some(path)
    })?;
    let root = GroupDir::root(hierarchy.mount_point()).ok()?;
    let names: Vec<&str> = components(path).collect();
    (1..=names.len()).rev().map(|depth| names[..depth].join("/")).find_map(|path| {
        let own = root.open(&path).ok()?.read("freezer.self_freezing").ok()?;
        (own.trim() == "1").then(|| hierarchy.dir(&path).display().to_string())
    })
}

/// Signals those that were not told yet. False if there were none. What fails for one is told when all had their turn.
fn signal_new(list: List<'_>, signo: i32, told: &mut Told) -> Result<bool> {
    let mut news = false;
    let mut failed = None;
    for numbers in list()?.chunks(MAX_OPEN) {
        for (number, process) in opened(numbers, list, &mut failed)? {
            if !told.insert((number, start(number))) {
                continue;
            }
            news = true;
            match dhow_sys::clone::send_signal(process.as_fd(), signo) {
                Err(e) if Errno::from_io_error(&e) != Some(Errno::SRCH) => {
                    failed.get_or_insert((format!("send signal {signo} to process {number}"), e));
                }
                _ => {}
            }
        }
    }
    match failed {
        Some((what, e)) => Err(e).context(what),
        None => Ok(news),
    }
}

/// Opens processes, and leaves out those that are not listed any more: what is still listed after it was opened is either
/// what was opened, or that has ended.
fn opened(numbers: &[i32], list: List<'_>, failed: &mut Option<(String, io::Error)>) -> Result<Vec<(i32, OwnedFd)>> {
    let mut all = Vec::with_capacity(numbers.len());
    for number in numbers {
        // Processes that this process's namespace does not know are listed as 0.
        let Some(pid) = Pid::from_raw(*number) else { continue };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => all.push((*number, process)),
            Err(e) if is_over(e) => {}
            Err(e) => {
                failed.get_or_insert((format!("open process {number}"), e.into()));
            }
        }
    }
    let still: BTreeSet<i32> = list()?.into_iter().collect();
    all.retain(|(number, _)| still.contains(number));
    Ok(all)
}

/// Whether the kernel says so of a number that is no process any more. Before Linux 6.15 that is EINVAL while the number
/// still names a session or a group of processes, or names a thread now.
fn is_over(e: Errno) -> bool {
    matches!(e, Errno::SRCH | Errno::INVAL | Errno::NOENT)
}

/// When a process was started, in the kernel's ticks; 0 if it is gone.
fn start(number: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: the state is field 3, the start 22.
    let fields = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19));
    fields.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    const TERM: i32 = 15;

    fn sleeper() -> Child {
        // One that a failed test leaves must not hold the test's output open.
        Command::new("sleep").arg("1000").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The signal that ends it: that of the test, or the one it gets now.
    fn ends_by(mut child: Child) -> Option<i32> {
        child.kill().unwrap();
        child.wait().unwrap().signal()
    }

    /// The number of a leader that was collected still names its process group: no process, and no reason to stop.
    #[test]
    fn one_that_is_over_spares_no_other() {
        use std::os::unix::process::CommandExt;
        let mut leader = Command::new("sh");
        leader.args(["-c", "sleep 1000 > /dev/null & echo $!"]).process_group(0).stdout(Stdio::piped());
        let leader = leader.spawn().unwrap();
        let number = leader.id() as i32;
        let member: i32 = String::from_utf8(leader.wait_with_output().unwrap().stdout).unwrap().trim().parse().unwrap();
        let process = pidfd_open(Pid::from_raw(member).unwrap(), PidfdFlags::empty()).unwrap();
        assert!(signal_new(&|| Ok(vec![number, member]), TERM, &mut Told::new()).unwrap());
        let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        let mut ended = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ended, Some(&limit)), Ok(1));
    }

    /// The number of a process that ended was given to another one before it was opened.
    #[test]
    fn what_left_the_group_before_it_was_opened_is_spared() {
        for (stays, want) in [(false, 9), (true, TERM)] {
            let mut child = sleeper();
            let number = child.id() as i32;
            let looks = Cell::new(0);
            let list = || {
                looks.set(looks.get() + 1);
                Ok(if stays || looks.get() == 1 { vec![number] } else { Vec::new() })
            };
            let news = signal_new(&list, TERM, &mut Told::new()).unwrap();
            assert_eq!((news, looks.get()), (stays, 2));
            if stays {
                assert_eq!(child.wait().unwrap().signal(), Some(want));
            } else {
                assert_eq!(ends_by(child), Some(want));
            }
        }
    }

    #[test]
    fn a_number_that_was_told_and_is_given_again_is_told_again() {
        let mut child = sleeper();
        let number = child.id() as i32;
        let list = || Ok(vec![number]);
        let mut told = Told::from([(number, start(number))]);
        assert!(!signal_new(&list, TERM, &mut told).unwrap(), "this one was told");
        let mut told = Told::from([(number, start(number) - 1)]);
        assert!(signal_new(&list, TERM, &mut told).unwrap(), "another one with its number was told");
        assert_eq!(child.wait().unwrap().signal(), Some(TERM));
    }

    #[test]
    fn more_than_can_be_open_at_a_time_and_those_of_other_namespaces() {
        let mut children: Vec<Child> = (0..3).map(|_| sleeper()).collect();
        let mut numbers = vec![0; MAX_OPEN];
        numbers.extend(children.iter().map(|c| c.id() as i32));
        // Gone, and not yet collected.
        children[0].kill().unwrap();
        assert!(signal_new(&|| Ok(numbers.clone()), TERM, &mut Told::new()).unwrap());
        let ends: Vec<_> = children.iter_mut().map(|c| c.wait().unwrap().signal()).collect();
        assert_eq!(ends, [Some(9), Some(TERM), Some(TERM)]);
    }

    #[test]
    fn a_start_is_read_behind_any_name() {
        assert!(start(std::process::id() as i32) > 0);
        assert_eq!(start(i32::MAX), 0);
    }
}
