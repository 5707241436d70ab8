//! `--rootfs`: a directory of the machine instead of an image, as text.

use dhow_types::{Error, Result};

/// What happens to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They reach the directory.
    Through,
    /// They are refused.
    Refused,
    /// They go to a layer above.
    Overlay,
}

/// Parses `/path`, `/path:ro`, `/path:rw` and `/path:O`.
pub fn parse(text: &str) -> Result<(&str, Writes)> {
    let (path, writes) = match text.rsplit_once(':') {
        Some((path, "O")) => (path, Writes::Overlay),
        Some((path, "ro")) => (path, Writes::Refused),
        Some((path, "rw")) => (path, Writes::Through),
        Some((_, option)) if !option.contains('/') => {
            return Err(Error::invalid(format!("invalid rootfs option {option:?}: use O (overlay), ro or rw")));
        }
        _ => (text, Writes::Through),
    };
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("invalid rootfs {path:?}: use an absolute path")));
    }
    Ok((path, writes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(parse("/:O").unwrap(), ("/", Writes::Overlay));
        assert_eq!(parse("/a").unwrap(), ("/a", Writes::Through));
        assert_eq!(parse("/a:ro").unwrap(), ("/a", Writes::Refused));
        assert_eq!(parse("/a:b/c").unwrap(), ("/a:b/c", Writes::Through));
        for bad in ["", "a", "a:O", "/a:x", ":O"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
