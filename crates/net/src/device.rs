//! The bridge device: found by its owner's mark or created, with its address and switches.

use crate::addresses::{choose_subnet, gateway_in, overlap};
use crate::bridge::BridgeConfig;
use crate::model::Mac;
use crate::netlink::{Batch, Socket};
use crate::rtnl::{self, Link};
use dhow_types::{Context, Error, ErrorKind, Result};
use ipnet::Ipv4Net;
use std::io::ErrorKind as IoKind;

/// More daemons than this in one network namespace find no name for their bridge.
const MAX_BRIDGES: u32 = 64;
/// What a device name may be long: `IFNAMSIZ` without its zero.
const MAX_NAME: usize = 15;
const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A bridge that is up.
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its address with the subnet's length.
    pub gateway: Ipv4Net,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
    /// Whether br_netfilter translates addresses within the bridge already. Then a packet of a container to its own
    /// published port never gets to the host's router, and must leave by the port it came from.
    pub hairpin: bool,
    /// What could not be done as wished.
    pub warnings: Vec<String>,
}

/// Finds this owner's bridge or makes it.
pub fn ensure(config: &BridgeConfig, mtu: u32) -> Result<Device> {
    let socket = Socket::route().context("open a netlink socket")?;
    let alias = format!("dhow:{}", config.owner);
    let (name, index) = find_or_create(&socket, config, &alias, mtu)?;
    let mut warnings = Vec::new();
    switch_ipv6_off(&name, &mut warnings);
    let gateway = address(&socket, config, &name, index)?;
    let mut batch = Batch::new();
    rtnl::allow_loopback_routing(&mut batch, index);
    rtnl::set_up(&mut batch, index);
    socket.request(&batch).with_context(|| format!("switch the bridge {name} on"))?;
    if std::fs::read(IP_FORWARD).is_ok_and(|v| v.first() != Some(&b'1')) {
        std::fs::write(IP_FORWARD, "1")
            .context("switch IPv4 forwarding on (net.ipv4.ip_forward), which a bridge needs to reach anything")?;
    }
    let hairpin = std::fs::read(BRIDGE_NETFILTER).is_ok_and(|v| v.first() == Some(&b'1'));
    let ipv6 = std::path::Path::new("/proc/sys/net/ipv6").exists();
    Ok(Device { name, index, gateway, ipv6, hairpin, warnings })
}

fn find_or_create(socket: &Socket, config: &BridgeConfig, alias: &str, mtu: u32) -> Result<(String, u32)> {
    if let Some(name) = &config.name {
        check_name(name)?;
        return match claim(socket, name, alias, mtu)? {
            Some(index) => Ok((name.clone(), index)),
            None => Err(Error::conflict(format!(
                "the network device {name} exists and is not this daemon's bridge; remove it or configure another name"
            ))),
        };
    }
    for name in (0..MAX_BRIDGES).map(|n| format!("dhow{n}")) {
        if let Some(index) = claim(socket, &name, alias, mtu)? {
            return Ok((name, index));
        }
    }
    Err(Error::new(ErrorKind::Exhausted, format!("the devices dhow0 to dhow{} are all taken", MAX_BRIDGES - 1)))
}

/// The index of the bridge `name` if it is ours or could be created.
fn claim(socket: &Socket, name: &str, alias: &str, mtu: u32) -> Result<Option<u32>> {
    let find = || rtnl::find_link(socket, name).with_context(|| format!("look for the network device {name}"));
    let ours = |link: Link| (link.kind == "bridge" && link.alias == alias).then_some(link.index);
    if let Some(link) = find()? {
        return Ok(ours(link));
    }
    let mut batch = Batch::new();
    rtnl::new_bridge(&mut batch, name, bridge_mac(alias), mtu);
    match socket.request(&batch) {
        Ok(()) => {}
        // Another daemon was faster.
        Err(e) if e.cause.kind() == IoKind::AlreadyExists => return Ok(find()?.and_then(ours)),
        Err(e) => return Err(e).with_context(|| format!("create the bridge {name}")),
    }
    let index = find()?.map(|l| l.index).ok_or_else(|| Error::system(format!("the bridge {name} vanished")))?;
    let mut batch = Batch::new();
    rtnl::set_alias(&mut batch, index, alias);
    socket.request(&batch).with_context(|| format!("mark the bridge {name} as this daemon's"))?;
    Ok(Some(index))
}

/// Always the same for an owner, so that containers that outlive the bridge's re-creation still know it.
fn bridge_mac(alias: &str) -> Mac {
    // FNV-1a: a spread is wanted, not secrecy.
    let hash = alias.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let [a, b, c, d, ..] = hash.to_be_bytes();
    Mac([0x02, 0x42, a, b, c, d])
}

/// Containers here have no IPv6, so the bridge hasn't either: no router of a container's making is believed
/// (CVE-2020-13401), and the host's services are not reachable over link-local addresses.
fn switch_ipv6_off(name: &str, warnings: &mut Vec<String>) {
    for (file, value) in [("accept_ra", "0"), ("disable_ipv6", "1")] {
        match std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{file}"), value) {
            Err(e) if e.kind() != IoKind::NotFound => {
                warnings.push(format!("net.ipv6.conf.{name}.{file} could not be set to {value}: {}", Error::from(e)));
            }
            _ => {}
        }
    }
}

/// The bridge's address, kept if it has one, else given.
fn address(socket: &Socket, config: &BridgeConfig, name: &str, index: u32) -> Result<Ipv4Net> {
    let wanted = config.subnet.map(gateway_in).transpose()?;
    let present = rtnl::address_of(socket, index).with_context(|| format!("read the address of {name}"))?;
    match (present, wanted) {
        (Some(present), Some(wanted)) if present != wanted => {
            return Err(Error::conflict(format!(
                "the bridge {name} has the address {present}, the configuration says {wanted}; delete the bridge \
                 (ip link delete {name}) while no container runs, or change the configuration"
            )));
        }
        (Some(present), _) => return gateway_in(present),
        (None, _) => {}
    }
    let routes = rtnl::route_targets(socket).context("read the host's routes")?;
    let gateway = match wanted {
        Some(wanted) => match routes.iter().find(|r| overlap(**r, wanted)) {
            Some(route) => {
                return Err(Error::conflict(format!(
                    "the bridge subnet {wanted} overlaps the host's route to {route}; choose another subnet"
                )));
            }
            None => wanted,
        },
        None => gateway_in(choose_subnet(&routes)?)?,
    };
    let mut batch = Batch::new();
    rtnl::add_address(&mut batch, index, gateway);
    socket.request(&batch).with_context(|| format!("give the bridge {name} its address {gateway}"))?;
    Ok(gateway)
}

/// As the kernel has it (no slash, no space, not `.` or `..`), and plain enough for a table's name.
fn check_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) || name.starts_with('.') {
        return Err(Error::invalid(format!(
            "invalid bridge name {name:?}: use 1 to {MAX_NAME} letters, digits, '-', '_' or '.'"
        )));
    }
    Ok(())
}
