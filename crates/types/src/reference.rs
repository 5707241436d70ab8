//! The name of an image: `[domain/]path[:tag][@digest]`, with Docker's normal form.
//!
//! Rule: the grammar of distribution/reference and its "familiar" names: without a domain it is
//! `docker.io`, and there a one-part path lies under `library/`. Nothing here looks a name up.

use crate::digest::Digest;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The domain that is left out of familiar names.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag meant when none is written.
pub const DEFAULT_TAG: &str = "latest";
/// The longest name (domain and path) the grammar allows.
const NAME_MAX: usize = 255;
/// The longest tag the grammar allows.
const TAG_MAX: usize = 128;

/// A checked, normalised image name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and port, `docker.io` if none was written.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// The repository within the domain, e.g. `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// The tag as written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// The digest as written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
    /// Domain and path: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }
    /// The short form of the name: `busybox`.
    pub fn familiar_name(&self) -> String {
        match (self.domain == DEFAULT_DOMAIN, self.path.strip_prefix("library/")) {
            (true, Some(short)) if !short.contains('/') => short.to_owned(),
            (true, _) => self.path.clone(),
            (false, _) => self.name(),
        }
    }
    /// The short form with tag and digest as they are: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }
    /// The same with tag `latest` if there is neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }
    /// The same repository under `tag`, without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }
    /// The same repository under `digest`, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        if is_hex64(s) {
            return Err(Error::invalid(format!(
                "invalid repository name ({s}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (rest, digest) = match s.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (s, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (domain, path) = split_domain(name);
        if !path.is_empty() && path.to_lowercase() != path {
            return Err(Error::invalid(format!(
                "invalid reference format: repository name ({path}) must be lowercase"
            )));
        }
        if !valid_domain(&domain) || !path.split('/').all(valid_component) {
            return Err(invalid());
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(Error::invalid("repository name must not be more than 255 characters"));
        }
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        Ok(Self { domain, path, tag: tag.map(str::to_owned), digest })
    }
}

fn invalid() -> Error {
    Error::invalid("invalid reference format")
}

fn is_hex64(s: &str) -> bool {
    s.len() == 64 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_tag(tag: &str) -> Result<()> {
    let mut bytes = tag.bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let ok =
        tag.len() <= TAG_MAX && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || matches!(b, b'.' | b'-'));
    if ok { Ok(()) } else { Err(invalid()) }
}

/// The first part is a domain if it could not be part of a path: it has a dot, a colon or a capital, or is `localhost`.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first => {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !path.is_empty() && !path.contains('/') {
        return (domain.to_owned(), format!("library/{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(v6) => {
            let Some((addr, rest)) = v6.split_once(']') else { return false };
            if addr.is_empty() || !addr.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match rest {
                "" => return true,
                _ => (None, rest.strip_prefix(':')),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), Some("0")),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.is_none_or(|h| h.split('.').all(label))
        && port.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, held together by `.`, `_`, `__` or any number of `-`.
fn valid_component(c: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = c.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alnum(first) || !alnum(last) {
        return false;
    }
    bytes
        .split(|&b| alnum(b))
        .filter(|sep| !sep.is_empty())
        .all(|sep| matches!(sep, b"." | b"_" | b"__") || sep.iter().all(|&b| b == b'-'))
}

impl fmt::Display for Reference {
    /// The full form: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_and_familiar_forms() {
        let d = Digest::of(b"");
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("dhow/hello", "docker.io/dhow/hello", "dhow/hello"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/library/x", "docker.io/library/x", "x"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
            ("reg.example.com/a/b_c__d-e--f.g", "reg.example.com/a/b_c__d-e--f.g", "reg.example.com/a/b_c__d-e--f.g"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("Upper/x", "Upper/x", "Upper/x"),
            (&format!("x:t@{d}"), &format!("docker.io/library/x:t@{d}"), &format!("x:t@{d}")),
        ] {
            let r: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((r.to_string().as_str(), r.familiar().as_str()), (full, familiar), "{text}");
            assert_eq!(r.to_string().parse::<Reference>().unwrap(), r, "{text}");
            assert_eq!(r.familiar().parse::<Reference>().unwrap(), r, "{text}");
        }
        assert_eq!("x".parse::<Reference>().unwrap().or_latest().familiar(), "x:latest");
    }

    #[test]
    fn refused() {
        let long = "a".repeat(256);
        let tag = format!("x:{}", "t".repeat(129));
        for bad in [
            "",
            ":",
            "x:",
            "/x",
            "x/",
            "a//b",
            "..",
            "../x",
            "x:.t",
            "x:-t",
            "x y",
            "X",
            "lib/X",
            "-x",
            "x-",
            "a._b",
            "a___b",
            "x@sha256:00",
            "x@md5:aa",
            "host:port/x",
            "[zz]/x",
            "x:t:u",
            "é",
            &long,
            &tag,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
        let hex = "a".repeat(64);
        assert!(hex.parse::<Reference>().unwrap_err().text().contains("64-byte hexadecimal"));
        assert_eq!(
            "Busy".parse::<Reference>().unwrap_err().text(),
            "invalid reference format: repository name (library/Busy) must be lowercase"
        );
    }
}
