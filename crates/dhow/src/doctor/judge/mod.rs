//! Facts to findings: what is well, what is not, why it matters, and which command mends it. Pure; nothing here looks at
//! the machine.

mod clients;
mod daemon;
mod disk;
mod groups;
mod kernel;
mod network;
mod rights;
#[cfg(test)]
mod sample;
mod store;
#[cfg(test)]
mod tests;

use super::facts::{Facts, Seen};
use super::finding::{Finding, Group};

/// All findings, in the order of the groups.
pub fn all(facts: &Facts) -> Vec<Finding> {
    let mut out = Vec::new();
    part(&mut out, Group::Kernel, &facts.kernel, |k| kernel::judge(k, &facts.caller));
    part(&mut out, Group::Cgroups, &facts.groups, |g| groups::judge(g, &facts.caller));
    part(&mut out, Group::Privileges, &facts.rights, |r| rights::judge(r, &facts.caller));
    out.extend(facts.disks.iter().flat_map(|d| disk::judge(d, &facts.caller)));
    part(&mut out, Group::Store, &facts.store, |s| store::judge(s, facts));
    part(&mut out, Group::Network, &facts.network, |n| network::judge(n, &facts.caller));
    part(&mut out, Group::Daemon, &facts.daemon, |d| daemon::judge(d, &facts.caller));
    part(&mut out, Group::Clients, &facts.clients, |c| clients::judge(c, &facts.caller));
    out
}

fn part<T>(out: &mut Vec<Finding>, group: Group, seen: &Seen<T>, judge: impl FnOnce(&T) -> Vec<Finding>) {
    match seen {
        Ok(facts) => out.extend(judge(facts)),
        Err(unseen) => out.push(Finding::unseen(group, "seen", "all of it", unseen)),
    }
}

/// A path or name as a shell takes it for one word.
fn quoted(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    crate::cli::units::human_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}
