//! The namespaces of other containers that one joins.
//!
//! They are opened by the number of the other one's process, which belongs to another process, perhaps of the machine, as
//! soon as its shim has collected it. So what was opened counts only once the shim says, after that, that it has not.

use super::Container;
use crate::core::Core;
use crate::link::Link;
use crate::plan::modes;
use crate::plan::spec::NetworkFiles;
use dhow_types::{Context, Error, Result};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// What a container joins.
#[derive(Debug, Default)]
pub(super) struct Joins {
    /// The network, and the other one's files in `/etc`.
    pub(super) network: Option<(OwnedFd, NetworkFiles)>,
    /// The processes that it sees.
    pub(super) pid: Option<OwnedFd>,
    /// The IPC objects, and the directory of the shared memory.
    pub(super) ipc: Option<(OwnedFd, PathBuf)>,
}

/// Opens the namespaces of those that a container joins, as far as they run.
pub(super) async fn joins(core: &Core, me: &Container) -> Result<Joins> {
    let record = me.record();
    let mut joins = Joins::default();
    if let modes::Network::Container(name) = modes::network(&record.host.network_mode)? {
        let other = core.registry().find(&name)?;
        let netns = namespace(&other, &name, "net").await?;
        let dir = core.dirs.container(&files_of(core, &other)?);
        let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let files = NetworkFiles { resolv_conf: path("resolv.conf"), hostname: path("hostname"), hosts: path("hosts") };
        joins.network = Some((netns, files));
    }
    if let modes::Pid::Container(name) = modes::pid(&record.host.pid_mode)? {
        let other = core.registry().find(&name)?;
        joins.pid = Some(namespace(&other, &name, "pid").await?);
    }
    if let modes::Ipc::Container(name) = modes::ipc(&record.host.ipc_mode)? {
        let other = core.registry().find(&name)?;
        let ipc = namespace(&other, &name, "ipc").await?;
        let theirs = other.record().host.ipc_mode;
        let shm: PathBuf = match modes::ipc(&theirs)? {
            modes::Ipc::Shareable => core.dirs.shm(&other.id),
            _ => {
                return Err(Error::conflict(format!(
                    "cannot join IPC of container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
        };
        joins.ipc = Some((ipc, shm));
    }
    Ok(joins)
}

pub(super) fn not_joined(name: &str) -> Error {
    Error::conflict(format!("cannot join the namespaces of a non running container: {name}"))
}

async fn namespace(other: &Container, name: &str, kind: &str) -> Result<OwnedFd> {
    let (link, pid) = other.first().map_err(|_| not_joined(name))?;
    opened(&link, pid, kind).await?.ok_or_else(|| not_joined(name))
}

/// Opens a namespace of the process `pid` that the shim behind `link` started. `None` if it has ended.
async fn opened(link: &Link, pid: i32, kind: &str) -> Result<Option<OwnedFd>> {
    let path = format!("/proc/{pid}/ns/{kind}");
    let file = std::fs::File::open(&path);
    if !link.holds().await {
        return Ok(None);
    }
    file.map(|file| Some(file.into())).with_context(|| format!("open the namespace {path}"))
}

/// Whose files a container uses: those of the first in a chain of joined networks.
fn files_of(core: &Core, container: &Arc<Container>) -> Result<dhow_types::ContainerId> {
    const MAX_CHAIN: usize = 64;
    let mut at = container.clone();
    for _ in 0..MAX_CHAIN {
        match modes::network(&at.record().host.network_mode)? {
            modes::Network::Container(name) => at = core.registry().find(&name)?,
            _ => return Ok(at.id.clone()),
        }
    }
    Err(Error::invalid(format!("more than {MAX_CHAIN} containers join each other's network")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_shim::frame::{CallReader, Received};
    use dhow_shim::protocol::{Call, Message, Reply, Request};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    /// A link to a shim that says of its process that it has collected it, or not.
    fn shim(collected: bool) -> Arc<Link> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut reader = CallReader::new();
            while reader.receive(theirs.as_fd(), &mut [0; 4096]).is_ok_and(|got| got == Received::Some) {
                while let Ok(Some((Call { seq, request, .. }, _))) = reader.next_call() {
                    assert!(matches!(request, Request::Signal { exec_id: None, signo: 0, all: false }), "{request:?}");
                    let over = || Reply::Failed(Error::not_found("the container's process has ended").into());
                    let reply = if collected { over() } else { Reply::Done };
                    let _ = dhow_shim::send_frame(&theirs, &Message::Reply { seq, reply }, &[]);
                }
            }
        });
        Link::start(ours, |_| async {}).unwrap().0
    }

    /// The number stands for a process that runs, here this one: what matters is whose it is.
    #[tokio::test]
    async fn a_number_that_was_given_again_leads_nowhere() {
        let pid = std::process::id() as i32;
        for kind in ["net", "pid", "ipc"] {
            assert!(opened(&shim(true), pid, kind).await.unwrap().is_none(), "{kind}");
            let fd = opened(&shim(false), pid, kind).await.unwrap().unwrap();
            let own = std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
            assert_eq!(std::fs::File::from(fd).metadata().unwrap().ino(), own, "{kind}");
        }
    }
}
