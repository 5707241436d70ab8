//! Why a container that was killed does not end: its processes wait in the kernel, are kept frozen, or have ended and are
//! not collected. [`sentence`] says it; the rest reads `/proc`.
//!
//! Read is only what never waits for the process or for a file system it hangs on: no command line, no memory, no path
//! that leads into a mount. And it is bounded all the same.

use crate::container::Container;
use crate::core::Core;
use crate::pause;
use crate::record::Record;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the search may take.
const MAX_SEARCH: Duration = Duration::from_secs(2);
/// Processes of the machine that are looked at, and descriptors of one.
const MAX_LOOKED_AT: usize = 65_536;
/// Stuck processes that are told one by one.
const MAX_TOLD: usize = 3;
/// Largest file of `/proc` that is read.
const MAX_FILE: u64 = 1 << 20;
/// System calls, as they are numbered here, whose first argument is a descriptor: read, write, fstat, pread64, pwrite64,
/// readv, writev, fsync, fdatasync, ftruncate, getdents64, fallocate, close.
#[cfg(target_arch = "x86_64")]
const ON_A_DESCRIPTOR: [u64; 13] = [0, 1, 5, 17, 18, 19, 20, 74, 75, 77, 217, 285, 3];
#[cfg(not(target_arch = "x86_64"))]
const ON_A_DESCRIPTOR: [u64; 13] = [63, 64, 80, 67, 68, 65, 66, 82, 83, 46, 61, 47, 57];

/// A process that is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    pid: i32,
    name: String,
    /// As `ps` shows it: D, Z, T, S, R.
    state: char,
    parent: i32,
    /// The kernel's function it waits in.
    waits_in: String,
    /// The file it works on.
    file: Option<String>,
    /// Where that lies.
    mount: Option<Mount>,
    /// Of a zombie: the process that has to collect it, and that one's state.
    collector: Option<(String, char)>,
}

/// A mount, as `/proc/PID/mountinfo` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    point: String,
    kind: String,
    source: String,
    /// Numbers of its device: one of all mounts of the same file system. By the minor one the kernel names FUSE connections.
    major: u32,
    minor: u32,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    processes: Vec<Process>,
    /// The group that keeps them frozen.
    frozen_by: Option<String>,
    /// The container's first process.
    first: i32,
    /// Its parent, the shim.
    shim: Option<i32>,
}

/// Why it does not end.
pub(crate) async fn why(core: &Arc<Core>, container: &Arc<Container>) -> String {
    let (core, record) = (core.clone(), container.record());
    let search = tokio::task::spawn_blocking(move || sentence(&find(&core, &record)));
    match tokio::time::timeout(MAX_SEARCH, search).await {
        Ok(Ok(text)) => text,
        _ => "what holds it could not be found out in time: `dmesg` may say more".to_owned(),
    }
}

/// For people: who is stuck, where, and what to do.
fn sentence(found: &Found) -> String {
    if let Some(group) = &found.frozen_by {
        return format!(
            "its processes are frozen by the control group {group}: let them go on with `echo THAWED > {group}/freezer.state`"
        );
    }
    // The first process waits for all others of its namespace, so that it is named only when it is alone.
    let all = &found.processes;
    let stuck = |p: &&Process| matches!(p.state, 'D' | 'Z') && (p.pid != found.first || p.state == 'D');
    let told: Vec<String> = all.iter().filter(stuck).take(MAX_TOLD).map(one).collect();
    let more = all.iter().filter(stuck).count() - told.len();
    if !told.is_empty() {
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        return format!("{}{more}", told.join("; "));
    }
    match (all.first(), found.shim) {
        (Some(p), _) => format!(
            "process {} ({}) is still there in state {}{}: `dmesg` may say more",
            p.pid,
            p.name,
            p.state,
            if p.waits_in.is_empty() { String::new() } else { format!(", in {}", p.waits_in) },
        ),
        (None, Some(shim)) => format!(
            "its processes have ended, but its supervisor, process {shim}, does not say so: `kill -CONT {shim}` if it was stopped, else `kill -KILL {shim}`"
        ),
        (None, None) => "its processes have ended, but its supervisor does not say so".to_owned(),
    }
}

