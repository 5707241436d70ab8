//! The option `tag`: Go's templates as far as tags use them – fields, methods, pipes, Docker's functions. What is not
//! built (`if`, `range`, …) is refused by name.

use dhow_types::{Error, Result};
use std::collections::BTreeMap;

/// Parentheses inside one another.
const MAX_DEPTH: usize = 32;
/// The longest tag. Receivers cut far earlier.
const MAX_TAG: usize = 4096;
/// The longest text on the way to it, so that what functions make of one another's results stays small.
const MAX_VALUE: usize = 64 << 10;

/// What a tag can name.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a> {
    /// The log options.
    pub options: &'a BTreeMap<String, String>,
    /// All 64 digits.
    pub id: &'a str,
    /// Without a slash.
    pub name: &'a str,
    /// The program and its arguments.
    pub command: &'a [String],
    /// With `sha256:`; empty without an image.
    pub image_id: &'a str,
    /// As it was asked for.
    pub image_name: &'a str,
    /// `KEY=value`
    pub env: &'a [String],
    /// The container's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// This machine's name.
    pub hostname: &'a str,
}

impl Info<'_> {
    /// Twelve digits.
    pub fn short_id(&self) -> &str {
        short(self.id)
    }
}

fn short(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, hex)| hex);
    id.get(..12).unwrap_or(id)
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Number(i64),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    /// `nil`, or what is not in a map.
    Nothing,
}

impl Value {
    /// About as many bytes as it holds.
    fn len(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::List(list) => list.iter().map(String::len).sum(),
            Value::Map(map) => map.iter().map(|(k, v)| k.len() + v.len()).sum(),
            Value::Number(_) | Value::Nothing => 0,
        }
    }

    fn show(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(n) => n.to_string(),
            Value::List(list) => format!("[{}]", list.join(" ")),
            Value::Map(map) => {
                let rows: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                format!("map[{}]", rows.join(" "))
            }
            Value::Nothing => "<no value>".into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// `.Name`
    Field(String),
    /// `.Name` right behind something.
    Member(String),
    Word(String),
    Text(String),
    Number(i64),
    Dot,
    Pipe,
    Open,
    Close,
}

/// The tag that `template` makes of `info`.
pub fn render(template: &str, info: &Info<'_>) -> Result<String> {
    let mut out = String::new();
    let mut rest = template;
    let mut trim = false;
    while let Some(at) = rest.find("{{") {
        let (text, after) = rest.split_at(at);
        let mut action = &after[2..];
        let text = if trim { text.trim_start() } else { text };
        let cut = action.strip_prefix('-').filter(|a| a.starts_with(char::is_whitespace));
        out.push_str(if cut.is_some() { text.trim_end() } else { text });
        action = cut.unwrap_or(action);
        let end = end_of_action(action).ok_or_else(|| bad("unclosed action"))?;
        rest = &action[end + 2..];
        let mut inside = &action[..end];
        trim = inside.ends_with('-') && inside[..inside.len() - 1].ends_with(char::is_whitespace);
        if trim {
            inside = &inside[..inside.len() - 1];
        }
        let inside = inside.trim();
        if inside.starts_with("/*") && inside.ends_with("*/") {
            continue;
        }
        let tokens = tokens(inside)?;
        let mut parser = Parser { tokens: &tokens, at: 0, info, depth: 0 };
        let value = parser.pipeline()?;
        if parser.at < tokens.len() {
            return Err(bad("unexpected right paren"));
        }
        out.push_str(&value.show());
        if out.len() > MAX_TAG {
            return Err(bad(&format!("the tag is longer than {MAX_TAG} bytes")));
        }
    }
    out.push_str(if trim { rest.trim_start() } else { rest });
    if out.len() > MAX_TAG {
        return Err(bad(&format!("the tag is longer than {MAX_TAG} bytes")));
    }
    Ok(out)
}

fn too_long() -> Error {
    bad(&format!("a value is longer than {MAX_VALUE} bytes"))
}

fn bad(why: &str) -> Error {
    Error::invalid(format!("failed to initialize logging driver: template: log-tag:1: {why}"))
}

