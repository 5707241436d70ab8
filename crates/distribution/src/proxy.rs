//! Through which proxy a host is reached. Rule: Go's `httpproxy`, which Docker uses.

use crate::address::{Address, Origin};
use ipnet::IpNet;
use std::net::IpAddr;

/// The proxies of the daemon's settings or environment; the texts are as there.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http://`: `HTTP_PROXY`.
    pub http: String,
    /// For `https://`: `HTTPS_PROXY`.
    pub https: String,
    /// What is reached without one: `NO_PROXY`.
    pub none: String,
}

/// A proxy, and what it is shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub address: Address,
    pub user: Option<(String, String)>,
}

impl Proxies {
    /// Reads both addresses; the error names the one that can't be used. One that is not checked so fails where it is
    /// needed: nothing ever goes around it.
    pub fn check(&self) -> Result<(), String> {
        for (text, name) in [(&self.http, "HTTP_PROXY"), (&self.https, "HTTPS_PROXY")] {
            read(text).map_err(|e| wrong(name, e))?;
        }
        Ok(())
    }
    /// The same for people: without user names and passwords, as Docker masks them.
    pub fn masked(&self) -> Self {
        Self { http: masked(&self.http), https: masked(&self.https), none: self.none.clone() }
    }
    /// The proxy for `origin`, if it is reached through one.
    pub(crate) fn of(&self, origin: &Origin) -> Result<Option<Proxy>, String> {
        let (text, name) = if origin.is_https() { (&self.https, "HTTPS_PROXY") } else { (&self.http, "HTTP_PROXY") };
        if text.is_empty() || !self.wanted(origin) {
            return Ok(None);
        }
        read(text).map_err(|e| wrong(name, e))
    }
    fn wanted(&self, origin: &Origin) -> bool {
        let host = origin.bare_host();
        let ip: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return false;
        }
        !self.none.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| matches(rule, host, ip, origin))
    }
}

fn wrong(name: &str, why: &str) -> String {
    format!("invalid proxy in {name}: {why}")
}

fn masked(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let slashes = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{slashes}xxxxx:xxxxx@{host}"),
        None => text.to_owned(),
    }
}

fn matches(rule: &str, host: &str, ip: Option<IpAddr>, origin: &Origin) -> bool {
    let rule = rule.to_ascii_lowercase();
    if rule == "*" {
        return true;
    }
    if let Ok(net) = rule.parse::<IpNet>() {
        return ip.is_some_and(|ip| net.contains(&ip));
    }
    let (name, port) = match rule.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse::<u16>().ok()),
        _ => (rule.as_str(), None),
    };
    if port.is_some_and(|p| p != origin.port()) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = name.parse::<IpAddr>() {
        return ip == Some(address);
    }
    // With a dot before it only what is below, without one also the name itself.
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(below) => host.strip_suffix(below).is_some_and(|h| h.ends_with('.')),
        None => host == name || host.strip_suffix(name).is_some_and(|h| h.ends_with('.')),
    }
}

/// `[http://][user[:password]@]host[:port]`.
fn read(text: &str) -> Result<Option<Proxy>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return Err("dhow speaks to proxies by http:// only"),
        None => text,
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let address = Address::parse(&format!("http://{host}"))?;
    let user = user.map(|u| {
        let (name, password) = u.split_once(':').unwrap_or((u, ""));
        (unescaped(name), unescaped(password))
    });
    Ok(Some(Proxy { address, user }))
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| std::str::from_utf8(h).ok()).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gos_rules() {
        let o = |t: &str| Address::parse(t).unwrap().origin().clone();
        for (none, target, proxied) in [
            ("", "https://r.example.com", true),
            ("", "https://localhost:5000", false),
            ("", "https://127.9.9.9", false),
            ("", "https://[::1]:5000", false),
            ("*", "https://r.example.com", false),
            ("example.com", "https://r.example.com", false),
            ("example.com", "https://example.com", false),
            (".example.com", "https://example.com", true),
            (".example.com", "https://r.example.com", false),
            ("*.example.com", "https://r.example.com", false),
            ("ample.com", "https://r.example.com", true),
            ("a, 10.0.0.0/8 ,b", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://11.1.2.3", true),
            ("r.example.com:5000", "https://r.example.com", true),
            ("r.example.com:443", "https://r.example.com", false),
            ("[fd00::1]", "https://[fd00::1]", false),
        ] {
            let proxies = Proxies { https: "proxy:3128".into(), none: none.into(), ..Proxies::default() };
            assert_eq!(proxies.of(&o(target)).unwrap().is_some(), proxied, "{none:?} {target}");
        }
        let proxies = Proxies { https: "http://us%40er:pa:ss@proxy:3128".into(), ..Proxies::default() };
        let proxy = proxies.of(&o("https://h")).unwrap().unwrap();
        assert_eq!(proxy.address.to_string(), "http://proxy:3128/");
        assert_eq!(proxy.user, Some(("us@er".into(), "pa:ss".into())));
        assert!(proxies.of(&o("http://h")).unwrap().is_none());
        assert_eq!(proxies.masked().https, "http://xxxxx:xxxxx@proxy:3128");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (bad, words) in
            [("https://p:1", "http:// only"), ("socks5://p:1", "http:// only"), ("http://", "host is not valid")]
        {
            let e = Proxies { http: bad.into(), ..Proxies::default() }.check().unwrap_err();
            assert!(e.contains(words) && e.contains("HTTP_PROXY"), "{bad}: {e}");
        }
        assert!(Proxies::default().check().is_ok());
        // Not checked before: refused where it is needed, and only there.
        let bad = Proxies { https: "socks5://p:1".into(), ..Proxies::default() };
        let of = |t: &str| bad.of(Address::parse(t).unwrap().origin());
        assert!(of("https://r.example.com").is_err() && of("https://127.0.0.1").is_ok() && of("http://r").is_ok());
        for (text, want) in [("me:secret@p:1", "xxxxx:xxxxx@p:1"), ("http://p:1/", "http://p:1/"), ("", "")] {
            assert_eq!(masked(text), want);
        }
    }
}
