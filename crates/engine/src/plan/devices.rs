//! Which devices a container may use, and which it sees.
//!
//! The default rules are Docker's: any node may be made, the harmless ones may be used.

use dhow_shim::spec;
use dhow_types::{Error, Result};

/// Largest number of device nodes given to one container.
pub const MAX_DEVICES: usize = 4096;

/// A device node of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Path in the container.
    pub path: String,
    /// Block instead of character.
    pub block: bool,
    /// Numbers.
    pub major: i64,
    /// Numbers.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Node {
    /// The node as the runtime makes it.
    pub fn oci(&self) -> spec::Device {
        spec::Device {
            kind: if self.block { "b" } else { "c" }.into(),
            path: self.path.clone(),
            major: Some(self.major),
            minor: Some(self.minor),
            file_mode: Some(self.mode),
            uid: Some(self.uid),
            gid: Some(self.gid),
        }
    }
}

type Rules = Vec<dhow_cgroup::resources::DeviceRule>;

fn entry(
    allow: bool,
    kind: &str,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> dhow_cgroup::resources::DeviceRule {
    dhow_cgroup::resources::DeviceRule { allow, kind: Some(kind.into()), major, minor, access: Some(access.into()) }
}

/// Deny all, then the default devices. The machine's console is among Docker's; stricter settings leave it out.
pub fn default_rules(hardened: bool) -> Rules {
    let mut rules = vec![
        entry(false, "a", None, None, "rwm"),
        entry(true, "c", None, None, "m"),
        entry(true, "b", None, None, "m"),
    ];
    // null, zero, full, random, urandom, tty, ptmx, then the slaves of ptmx.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        rules.push(entry(true, "c", Some(major), Some(minor), "rwm"));
    }
    rules.push(entry(true, "c", Some(136), None, "rwm"));
    if !hardened {
        rules.push(entry(true, "c", Some(5), Some(1), "rwm"));
    }
    rules
}

/// Everything, for `--privileged`.
pub fn all() -> Rules {
    vec![entry(true, "a", None, None, "rwm")]
}

/// The rule for one node.
pub fn allow(node: &Node, permissions: &str) -> dhow_cgroup::resources::DeviceRule {
    entry(true, if node.block { "b" } else { "c" }, Some(node.major), Some(node.minor), permissions)
}

/// Checks `rwm` letters; empty is all.
pub fn permissions(text: &str) -> Result<&str> {
    match text {
        "" => Ok("rwm"),
        t if t.len() <= 3 && t.bytes().all(|b| b"rwm".contains(&b)) => Ok(t),
        t => Err(Error::invalid(format!("invalid device mode: {t}"))),
    }
}

/// Parses `c 1:3 rwm` and the like.
pub fn rule(text: &str) -> Result<dhow_cgroup::resources::DeviceRule> {
    let bad = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split(' ');
    let (Some(kind @ ("a" | "b" | "c")), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |t: &str| match t {
        "*" => Ok(None),
        t if !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) => {
            t.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| bad())
        }
        _ => Err(bad()),
    };
    if access.is_empty() || permissions(access).is_err() {
        return Err(bad());
    }
    Ok(entry(true, kind, number(major)?, number(minor)?, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let r = rule("c 1:3 mr").unwrap();
        assert_eq!((r.allow, r.major, r.minor, r.access.as_deref()), (true, Some(1), Some(3), Some("mr")));
        assert_eq!(rule("a *:* rwm").unwrap().major, None);
        for bad in ["", "c", "d 1:3 r", "c 1 r", "c 1:x r", "c 1:3 x", "c 1:3 ", "c 1:3 r r", "c -1:3 r"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn default_denies_first() {
        let rules = default_rules(false);
        assert_eq!(rules.len(), default_rules(true).len() + 1);
        assert!(!rules[0].allow && rules[1..].iter().all(|r| r.allow));
        assert!(!rules.iter().any(|r| r.major == Some(10)), "no fuse, no tun");
    }
}
