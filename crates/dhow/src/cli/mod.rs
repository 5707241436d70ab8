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
pub mod keys;
mod life;
mod listing;
mod logs;
mod making;
mod names;
pub mod output;
mod port;
mod progress;
mod prune;
mod prune_text;
mod ps;
mod run;
mod session;
mod stats;
pub mod table;
mod template;
mod terminal;
mod top;
pub mod units;
mod update;

use commands::{COMMANDS, Found, find};
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
        Then::Help => {
            output::text_out(overview());
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
    match find(name, words) {
        Found::Command(call) => call.run(&Context::new(&global)?),
        Found::Family(family, words) => of_family(family, &words),
        Found::Unbuilt(path) => {
            output::note(format!(
                "dhow: '{path}' is a command of Docker that dhow does not have yet. Run 'dhow --help' for those it has"
            ));
            Ok(1)
        }
        Found::Nowhere(path, None) => {
            output::note(format!("dhow: unknown command: dhow {path}\n\nRun 'dhow --help' for more information"));
            Ok(1)
        }
        Found::Nowhere(path, Some(family)) => {
            output::note(format!(
                "dhow: unknown command: dhow {path}\n\nUsage:  dhow {family}\n\nRun 'dhow {family} --help' for more information"
            ));
            Ok(1)
        }
    }
}

/// `dhow help COMMAND`.
fn help_of(mut words: Vec<OsString>) -> anyhow::Result<i32> {
    let asked = words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let name = words.remove(0).to_string_lossy().into_owned();
    // What stands behind the command is not for it.
    let family = commands::FAMILIES.iter().any(|(family, _)| *family == name);
    words.truncate(usize::from(family));
    words.push("--help".into());
    match find(name, words) {
        Found::Command(call) => call.run(&Context::new(&Global::default())?),
        Found::Family(family, words) => of_family(family, &words),
        Found::Unbuilt(path) => {
            output::note(format!("dhow: '{path}' is a command of Docker that dhow does not have yet"));
            Ok(1)
        }
        Found::Nowhere(..) => {
            output::note(format!("unknown help topic: {asked}"));
            Ok(1)
        }
    }
}

/// A word that stands before commands, alone: its commands.
fn of_family(family: &'static str, words: &[OsString]) -> anyhow::Result<i32> {
    let text = overview_of(family);
    match words.first().map(|w| w.to_string_lossy()) {
        None => output::note(text.trim_end()),
        Some(word) if word == "--help" || word == "-h" => output::text_out(text),
        Some(word) => {
            output::note(format!(
                "unknown flag: {word}\n\nUsage:  dhow {family}\n\nRun 'dhow {family} --help' for more information"
            ));
            return Ok(125);
        }
    }
    Ok(0)
}

fn overview() -> String {
    let mut text = String::from(
        "dhow runs programs from images: isolated, limited and fast.\n\n\
         Try it:\n  dhow run --rm dhow/hello                     a tiny program that says what happened\n  \
         dhow run --rm -it --rootfs /:O bash          this machine's own files, copy-on-write\n  \
         dhow load -i FILE && dhow run -it IMAGE      an image from `docker save`\n\n\
         Usage:  dhow [OPTIONS] COMMAND\n",
    );
    for group in ["Run", "Images", "Space", "More"] {
        text.push_str(&format!("\n{group}:\n"));
        for command in COMMANDS.iter().filter(|c| c.group == group && !is_twin(c)) {
            text.push_str(&format!("  {:<15} {}\n", command.names[0], command.summary));
        }
    }
    text.push_str("\nBefore other commands, as with Docker (`dhow container ls`):\n");
    for (family, summary) in commands::FAMILIES {
        text.push_str(&format!("  {family:<15} {summary}\n"));
    }
    text.push_str(
        "\nOther parts of the program:\n  daemon          The engine behind the socket; started by itself when a command finds none\n  \
         oci             An OCI runtime with runc's command line\n\n\
         Options:\n",
    );
    text.push_str(global::HELP);
    text.push_str(
        "\nEnvironment: DHOW_HOST or DOCKER_HOST (unix:///PATH), DOCKER_CONTEXT, DOCKER_CONFIG, DOCKER_API_VERSION,\n\
         DOCKER_CUSTOM_HEADERS.\n\
         Run 'dhow COMMAND --help' for more information on a command.\n",
    );
    text
}

/// A command that says of one kind what another says of all: `image inspect`.
fn is_twin(command: &commands::Command) -> bool {
    command.names[0].ends_with(" inspect")
}

fn overview_of(family: &str) -> String {
    let summary = commands::FAMILIES.iter().find(|(name, _)| *name == family).map_or("", |(_, summary)| summary);
    let own = |name: &&&str| name.split_once(' ').is_some_and(|(before, _)| before == family);
    let mut rows: Vec<(&str, &str)> = COMMANDS
        .iter()
        .filter_map(|c| c.names.iter().find(own).and_then(|name| name.split_once(' ')).map(|(_, sub)| (sub, c.summary)))
        .collect();
    rows.sort_unstable();
    let mut text = format!("Usage:  dhow {family} COMMAND\n\n{summary}\n\nCommands:\n");
    rows.iter().for_each(|(name, summary)| text.push_str(&format!("  {name:<11} {summary}\n")));
    text.push_str(&format!("\nRun 'dhow {family} COMMAND --help' for more information on a command.\n"));
    text
}
