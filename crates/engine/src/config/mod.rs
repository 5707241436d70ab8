//! What a caller may ask for when it makes a container: the engine's own plain data.
//!
//! The shapes follow Docker's `Config` and `HostConfig`, because `inspect` has to give them back as they came,
//! but nothing here knows HTTP or the Engine API's JSON: adapters convert. Strings that carry a small language
//! (`container:NAME`, `80/tcp`, `/a:/b:ro`) stay strings here and are parsed once, by [`crate::plan`].

mod container;
mod host;
mod mounts;
mod resources;

pub use container::{ContainerConfig, HealthConfig};
pub use host::{EndpointConfig, HostConfig, LogConfig, PortBinding, RestartPolicy};
pub use mounts::{BindOptions, MountConfig, TmpfsOptions, VolumeOptions};
pub use resources::{DeviceMapping, Resources, ThrottleDevice, Ulimit, WeightDevice};

use dhow_types::image::RunConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A request to make a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// The name without a leading slash; `None` draws one.
    pub name: Option<String>,
    /// What runs.
    pub config: ContainerConfig,
    /// How it runs on this machine.
    pub host: HostConfig,
    /// Settings per network (`NetworkingConfig.EndpointsConfig`).
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// `os[/arch[/variant]]`; `None` takes the image as it is.
    pub platform: Option<String>,
}

/// A request to make an image of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitRequest {
    /// The container, by name or id.
    pub container: String,
    /// The image's name, possibly with a tag; empty for none.
    pub repository: String,
    /// Its tag; empty for the one in `repository`, else `latest`.
    pub tag: String,
    /// A note about the change.
    pub comment: String,
    /// Who made it.
    pub author: String,
    /// Freeze a running container while its layer is read.
    pub pause: bool,
    /// Dockerfile instructions that edit the configuration.
    pub changes: Vec<String>,
    /// The configuration to start from; `None` takes the container's.
    pub config: Option<RunConfig>,
}

/// A request to make an image of an archive of a root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportRequest {
    /// The image's name, possibly with a tag; empty for none.
    pub repository: String,
    /// Its tag; empty for the one in `repository`, else `latest`.
    pub tag: String,
    /// A note about whence it came.
    pub comment: String,
    /// Dockerfile instructions that edit the configuration.
    pub changes: Vec<String>,
    /// `os[/arch[/variant]]`; `None` is this machine's.
    pub platform: Option<String>,
}

/// What an attach, before or after start, wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// Send the client's bytes to the container.
    pub stdin: bool,
    /// Send the container's output to the client.
    pub stdout: bool,
    /// Send the container's error output to the client.
    pub stderr: bool,
    /// Follow the live streams. Without it only `logs` are sent.
    pub stream: bool,
    /// Send what was logged so far first.
    pub logs: bool,
    /// Docker's notation (`ctrl-p,ctrl-q`); `None` takes that default, an empty text turns detaching off.
    pub detach_keys: Option<String>,
}

/// What to read from a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// Include the output.
    pub stdout: bool,
    /// Include the error output.
    pub stderr: bool,
    /// Only lines at or after this moment.
    pub since: Option<jiff::Timestamp>,
    /// Only lines at or before this moment.
    pub until: Option<jiff::Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Put the labels and variables that are kept beside each line before it.
    pub details: bool,
    /// Only the last so many lines; `None` is all.
    pub tail: Option<u64>,
    /// Go on until the container stops.
    pub follow: bool,
    /// A frame may hold several lines; else each has one, as in Docker.
    pub blocks: bool,
}

/// A request to run one more program in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// `KEY=value` added to the container's environment.
    pub env: Vec<String>,
    /// `user[:group]`; empty takes the container's.
    pub user: String,
    /// Absolute path inside the container; empty takes the container's.
    pub working_dir: String,
    /// Give it a terminal.
    pub tty: bool,
    /// Attach the input.
    pub attach_stdin: bool,
    /// Attach the output.
    pub attach_stdout: bool,
    /// Attach the error output.
    pub attach_stderr: bool,
    /// All capabilities.
    pub privileged: bool,
    /// As in [`AttachRequest::detach_keys`].
    pub detach_keys: Option<String>,
    /// Height and width of the terminal.
    pub console_size: Option<(u16, u16)>,
}

/// How to start an exec that was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Start it and return at once.
    pub detach: bool,
    /// What the client believes about the terminal; must be what the exec was created with.
    pub tty: bool,
    /// Height and width of the terminal.
    pub console_size: Option<(u16, u16)>,
}

/// When a wait is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// As soon as it does not run, at once if it never started.
    #[default]
    NotRunning,
    /// At the next exit, even if it does not run now.
    NextExit,
    /// When it is gone.
    Removed,
}

/// Which containers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Also those that do not run.
    pub all: bool,
    /// Only the newest so many, running or not.
    pub limit: Option<usize>,
    /// Compute the size of the writable layer.
    pub size: bool,
    /// Docker's filters: key to accepted values (`id name label status exited ancestor before since volume network publish expose`…).
    pub filters: BTreeMap<String, Vec<String>>,
}

/// What may be pruned, of one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneRequest {
    /// Docker's filters: key to values (`until label label! dangling all`).
    pub filters: BTreeMap<String, Vec<String>>,
    /// Only what was not used for so many seconds.
    pub unused_for: Option<u64>,
    /// Keep so many bytes of the kind: the least recently used go until no more is left.
    pub keep_bytes: Option<u64>,
    /// Say what would go, and remove nothing.
    pub dry_run: bool,
    /// With `dry_run`: as it would be if containers had been pruned before, by the same filters and `unused_for`.
    pub after_containers: bool,
}
