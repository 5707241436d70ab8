//! What is broken in the facts comes out as the finding, in its state, with the command that mends it.

// Before the modules that use it.
macro_rules! part {
    ($facts:ident . $part:ident) => {
        $facts.$part.as_mut().unwrap()
    };
}

mod machine;
mod places;
mod programs;

use super::super::facts::*;
use super::super::finding::{Finding, State};
use super::sample::well;

/// What one change to a machine that is well comes to.
struct Row {
    change: fn(&mut Facts),
    id: &'static str,
    state: State,
    /// Parts of what was seen, or why it matters.
    said: &'static [&'static str],
    /// Parts of the commands that mend it.
    mend: &'static [&'static str],
}

fn row(
    change: fn(&mut Facts),
    id: &'static str,
    state: State,
    said: &'static [&'static str],
    mend: &'static [&'static str],
) -> Row {
    Row { change, id, state, said, mend }
}

fn check(rows: Vec<Row>) {
    for Row { change, id, state, said, mend } in rows {
        let mut facts = well();
        change(&mut facts);
        let findings = super::all(&facts);
        let found: Vec<&Finding> = findings.iter().filter(|f| f.id == id).collect();
        assert_eq!(found.len(), 1, "{id} {said:?}: {findings:#?}");
        let f = found[0];
        assert_eq!(f.state, state, "{f:#?}");
        let text = format!("{} {}", f.seen, f.why);
        said.iter().for_each(|part| assert!(text.contains(part), "{part:?} not in {f:#?}"));
        let commands = f.mend.iter().map(|m| format!("{} {}\n", m.command, m.note)).collect::<String>();
        mend.iter().for_each(|part| assert!(commands.contains(part), "{part:?} not in {f:#?}"));
        // Who is told of a problem is told what to do, and why.
        if state >= State::Warning {
            assert!(!f.mend.is_empty() && !f.why.is_empty(), "{f:#?}");
        }
    }
}

fn root(f: &mut Facts) -> &mut Room {
    f.disks[0].room.as_mut().unwrap()
}

use State::{Note, Ok as Well, Warning};

#[test]
fn nothing_is_said_of_a_machine_on_which_all_is_well() {
    let bad: Vec<Finding> = super::all(&well()).into_iter().filter(|f| f.state != Well).collect();
    assert_eq!(bad, []);
}

#[test]
fn every_id_is_its_own() {
    let mut ids: Vec<String> = super::all(&well()).into_iter().map(|f| f.id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn what_only_root_sees_is_said_so() {
    let mut facts = well();
    facts.caller.uid = 1000;
    facts.store = Err(Unseen::Root);
    part!(facts.kernel).overlay = Err(Unseen::Root);
    part!(facts.network).chains = Err(Unseen::Root);
    part!(facts.daemon).shims = Err(Unseen::Root);
    let findings = super::all(&facts);
    assert!(findings.iter().all(|f| f.state <= Note), "{findings:#?}");
    let unseen = findings.iter().filter(|f| f.seen == "not seen without root").count();
    assert_eq!(unseen, 4);
}

#[test]
fn what_hangs_is_named() {
    let mut facts = well();
    facts.disks[0].room = Err(Unseen::Late);
    let findings = super::all(&facts);
    let f = findings.iter().find(|f| f.state == Warning).unwrap();
    assert!(f.name.contains("/var/lib/dhow") && f.why.contains("network file system"), "{f:#?}");
}
