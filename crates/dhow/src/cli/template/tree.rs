//! The syntax tree of a template, and each node as the text that errors quote.

use super::printf::quoted;
use super::value::V;
use std::fmt;

/// What stands in a template, in order.
pub type List = Vec<Node>;

/// A node.
#[derive(Debug)]
pub enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it goes to a variable.
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `{{template "name" pipeline}}`, and where it stands.
    Template(usize, String, Option<Pipe>),
    Break,
    Continue,
}

/// A condition with what is done if it holds, and if not.
#[derive(Debug)]
pub struct Branch {
    pub pipe: Pipe,
    pub body: List,
    pub otherwise: Option<List>,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Debug)]
pub struct Pipe {
    pub at: usize,
    /// Variables that take the value, with their dollar.
    pub names: Vec<String>,
    /// They exist already.
    pub assigns: bool,
    pub commands: Vec<Vec<Operand>>,
}

/// A word of a command.
#[derive(Debug)]
pub struct Operand {
    pub at: usize,
    pub what: What,
}

/// What a word is.
#[derive(Debug)]
pub enum What {
    Dot,
    Nil,
    Bool(bool),
    /// A number, with its text.
    Number(V, String),
    /// A text, with its source.
    Text(String, String),
    Function(String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    Group(Pipe),
    /// `(…).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, names: &[String]| names.iter().try_for_each(|n| write!(f, ".{n}"));
        match &self.what {
            What::Dot => f.write_str("."),
            What::Nil => f.write_str("nil"),
            What::Bool(b) => write!(f, "{b}"),
            What::Number(_, text) | What::Text(_, text) | What::Function(text) => f.write_str(text),
            What::Field(names) => fields(f, names),
            What::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            What::Group(pipe) => write!(f, "({pipe})"),
            What::Chain(inner, names) => {
                write!(f, "{inner}")?;
                fields(f, names)
            }
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.names.is_empty() {
            write!(f, "{} {} ", self.names.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (n, command) in self.commands.iter().enumerate() {
            let words: Vec<String> = command.iter().map(ToString::to_string).collect();
            write!(f, "{}{}", if n > 0 { " | " } else { "" }, words.join(" "))?;
        }
        Ok(())
    }
}

/// `{{template …}}` as errors quote it.
pub fn template_text(name: &str, pipe: Option<&Pipe>) -> String {
    let pipe = pipe.map(|p| format!(" {p}")).unwrap_or_default();
    format!("{{{{template {}{pipe}}}}}", quoted(name))
}
