//! The Docker Engine API as data: documents of versions 1.24 to 1.56, version rules, filters and the
//! framing of attached streams.
//!
//! Nothing here opens a socket, knows the engine, or decides anything about containers; both the server
//! and the client speak through these types. Names and meaning of fields: `docker-engine-api-v1.56.yaml`
//! (moby's swagger file), checked against it by `tests/swagger.rs`. Empty values are written as Docker's
//! daemon writes them: a Go slice or map that was never set is `null`, so it is an `Option` here.

mod document;

pub mod audit;
pub mod check;
pub mod config;
pub mod container;
pub mod events;
pub mod exec;
pub mod filters;
pub mod host_config;
pub mod image;
pub mod mount;
pub mod network;
pub mod progress;
pub mod registry;
pub mod remote;
pub mod space;
pub mod stdcopy;
pub mod system;
pub mod version;

pub use audit::{FilesystemChange, HistoryItem};
pub use check::{CheckDone, CheckFinding, CheckLine};
pub use config::{ContainerConfig, ContainerCreateRequest, ContainerCreateResponse, HealthConfig, Words};
pub use container::{
    ContainerInspect, ContainerState, ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworks,
    ContainerUpdateResponse, Health, HealthSummary, HealthcheckResult, PortSummary, TopResponse, WaitError,
    WaitResponse,
};
pub use document::Empty;
pub use events::{EventActor, EventMessage};
pub use exec::{ExecCreateRequest, ExecInspect, ExecStartRequest, IdResponse, ProcessConfig};
pub use filters::Filters;
pub use host_config::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
pub use image::{
    GraphDriver, ImageConfig, ImageDeleteItem, ImageInspect, ImageMetadata, ImageSummary, OciDescriptor, OciPlatform,
    RootFs,
};
pub use mount::{
    BindOptions, ClusterOptions, DriverConfig, ImageOptions, Mount, MountPoint, TmpfsOptions, VolumeOptions,
};
pub use network::{
    EndpointIpamConfig, EndpointResource, EndpointSettings, Ipam, IpamConfig, Network, NetworkSettings,
    NetworkingConfig, PortBinding, PortMap,
};
pub use progress::{ErrorDetail, JsonMessage, ProgressDetail};
pub use registry::{AuthResponse, DistributionInspect, SearchResult};
pub use space::{
    BuildCache, BuildCacheDiskUsage, ContainersDiskUsage, DiskUsage, ImagesDiskUsage, LogUsage, LogsDiskUsage,
    PruneReport, PrunedItem, StoreDiskUsage, Volume, VolumeUsageData, VolumesDiskUsage,
};
pub use system::{
    AddressPool, Commit, Component, FirewallInfo, IndexInfo, Info, Platform, PluginsInfo, RegistryConfig, Runtime,
    SwarmInfo, Version,
};
pub use version::{ApiVersion, VersionError};

use document::document;

document! {
    /// The body of every answer that is an error.
    pub struct ErrorResponse {
        #[serde(rename = "message")]
        message: String,
        /// Ours: the cause in one word for programs; docs/errors.md lists them.
        #[serde(rename = "cause", skip_serializing_if = "document::is_zero")]
        cause: String,
    }
}
