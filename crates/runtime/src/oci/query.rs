//! `state`, `list`, `ps`: what there is, as text or JSON.

use super::Global;
use super::args::{Flag, Line};
use super::record::{Dir, Record};
use crate::context::Context;
use crate::state::{State, Status};
use dhow_sys::procfs::Procfs;
use dhow_types::{Error, ErrorKind, Result};
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;

/// The longest command line that `ps` shows.
const MAX_COMMAND: usize = 4096;

/// The state as runc prints it: the specification's fields and some of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    state: State,
    rootfs: String,
    created: String,
    owner: String,
}

fn show(record: &Record, status: Status) -> Shown {
    let mut state = record.state(status);
    // runc prints 0 rather than nothing.
    state.pid.get_or_insert(0);
    Shown { state, rootfs: record.rootfs.clone(), created: record.created.clone(), owner: owner(record.owner) }
}

fn owner(uid: u32) -> String {
    if uid == 0 { "root".into() } else { uid.to_string() }
}

/// `state ID`.
pub(crate) fn state(global: &Global, words: Vec<OsString>, out: &mut dyn Write) -> Result<i32> {
    let dir = Dir::open(&global.root, &Line::all(&[], words)?.only_id()?)?;
    let record = dir.record()?;
    let shown = show(&record, record.status(&dir)?);
    let text = serde_json::to_string_pretty(&shown).map_err(|e| Error::system(e.to_string()))?;
    writeln!(out, "{text}").context("print the state")?;
    Ok(0)
}

/// `list`.
pub(crate) fn list(global: &Global, words: Vec<OsString>, out: &mut dyn Write) -> Result<i32> {
    let line = Line::all(&[Flag::value("format", "f"), Flag::switch("quiet", "q")], words)?;
    if let Some(extra) = line.rest.first() {
        return Err(Error::invalid(format!("unexpected argument {:?}", extra.to_string_lossy())));
    }
    let json = is_json(&line)?;
    let mut all = Vec::new();
    for id in Dir::ids(&global.root)? {
        let shown = Dir::open(&global.root, &id).and_then(|dir| {
            let record = dir.record()?;
            Ok(show(&record, record.status(&dir)?))
        });
        match shown {
            Ok(shown) => all.push(shown),
            // Gone meanwhile, or not made yet.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {}
            Err(e) => return Err(e),
        }
    }
    let text = if line.has("quiet") {
        all.iter().map(|s| format!("{}\n", s.state.id)).collect()
    } else if json {
        serde_json::to_string(&all).map_err(|e| Error::system(e.to_string()))? + "\n"
    } else {
        let rows = all.iter().map(|s| {
            let pid = s.state.pid.unwrap_or(0).to_string();
            let status = s.state.status.as_str().to_owned();
            vec![s.state.id.clone(), pid, status, s.state.bundle.clone(), s.created.clone(), s.owner.clone()]
        });
        table(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], rows.collect())
    };
    out.write_all(text.as_bytes()).context("print the list")?;
    Ok(0)
}

/// `ps ID`: read from procfs, no program is run (and none of the container's).
pub(crate) fn ps(global: &Global, words: Vec<OsString>, out: &mut dyn Write) -> Result<i32> {
    let line = Line::around_id(&[Flag::value("format", "f")], words)?;
    if line.rest.len() > 1 {
        return Err(Error::not_implemented("ps: options of a ps program are not supported, only --format json|table"));
    }
    let json = is_json(&line)?;
    let dir = Dir::open(&global.root, &line.only_id()?)?;
    let record = dir.record()?;
    let group = record.group()?.ok_or_else(|| Error::conflict(format!("container {} has no cgroup", dir.id)))?;
    let pids = group.pids(true)?;
    let text = if json {
        serde_json::to_string(&pids).map_err(|e| Error::system(e.to_string()))? + "\n"
    } else {
        let procfs = Procfs::host().context("open /proc")?;
        let rows = pids.iter().map(|pid| vec![pid.to_string(), command(&procfs, *pid)]).collect();
        table(&["PID", "CMD"], rows)
    };
    out.write_all(text.as_bytes()).context("print the processes")?;
    Ok(0)
}

fn command(procfs: &Procfs, pid: i32) -> String {
    let read = |file: &str| procfs.read(&format!("{pid}/{file}"), MAX_COMMAND).unwrap_or_default();
    let line = read("cmdline");
    let words: Vec<_> = line.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    // Whatever a container calls its processes must not move a terminal's cursor.
    let text =
        if words.is_empty() { format!("[{}]", String::from_utf8_lossy(&read("comm")).trim()) } else { words.join(" ") };
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn is_json(line: &Line) -> Result<bool> {
    match line.text("format")? {
        None | Some("table") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(Error::invalid(format!("--format {other:?} is neither table nor json"))),
    }
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|h| (*h).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = vec![vec!["1".to_owned(), "long".into()], vec!["200".into(), String::new()]];
        assert_eq!(table(&["ID", "X"], rows), "ID    X\n1     long\n200\n");
    }
}
