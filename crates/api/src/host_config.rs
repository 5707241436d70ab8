//! The part of a container's configuration that depends on the host, all of its fields: those that a
//! server does not build must be there to be refused by name.

use crate::config::Words;
use crate::document::{document, is_zero};
use crate::{Mount, PortMap};
use std::collections::BTreeMap;

document! {
    /// `HostConfig`, with the swagger's `Resources` in it.
    pub struct HostConfig {
        binds: Option<Vec<String>>,
        #[serde(rename = "ContainerIDFile")]
        container_id_file: String,
        log_config: LogConfig,
        network_mode: String,
        port_bindings: Option<PortMap>,
        restart_policy: RestartPolicy,
        auto_remove: bool,
        volume_driver: String,
        volumes_from: Option<Vec<String>>,
        console_size: [u32; 2],
        #[serde(skip_serializing_if = "is_zero")]
        annotations: Option<BTreeMap<String, String>>,
        cap_add: Option<Words>,
        cap_drop: Option<Words>,
        cgroupns_mode: String,
        dns: Option<Vec<String>>,
        dns_options: Option<Vec<String>>,
        dns_search: Option<Vec<String>>,
        extra_hosts: Option<Vec<String>>,
        group_add: Option<Vec<String>>,
        ipc_mode: String,
        cgroup: String,
        links: Option<Vec<String>>,
        oom_score_adj: i64,
        pid_mode: String,
        privileged: bool,
        publish_all_ports: bool,
        readonly_rootfs: bool,
        security_opt: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        storage_opt: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        tmpfs: Option<BTreeMap<String, String>>,
        #[serde(rename = "UTSMode")]
        uts_mode: String,
        userns_mode: String,
        shm_size: i64,
        #[serde(skip_serializing_if = "is_zero")]
        sysctls: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        runtime: String,
        isolation: String,
        cpu_shares: i64,
        memory: i64,
        nano_cpus: i64,
        cgroup_parent: String,
        blkio_weight: u16,
        blkio_weight_device: Option<Vec<WeightDevice>>,
        blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
        blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_realtime_period: i64,
        cpu_realtime_runtime: i64,
        cpuset_cpus: String,
        cpuset_mems: String,
        devices: Option<Vec<DeviceMapping>>,
        device_cgroup_rules: Option<Vec<String>>,
        device_requests: Option<Vec<DeviceRequest>>,
        /// Removed from the API in 1.42.
        #[serde(skip_serializing_if = "is_zero")]
        kernel_memory: i64,
        /// Removed from the API in 1.55.
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_zero")]
        kernel_memory_tcp: i64,
        memory_reservation: i64,
        memory_swap: i64,
        memory_swappiness: Option<i64>,
        oom_kill_disable: Option<bool>,
        pids_limit: Option<i64>,
        ulimits: Option<Vec<Ulimit>>,
        cpu_count: i64,
        cpu_percent: i64,
        #[serde(rename = "IOMaximumIOps")]
        io_maximum_iops: u64,
        #[serde(rename = "IOMaximumBandwidth")]
        io_maximum_bandwidth: u64,
        #[serde(skip_serializing_if = "is_zero")]
        mounts: Option<Vec<Mount>>,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        init: Option<bool>,
        /// dhow's own: a directory of the host as the root file system, instead of an image. `:O` at the
        /// end puts a copy-on-write layer over it.
        #[serde(skip_serializing_if = "is_zero")]
        rootfs: Option<String>,
        /// Not Docker's: `unhealthy[:n]`, whether to start it again when its health check fails, at most n times in a row.
        #[serde(skip_serializing_if = "is_zero")]
        restart_on: String,
    }

    /// Where a container's output is kept.
    pub struct LogConfig {
        r#type: String,
        config: Option<BTreeMap<String, String>>,
    }

    /// When a container that ended is started again.
    pub struct RestartPolicy {
        name: String,
        maximum_retry_count: i64,
    }

    /// A relative block I/O weight for one device.
    pub struct WeightDevice {
        path: String,
        weight: u16,
    }

    /// A block I/O limit for one device.
    pub struct ThrottleDevice {
        path: String,
        rate: u64,
    }

    /// A device of the host to show in the container.
    pub struct DeviceMapping {
        path_on_host: String,
        path_in_container: String,
        cgroup_permissions: String,
    }

    /// Devices that a driver (CDI, nvidia) would provide.
    pub struct DeviceRequest {
        driver: String,
        count: i64,
        #[serde(rename = "DeviceIDs")]
        device_ids: Option<Vec<String>>,
        capabilities: Option<Vec<Vec<String>>>,
        options: Option<BTreeMap<String, String>>,
    }

    /// A resource limit of the container's processes.
    pub struct Ulimit {
        name: String,
        hard: i64,
        soft: i64,
    }
}
