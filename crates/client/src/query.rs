//! Query strings and path segments, percent-encoded (RFC 3986, section 2.1).

use std::fmt::Write as _;

/// Encodes one path segment or query value.
pub fn encode(raw: &str) -> String {
    raw.bytes().fold(String::with_capacity(raw.len()), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            _ => {
                let _ = write!(out, "%{b:02X}");
            }
        }
        out
    })
}

/// Encodes an image name as a path: its slashes stay.
pub fn encode_path(raw: &str) -> String {
    raw.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// `?a=b&c=d` from the pairs that have a value; empty when none has.
pub fn build(pairs: &[(&str, Option<String>)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            let _ = write!(out, "{}{}={}", if out.is_empty() { '?' } else { '&' }, name, encode(value));
        }
    }
    out
}

/// `Some("1")` when set, as Docker's clients send booleans.
pub fn flag(on: bool) -> Option<String> {
    on.then(|| "1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_is_not_unreserved() {
        assert_eq!(encode("a b/c&d=é"), "a%20b%2Fc%26d%3D%C3%A9");
        assert_eq!(encode_path("reg:5000/a b"), "reg%3A5000/a%20b");
        assert_eq!(build(&[("a", Some("1".into())), ("b", None), ("c", Some("x y".into()))]), "?a=1&c=x%20y");
        assert_eq!(build(&[("a", None)]), "");
    }
}
