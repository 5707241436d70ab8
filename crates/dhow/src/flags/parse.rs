//! One command's words to its flags, by Docker's rules on top of clap's: exit code 125 for a wrong flag, 1 for too few or
//! too many arguments, Docker's words for both, and a word of its own for Docker's flags that dhow lacks.

use super::scan::{Wrong, scan, shown};
use super::table;
use crate::cli::output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};
use std::any::TypeId;
use std::ffi::OsString;

/// Why there is nothing to run.
pub enum Stop {
    /// Help was asked for: print it and succeed.
    Help(String),
    /// The words are wrong: print it and exit with 125 (or 1 for missing arguments, as Docker).
    Usage(String, i32),
}

impl Stop {
    /// Prints what there is to say; gives the exit code.
    pub fn say(self) -> i32 {
        match self {
            Self::Help(text) => {
                output::text_out(text);
                0
            }
            Self::Usage(text, code) => {
                output::note(text);
                code
            }
        }
    }
}

/// How a command is called: for its help, and for what is said of wrong words.
#[derive(Clone, Debug)]
pub struct Grammar {
    /// Its words as they were written: `container ls`.
    pub path: &'static str,
    /// What stands behind them: `[OPTIONS] CONTAINER [CONTAINER...]`.
    pub usage: &'static str,
    /// How many arguments it takes.
    pub arguments: Count,
    /// Other ways to write it.
    pub aliases: Vec<&'static str>,
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least.
    pub least: usize,
    /// At most, if there is a bound.
    pub most: Option<usize>,
}

impl Grammar {
    /// The first line of a command's help.
    pub fn usage_line(&self) -> String {
        format!("Usage:  dhow {} {}", self.path, self.usage).trim_end().to_owned()
    }

    /// What is wrong with so many arguments.
    fn miscounted(&self, given: usize) -> Option<String> {
        let Count { least, most } = self.arguments;
        if given >= least && most.is_none_or(|most| given <= most) {
            return None;
        }
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let (wants, hint) = match (least, most) {
            (_, Some(0)) => ("accepts no arguments".to_owned(), "Run"),
            (_, Some(most)) if most == least => (format!("requires {most} {}", plural(most)), "Run"),
            (0, Some(most)) => (format!("requires at most {most} {}", plural(most)), "Run"),
            (_, Some(most)) => (format!("requires at least {least} and at most {most} {}", plural(most)), "Run"),
            (_, None) => (format!("requires at least {least} {}", plural(least)), "See"),
        };
        let path = self.path;
        Some(format!(
            "dhow: 'dhow {path}' {wants}\n\n{}\n\n{hint} 'dhow {path} --help' for more information",
            self.usage_line()
        ))
    }

    /// A wrong word, and where to read on.
    fn wrong(&self, text: &str) -> Stop {
        let (usage, path) = (self.usage_line(), self.path);
        Stop::Usage(format!("{text}\n\n{usage}\n\nRun 'dhow {path} --help' for more information"), 125)
    }
}

/// Parses the words behind the command's name.
pub fn parse<T: CommandFactory + FromArgMatches>(grammar: &Grammar, words: Vec<OsString>) -> Result<T, Stop> {
    let mut command = ready(T::command(), grammar);
    let scanned = scan(&command, words).map_err(|wrong| match wrong {
        Wrong::Unknown(flag, text) => match table::refusal(grammar.path, &flag) {
            Some(reason) => Stop::Usage(format!("dhow {}: {flag} is not supported: {reason}", grammar.path), 125),
            None => grammar.wrong(&text),
        },
        Wrong::Said(text) => grammar.wrong(&text),
    })?;
    scanned.notes.iter().for_each(output::line);
    if scanned.help {
        return Err(Stop::Help(command.render_help().to_string()));
    }
    if let Some(text) = grammar.miscounted(scanned.arguments.len()) {
        return Err(Stop::Usage(text, 1));
    }
    let mut all = vec![OsString::from(grammar.path)];
    all.extend(scanned.flags);
    all.push("--".into());
    all.extend(scanned.arguments);
    let matches = command.try_get_matches_from_mut(all).map_err(|e| grammar.wrong(&said(&command, &e)))?;
    T::from_arg_matches(&matches).map_err(|e| grammar.wrong(&said(&command, &e)))
}

/// A command with the help that all have.
pub fn ready(command: Command, grammar: &Grammar) -> Command {
    // `-h` is `--hostname` in `run`, as in Docker: help is `--help`, and `-h` only where nothing else has it.
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this help");
    let taken = command.get_arguments().any(|a| a.get_short() == Some('h'));
    let aliases = match &grammar.aliases[..] {
        [] => String::new(),
        list => format!("Aliases:\n  {}\n\n", list.iter().map(|a| format!("dhow {a}")).collect::<Vec<_>>().join(", ")),
    };
    let template = format!("{}\n\n{{about}}\n\n{aliases}{{all-args}}{{after-help}}", grammar.usage_line());
    let mut command = command
        .name(grammar.path)
        .disable_version_flag(true)
        .disable_help_flag(true)
        .args_override_self(true)
        .help_template(template)
        .arg(if taken { help } else { help.short('h') });
    command.build();
    command
}

/// What clap found wrong, in the words of Go's parser where there are such.
fn said(command: &Command, error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let plain = || error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return plain();
    }
    let (flag, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let name = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let Some(arg) = command.get_arguments().find(|a| {
        a.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long))
            || a.get_short().is_some_and(|short| name == format!("-{short}"))
    }) else {
        return plain();
    };
    let reason = match number(arg) {
        Some(parser) => format!("strconv.{parser}: parsing {value:?}: {}", reach(parser, &value)),
        None => std::error::Error::source(error).map_or_else(plain, ToString::to_string),
    };
    format!("invalid argument {value:?} for \"{}\" flag: {reason}", shown(arg))
}

