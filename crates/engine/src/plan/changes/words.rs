//! The words of Dockerfile instructions: lines, quotes, escapes, variables. No instruction is known here.
//!
//! Rules: Docker's Dockerfile reference, "Format", "Escape", "Environment replacement".

use dhow_types::{Error, Result};

/// How deep `${a:-${b:-…}}` may go.
const MAX_NESTING: usize = 32;
/// The most bytes that one word may grow to: each variable can hold what earlier ones held twice.
const MAX_WORD: usize = 1 << 20;

/// The instructions in `text`, each on one line: comments and empty lines are left out, lines that end with a
/// backslash go on in the next one.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun: Option<String> = None;
    for line in text.lines() {
        if line.trim_start().starts_with('#') || (begun.is_some() && line.trim().is_empty()) {
            continue;
        }
        let line = if begun.is_none() { line.trim_start() } else { line };
        let whole = begun.take().unwrap_or_default();
        match line.trim_end_matches([' ', '\t']).strip_suffix('\\') {
            Some(part) => begun = Some(whole + part),
            None => lines.push(whole + line),
        }
    }
    lines.extend(begun);
    lines.into_iter().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect()
}

/// Splits at white space outside of quotes; quotes and escapes stay in the words.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None | Some('"'), '\\') => {
                // An escape at the end stands for nothing.
                let Some(next) = chars.next() else { break };
                word.push(c);
                word.push(next);
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word without its quotes and escapes, its variables replaced by what `value` gives, or by nothing.
pub(super) fn expand(word: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let chars: Vec<char> = word.chars().collect();
    let mut at = Expansion { chars: &chars, at: 0, value, depth: 0, grown: 0 };
    at.until(None)
}

struct Expansion<'a> {
    chars: &'a [char],
    at: usize,
    value: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
    grown: usize,
}

impl Expansion<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }
    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Up to `stop`, which is left, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                return Ok(out);
            }
            self.at += 1;
            match c {
                '\'' => loop {
                    match self.next() {
                        Some('\'') => break,
                        Some(c) => out.push(c),
                        None => return Err(unfinished("matching single-quote")),
                    }
                },
                '"' => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                // At the end it stands for nothing.
                '\\' => out.extend(self.next()),
                c => out.push(c),
            }
            if out.len() > MAX_WORD {
                return Err(too_long());
            }
        }
        match stop {
            Some(stop) => Err(unfinished(&format!("'{stop}'"))),
            None => Ok(out),
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some('\\') => match self.next() {
                    None => return Err(unfinished("matching double-quote")),
                    Some(c @ ('"' | '$' | '\\')) => out.push(c),
                    Some(c) => out.extend(['\\', c]),
                },
                Some(c) => out.push(c),
                None => return Err(unfinished("matching double-quote")),
            }
        }
    }

    /// What stands behind a dollar.
    fn variable(&mut self) -> Result<String> {
        let value = if self.peek() == Some('{') { self.braced()? } else { self.plain() };
        self.grown += value.len();
        if self.grown > MAX_WORD { Err(too_long()) } else { Ok(value) }
    }

    fn plain(&mut self) -> String {
        match self.name() {
            name if name.is_empty() => "$".to_owned(),
            name => self.get(&name).unwrap_or_default(),
        }
    }

    fn braced(&mut self) -> Result<String> {
        self.at += 1;
        if matches!(self.peek(), None | Some('}' | ':')) {
            return Err(Error::invalid("bad substitution: a variable without a name"));
        }
        let name = self.name();
        let value = self.get(&name);
        let colon = self.peek() == Some(':');
        self.at += usize::from(colon);
        // With a colon an empty variable counts as one that is not set.
        let set = value.as_ref().is_some_and(|v| !colon || !v.is_empty());
        match self.next() {
            Some('}') if !colon => Ok(value.unwrap_or_default()),
            Some(modifier @ ('-' | '+' | '?')) => {
                if self.depth == MAX_NESTING {
                    return Err(Error::invalid("variables are nested too deep"));
                }
                self.depth += 1;
                let word = self.until(Some('}'))?;
                self.depth -= 1;
                self.at += 1;
                match (modifier, set) {
                    ('-', true) | ('?', true) => Ok(value.unwrap_or_default()),
                    ('-', false) | ('+', true) => Ok(word),
                    ('+', false) => Ok(String::new()),
                    _ if word.is_empty() => Err(Error::invalid(format!("{name}: not allowed to be unset"))),
                    _ => Err(Error::invalid(format!("{name}: {word}"))),
                }
            }
            Some(c) => Err(Error::invalid(format!("unsupported modifier ({c}) in substitution of {name}"))),
            None => Err(unfinished("'}'")),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let fits = c == '_' || if name.is_empty() { c.is_ascii_alphabetic() } else { c.is_ascii_alphanumeric() };
            // A digit or a sign is a name by itself; there are no parameters here, so it has no value.
            let special =
                name.is_empty() && (c.is_ascii_digit() || matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!'));
            if !fits && !special {
                break;
            }
            name.push(c);
            self.at += 1;
            if special {
                break;
            }
        }
        name
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.value)(name)
    }
}

