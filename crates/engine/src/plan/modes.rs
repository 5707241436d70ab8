//! The little languages of the namespace modes.

use dhow_types::{Error, Result};

/// `--network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The default bridge.
    Bridge,
    /// A namespace with nothing but the loopback.
    None,
    /// The machine's.
    Host,
    /// Another container's.
    Container(String),
}

/// `--ipc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipc {
    /// Its own.
    Private,
    /// Its own, and others may join.
    Shareable,
    /// Its own without `/dev/shm`.
    None,
    /// The machine's.
    Host,
    /// Another container's.
    Container(String),
}

/// `--pid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pid {
    /// Its own.
    Private,
    /// The machine's.
    Host,
    /// Another container's.
    Container(String),
}

/// Parses `--network`. User-defined networks are not built.
pub fn network(text: &str) -> Result<Network> {
    match text {
        "" | "default" | "bridge" => Ok(Network::Bridge),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => match container(other, "network")? {
            Some(name) => Ok(Network::Container(name)),
            None => Err(Error::not_found(format!("network {other} not found"))),
        },
    }
}

/// Parses `--ipc`.
pub fn ipc(text: &str) -> Result<Ipc> {
    match text {
        "" | "private" => Ok(Ipc::Private),
        "shareable" => Ok(Ipc::Shareable),
        "none" => Ok(Ipc::None),
        "host" => Ok(Ipc::Host),
        other => container(other, "IPC")?.map(Ipc::Container).ok_or_else(|| invalid("IPC", other)),
    }
}

/// Parses `--pid`.
pub fn pid(text: &str) -> Result<Pid> {
    match text {
        "" => Ok(Pid::Private),
        "host" => Ok(Pid::Host),
        other => container(other, "PID")?.map(Pid::Container).ok_or_else(|| invalid("PID", other)),
    }
}

/// Parses a mode that is `host` or not: `--uts`, `--userns`. True for host.
pub fn host_or_own(text: &str, what: &str) -> Result<bool> {
    match text {
        "" => Ok(false),
        "host" => Ok(true),
        other => Err(invalid(what, other)),
    }
}

/// Parses `--cgroupns`; true for a namespace of its own. Docker's default: private on pure v2, else host.
pub fn cgroup_private(text: &str, pure_v2: bool) -> Result<bool> {
    match text {
        "" => Ok(pure_v2),
        "private" => Ok(true),
        "host" => Ok(false),
        other => Err(invalid("cgroup namespace", other)),
    }
}

fn container(text: &str, what: &str) -> Result<Option<String>> {
    match text.strip_prefix("container:") {
        Some("") => Err(invalid(what, text)),
        Some(name) => Ok(Some(name.to_owned())),
        None => Ok(None),
    }
}

fn invalid(what: &str, text: &str) -> Error {
    Error::invalid(format!("invalid {what} mode: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        assert_eq!(network("default").unwrap(), Network::Bridge);
        assert_eq!(network("container:web").unwrap(), Network::Container("web".into()));
        assert_eq!(network("mine").unwrap_err().text(), "network mine not found");
        assert_eq!(ipc("shareable").unwrap(), Ipc::Shareable);
        assert_eq!(pid("host").unwrap(), Pid::Host);
        for bad in ["container:", "x"] {
            assert!(ipc(bad).is_err() && pid(bad).is_err() && network(bad).is_err(), "{bad}");
        }
        assert!(host_or_own("host", "UTS").unwrap());
        assert!(host_or_own("private", "UTS").is_err());
        assert!(cgroup_private("", true).unwrap() && !cgroup_private("", false).unwrap());
        assert!(cgroup_private("other", true).is_err());
    }
}
