//! Where a group lies: one path for all hierarchies, or a path of its own in some of them. Pure text, no I/O.
//!
//! A path is always absolute, counted from the hierarchy's root (as an OCI `cgroupsPath` is), and has only plain
//! components, so that it can be walked component by component from a descriptor of the root.

use std::collections::BTreeMap;

use dhow_types::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// The most components of a path; the kernel allows more, nobody needs them.
const MAX_DEPTH: usize = 32;
/// The longest component the kernel accepts.
const MAX_NAME: usize = 255;

/// Paths by hierarchy, with one for those that are not named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct PathMap {
    /// Counted from the hierarchy's root; `/` is the root itself.
    path: String,
    /// Exceptions by the hierarchy's key (`Hierarchy::key`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    by_hierarchy: BTreeMap<String, String>,
}

impl PathMap {
    pub(crate) fn new(path: String, by_hierarchy: BTreeMap<String, String>) -> Self {
        let by_hierarchy = by_hierarchy.into_iter().filter(|(_, p)| *p != path).collect();
        Self { path, by_hierarchy }
    }
    fn get(&self, key: &str) -> &str {
        self.by_hierarchy.get(key).unwrap_or(&self.path)
    }
    fn join(&self, tail: &str) -> Self {
        Self {
            path: join(&self.path, tail),
            by_hierarchy: self.by_hierarchy.iter().map(|(k, p)| (k.clone(), join(p, tail))).collect(),
        }
    }
}

/// The group beneath which groups are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parent(pub(crate) PathMap);

impl Parent {
    /// An absolute path, the same in every hierarchy.
    pub fn absolute(path: &str) -> Result<Self> {
        Ok(Self(PathMap::new(clean(path)?, BTreeMap::new())))
    }
    /// The parent `relative` beneath this one.
    pub fn child(&self, relative: &str) -> Result<Self> {
        Ok(Self(self.0.join(&clean(relative)?)))
    }
    /// Its path in the hierarchy with this key.
    pub fn path_in(&self, hierarchy: &str) -> &str {
        self.0.get(hierarchy)
    }
}

/// The path of one group; what the engine stores and hands to the shim.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupPath(pub(crate) PathMap);

impl GroupPath {
    /// The group `name` beneath `parent`.
    ///
    /// `name` is one component, or several separated by `/`.
    pub fn new(parent: &Parent, name: &str) -> Result<Self> {
        let tail = clean(name)?;
        if tail == "/" {
            return Err(Error::invalid("a control group needs a name"));
        }
        Ok(Self(parent.0.join(&tail)))
    }
    /// An absolute OCI `cgroupsPath`: counts from each hierarchy's root.
    pub fn from_cgroups_path(path: &str) -> Result<Self> {
        if !path.starts_with('/') {
            return Err(Error::invalid(format!("cgroupsPath \"{path}\" is not absolute")));
        }
        Self::new(&Parent(PathMap::new("/".into(), BTreeMap::new())), path)
    }
    /// Any OCI `cgroupsPath`: an absolute one counts from each hierarchy's root; for a relative one the
    /// specification leaves the start to the runtime, here it is the default parent.
    pub fn resolve(layout: &Layout, path: &str) -> Result<Self> {
        if path.starts_with('/') { Self::from_cgroups_path(path) } else { Self::new(&layout.default_parent(), path) }
    }
    /// Its path in the hierarchy with this key, counted from the hierarchy's root.
    pub fn path_in(&self, hierarchy: &str) -> &str {
        self.0.get(hierarchy)
    }
    /// Stored documents are not trusted to hold only clean paths.
    pub(crate) fn check(&self) -> Result<()> {
        for p in std::iter::once(&self.0.path).chain(self.0.by_hierarchy.values()) {
            if clean(p)? != *p || p == "/" {
                return Err(Error::invalid(format!("\"{p}\" is not the path of a control group")));
            }
        }
        Ok(())
    }
}

/// `a` and `b`, both clean, as one path.
pub(crate) fn join(a: &str, b: &str) -> String {
    match (a, b) {
        ("/", _) => b.to_string(),
        (_, "/") => a.to_string(),
        _ => format!("{a}{b}"),
    }
}

/// The components of a clean path.
pub(crate) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|c| !c.is_empty())
}

/// A path as `/a/b`: empty and `.` components dropped; refuses what could leave the tree or confuse it.
pub(crate) fn clean(path: &str) -> Result<String> {
    let mut out = String::with_capacity(path.len() + 1);
    let mut depth = 0;
    for c in path.split('/').filter(|c| !c.is_empty() && *c != ".") {
        depth += 1;
        let why = if c == ".." {
            "it has \"..\""
        } else if c.len() > MAX_NAME {
            "a component is longer than 255 bytes"
        } else if c.contains(|ch: char| ch.is_control()) {
            "it has control characters"
        } else if depth > MAX_DEPTH {
            "it is deeper than 32 groups"
        } else {
            out.push('/');
            out.push_str(c);
            continue;
        };
        let shown: String = path.chars().take(80).collect();
        return Err(Error::invalid(format!("control group path {shown:?} is refused: {why}")));
    }
    if out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (given, want) in [
            ("/", Some("/")),
            ("", Some("/")),
            ("a", Some("/a")),
            ("//a/./b/", Some("/a/b")),
            ("/system.slice:x:y", Some("/system.slice:x:y")),
            ("/a/../b", None),
            ("..", None),
            ("a\nb", None),
            ("a\0b", None),
        ] {
            assert_eq!(clean(given).ok().as_deref(), want, "{given:?}");
        }
        assert!(clean(&"x".repeat(256)).is_err());
        assert!(clean(&"x".repeat(255)).is_ok());
        assert!(clean(&"/a".repeat(33)).is_err());
    }

    #[test]
    fn a_name_goes_beneath_the_parent_of_each_hierarchy() {
        let by = BTreeMap::from([("memory".to_string(), "/own/dhow".to_string())]);
        let parent = Parent(PathMap::new("/dhow".into(), by));
        let path = GroupPath::new(&parent, "abc").unwrap();
        assert_eq!(path.path_in("memory"), "/own/dhow/abc");
        assert_eq!(path.path_in("unified"), "/dhow/abc");
        let text = serde_json::to_string(&path).unwrap();
        assert_eq!(text, r#"{"path":"/dhow/abc","by_hierarchy":{"memory":"/own/dhow/abc"}}"#);
        assert_eq!(serde_json::from_str::<GroupPath>(&text).unwrap(), path);
        assert!(GroupPath::new(&parent, "/").is_err());
        assert!(GroupPath::from_cgroups_path("a/b").is_err());
        assert_eq!(GroupPath::from_cgroups_path("/a/b").unwrap().path_in("cpu"), "/a/b");
    }

    #[test]
    fn stored_paths_are_checked_again() {
        for text in [r#"{"path":"/a/../b"}"#, r#"{"path":"a"}"#, r#"{"path":"/"}"#] {
            assert!(serde_json::from_str::<GroupPath>(text).unwrap().check().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<GroupPath>(r#"{"path":"/a/b"}"#).unwrap().check().is_ok());
    }
}
