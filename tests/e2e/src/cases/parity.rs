//! Docker's command line and dhow's beside each other: the rows of `parity.tsv`, each run by both clients against one
//! daemon. What they print and their exit codes are equal, but for ids, times and the program's name.
//!
//! Columns of the table: name; set-up (commands of dhow, separated by ` ; `, run before each of the two; what they make is
//! removed behind them); the words; the exit code; what is compared (`all`, or some of `out`, `err`, `code`); and why the
//! two differ, in a row that differs on purpose: there only the exit code is held.

use super::clients::{docker, needs_docker_28};
use crate::daemon::Daemon;
use crate::runner::World;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::process::Command;

super::cases!("parity": docker_and_dhow_say_the_same, times_and_ids_are_taken_out);

const TABLE: &str = include_str!("parity.tsv");
/// Rows that may differ on purpose.
const MOST_DIFFERENT: usize = 12;
const LEAST_ROWS: usize = 200;

struct Row {
    name: &'static str,
    setup: &'static str,
    words: Vec<String>,
    code: i32,
    compared: BTreeSet<&'static str>,
    differs: Option<&'static str>,
}

fn rows() -> Result<Vec<Row>> {
    let lines = TABLE.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [name, setup, words, code, compared, why @ ..] = &cells[..] else {
                bail!("a row of too few cells: {line}");
            };
            let compared: BTreeSet<&str> =
                if *compared == "all" { ["code", "err", "out"].into() } else { compared.split(',').collect() };
            ensure!(compared.iter().all(|c| ["code", "err", "out"].contains(c)), "{name}: compare {compared:?}");
            Ok(Row {
                name,
                setup,
                words: split(words),
                code: code.parse().with_context(|| format!("{name}: exit code {code:?}"))?,
                compared,
                differs: why.first().copied().filter(|w| !w.is_empty()),
            })
        })
        .collect()
}

/// Words as a shell splits them; quotes are single.
fn split(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        out.push(word);
    }
    out
}

/// Containers in every state, which no row changes.
const STANDING: &[&str] = &[
    "create --name p-new -l tier=front -l com.example.some-thing=x -e A=1 busybox true",
    "run -d --name p-up -l tier=back -p 127.0.0.1:18300:80 --expose 90 -v /tmp:/t busybox sleep 1000",
    "run --name p-done busybox sh -c 'echo one; echo two >&2; exit 3'",
    "run -d --name p-still --tmpfs /x --user 1:1 -w /etc busybox sleep 1001",
    "run -d -i --name p-cat -e B=<&> busybox cat",
    "pause p-still",
];

fn run(d: &Daemon, line: &str) -> Result<()> {
    let words = split(line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // A container that ends with a code of its own is no failure.
    let ran = d.cli(&words)?;
    ensure!(ran.code == 0 || line.contains("exit "), "{line}: {} {}", ran.code, ran.err);
    Ok(())
}

fn docker_and_dhow_say_the_same(w: &World) -> Result<()> {
    needs_docker_28()?;
    let rows = rows()?;
    let names: BTreeSet<&str> = rows.iter().map(|r| r.name).collect();
    ensure!(names.len() == rows.len(), "two rows of one name");
    let different = rows.iter().filter(|r| r.differs.is_some()).count();
    ensure!(different <= MOST_DIFFERENT, "{different} rows differ on purpose");
    ensure!(rows.len() - different >= LEAST_ROWS, "only {} rows", rows.len());
    let d = w.own_daemon()?;
    for line in STANDING {
        run(&d, line)?;
    }
    let standing: BTreeSet<String> = d.ok(&["ps", "-aq", "--no-trunc"])?.lines().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let theirs = one(&d, row, &standing, true).with_context(|| format!("docker: {}", row.name))?;
        let ours = one(&d, row, &standing, false).with_context(|| format!("dhow: {}", row.name))?;
        let mut differ = vec![theirs.0 != row.code || ours.0 != row.code];
        if row.differs.is_none() {
            differ.push(row.compared.contains("out") && theirs.1 != ours.1);
            differ.push(row.compared.contains("err") && theirs.2 != ours.2);
        } else {
            // A row that came to be equal is a row like the others.
            differ.push(theirs == ours);
        }
        if differ.contains(&true) {
            wrong.push(format!(
                "{}: {:?}, want {}\n--- docker {}\n{}{}--- dhow {}\n{}{}",
                row.name, row.words, row.code, theirs.0, theirs.1, theirs.2, ours.0, ours.1, ours.2
            ));
        }
    }
    ensure!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    println!("parity: {} rows equal, {different} differ on purpose", rows.len() - different);
    Ok(())
}

