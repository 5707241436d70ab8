//! The tricks, one row each, by subject. A refusal comes with its twin: nearly the same archive, without the trick,
//! which must be accepted. Whatever is accepted must come back from its recipe byte for byte.

mod dialects;
mod links;
mod names;
mod nodes;
mod sizes;
mod whiteouts;

use crate::Tar;

/// A layer's tar and what must become of it.
pub struct Row {
    /// What it tries.
    pub name: &'static str,
    /// The tar.
    pub layer: Vec<u8>,
    /// What must become of it.
    pub want: Want,
}

/// What must become of an archive.
pub enum Want {
    /// An error whose text has this in it; and the twin that is accepted.
    Refused(&'static str, Vec<u8>),
    /// These paths and contents, as [`crate::outline`] shows them, no others.
    Tree(Vec<String>),
}

/// All of them.
pub fn rows() -> Vec<Row> {
    [names::rows(), links::rows(), nodes::rows(), whiteouts::rows(), sizes::rows(), dialects::rows()]
        .into_iter()
        .flatten()
        .collect()
}

/// A row that is refused.
fn no(name: &'static str, layer: Vec<u8>, word: &'static str, twin: Vec<u8>) -> Row {
    Row { name, layer, want: Want::Refused(word, twin) }
}

/// A row that is accepted, and its tree.
fn yes(name: &'static str, layer: Vec<u8>, tree: &[&str]) -> Row {
    Row { name, layer, want: Want::Tree(tree.iter().map(|&s| s.to_owned()).collect()) }
}

fn t() -> Tar {
    Tar::new()
}
