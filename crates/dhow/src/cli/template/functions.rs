//! Docker's template functions, and how Go prints values.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::cmp::Ordering;

const NAMES: [&str; 25] = [
    "json",
    "join",
    "split",
    "upper",
    "lower",
    "title",
    "truncate",
    "println",
    "printf",
    "print",
    "len",
    "index",
    "slice",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and",
    "or",
    "not",
    "pad",
    "table",
    "prettyjson",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A value as Go's `%v` prints it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", text(v))).collect();
            entries.sort();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's idea of true: anything but the zero value.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

pub(super) fn call(name: &str, mut arguments: Vec<Value>) -> Result<Value> {
    let all = arguments.clone();
    let argument = |i: usize| all.get(i).with_context(|| format!("template: {name}: an argument is missing"));
    let string = |i: usize| argument(i).map(text);
    Ok(match name {
        "json" => serde_json::to_string(argument(0)?)?.into(),
        "prettyjson" => serde_json::to_string_pretty(argument(0)?)?.into(),
        "join" => match argument(0)? {
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(&string(1)?).into(),
            Value::Null => "".into(),
            other => bail!("template: join wants a list, not {}", text(other)),
        },
        "split" => string(0)?.split(&string(1)?).collect::<Vec<_>>().into(),
        "upper" => string(0)?.to_uppercase().into(),
        "lower" => string(0)?.to_lowercase().into(),
        "title" => {
            let text = string(0)?;
            let mut chars = text.chars();
            chars.next().map(|c| c.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default().into()
        }
        "truncate" => string(0)?.chars().take(whole(argument(1)?)?).collect::<String>().into(),
        "pad" => {
            let (text, before, after) = (string(0)?, whole(argument(1)?)?, whole(argument(2)?)?);
            if text.is_empty() {
                text.into()
            } else {
                format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into()
            }
        }
        "print" => arguments.iter().map(text).collect::<String>().into(),
        "println" => (arguments.iter().map(text).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => printf(&string(0)?, &arguments[1..])?.into(),
        "len" => match argument(0)? {
            Value::String(s) => s.len().into(),
            Value::Array(a) => a.len().into(),
            Value::Object(o) => o.len().into(),
            other => bail!("template: len of {}", text(other)),
        },
        "index" => {
            let mut at = argument(0)?.clone();
            for key in &arguments[1..] {
                at = match (&at, key) {
                    (Value::Array(items), key) => {
                        let i = whole(key)?;
                        items.get(i).cloned().with_context(|| format!("template: index out of range: {i}"))?
                    }
                    (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or(Value::Null),
                    (Value::Null, _) => Value::Null,
                    (other, _) => bail!("template: can't index {}", text(other)),
                };
            }
            at
        }
        "slice" => {
            let (from, to) = (argument(1).map_or(Ok(0), whole)?, arguments.get(2).map(whole).transpose()?);
            match argument(0)? {
                Value::String(s) => {
                    let to = to.unwrap_or(s.len());
                    s.get(from..to).with_context(|| format!("template: slice out of range: {from}:{to}"))?.into()
                }
                Value::Array(a) => {
                    let to = to.unwrap_or(a.len());
                    a.get(from..to).with_context(|| format!("template: slice out of range: {from}:{to}"))?.into()
                }
                other => bail!("template: can't slice {}", text(other)),
            }
        }
        "eq" => arguments[1..].iter().any(|b| order(&all[0], b) == Some(Ordering::Equal)).into(),
        "ne" => (order(argument(0)?, argument(1)?) != Some(Ordering::Equal)).into(),
        "lt" => (compare(argument(0)?, argument(1)?)? == Ordering::Less).into(),
        "le" => (compare(argument(0)?, argument(1)?)? != Ordering::Greater).into(),
        "gt" => (compare(argument(0)?, argument(1)?)? == Ordering::Greater).into(),
        "ge" => (compare(argument(0)?, argument(1)?)? != Ordering::Less).into(),
        "not" => (!truth(argument(0)?)).into(),
        "and" | "or" => {
            argument(0)?;
            let stop = name == "or";
            let at = arguments.iter().position(|a| truth(a) == stop).unwrap_or(arguments.len() - 1);
            arguments.swap_remove(at)
        }
        _ => bail!("template: function {name:?} can't be used here"),
    })
}

fn whole(value: &Value) -> Result<usize> {
    value
        .as_u64()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|&n| n <= 1 << 20)
        .with_context(|| format!("template: want a small whole number, not {}", text(value)))
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(Ordering::Equal),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering> {
    order(a, b).with_context(|| format!("template: can't compare {} with {}", text(a), text(b)))
}

fn printf(format: &str, arguments: &[Value]) -> Result<String> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(d) = chars.next_if(|d| d.is_ascii_digit() || matches!(d, '-' | '.')) {
            spec.push(d);
        }
        let verb = chars.next().context("template: printf: a lone % at the end")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = arguments.next().with_context(|| format!("template: printf: no argument for %{verb}"))?;
        let (width, precision) =
            spec.split_once('.').map_or((spec.as_str(), None), |(w, p)| (w, p.parse::<usize>().ok()));
        let piece = match verb {
            's' | 'v' => text(value).chars().take(precision.unwrap_or(usize::MAX)).collect(),
            'q' => serde_json::to_string(&text(value))?,
            'd' => value.as_i64().with_context(|| format!("template: printf: %d of {}", text(value)))?.to_string(),
            'f' => format!("{:.*}", precision.unwrap_or(6), value.as_f64().unwrap_or(f64::NAN)),
            'x' => value.as_i64().map(|n| format!("{n:x}")).unwrap_or_default(),
            't' => truth(value).to_string(),
            other => bail!("template: printf: %{other} is not supported"),
        };
        let want = width.trim_start_matches('-').parse::<usize>().unwrap_or(0).min(1 << 12);
        let fill = " ".repeat(want.saturating_sub(piece.chars().count()));
        out.push_str(&if width.starts_with('-') { piece + &fill } else { fill + &piece });
    }
    Ok(out)
}
