//! Looking at the machine: files of /proc and /sys, trials in places of its own, questions to the daemon. Nothing is
//! changed, nothing is sent out, nothing hangs. What is to be thought of it is decided in `judge`.

mod bounded;
mod caller;
mod clients;
mod daemon;
mod disk;
mod groups;
mod kernel;
mod network;
mod overlay;
mod rights;
mod socket;
mod store;

pub use caller::Host;

use super::facts::{Facts, Seen, Unseen};
use bounded::{LIMIT, begin};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Longest small file that is read.
const MAX_FILE: u64 = 4 << 20;

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--config-file`.
    pub config: Option<PathBuf>,
}

/// Looks at everything, group by group side by side.
pub fn all(host: &Host, question: &Question) -> Facts {
    let first = daemon::reach(host);
    let said = first.said.as_ref().filter(|s| s.product == "dhow").map(|s| PathBuf::from(&s.root));
    let caller = caller::look(question, host, first.peer.as_ref().map(|p| p.pid), said);
    let (root, state) = (caller.root.clone(), caller.state.clone());
    let disks = [("root", root.clone()), ("state", state.clone())].map(|(what, path)| {
        let pending = begin(LIMIT, {
            let path = path.clone();
            move || disk::look(&path)
        });
        (what.to_owned(), path, pending)
    });
    let pid = first.peer.as_ref().filter(|_| first.said.as_ref().is_some_and(|s| s.product == "dhow")).map(|p| p.pid);
    let kernel = begin(LIMIT, {
        let root = root.clone();
        move || Ok(kernel::look(&root))
    });
    let groups = begin(LIMIT, groups::look);
    let rights = begin(LIMIT, move || rights::look(pid));
    let store = begin(LIMIT, {
        let (root, damaged) = (root.clone(), first.damaged);
        move || store::look(&root, damaged)
    });
    let network = begin(LIMIT, {
        let bridge = caller.bridge.clone();
        move || network::look(bridge)
    });
    let clients = begin(LIMIT, {
        let (socket, peer) = (host.socket.clone(), first.peer.as_ref().map(|p| p.pid));
        move || Ok(clients::look(socket, peer))
    });
    let daemon = begin(LIMIT, {
        let host = host.clone();
        move || Ok(daemon::look(&host, first, &root, &state))
    });
    Facts {
        caller,
        kernel: kernel.take(),
        groups: groups.take(),
        rights: rights.take(),
        disks: disks
            .into_iter()
            .map(|(what, path, room)| super::facts::Disk { what, path, room: room.take() })
            .collect(),
        store: store.take(),
        network: network.take(),
        daemon: daemon.take(),
        clients: clients.take(),
    }
}

/// A small file as text, if it can be read.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A number in a small file.
fn number(path: &str) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// The value behind `key` and a colon, in a file of /proc.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Whether this process is root.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An error of the system, as a reason why something was not seen.
fn unseen(error: &std::io::Error) -> Unseen {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied if !is_root() => Unseen::Root,
        _ => Unseen::Other(error.to_string()),
    }
}

/// An error of one of the crates, likewise.
fn unseen_here(error: &dhow_types::Error) -> Unseen {
    let text = error.text();
    match is_root() {
        // The words of EPERM and EACCES.
        false if text.contains("not permitted") || text.contains("permission denied") => Unseen::Root,
        _ => Unseen::Other(text.to_owned()),
    }
}

/// What only root can try.
fn root_only<T>(look: impl FnOnce() -> Seen<T>) -> Seen<T> {
    if is_root() { look() } else { Err(Unseen::Root) }
}
