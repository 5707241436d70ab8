//! `hosts.toml`: who answers for a registry, in containerd's form. Reading is pure; a key that dhow does not know is
//! refused by name, for it might be the one that protects somebody.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A host of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// `scheme://host[:port][/path]`, or empty: the registry itself.
    pub server: String,
    pub pull: bool,
    pub resolve: bool,
    pub push: bool,
    /// Files with authorities, as written.
    pub ca: Vec<String>,
    /// Certificate and key; one file for both if the second is empty.
    pub client: Vec<(String, String)>,
    pub skip_verify: bool,
    pub override_path: bool,
    /// Sent to this host only.
    pub header: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Table>,
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    #[serde(default)]
    header: BTreeMap<String, OneOrMany>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    #[serde(default)]
    header: BTreeMap<String, OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    One(String),
    Many(Vec<OneOrMany>),
}

impl Client {
    fn pairs(self) -> Result<Vec<(String, String)>, String> {
        let list = match self {
            Self::One(one) => vec![OneOrMany::One(one)],
            Self::Many(many) => many,
        };
        let pair = |entry: OneOrMany| match entry.list().as_slice() {
            [one] => Ok((one.clone(), String::new())),
            [certificate, key] => Ok((certificate.clone(), key.clone())),
            other => Err(format!("client: {} files where a certificate and a key are wanted", other.len())),
        };
        list.into_iter().map(pair).collect()
    }
}

/// The hosts in the order in which they are asked, the server last.
pub(crate) fn read(text: &str) -> Result<Vec<Host>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    let mut tables: Vec<_> = file.host.into_iter().collect();
    tables.sort_by_key(|(name, _)| name.span().start);
    let own = Table {
        capabilities: file.capabilities,
        ca: file.ca,
        client: file.client,
        skip_verify: file.skip_verify,
        override_path: file.override_path,
        header: file.header,
    };
    let mut hosts = Vec::with_capacity(tables.len() + 1);
    for (name, table) in tables {
        let name = name.into_inner();
        hosts.push(host(name.clone(), table).map_err(|e| format!("host {name:?}: {e}"))?);
    }
    hosts.push(host(file.server.unwrap_or_default(), own)?);
    Ok(hosts)
}

fn host(server: String, table: Table) -> Result<Host, String> {
    let server = match server.as_str() {
        "" => server,
        s if s.starts_with("http://") || s.starts_with("https://") => server,
        s => format!("https://{s}"),
    };
    let mut host = Host { server, skip_verify: table.skip_verify.unwrap_or(false), ..Host::default() };
    host.override_path = table.override_path.unwrap_or(false);
    match table.capabilities {
        None => (host.pull, host.resolve, host.push) = (true, true, true),
        Some(list) if list.is_empty() => (host.pull, host.resolve, host.push) = (true, true, true),
        Some(list) => {
            for word in list {
                match word.to_ascii_lowercase().as_str() {
                    "pull" => host.pull = true,
                    "resolve" => host.resolve = true,
                    "push" => host.push = true,
                    _ => return Err(format!("unknown capability {word:?}")),
                }
            }
        }
    }
    host.ca = table.ca.map(OneOrMany::list).unwrap_or_default();
    host.client = table.client.map(Client::pairs).transpose()?.unwrap_or_default();
    for (name, values) in table.header {
        host.header.extend(values.list().into_iter().map(|v| (name.clone(), v)));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerds_form() {
        let hosts = read(
            r#"
            server = "registry.example.com"
            ca = "own.pem"
            [host."https://zz.mirror"]
            capabilities = ["pull", "Resolve"]
            client = [["c.cert", "c.key"], "both.pem"]
            [host."http://aa.mirror:5000/v2/x"]
            skip_verify = true
            override_path = true
            ca = ["a.pem", "b.pem"]
            [host."http://aa.mirror:5000/v2/x".header]
            X-One = "1"
            X-Two = ["a", "b"]
            "#,
        )
        .unwrap();
        assert_eq!(
            hosts.iter().map(|h| h.server.as_str()).collect::<Vec<_>>(),
            ["https://zz.mirror", "http://aa.mirror:5000/v2/x", "https://registry.example.com"]
        );
        assert_eq!((hosts[0].pull, hosts[0].resolve, hosts[0].push), (true, true, false));
        assert_eq!(hosts[0].client, [("c.cert".into(), "c.key".into()), ("both.pem".into(), String::new())]);
        assert!(hosts[1].skip_verify && hosts[1].override_path && hosts[1].push);
        assert_eq!(hosts[1].ca, ["a.pem", "b.pem"]);
        assert_eq!(hosts[1].header.len(), 3);
        assert_eq!(hosts[2].ca, ["own.pem"]);
        assert_eq!(read("").unwrap()[0].server, "");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("serve = 'x'", "serve"),
            ("[host.x]\ncapabilities = ['delete']", "unknown capability \"delete\""),
            ("[host.x]\nverify = false", "verify"),
            ("client = [['a','b','c']]", "3 files"),
            ("server = ", ""),
        ] {
            let e = read(text).unwrap_err();
            assert!(e.contains(words), "{text}: {e}");
        }
    }
}
