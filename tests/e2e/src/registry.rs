//! Debian's docker-registry in the network of a test's daemon, with its data in the daemon's directory.

use crate::daemon::{Daemon, until};
use crate::net::Netns;
use crate::runner::skip;
use crate::tokens::{self, Tokens};
use crate::wire::{self, certs};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Who is let in, where a registry asks: name and password.
pub const USER: (&str, &str) = ("user", "pass");
/// The same as htpasswd writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n";

/// What a registry asks of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    Open,
    /// [`USER`]'s password with each request.
    Basic,
    /// Tokens of a [`Tokens`] server; what is below `public/` may be pulled by all.
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
    tokens: Option<Tokens>,
    process: Mutex<Option<Child>>,
}

impl Registry {
    /// Starts one beside a daemon and waits until it answers. The case is skipped where there is no docker-registry.
    pub fn start(beside: &Daemon, kind: Kind) -> Result<Self> {
        let port = wire::port();
        let dir = beside.dir.path().join(format!("registry-{port}"));
        std::fs::create_dir(&dir)?;
        let tokens = (kind.auth == Auth::Token).then(|| Tokens::start(&beside.net)).transpose()?;
        let registry = Self { net: beside.net.clone(), port, kind, dir, tokens, process: Mutex::new(None) };
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
        let mut http = json!({"addr": self.host(), "secret": "shared by all of its lives"});
        if self.kind.tls {
            let (cert, key) = (file("server.pem", certs::SERVER.0)?, file("server.key", certs::SERVER.1)?);
            http["tls"] = json!({"certificate": cert, "key": key});
        }
        let auth = match &self.tokens {
            _ if self.kind.auth == Auth::Open => json!({}),
            None => json!({"htpasswd": {"realm": "the tests", "path": file("htpasswd", HTPASSWD)?}}),
            Some(tokens) => json!({"token": {
                "realm": format!("{}/token", tokens.url()),
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
        ask(&self.net, self.port, line, fields, body)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT/rest`.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host())
    }

    /// Its token server, where it has one.
    pub fn tokens(&self) -> Result<&Tokens> {
        self.tokens.as_ref().context("this registry has no token server")
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
