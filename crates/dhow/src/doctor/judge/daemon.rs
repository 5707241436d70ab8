//! The daemon: whether it answers, who may ask it, what it started.

use super::super::facts::{Answer, Caller, Daemon, Node, Peer, Said, Shim};
use super::super::finding::{Finding, Group};

/// Seconds that the clocks of daemon and client may differ by.
const SAME_TIME: i64 = 5;
/// No clock that is right shows a time before this one (2026-01-01).
const LEAST_TIME: i64 = 1_767_225_600;
/// Files may be that many seconds younger than the clock, by the clock of another machine.
const FUTURE: i64 = 24 * 3600;

/// The findings.
pub fn judge(d: &Daemon, caller: &Caller) -> Vec<Finding> {
    let mut out = vec![answer(d, caller)];
    if let Some(error) = &caller.config_error {
        out.push(
            Finding::new(Group::Daemon, "config", "configuration", error.clone())
                .error("the next daemon does not start with it")
                .mend_noted(
                    format!("${{EDITOR:-vi}} {}", super::quoted(caller.config_file())),
                    "docs/daemon.md lists the keys",
                ),
        );
    }
    if let Some(said) = &d.said {
        out.push(version(d, said));
        for warning in &said.warnings {
            out.push(
                Finding::new(Group::Daemon, "warning", "says", warning.clone())
                    .note("see the groups cgroups and network"),
            );
        }
    }
    if let Some(node) = &d.node {
        out.push(node_of(node, d));
    }
    if let Some(peer) = d.peer.as_ref().filter(|_| d.said.is_some()) {
        out.push(process(peer, d));
        out.extend(elsewhere(peer));
    }
    out.push(clock(d, caller));
    if d.said.as_ref().is_some_and(|s| s.product == "dhow") {
        out.push(shims(d));
    }
    out
}

fn path(d: &Daemon) -> String {
    d.socket.as_ref().map_or_else(String::new, |p| p.display().to_string())
}

/// How the daemon is started on this socket.
fn start(d: &Daemon) -> String {
    match d.default {
        true => "dhow daemon".to_owned(),
        false => format!("dhow daemon -H {} --root DIR --state DIR", super::quoted(format_args!("unix://{}", path(d)))),
    }
}

fn answer(d: &Daemon, caller: &Caller) -> Finding {
    let f = |seen: String| Finding::new(Group::Daemon, "answer", "answer", seen);
    let at = path(d);
    let word = super::quoted(&at);
    match &d.answer {
        Answer::Well => f(format!("on {at}")),
        Answer::Absent if d.default => f(format!("no daemon runs ({at} is not there)"))
            .note("a command of root starts one by itself")
            .mend("dhow daemon"),
        Answer::Absent => {
            let f = f(format!("{at} is not there")).error("commands find no daemon at this socket, which was named");
            back(f, caller).mend_noted(start(d), "to have one here; with directories of its own")
        }
        Answer::Dead => {
            let f = f(format!("nobody listens on {at}: left behind by a daemon that was killed"));
            match d.default {
                true => f.warning(
                    "the next command of root starts a daemon, which replaces it; other users get an error until then",
                ),
                false => f.error("commands find no daemon at this socket, which was named"),
            }
            .mend(format!("rm {word}"))
            .mend_noted(start(d), "replaces it too; containers that run are taken up again")
        }
        Answer::NoSocket => f(format!("{at} is no socket"))
            .error("something else has the name, and no daemon can listen there")
            .mend_noted(format!("mv {word} {word}.old"), "look at what it is first"),
        Answer::Forbidden => {
            let group = d.node.as_ref().map_or("docker", |n| n.group.as_str());
            let f = f(format!("{} may not open {at}", caller.user))
                .error("only root and the members of the socket's group may");
            match group {
                "root" | "" => f.mend("sudo dhow ps").mend_noted(
                    format!("groupadd docker && usermod -aG docker {}", super::quoted(&caller.user)),
                    "then restart the daemon and log in anew; members of that group are root on this machine",
                ),
                group => f.mend("sudo dhow ps").mend_noted(
                    format!("usermod -aG {} {}", super::quoted(group), super::quoted(&caller.user)),
                    format!(
                        "as root; then log in anew, or `newgrp {group}`; members of that group are root on this machine"
                    ),
                ),
            }
        }
        Answer::Silent => {
            let f = f(format!("{at} is open, and nobody answers")).error("every command waits for ever");
            match &d.peer {
                Some(peer @ Peer { pid, name, .. }) if is_ours(peer) => f
                    .mend_noted(
                        format!("kill -CONT {pid}"),
                        format!("if {name} was stopped (state T in /proc/{pid}/status)"),
                    )
                    .mend_noted(
                        format!("kill -9 {pid}"),
                        format!("if {name} hangs; containers go on, and the next daemon takes them up"),
                    ),
                Some(Peer { pid, .. }) => {
                    f.mend_noted(format!("ps -fp {pid}"), "shows what it is: none of dhow's daemons")
                }
                None => f.mend_noted(format!("fuser -v {word}"), "shows which process has it"),
            }
        }
        Answer::Failed(_) if d.socket.is_none() => {
            let f =
                f(caller.host.clone()).error("every command ends with these words: dhow speaks over unix sockets only");
            back(f, caller).mend_noted("dhow -H unix:///run/dhow.sock ps", "for one command")
        }
        Answer::Failed(why) => {
            f(format!("{at}: {why}")).error("commands can't use this socket").mend(format!("ls -l {word}"))
        }
    }
}

