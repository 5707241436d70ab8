//! Daemon and clients.

use super::super::super::facts::*;
use super::super::super::finding::State::{Error, Note, Ok as Well, Warning};
use super::{check, row};

fn unanswered(f: &mut Facts, answer: Answer, default: bool) {
    let d = part!(f.daemon);
    d.said = None;
    d.answer = answer;
    d.default = default;
    if !default {
        d.socket = Some("/x.sock".into());
    }
}

#[test]
fn the_daemon() {
    check(vec![
        row(|f| unanswered(f, Answer::Absent, true), "daemon.answer", Note, &["no daemon runs"], &["dhow daemon"]),
        row(
            |f| unanswered(f, Answer::Absent, false),
            "daemon.answer",
            Error,
            &["/x.sock"],
            &["unset DHOW_HOST DOCKER_HOST", "-H unix:///x.sock"],
        ),
        row(
            |f| unanswered(f, Answer::Dead, true),
            "daemon.answer",
            Warning,
            &["nobody listens"],
            &["rm /run/dhow.sock"],
        ),
        row(|f| unanswered(f, Answer::Dead, false), "daemon.answer", Error, &["nobody listens"], &["rm /x.sock"]),
        row(
            |f| unanswered(f, Answer::NoSocket, true),
            "daemon.answer",
            Error,
            &["is no socket"],
            &["mv /run/dhow.sock"],
        ),
        row(
            |f| unanswered(f, Answer::Silent, true),
            "daemon.answer",
            Error,
            &["nobody answers"],
            &["kill -CONT 812", "kill -9 812"],
        ),
        row(
            |f| {
                unanswered(f, Answer::Failed("odd".into()), true);
                part!(f.daemon).socket = None;
                f.caller.host = "tcp://far".into();
            },
            "daemon.answer",
            Error,
            &["tcp://far"],
            &["dhow -H unix:///run/dhow.sock ps", "unset DHOW_HOST DOCKER_HOST"],
        ),
        row(|f| unanswered(f, Answer::Failed("odd".into()), true), "daemon.answer", Error, &["odd"], &["ls -l"]),
        row(
            |f| {
                unanswered(f, Answer::Forbidden, true);
                f.caller.user = "ann".into();
                part!(f.daemon).node = Some(Node { mode: 0o660, uid: 0, group: "docker".into(), members: vec![] });
            },
            "daemon.answer",
            Error,
            &["ann may not"],
            &["usermod -aG docker ann", "are root"],
        ),
        row(
            |f| {
                unanswered(f, Answer::Forbidden, true);
                f.caller.user = "ann".into();
            },
            "daemon.answer",
            Error,
            &[],
            &["groupadd docker && usermod -aG docker ann"],
        ),
        row(
            |f| f.caller.config_error = Some("rooot: unknown".into()),
            "daemon.config",
            Error,
            &["rooot"],
            &["/etc/dhow/daemon.json"],
        ),
        row(
            |f| part!(f.daemon).client_version = "0.2.0".into(),
            "daemon.version",
            Warning,
            &["0.1.0", "0.2.0"],
            &["kill 812; tail --pid=812 -f /dev/null; dhow daemon --root '/a b'"],
        ),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().product = "Docker Engine".into(),
            "daemon.version",
            Note,
            &["another engine"],
            &["unset DHOW_HOST DOCKER_HOST"],
        ),
        row(
            |f| part!(f.daemon).node.as_mut().unwrap().mode = 0o666,
            "daemon.socket",
            Error,
            &["0666", "become root"],
            &["chmod 660 /run/dhow.sock"],
        ),
        row(|f| part!(f.daemon).node.as_mut().unwrap().uid = 5, "daemon.socket", Warning, &[], &["chown root"]),
        row(
            |f| {
                let node = part!(f.daemon).node.as_mut().unwrap();
                node.group = "docker".into();
                node.members = vec!["ann".into(), "bob".into()];
            },
            "daemon.socket",
            Note,
            &["ann, bob", "root on this machine"],
            &["gpasswd -d USER docker"],
        ),
        row(
            |f| part!(f.daemon).peer.as_mut().unwrap().replaced = true,
            "daemon.process",
            Warning,
            &["replaced"],
            &["kill 812; tail --pid=812 -f /dev/null; dhow daemon --root '/a b'"],
        ),
        row(
            |f| {
                let d = part!(f.daemon);
                d.peer.as_mut().unwrap().replaced = true;
                d.said.as_mut().unwrap().product = "Docker Engine".into();
            },
            "daemon.process",
            Well,
            &["812"],
            &[],
        ),
        row(
            |f| part!(f.daemon).peer.as_mut().unwrap().other_network = true,
            "daemon.surroundings",
            Note,
            &["another network"],
            &["nsenter -t 812 -n dhow doctor"],
        ),
        row(|f| f.caller.now = 1000, "daemon.clock", Error, &["1970"], &["timedatectl set-ntp true"]),
        row(|f| part!(f.daemon).newest = Some(1_795_900_000), "daemon.clock", Warning, &["future"], &["timedatectl"]),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().time = Some(1_795_000_100),
            "daemon.clock",
            Note,
            &["100 seconds off"],
            &[],
        ),
        row(
            |f| part!(f.daemon).shims = Ok((2, vec![("abc".into(), Shim::Gone)])),
            "daemon.shims",
            Error,
            &["abc"],
            &["dhow restart abc"],
        ),
        row(
            |f| part!(f.daemon).shims = Ok((2, vec![("abc".into(), Shim::Older)])),
            "daemon.shims",
            Note,
            &["older"],
            &["dhow restart abc"],
        ),
        row(
            |f| part!(f.daemon).said.as_mut().unwrap().warnings = vec!["No swap limit support".into()],
            "daemon.warning",
            Note,
            &["No swap limit"],
            &[],
        ),
    ]);
}

