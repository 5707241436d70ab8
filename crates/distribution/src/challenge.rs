//! `WWW-Authenticate`: which proof a server asks for. Rule: RFC 9110, 11.6.1; several challenges in one header or many.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that name, which is in lower case.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The most challenges that are looked at.
const MOST: usize = 16;

/// All challenges of an answer, in their order.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        if let Ok(text) = value.to_str() {
            read(text, &mut found);
        }
    }
    found.truncate(MOST);
    found
}

fn read(text: &str, found: &mut Vec<Challenge>) {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word = token(rest);
        if word.is_empty() || found.len() > MOST {
            return;
        }
        rest = rest[word.len()..].trim_start_matches([' ', '\t']);
        let Some(after) = rest.strip_prefix('=') else {
            // A word that is not a parameter's name begins the next challenge.
            found.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
            continue;
        };
        let after = after.trim_start_matches([' ', '\t']);
        let (value, left) = value(after);
        rest = left;
        if let Some(last) = found.last_mut() {
            last.params.push((word.to_ascii_lowercase(), value));
        }
    }
}

fn token(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c))).unwrap_or(text.len());
    &text[..end]
}

/// A word or a quoted text, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let word = token(text);
        // What is left of a broken value is passed over.
        let end = text[word.len()..].find(',').map_or(text.len(), |at| word.len() + at);
        return (word.to_owned(), &text[end..]);
    };
    let mut out = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &inner[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    (out, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Challenge> {
        let mut found = Vec::new();
        read(text, &mut found);
        found
    }

    #[test]
    fn docker_hubs() {
        let c = of(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
        );
        assert_eq!(c.len(), 1);
        assert_eq!(c[0].scheme, "bearer");
        assert_eq!(c[0].param("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(c[0].param("scope"), Some("repository:library/busybox:pull"));
        assert_eq!(c[0].param("error"), None);
    }

    #[test]
    fn several_escaped_and_broken() {
        let c = of(r#"BASIC realm="a \"b\", c" , Bearer Realm=x, service = y"#);
        assert_eq!(c.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["basic", "bearer"]);
        assert_eq!(c[0].param("realm"), Some("a \"b\", c"));
        assert_eq!((c[1].param("realm"), c[1].param("service")), (Some("x"), Some("y")));
        for broken in ["", ",,,", "=", "\"", r#"Bearer realm="open"#, "Bearer realm", "é", "a=b"] {
            of(broken);
        }
        assert_eq!(of(r#"Bearer realm="open"#)[0].param("realm"), Some("open"));
        assert!(of(&"a, ".repeat(1000)).len() <= MOST + 1);
    }
}
