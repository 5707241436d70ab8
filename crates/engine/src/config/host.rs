//! The part of a container's configuration that belongs to the machine (Docker's `HostConfig`).

use super::{MountConfig, Resources};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a container runs on this machine. Defaults are Docker's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// A directory of the machine as root file system instead of an image: `/path` (writes go through),
    /// `/path:ro`, or `/path:O` (writes go to an overlay that is thrown away with the container).
    pub rootfs: Option<String>,
    /// `unhealthy[:n]`: start it again when its health check fails, at most n times in a row. Empty is never.
    pub restart_on: String,
    /// `source:target[:options]`, where source is an absolute path or the name of a volume.
    pub binds: Vec<String>,
    /// File into which the client wrote the id; kept only.
    pub container_id_file: String,
    /// Where the output goes.
    pub log_config: LogConfig,
    /// `default`, `bridge`, `none`, `host` or `container:NAME`.
    pub network_mode: String,
    /// `port/proto` to addresses of the machine.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// What follows an end.
    pub restart_policy: RestartPolicy,
    /// Remove the container when it exits.
    pub auto_remove: bool,
    /// Only empty or `local`.
    pub volume_driver: String,
    /// Refused by name.
    pub volumes_from: Vec<String>,
    /// Mounts in the long form.
    pub mounts: Vec<MountConfig>,
    /// Height and width of the terminal at the start.
    pub console_size: Option<(u16, u16)>,
    /// Handed to the OCI document.
    pub annotations: BTreeMap<String, String>,
    /// Capabilities to add, `ALL` for all.
    pub cap_add: Vec<String>,
    /// Capabilities to drop, `ALL` for all.
    pub cap_drop: Vec<String>,
    /// `private` or `host`; empty is private on pure v2 and host otherwise.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `host:address` or `host=address`; `host-gateway` as address.
    pub extra_hosts: Vec<String>,
    /// Additional groups, names or numbers.
    pub group_add: Vec<String>,
    /// `private`, `none`, `host`, `shareable` or `container:NAME`.
    pub ipc_mode: String,
    /// Refused by name.
    pub links: Vec<String>,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
    /// Empty, `host` or `container:NAME`.
    pub pid_mode: String,
    /// All devices and capabilities.
    pub privileged: bool,
    /// Publish every exposed port.
    pub publish_all_ports: bool,
    /// Root file system read-only.
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `label=disable`, `systempaths=unconfined`, `apparmor=unconfined`.
    /// For seccomp the document itself (as the client read it), or `unconfined`, or `builtin`.
    pub security_opt: Vec<String>,
    /// Refused by name unless empty.
    pub storage_opt: BTreeMap<String, String>,
    /// Target to options.
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Bytes of /dev/shm; 0 is 64 MiB.
    pub shm_size: i64,
    /// Namespaced sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Empty, `dhow` or `runc` (all the built-in one).
    pub runtime: String,
    /// Windows only; empty or `default`.
    pub isolation: String,
    /// `None` is the default list.
    pub masked_paths: Option<Vec<String>>,
    /// `None` is the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Run the embedded init as process 1.
    pub init: Option<bool>,
    /// Limits.
    pub resources: Resources,
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// Empty (the daemon's default), `json-file` or `none`.
    pub driver: String,
    /// Options of the driver: `max-size`, `max-file`.
    pub options: BTreeMap<String, String>,
}

/// One address of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortBinding {
    /// Empty is every address.
    pub host_ip: String,
    /// Empty or `0` is a free port; a number or a range `8000-8010`.
    pub host_port: String,
}

/// What to do after an exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `no` (or empty), `always`, `unless-stopped` or `on-failure`.
    pub name: String,
    /// With `on-failure`: after so many failures it is left as it is; 0 is no limit.
    pub maximum_retry_count: i64,
}

/// Settings of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// Hardware address.
    pub mac_address: Option<String>,
    /// Fixed address: not on the default bridge.
    pub ipv4_address: Option<String>,
    /// Fixed address: not on the default bridge.
    pub ipv6_address: Option<String>,
    /// More names: not on the default bridge.
    pub aliases: Vec<String>,
    /// Refused by name.
    pub links: Vec<String>,
    /// Refused by name.
    pub driver_opts: BTreeMap<String, String>,
}
