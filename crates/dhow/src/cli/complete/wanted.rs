//! What may stand in the place of the last word of a line. Pure; names of things are only asked for here.

use crate::cli::commands::{COMMANDS, Command, FAMILIES};
use crate::cli::global::{Global, LEVELS, OPTIONS};
use clap::builder::ValueHint;
use clap::{Arg, ArgAction};

/// Names that the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Containers in one of these states; in any, if there are none.
    Containers(&'static [&'static str]),
    /// Images.
    Images,
    /// Containers and images.
    Objects,
    /// Networks.
    Networks,
    /// Volumes.
    Volumes,
    /// Contexts: no daemon knows them.
    Contexts,
}

/// Files of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// None.
    #[default]
    No,
    /// All.
    Any,
    /// Directories.
    Dirs,
}

/// What may stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which daemon is to be asked.
    pub global: Global,
    /// Words that are known, and what they are.
    pub words: Vec<(String, String)>,
    /// Names to ask for.
    pub names: Option<Names>,
    /// What stands before a name: `--flag=`.
    pub prefix: String,
    /// Files too.
    pub files: Files,
}

const RUNNING: Names = Names::Containers(&["running"]);
const ENDED: Names = Names::Containers(&["created", "exited", "dead"]);
const ANY: Names = Names::Containers(&[]);

/// Values of flags that are words.
const VALUES: &[(&str, &[&str])] = &[
    ("restart", &["no", "always", "on-failure", "unless-stopped"]),
    ("pull", &["always", "missing", "never"]),
    ("log-driver", &["json-file", "local", "syslog", "journald", "none"]),
    ("isolation", &["default"]),
    ("ipc", &["private", "shareable", "host", "none"]),
    ("pid", &["private", "host"]),
    ("uts", &["private", "host"]),
    ("userns", &["host"]),
    ("cgroupns", &["private", "host"]),
    ("type", &["container", "image"]),
    ("attach", &["stdin", "stdout", "stderr"]),
    ("format", &["json", "table"]),
    ("security-opt", &["no-new-privileges", "seccomp=", "systempaths=unconfined"]),
    ("signal", SIGNALS),
    ("stop-signal", SIGNALS),
];

const SIGNALS: &[&str] = &["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2", "WINCH"];

/// What the words behind the program's name, of which the last is being written, leave open.
pub fn wanted(words: &[String]) -> Wanted {
    let mut out = Wanted::default();
    let Some((current, before)) = words.split_last() else { return out };
    let mut before = before.iter();
    // Up to the command.
    let mut path = loop {
        let Some(word) = before.next() else {
            out.words = match current.starts_with('-') {
                true => OPTIONS.iter().map(|(_, long, _, help)| (format!("--{long}"), (*help).to_owned())).collect(),
                false => commands(None),
            };
            return out;
        };
        match word.as_str() {
            w if w.starts_with('-') => match option(w) {
                Some((name, None)) => match before.next() {
                    Some(value) => global_option(&mut out, name, value),
                    None => {
                        match name {
                            "context" => out.names = Some(Names::Contexts),
                            "config" => out.files = Files::Dirs,
                            "log-level" => {
                                out.words = LEVELS.iter().map(|l| ((*l).to_owned(), String::new())).collect()
                            }
                            _ => {}
                        }
                        return out;
                    }
                },
                Some((name, Some(value))) => global_option(&mut out, name, value),
                None => {}
            },
            w => break w.to_owned(),
        }
    };
    if FAMILIES.iter().any(|(family, _)| *family == path) {
        match before.next() {
            Some(word) => path = format!("{path} {word}"),
            None => {
                out.words = commands(Some(&path));
                return out;
            }
        }
    }
    if let Some(row) = COMMANDS.iter().find(|c| c.names.contains(&path.as_str())) {
        of_command(row, before.as_slice(), current, &mut out);
    }
    out
}

