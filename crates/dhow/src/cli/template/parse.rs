//! Tokens to the syntax tree. What is wrong is said in the words of Go's parser, which people look up.

use super::functions;
use super::lex::{Kind, Token, tokens};
use super::printf::quoted;
use super::tree::{Branch, List, Node, Operand, Pipe, What};
use super::value::V;
use std::collections::BTreeMap;

/// Templates nested deeper than this are refused.
const MAX_DEPTH: usize = 200;

/// A template and those that it defines.
#[derive(Debug, Default)]
pub struct Tree {
    pub root: List,
    pub named: BTreeMap<String, List>,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Ending {
    End,
    Else,
    /// `else if` or `else with`, whose word comes next.
    ElseThen,
}

impl Ending {
    fn shown(&self) -> &'static str {
        if *self == Self::End { "{{end}}" } else { "{{else}}" }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    variables: Vec<String>,
    named: BTreeMap<String, List>,
    ranges: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

/// Parses a template.
pub fn parse(text: &str) -> Parsed<Tree> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
        variables: vec!["$".to_owned()],
        named: BTreeMap::new(),
        ranges: 0,
        depth: 0,
    };
    let mut root = List::new();
    loop {
        let token = parser.peek();
        match token.kind {
            Kind::End => return Ok(Tree { root, named: parser.named }),
            Kind::Open if parser.is_define() => parser.define()?,
            _ => match parser.node()? {
                Ok(node) => root.push(node),
                Err(ending) => return parser.fail(format!("unexpected {}", ending.shown())),
            },
        }
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        // The last token is the end or an error, and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) -> &Token {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
        self.peek()
    }

    fn next_word(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn fail<T>(&self, text: String) -> Parsed<T> {
        let token = &self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)];
        Err(format!("template: :{}: {text}", token.line))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        match token.kind {
            Kind::Error => Err(format!("template: :{}: {}", token.line, token.text)),
            _ => Err(format!("template: :{}: unexpected {} in {context}", token.line, token.shown())),
        }
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn is_define(&self) -> bool {
        let mut ahead = self.tokens[self.at + 1..].iter().filter(|t| t.kind != Kind::Space);
        ahead.next().is_some_and(|t| t.kind == Kind::Keyword && t.text == "define")
    }

    fn define(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        self.next();
        self.next_word();
        let name = self.name(CONTEXT)?;
        self.expect(Kind::Close, CONTEXT)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (body, ending) = self.list()?;
        self.variables = outer;
        if ending != Ending::End {
            return self.fail(format!("unexpected {} in {CONTEXT}", ending.shown()));
        }
        self.keep(name, body)
    }

    /// A later definition takes the place of an empty one alone.
    fn keep(&mut self, name: String, body: List) -> Parsed<()> {
        let empty = |list: &List| list.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
        match self.named.get(&name) {
            Some(before) if !empty(before) && !empty(&body) => {
                self.fail(format!("template: multiple definition of template {}", quoted(&name)))
            }
            Some(before) if !empty(before) => Ok(()),
            _ => {
                self.named.insert(name, body);
                Ok(())
            }
        }
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        let token = self.next_word();
        match token.kind {
            Kind::Quoted | Kind::Raw => self.unquoted(&token),
            _ => self.unexpected(&token, context),
        }
    }

    /// Nodes up to `end` or `else`.
    fn list(&mut self) -> Parsed<(List, Ending)> {
        let mut list = List::new();
        while self.skip_space().kind != Kind::End {
            match self.node()? {
                Ok(node) => list.push(node),
                Err(ending) => return Ok((list, ending)),
            }
        }
        self.at += 1;
        self.fail("unexpected EOF".to_owned())
    }

