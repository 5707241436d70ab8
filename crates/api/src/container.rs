//! What the server says about containers: inspect, list, wait.

use crate::document::{document, is_zero};
use crate::{ContainerConfig, EndpointSettings, GraphDriver, HostConfig, MountPoint, NetworkSettings, OciDescriptor};
use std::collections::BTreeMap;

document! {
    /// The answer to `GET /containers/{id}/json`.
    pub struct ContainerInspect {
        id: String,
        created: String,
        path: String,
        args: Vec<String>,
        state: ContainerState,
        image: String,
        resolv_conf_path: String,
        hostname_path: String,
        hosts_path: String,
        log_path: String,
        name: String,
        restart_count: i64,
        driver: String,
        platform: String,
        mount_label: String,
        process_label: String,
        app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        exec_ids: Option<Vec<String>>,
        host_config: HostConfig,
        #[serde(skip_serializing_if = "is_zero")]
        graph_driver: Option<GraphDriver>,
        #[serde(skip_serializing_if = "is_zero")]
        size_rw: Option<i64>,
        #[serde(skip_serializing_if = "is_zero")]
        size_root_fs: Option<i64>,
        mounts: Vec<MountPoint>,
        config: ContainerConfig,
        network_settings: NetworkSettings,
        #[serde(skip_serializing_if = "is_zero")]
        image_manifest_descriptor: Option<OciDescriptor>,
    }

    /// Where a container stands in its life.
    pub struct ContainerState {
        status: String,
        running: bool,
        paused: bool,
        restarting: bool,
        /// Not Docker's: why it is started again, if not because of its restart policy.
        #[serde(skip_serializing_if = "is_zero")]
        restart_reason: String,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        dead: bool,
        pid: i64,
        exit_code: i64,
        error: String,
        started_at: String,
        finished_at: String,
        #[serde(skip_serializing_if = "is_zero")]
        health: Option<Health>,
    }

    /// Health of a container that is probed.
    pub struct Health {
        status: String,
        failing_streak: i64,
        log: Option<Vec<HealthcheckResult>>,
    }

    /// One probe.
    pub struct HealthcheckResult {
        start: String,
        end: String,
        exit_code: i64,
        output: String,
    }

    /// One container in the answer to `GET /containers/json`.
    pub struct ContainerSummary {
        id: String,
        names: Vec<String>,
        image: String,
        #[serde(rename = "ImageID")]
        image_id: String,
        #[serde(skip_serializing_if = "is_zero")]
        image_manifest_descriptor: Option<OciDescriptor>,
        command: String,
        created: i64,
        ports: Vec<PortSummary>,
        #[serde(skip_serializing_if = "is_zero")]
        size_rw: i64,
        #[serde(skip_serializing_if = "is_zero")]
        size_root_fs: i64,
        labels: BTreeMap<String, String>,
        state: String,
        status: String,
        host_config: ContainerSummaryHostConfig,
        #[serde(skip_serializing_if = "is_zero")]
        health: Option<HealthSummary>,
        network_settings: ContainerSummaryNetworks,
        mounts: Vec<MountPoint>,
    }

    /// The little of [`HostConfig`] that lists show.
    pub struct ContainerSummaryHostConfig {
        #[serde(skip_serializing_if = "is_zero")]
        network_mode: String,
        #[serde(skip_serializing_if = "is_zero")]
        annotations: Option<BTreeMap<String, String>>,
    }

    /// The networks of a container in a list.
    pub struct ContainerSummaryNetworks {
        // Boxed: a map makes room for eleven of what it holds, for the one network that most have.
        networks: BTreeMap<String, Box<EndpointSettings>>,
    }

    /// Health in a list.
    pub struct HealthSummary {
        #[serde(skip_serializing_if = "is_zero")]
        status: String,
        failing_streak: i64,
    }

    /// A port in a list of containers.
    pub struct PortSummary {
        #[serde(rename = "IP", skip_serializing_if = "is_zero")]
        ip: String,
        private_port: u16,
        #[serde(skip_serializing_if = "is_zero")]
        public_port: u16,
        r#type: String,
    }

    /// The answer to `POST /containers/{id}/update`.
    pub struct ContainerUpdateResponse {
        warnings: Option<Vec<String>>,
    }

    /// The answer to `GET /containers/{id}/top`.
    pub struct TopResponse {
        titles: Vec<String>,
        processes: Vec<Vec<String>>,
    }

    /// The answer to `POST /containers/{id}/wait`.
    pub struct WaitResponse {
        #[serde(skip_serializing_if = "is_zero")]
        error: Option<WaitError>,
        status_code: i64,
    }

    /// Why a wait did not end with the container's own exit code.
    pub struct WaitError {
        #[serde(skip_serializing_if = "is_zero")]
        message: String,
    }
}
