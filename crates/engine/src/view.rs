//! What the engine tells about itself: plain data that adapters turn into documents.

mod health;
mod transfer;
mod words;

pub use health::{HealthStatus, HealthView, Probe};
pub use transfer::TransferEvent;
pub use words::human_duration;

use crate::config::{ContainerConfig, EndpointConfig, ExecRequest, HostConfig, PortBinding};
pub use dhow_cgroup::{IoKind, IoStats, MemoryStats, Stats as GroupStats};
pub use dhow_distribution::Shown as Registries;
use dhow_types::{ContainerId, Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Its process lives.
    Running,
    /// Its process ended, and it is started again when the wait is over.
    Restarting,
    /// Its process ended.
    Exited,
    /// Being removed.
    Removing,
    /// It could not be removed or stopped.
    Dead,
}

impl Status {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// What Docker calls running: it lives, or will live without anybody's doing.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Restarting)
    }
}

/// The wait before a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restarting {
    /// When it is over.
    pub due: Option<Timestamp>,
    /// How long it is.
    pub delay_ms: u64,
    /// Why it is started again, if not because of its restart policy.
    pub reason: Option<String>,
}

/// The state of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateView {
    /// Where it is.
    pub status: Status,
    /// Its processes stand still; it runs all the same. Known by the kernel, and not stored.
    #[serde(skip)]
    pub paused: bool,
    /// The kernel killed a process for lack of memory during the last run.
    pub oom_killed: bool,
    /// Process id on this machine, 0 unless it runs.
    pub pid: i32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Why it did not start or how it was lost.
    pub error: String,
    /// Start of the last run.
    pub started_at: Option<Timestamp>,
    /// End of the last run.
    pub finished_at: Option<Timestamp>,
    /// How often it was started by itself since it was started by hand.
    pub restart_count: u64,
    /// With [`Status::Restarting`].
    pub restarting: Option<Restarting>,
    /// What its checks say, once it was started and if it has any.
    pub health: Option<HealthView>,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its state.
    pub state: StateView,
    /// The image's id, `None` with a directory of the machine as root.
    pub image: Option<Digest>,
    /// Configuration merged with the image's.
    pub config: ContainerConfig,
    /// How it runs here.
    pub host: HostConfig,
    /// `linux`.
    pub platform: String,
    /// Storage driver: `overlay2`-like name of ours.
    pub driver: String,
    /// `resolv.conf` on this machine, empty if it has none of its own.
    pub resolv_conf_path: String,
    /// `hostname` on this machine.
    pub hostname_path: String,
    /// `hosts` on this machine.
    pub hosts_path: String,
    /// Log file, empty for the driver `none`.
    pub log_path: String,
    /// Overlay directories (`LowerDir`, `UpperDir`, `WorkDir`, `MergedDir`).
    pub graph: BTreeMap<String, String>,
    /// Mounts as Docker shows them.
    pub mounts: Vec<MountPoint>,
    /// Network side.
    pub network: NetworkView,
    /// Execs that live.
    pub exec_ids: Vec<String>,
    /// Bytes in the writable layer, if asked.
    pub size_rw: Option<i64>,
    /// Bytes of the whole root file system, if asked.
    pub size_root_fs: Option<i64>,
    /// Path of the control group, empty unless it runs.
    pub cgroup: String,
}

/// What a list says of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its state.
    pub state: StateView,
    /// The image's id, `None` with a directory of the machine as root.
    pub image: Option<Digest>,
    /// The image as it was asked for, or that directory.
    pub image_name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `bridge`, `host`, `none`, `container:ID`.
    pub network_mode: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Network side.
    pub network: NetworkView,
    /// Mounts as Docker shows them.
    pub mounts: Vec<MountPoint>,
    /// Bytes in the writable layer and of the whole root file system, if asked.
    pub sizes: Option<(i64, i64)>,
}

