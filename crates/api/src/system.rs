//! What the server says about itself and its host.

use crate::document::{document, is_zero};
use std::collections::BTreeMap;

document! {
    /// The answer to `GET /version`.
    pub struct Version {
        platform: Platform,
        #[serde(skip_serializing_if = "is_zero")]
        components: Vec<Component>,
        version: String,
        api_version: String,
        #[serde(rename = "MinAPIVersion")]
        min_api_version: String,
        git_commit: String,
        go_version: String,
        os: String,
        arch: String,
        #[serde(skip_serializing_if = "is_zero")]
        kernel_version: String,
        #[serde(skip_serializing_if = "is_zero")]
        experimental: bool,
        #[serde(skip_serializing_if = "is_zero")]
        build_time: String,
    }

    /// The product's name.
    pub struct Platform {
        name: String,
    }

    /// One part of the server.
    pub struct Component {
        name: String,
        version: String,
        #[serde(skip_serializing_if = "is_zero")]
        details: BTreeMap<String, String>,
    }

    /// The answer to `GET /info`.
    pub struct Info {
        #[serde(rename = "ID")]
        id: String,
        containers: i64,
        containers_running: i64,
        containers_paused: i64,
        containers_stopped: i64,
        images: i64,
        driver: String,
        driver_status: Vec<[String; 2]>,
        #[serde(skip_serializing_if = "is_zero")]
        system_status: Option<Vec<[String; 2]>>,
        plugins: PluginsInfo,
        memory_limit: bool,
        swap_limit: bool,
        #[serde(rename = "CpuCfsPeriod")]
        cpu_cfs_period: bool,
        #[serde(rename = "CpuCfsQuota")]
        cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        cpu_set: bool,
        pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        ipv4_forwarding: bool,
        debug: bool,
        n_fd: i64,
        oom_kill_disable: bool,
        n_goroutines: i64,
        system_time: String,
        logging_driver: String,
        cgroup_driver: String,
        #[serde(skip_serializing_if = "is_zero")]
        cgroup_version: String,
        n_events_listener: i64,
        kernel_version: String,
        operating_system: String,
        #[serde(rename = "OSVersion")]
        os_version: String,
        #[serde(rename = "OSType")]
        os_type: String,
        architecture: String,
        index_server_address: String,
        registry_config: Option<RegistryConfig>,
        #[serde(rename = "NCPU")]
        ncpu: i64,
        mem_total: i64,
        generic_resources: Option<Vec<serde_json::Value>>,
        docker_root_dir: String,
        http_proxy: String,
        https_proxy: String,
        no_proxy: String,
        name: String,
        labels: Vec<String>,
        experimental_build: bool,
        server_version: String,
        runtimes: BTreeMap<String, Runtime>,
        default_runtime: String,
        swarm: SwarmInfo,
        live_restore_enabled: bool,
        isolation: String,
        init_binary: String,
        containerd_commit: Commit,
        runc_commit: Commit,
        init_commit: Commit,
        security_options: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        product_license: String,
        #[serde(skip_serializing_if = "is_zero")]
        default_address_pools: Vec<AddressPool>,
        #[serde(skip_serializing_if = "is_zero")]
        firewall_backend: Option<FirewallInfo>,
        #[serde(rename = "CDISpecDirs")]
        cdi_spec_dirs: Vec<String>,
        warnings: Option<Vec<String>>,
    }

    /// Drivers, by kind.
    pub struct PluginsInfo {
        volume: Vec<String>,
        network: Vec<String>,
        authorization: Option<Vec<String>>,
        log: Vec<String>,
    }

    /// How registries are reached.
    pub struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        insecure_registry_cidrs: Vec<String>,
        index_configs: BTreeMap<String, IndexInfo>,
        mirrors: Vec<String>,
    }

    /// One registry.
    pub struct IndexInfo {
        name: String,
        mirrors: Vec<String>,
        secure: bool,
        official: bool,
    }

    /// An OCI runtime.
    pub struct Runtime {
        #[serde(rename = "path", skip_serializing_if = "is_zero")]
        path: String,
        #[serde(rename = "runtimeArgs", skip_serializing_if = "is_zero")]
        runtime_args: Vec<String>,
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        status: BTreeMap<String, String>,
    }

    /// What Swarm would say: `LocalNodeState` is `inactive`.
    pub struct SwarmInfo {
        #[serde(rename = "NodeID")]
        node_id: String,
        node_addr: String,
        local_node_state: String,
        control_available: bool,
        error: String,
        remote_managers: Option<Vec<serde_json::Value>>,
    }

    /// The version of an outside program.
    pub struct Commit {
        #[serde(rename = "ID")]
        id: String,
    }

    /// Where subnets of new networks come from.
    pub struct AddressPool {
        base: String,
        size: i64,
    }

    /// What filters packets.
    pub struct FirewallInfo {
        driver: String,
        #[serde(skip_serializing_if = "is_zero")]
        info: Vec<[String; 2]>,
    }
}
