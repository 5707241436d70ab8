//! Exposed and published ports.

use super::modes;
use crate::config::{ContainerConfig, HostConfig};
use dhow_net::{BoundPort, PortBinding, Protocol, parse_port_key};
use dhow_types::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Largest number of ports one container may expose or publish.
const MAX_PORTS: usize = 65_536;

/// Expands `80`, `80/udp` and `8000-8010/tcp` into single ports, as `80/tcp`.
pub fn exposed(keys: &BTreeSet<String>) -> Result<BTreeSet<(u16, Protocol)>> {
    let mut out = BTreeSet::new();
    for key in keys {
        let (range, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        match range.split_once('-') {
            None => drop(out.insert(parse_port_key(key)?)),
            Some((first, last)) => {
                let (first, protocol) = parse_port_key(&format!("{first}/{protocol}"))?;
                let (last, _) = parse_port_key(&format!("{last}/{protocol}"))?;
                if first > last {
                    return Err(Error::invalid(format!("invalid port range {key:?}: the first is above the last")));
                }
                out.extend((first..=last).map(|p| (p, protocol)));
            }
        }
        if out.len() > MAX_PORTS {
            return Err(Error::invalid(format!("more than {MAX_PORTS} exposed ports")));
        }
    }
    Ok(out)
}

/// What to publish.
pub fn published(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortBinding>> {
    let mut out = Vec::new();
    for (key, bindings) in &host.port_bindings {
        // No binding at all is one on a free port of every address.
        if bindings.is_empty() {
            out.push(PortBinding::parse(key, "", "")?);
        }
        for b in bindings {
            out.push(PortBinding::parse(key, &b.host_ip, &b.host_port)?);
        }
    }
    if host.publish_all_ports {
        for (port, protocol) in exposed(&config.exposed_ports)? {
            if !out.iter().any(|b| b.container_port == port && b.protocol == protocol) {
                out.push(PortBinding { protocol, container_port: port, host_ip: None, host_ports: None });
            }
        }
    }
    if out.len() > MAX_PORTS {
        return Err(Error::invalid(format!("more than {MAX_PORTS} published ports")));
    }
    Ok(out)
}

/// Checks both. Ports are published on the bridge only; elsewhere Docker drops them, and so they are told apart here.
pub fn check(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    exposed(&config.exposed_ports)?;
    published(config, host)?;
    modes::network(&host.network_mode).map(drop)
}

/// The ports as `inspect` shows them while the container runs: published with their addresses, exposed with none.
pub fn view(
    exposed: &BTreeSet<(u16, Protocol)>,
    bound: &[BoundPort],
) -> BTreeMap<String, Option<Vec<crate::config::PortBinding>>> {
    let mut out: BTreeMap<String, Option<Vec<crate::config::PortBinding>>> =
        exposed.iter().map(|(port, protocol)| (format!("{port}/{protocol}"), None)).collect();
    for b in bound {
        let key = format!("{}/{}", b.container_port, b.protocol);
        out.entry(key)
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(crate::config::PortBinding { host_ip: b.host_ip.to_string(), host_port: b.host_port.to_string() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|k| (*k).to_owned()).collect()
    }

    #[test]
    fn ranges() {
        let ports = exposed(&set(&["80", "53/udp", "8000-8002/tcp"])).unwrap();
        assert_eq!(ports.len(), 5);
        assert!(ports.contains(&(8001, Protocol::Tcp)) && ports.contains(&(53, Protocol::Udp)));
        for bad in ["0", "9-8", "x", "70000", "1-70000", "80/icmp"] {
            assert!(exposed(&set(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn publish_all_adds_only_what_is_missing() {
        let config = ContainerConfig { exposed_ports: set(&["80/tcp", "81/tcp"]), ..Default::default() };
        let binding = crate::config::PortBinding { host_ip: String::new(), host_port: "8080".into() };
        let host = HostConfig {
            port_bindings: [("80/tcp".to_owned(), vec![binding])].into(),
            publish_all_ports: true,
            ..Default::default()
        };
        let out = published(&config, &host).unwrap();
        assert_eq!(out.len(), 2);
        assert_eq!(out[0].host_ports, Some((8080, 8080)));
        assert_eq!((out[1].container_port, out[1].host_ports), (81, None));
    }
}
