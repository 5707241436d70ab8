//! `--change` of commit and import: Dockerfile instructions that edit the configuration of an image.
//!
//! Rules: Docker takes CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR
//! here and nothing else (API v1.56, `POST /commit`); what each does is in its Dockerfile reference.

mod health;
mod words;

use crate::plan::signal;
use dhow_types::image::{Empty, RunConfig};
use dhow_types::{Context as _, Error, Result};

/// The shell of the shell form, if the image names none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// The most bytes of all changes together.
const MAX_BYTES: usize = 1 << 20;
/// The most ports one range may have.
const MAX_PORTS: usize = 65536;

/// `config` with `changes`, each of one or more lines, in their order.
pub fn apply(config: RunConfig, changes: &[String]) -> Result<RunConfig> {
    if changes.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return Err(Error::invalid(format!("the changes have more than {MAX_BYTES} bytes")));
    }
    let lines = words::lines(&changes.join("\n"));
    // All are looked at before the first is applied, as Docker does: the error names the first that is unknown.
    for line in &lines {
        let name = head(line).0;
        if !INSTRUCTIONS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid(format!("{name} is not a valid change command: use one of {}", known())));
        }
    }
    let mut state = State { config, command_set: false };
    for line in &lines {
        let (name, rest) = head(line);
        let Some((upper, instruction)) = INSTRUCTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            continue;
        };
        if rest.is_empty() {
            return Err(Error::invalid(format!("{upper} requires at least one argument")));
        }
        if let Some(flag) = rest.strip_prefix("--").filter(|_| !matches!(*upper, "HEALTHCHECK" | "ONBUILD")) {
            let flag = flag.split([' ', '=']).next().unwrap_or_default();
            return Err(Error::invalid(format!("unknown flag: --{flag} of {upper}")));
        }
        instruction(&mut state, rest).with_context(|| format!("change {upper}"))?;
    }
    Ok(state.config)
}

type Instruction = fn(&mut State, &str) -> Result<()>;

const INSTRUCTIONS: &[(&str, Instruction)] = &[
    ("CMD", State::cmd),
    ("ENTRYPOINT", State::entrypoint),
    ("ENV", State::env),
    ("EXPOSE", State::expose),
    ("HEALTHCHECK", State::healthcheck),
    ("LABEL", State::label),
    ("ONBUILD", State::onbuild),
    ("STOPSIGNAL", State::stop_signal),
    ("USER", State::user),
    ("VOLUME", State::volume),
    ("WORKDIR", State::workdir),
];

