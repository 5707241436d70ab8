//! Who a container's process is: `user[:group]` and additional groups against the container's own passwd and group
//! files.
//!
//! Pure: the caller reads the two files (by descriptor, regular, at most 10 MiB; rules R1 and R7). Numbers are taken
//! as numbers, never looked up by name first when they would wrap: 2^31 and above are refused (CVE-2024-40635).

use dhow_types::{Cause, Error, Result};

/// Largest number of additional groups (the kernel's NGROUPS_MAX).
const MAX_GROUPS: usize = 65536;

/// Names that are compared with one that is not there, the longest of them, and how many are told.
const MAX_COMPARED: usize = 1000;
const MAX_NAME: usize = 64;
const MAX_NEAREST: usize = 3;

/// A resolved user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Additional groups, without duplicates, primary first as Docker has it.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// A number in range, a number out of range, or no number at all.
pub fn parse_number(text: &str) -> Option<Result<u32>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(match text.parse::<u32>() {
        Ok(n) if n <= i32::MAX as u32 => Ok(n),
        _ => Err(Error::invalid(format!("uids and gids must be in range 0-{}: {text}", i32::MAX))),
    })
}

/// Resolves `spec` (empty is root) and `add` against the texts of the container's `/etc/passwd` and `/etc/group`.
pub fn resolve(spec: &str, add: &[String], passwd: &str, group: &str) -> Result<Identity> {
    let (user_part, group_part) = match spec.split_once(':') {
        Some((u, g)) => (u, Some(g)),
        None => (spec, None),
    };
    let mut identity = Identity { home: "/".into(), ..Identity::default() };
    let number = parse_number(user_part).transpose()?;
    let entry = users(passwd).find(|u| match (user_part, number) {
        ("", _) => u.uid == 0,
        (_, Some(n)) => u.uid == n,
        (name, None) => u.name == name,
    });
    let mut name = "";
    match (&entry, number) {
        (Some(u), _) => {
            (identity.uid, identity.gid) = (u.uid, u.gid);
            name = u.name;
            if !u.home.is_empty() {
                identity.home = u.home.into();
            }
        }
        (None, Some(n)) => identity.uid = n,
        (None, None) if user_part.is_empty() => {}
        (None, None) => {
            return Err(Error::invalid(format!(
                "unable to find user {user_part}: no matching entries in passwd file of the container{}",
                nearest(user_part, users(passwd).map(|u| u.name))
            ))
            .because(Cause::UserMissing));
        }
    }
    match group_part {
        Some(g) if !g.is_empty() => identity.gid = group_id(g, group)?,
        // Membership counts only when no group was named, as in Docker.
        _ => {
            identity.groups = groups(group)
                .filter(|g| g.members.split(',').any(|m| !m.is_empty() && m == name))
                .map(|g| g.gid)
                .collect()
        }
    }
    for extra in add {
        identity.groups.push(group_id(extra, group)?);
    }
    identity.groups.insert(0, identity.gid);
    let mut seen = std::collections::HashSet::new();
    identity.groups.retain(|g| seen.insert(*g));
    if identity.groups.len() > MAX_GROUPS {
        return Err(Error::invalid(format!("user {spec:?} has more than {MAX_GROUPS} groups")));
    }
    Ok(identity)
}

fn group_id(text: &str, file: &str) -> Result<u32> {
    let number = parse_number(text).transpose()?;
    if let Some(n) = number {
        return Ok(n);
    }
    groups(file).find(|g| g.name == text).map(|g| g.gid).ok_or_else(|| {
        Error::invalid(format!(
            "unable to find group {text}: no matching entries in group file of the container{}",
            nearest(text, groups(file).map(|g| g.name))
        ))
        .because(Cause::GroupMissing)
    })
}

/// The names most like `wanted`, for an error.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<(usize, &str)> = names
        .take(MAX_COMPARED)
        .filter(|name| name.len() <= MAX_NAME)
        .map(|name| (distance(wanted, name), name))
        .filter(|(steps, _)| wanted.len() <= MAX_NAME && *steps <= wanted.len().max(3) / 2)
        .collect();
    near.sort_unstable();
    near.dedup();
    let near: Vec<&str> = near.into_iter().take(MAX_NEAREST).map(|(_, name)| name).collect();
    if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(", ")) }
}

