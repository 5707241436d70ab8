//! Which capabilities a container gets.
//!
//! Source of the default: Docker's documentation of run-time privileges, which lists the fourteen.

use dhow_types::{Error, Result};

/// What a container has unless it asks otherwise.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Every capability of Linux, in the order of its number (include/uapi/linux/capability.h).
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities for `add` and `drop` over the default. `available` is a bit mask of those this daemon has
/// itself; with `ALL` those it lacks are left out silently, as Docker does.
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
    hardened: bool,
    available: u64,
) -> Result<Vec<String>> {
    let all = || ALL.iter().enumerate().filter(|(i, _)| available & (1 << i) != 0).map(|(_, c)| (*c).to_owned());
    if privileged {
        return Ok(all().collect());
    }
    let (add, drop) = (normal(add)?, normal(drop)?);
    let adds_all = add.iter().any(|c| c == "ALL");
    let drops_all = drop.iter().any(|c| c == "ALL");
    let mut caps: Vec<String> = match (adds_all, drops_all) {
        (true, _) => all().filter(|c| !drop.contains(c)).collect(),
        (false, true) => Vec::new(),
        (false, false) => DEFAULT
            .iter()
            .filter(|c| !(hardened && **c == "CAP_NET_RAW"))
            .map(|c| (*c).to_owned())
            .filter(|c| !drop.contains(c))
            .collect(),
    };
    for cap in add.into_iter().filter(|c| c != "ALL") {
        if !caps.contains(&cap) {
            caps.push(cap);
        }
    }
    Ok(caps)
}

/// Upper case with prefix; names that no kernel has are refused.
fn normal(caps: &[String]) -> Result<Vec<String>> {
    caps.iter()
        .map(|given| {
            let upper = given.to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            if ALL.contains(&full.as_str()) {
                Ok(full)
            } else {
                Err(Error::invalid(format!("invalid capability: {given:?}: see capabilities(7) for the names")))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(s: &[&str]) -> Vec<String> {
        s.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn table() {
        let everything = (1 << ALL.len()) - 1;
        let get = |add: &[&str], drop: &[&str]| resolve(&words(add), &words(drop), false, false, everything).unwrap();
        assert_eq!(get(&[], &[]), words(&DEFAULT));
        assert_eq!(get(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(get(&["CAP_CHOWN"], &[]), words(&DEFAULT));
        assert!(!get(&[], &["Chown"]).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(get(&["ALL"], &[]).len(), 41);
        assert_eq!(get(&["all"], &["SYS_ADMIN"]).len(), 40);
        assert_eq!(get(&[], &["ALL"]), Vec::<String>::new());
        assert_eq!(resolve(&[], &[], true, false, 0b101).unwrap(), ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]);
        assert!(!resolve(&[], &[], false, true, everything).unwrap().contains(&"CAP_NET_RAW".to_owned()));
        let e = resolve(&words(&["CAP_NOPE"]), &[], false, false, everything).unwrap_err();
        assert!(e.text().contains("CAP_NOPE"), "{e}");
    }
}
