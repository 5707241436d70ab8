//! Text to syntax tree.

use anyhow::{Result, bail};
use serde_json::Value;

/// Templates deeper than this are refused.
const MAX_DEPTH: usize = 64;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Expr),
    Assign(String, Expr),
    If(Vec<(Expr, Vec<Node>)>, Vec<Node>),
    Range { key: Option<String>, item: Option<String>, over: Expr, body: Vec<Node>, otherwise: Vec<Node> },
    With(Expr, Vec<Node>, Vec<Node>),
}

/// A pipeline: each later command gets the value of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Expr(pub Vec<Command>);

#[derive(Debug)]
pub(super) struct Command(pub Vec<Operand>);

#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value),
    Function(String),
    /// The current value (`.`), then fields.
    Dot(Vec<String>),
    /// `$name` (empty: the whole document), then fields.
    Variable(String, Vec<String>),
    Group(Box<Expr>, Vec<String>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut pieces = pieces(text)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        None => Ok(nodes),
        Some(word) => bail!("template: unexpected {{{{{word}}}}}"),
    }
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Action(String),
}

/// Splits text from actions and carries the trim markers out.
fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut out: Vec<Piece> = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(at) = rest.find("{{") {
        let mut before = &rest[..at];
        if trim_next {
            before = before.trim_start();
        }
        let after = &rest[at + 2..];
        let Some(end) = action_end(after)? else { bail!("template: unclosed action in {text:?}: add }}}}") };
        let mut action = &after[..end];
        if let Some(inner) = action.strip_prefix('-').filter(|i| i.starts_with(char::is_whitespace)) {
            before = before.trim_end();
            action = inner;
        }
        trim_next = false;
        if let Some(inner) = action.strip_suffix('-').filter(|i| i.ends_with(char::is_whitespace)) {
            trim_next = true;
            action = inner;
        }
        out.push(Piece::Text(before.to_owned()));
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            out.push(Piece::Action(action.to_owned()));
        }
        rest = &after[end + 2..];
    }
    out.push(Piece::Text(if trim_next { rest.trim_start() } else { rest }.to_owned()));
    Ok(out)
}

/// Where `}}` stands outside of quotes.
fn action_end(text: &str) -> Result<Option<usize>> {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => {
                chars.next();
            }
            (Some(q), c) if q == c => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, '}') if text[at..].starts_with("}}") => return Ok(Some(at)),
            _ => {}
        }
    }
    if quote.is_some() {
        bail!("template: unterminated quoted string in {text:?}");
    }
    Ok(None)
}

/// Nodes until the word that ends the block (`end`, `else`, `else if …`), or the end of the template.
fn block(pieces: &mut std::vec::IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, Option<String>)> {
    if depth > MAX_DEPTH {
        bail!("template: nested deeper than {MAX_DEPTH}");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(action))),
            "if" => nodes.push(if_node(pieces, rest, depth)?),
            "range" => nodes.push(range_node(pieces, rest, depth)?),
            "with" => {
                let over = expr(rest)?;
                let (body, otherwise) = body_and_else(pieces, "with", depth)?;
                nodes.push(Node::With(over, body, otherwise));
            }
            "template" | "define" | "block" | "break" | "continue" => {
                bail!("template: {{{{{word}}}}} is not part of what --format understands")
            }
            _ => nodes.push(match action.strip_prefix('$').and_then(|a| a.split_once(":=")) {
                Some((name, value)) => Node::Assign(name.trim().to_owned(), expr(value)?),
                None => Node::Print(expr(&action)?),
            }),
        }
    }
    Ok((nodes, None))
}

fn if_node(pieces: &mut std::vec::IntoIter<Piece>, condition: &str, depth: usize) -> Result<Node> {
    let mut branches = Vec::new();
    let mut condition = expr(condition)?;
    loop {
        let (body, end) = block(pieces, depth + 1)?;
        branches.push((condition, body));
        match end.as_deref() {
            Some("end") => return Ok(Node::If(branches, Vec::new())),
            Some("else") => {
                let (otherwise, end) = block(pieces, depth + 1)?;
                if end.as_deref() != Some("end") {
                    bail!("template: {{{{if}}}}: missing {{{{end}}}}");
                }
                return Ok(Node::If(branches, otherwise));
            }
            Some(other) if other.starts_with("else if ") => condition = expr(&other["else if ".len()..])?,
            _ => bail!("template: {{{{if}}}}: missing {{{{end}}}}"),
        }
    }
}

fn range_node(pieces: &mut std::vec::IntoIter<Piece>, head: &str, depth: usize) -> Result<Node> {
    let (names, over) = head.split_once(":=").map_or((None, head), |(n, o)| (Some(n), o));
    let mut names: Vec<String> =
        names.into_iter().flat_map(|n| n.split(',')).map(|n| n.trim().trim_start_matches('$').to_owned()).collect();
    let (key, item) = match names.len() {
        0 | 1 => (None, names.pop()),
        2 => (Some(names.swap_remove(0)), names.pop()),
        _ => bail!("template: range takes at most two variables"),
    };
    let over = expr(over)?;
    let (body, otherwise) = body_and_else(pieces, "range", depth)?;
    Ok(Node::Range { key, item, over, body, otherwise })
}