/// How many letters are to be added, taken away or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut above_left = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above_left + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            above_left = above;
        }
    }
    row[b.len()]
}

fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().filter_map(|line| {
        let mut f = line.trim().split(':');
        let (name, _, uid, gid) = (f.next()?, f.next()?, f.next()?, f.next()?);
        let home = f.nth(1).unwrap_or("");
        (!name.is_empty()).then_some(User { name, uid: small(uid)?, gid: small(gid)?, home })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut f = line.trim().split(':');
        let (name, _, gid) = (f.next()?, f.next()?, f.next()?);
        let members = f.next().unwrap_or("");
        (!name.is_empty()).then_some(Group { name, gid: small(gid)?, members })
    })
}

/// Entries with numbers out of range do not exist: they never become 0.
fn small(text: &str) -> Option<u32> {
    parse_number(text)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\nbad:x:4294967296:0::/:\n\
        neg:x:-1:0::/:\n42:x:1000:1000::/home/fortytwo:\nnohome:x:7:7:::\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:www,root\nwww:x:33:\naudio:x:29:www\n";

    fn get(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let i = resolve(spec, &[], PASSWD, GROUP).unwrap();
        (i.uid, i.gid, i.groups, i.home)
    }

    #[test]
    fn matrix() {
        let rows: &[(&str, u32, u32, &[u32], &str)] = &[
            ("", 0, 0, &[0, 4], "/root"),
            ("root", 0, 0, &[0, 4], "/root"),
            ("0", 0, 0, &[0, 4], "/root"),
            ("www", 33, 33, &[33, 4, 29], "/var/www"),
            ("33", 33, 33, &[33, 4, 29], "/var/www"),
            ("www:adm", 33, 4, &[4], "/var/www"),
            ("www:", 33, 33, &[33, 4, 29], "/var/www"),
            ("1:2", 1, 2, &[2], "/"),
            ("12345", 12345, 0, &[0], "/"),
            // A user called by a number is not what the number means (CVE-2016-3697).
            ("42", 42, 0, &[0], "/"),
            ("nohome", 7, 7, &[7], "/"),
            ("2147483647", 2147483647, 0, &[0], "/"),
        ];
        for (spec, uid, gid, groups, home) in rows {
            assert_eq!(get(spec), (*uid, *gid, groups.to_vec(), (*home).to_owned()), "{spec}");
        }
    }

    #[test]
    fn refused() {
        for spec in [
            "nobody",
            "-1",
            " 1",
            "2147483648",
            "4294967295",
            "4294967296",
            "1:2147483648",
            "root:nope",
            "bad",
            "neg",
            "1:-1",
        ] {
            assert!(resolve(spec, &[], PASSWD, GROUP).is_err(), "{spec}");
        }
    }

    #[test]
    fn additional_groups() {
        let i = resolve("www", &["audio".into(), "77".into()], PASSWD, GROUP).unwrap();
        assert_eq!(i.groups, [33, 4, 29, 77]);
        assert!(resolve("www", &["nope".into()], PASSWD, GROUP).is_err());
    }

    #[test]
    fn without_files() {
        assert_eq!(
            resolve("", &[], "", "").unwrap(),
            Identity { groups: vec![0], home: "/".into(), ..Default::default() }
        );
        assert!(resolve("root", &[], "", "").is_err());
    }

    #[test]
    fn names_that_are_meant() {
        let names = || ["root", "www-data", "nobody", "daemon"].into_iter();
        for (wanted, want) in [
            ("wwwdata", ": did you mean www-data?"),
            ("nobdy", ": did you mean nobody?"),
            ("rot", ": did you mean root?"),
            ("postgres", ""),
            ("", ""),
        ] {
            assert_eq!(nearest(wanted, names()), want, "{wanted}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names()), "");
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")), (3, 3, 0));
    }
}