/// A mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// Name of the volume.
    pub name: String,
    /// Path on this machine.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// `local` for volumes.
    pub driver: String,
    /// Options as they were given (`z`, `ro`, …).
    pub mode: String,
    /// Writable.
    pub rw: bool,
    /// Propagation of binds.
    pub propagation: String,
}

/// The network side of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkView {
    /// Path of the network namespace, empty unless it runs.
    pub sandbox_key: String,
    /// Ports: `80/tcp` to where it is published (`None`: exposed only).
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Endpoint per network (`bridge`, `host`, `none`).
    pub endpoints: BTreeMap<String, EndpointView>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointView {
    /// What was asked.
    pub config: EndpointConfig,
    /// Id of the network.
    pub network_id: String,
    /// Id of the endpoint, empty unless it runs.
    pub endpoint_id: String,
    /// Gateway.
    pub gateway: String,
    /// Address.
    pub ip_address: String,
    /// Bits of the network.
    pub ip_prefix_len: u8,
    /// Hardware address.
    pub mac_address: String,
}

/// A network, for lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkInfo {
    /// Id: 64 digits, the same for as long as the engine's root lives.
    pub id: String,
    /// `bridge`, `host` or `none`.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Address range, if any.
    pub subnet: Option<String>,
    /// Gateway, if any.
    pub gateway: Option<String>,
    /// Docker's options of the driver.
    pub options: BTreeMap<String, String>,
    /// Containers on it: id to (name, endpoint).
    pub containers: BTreeMap<String, (String, EndpointView)>,
}

/// One exec.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecView {
    /// Its id.
    pub id: String,
    /// Its container.
    pub container: ContainerId,
    /// Lives.
    pub running: bool,
    /// Exit code once it ended.
    pub exit_code: Option<i32>,
    /// Process id on this machine, 0 unless it lives.
    pub pid: i32,
    /// What was asked.
    pub request: ExecRequest,
    /// Its input can still be written.
    pub open_stdin: bool,
}

/// What a container uses, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsView {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without slash.
    pub name: String,
    /// The moment; `None` if it does not run.
    pub read: Option<Timestamp>,
    /// The sample before, to compare with.
    pub before: Option<(Timestamp, Used)>,
    /// What it has used so far.
    pub used: Option<Used>,
}

/// What a container has used since it was started, and its machine since that was.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// As its control group counts.
    pub group: GroupStats,
    /// Time that all processors of the machine spent, idle or not.
    pub system_ns: u64,
    /// Processors of the machine.
    pub online_cpus: u32,
    /// Memory of the machine.
    pub memory_total: u64,
    /// By device; `None` on the machine's own network.
    pub networks: Option<BTreeMap<String, Traffic>>,
}

/// What went through one network device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// What `create` gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The id.
    pub id: ContainerId,
    /// What was accepted but can't be had here.
    pub warnings: Vec<String>,
}

/// How a wait ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitResult {
    /// Exit code.
    pub code: i64,
    /// Why the wait itself failed.
    pub error: Option<String>,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogStream {
    /// The container has a terminal: raw bytes instead of frames.
    pub tty: bool,
    /// What goes to the client as it is; ends after the last, or after an error.
    pub chunks: tokio::sync::mpsc::Receiver<dhow_types::Result<Vec<u8>>>,
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// Digest of the config.
    pub id: Digest,
    /// `name:tag` in the familiar form.
    pub tags: Vec<String>,
    /// `name@digest` in the familiar form.
    pub digests: Vec<String>,
    /// Parent image, if known.
    pub parent: Option<Digest>,
    /// When the image says it was made.
    pub created: Option<Timestamp>,
    /// Bytes of all layers.
    pub size: u64,
    /// Why its configuration can't be read, if so; only lists show such images.
    pub damaged: Option<String>,
    /// Bytes of those of them that another image has, too; in lists only.
    pub shared: u64,
    /// Containers made from it.
    pub containers: usize,
    /// Labels of the config.
    pub labels: BTreeMap<String, String>,
    /// The image document as it was received (JSON of an OCI or Docker image config), with `image_inspect` only.
    pub document: Option<std::sync::Arc<[u8]>>,
    /// Uncompressed digests of the layers, bottom first, with `image_inspect` only.
    pub layers: Vec<Digest>,
    /// Overlay directories, with `image_inspect` only.
    pub graph: BTreeMap<String, String>,
    /// When it was last tagged, if known.
    pub last_tagged: Option<Timestamp>,
    /// When a container of it was last made, started or ended; `None` is never.
    pub last_used: Option<Timestamp>,
}