/// Where the `}}` stands that is in no text.
fn end_of_action(action: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in action.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if action[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut alone = true;
    while let Some(c) = rest.chars().next() {
        let token;
        (token, rest) = match c {
            '|' => (Token::Pipe, &rest[1..]),
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '.' => match word(&rest[1..]) {
                0 => (Token::Dot, &rest[1..]),
                end if alone => (Token::Field(rest[1..=end].to_owned()), &rest[end + 1..]),
                end => (Token::Member(rest[1..=end].to_owned()), &rest[end + 1..]),
            },
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| bad("unterminated raw quoted string"))?;
                (Token::Text(rest[1..=end].to_owned()), &rest[end + 2..])
            }
            '"' => {
                let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                match texts.next() {
                    Some(Ok(text)) => (Token::Text(text), &rest[texts.byte_offset()..]),
                    _ => return Err(bad("unterminated quoted string")),
                }
            }
            '0'..='9' | '-' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
                let number = rest[..end].parse().map_err(|_| bad(&format!("bad number syntax: {:?}", &rest[..end])))?;
                (Token::Number(number), &rest[end..])
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = word(rest);
                (Token::Word(rest[..end].to_owned()), &rest[end..])
            }
            other => return Err(bad(&format!("unexpected {other:?} in command"))),
        };
        let behind = rest.trim_start();
        alone = behind.len() < rest.len() || matches!(token, Token::Pipe | Token::Open);
        out.push(token);
        rest = behind;
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    info: &'a Info<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Commands, each of which gets the one before as its last argument.
    fn pipeline(&mut self) -> Result<Value> {
        let mut value = self.command(None)?;
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            value = self.command(Some(value))?;
        }
        Ok(value)
    }

    fn command(&mut self, piped: Option<Value>) -> Result<Value> {
        let (name, is_field) = match self.peek() {
            None | Some(Token::Pipe | Token::Close) => return Err(bad("missing value for command")),
            Some(Token::Word(word)) if word != "nil" && word != "true" && word != "false" => (word.clone(), false),
            Some(Token::Field(field)) => (field.clone(), true),
            Some(_) => {
                let value = self.operand()?;
                let more = !matches!(self.peek(), None | Some(Token::Pipe | Token::Close));
                if more || piped.is_some() {
                    return Err(bad(&format!("can't give argument to non-function {}", value.show())));
                }
                return Ok(value);
            }
        };
        self.at += 1;
        let mut arguments = Vec::new();
        // `.Config.tag`: fields one after the other.
        let mut path = Vec::new();
        while is_field && let Some(Token::Member(field)) = self.peek() {
            path.push(field.clone());
            self.at += 1;
        }
        while !matches!(self.peek(), None | Some(Token::Pipe | Token::Close)) {
            arguments.push(self.operand()?);
            // The first one can be all labels, of which one is taken.
            if arguments.iter().skip(1).map(Value::len).sum::<usize>() > MAX_VALUE {
                return Err(too_long());
            }
        }
        arguments.extend(piped);
        if !is_field {
            return function(&name, arguments);
        }
        let value = field(self.info, &name, &arguments)?;
        path.iter().try_fold(value, |value, name| member(value, name))
    }

    fn operand(&mut self) -> Result<Value> {
        let mut value = match self.next() {
            Some(Token::Text(text)) => Value::Text(text),
            Some(Token::Number(number)) => Value::Number(number),
            Some(Token::Word(word)) if word == "nil" => Value::Nothing,
            Some(Token::Word(word)) => function(&word, Vec::new())?,
            Some(Token::Field(name)) => field(self.info, &name, &[])?,
            Some(Token::Open) => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(bad("too many parentheses"));
                }
                let value = self.pipeline()?;
                self.depth -= 1;
                if self.next() != Some(Token::Close) {
                    return Err(bad("unclosed left paren"));
                }
                value
            }
            _ => return Err(bad("unexpected token in operand")),
        };
        while let Some(Token::Member(name)) = self.peek() {
            let name = name.clone();
            self.at += 1;
            value = member(value, &name)?;
        }
        Ok(value)
    }
}

