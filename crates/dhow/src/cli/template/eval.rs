//! Syntax tree and document to text.

use super::functions;
use super::parse::{Command, Expr, Node, Operand};
use anyhow::{Result, bail};
use serde_json::Value;

struct Scope<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
}

pub(super) fn render(nodes: &[Node], document: &Value) -> Result<String> {
    let mut out = String::new();
    let mut scope = Scope { root: document, variables: Vec::new() };
    write(nodes, document, &mut scope, &mut out)?;
    Ok(out)
}

fn write(nodes: &[Node], dot: &Value, scope: &mut Scope<'_>, out: &mut String) -> Result<()> {
    let outer = scope.variables.len();
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(value) => out.push_str(&functions::text(&eval(value, dot, scope)?)),
            Node::Assign(name, value) => {
                let value = eval(value, dot, scope)?;
                scope.variables.push((name.clone(), value));
            }
            Node::If(branches, otherwise) => {
                let mut chosen = otherwise;
                for (condition, body) in branches {
                    if functions::truth(&eval(condition, dot, scope)?) {
                        chosen = body;
                        break;
                    }
                }
                write(chosen, dot, scope, out)?;
            }
            Node::With(value, body, otherwise) => {
                let value = eval(value, dot, scope)?;
                if functions::truth(&value) {
                    write(body, &value, scope, out)?;
                } else {
                    write(otherwise, dot, scope, out)?;
                }
            }
            Node::Range { key, item, over, body, otherwise } => {
                let entries: Vec<(Value, Value)> = match eval(over, dot, scope)? {
                    Value::Array(items) => items.into_iter().enumerate().map(|(i, v)| (Value::from(i), v)).collect(),
                    Value::Object(map) => map.into_iter().map(|(k, v)| (Value::String(k), v)).collect(),
                    Value::Null => Vec::new(),
                    other => bail!("template: range can't iterate over {}", functions::text(&other)),
                };
                if entries.is_empty() {
                    write(otherwise, dot, scope, out)?;
                }
                for (k, v) in entries {
                    let depth = scope.variables.len();
                    scope.variables.extend(key.iter().map(|name| (name.clone(), k.clone())));
                    scope.variables.extend(item.iter().map(|name| (name.clone(), v.clone())));
                    write(body, &v, scope, out)?;
                    scope.variables.truncate(depth);
                }
            }
        }
    }
    scope.variables.truncate(outer);
    Ok(())
}

fn eval(expr: &Expr, dot: &Value, scope: &Scope<'_>) -> Result<Value> {
    let mut piped = None;
    for command in &expr.0 {
        piped = Some(call(command, piped, dot, scope)?);
    }
    Ok(piped.unwrap_or(Value::Null))
}

fn call(command: &Command, piped: Option<Value>, dot: &Value, scope: &Scope<'_>) -> Result<Value> {
    let mut arguments = Vec::new();
    for operand in &command.0 {
        arguments.push(match operand {
            Operand::Literal(value) => value.clone(),
            Operand::Function(_) => Value::Null,
            Operand::Dot(path) => walk(dot, path)?,
            Operand::Variable(name, path) if name.is_empty() => walk(scope.root, path)?,
            Operand::Variable(name, path) => match scope.variables.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => walk(value, path)?,
                None => bail!("template: undefined variable \"${name}\""),
            },
            Operand::Group(inner, path) => walk(&eval(inner, dot, scope)?, path)?,
        });
    }
    match command.0.first() {
        Some(Operand::Function(name)) => {
            arguments.remove(0);
            arguments.extend(piped);
            functions::call(name, arguments)
        }
        _ if arguments.len() == 1 && piped.is_none() => Ok(arguments.remove(0)),
        _ => bail!("template: can't give arguments to a value that is not a function"),
    }
}

/// A missing key of a document is an error that names it, as Go's typed documents give one; below a null all is null.
fn walk(from: &Value, path: &[String]) -> Result<Value> {
    let mut at = from;
    for name in path {
        at = match at {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None => bail!("template: can't evaluate field {name}: this document has no such field"),
            },
            Value::Null => &Value::Null,
            other => bail!("template: can't evaluate field {name} in {}", functions::text(other)),
        };
    }
    Ok(at.clone())
}