fn one(p: &Process) -> String {
    let who = format!("process {} ({})", p.pid, p.name);
    if p.state == 'Z' {
        return match &p.collector {
            Some((name, 'T' | 't')) => format!(
                "{who} has ended, and its parent outside of the container, process {} ({name}), is stopped and does not collect it: `kill -CONT {}`, or end that one",
                p.parent, p.parent
            ),
            Some((name, _)) => format!(
                "{who} has ended, and its parent outside of the container, process {} ({name}), does not collect it: end that one",
                p.parent
            ),
            None => format!("{who} has ended and is not collected by its parent, process {}", p.parent),
        };
    }
    let place = if p.waits_in.is_empty() { String::new() } else { format!(" ({})", p.waits_in) };
    let file = p.file.as_ref().map(|f| format!(" for {f}")).unwrap_or_default();
    let mount = p.mount.as_ref().map(Mount::told).unwrap_or_default();
    format!("{who} waits in the kernel{place}{file}{mount}")
}

/// The mounts that a process sees.
pub(crate) fn mounts_of(pid: &str) -> String {
    read(format!("/proc/{pid}/mountinfo")).unwrap_or_default()
}

/// Whether there is one that somebody else than the kernel answers for.
pub(crate) fn remote(mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(mount).any(|m| m.is_remote())
}

impl Mount {
    /// Where it is and whose, and what to do about it.
    pub(crate) fn told(&self) -> String {
        let on = format!(" on {} ({} from {})", self.point, self.kind, self.source);
        let advice = match self.kind.as_str() {
            _ if self.is_fuse() => {
                format!(
                    ": end the program that serves it, or `echo 1 > /sys/fs/fuse/connections/{}/abort` where fusectl is mounted",
                    self.minor
                )
            }
            _ if self.is_remote() => {
                format!(": it goes on when {} answers again, or after `umount -f` of it", self.source)
            }
            _ => ": its device does not answer, `dmesg` may say more".to_owned(),
        };
        format!("{on}{advice}")
    }

    /// Somebody else than the kernel answers for it.
    pub(crate) fn is_remote(&self) -> bool {
        self.is_fuse() || ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "virtiofs"].contains(&self.kind.as_str())
    }

    /// Whether a look at something there may wait for ever: others answer for it, or its links lead where no path tells.
    pub(crate) fn may_be_silent(&self) -> bool {
        self.is_remote() || ["autofs", "proc"].contains(&self.kind.as_str())
    }

    /// The file system, which may be mounted at several places.
    pub(crate) fn device(&self) -> (u32, u32) {
        (self.major, self.minor)
    }

    /// A program answers for it. (`fusectl` is the kernel's own.)
    fn is_fuse(&self) -> bool {
        ["fuse", "fuseblk"].contains(&self.kind.as_str()) || self.kind.starts_with("fuse.")
    }
}

/// The mount that `path` lies on, the longest that begins it; of several at one place the last is on top.
pub(crate) fn mount_of(mountinfo: &str, path: &str) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(mount).filter(|m| lies_in(path, &m.point));
    mounts.max_by_key(|m| m.point.len())
}

