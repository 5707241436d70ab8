//! What stands before the command: `-H`, `--help`, `--version`. Pure.

use std::ffi::OsString;

/// What was said before the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// `-H`.
    pub host: Option<String>,
    /// What to do.
    pub then: Then,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// Show all commands.
    #[default]
    Help,
    /// Show the help of a command.
    HelpOf(Vec<OsString>),
    /// Show the version.
    Version,
    /// Run a command with its words.
    Command(String, Vec<OsString>),
}

/// The options, for the overview.
pub const HELP: &str = "  -H, --host HOST     Socket of the daemon (unix:///PATH)\n\
                        \x20 -v, --version       Print the version\n\
                        \x20     --help          Print this help\n";

/// Docker's that have no meaning here, with whether they take a value.
const REFUSED: &[(&str, bool)] =
    &[("tls", false), ("tlsverify", false), ("tlscacert", true), ("tlscert", true), ("tlskey", true)];

/// Reads up to the command.
pub fn read(words: Vec<OsString>) -> Result<Global, String> {
    let mut words = words.into_iter();
    let mut global = Global::default();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        let mut value = |given: Option<&str>, shown: &str| match given {
            Some(value) => Ok(value.to_owned()),
            None => match words.next() {
                Some(next) => Ok(next.to_string_lossy().into_owned()),
                None => Err(format!("flag needs an argument: {shown}")),
            },
        };
        if let Some(long) = text.strip_prefix("--") {
            let (name, given) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            match name {
                "host" => global.host = Some(value(given, "--host")?),
                "version" => global.then = Then::Version,
                "help" => return Ok(Global { then: Then::Help, ..global }),
                _ => match REFUSED.iter().find(|(refused, _)| *refused == name) {
                    Some(_) => return Err(format!("--{name} is not supported: dhow listens on a unix socket only")),
                    None => return Err(format!("unknown flag: --{name}")),
                },
            }
        } else if let Some(short) = text.strip_prefix('-').filter(|s| !s.is_empty()) {
            let given = Some(short[1..].trim_start_matches('=')).filter(|v| !v.is_empty() && short.is_char_boundary(1));
            match short.chars().next() {
                Some('H') => global.host = Some(value(given, &format!("'H' in -{short}"))?),
                Some('v') => global.then = Then::Version,
                Some('h') => return Ok(Global { then: Then::Help, ..global }),
                first => return Err(format!("unknown shorthand flag: {:?} in -{short}", first.unwrap_or_default())),
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

/// What is said of wrong words before the command.
pub fn wrong(text: &str) -> String {
    format!("{text}\n\nUsage:  dhow [OPTIONS] COMMAND [ARG...]\n\nRun 'dhow --help' for more information")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_the_command() {
        let of = |line: &str| match read(line.split_whitespace().map(OsString::from).collect()) {
            Ok(Global { host, then }) => format!("{} {then:?}", host.unwrap_or_default()),
            Err(text) => text,
        };
        for (line, want) in [
            ("", " Help"),
            ("help", " Help"),
            ("--help ps", " Help"),
            ("help ps", " HelpOf([\"ps\"])"),
            ("-v", " Version"),
            ("-H unix:///x ps -a", "unix:///x Command(\"ps\", [\"-a\"])"),
            ("-Hunix:///x ps", "unix:///x Command(\"ps\", [])"),
            ("-H=unix:///x ps", "unix:///x Command(\"ps\", [])"),
            ("--host=unix:///x ps", "unix:///x Command(\"ps\", [])"),
            ("-H", "flag needs an argument: 'H' in -H"),
            ("--host", "flag needs an argument: --host"),
            ("--nope ps", "unknown flag: --nope"),
            ("-z ps", "unknown shorthand flag: 'z' in -z"),
            ("--tlsverify ps", "--tlsverify is not supported: dhow listens on a unix socket only"),
        ] {
            assert_eq!(of(line), want, "{line}");
        }
    }
}
