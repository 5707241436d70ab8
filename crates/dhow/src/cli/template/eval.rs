//! Syntax tree and document to text. What goes wrong is said as Go says it: where, at which words, and what.

use super::functions::{self, Want};
use super::parse::Tree;
use super::printf::quoted;
use super::tree::{List, Node, Operand, Pipe, What, template_text};
use super::value::V;
use std::borrow::Cow;

/// Templates that call each other deeper than this are ended.
const MAX_DEPTH: usize = 100;
/// No template writes more.
const MAX_OUTPUT: usize = 64 << 20;

/// How a template is filled in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// A key that a map does not have is an error.
    pub missing_is_error: bool,
    /// The document holds titles: functions leave them as they are.
    pub titles: bool,
}

struct State<'a> {
    source: &'a str,
    tree: &'a Tree,
    mode: Mode,
    variables: Vec<(String, Cow<'a, V>)>,
    /// The words that are looked at: where they begin, and what they are.
    here: (usize, Words<'a>),
    name: &'a str,
    depth: usize,
    out: String,
}

#[derive(Clone, Copy)]
enum Words<'a> {
    Operand(&'a Operand),
    Command(&'a [Operand]),
    Pipe(&'a Pipe),
    Template(&'a str, Option<&'a Pipe>),
}

enum Flow {
    On,
    Break,
    Continue,
}

type Done<T> = Result<T, String>;

/// Fills a template in.
pub fn render<'a>(source: &'a str, tree: &'a Tree, document: &'a V, mode: Mode) -> Done<String> {
    let mut state = State {
        source,
        tree,
        mode,
        variables: vec![("$".to_owned(), Cow::Borrowed(document))],
        here: (0, Words::Template("", None)),
        name: "",
        depth: 0,
        out: String::new(),
    };
    state.walk(&tree.root, document)?;
    Ok(state.out)
}

impl<'a> State<'a> {
    fn fail<T>(&self, text: impl AsRef<str>) -> Done<T> {
        let (at, words) = self.here;
        let before = &self.source[..at.min(self.source.len())];
        let line = 1 + before.matches('\n').count();
        let column = before.rfind('\n').map_or(at, |newline| at - newline - 1);
        let words = match words {
            Words::Operand(operand) => operand.to_string(),
            Words::Command(words) => words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Words::Pipe(pipe) => pipe.to_string(),
            Words::Template(name, pipe) => template_text(name, pipe),
        };
        Err(format!("template: :{line}:{column}: executing {} at <{words}>: {}", quoted(self.name), text.as_ref()))
    }

    fn at(&mut self, operand: &'a Operand) {
        self.here = (operand.at, Words::Operand(operand));
    }

    fn walk(&mut self, list: &'a List, dot: &V) -> Done<Flow> {
        for node in list {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.names.is_empty() {
                        match value {
                            V::Missing | V::NilAny => self.out.push_str("<no value>"),
                            other => self.out.push_str(&other.to_string()),
                        }
                    }
                }
                Node::If(branch) | Node::With(branch) => {
                    let mark = self.variables.len();
                    let value = self.pipe(&branch.pipe, dot)?;
                    let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                    let flow = match (value.truth(), &branch.otherwise) {
                        (true, _) => self.walk(&branch.body, inner)?,
                        (false, Some(otherwise)) => self.walk(otherwise, dot)?,
                        (false, None) => Flow::On,
                    };
                    self.variables.truncate(mark);
                    if !matches!(flow, Flow::On) {
                        return Ok(flow);
                    }
                }
                Node::Range(_) => {
                    let flow = self.range(node, dot)?;
                    if !matches!(flow, Flow::On) {
                        return Ok(flow);
                    }
                }
                Node::Template(at, name, pipe) => self.template(*at, name, pipe.as_ref(), dot)?,
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
            if self.out.len() > MAX_OUTPUT {
                return self.fail(format!("the output is longer than {MAX_OUTPUT} bytes"));
            }
        }
        Ok(Flow::On)
    }

    fn range(&mut self, node: &'a Node, dot: &V) -> Done<Flow> {
        let Node::Range(branch) = node else { return Ok(Flow::On) };
        let mark = self.variables.len();
        let over = self.pipe(&branch.pipe, dot)?;
        let entries: Vec<(V, V)> = match &over {
            V::Missing | V::NilAny | V::Nil => Vec::new(),
            // The numbers below it.
            V::Int(n) => (0..(*n).clamp(0, 1 << 20)).map(|i| (V::Int(i), V::Int(i))).collect(),
            other => match (other.items(), other.entries()) {
                (Some(items), _) => items.iter().enumerate().map(|(i, v)| (V::Int(i as i128), v.clone())).collect(),
                (_, Some(map)) => map.iter().map(|(k, v)| (V::Text(k.clone()), v.clone())).collect(),
                _ => return self.fail(format!("range can't iterate over {other}")),
            },
        };
        let mut flow = Flow::On;
        if entries.is_empty() {
            if let Some(otherwise) = &branch.otherwise {
                flow = self.walk(otherwise, dot)?;
            }
        } else {
            let inner = self.variables.len();
            let names = branch.pipe.names.len();
            for (key, value) in entries {
                // The last name is the item, the one before it the key.
                if !branch.pipe.assigns {
                    if names > 0 {
                        self.variables[inner - 1].1 = Cow::Owned(value.clone());
                    }
                    if names > 1 {
                        self.variables[inner - 2].1 = Cow::Owned(key);
                    }
                } else if let [.., last] = &branch.pipe.names[..] {
                    if let [first, _] = &branch.pipe.names[..] {
                        self.set(first, key)?;
                    }
                    self.set(last, value.clone())?;
                }
                let ended = self.walk(&branch.body, &value)?;
                self.variables.truncate(inner);
                if matches!(ended, Flow::Break) {
                    break;
                }
            }
        }
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn template(&mut self, at: usize, name: &'a str, pipe: Option<&'a Pipe>, dot: &V) -> Done<()> {
        self.here = (at, Words::Template(name, pipe));
        let Some(body) = self.tree.named.get(name) else {
            return self.fail(format!("template {} not defined", quoted(name)));
        };
        if self.depth >= MAX_DEPTH {
            return self.fail(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let dot = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => V::Missing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), Cow::Owned(dot.clone()))]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        self.walk(body, &dot)?;
        self.depth -= 1;
        self.name = outer_name;
        self.variables = outer;
        Ok(())
    }

    fn set(&mut self, name: &str, value: V) -> Done<()> {
        match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            Some(variable) => variable.1 = Cow::Owned(value),
            None => return self.fail(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &'a Pipe, dot: &V) -> Done<V> {
        self.here = (pipe.at, Words::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(V::Missing);
        for name in &pipe.names {
            if pipe.assigns {
                self.set(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), Cow::Owned(value.clone())));
            }
        }
        Ok(value)
    }

    fn command(&mut self, words: &'a [Operand], piped: Option<V>, dot: &V) -> Done<V> {
        let first = &words[0];
        match &first.what {
            What::Function(name) => return self.function(name, words, piped, dot),
            What::Field(names) => {
                self.at(first);
                return self.fields(dot, names, Some((&words[1..], piped)), dot);
            }
            What::Variable(name, names) if !names.is_empty() => {
                self.at(first);
                let from = self.variable(name)?;
                return self.fields(&from, names, Some((&words[1..], piped)), dot);
            }
            What::Chain(inner, names) => {
                self.at(first);
                let from = self.value(inner, dot)?;
                self.at(first);
                return self.fields(&from, names, Some((&words[1..], piped)), dot);
            }
            _ => {}
        }
        if !matches!(first.what, What::Group(_) | What::Variable(..)) {
            self.at(first);
        }
        if words.len() > 1 || piped.is_some() {
            return self.fail(format!("can't give argument to non-function {first}"));
        }
        match &first.what {
            What::Nil => self.fail("nil is not a command"),
            _ => self.value(first, dot),
        }
    }

    /// An operand that is no command.
    fn value(&mut self, operand: &'a Operand, dot: &V) -> Done<V> {
        match &operand.what {
            What::Group(pipe) => return self.pipe(pipe, dot),
            What::Function(name) => return self.function(name, std::slice::from_ref(operand), None, dot),
            _ => self.at(operand),
        }
        match &operand.what {
            What::Dot => Ok(dot.clone()),
            What::Bool(b) => Ok(V::Bool(*b)),
            What::Number(value, _) => Ok(value.clone()),
            What::Text(text, _) => Ok(V::Text(text.clone())),
            What::Field(names) => self.fields(dot, names, None, dot),
            What::Variable(name, names) => {
                let from = self.variable(name)?;
                self.fields(&from, names, None, dot)
            }
            What::Chain(inner, names) => {
                let from = self.value(inner, dot)?;
                self.at(operand);
                self.fields(&from, names, None, dot)
            }
            What::Nil | What::Group(_) | What::Function(_) => Ok(V::NilAny),
        }
    }

    fn variable(&self, name: &str) -> Done<V> {
        match self.variables.iter().rev().find(|(n, _)| n == name) {
            Some((_, value)) => Ok(value.clone().into_owned()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn fields(&mut self, from: &V, names: &'a [String], call: Option<(&'a [Operand], Option<V>)>, dot: &V) -> Done<V> {
        let (last, before) = match names.split_last() {
            Some(split) => split,
            None => return Ok(from.clone()),
        };
        let mut inner = None;
        for name in before {
            inner = Some(self.field(inner.as_ref().unwrap_or(from), name, None)?);
        }
        let at = inner.as_ref().unwrap_or(from);
        let Some((words, piped)) = call else { return self.field(at, last, None) };
        let mut arguments = Vec::new();
        let here = self.here;
        let want = if is_label(at, last) && words.len() == 1 { Want::Text } else { Want::Any };
        for word in words {
            arguments.push(self.argument(word, want, dot)?);
        }
        arguments.extend(piped);
        self.here = here;
        self.field(at, last, Some(arguments).filter(|a| !a.is_empty()))
    }

    /// One step down; with arguments, if it is a method.
    fn field(&self, receiver: &V, name: &str, arguments: Option<Vec<V>>) -> Done<V> {
        if let V::Struct(inner) = receiver
            && is_label(receiver, name)
        {
            return match arguments.as_deref() {
                Some([V::Text(label)]) if inner.titles => {
                    let end = label.rsplit('.').next().unwrap_or_default();
                    Ok(V::Text(end.replace(['-', '_'], " ")))
                }
                Some([V::Text(label)]) => {
                    let found = inner.labels.as_ref().and_then(|all| all.get(label)).cloned();
                    Ok(V::Text(found.unwrap_or_default()))
                }
                Some([other]) => self.fail(format!("wrong type for value; expected string; got {}", other.type_name())),
                other => {
                    self.fail(format!("wrong number of args for Label: want 1 got {}", other.map_or(0, <[V]>::len)))
                }
            };
        }
        match receiver {
            V::Struct(inner) => match (inner.field(name), arguments) {
                (Some(value), None) => Ok(value.clone()),
                (Some(_), Some(given)) if inner.type_name.starts_with('*') => {
                    self.fail(format!("wrong number of args for {name}: want 0 got {}", given.len()))
                }
                (Some(_), Some(_)) => self.fail(format!("{name} has arguments but cannot be invoked as function")),
                (None, _) if inner.titles => Ok(V::Missing),
                (None, _) => self.fail(format!("can't evaluate field {name} in type {}", inner.type_name)),
            },
            V::Map(_) | V::NilMap if arguments.is_some() => {
                self.fail(format!("{name} is not a method but has arguments"))
            }
            V::Map(_) | V::NilMap => match receiver.entries().and_then(|map| map.get(name)) {
                Some(value) => Ok(value.clone()),
                None if self.mode.missing_is_error => self.fail(format!("map has no entry for key {}", quoted(name))),
                None => Ok(V::Missing),
            },
            V::Missing if self.mode.missing_is_error => {
                self.fail(format!("nil data; no entry for key {}", quoted(name)))
            }
            V::Missing => Ok(V::Missing),
            V::NilAny => self.fail(format!("nil pointer evaluating interface {{}}.{name}")),
            V::Nil => self.fail(format!("nil pointer evaluating pointer.{name}")),
            _ if self.mode.missing_is_error => self.fail(format!("can't evaluate field {name} in type interface {{}}")),
            other => self.fail(format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }

    fn function(&mut self, name: &str, command: &'a [Operand], piped: Option<V>, dot: &V) -> Done<V> {
        let words = &command[1..];
        self.at(&command[0]);
        let Some(function) = functions::find(name) else {
            return self.fail(format!("{} is not a defined function", quoted(name)));
        };
        let given = words.len() + usize::from(piped.is_some());
        let wanted = function.wants.len();
        if function.open && given + 1 < wanted {
            return self.fail(format!("wrong number of args for {name}: want at least {} got {given}", wanted - 1));
        }
        if !function.open && given != wanted {
            return self.fail(format!("wrong number of args for {name}: want {wanted} got {given}"));
        }
        if function.lazy {
            // The first that decides is the value; those behind it are not looked at.
            let mut value = V::Missing;
            for n in 0..given {
                value = match (words.get(n), &piped) {
                    (Some(word), _) => self.argument(word, Want::Any, dot)?,
                    (None, Some(piped)) => piped.clone(),
                    (None, None) => V::Missing,
                };
                if value.truth() == (name == "or") {
                    break;
                }
            }
            return Ok(value);
        }
        let mut arguments = Vec::new();
        for (n, word) in words.iter().enumerate() {
            arguments.push(self.argument(word, function.wants[n.min(wanted - 1)], dot)?);
        }
        if let Some(value) = piped {
            arguments.push(self.fit(value, function.wants[words.len().min(wanted - 1)])?);
        }
        if self.mode.titles && functions::leaves_titles(name) {
            return Ok(arguments.swap_remove(0));
        }
        self.here = (command[0].at, Words::Command(command));
        if name == "call" {
            let what = words.first().map(ToString::to_string).unwrap_or_default();
            let kind = arguments.first().map_or("<nil>", V::type_name);
            return self.fail(format!("error calling call: non-function {what} of type {kind}"));
        }
        functions::call(name, arguments).or_else(|text| self.fail(format!("error calling {name}: {text}")))
    }

    fn argument(&mut self, word: &'a Operand, want: Want, dot: &V) -> Done<V> {
        let literal = matches!(word.what, What::Bool(_) | What::Number(..) | What::Text(..));
        self.at(word);
        match (want, &word.what) {
            (Want::Text | Want::Int, What::Nil) => {
                return self.fail(format!("cannot assign nil to {}", shown(want)));
            }
            (Want::Text, What::Text(..)) | (Want::Int, What::Number(V::Int(_), _)) | (Want::Any, _) => {}
            (Want::Text, _) if literal => return self.fail(format!("expected string; found {word}")),
            (Want::Int, _) if literal => return self.fail(format!("expected integer; found {word}")),
            (Want::Texts, _) if literal => {
                return self.fail(format!("can't handle {word} for arg of type []string"));
            }
            _ => {}
        }
        let value = self.value(word, dot)?;
        self.fit(value, want)
    }

    /// A value where one of a kind is wanted.
    fn fit(&self, value: V, want: Want) -> Done<V> {
        match (want, &value) {
            (Want::Any, _) | (Want::Text, V::Text(_)) | (Want::Int, V::Int(_)) | (Want::Texts, V::NilList) => Ok(value),
            (Want::Texts, V::List(items)) if items.iter().all(|v| matches!(v, V::Text(_))) => Ok(value),
            (Want::Texts, V::Text(_)) if self.mode.titles => Ok(value),
            (Want::Texts, V::Missing | V::NilAny) => Ok(V::NilList),
            (_, V::Missing | V::NilAny) => self.fail(format!("invalid value; expected {}", shown(want))),
            (_, other) => {
                self.fail(format!("wrong type for value; expected {}; got {}", shown(want), other.type_name()))
            }
        }
    }
}

/// Whether this is the method `.Label "name"`.
fn is_label(receiver: &V, name: &str) -> bool {
    matches!(receiver, V::Struct(inner) if name == "Label" && (inner.labels.is_some() || inner.titles))
}

fn shown(want: Want) -> &'static str {
    match want {
        Want::Any => "interface {}",
        Want::Text => "string",
        Want::Texts => "[]string",
        Want::Int => "int",
    }
}
