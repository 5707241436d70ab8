//! The words of a command line as Go's flag parser reads them: which are flags, which values, which arguments.
//! What it says of wrong ones is what Docker's users know. Pure; what a value means is left to clap.

use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A command's words, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// `--help` was among them.
    pub help: bool,
    /// Flags, one word each: `--name=value`, or `--name` for a switch that is on.
    pub flags: Vec<OsString>,
    /// What is no flag.
    pub arguments: Vec<OsString>,
    /// What is to be said about flags that have a newer name.
    pub notes: Vec<String>,
}

/// A word that can't be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No such flag, as it was written, without a value; and what Go's parser says.
    Unknown(String, String),
    /// Anything else, in the words of Go's parser.
    Said(String),
}

enum Kind {
    /// On or off.
    Switch,
    /// On, off, and on if it is not there.
    Choice,
    Value,
}

struct Flags<'a>(Vec<&'a Arg>);

impl<'a> Flags<'a> {
    fn long(&self, name: &str) -> Option<&'a Arg> {
        let named =
            |a: &&&Arg| a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|all| all.contains(&name));
        self.0.iter().find(named).copied()
    }

    fn short(&self, name: char) -> Option<&'a Arg> {
        self.0.iter().find(|a| a.get_short() == Some(name)).copied()
    }
}

fn kind(arg: &Arg) -> Kind {
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append if arg.is_require_equals_set() => Kind::Choice,
        ArgAction::Set | ArgAction::Append => Kind::Value,
        _ => Kind::Switch,
    }
}

/// A flag as errors name it.
pub fn shown(arg: &Arg) -> String {
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, long) => format!("--{}", long.unwrap_or_default()),
    }
}

/// Sorts `words`. A command whose last argument takes the rest has no flags behind its first argument.
pub fn scan(command: &Command, words: Vec<OsString>) -> Result<Scanned, Wrong> {
    let flags = Flags(command.get_arguments().filter(|a| !a.is_positional()).collect());
    let mut out = Scanned::default();
    // Switches by their last value, in the order in which they were named first.
    let mut switches: Vec<(&Arg, bool)> = Vec::new();
    let first_ends = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        match bytes {
            b"--" => break,
            [b'-', b'-', rest @ ..] => {
                let (name, value) = halves(rest);
                let name = String::from_utf8_lossy(name).into_owned();
                if name.is_empty() || name.starts_with('-') {
                    return Err(Wrong::Said(format!("bad flag syntax: {}", word.to_string_lossy())));
                }
                let Some(arg) = flags.long(&name) else {
                    return Err(Wrong::Unknown(format!("--{name}"), format!("unknown flag: --{name}")));
                };
                let newer = arg.get_long().filter(|long| {
                    *long != name && !arg.get_visible_aliases().is_some_and(|all| all.contains(&name.as_str()))
                });
                if let Some(newer) = newer {
                    out.notes.push(format!("Flag --{name} has been deprecated, use --{newer} instead"));
                }
                take(arg, value.map(<[u8]>::to_vec), &mut words, &mut out, &mut switches, || format!("--{name}"))?;
            }
            [b'-', rest @ ..] if !rest.is_empty() => {
                let text = String::from_utf8_lossy(rest).into_owned();
                let mut at = 0;
                while let Some(name) = text[at..].chars().next() {
                    let group = &text[at..];
                    at += name.len_utf8();
                    let Some(arg) = flags.short(name) else {
                        let text = format!("unknown shorthand flag: {name:?} in -{group}");
                        return Err(Wrong::Unknown(format!("-{name}"), text));
                    };
                    if matches!(arg.get_action(), ArgAction::Help) {
                        out.notes.push(format!("Flag shorthand -{name} has been deprecated, use --help"));
                    }
                    let behind = rest.get(at..).unwrap_or_default();
                    let value = match kind(arg) {
                        // `-a=false` alone; a group like `-aq=…` names a flag that is called `=`.
                        Kind::Switch | Kind::Choice if behind.len() > 1 && behind[0] == b'=' => Some(&behind[1..]),
                        Kind::Switch | Kind::Choice => None,
                        Kind::Value if behind.is_empty() => None,
                        Kind::Value => Some(behind.strip_prefix(b"=").filter(|v| !v.is_empty()).unwrap_or(behind)),
                    };
                    let ends = value.is_some() || matches!(kind(arg), Kind::Value);
                    let lone = || format!("'{name}' in -{group}");
                    take(arg, value.map(<[u8]>::to_vec), &mut words, &mut out, &mut switches, lone)?;
                    if ends {
                        break;
                    }
                }
            }
            _ => {
                out.arguments.push(word);
                if first_ends {
                    break;
                }
            }
        }
    }
    out.arguments.extend(words);
    for (arg, on) in switches {
        match (kind(arg), arg.get_long(), arg.get_short()) {
            (Kind::Choice, Some(long), _) => out.flags.push(format!("--{long}={on}").into()),
            (_, Some(long), _) if on => out.flags.push(format!("--{long}").into()),
            (_, None, Some(short)) if on => out.flags.push(format!("-{short}").into()),
            _ => {}
        }
    }
    Ok(out)
}

