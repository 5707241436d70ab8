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

/// A name goes unquoted onto a line that a shell runs, and the daemon may be somebody else's: only letters that mean
/// nothing to any shell.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.:/@+-".contains(&b);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(plain)
}

/// What a name is goes to the terminal: without what would steer that, or begin another line.
fn shown(about: &str) -> String {
    about.chars().filter(|c| !c.is_control()).collect()
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
        let names = names::ask(&context, kind).into_iter().filter(|(name, _)| is_plain(name));
        wanted.words.extend(names.map(|(name, about)| (prefix.clone() + &name, shown(&about))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_run_are_left_out() {
        for name in ["web", "a_b.c-1", "reg.example:5000/team/app:v1.2", "app@sha256:0123abcd", "c++"] {
            assert!(is_plain(name), "{name}");
        }
        let bad =
            ["", "-rf", "a b", "$(reboot)", "`x`", "a;b", "a&b", "a|b", "a>b", "a\nb", "a\tb", "~", "a*", "\u{1b}[2J"];
        for name in bad.into_iter().chain(["a'b", "a\"b", "a\\b", "!!", "a=b", "{a,b}", "#a", "é", "a[1]"]) {
            assert!(!is_plain(name), "{name:?}");
        }
        assert_eq!(shown("busybox\u{1b}[2J, Up\n2\u{9b}x"), "busybox[2J, Up2x");
    }
}