fn known() -> String {
    INSTRUCTIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The first word and the rest.
fn head(line: &str) -> (&str, &str) {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (name, rest.trim())
}

struct State {
    config: RunConfig,
    /// CMD was among the changes, so that ENTRYPOINT leaves it alone.
    command_set: bool,
}

impl State {
    /// A word with the variables of the configuration as it is now.
    fn expand(&self, word: &str) -> Result<String> {
        words::expand(word, &|name| {
            self.config
                .env
                .iter()
                .find_map(|entry| Some(entry.split_once('=')?).filter(|e| e.0 == name))
                .map(|e| e.1.to_owned())
        })
    }

    /// The JSON form as its words, else the shell form: the shell with the text as it stands.
    fn command(&self, text: &str) -> Vec<String> {
        json_words(text).unwrap_or_else(|| {
            let shell: Vec<String> = match self.config.shell.is_empty() {
                true => SHELL.map(str::to_owned).to_vec(),
                false => self.config.shell.clone(),
            };
            shell.into_iter().chain([text.to_owned()]).collect()
        })
    }

    fn cmd(&mut self, rest: &str) -> Result<()> {
        self.config.cmd = self.command(rest);
        self.config.args_escaped = false;
        self.command_set |= !self.config.cmd.is_empty();
        Ok(())
    }

    fn entrypoint(&mut self, rest: &str) -> Result<()> {
        self.config.entrypoint = self.command(rest);
        // The old arguments were meant for another program.
        if !self.command_set {
            self.config.cmd.clear();
        }
        Ok(())
    }

    fn env(&mut self, rest: &str) -> Result<()> {
        for (name, value) in self.pairs(rest, "ENV")? {
            let entry = format!("{name}={value}");
            match self.config.env.iter_mut().find(|e| e.split_once('=').map_or(e.as_str(), |e| e.0) == name) {
                Some(old) => *old = entry,
                None => self.config.env.push(entry),
            }
        }
        Ok(())
    }

    fn label(&mut self, rest: &str) -> Result<()> {
        let pairs = self.pairs(rest, "LABEL")?;
        self.config.labels.extend(pairs);
        Ok(())
    }

    /// `name=value …`, or the old form `name value with spaces`. Values of one instruction see those of earlier ones only.
    fn pairs(&self, rest: &str, what: &str) -> Result<Vec<(String, String)>> {
        let words = words::split(rest);
        let raw: Vec<(&str, &str)> = match words.first() {
            Some(first) if !first.contains('=') => match rest.split_once(char::is_whitespace) {
                Some((name, value)) => vec![(name, value.trim())],
                None => return Err(Error::invalid(format!("{what} must have two arguments"))),
            },
            _ => words
                .iter()
                .map(|word| {
                    word.split_once('=').ok_or_else(|| {
                        Error::invalid(format!("can't find = in {word:?}: must be of the form name=value"))
                    })
                })
                .collect::<Result<_>>()?,
        };
        raw.into_iter()
            .map(|(name, value)| {
                let (name, value) = (self.expand(name)?, self.expand(value)?);
                match name.is_empty() || name.contains('\0') || value.contains('\0') {
                    true => {
                        Err(Error::invalid(format!("{what} names can not be blank, and nothing in it can hold a NUL")))
                    }
                    false => Ok((name, value)),
                }
            })
            .collect()
    }

    fn expose(&mut self, rest: &str) -> Result<()> {
        for word in words::split(rest) {
            for port in ports(&self.expand(&word)?)? {
                self.config.exposed_ports.insert(port, Empty {});
            }
        }
        Ok(())
    }

    fn healthcheck(&mut self, rest: &str) -> Result<()> {
        self.config.healthcheck = Some(health::parse(rest)?);
        Ok(())
    }

    fn onbuild(&mut self, rest: &str) -> Result<()> {
        let trigger = head(rest).0;
        if trigger.eq_ignore_ascii_case("ONBUILD") {
            return Err(Error::invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
        }
        if trigger.eq_ignore_ascii_case("FROM") || trigger.eq_ignore_ascii_case("MAINTAINER") {
            return Err(Error::invalid(format!("{} isn't allowed as an ONBUILD trigger", trigger.to_uppercase())));
        }
        self.config.on_build.push(rest.to_owned());
        Ok(())
    }

    fn stop_signal(&mut self, rest: &str) -> Result<()> {
        let signal = self.expand(rest)?;
        signal::parse(&signal)?;
        self.config.stop_signal = signal;
        Ok(())
    }

    fn user(&mut self, rest: &str) -> Result<()> {
        self.config.user = self.expand(rest)?;
        Ok(())
    }

    fn volume(&mut self, rest: &str) -> Result<()> {
        for word in json_words(rest).unwrap_or_else(|| words::split(rest)) {
            let path = self.expand(&word)?;
            if path.trim().is_empty() {
                return Err(Error::invalid("VOLUME specified can not be an empty string"));
            }
            self.config.volumes.insert(path.trim().to_owned(), Empty {});
        }
        Ok(())
    }

    fn workdir(&mut self, rest: &str) -> Result<()> {
        let path = self.expand(rest)?;
        self.config.working_dir = match path.starts_with('/') {
            true => clean(&path),
            false => clean(&format!("/{}/{path}", self.config.working_dir)),
        };
        Ok(())
    }
}

/// The words of `["a", "b"]`; none if it is not that, and then it is the other form.
fn json_words(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// `.` and `..` resolved in the text, as Go's `path.Clean` does.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `port[-port][/protocol]` as single ports, `80/tcp`.
fn ports(text: &str) -> Result<Vec<String>> {
    let bad = |what: &str| Error::invalid(format!("invalid port {text:?}: {what}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad("the protocol must be tcp, udp or sctp"));
    }
    if range.contains(':') {
        return Err(bad("an image has ports of its own only; they are published when it runs"));
    }
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| bad("a port is a number from 0 to 65535")),
        false => Err(bad("a port is a number from 0 to 65535")),
    };
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(range)?, number(range)?),
    };
    if from > to {
        return Err(bad("the range ends before it begins"));
    }
    Ok((from..=to).take(MAX_PORTS).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests;
