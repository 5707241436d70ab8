//! What a daemon or a command says about registries, before and after it is checked.

use crate::address::{Address, Origin};
use crate::bounds::Bounds;
use crate::insecure::Insecure;
use crate::proxy::Proxies;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that can be set.
#[derive(Clone, Default)]
pub struct Settings {
    /// Mirrors by registry (`docker.io`, `host[:port]`), in their order: `http[s]://host[:port][/path]`.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// `insecure-registries`.
    pub insecure: Vec<String>,
    /// Where `HOST[:PORT]/` with certificates or a `hosts.toml` may stand; the first directory that has it counts.
    pub certs_dirs: Vec<PathBuf>,
    /// Files and directories with the system's certificates; none = where Linux systems have them.
    pub roots: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Token servers on other sites that may be shown a registry's password, by registry (`host[:port]`).
    pub realms: BTreeMap<String, Vec<String>>,
    /// Limits.
    pub bounds: Bounds,
    /// `User-Agent`.
    pub user_agent: String,
}

/// [`Settings`] that can be used.
pub(crate) struct Checked {
    pub mirrors: BTreeMap<String, Vec<Address>>,
    pub insecure: Insecure,
    pub certs_dirs: Vec<PathBuf>,
    pub roots: Vec<PathBuf>,
    pub proxies: Proxies,
    pub realms: BTreeMap<String, Vec<Origin>>,
    pub bounds: Bounds,
    pub user_agent: String,
}

impl Settings {
    pub(crate) fn check(self) -> Result<Checked, String> {
        let mut mirrors = BTreeMap::new();
        for (registry, list) in self.mirrors {
            let registry =
                if registry == "index.docker.io" { "docker.io".to_owned() } else { registry.to_ascii_lowercase() };
            let list = list.iter().map(|m| mirror(m)).collect::<Result<Vec<_>, _>>()?;
            mirrors.insert(registry, list);
        }
        let mut realms = BTreeMap::new();
        for (registry, list) in self.realms {
            let read = |r: &String| {
                Address::parse(r).map(|a| a.origin().clone()).map_err(|e| format!("invalid token server {r:?}: {e}"))
            };
            realms.insert(registry.to_ascii_lowercase(), list.iter().map(read).collect::<Result<Vec<_>, _>>()?);
        }
        self.proxies.check()?;
        if !self.user_agent.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err("the user agent holds characters that no header may have".into());
        }
        Ok(Checked {
            mirrors,
            insecure: Insecure::read(&self.insecure)?,
            certs_dirs: self.certs_dirs,
            roots: self.roots,
            proxies: self.proxies,
            realms,
            bounds: self.bounds,
            user_agent: if self.user_agent.is_empty() { "dhow".into() } else { self.user_agent },
        })
    }
}

/// Rule and words: Docker's `ValidateMirror`.
fn mirror(text: &str) -> Result<Address, String> {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    if !matches!(scheme, "http" | "https") {
        return Err(format!("invalid mirror: unsupported scheme {scheme:?} in {text:?}"));
    }
    if text.contains(['?', '#']) {
        return Err(format!("invalid mirror: query or fragment at end of the URI {text:?}"));
    }
    // The text itself is left out: it holds a password.
    if text.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
        return Err("invalid mirror: username/password not allowed in URI".into());
    }
    Address::parse(text).map_err(|e| format!("invalid mirror: {text:?} is not a valid URI: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_checked_in_dockers_words() {
        for (text, words) in [
            ("mirror", "unsupported scheme \"\""),
            ("ftp://m", "unsupported scheme \"ftp\""),
            ("https://m/?x", "query or fragment"),
            ("https://u:secret@m", "username/password not allowed"),
            ("https://m m", "not a valid URI"),
        ] {
            let e = mirror(text).unwrap_err();
            assert!(e.contains(words) && !e.contains("secret"), "{text}: {e}");
        }
        assert_eq!(mirror("https://m/path/").unwrap().to_string(), "https://m/path/");
        let s = Settings {
            mirrors: BTreeMap::from([("index.docker.io".into(), vec!["http://m".into()])]),
            ..Settings::default()
        };
        assert!(s.check().unwrap().mirrors.contains_key("docker.io"));
    }
}
