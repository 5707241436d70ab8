//! Completion: the scripts for the shells, and `dhow __complete WORD...`, which they ask what may stand in the place of
//! the last word. What is built is known from the definitions; names of things are asked of the daemon, for a short
//! while, without starting one, and without an error if it does not answer.

mod names;
mod wanted;

use super::context::Context;
use super::{config, output};
use anyhow::{Result, bail};
use clap::Parser;
use std::ffi::OsString;
use wanted::Files;

/// The hidden command.
pub const WORD: &str = "__complete";

/// More are no help.
const MAX_WORDS: usize = 1000;

/// Print a script that completes commands, flags and names in a shell
#[derive(Parser, Debug)]
pub struct CompletionArgs {
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL")]
    shell: String,
}

/// `dhow completion`.
pub fn completion(_: &Context, args: CompletionArgs) -> Result<i32> {
    output::text_out(match args.shell.as_str() {
        "bash" => include_str!("dhow.bash"),
        "zsh" => include_str!("dhow.zsh"),
        "fish" => include_str!("dhow.fish"),
        other => bail!("there is no completion for {other:?}: bash, zsh and fish are known"),
    });
    Ok(0)
}

/// `dhow __complete`: what else there is to complete (`words`, `files` or `dirs`), then a word a line, with what it is
/// behind a tab.
pub fn main(words: &[OsString]) -> i32 {
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let mut wanted = wanted::wanted(&words);
    if let Some(directory) = wanted.global.config.take() {
        config::use_directory(directory);
    }
    if let (Some(kind), Ok(context)) = (wanted.names, Context::new(&wanted.global)) {
        let prefix = wanted.prefix.clone();
        wanted
            .words
            .extend(names::ask(&context, kind).into_iter().map(|(name, about)| (prefix.clone() + &name, about)));
    }
    output::line(match wanted.files {
        Files::No => "words",
        Files::Any => "files",
        Files::Dirs => "dirs",
    });
    let current = words.last().map(String::as_str).unwrap_or_default();
    for (word, about) in wanted.words.iter().filter(|(word, _)| word.starts_with(current)).take(MAX_WORDS) {
        output::line(format!("{word}\t{about}"));
    }
    0
}
