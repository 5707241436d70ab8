//! Freezing and deleting: the pauses of a group, and its end. Killing is in `kill`.
//!
//! Waiting is for events of v2 (`cgroup.events`); only v1 without v2 beside it, which has none, is asked again and
//! again with growing pauses. Every wait has a named bound.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::dir::{GroupDir, read_fd};
use crate::group::{Group, all_pids};

/// How long processes may take to freeze: one that waits for a disk freezes only after that.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);
/// How long killed processes may take to vanish before a group is given up.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);
/// The first pause between two looks at v1, and the longest.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The longest sleep before events are read again: the removal of a group wakes nobody.
const LOOK: Duration = Duration::from_millis(50);

impl Group {
    /// Freezes all processes, or thaws them, and waits until it has happened.
    pub fn freeze(&self, on: bool) -> Result<()> {
        let what = if on { "freeze" } else { "thaw" };
        let done = if let Some(dir) = self.v2().filter(|d| d.has("cgroup.freeze")) {
            dir.write("cgroup.freeze", if on { "1" } else { "0" })
                .with_context(|| format!("{what} the control group"))?;
            wait_event(dir, "frozen", on, FREEZE_LIMIT)
        } else if let Some((_, dir)) = self.member("freezer") {
            freeze_v1(dir, on)
        } else {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("can't {what}: this machine has neither control groups v2 nor the freezer controller"),
            ));
        };
        match done {
            Ok(true) => Ok(()),
            Ok(false) => {
                if on {
                    // Half frozen is of no use to anybody.
                    let _ = self.freeze(false);
                }
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("can't {what}: some processes did not react within 10 seconds (they wait for a device)"),
                ))
            }
            Err(e) => Err(e).with_context(|| format!("{what} the control group")),
        }
    }

    /// Whether this group itself was told to freeze, be it frozen by now or not; a group around it does not count.
    pub fn is_paused(&self) -> Result<bool> {
        if let Some(dir) = self.v2().filter(|d| d.has("cgroup.freeze")) {
            return Ok(dir.read("cgroup.freeze").context("read cgroup.freeze")?.trim() == "1");
        }
        match self.member("freezer") {
            Some((_, dir)) => {
                Ok(dir.read("freezer.self_freezing").context("read freezer.self_freezing")?.trim() == "1")
            }
            None => Ok(false),
        }
    }

    /// Whether the group is frozen.
    pub fn frozen(&self) -> Result<bool> {
        if let Some(dir) = self.v2().filter(|d| d.has("cgroup.freeze")) {
            let events = dir.read("cgroup.events").context("read cgroup.events")?;
            return Ok(event_is(&events, "frozen", true));
        }
        match self.member("freezer") {
            Some((_, dir)) => Ok(dir.read("freezer.state").context("read freezer.state")?.trim() == "FROZEN"),
            None => Ok(false),
        }
    }

    /// Removes the group and the groups inside it, everywhere. Waits for processes that are ending; goes on after a
    /// failure, and reports all of them. A group that is gone already is no error.
    pub fn delete(self) -> Result<()> {
        let deadline = Instant::now() + EMPTY_LIMIT;
        let mut failures = Vec::new();
        // v2 comes first: its events tell when the last process is gone, after which v1 has none either.
        for (hierarchy, dir) in self.members() {
            let path = self.path().path_in(hierarchy.key());
            let removed = GroupDir::root(hierarchy.mount_point()).and_then(|root| {
                let (parent, name) = crate::dir::split(path);
                match root.open(&parent) {
                    Ok(parent) => remove(&parent, name, dir, hierarchy.is_v2(), deadline),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(e) => Err(e),
                }
            });
            if let Err(e) = removed {
                let left = all_pids(dir).map(|p| p.len()).unwrap_or(0);
                let more = if left > 0 { format!(" ({left} processes are still in it)") } else { String::new() };
                failures.push(format!("{}: {}{more}", self.dir_text(hierarchy), Error::from(e)));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::system(format!("remove the control group: {}", failures.join("; "))))
        }
    }
}

/// Removes one directory, waiting for its processes to be gone.
fn remove(parent: &GroupDir, name: &str, dir: &GroupDir, events: bool, deadline: Instant) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let busy = match parent.remove(name) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::BUSY) => e,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        };
        // Busy with groups inside, or with processes.
        match dir.remove_children() {
            Ok(()) => {}
            Err(e) if Errno::from_io_error(&e) == Some(Errno::BUSY) => {}
            Err(e) => return Err(e),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(busy);
        }
        if events && !matches!(wait_event(dir, "populated", false, Duration::ZERO), Ok(true)) {
            match wait_event(dir, "populated", false, left) {
                // Somebody else removed it.
                Err(e) if Errno::from_io_error(&e) == Some(Errno::NODEV) => {}
                other => drop(other?),
            }
        } else if let Err(e) = parent.remove(name) {
            // Empty, and yet busy: the kernel is still at it, or this is v1, which tells nobody.
            if e.kind() == io::ErrorKind::NotFound {
                return Ok(());
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            return Ok(());
        }
    }
}

/// Waits until `key` in `cgroup.events` is `on`; false when the time is over.
fn wait_event(dir: &GroupDir, key: &str, on: bool, limit: Duration) -> io::Result<bool> {
    let file = dir.open_file("cgroup.events", OFlags::RDONLY)?;
    let deadline = Instant::now() + limit;
    loop {
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        let events = read_fd(file.as_fd(), crate::dir::MAX_FILE)?;
        // Where nobody is, nobody moves.
        if event_is(&events, key, on) || (on && event_is(&events, "populated", false)) {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let pause = left.min(LOOK);
        let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        // The kernel reports each change of the file since it was read as priority data.
        match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether the line of `key` says `on`.
fn event_is(text: &str, key: &str, on: bool) -> bool {
    let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' '));
    value.is_some_and(|v| (v.trim() == "1") == on)
}

/// v1 reports "freezing" until every task has stopped, and must be asked for it again when one was forking.
fn freeze_v1(dir: &GroupDir, on: bool) -> io::Result<bool> {
    let want = if on { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + FREEZE_LIMIT;
    let mut pause = FIRST_PAUSE;
    loop {
        dir.write("freezer.state", want)?;
        if dir.read("freezer.state")?.trim() == want {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_by_their_whole_name() {
        let text = "populated 1\nfrozen 0\n";
        assert!(event_is(text, "populated", true) && !event_is(text, "populated", false));
        assert!(event_is(text, "frozen", false) && !event_is(text, "frozen", true));
        assert!(!event_is(text, "pop", true) && !event_is("", "frozen", false));
    }
}
