//! A command's words, sorted into flags and the rest. Flags may stand before and after the container's id; `--flag
//! value`, `--flag=value`, one dash or two, as the Go programs that call runtimes write them.

use dhow_types::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// One flag that a command knows.
pub(crate) struct Flag {
    name: &'static str,
    short: &'static str,
    takes_value: bool,
}

impl Flag {
    pub(crate) const fn value(name: &'static str, short: &'static str) -> Self {
        Self { name, short, takes_value: true }
    }
    pub(crate) const fn switch(name: &'static str, short: &'static str) -> Self {
        Self { name, short, takes_value: false }
    }
}

/// A command line, sorted.
#[derive(Debug, Default)]
pub(crate) struct Line {
    flags: Vec<(&'static str, OsString)>,
    pub(crate) rest: Vec<OsString>,
}

impl Line {
    /// All words of a command: flags anywhere, until `--`.
    pub(crate) fn all(known: &[Flag], words: Vec<OsString>) -> Result<Self> {
        Self::parse(known, words, usize::MAX)
    }

    /// Flags up to the first other word, which begins the rest.
    pub(crate) fn until_command(known: &[Flag], words: Vec<OsString>) -> Result<Self> {
        Self::parse(known, words, 0)
    }

    /// Flags before and after the first other word (the id); the second one begins a command that is not ours.
    pub(crate) fn around_id(known: &[Flag], words: Vec<OsString>) -> Result<Self> {
        Self::parse(known, words, 1)
    }

    fn parse(known: &[Flag], words: Vec<OsString>, others: usize) -> Result<Self> {
        let mut line = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            if bytes == b"--" {
                line.rest.extend(words);
                break;
            }
            if !bytes.starts_with(b"-") || bytes == b"-" {
                let stop = line.rest.len() >= others;
                line.rest.push(word);
                if stop {
                    line.rest.extend(words);
                    break;
                }
                continue;
            }
            let body = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
            let (name, value) = match body.iter().position(|b| *b == b'=') {
                Some(at) => (&body[..at], Some(OsStr::from_bytes(&body[at + 1..]).to_owned())),
                None => (body, None),
            };
            let flag = known
                .iter()
                .find(|f| f.name.as_bytes() == name || (!f.short.is_empty() && f.short.as_bytes() == name))
                .ok_or_else(|| Error::invalid(format!("unknown flag {}", word.to_string_lossy())))?;
            let value = match (flag.takes_value, value) {
                (_, Some(value)) => value,
                (true, None) => {
                    words.next().ok_or_else(|| Error::invalid(format!("flag --{} needs a value", flag.name)))?
                }
                (false, None) => OsString::from("true"),
            };
            if !flag.takes_value && !matches!(value.as_bytes(), b"true" | b"false") {
                return Err(Error::invalid(format!("flag --{} is either true or false", flag.name)));
            }
            line.flags.push((flag.name, value));
        }
        Ok(line)
    }

    /// Whether a switch is on.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.last(name).is_some_and(|v| v != "false")
    }

    /// A value as a path; the last one given counts.
    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.last(name).map(Path::new)
    }

    /// A value as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.last(name) {
            None => Ok(None),
            Some(value) => value
                .to_str()
                .map(Some)
                .ok_or_else(|| Error::invalid(format!("flag --{name}: the value is not valid UTF-8"))),
        }
    }

    /// All values of a flag that may be given several times.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>> {
        self.flags.iter().filter(|(n, _)| *n == name).map(|(_, v)| text(v)).collect()
    }

    /// A value as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Error::invalid(format!("flag --{name}: {text:?} is not a number that fits"))),
        }
    }

    /// The container's id, the only word that may remain.
    pub(crate) fn only_id(&self) -> Result<String> {
        match self.rest.as_slice() {
            [id] => text(id),
            [] => Err(Error::invalid("the container's id is missing")),
            [_, extra, ..] => Err(Error::invalid(format!("unexpected argument {:?}", extra.to_string_lossy()))),
        }
    }

    fn last(&self, name: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| v.as_os_str())
    }
}

/// A word as text.
pub(crate) fn text(word: &OsStr) -> Result<String> {
    String::from_utf8(word.to_owned().into_vec())
        .map_err(|_| Error::invalid(format!("argument {:?} is not valid UTF-8", word.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Flag] = &[Flag::value("bundle", "b"), Flag::switch("detach", "d"), Flag::value("env", "e")];

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn flags_stand_before_and_after_the_id() {
        for given in ["--bundle /b -d id", "id -b /b --detach", "-b=/b id --detach=true", "--detach id -bundle /b"] {
            let line = Line::all(KNOWN, words(given)).unwrap();
            assert_eq!(line.only_id().unwrap(), "id", "{given}");
            assert_eq!(line.path("bundle"), Some(Path::new("/b")), "{given}");
            assert!(line.has("detach"), "{given}");
        }
    }

    #[test]
    fn a_programs_own_flags_are_left_alone() {
        let line = Line::around_id(KNOWN, words("-d id -e A=1 sh -c -d")).unwrap();
        assert_eq!(line.rest, words("id sh -c -d"));
        assert_eq!(line.texts("env").unwrap(), ["A=1"]);
        let line = Line::around_id(KNOWN, words("id -- -x")).unwrap();
        assert_eq!(line.rest, words("id -x"));
        assert_eq!(Line::until_command(KNOWN, words("-d run --x")).unwrap().rest, words("run --x"));
    }

    #[test]
    fn mistakes_are_named() {
        for (given, names) in
            [("--nope id", "--nope"), ("id --bundle", "--bundle"), ("--detach=maybe id", "detach"), ("a b", "\"b\"")]
        {
            let e = Line::all(KNOWN, words(given)).and_then(|l| l.only_id()).unwrap_err();
            assert!(e.text().contains(names), "{e}");
        }
        assert!(!Line::all(KNOWN, words("id --detach=false")).unwrap().has("detach"));
    }
}
