//! `top`: which columns the words of `ps` ask for, and what stands in each. Rule: procps, as far as its words are in use.

use dhow_types::{Error, Result};
use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use std::collections::BTreeMap;

/// A process as the kernel tells it.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its id on this machine.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// Process group, session, and the group in the foreground of its terminal.
    pub groups: (i32, i32, i32),
    /// Number of its terminal, 0 without one.
    pub tty: u32,
    /// State, in the kernel's letter.
    pub state: char,
    /// Effective user and group.
    pub ids: (u32, u32),
    /// Name of the program, cut by the kernel.
    pub comm: String,
    /// Its words; empty if it has none (any more).
    pub args: Vec<String>,
    /// Seconds of CPU time.
    pub cpu: f64,
    /// Second at which it began, since 1970.
    pub began: i64,
    /// Niceness and threads.
    pub nice: i64,
    /// Threads.
    pub threads: u64,
    /// Virtual and resident memory in KiB.
    pub memory: (u64, u64),
    /// It holds memory that can't be swapped.
    pub locked: bool,
}

/// What is the same for all.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Second of now, since 1970.
    pub now: i64,
    /// Memory in KiB.
    pub memory: u64,
    /// Names by user id.
    pub users: BTreeMap<u32, String>,
    /// Names by group id.
    pub groups: BTreeMap<u32, String>,
    /// For the times of day.
    pub zone: TimeZone,
}

type Cell = fn(&Process, &Machine) -> String;

/// A column: its title, and what stands in it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands above it.
    pub title: &'static str,
    /// What stands in it.
    pub cell: Cell,
}

/// The columns by the words of `-o`, several words for one cell.
const COLUMNS: &[(&[&str], &str, Cell)] = &[
    (&["pid", "tgid"], "PID", |p, _| p.pid.to_string()),
    (&["ppid"], "PPID", |p, _| p.ppid.to_string()),
    (&["pgid", "pgrp"], "PGID", |p, _| p.groups.0.to_string()),
    (&["sid", "sess", "session"], "SID", |p, _| p.groups.1.to_string()),
    (&["user", "euser", "uname"], "USER", |p, m| named(&m.users, p.ids.0)),
    (&["group", "egroup"], "GROUP", |p, m| named(&m.groups, p.ids.1)),
    (&["uid", "euid"], "UID", |p, _| p.ids.0.to_string()),
    (&["gid", "egid"], "GID", |p, _| p.ids.1.to_string()),
    (&["comm", "ucmd", "ucomm"], "COMMAND", |p, _| p.comm.clone()),
    (&["args", "command"], "COMMAND", |p, _| words(p)),
    (&["cmd"], "CMD", |p, _| words(p)),
    (&["c"], "C", |p, m| (share(p, m) as u64).min(99).to_string()),
    (&["%cpu", "pcpu"], "%CPU", |p, m| format!("{:.1}", share(p, m))),
    (&["%mem", "pmem"], "%MEM", |p, m| {
        let share = p.memory.1 as f64 * 100.0 / m.memory.max(1) as f64;
        format!("{:.1}", share.min(99.9))
    }),
    (&["vsz", "vsize"], "VSZ", |p, _| p.memory.0.to_string()),
    (&["rss", "rssize", "rsz"], "RSS", |p, _| p.memory.1.to_string()),
    (&["stat"], "STAT", |p, _| flags(p)),
    (&["s", "state"], "S", |p, _| p.state.to_string()),
    (&["ni", "nice"], "NI", |p, _| p.nice.to_string()),
    (&["nlwp", "thcount"], "NLWP", |p, _| p.threads.to_string()),
    (&["tty", "tt"], "TT", |p, _| terminal(p.tty)),
    (&["tname"], "TTY", |p, _| terminal(p.tty)),
    (&["stime", "start_time"], "STIME", began),
    (&["bsdstart"], "START", began),
    (&["time", "cputime"], "TIME", |p, _| clock(p.cpu as i64, true)),
    (&["bsdtime"], "TIME", |p, _| format!("{}:{:02}", p.cpu as u64 / 60, p.cpu as u64 % 60)),
    (&["etime"], "ELAPSED", |p, m| clock((m.now - p.began).max(0), false)),
    (&["etimes"], "ELAPSED", |p, m| (m.now - p.began).max(0).to_string()),
];

