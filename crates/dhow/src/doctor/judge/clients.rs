//! Docker's client and other programs that look for a daemon: whether they find dhow.

use super::super::facts::{Caller, Clients, Other};
use super::super::finding::{Finding, Group};

/// Where Docker's client looks when nobody says otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The findings.
pub fn judge(c: &Clients, caller: &Caller) -> Vec<Finding> {
    let mut out = Vec::new();
    out.extend(own(c, caller));
    if let Some(error) = &c.config_error {
        out.push(
            Finding::new(Group::Clients, "config", "Docker's config.json", error.clone())
                .warning("Docker's client ignores or refuses it, and so its context, formats and credentials")
                .mend("${EDITOR:-vi} ${DOCKER_CONFIG:-$HOME/.docker}/config.json"),
        );
    }
    let Some((path, version)) = &c.docker else {
        out.push(
            Finding::new(Group::Clients, "docker", "docker", "not installed").note("not needed: `dhow` has the same commands")
                .mend_noted(caller.install("docker-cli", "docker-cli"), "to have Docker's own client as well (not its daemon); Debian before 13 has it in docker.io, Docker's own repository in docker-ce-cli"),
        );
        out.push(sockets(c));
        return out;
    };
    let f = Finding::new(Group::Clients, "docker", "docker", format!("{version} at {}", path.display()));
    out.push(match c.is_podman {
        true => f.note("this is podman under Docker's name: it speaks to no daemon").mend("dhow ps"),
        false => f,
    });
    if !c.is_podman {
        out.push(reaches(c, caller));
        let seen = match c.plugins.is_empty() {
            true => "none".to_owned(),
            false => c.plugins.iter().map(|(n, v)| format!("{n} {v}")).collect::<Vec<_>>().join(", "),
        };
        out.push(Finding::new(Group::Clients, "plugins", "plugins of docker", seen));
    }
    out.push(sockets(c));
    out
}

/// What dhow's own commands use.
fn own(c: &Clients, caller: &Caller) -> Option<Finding> {
    let (name, host) = match (&c.dhow_host, &c.docker_host) {
        (Some(host), _) => ("DHOW_HOST", host),
        (None, Some(host)) => ("DOCKER_HOST", host),
        (None, None) => return None,
    };
    let f = Finding::new(Group::Clients, "host", name, host.clone());
    let usable = host.strip_prefix("unix://").unwrap_or(host).starts_with('/');
    Some(match usable {
        true => f,
        false => {
            f.error("dhow speaks over unix sockets only: every command of it ends with an error").mend(match name {
                "DOCKER_HOST" => format!("export DHOW_HOST={}", default_host(caller)),
                _ => format!("unset {name}"),
            })
        }
    })
}

fn default_host(caller: &Caller) -> String {
    match caller.host.starts_with("unix:///") {
        true => caller.host.clone(),
        false => format!("unix://{}", crate::cli::context::DEFAULT_SOCKET),
    }
}

/// Whether `docker` speaks to dhow, and how it is made to.
fn reaches(c: &Clients, caller: &Caller) -> Finding {
    let host = default_host(caller);
    let f = |seen: String| Finding::new(Group::Clients, "reach", "docker speaks to", seen);
    let word = super::quoted(&host);
    let export = format!("export DOCKER_HOST={word}");
    let lasting = "for this shell; the same line in ~/.profile makes it last";
    let elsewhere = "containers and images of dhow are not seen by `docker`, nor by what uses its library";
    if let Some(set) = &c.docker_host {
        let same = set.trim_end_matches('/') == host;
        return match same {
            true => f("dhow, by DOCKER_HOST".to_owned()),
            false => f(format!("{set}, by DOCKER_HOST")).warning(elsewhere).mend_noted(export, lasting),
        };
    }
    if let Some((name, endpoint)) = c.context.as_ref().filter(|(name, _)| name != "default") {
        let Some(endpoint) = endpoint else {
            let back = if c.context_by_variable { "unset DOCKER_CONTEXT" } else { "docker context use default" };
            return f(format!("the context {name}, which does not exist"))
                .warning("every command of `docker` ends with an error")
                .mend(back);
        };
        return match *endpoint == host {
            true => f(format!("dhow, by the context {name}")),
            false => f(format!("{endpoint}, by the context {name}")).warning(elsewhere).mend_noted(
                match c.context_by_variable {
                    true => format!("unset DOCKER_CONTEXT && {export}"),
                    false => format!("docker context create dhow --docker host={word} && docker context use dhow"),
                },
                if c.context_by_variable { lasting } else { "lasts; `docker context use default` goes back" },
            ),
        };
    }
    match &c.docker_socket {
        Other::Same => f(format!("dhow, by {DOCKER_SOCKET}")),
        other => {
            let who = match other {
                Other::By(name, pid) => format!("{name} (process {pid}) at {DOCKER_SOCKET}"),
                Other::Dead => format!("{DOCKER_SOCKET}, where nobody listens"),
                Other::Forbidden => format!("{DOCKER_SOCKET}, which this user may not open"),
                Other::Silent => format!("{DOCKER_SOCKET}, where nobody answers"),
                _ => format!("{DOCKER_SOCKET}, which is not there"),
            };
            let f = f(who).note(elsewhere).mend_noted(export, lasting);
            match other {
                Other::Absent | Other::Dead => f.mend_noted(
                    format!("dhow daemon -H {word} -H unix://{DOCKER_SOCKET}"),
                    "in place of the daemon that runs: also programs that know no DOCKER_HOST find it",
                ),
                _ => f,
            }
        }
    }
}

fn sockets(c: &Clients) -> Finding {
    let mut seen = Vec::new();
    for (place, other) in [(DOCKER_SOCKET, &c.docker_socket), ("/run/podman/podman.sock", &c.podman_socket)] {
        match other {
            Other::By(name, pid) => seen.push(format!("{name} (process {pid}) serves {place}")),
            Other::Silent => seen.push(format!("{place} does not answer")),
            _ => {}
        }
    }
    match seen.is_empty() {
        true => Finding::new(Group::Clients, "others", "other engines", "none serves the usual sockets"),
        false => Finding::new(Group::Clients, "others", "other engines", seen.join("; "))
            .note("both may run: each has its own images and containers, and a published port belongs to one of them"),
    }
}