/// An option before the command that has a value, if it stands in the same word.
fn option(word: &str) -> Option<(&'static str, Option<&str>)> {
    let (written, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let named = |short: &Option<char>, long: &str| match written.strip_prefix("--") {
        Some(name) => name == long,
        None => written.strip_prefix('-').is_some_and(|letters| letters.chars().last() == *short),
    };
    OPTIONS.iter().find(|(short, long, valued, _)| *valued && named(short, long)).map(|(_, long, ..)| (*long, value))
}

fn global_option(out: &mut Wanted, name: &str, value: &str) {
    match name {
        "host" => out.global.hosts = vec![value.to_owned()],
        "context" => out.global.context = Some(value.to_owned()),
        "config" => out.global.config = Some(value.into()),
        _ => {}
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

/// The commands of one word and the families, or those below a family.
fn commands(family: Option<&str>) -> Vec<(String, String)> {
    let below = |name: &'static str| match (family, name.split_once(' ')) {
        (None, None) => Some(name),
        (Some(family), Some((own, sub))) if own == family => Some(sub),
        _ => None,
    };
    let all = COMMANDS.iter().flat_map(|c| c.names.iter().filter_map(move |n| Some((below(n)?, c.summary))));
    let families = FAMILIES.iter().filter(|_| family.is_none()).map(|(name, summary)| (*name, *summary));
    let mut list: Vec<_> = all.chain(families).collect();
    list.sort_unstable();
    pairs(&list)
}

fn of_command(row: &Command, before: &[String], current: &str, out: &mut Wanted) {
    let definition = row.described();
    let flags: Vec<&Arg> = definition.get_arguments().filter(|a| !a.is_positional()).collect();
    let long = |name: &str| {
        flags
            .iter()
            .copied()
            .find(|a| a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|all| all.contains(&name)))
    };
    let valued = |a: &Arg| matches!(a.get_action(), ArgAction::Set | ArgAction::Append) && !a.is_require_equals_set();
    // The flag whose value the last letter of a group begins: `-it` has none, `-itv` that of `-v`.
    let grouped = |word: &str| {
        let mut letters = word[1..].chars();
        let first = letters.find_map(|c| flags.iter().copied().find(|a| a.get_short() == Some(c) && valued(a)));
        first.filter(|_| letters.next().is_none())
    };
    let rest = definition.get_positionals().any(Arg::is_trailing_var_arg_set);
    let (mut arguments, mut only_arguments, mut force) = (0, false, false);
    let mut before = before.iter();
    while let Some(word) = before.next() {
        if only_arguments || !word.starts_with('-') || word == "-" {
            arguments += 1;
            only_arguments |= rest;
            continue;
        }
        force |= word == "--force" || (!word.starts_with("--") && word.contains('f'));
        let flag = match word.strip_prefix("--") {
            Some("") => {
                only_arguments = true;
                None
            }
            Some(name) => long(name).filter(|a| valued(a)),
            None => grouped(word),
        };
        if let Some(flag) = flag
            && before.next().is_none()
        {
            return value(flag, out);
        }
    }
    if !only_arguments && current.starts_with('-') {
        match current.strip_prefix("--").and_then(|c| c.split_once('=')) {
            Some((name, _)) => {
                if let Some(flag) = long(name) {
                    value(flag, out);
                    out.prefix = format!("--{name}=");
                    out.words.iter_mut().for_each(|(word, _)| word.insert_str(0, &out.prefix));
                }
            }
            None => {
                let shown = flags.iter().filter(|a| !a.is_hide_set());
                let help = |a: &Arg| a.get_help().map(ToString::to_string).unwrap_or_default();
                out.words = shown.filter_map(|a| Some((format!("--{}", a.get_long()?), help(a)))).collect();
            }
        }
        return;
    }
    argument(row.names[0], arguments, force, out);
}

/// What may be a flag's value.
fn value(flag: &Arg, out: &mut Wanted) {
    let possible = flag.get_possible_values();
    let long = flag.get_long().unwrap_or_default();
    if !possible.is_empty() && matches!(flag.get_action(), ArgAction::Set | ArgAction::Append) {
        out.words = possible.iter().map(|v| (v.get_name().to_owned(), String::new())).collect();
    } else if let Some((_, words)) = VALUES.iter().find(|(name, _)| *name == long) {
        out.words = words.iter().map(|word| ((*word).to_owned(), String::new())).collect();
    } else {
        match long {
            "network" => out.names = Some(Names::Networks),
            "volumes-from" => out.names = Some(ANY),
            "workdir" => {}
            "volume" => (out.names, out.files) = (Some(Names::Volumes), Files::Any),
            "root" | "state" => out.files = Files::Dirs,
            "device" | "mount" => out.files = Files::Any,
            _ if flag.get_value_hint() == ValueHint::AnyPath => out.files = Files::Any,
            _ => {}
        }
    }
}

/// What may be a command's argument, of which `n` stand before it.
fn argument(command: &str, n: usize, force: bool, out: &mut Wanted) {
    out.names = match (command, n) {
        ("run" | "create", 0) => Some(Names::Images),
        ("exec" | "attach" | "top", 0) => Some(RUNNING),
        ("stop" | "kill" | "pause", _) => Some(RUNNING),
        ("unpause", _) => Some(Names::Containers(&["paused"])),
        ("start", _) => Some(ENDED),
        ("rm", _) => Some(if force { ANY } else { ENDED }),
        ("restart" | "wait" | "stats" | "update" | "container inspect", _) => Some(ANY),
        ("logs" | "diff" | "export" | "commit" | "port" | "rename", 0) => Some(ANY),
        ("inspect", _) => Some(Names::Objects),
        ("save" | "rmi" | "image inspect", _)
        | ("history" | "images" | "tag" | "push" | "pull", 0)
        | ("image diff", 0 | 1)
        | ("image copy" | "image check", 0) => Some(Names::Images),
        ("context use" | "context update", 0) | ("context rm" | "context inspect", _) => Some(Names::Contexts),
        ("context export", 0) => Some(Names::Contexts),
        ("volume rm" | "volume inspect", _) => Some(Names::Volumes),
        ("network rm" | "network inspect", _) | ("network connect" | "network disconnect", 0) => Some(Names::Networks),
        _ => None,
    };
    match (command, n) {
        ("run" | "create" | "exec", 1..) | ("import", 0) | ("context import", 1) | ("context export", 1) => {
            out.files = Files::Any
        }
        ("completion", 0) => out.words = pairs(&[("bash", ""), ("fish", ""), ("zsh", "")]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Wanted {
        wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn has(line: &str, word: &str) -> bool {
        of(line).words.iter().any(|(w, _)| w == word)
    }

    #[test]
    fn names_of_the_right_kind_and_state() {
        for (line, names, files) in [
            ("stop ", Some(RUNNING), Files::No),
            ("stop -t 3 we", Some(RUNNING), Files::No),
            ("container stop a b ", Some(RUNNING), Files::No),
            ("start ", Some(ENDED), Files::No),
            ("rm ", Some(ENDED), Files::No),
            ("rm -f ", Some(ANY), Files::No),
            ("unpause ", Some(Names::Containers(&["paused"])), Files::No),
            ("run ", Some(Names::Images), Files::No),
            ("run -it --name x ", Some(Names::Images), Files::No),
            ("run -d busybox ", None, Files::Any),
            ("run --network ", Some(Names::Networks), Files::No),
            ("run --network=b", Some(Names::Networks), Files::No),
            ("run -itv ", Some(Names::Volumes), Files::Any),
            ("run -tev ", Some(Names::Images), Files::No),
            ("run --env-file ", None, Files::Any),
            ("run --volumes-from ", Some(ANY), Files::No),
            ("exec -it ", Some(RUNNING), Files::No),
            ("load -i ", None, Files::Any),
            ("-H unix:///x image rm ", Some(Names::Images), Files::No),
            ("nope ", None, Files::No),
            ("ps ", None, Files::No),
            ("push -q ", Some(Names::Images), Files::No),
            ("image pull ", Some(Names::Images), Files::No),
            ("logout ", None, Files::No),
        ] {
            let got = of(line);
            assert_eq!((got.names, got.files), (names, files), "{line:?}");
        }
        assert_eq!(of("-H unix:///x stop ").global.hosts, ["unix:///x"]);
    }

    #[test]
    fn commands_flags_and_values() {
        for (line, word) in [
            ("", "run"),
            ("", "container"),
            ("st", "stop"),
            ("container ", "ls"),
            ("image ", "tree"),
            ("--", "--host"),
            ("run --", "--volumes-from"),
            ("container run -", "--env-file"),
            ("run --restart ", "unless-stopped"),
            ("run --restart=un", "--restart=unless-stopped"),
            ("save --compress ", "zstd"),
            ("kill -s ", "TERM"),
            ("completion ", "fish"),
        ] {
            assert!(has(line, word), "{line:?}: {word} is not among {:?}", of(line).words);
        }
        for (line, word) in [
            ("run busybox --", "--env"),
            ("run -- --", "--env"),
            ("ps ", "--all"),
            ("run --kernel", "--kernel-memory"),
            ("image ", "ps"),
            ("", "ls"),
        ] {
            assert!(!has(line, word), "{line:?}: {word}");
        }
        assert_eq!(of("run --network=b").prefix, "--network=");
    }
}
