//! Capability names and sets. Pure.

use crate::spec::Capabilities;

/// The names in the order of their numbers (linux/capability.h), without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// How many capabilities have a name.
pub(crate) const COUNT: u32 = NAMES.len() as u32;
/// The bit of CAP_SYS_ADMIN.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

/// The five sets as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CapSets {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// The name with `CAP_` in front.
pub(crate) fn name(number: u32) -> String {
    match NAMES.get(number as usize) {
        Some(name) => format!("CAP_{name}"),
        None => format!("capability {number}"),
    }
}

/// All names, as `features` lists them.
pub(crate) fn names() -> Vec<String> {
    (0..COUNT).map(name).collect()
}

/// The names of `set`, for a message.
pub(crate) fn list(set: u64) -> String {
    (0..64).filter(|n| set & (1 << n) != 0).map(name).collect::<Vec<_>>().join(", ")
}

impl CapSets {
    /// From the document; names nobody knows become warnings, as in runc, and are left out.
    pub(crate) fn parse(caps: Option<&Capabilities>, warnings: &mut Vec<String>) -> Self {
        let Some(caps) = caps else { return Self::default() };
        let mut unknown: Vec<String> = Vec::new();
        let mut set = |names: &[String]| -> u64 {
            let mut bits = 0;
            for given in names {
                match NAMES.iter().position(|n| given.strip_prefix("CAP_") == Some(n)) {
                    Some(number) => bits |= 1 << number,
                    None if unknown.contains(given) => {}
                    None => unknown.push(given.clone()),
                }
            }
            bits
        };
        let sets = Self {
            bounding: set(&caps.bounding),
            effective: set(&caps.effective),
            permitted: set(&caps.permitted),
            inheritable: set(&caps.inheritable),
            ambient: set(&caps.ambient),
        };
        if !unknown.is_empty() {
            warnings.push(format!("unknown capabilities are left out: {}", unknown.join(", ")));
        }
        sets
    }

    /// All sets cut down to `allowed`.
    pub(crate) fn clamped(self, allowed: u64) -> Self {
        Self {
            bounding: self.bounding & allowed,
            effective: self.effective & allowed,
            permitted: self.permitted & allowed,
            inheritable: self.inheritable & allowed,
            ambient: self.ambient & allowed,
        }
    }

    /// Whatever is in any set.
    pub(crate) fn union(self) -> u64 {
        self.bounding | self.effective | self.permitted | self.inheritable | self.ambient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (number, want) in [
            (0, "CAP_CHOWN"),
            (12, "CAP_NET_ADMIN"),
            (21, "CAP_SYS_ADMIN"),
            (24, "CAP_SYS_RESOURCE"),
            (31, "CAP_SETFCAP"),
            (40, "CAP_CHECKPOINT_RESTORE"),
        ] {
            assert_eq!(name(number), want);
        }
        assert_eq!(name(21), format!("CAP_{}", NAMES[SYS_ADMIN.trailing_zeros() as usize]));
    }

    #[test]
    fn unknown_names_are_said_and_left_out() {
        let caps = Capabilities {
            bounding: vec!["CAP_CHOWN".into(), "CAP_FLY".into(), "KILL".into()],
            effective: vec!["CAP_FLY".into()],
            ..Capabilities::default()
        };
        let mut warnings = Vec::new();
        let sets = CapSets::parse(Some(&caps), &mut warnings);
        assert_eq!((sets.bounding, sets.effective), (1, 0));
        assert_eq!(warnings, ["unknown capabilities are left out: CAP_FLY, KILL"]);
        assert_eq!(sets.clamped(0).union(), 0);
    }
}
