//! Docker's resource limits as they are asked for; [`crate::plan`] turns them into the OCI form.

use serde::{Deserialize, Serialize};

/// Limits. Zero, empty or `None` means "no limit asked".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight, 1024 is the norm.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Parent group.
    pub cgroup_parent: String,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weights per device.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes read per second.
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes written per second.
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Reads per second.
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Writes per second.
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds.
    pub cpu_realtime_runtime: i64,
    /// List of CPUs.
    pub cpuset_cpus: String,
    /// List of memory nodes.
    pub cpuset_mems: String,
    /// Devices of the machine.
    pub devices: Vec<DeviceMapping>,
    /// `c 1:3 mr` and the like.
    pub device_cgroup_rules: Vec<String>,
    /// How many device requests (`--gpus`) came; refused by name unless 0.
    pub device_requests: usize,
    /// Bytes; refused by name unless 0.
    pub kernel_memory_tcp: i64,
    /// Soft limit in bytes.
    pub memory_reservation: i64,
    /// Memory and swap together in bytes; -1 is unlimited swap.
    pub memory_swap: i64,
    /// 0 to 100; -1 or `None` leaves it.
    pub memory_swappiness: Option<i64>,
    /// Don't kill at the limit (v1 only).
    pub oom_kill_disable: Option<bool>,
    /// 0 or -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// Limits per process.
    pub ulimits: Vec<Ulimit>,
}

/// Weight of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WeightDevice {
    /// Device node of the machine.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// Rate of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleDevice {
    /// Device node of the machine.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A device of the machine shown to the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// Node, or a directory of nodes.
    pub path_on_host: String,
    /// Empty is the same path.
    pub path_in_container: String,
    /// Letters of `rwm`; empty is all.
    pub cgroup_permissions: String,
}

/// One limit per process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    /// -1 is unlimited.
    pub hard: i64,
}
