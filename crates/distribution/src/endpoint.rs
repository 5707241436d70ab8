//! Who answers for a registry, in the order in which they are asked: mirrors, the registry itself, and the registry
//! without TLS where that is allowed. Rule: Docker's endpoints, containerd's `hosts.toml`.

use crate::address::{Address, Origin};
use crate::certs::Tls;
use crate::hosts::{self, Host};
use crate::roots::bounded;
use crate::settings::Checked;
use http::{HeaderName, HeaderValue};
use std::path::{Path, PathBuf};

/// One that can be asked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its root, `…/v2`, without a slash at the end.
    pub base: Address,
    /// Not the registry itself: the registry's credentials are not for it.
    pub mirror: bool,
    pub pull: bool,
    pub resolve: bool,
    pub push: bool,
    pub tls: Tls,
    /// For its own origin only.
    pub header: Vec<(HeaderName, HeaderValue)>,
    /// The one before it by plain HTTP: not asked if that one answered at all.
    pub plain_twin: bool,
}

/// The host behind a registry's name.
pub(crate) fn host_of(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

/// The endpoints of `registry`, as names have it. `insecure` knows which hosts (`host[:port]`) are trusted without TLS.
pub(crate) fn endpoints(
    registry: &str,
    settings: &Checked,
    insecure: &dyn Fn(&str) -> bool,
) -> Result<Vec<Endpoint>, String> {
    let dir = directory(&settings.certs_dirs, registry);
    if let Some(dir) = &dir {
        let file = dir.join("hosts.toml");
        match bounded(&file) {
            Ok(bytes) => {
                let wrong = |e: String| format!("{}: {e}", file.display());
                let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8 text".into()))?;
                return from_file(registry, dir, hosts::read(&text).map_err(wrong)?).map_err(wrong);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(format!("read {}: {e}", file.display())),
        }
    }
    let mut found = Vec::new();
    for mirror in settings.mirrors.get(registry).into_iter().flatten() {
        let authority = mirror.origin().authority();
        let tls = tls_of(&authority, settings, insecure(&authority))?;
        found.push(Endpoint {
            pull: true,
            resolve: true,
            push: false,
            mirror: true,
            ..plain(root(mirror, false), tls)
        });
    }
    let host = host_of(registry);
    let weak = insecure(host);
    let origin = Origin::new(true, host).map_err(|e| format!("registry {registry:?}: {e}"))?;
    // Docker's own name is the directory's, not that of the host behind it.
    let tls = tls_of(registry, settings, weak)?;
    let twin = origin.plain();
    found.push(plain(Address::new(origin, "/v2", None), tls.clone()));
    if weak {
        found.push(Endpoint { plain_twin: true, ..plain(Address::new(twin, "/v2", None), tls) });
    }
    Ok(found)
}

/// Of these the one that takes what is pushed, with its plain twin: the registry itself, else the first that may. All of
/// a push goes to one place: what one host has of an image is of no use to the manifest that another is given.
pub(crate) fn to_push(list: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut fit: Vec<Endpoint> = list.into_iter().filter(|e| e.push).collect();
    let first = fit.iter().position(|e| !e.mirror).unwrap_or(0);
    fit.drain(..first);
    let twins = fit.iter().skip(1).take_while(|e| e.plain_twin).count();
    fit.truncate(1 + twins);
    fit
}

fn plain(base: Address, tls: Tls) -> Endpoint {
    Endpoint { base, mirror: false, pull: true, resolve: true, push: true, tls, header: Vec::new(), plain_twin: false }
}

/// As Docker has it, an insecure registry's certificates are not even read.
fn tls_of(authority: &str, settings: &Checked, insecure: bool) -> Result<Tls, String> {
    if insecure {
        return Ok(Tls { skip_verify: true, ..Tls::default() });
    }
    let dir = directory(&settings.certs_dirs, authority);
    let tls = dir.as_deref().map_or(Ok(Tls::default()), Tls::of_dir)?;
    let would_be = || settings.certs_dirs.first().map(|root| root.join(authority));
    let advice = match dir.or_else(would_be) {
        Some(dir) => format!("put the authority's certificate into {}", dir.join("ca.crt").display()),
        None => "add the authority's certificate to the system's".to_owned(),
    };
    Ok(Tls { advice, ..tls })
}

/// The first directory there is for a host: Docker's form, containerd's form of it, and containerd's for all hosts.
fn directory(roots: &[PathBuf], authority: &str) -> Option<PathBuf> {
    let escaped = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => format!("{host}_{port}_"),
        _ => authority.to_owned(),
    };
    let of = |root: &PathBuf| [&escaped, authority].map(|name| root.join(name)).into_iter().find(|d| d.is_dir());
    let default = |root: &PathBuf| Some(root.join("_default")).filter(|d| d.join("hosts.toml").is_file());
    roots.iter().find_map(of).or_else(|| roots.iter().find_map(default))
}

fn from_file(registry: &str, dir: &Path, hosts: Vec<Host>) -> Result<Vec<Endpoint>, String> {
    let own = Origin::new(true, host_of(registry))?;
    let mut found = Vec::new();
    for host in hosts {
        let base = match host.server.as_str() {
            "" => Address::new(own.clone(), "/v2", None),
            text => root(&Address::parse(text).map_err(|e| format!("host {text:?}: {e}"))?, host.override_path),
        };
        let absolute = |file: &String| dir.join(file);
        let client = host.client.iter().map(|(certificate, key)| {
            let certificate = dir.join(certificate);
            let key = if key.is_empty() { certificate.clone() } else { dir.join(key) };
            (certificate, key)
        });
        let tls = Tls {
            ca: host.ca.iter().map(absolute).collect(),
            client: client.collect(),
            skip_verify: host.skip_verify,
            advice: format!("name the authority's certificate as ca in {}", dir.join("hosts.toml").display()),
        };
        let mut header = Vec::new();
        for (name, value) in &host.header {
            let wrong = || format!("host {:?}: header {name:?} is not valid", host.server);
            let value = crate::secret::sensitive(value).ok_or_else(wrong)?;
            header.push((name.parse().map_err(|_| wrong())?, value));
        }
        let mirror = base.origin().host() != own.host() || base.origin().port() != own.port();
        let Host { pull, resolve, push, .. } = host;
        found.push(Endpoint { base, mirror, pull, resolve, push, tls, header, plain_twin: false });
    }
    Ok(found)
}

/// The API's root at an address: `/v2` is added unless it is there.
fn root(address: &Address, as_it_is: bool) -> Address {
    let path = address.path().trim_end_matches('/');
    let path = if as_it_is || path.ends_with("/v2") { path.to_owned() } else { format!("{path}/v2") };
    Address::new(address.origin().clone(), path, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::collections::BTreeMap;

    fn show(list: &[Endpoint]) -> Vec<String> {
        let mark = |e: &Endpoint| {
            format!("{}{}", if e.mirror { " mirror" } else { "" }, if e.tls.skip_verify { " unchecked" } else { "" })
        };
        list.iter().map(|e| format!("{}{}", e.base, mark(e))).collect()
    }

    #[test]
    fn dockers_endpoints() {
        let mirrors = BTreeMap::from([("docker.io".into(), vec!["https://m1/x/".into(), "http://m2:5000".into()])]);
        let s = Settings { mirrors, ..Settings::default() }.check().unwrap();
        let of = |registry: &str, weak: &[&str]| show(&endpoints(registry, &s, &|h| weak.contains(&h)).unwrap());
        assert_eq!(
            of("docker.io", &[]),
            ["https://m1/x/v2 mirror", "http://m2:5000/v2 mirror", "https://registry-1.docker.io/v2"]
        );
        assert_eq!(of("r.example.com:5000", &[]), ["https://r.example.com:5000/v2"]);
        assert_eq!(of("r:5000", &["r:5000"]), ["https://r:5000/v2 unchecked", "http://r:5000/v2 unchecked"]);
        assert_eq!(
            of("localhost", &["localhost"]),
            ["https://localhost/v2 unchecked", "http://localhost/v2 unchecked"]
        );
    }

    #[test]
    fn all_of_a_push_goes_to_one_place() {
        let of = |text: &str| Address::parse(text).unwrap();
        let at = |text: &str, mirror, push, plain_twin| Endpoint {
            mirror,
            push,
            plain_twin,
            ..plain(of(text), Tls::default())
        };
        let own = || at("https://r/v2", false, true, false);
        let shown = |list| show(&to_push(list));
        assert_eq!(shown(vec![at("https://m/v2", true, true, false), own()]), ["https://r/v2"]);
        assert_eq!(shown(vec![own(), at("http://r/v2", false, true, true)]), ["https://r/v2", "http://r/v2"]);
        let mirrors = || vec![at("https://m/v2", true, true, false), at("https://n/v2", true, true, false)];
        assert_eq!(shown(mirrors()), ["https://m/v2 mirror"]);
        assert_eq!(shown(vec![at("https://m/v2", true, false, false)]), [""; 0]);
    }

    #[test]
    fn hosts_toml_and_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let put = |host: &str, name: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(host)).unwrap();
            std::fs::write(dir.path().join(host).join(name), text).unwrap();
        };
        put(
            "r.example.com_5000_",
            "hosts.toml",
            "[host.'http://mirror:1/base']\ncapabilities=['pull']\n[host.'http://mirror:1/base'.header]\nX-A='b'",
        );
        put("tls.example.com", "ca.crt", "");
        put("broken.example.com", "hosts.toml", "[host.x]\ncapabilities=['fly']");
        put("insecure.example.com", "lonely.key", "");
        let s = Settings { certs_dirs: vec![dir.path().into()], ..Settings::default() }.check().unwrap();
        let list = endpoints("r.example.com:5000", &s, &|_| false).unwrap();
        assert_eq!(show(&list), ["http://mirror:1/base/v2 mirror", "https://r.example.com:5000/v2"]);
        assert_eq!((list[0].pull, list[0].resolve, list[0].header.len()), (true, false, 1));
        let list = endpoints("tls.example.com", &s, &|_| false).unwrap();
        assert_eq!(list[0].tls.ca, [dir.path().join("tls.example.com/ca.crt")]);
        let e = endpoints("broken.example.com", &s, &|_| false).unwrap_err();
        assert!(e.contains("broken.example.com/hosts.toml") && e.contains("fly"), "{e}");
        assert!(endpoints("insecure.example.com", &s, &|_| false).is_err());
        assert!(
            endpoints("insecure.example.com", &s, &|_| true).is_ok(),
            "an insecure registry's directory is not read"
        );
        put("docker.io", "ca.crt", "");
        for (registry, file) in
            [("docker.io", "docker.io/ca.crt"), ("none.example.com:5000", "none.example.com:5000/ca.crt")]
        {
            let list = endpoints(registry, &s, &|_| false).unwrap();
            assert!(
                list[0].tls.advice.ends_with(&dir.path().join(file).display().to_string()),
                "{}",
                list[0].tls.advice
            );
        }
        put("_default", "hosts.toml", "[host.'https://all']");
        assert_eq!(
            show(&endpoints("other.example.com", &s, &|_| false).unwrap()),
            ["https://all/v2 mirror", "https://other.example.com/v2"]
        );
    }
}