fn halves(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|b| *b == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// One flag with its value, which may be the next word.
fn take<'a>(
    arg: &'a Arg,
    value: Option<Vec<u8>>,
    words: &mut impl Iterator<Item = OsString>,
    out: &mut Scanned,
    switches: &mut Vec<(&'a Arg, bool)>,
    lone: impl Fn() -> String,
) -> Result<(), Wrong> {
    if let Kind::Value = kind(arg) {
        let value = match value.map(OsString::from_vec).or_else(|| words.next()) {
            Some(value) => value,
            None => return Err(Wrong::Said(format!("flag needs an argument: {}", lone()))),
        };
        let mut word = match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => OsString::from(format!("--{long}=")),
            (None, short) => OsString::from(format!("-{}=", short.unwrap_or_default())),
        };
        word.push(OsStr::from_bytes(value.as_bytes()));
        out.flags.push(word);
        return Ok(());
    }
    let on = match &value {
        None => true,
        Some(value) => match value.as_slice() {
            b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => true,
            b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => false,
            other => {
                let text = String::from_utf8_lossy(other);
                return Err(Wrong::Said(format!(
                    "invalid argument {text:?} for \"{}\" flag: strconv.ParseBool: parsing {text:?}: invalid syntax",
                    shown(arg)
                )));
            }
        },
    };
    if matches!(arg.get_action(), ArgAction::Help) {
        out.help |= on;
    } else if let Some(known) = switches.iter_mut().find(|(a, _)| a.get_id() == arg.get_id()) {
        known.1 = on;
    } else {
        switches.push((arg, on));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser, Debug)]
    #[command(disable_help_flag = true)]
    struct Plain {
        #[arg(short, long)]
        all: bool,
        #[arg(short, long)]
        quiet: bool,
        #[arg(short = 'n', long, visible_alias = "newest", alias = "latest")]
        last: Option<i64>,
        #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", action = ArgAction::Set)]
        proxy: bool,
        #[arg(long, action = ArgAction::Help)]
        help: Option<bool>,
        names: Vec<String>,
    }

    #[derive(Parser, Debug)]
    struct Rest {
        #[arg(short, long)]
        env: Vec<String>,
        #[arg(long)]
        rm: bool,
        #[arg(trailing_var_arg = true)]
        words: Vec<String>,
    }

    fn read<T: CommandFactory>(line: &str) -> Result<String, Wrong> {
        let found = scan(&T::command(), line.split_whitespace().map(OsString::from).collect())?;
        let join = |list: &[OsString]| list.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let help = if found.help { "help " } else { "" };
        Ok(format!("{help}{} | {}", join(&found.flags), join(&found.arguments)))
    }

    #[test]
    fn words_are_sorted() {
        for (line, want) in [
            ("x -a y", "--all | x y"),
            ("-aq", "--all --quiet | "),
            ("-n5 -aq", "--last=5 --all --quiet | "),
            ("-n=5", "--last=5 | "),
            ("-n= x", "--last== | x"),
            ("-n -5 --last 6 --newest=7", "--last=-5 --last=6 --last=7 | "),
            ("-an 3", "--last=3 --all | "),
            ("-a=false --all", "--all | "),
            ("--all --all=0", " | "),
            ("--proxy --proxy=f", "--proxy=false | "),
            ("-a -- -q - x", "--all | -q - x"),
            ("- x", " | - x"),
            ("--help -a", "help --all | "),
        ] {
            assert_eq!(read::<Plain>(line).as_deref(), Ok(want), "{line}");
        }
        for (line, want) in
            [("--rm=false -e --x img --rm -e", "--env=--x | img --rm -e"), ("--rm -- img -- x", "--rm | img -- x")]
        {
            assert_eq!(read::<Rest>(line).as_deref(), Ok(want), "{line}");
        }
        let old = scan(&Plain::command(), vec!["--latest=1".into()]).unwrap();
        assert_eq!(old.notes, ["Flag --latest has been deprecated, use --last instead"]);
    }

    #[test]
    fn what_is_wrong_is_said_as_go_says_it() {
        for (line, want) in [
            ("--last", "flag needs an argument: --last"),
            ("-n", "flag needs an argument: 'n' in -n"),
            ("-an", "flag needs an argument: 'n' in -n"),
            ("---", "bad flag syntax: ---"),
            ("--=x", "bad flag syntax: --=x"),
            (
                "--all=maybe",
                r#"invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
        ] {
            assert_eq!(read::<Plain>(line), Err(Wrong::Said(want.into())), "{line}");
        }
        for (line, flag, want) in [
            ("--nope=3 x", "--nope", "unknown flag: --nope"),
            ("-az", "-z", "unknown shorthand flag: 'z' in -z"),
            ("-zq", "-z", "unknown shorthand flag: 'z' in -zq"),
        ] {
            assert_eq!(read::<Plain>(line), Err(Wrong::Unknown(flag.into(), want.into())), "{line}");
        }
        assert_eq!(read::<Rest>("img --nope").as_deref(), Ok(" | img --nope"));
    }
}