/// The columns that the words ask for.
pub fn columns(args: &str) -> Result<Vec<Column>> {
    let mut chosen: Vec<Column> = Vec::new();
    let (mut full, mut user, mut bsd) = (false, false, false);
    let mut words = args.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let dashed = word.strip_prefix('-');
        let letters = dashed.unwrap_or(word);
        for (at, letter) in letters.char_indices() {
            match letter {
                'e' | 'A' if dashed.is_some() => {}
                'f' if dashed.is_some() => full = true,
                'a' | 'x' => bsd = true,
                'u' => (user, bsd) = (true, true),
                // Lines are never cut here.
                'w' => {}
                'o' => {
                    let rest = &letters[at + 1..];
                    let list = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
                    for name in list.split(',') {
                        chosen.push(by_name(name)?);
                    }
                    break;
                }
                _ => return Err(refused(word)),
            }
        }
    }
    if chosen.is_empty() {
        let names: &[&str] = match (full || args.trim().is_empty(), user, bsd) {
            (_, true, _) => {
                &["user", "pid", "%cpu", "%mem", "vsz", "rss", "tname", "stat", "bsdstart", "bsdtime", "command"]
            }
            (true, ..) => &["user", "pid", "ppid", "c", "stime", "tname", "time", "cmd"],
            (_, _, true) => &["pid", "tname", "stat", "bsdtime", "command"],
            _ => &["pid", "tname", "time", "comm"],
        };
        chosen = names.iter().map(|name| by_name(name)).collect::<Result<_>>()?;
        match chosen.first_mut() {
            // `-f` heads the users' names so.
            Some(first) if full && !user || args.trim().is_empty() => first.title = "UID",
            _ => {}
        }
        if !user && !full && !bsd && !args.trim().is_empty() {
            chosen[3].title = "CMD";
        }
    }
    if chosen.iter().all(|column| column.title != "PID") {
        return Err(Error::system("Couldn't find PID field in ps output"));
    }
    Ok(chosen)
}

fn by_name(name: &str) -> Result<Column> {
    let found = COLUMNS.iter().find(|(names, ..)| names.contains(&name));
    let &(_, title, cell) = found.ok_or_else(|| {
        let known: Vec<&str> = COLUMNS.iter().map(|(names, ..)| names[0]).collect();
        Error::invalid(format!("top: the column {name:?} is not built; there are {}", known.join(", ")))
    })?;
    Ok(Column { title, cell })
}

fn refused(word: &str) -> Error {
    Error::invalid(format!(
        "top: {word:?} is not built; of the options of ps there are -ef, -e, aux, ax and -o COLUMN,..."
    ))
}

