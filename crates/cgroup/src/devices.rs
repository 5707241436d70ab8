//! Device rules of the OCI document, normalised to what both back ends can express: a default, and exceptions.
//! Pure. Writing them as `devices.allow` lines is in `plan::v1`, as a BPF program in `bpf`.
//!
//! Rules apply in order over "deny everything". A later rule wins; a pair that neither back end could keep apart (a
//! hole inside a wider exception) is refused by name rather than applied in part.

use std::collections::BTreeMap;
use std::fmt;

use dhow_types::{Error, Result};

use crate::resources::DeviceRule;

/// The most exceptions; the BPF program stays far beneath the verifier's bound.
const MAX_EXCEPTIONS: usize = 512;

/// Read access.
pub(crate) const READ: u8 = 1;
/// Write access.
pub(crate) const WRITE: u8 = 2;
/// Making a device node.
pub(crate) const MKNOD: u8 = 4;
const ALL: u8 = READ | WRITE | MKNOD;

/// What every container may use, whatever its document says: OCI's default devices, terminals, and making (not
/// opening) any node. Source: runtime-spec config-linux.md "Default Devices", and runc's own list.
const ALWAYS: &[(Kind, Option<u32>, Option<u32>, u8)] = &[
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL),
    (Kind::Char, Some(1), Some(5), ALL),
    (Kind::Char, Some(1), Some(7), ALL),
    (Kind::Char, Some(1), Some(8), ALL),
    (Kind::Char, Some(1), Some(9), ALL),
    (Kind::Char, Some(5), Some(0), ALL),
    (Kind::Char, Some(5), Some(1), ALL),
    (Kind::Char, Some(5), Some(2), ALL),
    (Kind::Char, Some(136), None, ALL),
];

/// Character or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block,
    Char,
}

/// Which devices an exception is about; `None` is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
}

impl Target {
    fn covers(&self, other: &Target) -> bool {
        let within = |a: Option<u32>, b: Option<u32>| a.is_none() || a == b;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }
    fn overlaps(&self, other: &Target) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

/// A default and its exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceSet {
    /// What holds for a device that no exception names.
    pub(crate) allow_by_default: bool,
    /// Accesses that differ from the default.
    pub(crate) exceptions: BTreeMap<Target, u8>,
}

impl DeviceSet {
    /// What `rules` allow over "deny everything", with the devices that every container has.
    pub(crate) fn effective(rules: &[DeviceRule]) -> Result<DeviceSet> {
        let mut set = DeviceSet { allow_by_default: false, exceptions: BTreeMap::new() };
        for rule in rules {
            set.apply(rule)?;
        }
        for &(kind, major, minor, access) in ALWAYS {
            set.change(true, Target { kind, major, minor }, access)?;
        }
        Ok(set)
    }

    /// Whether nothing is restricted.
    pub(crate) fn allows_all(&self) -> bool {
        self.allow_by_default && self.exceptions.is_empty()
    }

    fn apply(&mut self, rule: &DeviceRule) -> Result<()> {
        let access = parse_access(rule.access.as_deref())?;
        let (major, minor) = (number("major", rule.major)?, number("minor", rule.minor)?);
        match rule.kind.as_deref().unwrap_or("a") {
            // The kernel's "a" is everything, whatever numbers stand beside it; so it is in runc.
            "a" | "" => {
                self.allow_by_default = rule.allow;
                self.exceptions.clear();
                Ok(())
            }
            "c" | "u" => self.change(rule.allow, Target { kind: Kind::Char, major, minor }, access),
            "b" => self.change(rule.allow, Target { kind: Kind::Block, major, minor }, access),
            other => Err(Error::invalid(format!("devices: type {other:?} is none of a, b, c"))),
        }
    }

