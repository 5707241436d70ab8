//! The keys of the configuration file that say how registries are reached, as a checked client.

use anyhow::{Result, bail};
use dhow_distribution::{Bounds, Proxies, Registries, Settings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where certificates and mirrors of registries may stand: ours, Docker's and containerd's.
const CERTS_DIRS: [&str; 3] = ["/etc/dhow/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d"];
/// The registry that Docker's list of mirrors is for.
const HUB: &str = "docker.io";
/// No transfer is tried more often in a row.
const MOST_ATTEMPTS: u32 = 100;
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Docker's numbers of attempts and of uploads at the same time.
const ATTEMPTS: u32 = 5;
const UPLOADS: usize = 5;
/// Downloads at the same time: one more than Docker's, for they are unpacked while they come.
const DOWNLOADS: usize = 4;
/// No more transfers at the same time, also where Docker knows no limit (0).
const MOST_TRANSFERS: usize = 64;

/// Flags about registries, as dockerd has them.
#[derive(clap::Args, Default)]
pub struct Flags {
    /// Mirror of Docker Hub that is asked first (https://HOST[:PORT])
    #[arg(long, value_name = "URL")]
    registry_mirror: Vec<String>,
    /// Registry that is trusted without TLS (HOST[:PORT] or CIDR)
    #[arg(long, value_name = "REGISTRY")]
    insecure_registry: Vec<String>,
    /// Layers that are downloaded at the same time (4)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_concurrent_downloads: Option<i64>,
    /// Layers that are uploaded at the same time (5)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_concurrent_uploads: Option<i64>,
    /// Failures in a row after which a transfer is given up (5)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    max_download_attempts: Option<i64>,
    /// Proxy for registries without TLS
    #[arg(long, value_name = "URL")]
    http_proxy: Option<String>,
    /// Proxy for registries
    #[arg(long, value_name = "URL")]
    https_proxy: Option<String>,
    /// Hosts and networks that are reached without a proxy, separated by commas
    #[arg(long, value_name = "LIST")]
    no_proxy: Option<String>,
}

/// A proxy's address may have a password in it.
impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flags")
    }
}

/// What the file says about them.
#[derive(Default)]
pub struct Keys {
    /// `registry-mirrors`.
    pub mirrors: Option<Mirrors>,
    /// `insecure-registries`.
    pub insecure: Option<Vec<String>>,
    /// `auth-realms`: token servers on other sites that may be shown a registry's password, by registry.
    pub realms: Option<BTreeMap<String, Vec<String>>>,
    /// `proxies`.
    pub proxies: Option<ProxyKeys>,
    /// `max-concurrent-downloads`.
    pub downloads: Option<i64>,
    /// `max-concurrent-uploads`.
    pub uploads: Option<i64>,
    /// `max-download-attempts`.
    pub attempts: Option<i64>,
    /// `registry-certs-dirs`.
    pub certs_dirs: Option<Vec<PathBuf>>,
    /// `registry-limits`.
    pub limits: Option<Limits>,
}

/// `registry-mirrors`: Docker's list, which is for Docker Hub, or mirrors by registry.
#[derive(Deserialize, Debug)]
#[serde(untagged, expecting = "registry-mirrors: want a list of addresses, or an object with such lists by registry")]
pub enum Mirrors {
    /// `["https://mirror"]`
    Hub(Vec<String>),
    /// `{"docker.io": ["https://mirror"], "ghcr.io": ["https://other"]}`
    Each(BTreeMap<String, Vec<String>>),
}

/// `proxies`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProxyKeys {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

/// A proxy's address may hold a password.
impl std::fmt::Debug for ProxyKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProxyKeys")
    }
}

/// What the engine needs of it.
pub struct Access {
    /// The client of registries.
    pub registries: Registries,
    /// Layers that are downloaded at the same time.
    pub downloads: usize,
    /// Layers that are uploaded at the same time.
    pub uploads: usize,
}

/// `registry-limits`: how long and how often. Times as Go writes them (`30s`).
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    connect: Option<String>,
    handshake: Option<String>,
    answer: Option<String>,
    stall: Option<String>,
    document: Option<String>,
    attempts: Option<u32>,
    first_wait: Option<String>,
    longest_wait: Option<String>,
    longest_retry_after: Option<String>,
}

impl Limits {
    fn bounds(&self) -> Result<Bounds> {
        let mut bounds = Bounds::default();
        for (name, text, value) in [
            ("connect", &self.connect, &mut bounds.connect),
            ("handshake", &self.handshake, &mut bounds.handshake),
            ("answer", &self.answer, &mut bounds.answer),
            ("stall", &self.stall, &mut bounds.stall),
            ("document", &self.document, &mut bounds.document),
            ("first-wait", &self.first_wait, &mut bounds.first_wait),
            ("longest-wait", &self.longest_wait, &mut bounds.longest_wait),
            ("longest-retry-after", &self.longest_retry_after, &mut bounds.longest_retry_after),
        ] {
            if let Some(text) = text {
                let read = dhow_types::duration::go_nanoseconds(text).and_then(|n| u64::try_from(n).ok());
                match read.map(Duration::from_nanos) {
                    Some(time) if time > Duration::ZERO && time <= LONGEST => *value = time,
                    _ => bail!("registry-limits: {name} {text:?}: want a time as 30s, more than nothing, at most 1h"),
                }
            }
        }
        match self.attempts {
            Some(n) if n == 0 || n > MOST_ATTEMPTS => bail!("registry-limits: attempts {n}: 1 to {MOST_ATTEMPTS}"),
            Some(n) => bounds.attempts = n,
            None => {}
        }
        Ok(bounds)
    }
}

