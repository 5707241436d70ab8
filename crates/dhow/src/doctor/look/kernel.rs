//! The kernel: each thing that dhow uses is tried.

use super::super::facts::{Kernel, Tried};
use super::{number, overlay, root_only, text};
use dhow_sys::clone;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::process::{Pid, WaitOptions};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

/// Kinds of namespaces that a container is made of, as the kernel's limits spell them.
const KINDS: [(&str, u64); 6] = [
    ("mnt", clone::NEWNS),
    ("uts", clone::NEWUTS),
    ("ipc", clone::NEWIPC),
    ("pid", clone::NEWPID),
    ("net", clone::NEWNET),
    ("cgroup", clone::NEWCGROUP),
];

/// Looks.
pub fn look(root: &Path) -> Kernel {
    let (overlay, dirent_types) = overlay::attempt(root);
    let limit = |kind: &str| number(&format!("/proc/sys/user/max_{kind}_namespaces")).map(|n| (kind.to_owned(), n));
    Kernel {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        calls: calls(),
        namespaces: KINDS.map(|(kind, flag)| (kind.to_owned(), namespace(flag))).to_vec(),
        namespace_limits: KINDS.iter().map(|k| k.0).chain(["user"]).filter_map(limit).collect(),
        seccomp: text("/proc/sys/kernel/seccomp/actions_avail")
            .map(|t| t.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        overlay,
        dirent_types,
        network: root_only(|| Ok(dhow_net::look::trial().map_err(|e| e.text().to_owned()))),
        fuse: Path::new("/dev/fuse").exists(),
        keys: text("/proc/key-users").and_then(|t| keys(&t, rustix::process::getuid().as_raw())),
        pids: number("/proc/sys/kernel/pid_max").zip(text("/proc/loadavg").and_then(|t| tasks(&t))),
    }
}

/// A refusal for want of rights shows that the call is there.
fn there(result: io::Result<()>) -> Result<(), String> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !super::is_root() => Ok(()),
        Err(e) => Err(dhow_types::Error::from(e).text().to_owned()),
        Ok(()) => Ok(()),
    }
}

fn calls() -> BTreeMap<String, Result<(), String>> {
    let done = |r: rustix::io::Result<()>| r.map_err(io::Error::from);
    let openat2 = || {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
        done(rustix::fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).map(drop))
    };
    let pidfd =
        || done(rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).map(drop));
    let mount_setattr = || {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // Nothing is asked to change.
        dhow_sys::mount::set_attributes(root.as_fd(), &dhow_sys::mount::Attributes::default(), false)
    };
    let fsopen = || done(rustix::mount::fsopen("tmpfs", rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).map(drop));
    let all: [(&str, io::Result<()>); 5] = [
        ("clone3", child(0)),
        ("openat2", openat2()),
        ("pidfd_open", pidfd()),
        ("fsopen", fsopen()),
        ("mount_setattr", mount_setattr()),
    ];
    all.into_iter().map(|(name, result)| (name.to_owned(), there(result))).collect()
}

/// A child that ends at once, in these namespaces.
fn child(flags: u64) -> io::Result<()> {
    let child = clone::spawn(flags, None, || 0)?;
    if let Some(pid) = Pid::from_raw(child.pid) {
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))?;
    }
    Ok(())
}

fn namespace(flag: u64) -> Tried {
    root_only(|| Ok(child(flag).map_err(|e| dhow_types::Error::from(e).text().to_owned())))
}

/// Keys of a user: `    0:    12 11/11 8/1000000 190/25000000`.
fn keys(text: &str, uid: u32) -> Option<(u64, u64)> {
    let rest = text.lines().find_map(|l| l.trim().strip_prefix(&format!("{uid}:")))?;
    let (used, allowed) = rest.split_whitespace().nth(2)?.split_once('/')?;
    Some((used.parse().ok()?, allowed.parse().ok()?))
}

/// Processes and threads: the fourth word of `0.20 0.18 0.12 1/80 11206`.
fn tasks(text: &str) -> Option<u64> {
    text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc() {
        let text = "    0:    12 11/11 8/1000000 190/25000000\n 1000:     3 3/3 3/200 50/20000\n";
        assert_eq!(keys(text, 0), Some((8, 1_000_000)));
        assert_eq!(keys(text, 1000), Some((3, 200)));
        assert_eq!(keys(text, 100), None);
        assert_eq!(tasks("0.20 0.18 0.12 1/80 11206\n"), Some(80));
    }

    #[test]
    fn calls_that_every_tested_kernel_has() {
        for (name, result) in calls() {
            assert_eq!(result, Ok(()), "{name}");
        }
    }
}
