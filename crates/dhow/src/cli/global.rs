//! What stands before the command: which daemon, which folder of settings, how much is told. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

/// What was said before the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `-H`, each.
    pub hosts: Vec<String>,
    /// `-c`.
    pub context: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `-D`, or a log level that shows as much: every request to the daemon is told.
    pub told: bool,
    /// What to do.
    pub then: Then,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Nothing was asked for: show all commands, on the error stream.
    #[default]
    Nothing,
    /// Show all commands.
    Help,
    /// Show the help of a command.
    HelpOf(Vec<OsString>),
    /// Show the version.
    Version,
    /// Run a command with its words.
    Command(String, Vec<OsString>),
}

/// Why there is nothing to run, with the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub String, pub i32);

/// The options, for the overview.
pub const HELP: &str = "      --config string      Folder of the client's settings (default \"~/.docker\")
  -c, --context string     Context to use, by name (overrides DHOW_HOST,
                           DOCKER_HOST, and what `dhow context use` set)
  -D, --debug              Tell every request to the daemon
  -H, --host string        Socket of the daemon (unix:///PATH)
  -l, --log-level string   How much is told: debug (as -D), info, warn,
                           error or fatal (default \"info\")
  -v, --version            Print the version
      --help               Print this help
";

/// The options for completion: short, long, whether a value follows, and what they are.
pub const OPTIONS: &[(Option<char>, &str, bool, &str)] = &[
    (None, "config", true, "Folder of the client's settings"),
    (Some('c'), "context", true, "Context to use"),
    (Some('D'), "debug", false, "Tell every request to the daemon"),
    (Some('H'), "host", true, "Socket of the daemon"),
    (Some('l'), "log-level", true, "How much is told"),
    (Some('v'), "version", false, "Print the version"),
    (Some('h'), "help", false, "Print help"),
];

/// Docker's that have no meaning here, with whether they take a value.
const REFUSED: &[(&str, bool)] =
    &[("tls", false), ("tlsverify", false), ("tlscacert", true), ("tlscert", true), ("tlskey", true)];

/// Docker's words for levels.
pub const LEVELS: &[&str] = &["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"];

/// Reads up to the command.
pub fn read(words: Vec<OsString>) -> Result<Global, Wrong> {
    let mut words = words.into_iter();
    let mut global = Global::default();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            continue;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let Some((_, name, valued, _)) = OPTIONS.iter().find(|(_, known, ..)| *known == name) else {
                return Err(unknown(name, given));
            };
            let value = match (valued, given) {
                (_, Some(given)) => Some(given.to_owned()),
                (true, None) => Some(next(&mut words, || format!("--{name}"))?),
                (false, None) => None,
            };
            if global.take(name, value)? {
                return Ok(global);
            }
        } else if let Some(group) = text.strip_prefix('-').filter(|s| !s.is_empty()) {
            if global.take_group(group, &mut words)? {
                return Ok(global);
            }
        } else if global.then == Then::Version {
            return Ok(global);
        } else {
            let rest: Vec<OsString> = words.collect();
            global.then = match text.as_str() {
                "help" if rest.is_empty() => Then::Help,
                "help" => Then::HelpOf(rest),
                _ => Then::Command(text, rest),
            };
            return Ok(global);
        }
    }
    Ok(global)
}

