//! Attaching clients: a ticket first, the client's connection later, and then the shim speaks with the client.

use super::Container;
use crate::config::AttachRequest;
use crate::core::Core;
use crate::exec::{self, Exec};
use crate::plan::keys;
use crate::{LogsRequest, logs};
use dhow_shim::protocol::{AttachOptions, MAX_LEFTOVER, Request};
use dhow_types::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Clients that may wait for a start.
const MAX_PENDING: usize = 256;

/// A place at a container's streams, taken before the caller has a connection to give.
pub struct AttachTicket {
    /// The container (or exec) has a terminal: one raw stream. Otherwise Docker's eight-byte frames.
    pub tty: bool,
    kind: Kind,
}

enum Kind {
    Container {
        core: Arc<Core>,
        container: Arc<Container>,
        request: AttachRequest,
        keys: Option<Vec<u8>>,
        guard: Guard,
    },
    Exec {
        core: Arc<Core>,
        exec: Arc<Exec>,
        size: Option<(u16, u16)>,
    },
}

impl std::fmt::Debug for AttachTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachTicket").field("tty", &self.tty).finish_non_exhaustive()
    }
}

/// Makes a start wait for the client that was announced.
struct Guard(Arc<Container>);

impl Guard {
    fn new(container: &Arc<Container>) -> Self {
        container.shared().tickets += 1;
        Self(container.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.shared().tickets -= 1;
        self.0.changed.notify_waiters();
    }
}

/// A client that waits for the start.
#[derive(Debug)]
pub(super) struct Pending {
    request: AttachRequest,
    keys: Option<Vec<u8>>,
    framed: bool,
    connection: OwnedFd,
    leftover: Vec<u8>,
}

impl Pending {
    /// The options for the shim, with the descriptor at place `fd`.
    pub(super) fn options(self, fd: u32) -> (AttachOptions, OwnedFd) {
        let options = AttachOptions {
            fd,
            stdin: self.request.stdin,
            stdout: self.request.stdout,
            stderr: self.request.stderr,
            framed: self.framed,
            detach_keys: self.keys,
            leftover: self.leftover,
        };
        (options, self.connection)
    }
}

/// Takes a place.
pub(crate) fn attach(core: &Arc<Core>, container: &Arc<Container>, request: AttachRequest) -> Result<AttachTicket> {
    let (tty, open_stdin, log) = {
        let shared = container.shared();
        (
            shared.record.config.tty,
            shared.record.config.open_stdin,
            crate::plan::log::readable(&shared.record.host.log_config),
        )
    };
    let mut request = request;
    // A container without input takes none, as in Docker.
    request.stdin &= open_stdin;
    if request.logs && !log {
        return Err(logs::unreadable());
    }
    let keys = request.detach_keys.as_deref().map(keys::parse).transpose()?;
    let guard = Guard::new(container);
    let kind = Kind::Container { core: core.clone(), container: container.clone(), request, keys, guard };
    Ok(AttachTicket { tty, kind })
}

/// A ticket for an exec that starts when it is handed over.
pub(crate) fn for_exec(core: &Arc<Core>, exec: Arc<Exec>, size: Option<(u16, u16)>) -> AttachTicket {
    AttachTicket { tty: exec.request.tty, kind: Kind::Exec { core: core.clone(), exec, size } }
}

impl AttachTicket {
    /// Gives the client's connection away. `leftover` are bytes the client sent already.
    /// From here on the shim speaks with the client; the caller must forget the connection.
    pub async fn hand_over(self, connection: OwnedFd, leftover: Vec<u8>) -> Result<()> {
        if leftover.len() > MAX_LEFTOVER {
            return Err(Error::new(
                ErrorKind::Exhausted,
                format!("the client sent more than {MAX_LEFTOVER} bytes before its connection was taken over"),
            ));
        }
        match self.kind {
            Kind::Exec { core, exec, size } => exec::start_attached(&core, &exec, size, connection, leftover).await,
            Kind::Container { core, container, request, keys, guard } => {
                let mut connection = connection;
                if request.logs {
                    connection = backlog(&core, &container, &request, self.tty, connection).await?;
                }
                if !request.stream {
                    return Ok(());
                }
                core.events.container(&container.record(), "attach", &[]);
                let client = Pending { request, keys, framed: !self.tty, connection, leftover };
                join(&container, client, guard).await
            }
        }
    }
}

/// Brings a client to the shim, now or at the start.
async fn join(container: &Arc<Container>, client: Pending, guard: Guard) -> Result<()> {
    let link = loop {
        let changed = container.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        {
            let mut shared = container.shared();
            if let (Some(live), crate::view::Status::Running) = (&shared.live, shared.record.state.status) {
                break live.link.clone();
            }
            if !shared.starting {
                if shared.pending.len() >= MAX_PENDING {
                    return Err(Error::new(
                        ErrorKind::Exhausted,
                        format!("more than {MAX_PENDING} clients wait for the start"),
                    ));
                }
                if shared.record.state.status != crate::view::Status::Removing {
                    shared.pending.push(client);
                }
                return Ok(());
            }
        }
        // A start is under way and has its clients already: this one follows at once.
        changed.await;
    };
    drop(guard);
    let (options, fd) = client.options(0);
    link.call(Request::Attach { exec_id: None, options }, vec![fd]).await.map(drop)
}

/// Writes what was logged so far to the client.
async fn backlog(
    core: &Arc<Core>,
    container: &Arc<Container>,
    request: &AttachRequest,
    tty: bool,
    connection: OwnedFd,
) -> Result<OwnedFd> {
    let wanted = LogsRequest { stdout: request.stdout || tty, stderr: request.stderr, ..LogsRequest::default() };
    let mut chunks = logs::open(core, container, wanted)?.chunks;
    crate::core::blocking(move || {
        while let Some(chunk) = chunks.blocking_recv() {
            dhow_shim::send_bytes(&connection, &chunk?, &[])?;
        }
        Ok(connection)
    })
    .await
}
