//! What a name in an archive means: pure rules over bytes, no look at any file system.
//!
//! Names are kept byte for byte; they are cut at slashes and cleaned the way Docker and containerd
//! do it (`.` dropped, `..` takes a component back), and what would leave the tree is refused.

use dhow_types::{Error, Result};
use std::borrow::Cow;

/// The longest cleaned name: the kernel's PATH_MAX without the final NUL.
pub(crate) const MAX_NAME: usize = 4095;
/// The longest component: NAME_MAX of every file system in use.
const MAX_COMPONENT: usize = 255;

/// What says that the rest of the name is a deletion.
const WHITEOUT: &[u8] = b".wh.";

/// How long a component may be. The name that a whiteout deletes may be as long as any, and `.wh.` comes before it; it is
/// never the name of a file.
fn longest(component: &[u8]) -> usize {
    if component.starts_with(WHITEOUT) { MAX_COMPONENT + WHITEOUT.len() } else { MAX_COMPONENT }
}

/// A name for people: lossy, and cut if it is very long.
pub(crate) fn shown(name: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]).escape_debug().to_string();
    if name.len() > SHOWN { format!("{text}…") } else { text }
}

/// The name relative to the root, without `.`, `..`, doubled or trailing slashes; empty for the root itself.
/// An absolute name counts from the tree's root, where `..` stays, as in a chroot.
pub(crate) fn clean(name: &[u8]) -> Result<Cow<'_, [u8]>> {
    if name.contains(&0) {
        return Err(Error::invalid(format!("name {} has a NUL byte", shown(name))));
    }
    let plain = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.split(|&b| b == b'/').all(|c| !matches!(c, b"" | b"." | b"..") && c.len() <= longest(c));
    if plain {
        return Ok(Cow::Borrowed(name));
    }
    let absolute = name.first() == Some(&b'/');
    let mut out: Vec<u8> = Vec::with_capacity(name.len().min(MAX_NAME));
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match out.iter().rposition(|&b| b == b'/') {
                Some(at) => out.truncate(at),
                None if !out.is_empty() => out.clear(),
                None if absolute => {}
                None => {
                    return Err(Error::invalid(format!("name {} leads out of the tree", shown(name))));
                }
            },
            c if c.len() > longest(c) => {
                return Err(Error::invalid(format!(
                    "name {} has a component of {} bytes, the limit is {}",
                    shown(name),
                    c.len(),
                    longest(c)
                )));
            }
            c => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(c);
                if out.len() > MAX_NAME {
                    return Err(Error::invalid(format!("name {} has more than {MAX_NAME} bytes", shown(name))));
                }
            }
        }
    }
    Ok(Cow::Owned(out))
}

/// Parent and last component of a cleaned name that is not the root.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// `parent/name`, where the root is empty.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parent.len() + 1 + name.len());
    out.extend_from_slice(parent);
    if !parent.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}

/// Whether `path` is `dir` or lies in it.
pub(crate) fn within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || (path.starts_with(dir) && matches!(path.get(dir.len()), None | Some(b'/')))
}

/// What the last component of a name says about lower layers.
/// Rule: OCI image-spec, layer.md "Whiteouts"; other `.wh..wh.` names are bookkeeping of AUFS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker<'a> {
    /// An ordinary name.
    None,
    /// This name does not exist in lower layers.
    Whiteout(&'a [u8]),
    /// The directory hides all that lower layers have in it.
    Opaque,
    /// To be passed over.
    Bookkeeping,
}

/// Classifies the last component of a name.
pub(crate) fn marker(name: &[u8]) -> Result<Marker<'_>> {
    let Some(rest) = name.strip_prefix(WHITEOUT) else { return Ok(Marker::None) };
    if name == b".wh..wh..opq" {
        return Ok(Marker::Opaque);
    }
    if rest.starts_with(b".wh.") {
        return Ok(Marker::Bookkeeping);
    }
    match rest {
        b"" | b"." | b".." => Err(Error::invalid(format!("whiteout {} names no file", shown(name)))),
        _ => Ok(Marker::Whiteout(rest)),
    }
}

/// Whether a component anywhere in the path is AUFS bookkeeping: what lies in it is passed over as well.
pub(crate) fn in_bookkeeping(path: &[u8]) -> bool {
    path.starts_with(b".wh..wh.") && path.split(|&b| b == b'/').nth(1).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_like_docker_does() {
        for (name, want) in [
            (&b"a/b"[..], Some(&b"a/b"[..])),
            (b"./a//b/.", Some(b"a/b")),
            (b"./", Some(b"")),
            (b".", Some(b"")),
            (b"", Some(b"")),
            (b"/", Some(b"")),
            (b"/etc/passwd", Some(b"etc/passwd")),
            (b"/../x", Some(b"x")),
            (b"a/../b", Some(b"b")),
            (b"a/b/../../c", Some(b"c")),
            (b"./../x", None),
            (b"../x", None),
            (b"a/../../x", None),
            (b"..", None),
            (b"a\\..\\b", Some(b"a\\..\\b")),
            (b"..a/...", Some(b"..a/...")),
            (b"\xff\xfe", Some(b"\xff\xfe")),
            (b"a\0b", None),
        ] {
            assert_eq!(clean(name).ok().as_deref(), want, "{}", shown(name));
        }
        assert!(clean(&[b'a'; 255]).is_ok() && clean(&[b'a'; 256]).is_err());
        let deleted = |n: usize| [WHITEOUT, &vec![b'a'; n]].concat();
        assert!(clean(&deleted(255)).is_ok() && clean(&deleted(256)).is_err());
        assert!(clean(&b"a/".repeat(2048)).is_ok() && clean(&b"a/".repeat(2049)).is_err());
    }

    #[test]
    fn markers() {
        assert_eq!(marker(b"a").unwrap(), Marker::None);
        assert_eq!(marker(b".wh.a").unwrap(), Marker::Whiteout(b"a"));
        assert_eq!(marker(b".wh..a").unwrap(), Marker::Whiteout(b".a"));
        assert_eq!(marker(b".wh..wh..opq").unwrap(), Marker::Opaque);
        assert_eq!(marker(b".wh..wh.plnk").unwrap(), Marker::Bookkeeping);
        for bad in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(marker(bad).is_err());
        }
    }

    #[test]
    fn paths() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
        assert_eq!((join(b"", b"x"), join(b"a", b"x")), (b"x".to_vec(), b"a/x".to_vec()));
        assert!(within(b"a/b", b"a") && within(b"a", b"a") && !within(b"ab", b"a") && within(b"x", b""));
    }
}
