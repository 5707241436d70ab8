//! Capabilities, limits and security modules.

use super::super::facts::{Rights, Seen, Unseen};
use super::{field, text};

/// Looks; `daemon` is the process whose limit of open files counts.
pub fn look(daemon: Option<u32>) -> Seen<Rights> {
    let status =
        text("/proc/self/status").ok_or_else(|| Unseen::Other("/proc/self/status can't be read".to_owned()))?;
    // What the daemon has counts, where there is one.
    let theirs = daemon.and_then(|pid| text(format!("/proc/{pid}/status")));
    let set = |name: &str| {
        field(theirs.as_ref().unwrap_or(&status), name).and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0)
    };
    // Others may not look at a daemon's limits.
    let of_daemon = daemon.and_then(|pid| Some((pid, text(format!("/proc/{pid}/limits"))?)));
    let (files_of, limits) = match of_daemon {
        Some((pid, limits)) => (Some(pid), limits),
        None => (None, text("/proc/self/limits").unwrap_or_default()),
    };
    Ok(Rights {
        effective: set("CapEff"),
        bounding: set("CapBnd"),
        no_new_privs: field(&status, "NoNewPrivs") == Some("1"),
        filtered: field(&status, "Seccomp") == Some("2"),
        files_of,
        files: open_files(&limits).unwrap_or((0, 0)),
        modules: text("/sys/kernel/security/lsm").map(|t| t.trim().split(',').map(str::to_owned).collect()),
        selinux: text("/sys/fs/selinux/enforce").map(|t| t.trim() == "1"),
        apparmor: text("/sys/module/apparmor/parameters/enabled").is_some_and(|t| t.trim() == "Y"),
    })
}

/// `Max open files            1024                 524288               files`.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let rest = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    let mut words = rest.split_whitespace().map(|w| if w == "unlimited" { Some(u64::MAX) } else { w.parse().ok() });
    Some((words.next()??, words.next()??))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_of_open_files() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 unlimited            files\n";
        assert_eq!(super::open_files(text), Some((1024, u64::MAX)));
        assert_eq!(super::open_files(""), None);
    }
}