/// The function that reads such a number in Go.
fn number(arg: &Arg) -> Option<&'static str> {
    let parsed = arg.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|t| parsed == *t);
    if is(&[TypeId::of::<i64>(), TypeId::of::<i32>()]) {
        Some("ParseInt")
    } else if is(&[TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()]) {
        Some("ParseUint")
    } else {
        None
    }
}

/// Why Go can't read it: too large, or no number at all.
fn reach(parser: &str, value: &str) -> &'static str {
    let digits = if parser == "ParseInt" { value.trim_start_matches(['-', '+']) } else { value };
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => "value out of range",
        false => "invalid syntax",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Words {
        #[arg(short, long)]
        interactive: bool,
        #[arg(long)]
        rm: bool,
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(short = 'c', long)]
        cpu_shares: Option<i64>,
        #[arg(long)]
        weight: Option<u16>,
        #[arg(trailing_var_arg = true)]
        rest: Vec<String>,
    }

    #[derive(Parser, Debug)]
    struct Names {
        #[arg(short, long)]
        all: bool,
        names: Vec<String>,
    }

    fn grammar(least: usize, most: Option<usize>) -> Grammar {
        Grammar { path: "ps", usage: "[OPTIONS]", arguments: Count { least, most }, aliases: Vec::new() }
    }

    fn said_of<T: CommandFactory + FromArgMatches>(grammar: &Grammar, line: &str) -> Result<T, (String, i32)> {
        parse(grammar, line.split_whitespace().map(OsString::from).collect()).map_err(|s| match s {
            Stop::Help(t) => (t, 0),
            Stop::Usage(t, code) => (t, code),
        })
    }

    #[test]
    fn arguments_are_counted() {
        for (least, most, line, want) in [
            (0, Some(0), "x", "accepts no arguments|Run"),
            (1, Some(1), "", "requires 1 argument|Run"),
            (2, Some(2), "x", "requires 2 arguments|Run"),
            (0, Some(1), "x y", "requires at most 1 argument|Run"),
            (1, Some(2), "", "requires at least 1 and at most 2 arguments|Run"),
            (1, None, "-a", "requires at least 1 argument|See"),
            (2, None, "x", "requires at least 2 arguments|See"),
        ] {
            let (wants, hint) = want.split_once('|').unwrap();
            let text = format!(
                "dhow: 'dhow ps' {wants}\n\nUsage:  dhow ps [OPTIONS]\n\n{hint} 'dhow ps --help' for more information"
            );
            assert_eq!(said_of::<Names>(&grammar(least, most), line).unwrap_err(), (text, 1), "{line}");
        }
        assert_eq!(said_of::<Names>(&grammar(1, None), "x -a y").unwrap().names, ["x", "y"]);
        assert!(said_of::<Names>(&grammar(1, None), "--all=0 --all x").unwrap().all);
    }

    #[test]
    fn wrong_words_are_named_before_arguments_are_counted() {
        let any = grammar(1, None);
        for (line, want) in [
            ("--nope", "unknown flag: --nope"),
            ("--env", "flag needs an argument: --env"),
            (
                "-c x i",
                "invalid argument \"x\" for \"-c, --cpu-shares\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "-c 99999999999999999999 i",
                "invalid argument \"99999999999999999999\" for \"-c, --cpu-shares\" flag: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
            (
                "--weight=-1 i",
                "invalid argument \"-1\" for \"--weight\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                "--weight=70000 i",
                "invalid argument \"70000\" for \"--weight\" flag: strconv.ParseUint: parsing \"70000\": value out of range",
            ),
        ] {
            let (text, code) = said_of::<Words>(&any, line).unwrap_err();
            assert_eq!((text.lines().next(), code), (Some(want), 125), "{line}");
            assert!(
                text.ends_with("\n\nUsage:  dhow ps [OPTIONS]\n\nRun 'dhow ps --help' for more information"),
                "{text}"
            );
        }
        let w = said_of::<Words>(&any, "--rm=false -i -e --rm=true -e= img --rm=false x").unwrap();
        assert!(!w.rm && w.interactive);
        assert_eq!(
            (w.env, w.rest),
            (vec!["--rm=true".to_owned(), "=".to_owned()], vec!["img".into(), "--rm=false".into(), "x".into()])
        );
        let empty = said_of::<Words>(&any, "--env= img").unwrap();
        assert_eq!(empty.env, [""]);
        let (text, code) = said_of::<Words>(&any, "--gpus all img").unwrap_err();
        assert!(code == 125 && text.contains("unknown flag: --gpus"), "{text}");
        let run = Grammar { path: "container run", ..grammar(0, None) };
        let (text, code) = said_of::<Words>(&run, "--gpus all img").unwrap_err();
        assert!(code == 125 && text.contains("--gpus is not supported: there are no device drivers"), "{text}");
        let rm = Grammar { path: "rm", ..grammar(0, None) };
        let (text, code) = said_of::<Words>(&rm, "-l img").unwrap_err();
        assert!(code == 125 && text.contains("-l is not supported: there are no links"), "{text}");
    }

    #[test]
    fn help_says_how_it_is_called() {
        let mut called = grammar(0, Some(0));
        called.aliases = vec!["container ls", "ps"];
        let (text, code) = said_of::<Names>(&called, "x --help").unwrap_err();
        assert_eq!(code, 0);
        assert!(text.starts_with("Usage:  dhow ps [OPTIONS]\n\n"), "{text}");
        assert!(text.contains("Aliases:\n  dhow container ls, dhow ps\n\n") && text.contains("--all"), "{text}");
    }
}
