//! The functions of templates: Go's own and Docker's, with what they take and what they say of something else.

use super::printf::{quoted, sprint, sprintf};
use super::value::V;
use std::cmp::Ordering;

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Any,
    Text,
    Texts,
    Int,
}

/// How a function is called.
pub struct Function {
    /// Its arguments; the last may come any number of times, from none on, in a function that is `open`.
    pub wants: &'static [Want],
    pub open: bool,
    /// It does its own evaluation: `and`, `or`.
    pub lazy: bool,
}

const fn of(wants: &'static [Want], open: bool) -> Function {
    Function { wants, open, lazy: false }
}

/// The function of this name.
pub fn find(name: &str) -> Option<Function> {
    use Want::{Any, Int, Text, Texts};
    Some(match name {
        "and" | "or" => Function { wants: &[Any, Any], open: true, lazy: true },
        "call" => of(&[Any, Any], true),
        "html" | "js" | "urlquery" | "print" | "println" => of(&[Any], true),
        "printf" => of(&[Text, Any], true),
        "index" | "slice" | "eq" => of(&[Any, Any], true),
        "ne" | "lt" | "le" | "gt" | "ge" => of(&[Any, Any], false),
        "len" | "not" | "json" => of(&[Any], false),
        "title" | "lower" | "upper" => of(&[Text], false),
        "split" => of(&[Text, Text], false),
        "join" => of(&[Texts, Text], false),
        "pad" => of(&[Text, Int, Int], false),
        "truncate" => of(&[Text, Int], false),
        _ => return None,
    })
}