#[test]
fn other_clients() {
    check(vec![
        row(
            |f| part!(f.clients).docker = None,
            "clients.docker",
            Note,
            &["not installed"],
            &["apt-get install -y docker-cli"],
        ),
        row(|f| part!(f.clients).is_podman = true, "clients.docker", Note, &["podman"], &["dhow ps"]),
        row(
            |f| part!(f.clients).docker_host = Some("unix:///other.sock".into()),
            "clients.reach",
            Warning,
            &["unix:///other.sock, by DOCKER_HOST"],
            &["export DOCKER_HOST=unix:///run/dhow.sock", "~/.profile"],
        ),
        row(
            |f| part!(f.clients).docker_host = Some("tcp://far:2375".into()),
            "clients.host",
            Error,
            &["tcp://far:2375"],
            &["export DHOW_HOST=unix:///run/dhow.sock"],
        ),
        row(
            |f| part!(f.clients).dhow_host = Some("ssh://far".into()),
            "clients.host",
            Error,
            &["ssh://far"],
            &["unset DHOW_HOST"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).context = Some(("far".into(), Some("ssh://far".into())));
            },
            "clients.reach",
            Warning,
            &["ssh://far, by the context far"],
            &["docker context create dhow --docker host=unix:///run/dhow.sock && docker context use dhow"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).context = Some(("lost".into(), None));
                part!(f.clients).context_by_variable = true;
            },
            "clients.reach",
            Warning,
            &["does not exist"],
            &["unset DOCKER_CONTEXT"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::By("dockerd".into(), 77);
            },
            "clients.reach",
            Note,
            &["dockerd (process 77)"],
            &["export DOCKER_HOST="],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::Absent;
            },
            "clients.reach",
            Note,
            &["not there"],
            &["dhow daemon -H unix:///run/dhow.sock -H unix:///var/run/docker.sock"],
        ),
        row(
            |f| {
                part!(f.clients).docker_host = None;
                part!(f.clients).docker_socket = Other::Same;
            },
            "clients.reach",
            Well,
            &["dhow, by /var/run/docker.sock"],
            &[],
        ),
        row(
            |f| part!(f.clients).podman_socket = Other::By("podman".into(), 9),
            "clients.others",
            Note,
            &["podman (process 9)"],
            &[],
        ),
        row(
            |f| part!(f.clients).config_error = Some("bad".into()),
            "clients.config",
            Warning,
            &["bad"],
            &["config.json"],
        ),
    ]);
}
