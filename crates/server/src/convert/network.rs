//! End points and networks.

use super::{host, or_null, refuse, time};
use dhow_api as api;
use dhow_engine::{config as engine, view};
use dhow_types::Result;
use std::collections::BTreeMap;

/// `NetworkingConfig` of a container to be made.
pub(super) fn endpoints(networking: api::NetworkingConfig) -> Result<BTreeMap<String, engine::EndpointConfig>> {
    networking
        .endpoints_config
        .unwrap_or_default()
        .into_iter()
        .map(|(network, settings)| Ok((network, endpoint(settings.unwrap_or_default())?)))
        .collect()
}

fn endpoint(settings: api::EndpointSettings) -> Result<engine::EndpointConfig> {
    let api::EndpointSettings {
        ipam_config,
        links,
        aliases,
        mac_address,
        driver_opts,
        gw_priority,
        // Operational data: only answers carry it, and Docker, too, ignores it in a request.
        network_id: _,
        endpoint_id: _,
        gateway: _,
        ip_address: _,
        ip_prefix_len: _,
        ipv6_gateway: _,
        global_ipv6_address: _,
        global_ipv6_prefix_len: _,
        dns_names: _,
    } = settings;
    let api::EndpointIpamConfig { ipv4_address, ipv6_address, link_local_ips } = ipam_config.unwrap_or_default();
    let link_local_ips = link_local_ips.unwrap_or_default();
    refuse("EndpointsConfig.GwPriority", gw_priority != 0, "a container has one network")?;
    refuse("EndpointsConfig.IPAMConfig.LinkLocalIPs", !link_local_ips.is_empty(), "leave the list empty")?;
    Ok(engine::EndpointConfig {
        mac_address: or_null(mac_address),
        ipv4_address: or_null(ipv4_address),
        ipv6_address: or_null(ipv6_address),
        aliases: aliases.unwrap_or_default(),
        links: links.unwrap_or_default(),
        driver_opts: driver_opts.unwrap_or_default(),
    })
}

/// `NetworkSettings` of a container.
pub(super) fn settings(id: &str, network: view::NetworkView) -> api::NetworkSettings {
    let view::NetworkView { sandbox_key, ports, endpoints } = network;
    api::NetworkSettings {
        // A namespace is named after the only container that it is for.
        sandbox_id: if sandbox_key.is_empty() { String::new() } else { id.to_owned() },
        sandbox_key,
        ports: ports.into_iter().map(|(port, at)| (port, at.map(host::bindings_to_api))).collect(),
        networks: settings_by_network(endpoints),
        ..api::NetworkSettings::default()
    }
}

/// The end points of a container by network.
pub(super) fn settings_by_network(
    endpoints: BTreeMap<String, view::EndpointView>,
) -> BTreeMap<String, api::EndpointSettings> {
    endpoints.into_iter().map(|(network, endpoint)| (network, endpoint_to_api(endpoint))).collect()
}

fn endpoint_to_api(endpoint: view::EndpointView) -> api::EndpointSettings {
    let view::EndpointView { config, network_id, endpoint_id, gateway, ip_address, ip_prefix_len, mac_address } =
        endpoint;
    let engine::EndpointConfig { mac_address: _, ipv4_address, ipv6_address, aliases, links, driver_opts } = config;
    api::EndpointSettings {
        ipam_config: or_null(api::EndpointIpamConfig {
            ipv4_address: ipv4_address.unwrap_or_default(),
            ipv6_address: ipv6_address.unwrap_or_default(),
            link_local_ips: None,
        }),
        links: or_null(links),
        aliases: or_null(aliases),
        mac_address,
        driver_opts: or_null(driver_opts),
        network_id,
        endpoint_id,
        gateway,
        ip_address,
        ip_prefix_len: ip_prefix_len.into(),
        ..api::EndpointSettings::default()
    }
}

/// A port such as `80/tcp` in number and protocol.
pub(super) fn split_port(port: &str) -> (u16, &str) {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    (number.parse().unwrap_or(0), protocol)
}

/// A network, with its containers if `verbose`.
pub(crate) fn network(info: view::NetworkInfo, with_containers: bool) -> api::Network {
    let view::NetworkInfo { id, name, driver, created, subnet, gateway, options, containers } = info;
    let container = |(id, (name, endpoint)): (String, (String, view::EndpointView))| {
        let resource = api::EndpointResource {
            name,
            endpoint_id: endpoint.endpoint_id,
            mac_address: endpoint.mac_address,
            ipv4_address: match endpoint.ip_address.is_empty() {
                true => String::new(),
                false => format!("{}/{}", endpoint.ip_address, endpoint.ip_prefix_len),
            },
            ipv6_address: String::new(),
        };
        (id, resource)
    };
    api::Network {
        name,
        id,
        created: time(created),
        scope: "local".to_owned(),
        driver,
        enable_ipv4: true,
        ipam: api::Ipam {
            driver: "default".to_owned(),
            options: None,
            config: subnet
                .map(|subnet| api::IpamConfig {
                    subnet,
                    gateway: gateway.unwrap_or_default(),
                    ..api::IpamConfig::default()
                })
                .into_iter()
                .collect(),
        },
        containers: if with_containers { containers.into_iter().map(container).collect() } else { BTreeMap::new() },
        options,
        ..api::Network::default()
    }
}
