//! The daemon: asked over its socket, and looked at as a process.

use super::super::facts::{Answer, Daemon, Node, Peer, Said, Seen, Shim, Unseen};
use super::bounded::{ANSWER, within};
use super::caller::Host;
use super::{is_root, socket, text};
use dhow_api::{ContainerSummary, Info, Version};
use dhow_client::Client;
use dhow_shim::client::{Connection, connect};
use dhow_shim::protocol::{Reply, Request, VERSION};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// So many shims are asked, and so long altogether.
const MAX_SHIMS: usize = 200;
const SHIMS: Duration = Duration::from_secs(4);
/// The least that one of them is given.
const LEAST: Duration = Duration::from_secs(1);
/// The kernel's ticks in /proc/PID/stat, per second (`USER_HZ`, the same everywhere).
const TICKS: u64 = 100;

/// What came of the first words with it.
pub struct Reached {
    answer: Answer,
    node: Option<Node>,
    /// Who has the socket.
    pub peer: Option<Peer>,
    /// What it says.
    pub said: Option<Said>,
    /// Layers that it knows to be damaged.
    pub damaged: Option<u64>,
    running: Vec<String>,
}

/// Speaks with it.
pub fn reach(host: &Host) -> Reached {
    let mut reached =
        Reached { answer: Answer::Absent, node: None, peer: None, said: None, damaged: None, running: Vec::new() };
    let Some(path) = host.socket.clone() else {
        reached.answer = Answer::Failed("is no unix socket".to_owned());
        return reached;
    };
    reached.node = socket::node(&path);
    let (answer, pid) = socket::connect(&path);
    reached.peer = pid.map(peer);
    reached.answer = answer;
    if reached.answer != Answer::Well {
        return reached;
    }
    let told = within(ANSWER, move || {
        let client = Client::new(&path, None);
        let other = |e: dhow_client::Error| Unseen::Other(e.to_string());
        let version: Version = client.get("/version").map_err(other)?;
        let info: Info = client.get("/info").map_err(other)?;
        let running: Vec<ContainerSummary> = client.get("/containers/json").map_err(other)?;
        Ok((version, info, running))
    });
    match told {
        Ok((version, info, running)) => {
            let damaged =
                info.driver_status.iter().find(|[k, _]| k == "Damaged Layers").map(|[_, n]| n.parse().unwrap_or(1));
            reached.damaged = Some(damaged.unwrap_or(0)).filter(|_| version.platform.name == "dhow");
            reached.running = with_shims(running);
            reached.said = Some(said(version, info));
        }
        Err(Unseen::Late) => reached.answer = Answer::Silent,
        Err(why) => reached.answer = Answer::Failed(why.to_string()),
    }
    reached
}

/// Those that have a shim: one that waits for its next start has none.
fn with_shims(all: Vec<ContainerSummary>) -> Vec<String> {
    all.into_iter().filter(|c| matches!(c.state.as_str(), "running" | "paused")).map(|c| c.id).collect()
}

fn said(version: Version, info: Info) -> Said {
    let product = match version.platform.name.as_str() {
        "" => version.components.first().map_or_else(|| "unknown".to_owned(), |c| c.name.clone()),
        name => name.to_owned(),
    };
    Said {
        product,
        version: version.version,
        time: info.system_time.parse::<jiff::Timestamp>().ok().map(|t| t.as_second()),
        root: info.docker_root_dir,
        running: info.containers_running,
        warnings: info.warnings.unwrap_or_default(),
    }
}