    fn node(&mut self) -> Parsed<Result<Node, Ending>> {
        let token = self.next_word();
        match token.kind {
            Kind::Text => Ok(Ok(Node::Text(token.text))),
            Kind::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.fail(format!("nested deeper than {MAX_DEPTH}"));
                }
                let node = self.action();
                self.depth -= 1;
                node
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Result<Node, Ending>> {
        let token = self.skip_space().clone();
        if token.kind != Kind::Keyword {
            return Ok(Ok(Node::Action(self.pipe("command", Kind::Close)?)));
        }
        self.next();
        Ok(Ok(match token.text.as_str() {
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => Node::Range(self.branch("range")?),
            "end" => {
                self.expect(Kind::Close, "end")?;
                return Ok(Err(Ending::End));
            }
            "else" => {
                let then = self.skip_space();
                if then.kind == Kind::Keyword && matches!(then.text.as_str(), "if" | "with") {
                    return Ok(Err(Ending::ElseThen));
                }
                self.expect(Kind::Close, "else")?;
                return Ok(Err(Ending::Else));
            }
            "template" => {
                const CONTEXT: &str = "template clause";
                let at = self.skip_space().at;
                let name = self.name(CONTEXT)?;
                let pipe = match self.skip_space().kind {
                    Kind::Close => {
                        self.next();
                        None
                    }
                    _ => Some(self.pipe(CONTEXT, Kind::Close)?),
                };
                Node::Template(at, name, pipe)
            }
            "block" => {
                const CONTEXT: &str = "block clause";
                let at = self.skip_space().at;
                let name = self.name(CONTEXT)?;
                let pipe = self.pipe(CONTEXT, Kind::Close)?;
                let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
                let (body, ending) = self.list()?;
                self.variables = outer;
                if ending != Ending::End {
                    return self.fail(format!("unexpected {} in {CONTEXT}", ending.shown()));
                }
                self.keep(name.clone(), body)?;
                Node::Template(at, name, Some(pipe))
            }
            word @ ("break" | "continue") => {
                let context = format!("{{{{{word}}}}}");
                self.expect(Kind::Close, &context)?;
                if self.ranges == 0 {
                    return self.fail(format!("{context} outside {{{{range}}}}"));
                }
                if word == "break" { Node::Break } else { Node::Continue }
            }
            _ => return self.unexpected(&token, "command"),
        }))
    }

    fn branch(&mut self, context: &str) -> Parsed<Branch> {
        let mark = self.variables.len();
        let pipe = self.pipe(context, Kind::Close)?;
        self.ranges += usize::from(context == "range");
        let (body, ending) = self.list()?;
        self.ranges -= usize::from(context == "range");
        let otherwise = match ending {
            Ending::End => None,
            Ending::ElseThen if context != "range" && self.peek().text == context => {
                self.next();
                // Its `end` is the end of this one, too.
                let inner = self.branch(context)?;
                Some(vec![if context == "if" { Node::If(inner) } else { Node::With(inner) }])
            }
            Ending::ElseThen => {
                let token = self.next();
                return self.unexpected(&token, "else");
            }
            Ending::Else => {
                let (otherwise, ending) = self.list()?;
                if ending != Ending::End {
                    return self.fail(format!("expected end; found {}", ending.shown()));
                }
                Some(otherwise)
            }
        };
        self.variables.truncate(mark);
        Ok(Branch { pipe, body, otherwise })
    }

    fn pipe(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        let at = self.skip_space().at;
        let (names, assigns) = self.targets(context)?;
        let mut commands: Vec<Vec<Operand>> = Vec::new();
        loop {
            let token = self.skip_space().clone();
            match token.kind {
                kind if kind == end => {
                    self.next();
                    break;
                }
                Kind::Bool
                | Kind::Character
                | Kind::Dot
                | Kind::Field
                | Kind::Word
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => commands.push(self.command()?),
                _ => {
                    self.next();
                    return self.unexpected(&token, context);
                }
            }
        }
        if commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (n, command) in commands.iter().enumerate().skip(1) {
            if matches!(command[0].what, What::Bool(_) | What::Dot | What::Nil | What::Number(..) | What::Text(..)) {
                return self.fail(format!("non executable command in pipeline stage {}", n + 1));
            }
        }
        Ok(Pipe { at, names, assigns, commands })
    }

    /// The variables before `:=` or `=`.
    fn targets(&mut self, context: &str) -> Parsed<(Vec<String>, bool)> {
        let mut names = Vec::new();
        loop {
            let start = self.at;
            if self.skip_space().kind != Kind::Variable {
                if !names.is_empty() {
                    self.next();
                    return self.fail("range can only initialize variables".to_owned());
                }
                return Ok((names, false));
            }
            let name = self.next().text;
            let next = self.skip_space().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next();
                    self.variables.push(name.clone());
                    names.push(name);
                    return Ok((names, next.kind == Kind::Assign));
                }
                Kind::Char if next.text == "," => {
                    self.next();
                    self.variables.push(name.clone());
                    names.push(name);
                    if context != "range" || names.len() > 1 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                }
                _ => {
                    self.at = start;
                    return Ok((names, false));
                }
            }
        }
    }

    fn command(&mut self) -> Parsed<Vec<Operand>> {
        let mut words = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                words.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::Close | Kind::RightParen => {
                    self.at -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if words.is_empty() { self.fail("empty command".to_owned()) } else { Ok(words) }
    }

    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        let what = match term.what {
            What::Field(mut first) => {
                first.append(&mut names);
                What::Field(first)
            }
            What::Variable(name, mut first) => {
                first.append(&mut names);
                What::Variable(name, first)
            }
            What::Bool(_) | What::Text(..) | What::Number(..) | What::Nil | What::Dot => {
                return self.fail(format!("unexpected . after term {}", quoted(&term.to_string())));
            }
            _ => What::Chain(Box::new(term), names),
        };
        Ok(Some(Operand { at, what }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.skip_space().clone();
        let what = match token.kind {
            Kind::Word if functions::exists(&token.text) => What::Function(token.text.clone()),
            Kind::Word => {
                self.next();
                return self.fail(format!("function {} not defined", quoted(&token.text)));
            }
            Kind::Dot => What::Dot,
            Kind::Nil => What::Nil,
            Kind::Variable if self.variables.contains(&token.text) => What::Variable(token.text.clone(), Vec::new()),
            Kind::Variable => {
                self.next();
                return self.fail(format!("undefined variable {}", quoted(&token.text)));
            }
            Kind::Field => What::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => What::Bool(token.text == "true"),
            Kind::Number => match number(&token.text) {
                Some(value) => What::Number(value, token.text.clone()),
                None => {
                    self.next();
                    return self.fail(format!("bad number syntax: {}", quoted(&token.text)));
                }
            },
            Kind::Character => match unquote(&token.text).map(|t| (t.chars().count(), t.chars().next())) {
                Some((1, Some(c))) => What::Number(V::Int(u32::from(c).into()), token.text.clone()),
                _ => {
                    self.next();
                    return self.fail(format!("malformed character constant: {}", token.text));
                }
            },
            Kind::Quoted | Kind::Raw => What::Text(self.unquoted(&token)?, token.text.clone()),
            Kind::LeftParen => {
                self.next();
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.fail(format!("nested deeper than {MAX_DEPTH}"));
                }
                let pipe = self.pipe("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                return Ok(Some(Operand { at: token.at, what: What::Group(pipe) }));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Operand { at: token.at, what }))
    }

    fn unquoted(&self, token: &Token) -> Parsed<String> {
        unquote(&token.text).map_or_else(|| self.fail("invalid syntax".to_owned()), Ok)
    }
}

fn number(text: &str) -> Option<V> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let based = |digits: &str, radix| i128::from_str_radix(digits, radix).ok().map(|n| V::Int(sign * n));
    match lower.get(..2) {
        Some("0x") => return based(&lower[2..], 16),
        Some("0o") => return based(&lower[2..], 8),
        Some("0b") => return based(&lower[2..], 2),
        _ => {}
    }
    if lower.contains(['.', 'e']) {
        return lower.parse::<f64>().ok().map(|f| V::Float(f * if sign < 0 { -1.0 } else { 1.0 }));
    }
    match lower.len() > 1 && lower.starts_with('0') {
        true => based(&lower, 8),
        false => lower.parse::<i64>().ok().map(|n| V::Int(sign * i128::from(n))),
    }
}

/// What a quoted text of Go means; nothing if it is malformed.
fn unquote(text: &str) -> Option<String> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if text.starts_with('`') {
        return Some(inner.replace('\r', ""));
    }
    let mut out: Vec<u8> = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().bytes());
            continue;
        }
        let kind = chars.next()?;
        let (digits, radix) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '\'' | '"' => {
                let at = "abfnrtv\\'\"".find(kind)?;
                out.push(b"\x07\x08\x0c\n\r\t\x0b\\'\""[at]);
                continue;
            }
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (2, 8),
            _ => return None,
        };
        let mut code: String = chars.by_ref().take(digits).collect();
        if code.chars().count() != digits {
            return None;
        }
        if radix == 8 {
            code.insert(0, kind);
        }
        let value = u32::from_str_radix(&code, radix).ok()?;
        match kind {
            'u' | 'U' => out.extend(char::from_u32(value)?.to_string().bytes()),
            _ => out.push(u8::try_from(value).ok()?),
        }
    }
    // A text is UTF-8 here; what single bytes break is replaced.
    Some(String::from_utf8_lossy(&out).into_owned())
}