    fn change(&mut self, allow: bool, target: Target, access: u8) -> Result<()> {
        if allow != self.allow_by_default {
            *self.exceptions.entry(target).or_insert(0) |= access;
            if self.exceptions.len() > MAX_EXCEPTIONS {
                return Err(Error::invalid(format!("devices: more than {MAX_EXCEPTIONS} rules")));
            }
            return Ok(());
        }
        // Back towards the default: takes away exceptions it covers.
        for (other, held) in &mut self.exceptions {
            if target.covers(other) {
                *held &= !access;
            } else if target.overlaps(other) && *held & access != 0 {
                let word = if allow { "allow" } else { "deny" };
                return Err(Error::invalid(format!(
                    "devices: {word} \"{}\" lies inside the wider rule \"{}\"; name the devices one by one instead",
                    Line(&target, access),
                    Line(other, *held)
                )));
            }
        }
        self.exceptions.retain(|_, held| *held != 0);
        Ok(())
    }

    /// The lines for `devices.deny` and `devices.allow` that turn a v1 group from `now` to this set, in order: file
    /// and value. A fresh group, or a change of the default, starts with "a".
    pub(crate) fn v1_lines(&self, now: Option<&DeviceSet>) -> Vec<(&'static str, String)> {
        let (add, take) =
            if self.allow_by_default { ("devices.deny", "devices.allow") } else { ("devices.allow", "devices.deny") };
        let mut lines = Vec::new();
        let empty = BTreeMap::new();
        let held = match now {
            Some(n) if n.allow_by_default == self.allow_by_default => &n.exceptions,
            _ => {
                lines.push((take, "a".to_string()));
                &empty
            }
        };
        // First what is added, so that no device in use is out of reach for a moment.
        for (target, access) in &self.exceptions {
            let more = access & !held.get(target).copied().unwrap_or(0);
            if more != 0 {
                lines.push((add, Line(target, more).to_string()));
            }
        }
        for (target, access) in held {
            let less = access & !self.exceptions.get(target).copied().unwrap_or(0);
            if less != 0 {
                lines.push((take, Line(target, less).to_string()));
            }
        }
        lines
    }

    /// The `devices.list` of a v1 group. The kernel shows a group that allows by default as `a *:* rwm` alone and
    /// hides its exceptions; then nothing is known, and the caller starts anew.
    pub(crate) fn parse_v1_list(text: &str) -> Option<DeviceSet> {
        let mut exceptions = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let kind = match words.next()? {
                "c" => Kind::Char,
                "b" => Kind::Block,
                _ => return None,
            };
            let (major, minor) = words.next()?.split_once(':')?;
            let parse = |t: &str| if t == "*" { Some(None) } else { t.parse().ok().map(Some) };
            let target = Target { kind, major: parse(major)?, minor: parse(minor)? };
            exceptions.insert(target, parse_access(words.next()).ok()?);
        }
        Some(DeviceSet { allow_by_default: false, exceptions })
    }
}

/// One line of a v1 device file.
struct Line<'a>(&'a Target, u8);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_string(), |n| n.to_string());
        let kind = if self.0.kind == Kind::Char { 'c' } else { 'b' };
        write!(f, "{kind} {}:{} ", number(self.0.major), number(self.0.minor))?;
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.1 & bit != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

fn parse_access(text: Option<&str>) -> Result<u8> {
    let text = text.filter(|t| !t.is_empty()).unwrap_or("rwm");
    text.chars().try_fold(0, |bits, c| match c {
        'r' => Ok(bits | READ),
        'w' => Ok(bits | WRITE),
        'm' => Ok(bits | MKNOD),
        _ => Err(Error::invalid(format!("devices: access {text:?} has other letters than r, w, m"))),
    })
}

