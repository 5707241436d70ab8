//! What every command starts from: which daemon, and the client for it.

use super::global::Global;
use super::{autostart, config, contexts, output};
use anyhow::{Result, anyhow, bail};
use dhow_client::{Client, Error};
use std::path::{Path, PathBuf};

/// The socket that is used when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/dhow.sock";
/// The context that is not written down: what `-H`, the environment or nothing says.
pub const DEFAULT: &str = "default";
/// Variables that name a socket, the one that counts first.
const HOSTS: [&str; 2] = ["DHOW_HOST", "DOCKER_HOST"];

/// Global options and the caller's surroundings.
pub struct Context {
    /// The name of the context that holds.
    pub name: String,
    /// What the default context stands for.
    pub default_host: String,
    socket: PathBuf,
    /// Why there is no daemon to ask.
    fault: Option<String>,
    /// No host was given: then a silent daemon is started.
    default: bool,
    version: Option<String>,
    headers: Vec<(String, String)>,
    told: bool,
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// The variable that names a socket, if there is one.
pub fn host_variable() -> Option<&'static str> {
    HOSTS.into_iter().find(|name| variable(name).is_some())
}

impl Context {
    /// From `-c`, else `-H`, else `DHOW_HOST`, else `DOCKER_HOST`, else `DOCKER_CONTEXT`, else what `dhow context use` set,
    /// else the default socket. `DOCKER_API_VERSION` fixes the version; without it the daemon answers in its newest.
    ///
    /// # Errors
    /// Options that contradict each other. A context that is not there is an error of [`Context::ready`], because
    /// commands that ask no daemon need none.
    pub fn new(global: &Global) -> Result<Self> {
        if global.context.is_some() && !global.hosts.is_empty() {
            bail!("conflicting options: cannot specify both --host and --context");
        }
        let name = match &global.context {
            Some(name) => name.clone(),
            None if !global.hosts.is_empty() || host_variable().is_some() => DEFAULT.to_owned(),
            None => variable("DOCKER_CONTEXT")
                .or_else(|| config::file().setting(config::Setting::Context).map(str::to_owned))
                .unwrap_or_else(|| DEFAULT.to_owned()),
        };
        let given = global.hosts.last().cloned().or_else(|| host_variable().and_then(variable));
        let default_host = match &given {
            Some(host) if host.starts_with('/') => format!("unix://{host}"),
            Some(host) => host.clone(),
            None => format!("unix://{DEFAULT_SOCKET}"),
        };
        let found = match name.as_str() {
            DEFAULT if global.hosts.len() > 1 => Err(anyhow!("unable to resolve docker endpoint: Specify only one -H")),
            DEFAULT => socket_of(&default_host),
            name => contexts::host(name)
                .map_err(|e| anyhow!("unable to resolve docker endpoint: {}", output::system_words(&format!("{e:#}"))))
                .and_then(|host| match host {
                    Some(host) => socket_of(&host).map_err(|e| anyhow!("context {name:?}: {e}")),
                    None => socket_of(DEFAULT_SOCKET),
                }),
        };
        let (socket, mut fault) = match found {
            Ok(socket) => (socket, None),
            Err(error) => (PathBuf::new(), Some(format!("Failed to initialize: {error:#}"))),
        };
        let headers = match headers() {
            Ok(headers) => headers,
            Err(error) => {
                fault = Some(format!("{error:#}"));
                Vec::new()
            }
        };
        let default = socket == Path::new(DEFAULT_SOCKET);
        let version = variable("DOCKER_API_VERSION");
        Ok(Self { name, default_host, socket, fault, default, version, headers, told: global.told })
    }

    /// Whether there is a daemon to ask.
    ///
    /// # Errors
    /// The context is not there, or names what dhow can't speak to.
    pub fn ready(&self) -> Result<()> {
        self.fault.as_ref().map_or(Ok(()), |fault| Err(anyhow!(fault.clone())))
    }

    /// Its socket.
    ///
    /// # Errors
    /// As [`Context::ready`].
    pub fn socket(&self) -> Result<&Path> {
        self.ready().map(|()| self.socket.as_path())
    }