/// What the container is asked for.
fn field(info: &Info<'_>, name: &str, arguments: &[Value]) -> Result<Value> {
    let text = |text: &str| Ok(Value::Text(text.to_owned()));
    if name == "ExtraAttributes" {
        return match arguments {
            [Value::Nothing] => Ok(Value::Map(super::attrs::chosen(info)?)),
            _ => Err(bad("wrong number of args for ExtraAttributes: want 1, nil")),
        };
    }
    if !arguments.is_empty() {
        return Err(bad(&format!("{name} has arguments but cannot be invoked as function")));
    }
    match name {
        "ID" => text(info.short_id()),
        "FullID" | "ContainerID" => text(info.id),
        "Name" => text(info.name),
        "ContainerName" => text(&format!("/{}", info.name)),
        "Command" => text(&info.command.join(" ")),
        "ContainerEntrypoint" => text(info.command.first().map_or("", String::as_str)),
        "ContainerArgs" => Ok(Value::List(info.command.iter().skip(1).cloned().collect())),
        "ImageID" => text(short(info.image_id)),
        "ImageFullID" | "ContainerImageID" => text(info.image_id),
        "ImageName" | "ContainerImageName" => text(info.image_name),
        "Hostname" => text(info.hostname),
        // As in Docker, whose name it is that tags were written for.
        "DaemonName" => text("docker"),
        "Config" => Ok(Value::Map(info.options.clone())),
        "ContainerLabels" => Ok(Value::Map(info.labels.clone())),
        "ContainerEnv" => Ok(Value::List(info.env.to_vec())),
        _ => Err(bad(&format!("can't evaluate field {name} in type *logger.Info"))),
    }
}

fn member(value: Value, name: &str) -> Result<Value> {
    match value {
        Value::Map(mut map) => Ok(map.remove(name).map_or(Value::Nothing, Value::Text)),
        other => Err(bad(&format!("can't evaluate field {name} of {}", other.show()))),
    }
}

/// A function's result, of bounded length.
fn function(name: &str, arguments: Vec<Value>) -> Result<Value> {
    if let ("join", [Value::List(list), Value::Text(by)]) = (name, arguments.as_slice())
        && list.len().saturating_mul(by.len()) > MAX_VALUE
    {
        return Err(too_long());
    }
    let value = call(name, arguments)?;
    if value.len() > MAX_VALUE { Err(too_long()) } else { Ok(value) }
}

fn call(name: &str, arguments: Vec<Value>) -> Result<Value> {
    use Value::{List, Map, Number, Text};
    let shown = |f: fn(&str) -> String, text: &str| Ok(Text(f(text)));
    match (name, arguments.as_slice()) {
        ("lower", [Text(text)]) => shown(str::to_lowercase, text),
        ("upper", [Text(text)]) => shown(str::to_uppercase, text),
        ("title", [Text(text)]) => shown(title, text),
        ("split", [Text(text), Text(by)]) if by.is_empty() => Ok(List(text.chars().map(String::from).collect())),
        ("split", [Text(text), Text(by)]) => Ok(List(text.split(by.as_str()).map(str::to_owned).collect())),
        ("join", [List(list), Text(by)]) => Ok(Text(list.join(by))),
        ("pad", [Text(text), Number(before), Number(after)]) => {
            let spaces = |n: &i64| usize::try_from(*n).ok().filter(|n| *n <= MAX_TAG).map(|n| " ".repeat(n));
            match (spaces(before), spaces(after)) {
                _ if text.is_empty() => Ok(Text(String::new())),
                (Some(before), Some(after)) => Ok(Text(format!("{before}{text}{after}"))),
                _ => Err(bad("pad: want two small numbers")),
            }
        }
        ("truncate", [Text(text), Number(length)]) => {
            let mut end = usize::try_from(*length).unwrap_or(0).min(text.len());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Ok(Text(text[..end].to_owned()))
        }
        ("json", [value]) => {
            let json = match value {
                Text(text) => serde_json::to_string(text),
                Number(number) => serde_json::to_string(number),
                List(list) => serde_json::to_string(list),
                Map(map) => serde_json::to_string(map),
                Value::Nothing => Ok("null".into()),
            };
            json.map(Text).map_err(|e| bad(&e.to_string()))
        }
        ("index", [Map(map), Text(key)]) => Ok(Text(map.get(key).cloned().unwrap_or_default())),
        ("index", [List(list), Number(at)]) => match usize::try_from(*at).ok().and_then(|at| list.get(at)) {
            Some(text) => Ok(Text(text.clone())),
            None => Err(bad(&format!("error calling index: index out of range: {at}"))),
        },
        ("print", values) => Ok(Text(values.iter().map(Value::show).collect())),
        ("len", [Text(text)]) => Ok(Number(text.len() as i64)),
        ("len", [List(list)]) => Ok(Number(list.len() as i64)),
        ("len", [Map(map)]) => Ok(Number(map.len() as i64)),
        ("lower" | "upper" | "title" | "split" | "join" | "pad" | "truncate" | "json" | "index" | "len", _) => {
            Err(bad(&format!("wrong arguments for {name}")))
        }
        (
            "if" | "else" | "end" | "range" | "with" | "define" | "template" | "block" | "printf" | "println" | "and"
            | "or" | "not" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "html" | "js" | "urlquery" | "call" | "slice",
            _,
        ) => Err(Error::not_implemented(format!(
            "log option tag: {{{{{name}}}}} is not built; understood are fields, pipes and the functions index, join, \
             json, len, lower, pad, print, split, title, truncate, upper"
        ))),
        _ => Err(bad(&format!("function \"{name}\" not defined"))),
    }
}