fn named(names: &BTreeMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

fn words(p: &Process) -> String {
    match (p.args.is_empty(), p.state) {
        (_, 'Z') => format!("[{}] <defunct>", p.comm),
        (true, _) => format!("[{}]", p.comm),
        // A line stays a line, whatever a program calls itself.
        _ => p.args.join(" ").chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
    }
}

/// CPU time of all time, in percent.
fn share(p: &Process, m: &Machine) -> f64 {
    p.cpu * 100.0 / (m.now - p.began).max(1) as f64
}

fn flags(p: &Process) -> String {
    let (group, session, front) = p.groups;
    let mut out = String::from(p.state);
    let also = [
        (p.nice < 0, '<'),
        (p.nice > 0, 'N'),
        (p.locked, 'L'),
        (session == p.pid, 's'),
        (p.threads > 1, 'l'),
        (front == group && p.tty != 0, '+'),
    ];
    out.extend(also.iter().filter(|(is, _)| *is).map(|(_, letter)| letter));
    out
}

/// The name of a terminal by its number.
fn terminal(number: u32) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

/// `HH:MM` today, the day this year, else the year.
fn began(p: &Process, m: &Machine) -> String {
    let at = |second: i64| Timestamp::from_second(second).map(|t| ZonedDateTime::new(t, m.zone.clone()));
    let (Ok(began), Ok(now)) = (at(p.began), at(m.now)) else { return "?".to_owned() };
    let format = match (began.year() == now.year(), began.date() == now.date()) {
        (_, true) => "%H:%M",
        (true, _) => "%b%d",
        _ => "%Y",
    };
    began.strftime(format).to_string()
}

/// `[DD-]HH:MM:SS`, or with short hours `[[DD-]HH:]MM:SS`.
fn clock(seconds: i64, hours_always: bool) -> String {
    let (days, hours, rest) =
        (seconds / 86400, seconds / 3600 % 24, format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60));
    match (days, hours) {
        (0, 0) if !hours_always => rest,
        (0, _) => format!("{hours:02}:{rest}"),
        _ => format!("{days:02}-{hours:02}:{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(args: &str) -> String {
        match columns(args) {
            Ok(columns) => columns.iter().map(|c| c.title).collect::<Vec<_>>().join(" "),
            Err(e) => format!("! {}", e.text()),
        }
    }

    #[test]
    fn words_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        for (args, want) in [
            ("", full),
            ("-ef", full),
            ("-e -f", full),
            ("aux", user),
            ("-aux", user),
            ("auxww", user),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-e", "PID TTY TIME CMD"),
            ("-o pid,comm", "PID COMMAND"),
            ("-eo pid,user -o rss", "PID USER RSS"),
            ("-opid", "PID"),
            ("axo pid,etime", "PID ELAPSED"),
            ("-o user", "! Couldn't find PID field in ps output"),
        ] {
            assert_eq!(titles(args), want, "{args}");
        }
        for (args, word) in
            [("-H", "-H"), ("-o pid,nope", "nope"), ("-o pid=x", "pid=x"), ("--forest", "--forest"), ("-o", "\"\"")]
        {
            assert!(titles(args).starts_with("! top: ") && titles(args).contains(word), "{args}: {}", titles(args));
        }
    }

    #[test]
    fn cells() {
        let now = 1_790_000_000;
        let machine = Machine {
            now,
            memory: 1000,
            users: BTreeMap::from([(0, "root".into())]),
            groups: BTreeMap::new(),
            zone: TimeZone::UTC,
        };
        let process = Process {
            pid: 7,
            ppid: 1,
            groups: (7, 7, 7),
            tty: 136 << 8 | 3,
            state: 'S',
            ids: (0, 5),
            comm: "sh".into(),
            args: vec!["sh".into(), "-c".into(), "a\nb".into()],
            cpu: 75.5,
            began: now - 3700,
            nice: 5,
            threads: 2,
            memory: (2048, 255),
            locked: false,
        };
        let cell = |name: &str, p: &Process| (by_name(name).unwrap().cell)(p, &machine);
        for (name, want) in [
            ("user", "root"),
            ("group", "5"),
            ("cmd", "sh -c a?b"),
            ("c", "2"),
            ("%cpu", "2.0"),
            ("%mem", "25.5"),
            ("stat", "SNsl+"),
            ("tty", "pts/3"),
            ("time", "00:01:15"),
            ("bsdtime", "1:15"),
            ("etime", "01:01:40"),
            ("stime", "13:11"),
        ] {
            assert_eq!(cell(name, &process), want, "{name}");
        }
        let dead = Process { state: 'Z', args: Vec::new(), began: now - 90_000 * 2, tty: 0, ..process };
        assert_eq!(cell("args", &dead), "[sh] <defunct>");
        assert_eq!((cell("tty", &dead).as_str(), cell("etime", &dead).as_str()), ("?", "02-02:00:00"));
        assert_eq!(cell("stime", &dead), "Sep19");
    }
}