/// Back to the default socket.
fn back(f: Finding, caller: &Caller) -> Finding {
    let note = "to use the default socket, where a daemon is started when it is needed";
    match caller.context.as_str() {
        "default" => f.mend_noted("unset DHOW_HOST DOCKER_HOST", note),
        _ => f.mend_noted("unset DOCKER_CONTEXT; dhow context use default", note),
    }
}

fn version(d: &Daemon, said: &Said) -> Finding {
    let f = Finding::new(
        Group::Daemon,
        "version",
        "version",
        format!("{} {}, this program is {}", said.product, said.version, d.client_version),
    );
    if said.product != "dhow" {
        return f
            .note("another engine answers on this socket: checks of root and state below are of dhow's directories, not of its")
            .mend("unset DHOW_HOST DOCKER_HOST");
    }
    match said.version == d.client_version {
        true => f,
        false => f.warning("what is new in one of them does not work").mend_noted(again(d), ANEW),
    }
}

/// Ends the daemon, waits for that, and starts another one with the same words.
fn again(d: &Daemon) -> String {
    let Some(peer) = &d.peer else { return start(d) };
    let anew = match peer.words.as_slice() {
        [_, rest @ ..] if rest.first().is_some_and(|word| word == "daemon") => {
            let words: Vec<String> = rest.iter().map(super::quoted).collect();
            format!("dhow {}", words.join(" "))
        }
        _ => start(d),
    };
    format!("kill {0}; tail --pid={0} -f /dev/null; {anew}", peer.pid)
}

/// Whether a process may be one of dhow's: others are not told to end. Process 1 holds sockets for those that systemd
/// starts.
fn is_ours(peer: &Peer) -> bool {
    peer.pid > 1 && matches!(peer.name.as_str(), "dhow" | "exe")
}

fn node_of(node: &Node, d: &Daemon) -> Finding {
    let word = super::quoted(path(d));
    let members = match (node.members.as_slice(), node.mode & 0o060 != 0) {
        (_, false) => "root alone".to_owned(),
        ([], true) => format!("root and the group {}, which lists no members", node.group),
        (list, true) => format!("root and the group {}: {}", node.group, list.join(", ")),
    };
    let f = Finding::new(Group::Daemon, "socket", "socket", format!("mode {:04o}; {members}", node.mode & 0o7777));
    if node.mode & 0o002 != 0 {
        return f
            .error("every user of this machine, and every program of theirs, can become root by it")
            .mend(format!("chmod 660 {word}"));
    }
    if node.uid != 0 {
        return f
            .warning("a user other than root owns the socket, and can replace it")
            .mend(format!("chown root {word}"));
    }
    match node.mode & 0o060 != 0 && !node.members.is_empty() {
        true => f
            .note("each of them is root on this machine, as with Docker")
            .mend_noted(format!("gpasswd -d USER {}", node.group), "takes it from a user"),
        false => f,
    }
}

