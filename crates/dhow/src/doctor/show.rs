//! Findings for people and for programs.

use super::finding::{Finding, Mend, State};
use crate::cli::table;
use serde_json::{Value, json};

/// The number of the JSON shape.
const SHAPE: u32 = 1;

/// How many are in a state.
fn count(findings: &[Finding], state: State) -> usize {
    findings.iter().filter(|f| f.state == state).count()
}

/// The document of `--format json`.
pub fn json(findings: &[Finding], root: bool, quiet: bool) -> Value {
    let shown: Vec<&Finding> = findings.iter().filter(|f| !quiet || f.state >= State::Warning).collect();
    json!({
        "shape": SHAPE,
        "version": env!("CARGO_PKG_VERSION"),
        "root": root,
        "errors": count(findings, State::Error),
        "warnings": count(findings, State::Warning),
        "notes": count(findings, State::Note),
        "ok": count(findings, State::Ok),
        "findings": shown,
    })
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Note => "note",
        State::Warning => "warning",
        State::Error => "ERROR",
    }
}

/// A line of it: names of files and contexts can hold anything, what a terminal obeys included.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The text: what is wrong first, with what mends it; then everything in a table.
pub fn text(findings: &[Finding], quiet: bool) -> String {
    let cleaned: Vec<Finding> = findings.iter().map(cleaned).collect();
    let findings = &cleaned;
    let mut out = String::new();
    for state in [State::Error, State::Warning] {
        findings.iter().filter(|f| f.state == state).for_each(|f| out.push_str(&problem(f)));
    }
    if !quiet {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|f| vec![f.group.title().to_owned(), word(f.state).to_owned(), f.name.clone(), f.seen.clone()])
            .collect();
        out.push_str(&table::render_wide(&["GROUP", "STATE", "CHECK", "SEEN"], &rows, 6));
        let notes: Vec<&Finding> = findings.iter().filter(|f| f.state == State::Note).collect();
        if !notes.is_empty() {
            out.push_str("\nNotes:\n");
            notes.iter().for_each(|f| out.push_str(&note(f)));
        }
        out.push('\n');
    }
    if !quiet || count(findings, State::Error) + count(findings, State::Warning) > 0 {
        out.push_str(&sum(findings));
    }
    out
}

fn cleaned(f: &Finding) -> Finding {
    let mend = f.mend.iter().map(|m| Mend { command: clean(&m.command), note: clean(&m.note) }).collect();
    Finding { name: clean(&f.name), seen: clean(&f.seen), why: clean(&f.why), mend, ..f.clone() }
}

fn sum(findings: &[Finding]) -> String {
    let part = |state, one: &str, many: &str| match count(findings, state) {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    format!(
        "{}, {}, {}, {} ok\n",
        part(State::Error, "error", "errors"),
        part(State::Warning, "warning", "warnings"),
        part(State::Note, "note", "notes"),
        count(findings, State::Ok)
    )
}

fn problem(f: &Finding) -> String {
    let mut out = format!("{}  {}: {}: {}\n", word(f.state), f.group.title(), f.name, f.seen);
    if !f.why.is_empty() {
        out.push_str(&format!("  {}\n", f.why));
    }
    for mend in &f.mend {
        out.push_str(&format!("    {}\n", mend.command));
        if !mend.note.is_empty() {
            out.push_str(&format!("        {}\n", mend.note));
        }
    }
    out.push('\n');
    out
}

fn note(f: &Finding) -> String {
    let mut out = format!("  {}, {}: {}\n", f.group.title(), f.name, f.why);
    for mend in &f.mend {
        let behind = if mend.note.is_empty() { String::new() } else { format!("   ({})", mend.note) };
        out.push_str(&format!("    {}{behind}\n", mend.command));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::finding::Group;
    use super::*;

    fn three() -> Vec<Finding> {
        vec![
            Finding::new(Group::Kernel, "version", "version", "Linux 6.1"),
            Finding::new(Group::Disk, "root-bytes", "root /r", "0 B of 1 GB free")
                .error("nothing fits")
                .mend_noted("dhow system prune", "asks first")
                .mend("df"),
            Finding::new(Group::Network, "ipv6", "IPv6", "off").note("so it is"),
        ]
    }

    #[test]
    fn problems_come_first() {
        assert_eq!(
            text(&three(), false),
            "ERROR  disk: root /r: 0 B of 1 GB free\n  nothing fits\n    dhow system prune\n        asks first\n    df\n\n\
             GROUP     STATE   CHECK     SEEN\n\
             kernel    ok      version   Linux 6.1\n\
             disk      ERROR   root /r   0 B of 1 GB free\n\
             network   note    IPv6      off\n\n\
             Notes:\n  network, IPv6: so it is\n\n\
             1 error, 0 warnings, 1 note, 1 ok\n"
        );
        let quiet = text(&three(), true);
        assert!(quiet.starts_with("ERROR") && !quiet.contains("GROUP") && quiet.ends_with("1 ok\n"), "{quiet}");
        assert_eq!(text(&three()[..1], true), "");
        let evil = Finding::new(Group::Clients, "x", "x", "a\u{1b}[2Jb\nc").error("no").mend("rm\r");
        let shown = text(&[evil], true);
        assert!(shown.contains("a\u{fffd}[2Jb\u{fffd}c") && !shown.contains(['\u{1b}', '\r']), "{shown:?}");
    }

    #[test]
    fn the_document() {
        let all = json(&three(), true, false);
        assert_eq!((all["errors"].as_u64(), all["ok"].as_u64(), all["shape"].as_u64()), (Some(1), Some(1), Some(1)));
        assert_eq!(all["findings"][1]["id"], "disk.root-bytes");
        assert_eq!(all["findings"][1]["state"], "error");
        assert_eq!(all["findings"][1]["group"], "disk");
        assert_eq!(all["findings"][1]["mend"][0], json!({"command": "dhow system prune", "note": "asks first"}));
        assert_eq!(all["findings"][0].get("mend"), None);
        assert_eq!(json(&three(), true, true)["findings"].as_array().map(Vec::len), Some(1));
    }
}
