//! Where something is on the network: an origin (scheme, host, port), and an address within it.
//!
//! Rule: RFC 3986, as far as registries need it. User names in addresses, backslashes, spaces and control characters are
//! refused; texts for people lose the query, which may be signed.

use std::fmt;

/// What a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `host[:port]`, the scheme's own port if there is none.
    pub fn new(https: bool, authority: &str) -> Result<Self, &'static str> {
        let (host, port) = match authority.rsplit_once(':') {
            // A colon within brackets belongs to the host.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| "the port is no number")?,
            None if https => 443,
            None => 80,
        };
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let ok = match inner {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            }
        };
        if !ok {
            return Err("the host is not valid");
        }
        Ok(Self { https, host: host.to_ascii_lowercase(), port })
    }
    /// Whether what is sent there is encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }
    /// The host, in brackets if it is an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The host without brackets.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// `host`, or `host:port` if it is not the scheme's own.
    pub fn authority(&self) -> String {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
    /// The same host and port by the other scheme.
    pub(crate) fn plain(&self) -> Self {
        let port = if self.port == 443 { 80 } else { self.port };
        Self { https: false, host: self.host.clone(), port }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

/// An absolute address. It is shown without its query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    origin: Origin,
    path: String,
    query: Option<String>,
}

impl Address {
    /// Reads `http://…` or `https://…`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        check(text)?;
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or("it is not absolute")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("the scheme is neither http nor https"),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it holds a user name");
        }
        let (path, query) = split_query(rest);
        Ok(Self { origin: Origin::new(https, authority)?, path: without_dots(path), query })
    }
    /// `path` and `query` at `origin`; both must be clean already.
    pub(crate) fn new(origin: Origin, path: impl Into<String>, query: Option<String>) -> Self {
        Self { origin, path: path.into(), query }
    }
    /// What `location` means, seen from here.
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        check(location)?;
        let location = location.split('#').next().unwrap_or_default();
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", if self.origin.https { "https" } else { "http" }));
        }
        let before_path = location.split(['/', '?']).next().unwrap_or_default();
        if before_path.contains(':') {
            return Self::parse(location);
        }
        let (path, query) = split_query(location);
        let path = match path {
            "" => self.path.clone(),
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            relative => format!("{}/{relative}", self.path.rsplit_once('/').map_or("", |(dir, _)| dir)),
        };
        Ok(Self { origin: self.origin.clone(), path: without_dots(&path), query })
    }
    /// Its origin.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
    /// The path, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
    /// The same with `name=value` added to the query; the value is escaped.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let query = self.query.get_or_insert_default();
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(&escaped(value));
        self
    }
    /// As a request needs it.
    pub(crate) fn uri(&self) -> Result<http::Uri, &'static str> {
        let query = self.query.as_ref().map(|q| format!("?{q}")).unwrap_or_default();
        format!("{}{}{query}", self.origin, self.path).parse().map_err(|_| "it is no valid address")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    match text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\' && b != b'"' && b != b'<' && b != b'>') {
        true => Ok(()),
        false => Err("it holds characters that no address has"),
    }
}

fn split_query(rest: &str) -> (&str, Option<String>) {
    match rest.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (rest, None),
    }
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut pieces = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        match piece {
            "." => {}
            ".." => drop(parts.pop()),
            other => {
                parts.push(other);
                continue;
            }
        }
        if last {
            parts.push("");
        }
    }
    format!("/{}", parts.join("/"))
}

/// Everything but what RFC 3986 leaves free is written as `%XX`.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        match b {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            b if b.is_ascii_alphanumeric() => out.push(char::from(b)),
            b => drop(write!(out, "%{b:02X}")),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, origin, path, query) in [
            ("https://Reg.example.com", "https://reg.example.com", "/", None),
            ("http://h:80/a/../b?x=1#frag", "http://h", "/b", Some("x=1")),
            ("https://[::1]:5000/v2/", "https://[::1]:5000", "/v2/", None),
            ("https://h:443?q", "https://h", "/", Some("q")),
        ] {
            let a = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((a.origin().to_string().as_str(), a.path(), a.query()), (origin, path, query), "{text}");
            assert!(a.uri().is_ok(), "{text}");
        }
        for bad in [
            "",
            "h/x",
            "ftp://h/",
            "https://",
            "https://u:p@h/",
            "https://h:x/",
            "https://a b/",
            "https://h\\@evil/",
            "https://[zz]/",
            "https://h/\r\nX: y",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn joined() {
        let base = Address::parse("https://h/v2/a/blobs/uploads/?x=1").unwrap();
        for (location, expected) in [
            ("/v2/b?state=1", "https://h/v2/b"),
            ("u-1", "https://h/v2/a/blobs/uploads/u-1"),
            ("../../x", "https://h/v2/a/x"),
            ("../../../../../x", "https://h/x"),
            ("//other:8/x", "https://other:8/x"),
            ("http://other/x", "http://other/x"),
            ("?y=2", "https://h/v2/a/blobs/uploads/"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        for bad in ["javascript:alert(1)", "file:///etc/passwd", "/a b", "https:///x"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queries_are_escaped_and_not_shown() {
        let a = Address::parse("https://h/token?x=1").unwrap().with("scope", "repository:a/b:pull,push");
        assert_eq!(a.query(), Some("x=1&scope=repository%3Aa%2Fb%3Apull%2Cpush"));
        assert_eq!(a.to_string(), "https://h/token");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let o = |t: &str| Address::parse(t).unwrap().origin().clone();
        assert_eq!(o("https://h"), o("https://H:443/x"));
        for other in ["http://h", "https://h:444", "https://h.x", "http://h:443"] {
            assert_ne!(o("https://h"), o(other), "{other}");
        }
    }
}