/// Whether there is one of this name.
pub fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// Runs a function whose arguments are as it wants them.
pub fn call(name: &str, arguments: Vec<V>) -> Result<V, String> {
    let text = |n: usize| match arguments.get(n) {
        Some(V::Text(text)) => text.as_str(),
        _ => "",
    };
    let int = |n: usize| match arguments.get(n) {
        Some(V::Int(n)) => *n,
        _ => 0,
    };
    Ok(match name {
        "json" => {
            let mut out = String::new();
            arguments[0].json(&mut out);
            V::Text(out)
        }
        "split" => V::List(match text(1) {
            "" => text(0).chars().map(|c| V::Text(c.to_string())).collect(),
            by => text(0).split(by).map(|part| V::Text(part.to_owned())).collect(),
        }),
        "join" => {
            let items: Vec<String> = arguments[0].items().unwrap_or_default().iter().map(ToString::to_string).collect();
            V::Text(items.join(text(1)))
        }
        "upper" => V::Text(text(0).to_uppercase()),
        "lower" => V::Text(text(0).to_lowercase()),
        "title" => V::Text(titled(text(0))),
        "pad" if text(0).is_empty() => V::Text(String::new()),
        "pad" => {
            let spaces = |n: i128| match usize::try_from(n) {
                Ok(n) if n <= 1 << 16 => Ok(" ".repeat(n)),
                _ => Err("strings: negative Repeat count".to_owned()),
            };
            V::Text(format!("{}{}{}", spaces(int(1))?, text(0), spaces(int(2))?))
        }
        "truncate" => truncated(text(0), int(1))?,
        "print" => V::Text(sprint(&arguments)),
        "println" => V::Text(arguments.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => V::Text(sprintf(text(0), &arguments[1..])),
        "html" => V::Text(html(&sprint(&arguments))),
        "js" => V::Text(js(&sprint(&arguments))),
        "urlquery" => V::Text(url(&sprint(&arguments))),
        "len" => V::Int(length(&arguments[0])?),
        "index" => index(&arguments)?,
        "slice" => slice(&arguments)?,
        "not" => V::Bool(!arguments[0].truth()),
        "eq" => {
            if arguments.len() < 2 {
                return Err("missing argument for comparison".to_owned());
            }
            for other in &arguments[1..] {
                if equal(&arguments[0], other)? {
                    return Ok(V::Bool(true));
                }
            }
            V::Bool(false)
        }
        "ne" => V::Bool(!equal(&arguments[0], &arguments[1])?),
        "lt" => V::Bool(order(&arguments[0], &arguments[1])? == Ordering::Less),
        "le" => V::Bool(order(&arguments[0], &arguments[1])? != Ordering::Greater),
        "gt" => V::Bool(order(&arguments[0], &arguments[1])? == Ordering::Greater),
        "ge" => V::Bool(order(&arguments[0], &arguments[1])? != Ordering::Less),
        "call" => return Err(format!("non-function {} of type {}", arguments[0], arguments[0].type_name())),
        _ => return Err(format!("function {} can't be used here", quoted(name))),
    })
}

/// Every word with a capital, as Go's `strings.Title`.
fn titled(text: &str) -> String {
    let mut before = ' ';
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
    text.chars()
        .map(|c| {
            let first = !word(before);
            before = c;
            if first { c.to_uppercase().next().unwrap_or(c) } else { c }
        })
        .collect()
}

/// Docker cuts bytes; what would be half a character is left out here.
fn truncated(text: &str, length: i128) -> Result<V, String> {
    let Ok(length) = usize::try_from(length) else {
        return Err(format!("slice bounds out of range [:{length}]"));
    };
    let end = (0..=length.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Ok(V::Text(text[..end].to_owned()))
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn url(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn length(value: &V) -> Result<i128, String> {
    let size = match value {
        V::Text(text) => text.len(),
        V::Nil => return Err("len of nil pointer".to_owned()),
        V::NilAny | V::Missing => return Err("len of untyped nil".to_owned()),
        other => match (other.items(), other.entries()) {
            (Some(items), _) => items.len(),
            (_, Some(map)) => map.len(),
            _ => return Err(format!("len of type {}", other.type_name())),
        },
    };
    Ok(i128::try_from(size).unwrap_or(i128::MAX))
}

fn position(value: &V, below: usize) -> Result<usize, String> {
    match value {
        V::Int(n) => usize::try_from(*n).ok().filter(|&n| n <= below).ok_or_else(|| format!("index out of range: {n}")),
        V::NilAny | V::Missing | V::Nil => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!("cannot index slice/array with type {}", other.type_name())),
    }
}

fn index(arguments: &[V]) -> Result<V, String> {
    let mut at = arguments[0].clone();
    if matches!(at, V::NilAny | V::Missing) {
        return Err("index of untyped nil".to_owned());
    }
    for key in &arguments[1..] {
        at = match (&at, key) {
            (V::Nil | V::NilAny | V::Missing, _) => return Err("index of nil pointer".to_owned()),
            (V::Text(text), key) => {
                let n = position(key, text.len())?;
                V::Int((*text.as_bytes().get(n).ok_or("reflect: string index out of range")?).into())
            }
            // Go lets the number behind the last one through, and stumbles later.
            (V::List(_) | V::NilList, key) => {
                let items = at.items().unwrap_or_default();
                items.get(position(key, items.len())?).cloned().ok_or("reflect: slice index out of range")?
            }
            (V::Map(_) | V::NilMap, V::Text(key)) => {
                let map = at.entries();
                match map.and_then(|m| m.get(key)) {
                    Some(value) => value.clone(),
                    // The zero value of what the map holds.
                    None => match map.and_then(|m| m.values().next()) {
                        Some(V::Text(_)) => V::Text(String::new()),
                        Some(V::List(_) | V::NilList) => V::NilList,
                        Some(V::Struct(_)) => V::Nil,
                        _ => V::NilAny,
                    },
                }
            }
            (V::Map(_) | V::NilMap, V::Missing | V::NilAny | V::Nil) => {
                return Err("value is nil; should be of type string".to_owned());
            }
            (V::Map(_) | V::NilMap, key) => {
                return Err(format!("value has type {}; should be string", key.type_name()));
            }
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(at)
}

fn slice(arguments: &[V]) -> Result<V, String> {
    let item = &arguments[0];
    let bounds = &arguments[1..];
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let size = match item {
        V::Missing | V::NilAny => return Err("slice of untyped nil".to_owned()),
        V::Text(_) if bounds.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
        V::Text(text) => text.len(),
        other => match other.items() {
            Some(items) => items.len(),
            None => return Err(format!("can't slice item of type {}", other.type_name())),
        },
    };
    let mut at = [0, size, size];
    for (n, bound) in bounds.iter().enumerate() {
        at[n] = position(bound, size)?;
    }
    if at[0] > at[1] {
        return Err(format!("invalid slice index: {} > {}", at[0], at[1]));
    }
    Ok(match item {
        // Bytes, of which whole characters are shown.
        V::Text(text) => V::Text(String::from_utf8_lossy(&text.as_bytes()[at[0]..at[1]]).into_owned()),
        other => V::List(other.items().unwrap_or_default()[at[0]..at[1]].to_vec()),
    })
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn equal(a: &V, b: &V) -> Result<bool, String> {
    let nil = |v: &V| matches!(v, V::Nil | V::NilAny | V::Missing | V::NilList | V::NilMap);
    match (a, b) {
        (V::Bool(_), V::Bool(_)) | (V::Int(_), V::Int(_)) | (V::Float(_), V::Float(_)) | (V::Text(_), V::Text(_)) => {
            Ok(a == b)
        }
        (V::Missing | V::NilAny, other) | (other, V::Missing | V::NilAny) => Ok(nil(other)),
        (V::Bool(_) | V::Int(_) | V::Float(_) | V::Text(_), _)
        | (_, V::Bool(_) | V::Int(_) | V::Float(_) | V::Text(_)) => Err(INCOMPATIBLE.to_owned()),
        _ if nil(a) || nil(b) => Ok(nil(a) == nil(b)),
        (V::Struct(_), V::Struct(_)) => Ok(a == b),
        _ => Err(format!("non-comparable type {a}: {}", a.type_name())),
    }
}

fn order(a: &V, b: &V) -> Result<Ordering, String> {
    match (a, b) {
        (V::Int(a), V::Int(b)) => Ok(a.cmp(b)),
        (V::Text(a), V::Text(b)) => Ok(a.cmp(b)),
        (V::Float(a), V::Float(b)) => a.partial_cmp(b).ok_or_else(|| INCOMPATIBLE.to_owned()),
        (V::Int(_) | V::Text(_) | V::Float(_) | V::Bool(_), V::Int(_) | V::Text(_) | V::Float(_) | V::Bool(_))
            if std::mem::discriminant(a) != std::mem::discriminant(b) =>
        {
            Err(INCOMPATIBLE.to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

/// A title does not go through functions that change words: only `pad` keeps its spaces, as in the rows below.
pub fn leaves_titles(name: &str) -> bool {
    matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate")
}
