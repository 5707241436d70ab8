//! Networks, end points and ports.

use crate::document::{Empty, document, is_zero};
use std::collections::BTreeMap;

/// Container port (`80/tcp`) to the places on the host where it is published; `null` for a port that is
/// exposed only.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

document! {
    /// A place on the host where a port is published.
    pub struct PortBinding {
        host_ip: String,
        host_port: String,
    }

    /// Which networks to connect at create.
    pub struct NetworkingConfig {
        endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>>,
    }

    /// A container's end point in a network.
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        ipam_config: Option<EndpointIpamConfig>,
        links: Option<Vec<String>>,
        aliases: Option<Vec<String>>,
        mac_address: String,
        driver_opts: Option<BTreeMap<String, String>>,
        gw_priority: i64,
        #[serde(rename = "NetworkID")]
        network_id: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: i64,
        #[serde(rename = "DNSNames")]
        dns_names: Option<Vec<String>>,
    }

    /// Addresses asked for at create.
    pub struct EndpointIpamConfig {
        #[serde(rename = "IPv4Address", skip_serializing_if = "is_zero")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "is_zero")]
        ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "is_zero")]
        link_local_ips: Option<Vec<String>>,
    }

    /// `NetworkSettings` of a container. What may be absent stood beside `Networks` until API 1.51, for
    /// the default bridge: servers say it for those versions only.
    pub struct NetworkSettings {
        #[serde(skip_serializing_if = "is_zero")]
        bridge: Option<String>,
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        sandbox_key: String,
        ports: PortMap,
        #[serde(skip_serializing_if = "is_zero")]
        hairpin_mode: Option<bool>,
        #[serde(rename = "LinkLocalIPv6Address", skip_serializing_if = "is_zero")]
        link_local_ipv6_address: Option<String>,
        #[serde(rename = "LinkLocalIPv6PrefixLen", skip_serializing_if = "is_zero")]
        link_local_ipv6_prefix_len: Option<i64>,
        #[serde(rename = "SecondaryIPAddresses", skip_serializing_if = "is_zero")]
        secondary_ip_addresses: Option<Option<Vec<Empty>>>,
        #[serde(rename = "SecondaryIPv6Addresses", skip_serializing_if = "is_zero")]
        secondary_ipv6_addresses: Option<Option<Vec<Empty>>>,
        #[serde(rename = "EndpointID", skip_serializing_if = "is_zero")]
        endpoint_id: Option<String>,
        #[serde(skip_serializing_if = "is_zero")]
        gateway: Option<String>,
        #[serde(rename = "GlobalIPv6Address", skip_serializing_if = "is_zero")]
        global_ipv6_address: Option<String>,
        #[serde(rename = "GlobalIPv6PrefixLen", skip_serializing_if = "is_zero")]
        global_ipv6_prefix_len: Option<i64>,
        #[serde(rename = "IPAddress", skip_serializing_if = "is_zero")]
        ip_address: Option<String>,
        #[serde(rename = "IPPrefixLen", skip_serializing_if = "is_zero")]
        ip_prefix_len: Option<i64>,
        #[serde(rename = "IPv6Gateway", skip_serializing_if = "is_zero")]
        ipv6_gateway: Option<String>,
        #[serde(skip_serializing_if = "is_zero")]
        mac_address: Option<String>,
        networks: BTreeMap<String, EndpointSettings>,
    }

    /// A network, in a list and alone.
    pub struct Network {
        name: String,
        id: String,
        created: String,
        scope: String,
        driver: String,
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_from: ConfigReference,
        config_only: bool,
        containers: BTreeMap<String, EndpointResource>,
        options: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    }

    /// The network that a network's configuration comes from.
    pub struct ConfigReference {
        network: String,
    }

    /// Address management of a network.
    pub struct Ipam {
        driver: String,
        options: Option<BTreeMap<String, String>>,
        config: Vec<IpamConfig>,
    }

    /// One subnet of a network.
    pub struct IpamConfig {
        #[serde(skip_serializing_if = "is_zero")]
        subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "is_zero")]
        ip_range: String,
        #[serde(skip_serializing_if = "is_zero")]
        gateway: String,
        #[serde(skip_serializing_if = "is_zero")]
        auxiliary_addresses: Option<BTreeMap<String, String>>,
    }

    /// A container as its network sees it.
    pub struct EndpointResource {
        name: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        mac_address: String,
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }
}