/// What removing an image did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoved {
    /// A name is gone.
    Untagged(String),
    /// The image, or a layer, is gone.
    Deleted(Digest),
}

/// What a check of the store tells.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckEvent {
    /// Something was found.
    Finding {
        /// What it is about.
        about: String,
        /// What is wrong with it.
        problem: String,
        /// `mendable`, `mended`, `wrong` or `note`.
        outcome: &'static str,
        /// What to do.
        advice: Option<String>,
    },
    /// The end.
    Done {
        /// Images looked at.
        images: u64,
        /// Layers looked at.
        layers: u64,
        /// Bytes of layers that were read.
        bytes: u64,
        /// Things that are wrong now.
        wrong: u64,
        /// Things that were wrong and are mended.
        mended: u64,
    },
    /// The check could not go on; nothing follows.
    Failed(dhow_types::Error),
}

/// What happens during a load.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadEvent {
    /// A layer moves on.
    Progress {
        /// Short id of the layer.
        id: String,
        /// Bytes done.
        current: u64,
        /// Bytes in all, 0 if unknown.
        total: u64,
    },
    /// An image is there.
    Loaded {
        /// Its name, if it has one.
        reference: Option<String>,
        /// Its id.
        id: Digest,
    },
    /// It failed; nothing follows.
    Failed(dhow_types::Error),
}

/// What `info` tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InfoView {
    /// Stable id of this engine's root.
    pub id: String,
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub running: usize,
    /// Those whose processes stand still.
    pub paused: usize,
    /// Those that were stopped or never started.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// Storage driver.
    pub driver: String,
    /// Rows about the storage driver.
    pub driver_status: Vec<(String, String)>,
    /// Root directory.
    pub root: String,
    /// Host name.
    pub name: String,
    /// Release of the kernel.
    pub kernel_version: String,
    /// Pretty name of the distribution.
    pub operating_system: String,
    /// Version of the distribution.
    pub os_version: String,
    /// As `uname -m` says.
    pub architecture: String,
    /// CPUs usable.
    pub ncpu: usize,
    /// Bytes of memory.
    pub mem_total: u64,
    /// `cgroupfs` or `none`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Controllers that are there.
    pub controllers: Vec<String>,
    /// `name=seccomp,profile=builtin` and the like.
    pub security_options: Vec<String>,
    /// Default log driver.
    pub logging_driver: String,
    /// Log drivers there are.
    pub log_drivers: Vec<String>,
    /// Network drivers there are.
    pub network_drivers: Vec<String>,
    /// Volume drivers there are.
    pub volume_drivers: Vec<String>,
    /// Packets are forwarded.
    pub ipv4_forwarding: bool,
    /// Open files of the daemon.
    pub nfd: usize,
    /// Version of the program.
    pub server_version: String,
    /// How registries are reached.
    pub registries: Registries,
    /// What is missing on this machine.
    pub warnings: Vec<String>,
    /// The machine's time.
    pub system_time: Option<Timestamp>,
    /// Stricter defaults are on.
    pub hardened: bool,
}

/// What `version` tells beside the program's own version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionView {
    /// Version of the program.
    pub version: String,
    /// `linux`.
    pub os: String,
    /// In Go's words (`amd64`, `arm64`).
    pub arch: String,
    /// Release of the kernel.
    pub kernel_version: String,
}