/// Flags, the file's keys, the environment and defaults together: each is asked when the one before says nothing.
pub fn access(flags: Flags, keys: Keys, env: impl Fn(&str) -> Option<String>) -> Result<Access> {
    let certs_dirs = keys.certs_dirs.unwrap_or_else(|| CERTS_DIRS.map(PathBuf::from).to_vec());
    if let Some(dir) = certs_dirs.iter().find(|d| !d.is_absolute()) {
        bail!("registry-certs-dirs {}: must be an absolute path", dir.display());
    }
    let mut mirrors = match keys.mirrors {
        None => BTreeMap::new(),
        Some(Mirrors::Hub(list)) => BTreeMap::from([(HUB.to_owned(), list)]),
        Some(Mirrors::Each(map)) => map,
    };
    if !flags.registry_mirror.is_empty() {
        mirrors.insert(HUB.to_owned(), flags.registry_mirror);
    }
    let insecure =
        if flags.insecure_registry.is_empty() { keys.insecure.unwrap_or_default() } else { flags.insecure_registry };
    let written = keys.proxies.unwrap_or_default();
    let said = Proxies {
        http: flags.http_proxy.or(written.http_proxy).unwrap_or_default(),
        https: flags.https_proxy.or(written.https_proxy).unwrap_or_default(),
        none: flags.no_proxy.or(written.no_proxy).unwrap_or_default(),
    };
    // What the environment has may be meant for other programs: it is an error only where it would be used.
    said.check().map_err(anyhow::Error::msg)?;
    let or_env = |said: String, name: &str| match said.is_empty() {
        true => [name.to_owned(), name.to_ascii_lowercase()].iter().filter_map(|n| env(n)).find(|v| !v.is_empty()),
        false => Some(said),
    };
    let proxies = Proxies {
        http: or_env(said.http, "HTTP_PROXY").unwrap_or_default(),
        https: or_env(said.https, "HTTPS_PROXY").unwrap_or_default(),
        none: or_env(said.none, "NO_PROXY").unwrap_or_default(),
    };
    let number = |flag: Option<i64>, key: Option<i64>, name: &str, default: usize| match flag.or(key) {
        None => Ok(default),
        Some(0) => Ok(MOST_TRANSFERS),
        Some(n) => match usize::try_from(n) {
            Ok(n) if n <= MOST_TRANSFERS => Ok(n),
            Ok(n) => bail!("invalid {name}: {n}: at most {MOST_TRANSFERS}"),
            Err(_) => bail!("invalid {name}: {n}"),
        },
    };
    let mut bounds = keys.limits.unwrap_or_default().bounds()?;
    match flags.max_download_attempts.or(keys.attempts) {
        None => {}
        // As in Docker: its own number.
        Some(0) => bounds.attempts = ATTEMPTS,
        Some(n) => match u32::try_from(n) {
            Ok(n) if n <= MOST_ATTEMPTS => bounds.attempts = n,
            Ok(n) => bail!("invalid max download attempts: {n}: at most {MOST_ATTEMPTS}"),
            Err(_) => bail!("invalid max download attempts: {n}"),
        },
    }
    let settings = Settings {
        mirrors,
        insecure,
        certs_dirs,
        proxies,
        realms: keys.realms.unwrap_or_default(),
        bounds,
        user_agent: format!("dhow/{}", env!("CARGO_PKG_VERSION")),
        ..Default::default()
    };
    Ok(Access {
        registries: Registries::new(settings, Arc::new(rustls::crypto::aws_lc_rs::default_provider()))?,
        downloads: number(flags.max_concurrent_downloads, keys.downloads, "max concurrent downloads", DOWNLOADS)?,
        uploads: number(flags.max_concurrent_uploads, keys.uploads, "max concurrent uploads", UPLOADS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_times_and_numbers_within_reason() {
        let read = |text: &str| -> Result<Bounds> { serde_json::from_str::<Limits>(text)?.bounds() };
        let default = read("{}").unwrap();
        assert_eq!((default.attempts, default.stall), (5, Duration::from_secs(30)));
        let all = r#"{"connect": "1s", "handshake": "2s", "answer": "3s", "stall": "4s", "document": "9s", "attempts": 7,
            "first-wait": "1ms", "longest-wait": "5s", "longest-retry-after": "1m"}"#;
        let b = read(all).unwrap();
        let s = Duration::from_secs;
        assert_eq!((b.connect, b.handshake, b.answer, b.stall), (s(1), s(2), s(3), s(4)));
        assert_eq!((b.attempts, b.first_wait, b.longest_wait), (7, Duration::from_millis(1), s(5)));
        assert_eq!((b.longest_retry_after, b.document), (s(60), s(9)));
        for bad in [
            r#"{"stall": "0s"}"#,
            r#"{"stall": "30"}"#,
            r#"{"stall": "2h"}"#,
            r#"{"attempts": 0}"#,
            r#"{"attempts": 101}"#,
            r#"{"patience": "1s"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let keys = Keys { certs_dirs: Some(vec!["certs.d".into()]), ..Keys::default() };
        let e = access(Flags::default(), keys, |_| None).err().unwrap().to_string();
        assert!(e.contains("registry-certs-dirs certs.d"), "{e}");
    }

    #[test]
    fn flags_then_the_file_then_the_environment() {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let env = |name: &str| match name {
            "HTTP_PROXY" => Some(String::new()),
            "http_proxy" => Some("http://small:1".to_owned()),
            "HTTPS_PROXY" => Some("http://env:1".to_owned()),
            "no_proxy" => Some("a.example.com".to_owned()),
            _ => None,
        };
        let a = access(Flags::default(), Keys::default(), env).unwrap();
        let shown = a.registries.shown();
        assert_eq!(
            (shown.http_proxy.as_str(), shown.https_proxy.as_str(), shown.no_proxy.as_str()),
            ("http://small:1", "http://env:1", "a.example.com")
        );
        assert_eq!((a.downloads, a.uploads), (4, 5));
        let keys = || Keys {
            mirrors: Some(serde_json::from_str(r#"{"ghcr.io": ["https://g"], "docker.io": ["https://f"]}"#).unwrap()),
            insecure: Some(list(&["file:5000"])),
            proxies: Some(serde_json::from_str(r#"{"https-proxy": "http://u:secret@file:1"}"#).unwrap()),
            downloads: Some(0),
            uploads: Some(7),
            ..Keys::default()
        };
        let a = access(Flags::default(), keys(), env).unwrap();
        let shown = a.registries.shown();
        assert_eq!(
            (&shown.mirrors["ghcr.io"], &shown.mirrors["docker.io"]),
            (&list(&["https://g/"]), &list(&["https://f/"]))
        );
        assert_eq!(
            (shown.https_proxy.as_str(), shown.http_proxy.as_str()),
            ("http://xxxxx:xxxxx@file:1", "http://small:1")
        );
        assert_eq!((a.downloads, a.uploads, shown.insecure_hosts), (64, 7, list(&["file:5000"])));
        let flags = Flags {
            registry_mirror: list(&["https://flag"]),
            insecure_registry: list(&["flag"]),
            max_concurrent_downloads: Some(2),
            https_proxy: Some("flag:1".into()),
            ..Flags::default()
        };
        let a = access(flags, keys(), env).unwrap();
        let shown = a.registries.shown();
        assert_eq!((&shown.mirrors["docker.io"], shown.mirrors.len()), (&list(&["https://flag/"]), 2));
        assert_eq!((shown.insecure_hosts, shown.https_proxy.as_str(), a.downloads), (list(&["flag"]), "flag:1", 2));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let words = |flags: Flags, keys: Keys| access(flags, keys, |_| None).err().unwrap().to_string();
        let downloads = |n| Flags { max_concurrent_downloads: Some(n), ..Flags::default() };
        let none = Flags::default;
        assert_eq!(words(downloads(-1), Keys::default()), "invalid max concurrent downloads: -1");
        assert!(words(downloads(65), Keys::default()).contains("at most 64"));
        let keys = Keys { uploads: Some(-2), ..Keys::default() };
        assert_eq!(words(none(), keys), "invalid max concurrent uploads: -2");
        let keys = Keys { attempts: Some(-3), ..Keys::default() };
        assert_eq!(words(none(), keys), "invalid max download attempts: -3");
        let keys = Keys { mirrors: Some(Mirrors::Hub(vec!["mirror".into()])), ..Keys::default() };
        assert!(words(none(), keys).contains("invalid mirror: no scheme specified for \"mirror\""));
        let keys = Keys { insecure: Some(vec!["ftp://x".into()]), ..Keys::default() };
        assert!(words(none(), keys).contains("insecure registry ftp://x should not contain '://'"));
        let keys = Keys { realms: Some(BTreeMap::from([("r".into(), vec!["x".into()])])), ..Keys::default() };
        assert!(words(none(), keys).contains("invalid token server \"x\""));
        let flags = Flags { http_proxy: Some("https://u:secret@p".into()), ..Flags::default() };
        let e = words(flags, Keys::default());
        assert!(e.contains("invalid proxy in HTTP_PROXY") && !e.contains("secret"), "{e}");
        // In the environment it is nobody's error until it is needed.
        assert!(access(none(), Keys::default(), |n| (n == "HTTPS_PROXY").then(|| "socks5://p:1".into())).is_ok());
    }
}
