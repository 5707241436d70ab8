//! Every flag of Docker's commands and what becomes of it here: it works, it works for some values, or it is refused
//! with the reason.
//!
//! [`DOCKER`] is what Docker's client 28.2 lists, command by command; the exceptions stand in [`NOT_WHOLE`]. What is in
//! neither the definitions nor the exceptions fails the tests below, so no flag can be forgotten.

use crate::cli::commands::name_of;

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As in Docker.
    Works,
    /// Some values work; the others are refused by name.
    Partly(&'static str),
    /// Taken with a warning and without effect, as in Docker.
    Idle(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
    /// Docker has no such flag.
    Own,
}

/// Command, short name (or nothing) and name of every flag that `docker COMMAND --help` lists.
const DOCKER: &str = include_str!("docker.tsv");

/// Names that Docker takes and does not list.
const HIDDEN: &[(&str, &str)] =
    &[("run create", "net"), ("run create", "dns-opt"), ("run create", "net-alias"), ("stop restart", "time")];

const WINDOWS: &str = "it is for Windows containers only";
const TRUST: &str = "`true`: signatures of images are not looked at";
const SOCKETS: &str = "`host=unix:///PATH` and `from=CONTEXT`: there is no TLS";
const CHECKPOINTS: &str = "there are no checkpoints";

/// The flags that do not simply work: commands, flag, state.
const NOT_WHOLE: &[(&str, &str, State)] = &[
    ("run create", "cpu-count", State::Refused(WINDOWS)),
    ("run create", "cpu-percent", State::Refused(WINDOWS)),
    ("run create", "io-maxbandwidth", State::Refused(WINDOWS)),
    ("run create", "io-maxiops", State::Refused(WINDOWS)),
    (
        "run create",
        "gpus",
        State::Refused(
            "there are no device drivers (CDI, NVIDIA) yet: give the device files by --device, and the libraries by -v",
        ),
    ),
    ("run create", "disable-content-trust", State::Partly(TRUST)),
    ("pull push", "disable-content-trust", State::Partly(TRUST)),
    ("run create", "kernel-memory", State::Idle("the kernel has no such limit any more: use --memory")),
    ("run create", "isolation", State::Partly("`default`, as on every Linux")),
    ("run create", "ip", State::Partly(USER_NETWORKS)),
    ("run create", "ip6", State::Partly(USER_NETWORKS)),
    ("run create", "network-alias", State::Partly(USER_NETWORKS)),
    (
        "run create",
        "link",
        State::Refused(
            "links are not built: Docker itself calls them legacy; share a network stack by --network container:NAME",
        ),
    ),
    ("run create", "link-local-ip", State::Refused("a network here gives no link-local addresses")),
    ("run create", "log-driver", State::Partly("`json-file`, `local`, `syslog`, `journald` and `none`")),
    (
        "run create",
        "log-opt",
        State::Partly("Docker's options of these drivers, but for `compress=true` of json-file and syslog over TLS"),
    ),
    ("run create", "mount", State::Partly("types `bind`, `volume` and `tmpfs`")),
    (
        "run create",
        "network",
        State::Partly("`bridge`, `host`, `none` and `container:NAME`; networks of one's own are not built yet"),
    ),
    ("run create", "platform", State::Partly("chooses among what was loaded; nothing is emulated")),
    ("run create", "runtime", State::Partly("`dhow` and `runc`, which is the same")),
    ("run create", "storage-opt", State::Refused("the store has no limit for the files of one container")),
    ("run create", "userns", State::Partly("`host`: user namespaces are not built yet")),
    ("run create", "volume-driver", State::Partly("`local`")),
    (
        "run create",
        "use-api-socket",
        State::Partly("the socket is mounted; credentials for registries are not passed on"),
    ),
    ("context create", "docker", State::Partly(SOCKETS)),
    ("context update", "docker", State::Partly(SOCKETS)),
    ("history", "platform", State::Refused("an image here is for one platform: there is nothing to choose from")),
    ("rm", "link", State::Refused("there are no links")),
    ("start", "checkpoint", State::Refused(CHECKPOINTS)),
    ("start", "checkpoint-dir", State::Refused(CHECKPOINTS)),
];

const USER_NETWORKS: &str = "only in networks of one's own, which are not built yet: refused in Docker's words";

/// A flag that Docker lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The command, by its short name (`ps`, `system df`).
    pub command: &'static str,
    /// The letter.
    pub short: Option<char>,
    /// The name.
    pub long: &'static str,
}

/// All flags that Docker lists.
pub fn docker() -> impl Iterator<Item = Flag> {
    DOCKER.lines().filter_map(|line| {
        let mut cells = line.split('\t');
        let (command, short, long) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Flag { command, short: short.chars().next(), long })
    })
}

fn listed(commands: &str, command: &str) -> bool {
    // The names of commands may be of two words.
    commands == command || (!commands.contains("prune") && commands.split(' ').any(|c| c == command))
}