fn body_and_else(pieces: &mut std::vec::IntoIter<Piece>, what: &str, depth: usize) -> Result<(Vec<Node>, Vec<Node>)> {
    let (body, end) = block(pieces, depth + 1)?;
    match end.as_deref() {
        Some("end") => Ok((body, Vec::new())),
        Some("else") => match block(pieces, depth + 1)? {
            (otherwise, Some(end)) if end == "end" => Ok((body, otherwise)),
            _ => bail!("template: {{{{{what}}}}}: missing {{{{end}}}}"),
        },
        _ => bail!("template: {{{{{what}}}}}: missing {{{{end}}}}"),
    }
}

fn expr(text: &str) -> Result<Expr> {
    let tokens = tokens(text)?;
    let mut at = 0;
    let parsed = pipeline(&tokens, &mut at, 0)?;
    if at != tokens.len() {
        bail!("template: unexpected \")\" in {text:?}");
    }
    Ok(parsed)
}

#[derive(Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Pipe,
    Quoted(String),
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(at, c)) = chars.peek() {
        match c {
            c if c.is_whitespace() => {
                chars.next();
            }
            '(' | '|' => {
                chars.next();
                out.push(if c == '(' { Token::Open } else { Token::Pipe });
            }
            ')' => {
                chars.next();
                out.push(Token::Close);
                // fields directly behind a group: (…).Name
                if text[at + 1..].starts_with('.') {
                    out.push(Token::Word(word(text, &mut chars)));
                }
            }
            '"' | '`' => {
                chars.next();
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => bail!("template: unterminated quoted string in {text:?}"),
                        Some((_, q)) if q == c => break,
                        Some((_, '\\')) if c == '"' => match chars.next() {
                            Some((_, 'n')) => value.push('\n'),
                            Some((_, 't')) => value.push('\t'),
                            Some((_, other)) => value.push(other),
                            None => bail!("template: unterminated quoted string in {text:?}"),
                        },
                        Some((_, other)) => value.push(other),
                    }
                }
                out.push(Token::Quoted(value));
            }
            _ => out.push(Token::Word(word(text, &mut chars))),
        }
    }
    Ok(out)
}

fn word(text: &str, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> String {
    let start = chars.peek().map_or(text.len(), |&(at, _)| at);
    while chars.next_if(|&(_, c)| !c.is_whitespace() && !matches!(c, '(' | ')' | '|' | '"' | '`')).is_some() {}
    text[start..chars.peek().map_or(text.len(), |&(at, _)| at)].to_owned()
}

fn pipeline(tokens: &[Token], at: &mut usize, depth: usize) -> Result<Expr> {
    if depth > MAX_DEPTH {
        bail!("template: nested deeper than {MAX_DEPTH}");
    }
    let mut commands = vec![Command(Vec::new())];
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        let last = commands.len() - 1;
        let operands = &mut commands[last].0;
        match token {
            Token::Close => {
                *at -= 1;
                break;
            }
            Token::Pipe => commands.push(Command(Vec::new())),
            Token::Quoted(text) => operands.push(Operand::Literal(Value::String(text.clone()))),
            Token::Open => {
                let inner = pipeline(tokens, at, depth + 1)?;
                if tokens.get(*at) != Some(&Token::Close) {
                    bail!("template: unclosed left parenthesis");
                }
                *at += 1;
                let fields = match tokens.get(*at) {
                    Some(Token::Word(word)) if word.starts_with('.') => {
                        *at += 1;
                        fields(word)
                    }
                    _ => Vec::new(),
                };
                operands.push(Operand::Group(Box::new(inner), fields));
            }
            Token::Word(word) => operands.push(operand(word)?),
        }
    }
    if commands.iter().any(|c| c.0.is_empty()) {
        bail!("template: missing value for command");
    }
    Ok(Expr(commands))
}

fn operand(word: &str) -> Result<Operand> {
    Ok(match word {
        "true" => Operand::Literal(Value::Bool(true)),
        "false" => Operand::Literal(Value::Bool(false)),
        "nil" => Operand::Literal(Value::Null),
        _ if word.starts_with('.') => Operand::Dot(fields(word)),
        _ if word.starts_with('$') => {
            let (name, rest) = word[1..].split_at(word[1..].find('.').unwrap_or(word.len() - 1));
            Operand::Variable(name.to_owned(), fields(rest))
        }
        _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => match serde_json::from_str(word) {
            Ok(number) => Operand::Literal(number),
            Err(_) => bail!("template: bad number {word:?}"),
        },
        _ if super::functions::exists(word) => Operand::Function(word.to_owned()),
        _ => bail!("template: function {word:?} not defined"),
    })
}

fn fields(path: &str) -> Vec<String> {
    path.split('.').filter(|f| !f.is_empty()).map(str::to_owned).collect()
}
