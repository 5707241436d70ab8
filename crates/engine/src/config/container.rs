//! The part of a container's configuration that is independent of the machine (Docker's `Config`).

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What runs. Empty or `None` means "as the image says".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// Host name; empty takes the first twelve digits of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// The creating client means to attach the input.
    pub attach_stdin: bool,
    /// The creating client means to attach the output.
    pub attach_stdout: bool,
    /// The creating client means to attach the error output.
    pub attach_stderr: bool,
    /// `port[-port][/proto]` the container listens on.
    pub exposed_ports: BTreeSet<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep the input open without a client.
    pub open_stdin: bool,
    /// Close the input when the first attached client leaves.
    pub stdin_once: bool,
    /// `KEY=value`; `KEY` alone removes it from the image's.
    pub env: Vec<String>,
    /// Arguments, or the program when there is no entry point.
    pub cmd: Option<Vec<String>>,
    /// A check to run from time to time.
    pub healthcheck: Option<HealthConfig>,
    /// The image as it was asked for: a name, an id or a prefix of one. Empty with [`super::HostConfig::rootfs`].
    pub image: String,
    /// Paths that must be volumes.
    pub volumes: BTreeSet<String>,
    /// Absolute path in which the program starts.
    pub working_dir: String,
    /// The program. `Some(empty)` or `Some([""])` drops the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// No network at all.
    pub network_disabled: bool,
    /// The hardware address of the first interface (before API 1.44).
    pub mac_address: Option<String>,
    /// Triggers of a build; kept, never run.
    pub on_build: Vec<String>,
    /// Free data.
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that stops it.
    pub stop_signal: Option<String>,
    /// Seconds until a stop kills.
    pub stop_timeout: Option<i64>,
    /// The shell of the shell form; kept for builds.
    pub shell: Option<Vec<String>>,
}

/// A health check, times in nanoseconds as Docker counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthConfig {
    /// `[]` inherits, `["NONE"]` turns it off, else `CMD`/`CMD-SHELL` and words.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: i64,
    /// Time after which a check has failed.
    pub timeout: i64,
    /// Failures until unhealthy.
    pub retries: i64,
    /// Grace at the start.
    pub start_period: i64,
    /// Time between checks during the grace.
    pub start_interval: i64,
}