/// The process with this number.
pub fn peer(pid: u32) -> Peer {
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let own = |name: &str| std::fs::read_link(format!("/proc/self/{name}")).ok();
    let differs = |name: &str| link(name).zip(own(name)).is_some_and(|(theirs, mine)| theirs != mine);
    let uptime = text("/proc/uptime").and_then(|t| t.split('.').next()?.parse::<u64>().ok());
    let began = text(format!("/proc/{pid}/stat")).and_then(|t| began(&t));
    Peer {
        pid,
        name: text(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(),
        words: text(format!("/proc/{pid}/cmdline"))
            .map(|t| t.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
            .unwrap_or_default(),
        age: uptime.zip(began).map(|(now, then)| now.saturating_sub(then / TICKS)),
        replaced: link("exe").is_some_and(|p| p.to_string_lossy().ends_with(" (deleted)")),
        other_network: differs("ns/net"),
        other_mounts: differs("ns/mnt"),
    }
}

/// When a process began, in ticks since the machine did: the 22nd word, where the second may hold anything.
fn began(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The rest.
pub fn look(host: &Host, first: Reached, root: &Path, state: &Path) -> Daemon {
    let times = ["dhow.db", "dhow.db-wal"].map(|name| std::fs::metadata(root.join(name)).map(|m| m.mtime()));
    Daemon {
        socket: host.socket.clone(),
        default: host.default,
        shims: shims(host, &first.running, &state.join("shims")),
        answer: first.answer,
        node: first.node,
        peer: first.peer,
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        said: first.said,
        newest: times.into_iter().flatten().max(),
    }
}

/// Asks the shim of each container that runs.
fn shims(host: &Host, running: &[String], sockets: &Path) -> Seen<(u64, Vec<(String, Shim)>)> {
    if !is_root() {
        return Err(Unseen::Root);
    }
    if !running.is_empty() && !sockets.is_dir() {
        return Err(Unseen::Other(format!("{} is not there: name the daemon's --state", sockets.display())));
    }
    let until = Instant::now() + SHIMS;
    let mut bad = Vec::new();
    let mut asked = 0;
    for id in running.iter().take(MAX_SHIMS) {
        let left = until.saturating_duration_since(Instant::now());
        // With less, one that is well could be late.
        if left < LEAST {
            break;
        }
        asked += 1;
        if let Some(kind) = ask(sockets, id, left) {
            bad.push((id.clone(), kind));
        }
    }
    // One that has ended since, or was started anew, is as it should be.
    if bad.iter().any(|(_, kind)| *kind != Shim::Older) {
        let still = again(host);
        bad.retain_mut(|(id, kind)| {
            if *kind == Shim::Older {
                return true;
            }
            if !still.as_ref().is_some_and(|all| all.contains(id)) {
                return false;
            }
            let now = ask(sockets, id, LEAST);
            *kind = now.unwrap_or(*kind);
            now.is_some()
        });
    }
    let short = |id: String| id.get(..12).map_or_else(|| id.clone(), str::to_owned);
    Ok((asked, bad.into_iter().map(|(id, kind)| (short(id), kind)).collect()))
}

/// What is wrong with the shim of a container.
fn ask(sockets: &Path, id: &str, most: Duration) -> Option<Shim> {
    let path = sockets.join(format!("{id}.sock"));
    let answer = within(most.min(ANSWER), move || {
        let Ok(stream) = connect(&path) else { return Ok(Some(Shim::Gone)) };
        Ok(match Connection::new(stream).call(Request::State, &[]) {
            Ok(Reply::State(state)) if state.protocol == VERSION => None,
            Ok(Reply::State(_)) => Some(Shim::Older),
            _ => Some(Shim::Gone),
        })
    });
    answer.unwrap_or(Some(Shim::Silent))
}

/// The containers that run now, if the daemon says so.
fn again(host: &Host) -> Option<Vec<String>> {
    let path = host.socket.clone()?;
    let list = within(ANSWER, move || {
        let list: Result<Vec<ContainerSummary>, _> = Client::new(&path, None).get("/containers/json");
        list.map_err(|e| Unseen::Other(e.to_string()))
    });
    list.ok().map(with_shims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_process_began() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20\n";
        assert_eq!(began(stat), Some(777));
        let me = peer(std::process::id());
        assert!(me.age.is_some() && !me.other_network && !me.other_mounts && !me.name.is_empty(), "{me:?}");
    }
}
