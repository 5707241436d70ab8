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

/// [`Settings`] as people may see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Mirrors by registry; each ends in a slash.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Networks whose registries are trusted without TLS.
    pub insecure_networks: Vec<String>,
    /// Registries that are trusted without TLS, by name.
    pub insecure_hosts: Vec<String>,
    /// For `http://`, without password.
    pub http_proxy: String,
    /// For `https://`, without password.
    pub https_proxy: String,
    /// What is reached without a proxy.
    pub no_proxy: String,
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
            let mut read: Vec<Address> = Vec::new();
            for text in list {
                let address = mirror(&text)?;
                if !read.contains(&address) {
                    read.push(address);
                }
            }
            mirrors.insert(registry, read);
        }
        let mut realms = BTreeMap::new();
        for (registry, list) in self.realms {
            let read = |r: &String| {
                if names_a_user(r) {
                    return Err(format!("invalid token server of {registry:?}: a user's name can't be part of it"));
                }
                Address::parse(r).map(|a| a.origin().clone()).map_err(|e| format!("invalid token server {r:?}: {e}"))
            };
            realms.insert(registry.to_ascii_lowercase(), list.iter().map(read).collect::<Result<Vec<_>, _>>()?);
        }
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

impl Checked {
    /// As people may see it.
    pub(crate) fn shown(&self) -> Shown {
        let slashed = |m: &Address| format!("{}/", m.to_string().trim_end_matches('/'));
        let proxies = self.proxies.masked();
        Shown {
            mirrors: self.mirrors.iter().map(|(r, list)| (r.clone(), list.iter().map(slashed).collect())).collect(),
            insecure_networks: self.insecure.networks(),
            insecure_hosts: self.insecure.hosts().to_vec(),
            http_proxy: proxies.http,
            https_proxy: proxies.https,
            no_proxy: proxies.none,
        }
    }
}

/// Whether an address has a user's name in it, and so perhaps a password: such a text stands in no message.
fn names_a_user(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

/// Rule and words: Docker's `ValidateMirror`.
fn mirror(text: &str) -> Result<Address, String> {
    if names_a_user(text) {
        return Err("invalid mirror: username/password not allowed in URI".into());
    }
    const MUST: &str = "must use either 'https://' or 'http://'";
    let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty()) else {
        return Err(format!("invalid mirror: no scheme specified for {text:?}: {MUST}"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err(format!("invalid mirror: unsupported scheme {scheme:?} in {text:?}: {MUST}"));
    }
    if text.contains(['?', '#']) {
        return Err(format!("invalid mirror: query or fragment at end of the URI {text:?}"));
    }
    Address::parse(text).map_err(|e| format!("invalid mirror: {text:?} is not a valid URI: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_checked_in_dockers_words() {
        for (text, words) in [
            ("mirror:5000", "no scheme specified for \"mirror:5000\": must use either 'https://' or 'http://'"),
            ("ftp://m", "unsupported scheme \"ftp\""),
            ("https://m/?x", "query or fragment"),
            ("https://u:secret@m", "username/password not allowed"),
            ("u:secret@m", "username/password not allowed"),
            ("ftp://u:secret@m/x", "username/password not allowed"),
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
        let realms = BTreeMap::from([("r".into(), vec!["https://u:secret@a".into()])]);
        let e = Settings { realms, ..Settings::default() }.check().err().unwrap();
        assert!(e.contains("token server of \"r\"") && !e.contains("secret"), "{e}");
    }

    #[test]
    fn what_people_see() {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let s = Settings {
            mirrors: BTreeMap::from([("docker.io".into(), list(&["https://m", "https://m/", "http://n/x"]))]),
            insecure: list(&["r:5000", "10.1.2.3/8"]),
            proxies: Proxies { https: "http://u:secret@p:1".into(), none: "a,b".into(), ..Proxies::default() },
            ..Settings::default()
        };
        let shown = s.check().unwrap().shown();
        assert_eq!(shown.mirrors["docker.io"], ["https://m/", "http://n/x/"]);
        assert_eq!(shown.insecure_networks, ["10.0.0.0/8", "::1/128", "127.0.0.0/8"]);
        assert_eq!(shown.insecure_hosts, ["r:5000"]);
        assert_eq!((shown.https_proxy.as_str(), shown.no_proxy.as_str()), ("http://xxxxx:xxxxx@p:1", "a,b"));
    }
}
