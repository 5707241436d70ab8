//! The plain data of the network: what a caller asks for, and what a container got.
//!
//! Nothing here talks to the kernel. Parsing of `-p` strings from a command line lives in the client; this
//! module parses the three fields the Engine API sends (`"80/tcp"`, `HostIp`, `HostPort`).

use crate::pool::NetnsSlot;
use dhow_types::{ContainerId, Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A transport protocol that can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in an IP header (IANA protocol numbers).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        match s.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(Error::not_implemented("publishing SCTP ports is not supported; use tcp or udp")),
            _ => Err(Error::invalid(format!("invalid protocol {s:?}: use tcp or udp"))),
        }
    }
}

/// The port of a container to publish, and where on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host address; `None` is every address (`0.0.0.0`).
    pub host_ip: Option<Ipv4Addr>,
    /// First and last host port to try; `None` lets the host choose one of its ephemeral ports.
    pub host_ports: Option<(u16, u16)>,
}

impl PortBinding {
    /// From the Engine API's form: key `80/tcp` of `PortBindings`, and a binding's `HostIp` and `HostPort`
    /// (both may be empty; `HostPort` may be a range `8000-8010`, and `0` means any).
    pub fn parse(container: &str, host_ip: &str, host_port: &str) -> Result<Self> {
        let (container_port, protocol) = parse_port_key(container)?;
        let host_ip = match host_ip {
            "" => None,
            text => match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) if ip.is_unspecified() => None,
                Ok(IpAddr::V4(ip)) => Some(ip),
                Ok(IpAddr::V6(_)) => {
                    return Err(Error::not_implemented(format!(
                        "publishing on the IPv6 address {text} is not supported; give an IPv4 address or none"
                    )));
                }
                Err(_) => return Err(Error::invalid(format!("invalid host address {text:?} for port {container}"))),
            },
        };
        Ok(Self { protocol, container_port, host_ip, host_ports: parse_host_ports(host_port)? })
    }

    /// The address to bind.
    pub fn bind_ip(&self) -> Ipv4Addr {
        self.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}

/// `80/tcp` or `80` (then TCP): a key of `ExposedPorts` and `PortBindings`.
pub fn parse_port_key(key: &str) -> Result<(u16, Protocol)> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    Ok((parse_port(port)?, protocol.parse()?))
}

fn parse_port(text: &str) -> Result<u16> {
    match text.parse::<u16>() {
        Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(Error::invalid(format!("invalid port {text:?}: use a number from 1 to 65535"))),
    }
}

fn parse_host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (parse_port(first)?, parse_port(last)?);
    if range.0 > range.1 {
        return Err(Error::invalid(format!("invalid port range {text:?}: the first port is above the last")));
    }
    Ok(Some(range))
}

/// A published port as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BoundPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host address; `0.0.0.0` is every address.
    pub host_ip: Ipv4Addr,
    /// The host port.
    pub host_port: u16,
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address Docker has long derived from an IPv4 address: `02:42:` and its four bytes. A reused IP address
    /// keeps its Ethernet address, so no neighbour's ARP cache can be wrong.
    pub fn from_ip(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = Error;
    /// Six pairs of hex digits parted by `:` or `-`; a group address is refused, as no device may carry one.
    fn from_str(s: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("invalid MAC address {s:?}: use six hex pairs such as 02:42:ac:11:00:02"));
        let mut bytes = [0u8; 6];
        let mut parts = s.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(bad)?;
        }
        if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What [`crate::Bridge::connect`] is asked for.
pub struct Connect<'a> {
    /// Whose endpoint it is; errors name it.
    pub container: &'a ContainerId,
    /// The namespace, from [`crate::Pool::take`] or [`NetnsSlot::new`]. `connect` puts `eth0` in it unless the
    /// pool already has. The caller keeps it and hands [`NetnsSlot::fd`] to the shim.
    pub netns: &'a mut NetnsSlot,
    /// Ports to publish.
    pub ports: &'a [PortBinding],
    /// A chosen Ethernet address (`--mac-address`).
    pub mac: Option<Mac>,
    /// A chosen IPv4 address.
    pub ip: Option<Ipv4Addr>,
}

/// A container's place on the bridge. Stored by the caller, and enough to release or adopt it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Whose it is.
    pub container: ContainerId,
    /// The bridge's name.
    pub bridge: String,
    /// Its IPv4 address.
    pub ip: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The bridge's address: the container's default route.
    pub gateway: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// The host's end of the pair; the container's end is `eth0`.
    pub host_ifname: String,
    /// Published ports in force.
    pub ports: Vec<BoundPort>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ErrorKind;

    #[test]
    fn port_bindings_of_the_api() {
        let any = |p, c, h| PortBinding { protocol: p, container_port: c, host_ip: None, host_ports: h };
        let local = Some(Ipv4Addr::LOCALHOST);
        let good = [
            (("80/tcp", "", "8080"), any(Protocol::Tcp, 80, Some((8080, 8080)))),
            (("80", "0.0.0.0", ""), any(Protocol::Tcp, 80, None)),
            (("53/UDP", "", "0"), any(Protocol::Udp, 53, None)),
            (("80/tcp", "", "8000-8010"), any(Protocol::Tcp, 80, Some((8000, 8010)))),
            (("80/tcp", "127.0.0.1", "1"), PortBinding { host_ip: local, ..any(Protocol::Tcp, 80, Some((1, 1))) }),
        ];
        for ((c, ip, h), want) in good {
            assert_eq!(PortBinding::parse(c, ip, h).unwrap(), want, "{c} {ip} {h}");
        }
        let bad = [
            (("80/sctp", "", ""), ErrorKind::NotImplemented, "SCTP"),
            (("80/tcp", "::1", ""), ErrorKind::NotImplemented, "IPv6 address ::1"),
            (("80/tcp", "localhost", ""), ErrorKind::InvalidParameter, "localhost"),
            (("0/tcp", "", ""), ErrorKind::InvalidParameter, "\"0\""),
            (("65536", "", ""), ErrorKind::InvalidParameter, "65536"),
            (("80/icmp", "", ""), ErrorKind::InvalidParameter, "icmp"),
            (("80", "", "9-8"), ErrorKind::InvalidParameter, "above the last"),
            (("80", "", "+9"), ErrorKind::InvalidParameter, "+9"),
            (("80", "", "1-2-3"), ErrorKind::InvalidParameter, "2-3"),
        ];
        for ((c, ip, h), kind, text) in bad {
            let e = PortBinding::parse(c, ip, h).unwrap_err();
            assert!(e.kind() == kind && e.text().contains(text), "{c} {ip} {h}: {e}");
        }
    }

    #[test]
    fn ethernet_addresses() {
        let mac: Mac = "02-42-AC:11:00:02".parse().unwrap();
        assert_eq!(mac, Mac::from_ip(Ipv4Addr::new(172, 17, 0, 2)));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(serde_json::from_str::<Mac>("\"02:42:ac:11:00:02\"").unwrap(), mac);
        for bad in [
            "",
            "02:42",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:0:2",
            "02:42:ac:11:00:+2",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
