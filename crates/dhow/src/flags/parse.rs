//! One command's words to its flags, by Docker's rules on top of clap's: `--flag=false` for switches, the
//! exit code 125 for a flag that does not exist, and a word of its own for Docker's flags that dhow lacks.

use crate::cli::output;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Flags of Docker's commands that are not built: they are refused by name, never taken and ignored.
const DOCKER_ONLY: &[&str] = &[
    "checkpoint",
    "checkpoint-dir",
    "cpu-count",
    "cpu-percent",
    "details",
    "disable-content-trust",
    "gpus",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "io-maxbandwidth",
    "io-maxiops",
    "ip",
    "ip6",
    "isolation",
    "link",
    "link-local-ip",
    "network-alias",
    "use-api-socket",
    "size",
];

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

/// Parses the words behind the command's name.
pub fn parse<T: CommandFactory + FromArgMatches>(name: &'static str, words: Vec<OsString>) -> Result<T, Stop> {
    let bin = format!("dhow {name}");
    let mut command = T::command().name(name).bin_name(bin).disable_version_flag(true).disable_help_flag(true);
    // `-h` is `--hostname` in `run`, as in Docker: help is `--help`, and `-h` only where nothing else has it.
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this help");
    let taken = command.get_arguments().any(|a| a.get_short() == Some('h'));
    command = command.arg(if taken { help } else { help.short('h') });
    // A flag's value may begin with a dash, and is taken as it stands, as Go's parser does (`-e --x`).
    command = command.mut_args(|a| {
        let valued = matches!(a.get_action(), ArgAction::Set | ArgAction::Append) && !a.is_positional();
        if valued && !a.is_require_equals_set() { a.allow_hyphen_values(true) } else { a }
    });
    command.build();
    let mut all = vec![OsString::from(name)];
    all.extend(switches(&command, words).map_err(|text| Stop::Usage(usage(name, &text), 125))?);
    let matches = command.try_get_matches_from_mut(all).map_err(|e| stop(name, &e))?;
    T::from_arg_matches(&matches).map_err(|e| stop(name, &e))
}

fn usage(name: &str, text: &str) -> String {
    format!("{text}\n\nRun 'dhow {name} --help' for more information")
}

fn stop(name: &str, error: &clap::Error) -> Stop {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Stop::Help(error.to_string()),
        ErrorKind::UnknownArgument => {
            let flag = context(ContextKind::InvalidArg).unwrap_or_default();
            if !flag.starts_with('-') {
                let text = format!("dhow {name}: there is no place for the argument {flag:?}");
                return Stop::Usage(usage(name, &text), 1);
            }
            let long = flag.trim_start_matches('-');
            if DOCKER_ONLY.contains(&long) {
                let text = format!("dhow {name}: {flag} is a flag of Docker that dhow does not have yet; leave it out");
                return Stop::Usage(text, 125);
            }
            let hint = context(ContextKind::SuggestedArg).map(|s| format!(" (did you mean {s}?)")).unwrap_or_default();
            let what = if flag.starts_with("--") { "unknown flag" } else { "unknown shorthand flag" };
            Stop::Usage(usage(name, &format!("{what}: {flag}{hint}")), 125)
        }
        ErrorKind::MissingRequiredArgument => {
            let what = context(ContextKind::InvalidArg).unwrap_or_default();
            Stop::Usage(usage(name, &format!("dhow {name}: an argument is missing: {what}")), 1)
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Stop::Usage(usage(name, &first), 125)
        }
    }
}

/// Rewrites Go's `--switch=true` and `--switch=false` to what clap knows, up to the first argument that
/// is no flag (behind it, in `run` and `exec`, the words belong to the container).
fn switches(command: &Command, words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let trailing = command.get_positionals().any(|p| p.is_trailing_var_arg_set());
    let takes_value = |word: &str| {
        let short = word.chars().last().filter(|_| word.starts_with('-') && !word.starts_with("--"));
        command.get_arguments().any(|a| {
            let named = a.get_long().is_some_and(|l| word.strip_prefix("--") == Some(l))
                || (short.is_some() && a.get_short() == short);
            named && matches!(a.get_action(), ArgAction::Set | ArgAction::Append)
        })
    };
    let is_switch = |name: &str| {
        command.get_arguments().any(|a| a.get_long() == Some(name) && matches!(a.get_action(), ArgAction::SetTrue))
    };
    let mut out = Vec::with_capacity(words.len());
    let mut value_follows = false;
    let mut words = words.into_iter();
    for word in words.by_ref() {
        let Some(text) = word.to_str().map(str::to_owned) else {
            out.push(word);
            value_follows = false;
            continue;
        };
        if value_follows {
            value_follows = false;
            out.push(word);
            continue;
        }
        if text == "--" || (trailing && !text.starts_with('-')) {
            out.push(word);
            break;
        }
        match text.strip_prefix("--").and_then(|t| t.split_once('=')) {
            Some((name, value)) if is_switch(name) => match value {
                "true" | "1" | "t" | "T" | "TRUE" | "True" => out.push(format!("--{name}").into()),
                "false" | "0" | "f" | "F" | "FALSE" | "False" => {}
                _ => return Err(format!("invalid argument {value:?} for \"--{name}\" flag: want true or false")),
            },
            _ => {
                value_follows = takes_value(&text);
                out.push(word);
            }
        }
    }
    out.extend(words);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Words {
        #[arg(short, long)]
        interactive: bool,
        #[arg(short, long)]
        tty: bool,
        #[arg(long)]
        rm: bool,
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(trailing_var_arg = true)]
        rest: Vec<String>,
    }

    #[derive(Parser, Debug)]
    struct One {
        #[arg(short, long)]
        all: bool,
        name: Option<String>,
    }

    #[test]
    fn an_argument_too_many_is_no_flag() {
        let line = |words: &str| parse::<One>("images", words.split_whitespace().map(OsString::from).collect());
        assert!(line("-a x").is_ok_and(|one| one.all && one.name.as_deref() == Some("x")));
        match line("x y") {
            Err(Stop::Usage(text, 1)) => assert!(text.contains("no place for the argument \"y\""), "{text}"),
            Err(Stop::Usage(text, code)) => panic!("{code} {text}"),
            Err(Stop::Help(text)) => panic!("{text}"),
            Ok(one) => panic!("{one:?}"),
        }
    }

    fn words(line: &str) -> Result<Words, String> {
        parse("run", line.split_whitespace().map(OsString::from).collect()).map_err(|s| match s {
            Stop::Help(t) | Stop::Usage(t, _) => t,
        })
    }

    #[test]
    fn switches_take_go_values_only_before_the_image() {
        let w = words("--rm=false -it -e --rm=true img --rm=false x").unwrap();
        assert!(!w.rm && w.interactive && w.tty);
        assert_eq!(
            (w.env, w.rest),
            (vec!["--rm=true".to_owned()], vec!["img".into(), "--rm=false".into(), "x".into()])
        );
        assert!(words("--rm=1 img").unwrap().rm);
        assert!(words("--rm=maybe img").unwrap_err().contains("want true or false"));
    }

    #[test]
    fn unknown_flags_are_named() {
        assert!(words("--nope img").unwrap_err().contains("unknown flag: --nope"));
        assert!(
            words("--gpus all img").unwrap_err().contains("--gpus is a flag of Docker that dhow does not have yet")
        );
        assert_eq!(words("img --nope").unwrap().rest, ["img", "--nope"]);
    }
}
