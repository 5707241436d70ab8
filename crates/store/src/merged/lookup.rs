//! One path of the tree, links included, and the text of small files.

use super::{Dir, Leaf, Node, Place, View, io, reopen};
use dhow_types::{Context as _, Error, ErrorKind, Result};
use rustix::fs::{FileType, Stat};
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// Most links followed on one path, as the kernel has it.
const MAX_LINKS: usize = 40;
/// Largest file that is read whole.
const MAX_FILE: u64 = 10 << 20;
/// Most components of a path.
const MAX_DEPTH: usize = 1024;

/// What is at the end of a path.
#[derive(Debug)]
pub enum Found {
    /// A directory.
    Dir(Place),
    /// Anything else, opened as a mere name (`O_PATH`), and its data.
    Leaf(OwnedFd, Box<Stat>),
}

impl View {
    /// Walks `path` from the root. Links are followed as a process would see them whose root this is.
    pub fn lookup(&self, path: &str) -> Result<Option<Found>> {
        let mut todo: Vec<OsString> = components(OsStr::new(path));
        todo.reverse();
        // From below the root down to where we are, so that `..` has somewhere to go.
        let mut stack: Vec<Place> = Vec::new();
        let root = self.root();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                stack.pop();
                continue;
            }
            if stack.len() > MAX_DEPTH {
                return Err(Error::invalid(format!("{path:?} is deeper than {MAX_DEPTH} directories")));
            }
            let Some(here) = self.dir(stack.last().unwrap_or(&root))? else { return Ok(None) };
            let leaf = match here.child(&name)? {
                None => return Ok(None),
                Some(Node::Dir(place)) => {
                    stack.push(place);
                    continue;
                }
                Some(Node::Leaf(leaf)) => leaf,
            };
            let Some((file, stat)) = opened(&here, &name, &leaf)? else { return Ok(None) };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Ok(todo.is_empty().then_some(Found::Leaf(file, stat)));
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::invalid(format!("too many links on {path:?}")));
            }
            let target = rustix::fs::readlinkat(&file, "", Vec::new()).map_err(io)?;
            let target = OsStr::from_bytes(target.to_bytes());
            if target.as_bytes().starts_with(b"/") {
                stack.clear();
            }
            todo.extend(components(target).into_iter().rev());
        }
        Ok(Some(Found::Dir(stack.pop().unwrap_or(root))))
    }

    /// The text of a regular file of at most 10 MiB; empty if there is none.
    pub fn read(&self, path: &str) -> Result<String> {
        let Some(Found::Leaf(file, stat)) = self.lookup(path)? else { return Ok(String::new()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::invalid(format!("{path} in the container is not a regular file")));
        }
        let file = reopen(file.as_fd()).with_context(|| format!("open {path} of the container"))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("read {path} of the container"))?;
        if bytes.len() as u64 > MAX_FILE {
            let text = format!("{path} in the container is larger than {} MiB", MAX_FILE >> 20);
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The thing itself, and its data again, now that it can't be replaced.
fn opened(dir: &Dir, name: &OsStr, leaf: &Leaf) -> Result<Option<(OwnedFd, Box<Stat>)>> {
    let Some(file) = dir.open_leaf(name, leaf)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&file).map_err(io)?;
    Ok(Some((file, Box::new(stat))))
}

fn components(path: &OsStr) -> Vec<OsString> {
    path.as_bytes()
        .split(|b| *b == b'/')
        .filter(|c| !c.is_empty() && *c != b".")
        .map(|c| OsString::from_vec(c.to_vec()))
        .collect()
}