/// The first letter of each word large.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::LazyLock;

    static COMMAND: LazyLock<Vec<String>> = LazyLock::new(|| ["sh", "-c", "true"].map(String::from).to_vec());
    static ENV: LazyLock<Vec<String>> =
        LazyLock::new(|| ["A=1", "AB=x=y", "EMPTY=", "NOVALUE"].map(String::from).to_vec());
    static LABELS: LazyLock<BTreeMap<String, String>> =
        LazyLock::new(|| [("team", "a&b"), ("com.example", "7")].map(|(k, v)| (k.into(), v.into())).into());

    pub(in super::super) fn info(options: &BTreeMap<String, String>) -> Info<'_> {
        const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        Info {
            options,
            id: ID,
            name: "web",
            command: &COMMAND,
            image_id: "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210",
            image_name: "nginx:1",
            env: &ENV,
            labels: &LABELS,
            hostname: "host7",
        }
    }

    /// Functions of functions make no more than a little memory can hold, and what is lawful is still made.
    #[test]
    fn what_a_tag_is_made_of_is_bounded() {
        let options = BTreeMap::new();
        let quotes = "\"".repeat(1000);
        let letters = "a".repeat(3000);
        let labels = [("big".to_owned(), "x".repeat(1 << 20)), ("quotes".into(), quotes), ("a".into(), letters)].into();
        let info = Info { labels: &labels, ..info(&options) };
        let get = "(index .ContainerLabels \"quotes\")";
        let a = "(index .ContainerLabels \"a\")";
        for template in [
            format!("{{{{{get}{}}}}}", " | json".repeat(64)),
            format!("{{{{print{} | len}}}}", format!(" {a}").repeat(1000)),
            format!("{{{{print .ContainerLabels{} | len}}}}", " .ContainerLabels".repeat(1000)),
            format!("{{{{join (split {a} \"\") {a} | len}}}}"),
            "{{index .ContainerLabels \"big\"}}".into(),
        ] {
            let error = render(&template, &info).unwrap_err();
            assert!(error.text().contains("a value is longer than 65536 bytes"), "{error}");
        }
        let error = render(&"x".repeat(MAX_TAG + 1), &info).unwrap_err();
        assert!(error.text().contains("the tag is longer than 4096 bytes"), "{error}");
        for (template, want) in [
            (format!("{{{{{get} | json | json | len}}}}"), "4006"),
            (format!("{{{{print {a} {a} | len}}}}"), "6000"),
            (format!("{{{{join (split {a} \"\") \"-\" | len}}}}"), "5999"),
            ("x".repeat(MAX_TAG), &"x".repeat(MAX_TAG)),
        ] {
            assert_eq!(render(&template, &info).unwrap(), want, "{template}");
        }
    }

    #[test]
    fn tags_as_docker_makes_them() {
        let options = BTreeMap::from([("env".to_owned(), "A".to_owned()), ("tag".to_owned(), "x".to_owned())]);
        let info = info(&options);
        for (template, want) in [
            ("", ""),
            ("plain", "plain"),
            ("{{.ID}}", "0123456789ab"),
            ("{{ .FullID }}", info.id),
            ("{{.ImageName}}/{{.Name}}/{{.ID}}", "nginx:1/web/0123456789ab"),
            ("{{.ImageID}} {{.ImageFullID}}", &format!("fedcba987654 {}", info.image_id)),
            ("{{.Command}}|{{.ContainerEntrypoint}}|{{.ContainerArgs}}", "sh -c true|sh|[-c true]"),
            ("{{.Hostname}}-{{.DaemonName}}{{.ContainerName}}", "host7-docker/web"),
            ("{{(.ExtraAttributes nil).A}}", "1"),
            ("{{(.ExtraAttributes nil).B}}", "<no value>"),
            ("{{index .ContainerLabels \"com.example\"}}", "7"),
            ("{{print .Name .ID}}", "web0123456789ab"),
            ("{{.Config.tag}} {{index .Config \"none\"}}", "x "),
            ("{{.ContainerLabels}}", "map[com.example:7 team:a&b]"),
            ("{{.Name | upper}}{{lower \"ABC\"}}{{title `two words`}}", "WEBabcTwo Words"),
            ("{{truncate .FullID 4}}", "0123"),
            ("{{.FullID | printf}}", ""),
            ("[{{pad .Name 1 2}}]", "[ web  ]"),
            ("{{join (split .ImageName \":\") \"_\"}}", "nginx_1"),
            ("{{index (split .ImageName \":\") 1}}", "1"),
            ("{{json .Name}}{{json .ContainerEnv}}", "\"web\"[\"A=1\",\"AB=x=y\",\"EMPTY=\",\"NOVALUE\"]"),
            ("{{print .Name 7}}{{len .Name}}", "web73"),
            ("a {{- .Name -}} b", "awebb"),
            ("a{{/* nothing */}}b", "ab"),
            ("{{\"}}\"}}", "}}"),
            ("no end }}", "no end }}"),
        ] {
            if template.contains("printf") {
                assert!(render(template, &info).unwrap_err().text().contains("{{printf}} is not built"));
                continue;
            }
            assert_eq!(render(template, &info).unwrap(), want, "{template}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused_with_its_reason() {
        let options = BTreeMap::new();
        let deep = format!("{{{{{}.Name{}}}}}", "(".repeat(100), ")".repeat(100));
        for (template, want) in [
            ("{{.Nope}}", "can't evaluate field Nope in type *logger.Info"),
            ("{{nope}}", "function \"nope\" not defined"),
            ("{{.Name", "unclosed action"),
            ("{{}}", "missing value for command"),
            ("{{.Name | }}", "missing value for command"),
            ("{{if .Name}}x{{end}}", "{{if}} is not built"),
            ("{{.Name 1}}", "Name has arguments"),
            ("{{\"x}}", "unclosed action"),
            ("{{(.Name}}", "unclosed left paren"),
            ("{{.Name)}}", "unexpected right paren"),
            ("{{.ExtraAttributes}}", "wrong number of args for ExtraAttributes"),
            ("{{index .ContainerArgs 9}}", "index out of range: 9"),
            ("{{truncate .Name}}", "wrong arguments for truncate"),
            ("{{pad .Name 1 999999999}}", "pad: want two small numbers"),
            ("{{\"x\" | 3}}", "can't give argument to non-function 3"),
            ("{{.Name # }}", "unexpected '#' in command"),
            (&deep, "too many parentheses"),
        ] {
            let error = render(template, &info(&options)).unwrap_err();
            assert!(error.text().contains(want), "{template}: {error}");
        }
    }
}