/// One row by one client: exit code, output, errors.
fn one(d: &Daemon, row: &Row, standing: &BTreeSet<String>, by_docker: bool) -> Result<(i32, String, String)> {
    for line in row.setup.split(" ; ").filter(|l| *l != "-") {
        run(d, line)?;
    }
    let words: Vec<&str> = row.words.iter().map(String::as_str).collect();
    let mut command: Command = if by_docker { docker(d, &words)? } else { d.command(&words) };
    // The newest API that Docker's client of version 28 speaks: a newer one has other fields.
    command.env("DOCKER_API_VERSION", "1.50").env("DOCKER_CONFIG", d.dir.path()).current_dir(d.dir.path());
    let out = command.output()?;
    let made = d.ok(&["ps", "-aq", "--no-trunc"])?;
    let made: Vec<&str> = made.lines().filter(|id| !standing.contains(*id)).collect();
    if !made.is_empty() {
        d.ok(&[&["rm", "-f", "-v"], &made[..]].concat())?;
    }
    let text = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
    Ok((out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
}

/// A text without what differs between two runs.
fn plain(text: &str) -> String {
    let text = text.replace("Docker", "dhow").replace("docker", "dhow");
    let mut lines: Vec<String> = text.split_inclusive('\n').map(|line| aged(&untimed(&ids(line)))).collect();
    // The width of an age is that of its column, in the head of a table, too.
    if lines.iter().skip(1).any(|line| line.contains("AGE"))
        && let Some(head) = lines.first_mut()
        && head.contains("  ")
    {
        *head = head.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    }
    lines.concat()
}

/// Ids in full and in short.
fn ids(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let hex = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || ('a'..='f').contains(&c)).len();
        let bounded = !out.ends_with(|c: char| c.is_ascii_alphanumeric())
            && !rest[hex..].starts_with(|c: char| c.is_ascii_alphanumeric());
        match hex {
            64 if bounded => out.push_str("ID-IN-FULL"),
            12 if bounded => out.push_str("ID-IN-SHORT."),
            0 => {
                let next = rest.chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..next]);
                rest = &rest[next..];
                continue;
            }
            _ => out.push_str(&rest[..hex]),
        }
        rest = &rest[hex..];
    }
    out
}

/// Times as RFC 3339 and as Go prints them.
fn untimed(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    let shape = |text: &str| {
        let b = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| b.get(range).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
        digits(0..4) && b[4] == b'-' && digits(5..7) && b.get(7) == Some(&b'-') && digits(8..10) && digits(11..13)
    };
    while let Some(c) = rest.chars().next() {
        if shape(rest) {
            let time = |c: char| c.is_ascii_digit() || "-:.TZ+".contains(c);
            let mut end = 10;
            if rest[end..].starts_with(' ') {
                end += 1;
            }
            end += rest[end..].len() - rest[end..].trim_start_matches(time).len();
            out.push_str("TIME");
            rest = &rest[end..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// A line without ages; where there were some, columns are no longer aligned.
fn aged(line: &str) -> String {
    const UNITS: [&str; 6] = [" seconds", " second", " minutes", " minute", " hours", " hour"];
    let mut out = String::new();
    let mut rest = line;
    let mut found = false;
    while let Some((at, unit)) = UNITS.iter().filter_map(|u| rest.find(u).map(|at| (at, u))).min_by_key(|(at, _)| *at) {
        let (before, behind) = (&rest[..at], &rest[at + unit.len()..]);
        let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let words =
            ["Less than a", "About a", "About an"].iter().find(|w| before.ends_with(**w)).map_or(0, |w| w.len());
        match digits.max(words) {
            0 => out.push_str(&rest[..at + unit.len()]),
            aged => {
                out.push_str(&before[..before.len() - aged]);
                out.push_str("AGE");
                found = true;
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    if !found {
        return out;
    }
    let end = if out.ends_with('\n') { "\n" } else { "" };
    out.split_whitespace().collect::<Vec<_>>().join(" ") + end
}

fn times_and_ids_are_taken_out(_: &World) -> Result<()> {
    let id = "0123456789abcdef".repeat(4);
    for (text, want) in [
        (format!("{id}\n"), "ID-IN-FULL\n"),
        (format!("sha256:{id} x"), "sha256:ID-IN-FULL x"),
        ("0123456789ab  a\n".to_owned(), "ID-IN-SHORT.  a\n"),
        ("0123456789abc".to_owned(), "0123456789abc"),
        ("at 2026-01-02T03:04:05.678Z, 2026-01-02 03:04:05 +0000 UTC".to_owned(), "at TIME, TIME +0000 UTC"),
        ("a   Up 3 seconds   b\n".to_owned(), "a Up AGE b\n"),
        ("Exited (3) Less than a second ago".to_owned(), "Exited (3) AGE ago"),
        ("About a minute ago   x".to_owned(), "AGE ago x"),
        (r#"{"For":"26 seconds ago","Status":"Up 2 hours"}"#.to_owned(), r#"{"For":"AGE ago","Status":"Up AGE"}"#),
        ("the seconds of it".to_owned(), "the seconds of it"),
        ("docker: Docker's".to_owned(), "dhow: dhow's"),
        ("two   columns\n".to_owned(), "two   columns\n"),
    ] {
        ensure!(plain(&text) == want, "{text:?}: {:?}", plain(&text));
    }
    ensure!(split("a 'b c' '' d") == ["a", "b c", "", "d"]);
    Ok(())
}