fn number(field: &str, value: Option<i64>) -> Result<Option<u32>> {
    match value {
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| Error::invalid(format!("devices: {field} {n} is not a device number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rule(text: &str) -> DeviceRule {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |t: &str| if t == "*" { None } else { Some(t.parse().unwrap()) };
        let (major, minor) = words[2].split_once(':').unwrap();
        DeviceRule {
            allow: words[0] == "+",
            kind: Some(words[1].into()),
            major: number(major),
            minor: number(minor),
            access: Some(words[3].into()),
        }
    }

    fn lines(rules: &[&str]) -> Vec<String> {
        let rules: Vec<DeviceRule> = rules.iter().map(|r| rule(r)).collect();
        let mut set = DeviceSet { allow_by_default: false, exceptions: BTreeMap::new() };
        for r in &rules {
            set.apply(r).unwrap();
        }
        set.v1_lines(None).into_iter().map(|(file, v)| format!("{} {v}", &file[8..])).collect()
    }

    #[test]
    fn rules_become_a_default_and_exceptions() {
        assert_eq!(lines(&[]), ["deny a"]);
        assert_eq!(lines(&["- a *:* rwm", "+ c 1:3 r", "+ c 1:3 w"]), ["deny a", "allow c 1:3 rw"]);
        assert_eq!(lines(&["+ a *:* rwm"]), ["allow a"]);
        assert_eq!(lines(&["+ a *:* rwm", "- b 8:0 rwm"]), ["allow a", "deny b 8:0 rwm"]);
        assert_eq!(lines(&["+ c 1:3 rwm", "- c 1:3 w"]), ["deny a", "allow c 1:3 rm"]);
        assert_eq!(lines(&["+ c 1:3 rwm", "+ c 1:5 r", "- c 1:* rwm"]), ["deny a"]);
        assert_eq!(lines(&["+ c 1:3 rwm", "- a *:* rwm"]), ["deny a"]);
    }

    #[test]
    fn a_hole_in_a_wider_rule_is_refused_by_name() {
        let e = DeviceSet::effective(&[rule("+ c 10:* rw"), rule("- c 10:229 rw")]).unwrap_err();
        assert!(e.text().contains("\"c 10:229 rw\"") && e.text().contains("\"c 10:* rw\""), "{e}");
        // Its lawful twin: the accesses do not meet.
        assert!(DeviceSet::effective(&[rule("+ c 10:* m"), rule("- c 10:229 rw")]).is_ok());
    }

    #[test]
    fn bad_rules_are_refused() {
        for bad in ["+ x 1:1 r", "+ c 1:1 z", "+ c -2:1 r", "+ c 4294967296:1 r"] {
            assert!(DeviceSet::effective(&[rule(bad)]).is_err(), "{bad}");
        }
        let many: Vec<DeviceRule> = (0..1000).map(|n| rule(&format!("+ c {n}:0 r"))).collect();
        assert!(DeviceSet::effective(&many).is_err());
    }

    #[test]
    fn every_container_has_null_and_may_make_nodes() {
        let set = DeviceSet::effective(&[rule("- a *:* rwm")]).unwrap();
        assert!(!set.allows_all());
        let lines: Vec<String> = set.v1_lines(None).into_iter().map(|(_, v)| v).collect();
        for want in ["c *:* m", "b *:* m", "c 1:3 rwm", "c 136:* rwm"] {
            assert!(lines.iter().any(|l| l == want), "{want} in {lines:?}");
        }
        assert!(DeviceSet::effective(&[rule("+ a *:* rwm")]).unwrap().allows_all());
    }

    #[test]
    fn an_update_touches_only_the_difference() {
        let now = DeviceSet::parse_v1_list("c 1:3 rwm\nb *:* m\nc 5:0 rw\n").unwrap();
        let mut want = now.clone();
        want.change(true, Target { kind: Kind::Block, major: Some(8), minor: None }, READ).unwrap();
        want.change(false, Target { kind: Kind::Char, major: Some(5), minor: Some(0) }, WRITE).unwrap();
        assert_eq!(
            want.v1_lines(Some(&now)),
            [("devices.allow", "b 8:* r".to_string()), ("devices.deny", "c 5:0 w".to_string())]
        );
        assert_eq!(DeviceSet::parse_v1_list("a *:* rwm\n"), None);
    }
}