fn lies_in(path: &str, point: &str) -> bool {
    point == "/" || path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn mount(line: &str) -> Option<Mount> {
    let (own, kind) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let mut kind = kind.split(' ');
    let (major, minor) = own.get(2)?.split_once(':')?;
    Some(Mount {
        point: unescaped(own.get(4)?),
        kind: kind.next()?.to_owned(),
        source: unescaped(kind.next()?),
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// The kernel writes blanks and line ends as octal numbers.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |t, (a, b)| t.replace(a, b))
}

/// The descriptor that a blocked system call works on, from `/proc/PID/syscall`.
fn descriptor(syscall: &str) -> Option<u64> {
    let mut words = syscall.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    ON_A_DESCRIPTOR.contains(&number).then_some(argument)
}

fn find(core: &Core, record: &Record) -> Found {
    let group = pause::group(core, record).ok();
    let first = record.state.pid;
    let mut pids = group.as_ref().and_then(|g| g.pids(true).ok()).unwrap_or_default();
    pids.extend(namespace(first));
    pids.sort_unstable();
    pids.dedup();
    let processes: Vec<Process> = pids.iter().filter_map(|pid| process(*pid, &pids)).collect();
    Found {
        frozen_by: pids.iter().find_map(|pid| dhow_cgroup::held_frozen_by(&core.layout, *pid)),
        shim: processes.iter().find(|p| p.pid == first).map(|p| p.parent),
        first,
        processes,
    }
}

/// The processes of the namespace whose first one `first` is. Zombies are in no group's list.
fn namespace(first: i32) -> Vec<i32> {
    let of = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let (Some(own), Some(ours)) = (of(first), of(std::process::id() as i32)) else { return Vec::new() };
    let Ok(list) = std::fs::read_dir("/proc") else { return Vec::new() };
    if own == ours {
        return Vec::new();
    }
    let pids = list.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.take(MAX_LOOKED_AT).filter(|pid| of(*pid).as_ref() == Some(&own)).collect()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Name, state and parent.
fn status(pid: i32) -> Option<(String, char, i32)> {
    let text = read(format!("/proc/{pid}/status"))?;
    let field = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(":\t"));
    Some((field("Name")?.to_owned(), field("State")?.chars().next()?, field("PPid")?.parse().ok()?))
}

fn process(pid: i32, inside: &[i32]) -> Option<Process> {
    let (name, state, parent) = status(pid)?;
    let mut found = Process { pid, name, state, parent, ..Process::default() };
    if state == 'Z' {
        found.collector = status(parent).filter(|_| !inside.contains(&parent)).map(|(name, state, _)| (name, state));
        return Some(found);
    }
    found.waits_in = read(format!("/proc/{pid}/wchan")).filter(|t| t != "0").unwrap_or_default();
    if state == 'D' {
        let mounts = mounts_of(&pid.to_string());
        // What it works on; else what it has open, or stands in, that somebody else answers for.
        let link = |name: String| std::fs::read_link(format!("/proc/{pid}/{name}")).ok()?.to_str().map(str::to_owned);
        let path = |name: String| link(name).filter(|p| p.starts_with('/'));
        let working = read(format!("/proc/{pid}/syscall")).as_deref().and_then(descriptor);
        let remote = |p: &String| mount_of(&mounts, p).is_some_and(|m| m.is_remote());
        found.file = working.and_then(|fd| path(format!("fd/{fd}"))).or_else(|| {
            let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok();
            let fds = fds.into_iter().flatten().flatten().take(MAX_LOOKED_AT);
            let names = fds.map(|e| format!("fd/{}", e.file_name().to_string_lossy()));
            names.chain(["cwd".to_owned()]).filter_map(path).find(remote)
        });
        found.mount = match &found.file {
            Some(file) => mount_of(&mounts, file),
            // By elimination: one that others answer for, if there is but one.
            None => {
                let mut all = mounts.lines().filter_map(mount).filter(Mount::is_remote);
                all.next().filter(|_| all.next().is_none())
            }
        };
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 0:21 / / rw - overlay dhow rw,lowerdir=/x\n\
        23 22 0:22 / /proc rw - proc proc rw\n\
        24 22 0:45 / /data rw,relatime shared:1 - nfs4 srv:/x rw,vers=4.2\n\
        25 22 8:1 / /data/my\\040disk rw - ext4 /dev/sda1 rw\n\
        26 22 0:77 / /cloud rw - fuse.sshfs me@host:/ rw\n";

    #[test]
    fn the_mount_of_a_path() {
        for (path, point, kind, minor) in [
            ("/data/file", "/data", "nfs4", 45),
            ("/data", "/data", "nfs4", 45),
            ("/database", "/", "overlay", 21),
            ("/data/my disk/x", "/data/my disk", "ext4", 1),
            ("/cloud/x", "/cloud", "fuse.sshfs", 77),
        ] {
            let found = mount_of(MOUNTS, path).unwrap();
            assert_eq!((found.point.as_str(), found.kind.as_str(), found.minor), (point, kind, minor), "{path}");
        }
        assert!(mount_of(MOUNTS, "/data/x").unwrap().is_remote() && !mount_of(MOUNTS, "/x").unwrap().is_remote());
        assert_eq!(mount_of("", "/x"), None);
        let own = "27 22 0:78 / /sys/fs/fuse/connections rw - fusectl fusectl rw\n";
        assert!(remote(MOUNTS) && !remote(own));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_descriptor_a_call_works_on() {
        for (text, want) in [
            ("0 0x3 0x7ffd 0x1000 0x0 0x0 0x0 0x7ffd 0x7f00\n", Some(3)),
            ("257 0xffffff9c 0x7ffd 0x0\n", None),
            ("running\n", None),
            ("-1 0x7ffd 0x7f00\n", None),
            ("", None),
        ] {
            assert_eq!(descriptor(text), want, "{text:?}");
        }
    }

    #[test]
    fn each_cause_is_told_with_its_cure() {
        let p = |pid, state| Process { pid, state, name: "cp".into(), parent: 5, ..Process::default() };
        let waits = |mount| Process {
            waits_in: "rpc_wait".into(),
            file: Some("/data/f".into()),
            mount: mount_of(MOUNTS, mount),
            ..p(12, 'D')
        };
        let ended = |state| Process { collector: Some(("nsenter".into(), state)), ..p(12, 'Z') };
        let found = |processes| Found { processes, first: 10, shim: Some(9), ..Found::default() };
        for (found, parts) in [
            (
                Found { frozen_by: Some("/sys/fs/cgroup/freezer/outer".into()), ..found(vec![p(12, 'D')]) },
                vec!["frozen by the control group /sys/fs/cgroup/freezer/outer", "echo THAWED >"],
            ),
            (
                found(vec![p(10, 'S'), waits("/data/f")]),
                vec![
                    "process 12 (cp) waits in the kernel (rpc_wait) for /data/f on /data (nfs4 from srv:/x)",
                    "umount -f",
                ],
            ),
            (found(vec![waits("/cloud/f")]), vec!["(fuse.sshfs from me@host:/)", "/sys/fs/fuse/connections/77/abort"]),
            (found(vec![waits("/data/my disk/f")]), vec!["(ext4 from /dev/sda1)", "dmesg"]),
            (found(vec![p(12, 'D')]), vec!["process 12 (cp) waits in the kernel"]),
            (
                found(vec![p(10, 'S'), ended('T')]),
                vec!["process 12 (cp) has ended", "process 5 (nsenter), is stopped", "kill -CONT 5"],
            ),
            (found(vec![ended('S')]), vec!["process 5 (nsenter), does not collect it: end that one"]),
            (found(vec![p(12, 'Z')]), vec!["is not collected by its parent, process 5"]),
            (found(vec![p(10, 'S')]), vec!["process 10 (cp) is still there in state S"]),
            (found(vec![]), vec!["its supervisor, process 9, does not say so", "kill -CONT 9"]),
            (Found::default(), vec!["its supervisor does not say so"]),
            (found((20..25).map(|n| p(n, 'D')).collect()), vec!["process 22 (cp)", "; and 2 more"]),
        ] {
            let text = sentence(&found);
            for part in parts {
                assert!(text.contains(part), "{part:?} is not in {text:?}");
            }
        }
    }

    #[test]
    fn this_process_is_read() {
        let me = std::process::id() as i32;
        let found = process(me, &[me]).unwrap();
        assert!(found.pid == me && found.parent > 0 && matches!(found.state, 'R' | 'S'), "{found:?}");
        assert_eq!(process(i32::MAX, &[]), None);
        assert!(namespace(me).is_empty(), "the machine's own namespace is not searched");
    }
}