fn unfinished(what: &str) -> Error {
    Error::invalid(format!("unexpected end of statement while looking for {what}"))
}

fn too_long() -> Error {
    Error::invalid(format!("a word grows to more than {MAX_WORD} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_and_comments_go() {
        for (text, want) in [
            ("ENV a=b", &["ENV a=b"][..]),
            ("ENV a=b\nCMD x\n", &["ENV a=b", "CMD x"]),
            ("ENV a=b \\\n  c=d", &["ENV a=b   c=d"]),
            ("# no\n  # neither\n ENV a=#b", &["ENV a=#b"]),
            ("ENV a=b \\\n# between\n\n c=d", &["ENV a=b  c=d"]),
            ("ENV a=b \\ \t\nc=d\\", &["ENV a=b c=d"]),
            ("\r\nENV a=b\r\n", &["ENV a=b"]),
            ("", &[]),
        ] {
            assert_eq!(lines(text), want, "{text:?}");
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        for (text, want) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            (r#"a="b c" d"#, &[r#"a="b c""#, "d"]),
            (r"a=b\ c d", &[r"a=b\ c", "d"]),
            (r#"a='x" y' b"#, &[r#"a='x" y'"#, "b"]),
            (r#"a="x\" y" b"#, &[r#"a="x\" y""#, "b"]),
            (r"a\", &["a"]),
            ("  ", &[]),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
    }

    #[test]
    fn quotes_escapes_and_variables() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (word, want) in [
            ("plain", "plain"),
            ("$A", "one"),
            ("x$A.y", "xone.y"),
            ("${A}B", "oneB"),
            ("$AB", ""),
            ("$", "$"),
            ("a$", "a$"),
            ("$/x", "$/x"),
            (r"\$A", "$A"),
            ("'$A'", "$A"),
            (r#""$A b""#, "one b"),
            (r#""\$A \" \\ \n""#, r#"$A " \ \n"#),
            (r"a\ b\c", "a bc"),
            ("${NO:-d}", "d"),
            ("${NO-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${A:-d}", "one"),
            ("${A:+d}", "d"),
            ("${NO:+d}", ""),
            ("${EMPTY+d}", "d"),
            ("${NO:-${A}x}", "onex"),
            ("${NO:-'}'}", "}"),
            ("${A?x}", "one"),
            ("$1$@", ""),
            ("é$A", "éone"),
        ] {
            assert_eq!(expand(word, &env).unwrap(), want, "{word}");
        }
        for bad in
            ["'x", "\"x", "\"x\\", "${A", "${A:", "${", "${}", "${:-x}", "${A:*x}", "${A%x}", "${NO:?}", "${NO?gone}"]
        {
            assert!(expand(bad, &env).is_err(), "{bad}");
        }
        let deep = "${N:-".repeat(100) + &"}".repeat(100);
        assert!(expand(&deep, &env).unwrap_err().text().contains("too deep"));
        let big = |_: &str| Some("x".repeat(600_000));
        assert!(expand("$A$B", &big).unwrap_err().text().contains("more than"));
    }
}
