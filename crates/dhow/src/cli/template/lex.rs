//! Text to tokens, by Go's rules. A word that is none is a token that says so, for the parser to stumble on.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Error,
    Text,
    Open,
    Close,
    LeftParen,
    RightParen,
    Pipe,
    Space,
    Assign,
    Declare,
    /// A printable character that means nothing by itself, as the comma of `range $a, $b`.
    Char,
    Bool,
    Number,
    Character,
    Quoted,
    Raw,
    /// `.Name`
    Field,
    /// `$name`
    Variable,
    /// A function.
    Word,
    Dot,
    Nil,
    /// `if`, `end` and their like.
    Keyword,
    End,
}

/// A token, and where it begins.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub at: usize,
    pub line: usize,
    pub text: String,
}

impl Token {
    /// As errors quote it.
    pub fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Keyword | Kind::Dot | Kind::Nil => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                format!("{}...", super::printf::quoted(&self.text.chars().take(10).collect::<String>()))
            }
            _ => super::printf::quoted(&self.text),
        }
    }
}

const KEYWORDS: &[&str] = &["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    out: Vec<Token>,
    depth: usize,
}

/// All tokens; the last is the end, or an error.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, out: Vec::new(), depth: 0 };
    if lexer.run().is_none() {
        // The error stands at the end of the list already.
        return lexer.out;
    }
    lexer.put(Kind::End, text.len(), text.len());
    lexer.out
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn put(&mut self, kind: Kind, from: usize, to: usize) {
        let line = 1 + self.text[..from].matches('\n').count();
        self.out.push(Token { kind, at: from, line, text: self.text[from..to].to_owned() });
    }

    fn wrong(&mut self, from: usize, text: impl Into<String>) -> Option<()> {
        let line = 1 + self.text[..self.at.min(self.text.len())].matches('\n').count();
        self.out.push(Token { kind: Kind::Error, at: from, line, text: text.into() });
        None
    }

    fn run(&mut self) -> Option<()> {
        let mut trim = false;
        loop {
            let from = self.at;
            let Some(open) = self.rest().find("{{") else {
                let text = self.rest();
                let skipped = if trim { text.len() - text.trim_start_matches(space).len() } else { 0 };
                if skipped < text.len() {
                    self.put(Kind::Text, from + skipped, self.text.len());
                }
                return Some(());
            };
            let mut text = &self.rest()[..open];
            let mut start = from;
            if trim {
                let kept = text.trim_start_matches(space);
                start += text.len() - kept.len();
                text = kept;
            }
            let inner = &self.rest()[open + 2..];
            let trims = inner.starts_with('-') && inner[1..].starts_with(space);
            if trims {
                text = text.trim_end_matches(space);
            }
            if !text.is_empty() {
                self.put(Kind::Text, start, start + text.len());
            }
            let delimiter = from + open;
            self.at = delimiter + 2 + if trims { 2 } else { 0 };
            if self.rest().starts_with("/*") {
                trim = self.comment(delimiter)?;
                continue;
            }
            self.put(Kind::Open, delimiter, delimiter + 2);
            self.depth = 0;
            trim = self.action()?;
        }
    }

    /// Skips a comment; says whether the text behind it is trimmed.
    fn comment(&mut self, from: usize) -> Option<bool> {
        let Some(end) = self.rest().find("*/") else { return self.wrong(from, "unclosed comment").map(|()| false) };
        self.at += end + 2;
        let rest = self.rest();
        let trims = rest.starts_with(space) && rest[1..].starts_with("-}}");
        if trims {
            self.at += 4;
        } else if rest.starts_with("}}") {
            self.at += 2;
        } else {
            return self.wrong(from, "comment ends before closing delimiter").map(|()| false);
        }
        Some(trims)
    }

    /// The tokens up to the closing braces; says whether the text behind them is trimmed.
    fn action(&mut self) -> Option<bool> {
        loop {
            let rest = self.rest();
            let trims = rest.starts_with(space) && rest[1..].starts_with("-}}");
            if trims || rest.starts_with("}}") {
                if self.depth > 0 {
                    return self.wrong(self.at, "unclosed left paren").map(|()| false);
                }
                let brace = self.at + if trims { 2 } else { 0 };
                self.put(Kind::Close, brace, brace + 2);
                self.at = brace + 2;
                return Some(trims);
            }
            self.token()?;
        }
    }

    fn token(&mut self) -> Option<()> {
        let from = self.at;
        let Some(c) = self.peek() else { return self.wrong(from, "unclosed action") };
        self.at += c.len_utf8();
        let one = |kind| Some((kind, from));
        let found = match c {
            _ if space(c) => {
                // A space before a trim marker belongs to the marker.
                while self.peek().is_some_and(space) && !self.rest()[1..].starts_with("-}}") {
                    self.at += 1;
                }
                one(Kind::Space)
            }
            '=' => one(Kind::Assign),
            ':' if self.peek() == Some('=') => {
                self.at += 1;
                one(Kind::Declare)
            }
            ':' => return self.wrong(from, "expected :="),
            '|' => one(Kind::Pipe),
            '(' => {
                self.depth += 1;
                one(Kind::LeftParen)
            }
            ')' if self.depth == 0 => return self.wrong(from, "unexpected right paren"),
            ')' => {
                self.depth -= 1;
                one(Kind::RightParen)
            }
            '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Character, "unterminated character constant")?,
            '`' => {
                let Some(end) = self.rest().find('`') else {
                    return self.wrong(from, "unterminated raw quoted string");
                };
                self.at += end + 1;
                one(Kind::Raw)
            }
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.name(Kind::Field, Kind::Dot, from)?,
            '$' => self.name(Kind::Variable, Kind::Variable, from)?,
            '+' | '-' | '.' | '0'..='9' => {
                self.at = from;
                self.number(from)?
            }
            _ if word(c) => {
                while self.peek().is_some_and(word) {
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                self.terminated(from)?;
                let name = &self.text[from..self.at];
                one(match name {
                    "nil" => Kind::Nil,
                    "true" | "false" => Kind::Bool,
                    _ if KEYWORDS.contains(&name) => Kind::Keyword,
                    _ => Kind::Word,
                })
            }
            _ if c.is_ascii_graphic() => one(Kind::Char),
            _ => return self.wrong(from, format!("unrecognized character in action: {}", unicode(c))),
        };
        let (kind, from) = found?;
        self.put(kind, from, self.at);
        Some(())
    }

    fn quoted(&mut self, quote: char, kind: Kind, open: &str) -> Option<Option<(Kind, usize)>> {
        let from = self.at - 1;
        loop {
            let c = self.peek();
            self.at += c.map_or(0, char::len_utf8);
            match c {
                Some('\\') => match self.peek() {
                    Some(escaped) if escaped != '\n' => self.at += escaped.len_utf8(),
                    _ => return self.wrong(from, open).map(|()| None),
                },
                None | Some('\n') => return self.wrong(from, open).map(|()| None),
                Some(c) if c == quote => return Some(Some((kind, from))),
                Some(_) => {}
            }
        }
    }

    /// A field or a variable; `alone` where no name follows.
    fn name(&mut self, kind: Kind, alone: Kind, from: usize) -> Option<Option<(Kind, usize)>> {
        if self.ends_here() {
            return Some(Some((alone, from)));
        }
        while self.peek().is_some_and(word) {
            self.at += self.peek().map_or(0, char::len_utf8);
        }
        self.terminated(from)?;
        Some(Some((kind, from)))
    }

    fn number(&mut self, from: usize) -> Option<Option<(Kind, usize)>> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with(['+', '-']));
        let body = &rest[sign..];
        let radix = match body.as_bytes() {
            [b'0', b'x' | b'X', ..] => "0123456789abcdefABCDEF_",
            [b'0', b'o' | b'O', ..] => "01234567_",
            [b'0', b'b' | b'B', ..] => "01_",
            _ => "",
        };
        let mut end = if radix.is_empty() {
            let mut end = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').len();
            if body[end..].starts_with('.') {
                let tail = &body[end + 1..];
                end += 1 + tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').len();
            }
            if body[end..].starts_with(['e', 'E']) {
                end += 1 + usize::from(body[end + 1..].starts_with(['+', '-']));
                end += body[end..].len() - body[end..].trim_start_matches(|c: char| c.is_ascii_digit()).len();
            }
            end
        } else {
            2 + body[2..].len() - body[2..].trim_start_matches(|c: char| radix.contains(c)).len()
        };
        end += sign;
        self.at = from + end;
        if let Some(next) = self.peek().filter(|c| word(*c)) {
            self.at += next.len_utf8();
            let text = super::printf::quoted(&self.text[from..self.at]);
            return self.wrong(from, format!("bad number syntax: {text}")).map(|()| None);
        }
        Some(Some((Kind::Number, from)))
    }

    /// A name must end before something that can follow one.
    fn terminated(&mut self, from: usize) -> Option<()> {
        if self.ends_here() {
            return Some(());
        }
        let c = self.peek().unwrap_or_default();
        self.wrong(from, format!("bad character {}", unicode(c)))
    }

    fn ends_here(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => space(c) || self.rest().starts_with("}}"),
        }
    }
}

