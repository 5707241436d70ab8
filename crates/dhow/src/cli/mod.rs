//! The command line of the client: Docker's commands, flags, output and exit codes.
//!
//! It sees the public API only, so that it works against any daemon that speaks it.

mod archives;
mod attach;
mod audit;
mod autostart;
pub mod check;
pub mod commands;
mod complete;
pub mod config;
mod containers;
pub mod context;
mod contexts;
mod credentials;
mod describe;
mod df;
mod df_parts;
mod each;
mod events;
mod exec;
mod file_out;
mod global;
mod image_rows;
mod images;
mod info;
mod inspect;
mod interrupt;
pub mod keys;
mod life;
mod listing;
mod login;
mod logs;
mod making;
mod manifest;
mod names;
pub mod output;
mod overview;
mod port;
mod progress;
mod prompt;
mod prune;
mod prune_text;
mod ps;
mod pull;
mod push;
mod remark;
mod remote;
mod run;
mod search;
mod session;
mod stats;
pub mod table;
mod template;
mod terminal;
mod top;
pub mod units;
mod update;

use commands::{Found, find};
use context::Context;
use global::{Global, Then};
use std::ffi::OsString;
use std::fmt;

/// An error that stands for an exit code alone: everything was said already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub i32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// Runs the client with the words behind the program's name and gives the exit code.
pub fn main(words: Vec<OsString>) -> i32 {
    match dispatch(words) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(Exit(code)) => *code,
            None => {
                output::note(output::system_words(&format!("{error:#}")));
                1
            }
        },
    }
}

fn dispatch(words: Vec<OsString>) -> anyhow::Result<i32> {
    let mut global = match global::read(words) {
        Ok(global) => global,
        Err(global::Wrong(text, code)) => {
            output::note(text);
            return Ok(code);
        }
    };
    if let Some(directory) = &global.config {
        config::use_directory(directory.clone());
    }
    let (name, words) = match std::mem::take(&mut global.then) {
        Then::Version => {
            output::line(format!("dhow version {}", env!("CARGO_PKG_VERSION")));
            return Ok(0);
        }
        Then::Nothing => {
            output::note(overview::all().trim_end());
            return Ok(0);
        }
        Then::Help => {
            output::text_out(overview::all());
            return Ok(0);
        }
        Then::HelpOf(words) => return help_of(words),
        Then::Command(name, words) => (name, words),
    };
    if name == complete::WORD {
        return Ok(complete::main(&words));
    }
    if name == describe::WORD {
        output::line(describe::all().to_string());
        return Ok(0);
    }
    let flags: Vec<OsString> = words
        .iter()
        .take_while(|word| *word != "--")
        .filter(|word| word.to_string_lossy().starts_with('-') && *word != "-")
        .cloned()
        .collect();
    match find(name, words) {
        Found::Command(call) => call.run(&Context::new(&global)?),
        Found::Family(family, words) => of_family(family, &words),
        Found::Unbuilt(path) => {
            output::note(format!(
                "dhow: '{path}' is a command of Docker that dhow does not have yet. Run 'dhow --help' for those it has"
            ));
            Ok(1)
        }
        // Flags are read before the command is looked for, as in Docker.
        Found::Nowhere(_, None) if flags.first().is_some_and(|flag| flag != "--help" && flag != "-h") => {
            let global::Wrong(text, code) = global::usage(&unknown_flag(&flags[0].to_string_lossy()));
            output::note(text);
            Ok(code)
        }
        Found::Nowhere(_, None) if !flags.is_empty() => {
            output::text_out(overview::all());
            Ok(0)
        }
        Found::Nowhere(path, None) => {
            output::note(format!("dhow: unknown command: dhow {path}\n\nRun 'dhow --help' for more information"));
            Ok(1)
        }
        Found::Nowhere(path, Some(family)) => match flags.is_empty() {
            true => {
                output::note(wrong_of(family, &format!("dhow: unknown command: dhow {path}")));
                Ok(1)
            }
            false => of_family(family, &flags),
        },
    }
}

/// `dhow help COMMAND`.
fn help_of(mut words: Vec<OsString>) -> anyhow::Result<i32> {
    let said = |words: &[OsString]| words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let asked = said(&words);
    let name = words.remove(0).to_string_lossy().into_owned();
    let family = commands::FAMILIES.iter().any(|(family, _)| *family == name);
    let below = words.split_off(words.len().min(usize::from(family)));
    let unknown = |topic: &str| {
        output::note(format!("unknown help topic: {topic}"));
        Ok(1)
    };
    let last = said(&words);
    words.push("--help".into());
    match find(name, words) {
        Found::Command(_) if !below.is_empty() => unknown(&said(&below)),
        Found::Command(call) => call.run(&Context::new(&Global::default())?),
        Found::Family(family, words) => of_family(family, &words),
        Found::Unbuilt(path) => {
            output::note(format!("dhow: '{path}' is a command of Docker that dhow does not have yet"));
            Ok(1)
        }
        // Docker names what it did not find, without the family before it.
        Found::Nowhere(_, Some(_)) if below.is_empty() => unknown(&last),
        Found::Nowhere(_, Some(_)) => unknown(&format!("{last} {}", said(&below))),
        Found::Nowhere(_, None) => unknown(&asked),
    }
}

/// A word that stands before commands, with flags alone: its commands.
fn of_family(family: &'static str, flags: &[OsString]) -> anyhow::Result<i32> {
    let text = overview::of(family);
    match flags.first().map(|w| w.to_string_lossy()) {
        None => output::note(text.trim_end()),
        Some(flag) if flag == "--help" || flag == "-h" => output::text_out(text),
        Some(flag) => {
            output::note(wrong_of(family, &unknown_flag(&flag)));
            return Ok(125);
        }
    }
    Ok(0)
}

/// Docker's words for a flag where there is none.
fn unknown_flag(flag: &str) -> String {
    match (flag.strip_prefix("--"), flag.chars().nth(1)) {
        (None, Some(letter)) => format!("unknown shorthand flag: {letter:?} in {flag}"),
        _ => format!("unknown flag: {}", flag.split('=').next().unwrap_or(flag)),
    }
}

/// What is said of wrong words behind a word that stands before commands.
fn wrong_of(family: &str, text: &str) -> String {
    format!("{text}\n\nUsage:  dhow {family}\n\nRun 'dhow {family} --help' for more information")
}
