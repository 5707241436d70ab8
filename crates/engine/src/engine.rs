//! The front of the crate: every command an adapter may give.

use crate::config::*;
use crate::settings::Settings;
use crate::view::*;
use dhow_types::{Error, Result};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The engine. Methods must be called inside a tokio runtime with I/O and time enabled.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

/// A place at a container's streams, taken before the caller has a connection to give.
#[derive(Debug)]
pub struct AttachTicket {
    /// The container (or exec) has a terminal: one raw stream. Otherwise Docker's eight-byte frames.
    pub tty: bool,
}

/// A wait that is registered.
#[derive(Debug)]
pub struct WaitTicket {
    rx: oneshot::Receiver<WaitResult>,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogStream {
    /// The container has a terminal: raw bytes instead of frames.
    pub tty: bool,
    /// The pieces; ends after the last, or after an error.
    pub chunks: mpsc::Receiver<Result<LogChunk>>,
}

/// A load that is under way.
#[derive(Debug)]
pub struct LoadStream {
    /// What happens.
    pub events: mpsc::Receiver<LoadEvent>,
}

fn unbuilt<T>() -> Result<T> {
    Err(Error::unavailable("the engine is not ready"))
}

impl AttachTicket {
    /// Gives the client's connection away. `leftover` are bytes the client sent already.
    /// From here on the shim speaks with the client; the caller must forget the connection.
    pub async fn hand_over(self, _connection: OwnedFd, _leftover: Vec<u8>) -> Result<()> {
        unbuilt()
    }
}

impl WaitTicket {
    /// Waits for the end.
    pub async fn result(self) -> WaitResult {
        self.rx.await.unwrap_or_else(|_| WaitResult { code: -1, error: Some("the daemon stops".into()) })
    }
}

impl Engine {
    /// Opens the root and the state directory and takes up what was left running.
    pub async fn open(settings: Settings) -> Result<Arc<Engine>> {
        Ok(Arc::new(Self { settings }))
    }
    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// Makes a container.
    pub async fn create(&self, _request: CreateRequest) -> Result<Created> {
        unbuilt()
    }
    /// Starts a container. `NotModified` if it runs.
    pub async fn start(&self, _name: &str) -> Result<()> {
        unbuilt()
    }
    /// Stops a container: the signal, then after `timeout` seconds (-1: never) SIGKILL. `NotModified` if it does not run.
    pub async fn stop(&self, _name: &str, _timeout: Option<i64>, _signal: Option<&str>) -> Result<()> {
        unbuilt()
    }
    /// Sends a signal (`KILL` if `None`).
    pub async fn kill(&self, _name: &str, _signal: Option<&str>) -> Result<()> {
        unbuilt()
    }
    /// Registers a wait before it returns, so that a caller can answer its client at once.
    pub async fn wait(&self, _name: &str, _condition: WaitCondition) -> Result<WaitTicket> {
        unbuilt()
    }
    /// Takes a place at the streams of a container, also before it is started.
    pub async fn attach(&self, _name: &str, _request: AttachRequest) -> Result<AttachTicket> {
        unbuilt()
    }
    /// Reads the log.
    pub async fn logs(&self, _name: &str, _request: LogsRequest) -> Result<LogStream> {
        unbuilt()
    }
    /// Sets the size of the terminal.
    pub async fn resize(&self, _name: &str, _height: u16, _width: u16) -> Result<()> {
        unbuilt()
    }
    /// Removes a container, with its anonymous volumes if `volumes`.
    pub async fn remove(&self, _name: &str, _force: bool, _volumes: bool) -> Result<()> {
        unbuilt()
    }
    /// Everything about one container.
    pub async fn inspect(&self, _name: &str, _size: bool) -> Result<ContainerView> {
        unbuilt()
    }
    /// The containers, newest first.
    pub async fn list(&self, _request: ListRequest) -> Result<Vec<ContainerView>> {
        unbuilt()
    }
    /// Prepares one more program in a running container and gives its id.
    pub async fn exec_create(&self, _name: &str, _request: ExecRequest) -> Result<String> {
        unbuilt()
    }
    /// Starts an exec. With `detach` it runs when this returns `None`; else it starts when the ticket is handed over,
    /// and an error of the start is written to the client's stream, as Docker does.
    pub async fn exec_start(&self, _id: &str, _start: ExecStart) -> Result<Option<AttachTicket>> {
        unbuilt()
    }
    /// Everything about one exec.
    pub async fn exec_inspect(&self, _id: &str) -> Result<ExecView> {
        unbuilt()
    }
    /// Sets the size of an exec's terminal.
    pub async fn exec_resize(&self, _id: &str, _height: u16, _width: u16) -> Result<()> {
        unbuilt()
    }
    /// All images, newest first.
    pub async fn images(&self) -> Result<Vec<ImageView>> {
        unbuilt()
    }
    /// One image.
    pub async fn image_inspect(&self, _name: &str) -> Result<ImageView> {
        unbuilt()
    }
    /// Gives an image one more name (`repo` and `tag` as the caller got them; an empty tag is `latest`).
    pub async fn tag(&self, _source: &str, _repo: &str, _tag: &str) -> Result<()> {
        unbuilt()
    }
    /// Removes a name of an image, and the image with its last name.
    pub async fn remove_image(&self, _name: &str, _force: bool) -> Result<Vec<ImageRemoved>> {
        unbuilt()
    }
    /// Loads an archive. `input` is read on a thread of its own.
    pub fn load(&self, _input: Box<dyn Read + Send>) -> LoadStream {
        let (_tx, events) = mpsc::channel(1);
        LoadStream { events }
    }
    /// Facts about the engine and its machine.
    pub async fn info(&self) -> Result<InfoView> {
        unbuilt()
    }
    /// Versions.
    pub fn version(&self) -> VersionView {
        VersionView::default()
    }
    /// The networks: `bridge`, `host` and `none`.
    pub async fn networks(&self) -> Result<Vec<NetworkInfo>> {
        unbuilt()
    }
    /// Lets go of everything in good order. Containers go on.
    pub async fn close(&self) {}
}
