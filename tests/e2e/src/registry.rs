//! Debian's docker-registry in the network of a test's daemon, with its data in the daemon's directory.

use crate::daemon::{Daemon, until};
use crate::net::Netns;
use crate::runner::skip;
use crate::tokens;
use crate::wire::{self, Server, certs};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Who is let in, where a registry asks: name and password.
pub const USER: (&str, &str) = ("user", "opensesame-4711");
/// The same as htpasswd writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuNS4OnT/b0DtFv/mehW4Q4o9mA8vYX62\n";

/// All kinds of manifests.
const ANY: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// What a registry asks of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    Open,
    /// [`USER`]'s password with each request.
    Basic,
    /// Tokens of the server before it; what is below `public/` may be pulled by all.
    Token,
}

/// How a registry is reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// TLS with the certificate of the tests' own authority.
    pub tls: bool,
    /// What it asks for.
    pub auth: Auth,
}

impl Kind {
    /// Everybody's, without TLS.
    pub const PLAIN: Self = Self { tls: false, auth: Auth::Open };
    /// Everybody's, with TLS.
    pub const TLS: Self = Self { tls: true, auth: Auth::Open };
    /// With a password.
    pub const BASIC: Self = Self { tls: false, auth: Auth::Basic };
    /// With tokens.
    pub const TOKEN: Self = Self { tls: false, auth: Auth::Token };
}

/// A registry; it ends when this is dropped, and its files go with the daemon's.
pub struct Registry {
    net: Netns,
    port: u16,
    kind: Kind,
    dir: PathBuf,
    /// Gives tokens and passes on all else, where there are tokens.
    front: Option<Server>,
    process: Mutex<Option<Child>>,
}

impl Registry {
    /// Starts one beside a daemon and waits until it answers. The case is skipped where there is no docker-registry.
    pub fn start(beside: &Daemon, kind: Kind) -> Result<Self> {
        let port = wire::port();
        let dir = beside.dir.path().join(format!("registry-{port}"));
        std::fs::create_dir(&dir)?;
        let front = (kind.auth == Auth::Token).then(|| tokens::before(&beside.net, port)).transpose()?;
        let registry = Self { net: beside.net.clone(), port, kind, dir, front, process: Mutex::new(None) };
        registry.configure()?;
        registry.up()?;
        Ok(registry)
    }

    fn configure(&self) -> Result<()> {
        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = self.dir.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let mut http = json!({"addr": format!("127.0.0.1:{}", self.port), "secret": "shared by all of its lives"});
        if self.kind.tls {
            let (cert, key) = (file("server.pem", certs::SERVER.0)?, file("server.key", certs::SERVER.1)?);
            http["tls"] = json!({"certificate": cert, "key": key});
        }
        let auth = match &self.front {
            _ if self.kind.auth == Auth::Open => json!({}),
            None => json!({"htpasswd": {"realm": "the tests", "path": file("htpasswd", HTPASSWD)?}}),
            Some(front) => json!({"token": {
                "realm": format!("{}/token", front.url()),
                "service": tokens::SERVICE,
                "issuer": tokens::ISSUER,
                "rootcertbundle": file("roots.pem", certs::CA)?,
            }}),
        };
        // YAML is a superset of JSON.
        let config = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": self.dir.join("data")},
                "delete": {"enabled": true},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": http,
            "auth": auth,
        });
        file("config.yml", &config.to_string())?;
        Ok(())
    }

    /// Starts the process (again) and waits until it answers.
    pub fn up(&self) -> Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log"))?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(self.dir.join("config.yml")).env_clear().stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = match self.net.within(|| command.spawn())? {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return skip("docker-registry is not installed"),
            child => child.context("start docker-registry")?,
        };
        *self.process.lock().unwrap() = Some(child);
        until("the registry to answer", || {
            let ended = self.process.lock().unwrap().as_mut().map(Child::try_wait).transpose()?.flatten();
            ensure!(ended.is_none(), "docker-registry ended: {}", self.log());
            // Nobody listens yet, or it answers.
            Ok(self.ask("GET /v2/", &[], b"").ok().filter(|told| matches!(told.status(), 200 | 401)).map(drop))
        })
    }

    /// Kills the process; its files stay.
    pub fn down(&self) -> Result<()> {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it something: `METHOD path`, fields and body.
    pub fn ask(&self, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<wire::Told> {
        let ask = if self.kind.tls { wire::ask_tls } else { wire::ask };
        ask(&self.net, self.port(), line, fields, body)
    }

    /// The same as [`USER`], who may do everything.
    pub fn ask_as_user(&self, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<wire::Told> {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", USER.0, USER.1)));
        let proof = match &self.front {
            _ if self.kind.auth == Auth::Open => return self.ask(line, fields, body),
            None => basic,
            Some(_) => {
                // `METHOD /v2/NAME/blobs|manifests/…`
                let name =
                    line.split("/v2/").nth(1).and_then(|n| n.split("/blobs/").next()?.split("/manifests/").next());
                let name = name.context("a token is for a repository")?;
                let scope = format!("GET /token?service=s&scope=repository:{name}:pull,push");
                let told = self.ask(&scope, &[("authorization", &basic)], b"")?;
                let told: serde_json::Value = serde_json::from_slice(&told.body)?;
                format!("Bearer {}", told["token"].as_str().context("no token")?)
            }
        };
        self.ask(line, &[fields, &[("authorization", &proof)]].concat(), body)
    }

    /// The digest of a manifest, as the registry says it.
    pub fn digest(&self, repository: &str, tag: &str) -> Result<String> {
        let told = self.ask_as_user(&format!("HEAD /v2/{repository}/manifests/{tag}"), &[("accept", ANY)], b"")?;
        ensure!(told.status() == 200, "{repository}:{tag}: {:?}", told.head);
        Ok(told.head.field("docker-content-digest").to_owned())
    }

    /// A manifest or an index.
    pub fn manifest(&self, repository: &str, tag: &str) -> Result<serde_json::Value> {
        let told = self.ask_as_user(&format!("GET /v2/{repository}/manifests/{tag}"), &[("accept", ANY)], b"")?;
        ensure!(told.status() == 200, "{repository}:{tag}: {:?}", told.head);
        Ok(serde_json::from_slice(&told.body)?)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.front.as_ref().map_or(self.port, Server::port)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// `127.0.0.1:PORT/rest`.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host())
    }

    /// What was asked for at its token server, where it has one.
    pub fn tokens(&self) -> Vec<wire::Entry> {
        let asked = self.front.iter().flat_map(Server::entries);
        asked.filter(|e| e.request.path == "/token").collect()
    }

    /// Where it keeps a blob, by `sha256:…`: to look at, and to spoil.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.dir.join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.down();
    }
}

/// Writes a directory as Docker's `certs.d` is, with this authority for a registry.
pub fn certs_dir(dir: &Path, host: &str, ca: &str) -> Result<PathBuf> {
    let own = dir.join("certs.d").join(host);
    std::fs::create_dir_all(&own)?;
    std::fs::write(own.join("ca.crt"), ca)?;
    Ok(dir.join("certs.d"))
}