/// What is said beside [`again`].
const ANEW: &str = "containers go on meanwhile; a unit of systemd is restarted by `systemctl restart`";

fn process(peer: &Peer, d: &Daemon) -> Finding {
    let age = peer.age.map_or_else(String::new, |s| {
        format!(", for {}", crate::cli::units::human_duration(i64::try_from(s).unwrap_or(i64::MAX)).to_lowercase())
    });
    let f = Finding::new(Group::Daemon, "process", "process", format!("{} ({}){age}", peer.pid, peer.name));
    // Of other engines nothing is known, least of all what their containers do without them.
    let ours = d.said.as_ref().is_some_and(|s| s.product == "dhow") && is_ours(peer);
    match peer.replaced && ours {
        false => f,
        true => {
            f.warning("its program was replaced since it started: it still is the old one").mend_noted(again(d), ANEW)
        }
    }
}

fn elsewhere(peer: &Peer) -> Option<Finding> {
    let what = match (peer.other_network, peer.other_mounts) {
        (true, true) => "another network and other mounts",
        (true, false) => "another network",
        (false, true) => "other mounts",
        (false, false) => return None,
    };
    let flags = match (peer.other_network, peer.other_mounts) {
        (true, true) => "-n -m",
        (true, false) => "-n",
        _ => "-m",
    };
    Some(
        Finding::new(Group::Daemon, "surroundings", "surroundings", format!("it sees {what} than this command"))
            .note("the groups network and disk are about this command's own")
            .mend_noted(format!("nsenter -t {} {flags} dhow doctor", peer.pid), "looks from where the daemon is"),
    )
}

fn clock(d: &Daemon, caller: &Caller) -> Finding {
    let local = crate::cli::units::local_time(caller.now);
    let f = Finding::new(Group::Daemon, "clock", "clock", local);
    let set = |f: Finding| match caller.systemd {
        true => f.mend("timedatectl set-ntp true"),
        false => f.mend_noted("date -s 'YYYY-MM-DD HH:MM:SS'", "with the time of now"),
    };
    if caller.now < LEAST_TIME {
        return set(f.error("the clock is wrong: times of containers, logs and certificates are judged by it"));
    }
    if d.newest.is_some_and(|newest| newest > caller.now + FUTURE) {
        return set(f.warning("files of the root are from the future: the clock was put back, and `--since`, `--until` and ages say nonsense"));
    }
    match d.said.as_ref().and_then(|s| s.time) {
        Some(theirs) if (theirs - caller.now).abs() > SAME_TIME => {
            f.note(format!("the daemon's is {} seconds off", theirs - caller.now))
        }
        _ => f,
    }
}

fn shims(d: &Daemon) -> Finding {
    let (asked, bad) = match &d.shims {
        Ok(shims) => shims,
        Err(unseen) => return Finding::unseen(Group::Daemon, "shims", "shims", unseen),
    };
    let f = Finding::new(Group::Daemon, "shims", "shims", format!("{asked} asked, all of this version"));
    let of = |kind: Shim| bad.iter().filter(|(_, s)| *s == kind).map(|(id, _)| id.as_str()).collect::<Vec<_>>();
    let (gone, silent, older) = (of(Shim::Gone), of(Shim::Silent), of(Shim::Older));
    let mut f = f;
    if !gone.is_empty() || !silent.is_empty() {
        let list = [gone.as_slice(), silent.as_slice()].concat();
        f.seen = format!("{asked} asked; dead or silent: {}", list.join(", "));
        f = f.error("a container without its shim can't be attached to or stopped in good order");
        return f
            .mend_noted(format!("dhow inspect -f '{{{{json .State}}}}' {}", list.join(" ")), "what the daemon knows")
            .mend_noted(format!("dhow restart {}", list.join(" ")), "ends what is left of them, and starts them anew");
    }
    if !older.is_empty() {
        f.seen = format!("{asked} asked; of an older dhow: {}", older.join(", "));
        return f
            .note("what is new since works in these containers after a restart")
            .mend_noted(format!("dhow restart {}", older.join(" ")), "stops and starts them");
    }
    f
}
