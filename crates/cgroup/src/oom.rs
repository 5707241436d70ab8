//! News that the kernel ran out of memory for a group: a descriptor to poll, and the count of what was killed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, inotify};
use rustix::io::Errno;

use crate::dir::read_fd;
use crate::group::{Group, read_optional};
use crate::layout::Version;

/// The most that is drained from the descriptor at once; one event needs 16 bytes.
const DRAIN: usize = 4096;
/// A count file has a few lines.
const MAX_COUNTS: usize = 4096;

/// A descriptor that becomes readable when the kernel ran out of memory for the group.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    counts: OwnedFd,
    version: Version,
    seen: u64,
}

impl Group {
    /// How many tasks of the group were killed because memory ran out.
    pub fn oom_kills(&self) -> Result<u64> {
        let Some((hierarchy, dir)) = self.member("memory") else { return Ok(0) };
        Ok(read_optional(dir, counts_file(hierarchy.version()))?.map_or(0, |t| kills(&t)))
    }

    /// Starts to watch; `Unavailable` where the group has no memory controller.
    pub fn oom_watch(&self) -> Result<OomWatch> {
        let none = || Error::new(ErrorKind::Unavailable, "no memory controller tells when memory runs out here");
        let (hierarchy, dir) = self.member("memory").ok_or_else(none)?;
        let version = hierarchy.version();
        let counts = match dir.open_file(counts_file(version), OFlags::RDONLY) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(none()),
            Err(e) => return Err(e).with_context(|| format!("open {}", counts_file(version))),
        };
        let what = "watch for memory running out";
        let fd = match version {
            Version::V2 => {
                let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
                let fd = inotify::init(flags).map_err(std::io::Error::from).context(what)?;
                // By path, because inotify knows no other way; the directory stays reachable while it is open.
                let path = format!("{}/{}", self.dir_text(hierarchy), counts_file(version));
                inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY)
                    .map_err(std::io::Error::from)
                    .context(what)?;
                fd
            }
            Version::V1 => {
                let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                    .map_err(std::io::Error::from)
                    .context(what)?;
                let line = format!("{} {}", fd.as_raw_fd(), counts.as_raw_fd());
                dir.write("cgroup.event_control", &line).context(what)?;
                fd
            }
        };
        let mut watch = OomWatch { fd, counts, version, seen: 0 };
        watch.seen = watch.count();
        Ok(watch)
    }
}

impl OomWatch {
    /// Takes the news from the descriptor: whether memory has run out since the last time.
    ///
    /// On v1 the kernel speaks just before it kills, so [`Group::oom_kills`] may count the kill a moment later.
    pub fn take(&mut self) -> Result<bool> {
        let mut buffer = [0u8; DRAIN];
        let woken = match rustix::io::read(&self.fd, &mut buffer) {
            Ok(n) => n > 0,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(e) => return Err(std::io::Error::from(e)).context("read news about memory running out"),
        };
        let before = self.seen;
        self.seen = self.count().max(before);
        // v1 also speaks when the group goes; then the counts can't be read any more.
        Ok(self.seen > before || (woken && self.version == Version::V1 && self.text().is_ok()))
    }

    fn text(&self) -> std::io::Result<String> {
        rustix::fs::seek(&self.counts, rustix::fs::SeekFrom::Start(0))?;
        read_fd(self.counts.as_fd(), MAX_COUNTS)
    }
    fn count(&self) -> u64 {
        self.text().map_or(self.seen, |t| kills(&t))
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn counts_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }
}

/// The line `oom_kill N`, which both files have.
fn kills(text: &str) -> u64 {
    text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_not_mistaken_for_its_neighbours() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 7\n"), 1);
        assert_eq!(kills("oom_kill_disable 1\n"), 0);
    }
}