fn space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A character as Go's `%#U` shows it.
fn unicode(c: char) -> String {
    let code = u32::from(c);
    if c.is_control() { format!("U+{code:04X}") } else { format!("U+{code:04X} '{c}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_apart() {
        let all = |text: &str| {
            tokens(text)
                .iter()
                .filter(|t| t.kind != Kind::Space)
                .map(|t| format!("{:?} {}", t.kind, t.text))
                .collect::<Vec<_>>()
                .join(", ")
        };
        for (text, want) in [
            ("a {{- .B -}} c", "Text a, Open {{, Field .B, Close }}, Text c, End "),
            ("{{.A.B}}", "Open {{, Field .A, Field .B, Close }}, End "),
            ("{{$x := 1}}", "Open {{, Variable $x, Declare :=, Number 1, Close }}, End "),
            ("{{/* c */ -}} x", "Text x, End "),
            ("{{. | f -1.5e3}}", "Open {{, Dot ., Pipe |, Word f, Number -1.5e3, Close }}, End "),
            ("{{if \"a}}\" `b`}}", "Open {{, Keyword if, Quoted \"a}}\", Raw `b`, Close }}, End "),
            (
                "{{range $a, $b := .}}",
                "Open {{, Keyword range, Variable $a, Char ,, Variable $b, Declare :=, Dot ., Close }}, End ",
            ),
            ("{{.X}", "Open {{, Error bad character U+007D '}'"),
            ("{{.X", "Open {{, Field .X, Error unclosed action"),
            ("{{(.X}}", "Open {{, LeftParen (, Field .X, Error unclosed left paren"),
            ("{{.X)}}", "Open {{, Field .X, Error unexpected right paren"),
            ("{{\"x}}", "Open {{, Error unterminated quoted string"),
            ("{{12a}}", "Open {{, Error bad number syntax: \"12a\""),
            ("{{/* x", "Error unclosed comment"),
            ("{{a-b}}", "Open {{, Error bad character U+002D '-'"),
        ] {
            assert_eq!(all(text), want, "{text}");
        }
    }
}