    /// A client. The daemon is tried at the first request; see [`Context::with_daemon`].
    pub fn client(&self) -> Client {
        let fields = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let client = Client::new(&self.socket, self.version.as_deref());
        // That they can be sent was seen when they were read.
        client
            .with_fields(fields)
            .unwrap_or_else(|_| Client::new(&self.socket, self.version.as_deref()))
            .watched(self.told.then_some(|line: &str| output::note(format!("DEBUG: {line}"))))
    }

    /// Starts a daemon if none answers: before what is said once only, or while signals are held back.
    pub fn awake(&self, client: &Client) -> Result<()> {
        self.with_daemon(client, |c| c.send("GET", "/_ping")?.finish()).map(drop)
    }

    /// Runs `request`; if nobody answers on the default socket, starts a daemon and runs it once more.
    pub fn with_daemon<T>(&self, client: &Client, request: impl Fn(&Client) -> dhow_client::Result<T>) -> Result<T> {
        match request(client) {
            Err(Error::NoDaemon { cause, .. }) if self.default && autostart::worthwhile(&cause) => {
                autostart::start(&self.socket)?;
                output::note(format!(
                    "dhow: started the daemon in the background (socket {}; stop it with `kill $(cat {})`)",
                    self.socket.display(),
                    autostart::PID_FILE
                ));
                Ok(request(client)?)
            }
            other => Ok(other?),
        }
    }
}

/// The socket that a host names.
pub fn socket_of(host: &str) -> Result<PathBuf> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(path.into()),
        None if host.starts_with('/') => Ok(host.into()),
        _ => bail!("host {host:?}: only unix:///PATH is built; give -H unix:///PATH"),
    }
}

/// Header fields of `config.json`, or those of `DOCKER_CUSTOM_HEADERS` in their place.
fn headers() -> Result<Vec<(String, String)>> {
    let headers: Vec<(String, String)> = match variable("DOCKER_CUSTOM_HEADERS") {
        Some(text) => custom(&text)?,
        None => config::file().headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Client::new("", None).with_fields(fields).map_err(|said| anyhow!("custom HTTP headers: {said}"))?;
    Ok(headers)
}

/// `NAME=VALUE,"NAME=VALUE, with a comma"`
fn custom(text: &str) -> Result<Vec<(String, String)>> {
    const OF: &str = "custom headers from DOCKER_CUSTOM_HEADERS environment variable";
    let fields = crate::flags::volumes::fields(text)
        .map_err(|_| anyhow!("failed to parse {OF}: value must be formatted as comma-separated key=value pairs"))?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for field in fields {
        let (name, value) = field.split_once('=').map_or((field.as_str(), None), |(n, v)| (n, Some(v)));
        let name = name.trim();
        if name.is_empty() {
            bail!("failed to set {OF}: value contains a key=value pair with an empty key: '{field}'");
        }
        let Some(value) = value else {
            bail!("failed to set {OF}: missing \"=\" in key=value pair: '{field}'");
        };
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_hosts() {
        assert_eq!(socket_of("unix:///a/b").unwrap(), Path::new("/a/b"));
        assert_eq!(socket_of("/a/b").unwrap(), Path::new("/a/b"));
        for host in ["tcp://x:1", "ssh://x", "unix://x", "x", ""] {
            assert!(socket_of(host).unwrap_err().to_string().contains("only unix:///PATH is built"), "{host}");
        }
    }

    #[test]
    fn headers_of_the_environment() {
        let pairs = |text: &str| custom(text).map_err(|e| e.to_string());
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(pairs("a=1,\"b=2,3\", c = 4").unwrap(), [pair("a", "1"), pair("b", "2,3"), pair("c", " 4")]);
        assert_eq!(pairs("a=1,A=2").unwrap(), [pair("A", "2")]);
        assert!(pairs("=1").unwrap_err().contains("with an empty key: '=1'"));
        assert!(pairs("a").unwrap_err().contains("missing \"=\" in key=value pair: 'a'"));
    }

    #[test]
    fn a_context_and_a_host_contradict_each_other() {
        let global = Global { hosts: vec!["unix:///x".into()], context: Some("a".into()), ..Global::default() };
        assert!(Context::new(&global).is_err());
        let global = Global { hosts: vec!["unix:///x".into(), "unix:///y".into()], ..Global::default() };
        let context = Context::new(&global).unwrap();
        assert!(context.ready().unwrap_err().to_string().ends_with("Specify only one -H"));
    }
}
