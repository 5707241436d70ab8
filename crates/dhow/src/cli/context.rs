//! What every command starts from: which daemon, and the client for it.

use super::{autostart, output};
use anyhow::{Result, bail};
use dhow_client::{Client, Error};
use std::path::{Path, PathBuf};

/// The socket that is used when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/dhow.sock";

/// Global options and the caller's surroundings.
pub struct Context {
    socket: PathBuf,
    /// No host was given: then a silent daemon is started.
    default: bool,
    version: Option<String>,
}

impl Context {
    /// From `-H`, else `DHOW_HOST`, else `DOCKER_HOST`, else the default socket.
    /// `DOCKER_API_VERSION` fixes the version; without it the daemon answers in its newest.
    pub fn new(host: Option<String>) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let host = host.or_else(|| variable("DHOW_HOST")).or_else(|| variable("DOCKER_HOST"));
        let socket = match host.as_deref() {
            None => PathBuf::from(DEFAULT_SOCKET),
            Some(host) => match host.split_once("://") {
                Some(("unix", path)) if path.starts_with('/') => path.into(),
                None if host.starts_with('/') => host.into(),
                _ => bail!("host {host:?}: only unix:///PATH is built; give -H unix:///PATH"),
            },
        };
        let default = host.is_none() || socket == Path::new(DEFAULT_SOCKET);
        Ok(Self { socket, default, version: variable("DOCKER_API_VERSION") })
    }

    /// A client. The daemon is tried at the first request; see [`Context::with_daemon`].
    pub fn client(&self) -> Client {
        Client::new(&self.socket, self.version.as_deref())
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