fn exception(command: &str, long: &str) -> Option<State> {
    NOT_WHOLE.iter().find(|(commands, flag, _)| *flag == long && listed(commands, command)).map(|(_, _, state)| *state)
}

/// What becomes of a flag that the command's definition has.
pub fn state(command: &str, long: &str) -> State {
    let known = docker().any(|f| f.command == command && f.long == long)
        || HIDDEN.iter().any(|(commands, flag)| *flag == long && listed(commands, command));
    exception(command, long).unwrap_or(if known || long == "help" { State::Works } else { State::Own })
}

/// Why a flag of Docker's that the definition does not have is refused; command and flag as they were written
/// (`container run`, `--gpus` or `-l`).
pub fn refusal(written: &str, flag: &str) -> Option<&'static str> {
    let command = name_of(written)?;
    let long = match flag.strip_prefix("--") {
        Some(long) => long,
        None => {
            let short = flag.strip_prefix('-')?.chars().next()?;
            docker().find(|f| f.command == command && f.short == Some(short))?.long
        }
    };
    match exception(command, long)? {
        State::Refused(reason) => Some(reason),
        _ => None,
    }
}

/// The flags of a command that are refused, with the reasons.
pub fn refused(command: &str) -> Vec<(Flag, &'static str)> {
    docker()
        .filter(|f| f.command == command)
        .filter_map(|f| match exception(command, f.long)? {
            State::Refused(reason) => Some((f, reason)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::COMMANDS;
    use std::collections::BTreeSet;

    /// Whether the definition takes the flag, and by which letter.
    fn taken(command: &clap::Command, long: &str) -> Option<Option<char>> {
        let arg = command
            .get_arguments()
            .find(|a| a.get_long() == Some(long) || a.get_all_aliases().is_some_and(|list| list.contains(&long)))?;
        Some(arg.get_short())
    }

    #[test]
    fn every_flag_of_docker_is_taken_or_refused_with_a_reason() {
        let definitions: Vec<clap::Command> = COMMANDS.iter().map(|c| c.described()).collect();
        let mut wrong = Vec::new();
        let mut seen = 0;
        for flag in docker() {
            let Some(command) = definitions.iter().find(|c| c.get_name() == flag.command) else { continue };
            seen += 1;
            let said = format!("{} --{}", flag.command, flag.long);
            match (taken(command, flag.long), exception(flag.command, flag.long)) {
                (Some(_), Some(State::Refused(_))) => wrong.push(format!("{said} is taken, but the table refuses it")),
                (None, Some(State::Refused(reason))) if !reason.is_empty() => {}
                (None, _) => wrong.push(format!("{said} is neither taken nor refused with a reason")),
                (Some(short), _) if short != flag.short && flag.long != "help" => {
                    wrong.push(format!("{said} is {short:?}, but {:?} in Docker", flag.short));
                }
                _ => {}
            }
        }
        for (commands, long) in HIDDEN {
            for command in definitions.iter().filter(|c| listed(commands, c.get_name())) {
                if taken(command, long).is_none() {
                    wrong.push(format!("{} --{long}, which Docker hides, is not taken", command.get_name()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(seen > 250, "{seen}");
    }

    #[test]
    fn run_has_all_of_dockers_flags_and_create_those_that_make_sense_there() {
        let of = |command: &str| docker().filter(|f| f.command == command).map(|f| f.long).collect::<BTreeSet<_>>();
        // 102, and two that Docker has dropped since.
        assert_eq!(of("run").len(), 102 + ["kernel-memory", "disable-content-trust"].len());
        let only_run: Vec<_> = of("run").difference(&of("create")).copied().collect();
        assert_eq!(only_run, ["detach", "detach-keys", "sig-proxy"]);
    }

    #[test]
    fn no_exception_is_left_over() {
        for (commands, long, state) in NOT_WHOLE {
            for flag in docker().filter(|f| f.long == *long && listed(commands, f.command)) {
                if let State::Refused(reason) = state {
                    assert_eq!(refusal(flag.command, &format!("--{long}")), Some(*reason));
                }
            }
            assert!(docker().any(|f| f.long == *long && listed(commands, f.command)), "{commands} --{long}");
        }
    }

    #[test]
    fn states() {
        for (command, flag, want) in [
            ("run", "env", State::Works),
            ("run", "net", State::Works),
            ("run", "rootfs", State::Own),
            ("rm", "help", State::Works),
            ("create", "cpu-count", State::Refused(WINDOWS)),
            ("exec", "cpu-count", State::Own),
        ] {
            assert_eq!(state(command, flag), want, "{command} --{flag}");
        }
        assert_eq!(refusal("rm", "-l"), Some("there are no links"));
        assert_eq!(refusal("rm", "-f"), None);
        assert_eq!(refusal("run", "--nope"), None);
    }
}
