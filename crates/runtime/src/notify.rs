//! Hands the descriptor of a notifying seccomp filter to the agent that the document names (`listenerPath`).

use crate::context::Context;
use crate::state::State;
use dhow_sys::scm;
use dhow_types::{Error, Result};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Serialize;
use std::os::fd::{AsFd, OwnedFd};

/// The agent and what it is told.
#[derive(Clone, Debug)]
pub(crate) struct NotifyTarget {
    pub(crate) path: String,
    pub(crate) metadata: String,
    /// The container as the agent shall see it.
    pub(crate) state: State,
}

/// `ContainerProcessState` of the runtime specification.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    metadata: &'a str,
    state: &'a State,
}

impl NotifyTarget {
    /// Connects and sends one message: the state, with the descriptor.
    pub(crate) fn deliver(&self, pid: i32, fd: &OwnedFd) -> Result<()> {
        let mut state = self.state.clone();
        state.pid = Some(pid);
        let message = serde_json::to_vec(&ContainerProcessState {
            oci_version: crate::spec::OCI_VERSION,
            fds: ["seccompFd"],
            pid,
            metadata: &self.metadata,
            state: &state,
        })
        .map_err(|e| Error::system(e.to_string()))?;
        let what = || format!("hand the seccomp descriptor to the agent at {}", self.path);
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).with_context(what)?;
        let address = SocketAddrUnix::new(self.path.as_str()).with_context(what)?;
        connect(&socket, &address).with_context(what)?;
        scm::send(socket.as_fd(), &message, &[fd.as_fd()]).with_context(what)?;
        Ok(())
    }
}