impl Global {
    /// `-DH HOST`: switches, then perhaps one with a value. Whether nothing more is to be read.
    fn take_group(&mut self, group: &str, words: &mut impl Iterator<Item = OsString>) -> Result<bool, Wrong> {
        let mut rest = group;
        while let Some(letter) = rest.chars().next() {
            let here = rest;
            rest = &rest[letter.len_utf8()..];
            let Some((_, name, valued, _)) = OPTIONS.iter().find(|(short, ..)| *short == Some(letter)) else {
                return Err(usage(&format!("unknown shorthand flag: {letter:?} in -{here}")));
            };
            if *valued {
                let value = match rest {
                    "" => next(words, || format!("{letter:?} in -{here}"))?,
                    given => given.strip_prefix('=').filter(|v| !v.is_empty()).unwrap_or(given).to_owned(),
                };
                return self.take(name, Some(value));
            }
            if self.take(name, None)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One option. Whether nothing more is to be read.
    fn take(&mut self, name: &str, value: Option<String>) -> Result<bool, Wrong> {
        match (name, value) {
            ("config", value) => self.config = value.filter(|v| !v.is_empty()).map(PathBuf::from),
            ("context", value) => self.context = value.filter(|v| !v.is_empty()),
            ("host", Some(value)) => self.hosts.push(value),
            ("log-level", Some(level)) => match LEVELS.iter().any(|l| l.eq_ignore_ascii_case(&level)) {
                true => self.told |= ["debug", "trace"].iter().any(|l| l.eq_ignore_ascii_case(&level)),
                false if level.is_empty() => {}
                false => return Err(Wrong(format!("Unable to parse logging level: {level}"), 1)),
            },
            ("debug", value) => self.told = switched("-D, --debug", value)?,
            ("version", value) => {
                self.then = if switched("-v, --version", value)? { Then::Version } else { Then::Nothing };
            }
            (_, value) => {
                if switched("-h, --help", value)? {
                    self.then = Then::Help;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn next(words: &mut impl Iterator<Item = OsString>, shown: impl Fn() -> String) -> Result<String, Wrong> {
    match words.next() {
        Some(word) => Ok(word.to_string_lossy().into_owned()),
        None => Err(usage(&format!("flag needs an argument: {}", shown()))),
    }
}

fn switched(flag: &str, value: Option<String>) -> Result<bool, Wrong> {
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(usage(&format!(
            "invalid argument {text:?} for \"{flag}\" flag: strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

fn unknown(name: &str, given: Option<&str>) -> Wrong {
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        // `--tls=false` asks for nothing.
        Some(("tls", _)) if matches!(given, Some("false" | "0")) => usage("--tls=false: leave it out"),
        Some(_) => usage(&format!("--{name} is not supported: dhow speaks to unix sockets only, which have no TLS")),
        None => usage(&format!("unknown flag: --{name}")),
    }
}

/// What is said of wrong words before the command.
pub fn usage(text: &str) -> Wrong {
    Wrong(format!("{text}\n\nUsage:  dhow [OPTIONS] COMMAND [ARG...]\n\nRun 'dhow --help' for more information"), 125)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> String {
        match read(line.split_whitespace().map(OsString::from).collect()) {
            Ok(Global { hosts, context, config, told, then }) => format!(
                "{} {}{}{}{then:?}",
                hosts.join(","),
                context.map(|c| c + " ").unwrap_or_default(),
                config.map(|c| c.display().to_string() + " ").unwrap_or_default(),
                if told { "told " } else { "" }
            ),
            Err(Wrong(text, code)) => format!("{code} {}", text.lines().next().unwrap_or_default()),
        }
    }

    #[test]
    fn words_before_the_command() {
        for (line, want) in [
            ("", " Nothing"),
            ("--help=false", " Nothing"),
            ("help", " Help"),
            ("--help ps", " Help"),
            ("help ps", " HelpOf([\"ps\"])"),
            ("-v", " Version"),
            ("-H unix:///x ps -a", "unix:///x Command(\"ps\", [\"-a\"])"),
            ("-Hunix:///x ps", "unix:///x Command(\"ps\", [])"),
            ("-H=unix:///x ps", "unix:///x Command(\"ps\", [])"),
            ("--host=unix:///x -H y ps", "unix:///x,y Command(\"ps\", [])"),
            ("-DH unix:///x ps", "unix:///x told Command(\"ps\", [])"),
            ("-c a --config /b ps", " a /b Command(\"ps\", [])"),
            ("--context= --config= ps", " Command(\"ps\", [])"),
            ("-l debug ps", " told Command(\"ps\", [])"),
            ("-l WARN ps", " Command(\"ps\", [])"),
            ("--debug=false ps", " Command(\"ps\", [])"),
        ] {
            assert_eq!(of(line), want, "{line}");
        }
    }

    #[test]
    fn wrong_words_before_the_command() {
        for (line, want) in [
            ("-H", "125 flag needs an argument: 'H' in -H"),
            ("--host", "125 flag needs an argument: --host"),
            ("--nope ps", "125 unknown flag: --nope"),
            ("-z ps", "125 unknown shorthand flag: 'z' in -z"),
            ("-Dz ps", "125 unknown shorthand flag: 'z' in -z"),
            ("-l nope ps", "1 Unable to parse logging level: nope"),
            (
                "--debug=maybe ps",
                "125 invalid argument \"maybe\" for \"-D, --debug\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("--tlsverify ps", "125 --tlsverify is not supported: dhow speaks to unix sockets only, which have no TLS"),
            (
                "--tlscacert x ps",
                "125 --tlscacert is not supported: dhow speaks to unix sockets only, which have no TLS",
            ),
        ] {
            assert_eq!(of(line), want, "{line}");
        }
    }
}
