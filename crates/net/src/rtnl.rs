//! rtnetlink messages for devices, addresses and routes: pure builders, and the few questions asked of the kernel.
//!
//! Numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.

use crate::model::Mac;
use crate::netlink::{self, ACK, Batch, CREATE, CREATE_NEW, DUMP, Refused, Socket, u32_at};
use ipnet::Ipv4Net;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

const AF_INET6: u16 = 10;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;
const IPV4_DEVCONF_ROUTE_LOCALNET: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// `struct ifinfomsg`.
fn ifinfo(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0u8; 16];
    let flags = if up { IFF_UP } else { 0 };
    header[0] = AF_UNSPEC;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// A pair whose host end is a port of the bridge and up, and whose other end is `eth0` in `netns`. That end comes up
/// by a message of its own: when the kernel makes it, it has no other end yet.
pub struct Pair<'a> {
    /// The host end's name.
    pub host_ifname: &'a str,
    /// The bridge.
    pub bridge: u32,
    /// Where `eth0` goes.
    pub netns: BorrowedFd<'a>,
    /// `eth0`'s address.
    pub mac: Mac,
    /// Both ends' MTU.
    pub mtu: u32,
    /// Whether the port may not talk to other isolated ports.
    pub isolated: bool,
    /// Whether frames may go back out of the port they came in by.
    pub hairpin: bool,
    /// Whether the kernel has IPv6, which is then kept quiet on the host end.
    pub ipv6: bool,
}

/// The messages that make a [`Pair`].
pub fn new_pair(batch: &mut Batch, pair: &Pair<'_>) {
    batch.message(RTM_NEWLINK, CREATE_NEW, |m| {
        m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, pair.host_ifname).attr_u32(IFLA_MTU, pair.mtu);
        // One queue each: a veth has no hardware to spread over, and each queue costs memory and sysfs entries
        // (the kernel's own choice is one per processor).
        m.attr_u32(IFLA_NUM_TX_QUEUES, 1).attr_u32(IFLA_NUM_RX_QUEUES, 1).attr_u32(IFLA_MASTER, pair.bridge);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr_text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, "eth0").attr(IFLA_ADDRESS, &pair.mac.0);
                    m.attr_u32(IFLA_MTU, pair.mtu).attr_u32(IFLA_NET_NS_FD, pair.netns.as_raw_fd() as u32);
                    m.attr_u32(IFLA_NUM_TX_QUEUES, 1).attr_u32(IFLA_NUM_RX_QUEUES, 1);
                });
            });
        });
    });
    if pair.ipv6 {
        // Before it is up: no link-local address, and no search for duplicates of it, on a port that never receives
        // for itself.
        batch.message(RTM_NEWLINK, 0, |m| {
            m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, pair.host_ifname).nest(IFLA_AF_SPEC, |m| {
                m.nest(AF_INET6, |m| {
                    m.attr(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
                });
            });
        });
    }
    batch.message(RTM_NEWLINK, ACK, |m| {
        m.put(&ifinfo(0, true)).attr_text(IFLA_IFNAME, pair.host_ifname);
        if pair.isolated || pair.hairpin {
            m.nest(IFLA_LINKINFO, |m| {
                m.attr_text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |m| {
                    m.attr(IFLA_BRPORT_MODE, &[u8::from(pair.hairpin)]);
                    m.attr(IFLA_BRPORT_ISOLATED, &[u8::from(pair.isolated)]);
                });
            });
        }
    });
}

/// A bridge without spanning tree delays or multicast snooping, whose address does not follow its ports'.
pub fn new_bridge(batch: &mut Batch, name: &str, mac: Mac, mtu: u32) {
    batch.message(RTM_NEWLINK, CREATE_NEW | ACK, |m| {
        m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, name).attr(IFLA_ADDRESS, &mac.0).attr_u32(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr_text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, |m| {
                m.attr_u32(IFLA_BR_FORWARD_DELAY, 0).attr(IFLA_BR_MCAST_SNOOPING, &[0]);
            });
        });
    });
}

/// Names the owner of a device in its alias.
pub fn set_alias(batch: &mut Batch, index: u32, alias: &str) {
    batch.message(RTM_NEWLINK, ACK, |m| {
        m.put(&ifinfo(index, false)).attr(IFLA_IFALIAS, alias.as_bytes());
    });
}

/// Lets 127.0.0.0/8 be routed through the device: needed for loopback-published ports on the bridge, and only there.
pub fn allow_loopback_routing(batch: &mut Batch, index: u32) {
    devconf(batch, index, IPV4_DEVCONF_ROUTE_LOCALNET);
}

/// Replaces a device's Ethernet address and announces it with a gratuitous ARP.
pub fn set_mac_announced(batch: &mut Batch, index: u32, mac: Mac) {
    devconf(batch, index, IPV4_DEVCONF_ARP_NOTIFY);
    batch.message(RTM_NEWLINK, ACK, |m| {
        m.put(&ifinfo(index, false)).attr(IFLA_ADDRESS, &mac.0);
    });
}

fn devconf(batch: &mut Batch, index: u32, what: u16) {
    batch.message(RTM_NEWLINK, ACK, |m| {
        m.put(&ifinfo(index, false)).nest(IFLA_AF_SPEC, |m| {
            m.nest(u16::from(AF_INET), |m| {
                m.nest(IFLA_INET_CONF, |m| {
                    m.attr_u32(what, 1);
                });
            });
        });
    });
}

/// Switches a device on.
pub fn set_up(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWLINK, ACK, |m| {
        m.put(&ifinfo(index, true));
    });
}

/// Removes a device by name; a pair goes as a whole.
pub fn delete_link(batch: &mut Batch, name: &str) {
    batch.message(RTM_DELLINK, ACK, |m| {
        m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, name);
    });
}

/// Gives a device an address with its subnet.
pub fn add_address(batch: &mut Batch, index: u32, address: Ipv4Net) {
    batch.message(RTM_NEWADDR, CREATE | ACK, |m| {
        m.put(&[AF_INET, address.prefix_len(), 0, 0]).put(&index.to_ne_bytes());
        m.attr(IFA_LOCAL, &address.addr().octets()).attr(IFA_ADDRESS, &address.addr().octets());
        m.attr(IFA_BROADCAST, &address.broadcast().octets());
    });
}

/// The default route.
pub fn add_default_route(batch: &mut Batch, gateway: Ipv4Addr) {
    batch.message(RTM_NEWROUTE, CREATE | ACK, |m| {
        m.put(&[AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST]).put(&[0; 4]);
        m.attr(RTA_GATEWAY, &gateway.octets());
    });
}

/// A device as far as it matters here.
#[derive(Debug, Default)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its alias, where a bridge's owner is named.
    pub alias: String,
    /// `bridge`, `veth`, or empty.
    pub kind: String,
}

/// Looks a device up by name.
pub fn find_link(socket: &Socket, name: &str) -> Result<Option<Link>, Refused> {
    let mut batch = Batch::new();
    settle_carrier(&mut batch, name);
    let mut found = None;
    let outcome = socket.exchange(&batch, &mut |m| {
        if let (RTM_NEWLINK, Some(index), Some(rest)) = (m.kind, u32_at(m.body, 4), m.body.get(16..)) {
            let info = netlink::attr(rest, IFLA_LINKINFO).unwrap_or_default();
            let word = |payload: Option<&[u8]>| payload.map(netlink::text).unwrap_or_default().to_owned();
            found = Some(Link {
                index,
                alias: word(netlink::attr(rest, IFLA_IFALIAS)),
                kind: word(netlink::attr(info, IFLA_INFO_KIND)),
            });
        }
    });
    match outcome {
        Err(e) if is_absent(&e.cause) => Ok(None),
        other => other.map(|()| found),
    }
}

/// A device as it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenLink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alias, where a bridge's owner is named.
    pub alias: String,
    /// `bridge`, `veth`, or empty.
    pub kind: String,
    /// The largest packet.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
}

/// Lists the devices.
pub fn links(socket: &Socket) -> Result<Vec<SeenLink>, Refused> {
    let mut all = Vec::new();
    dump(socket, RTM_GETLINK, &ifinfo(0, false), &mut |body| {
        if let (Some(index), Some(flags), Some(rest)) = (u32_at(body, 4), u32_at(body, 8), body.get(16..)) {
            let info = netlink::attr(rest, IFLA_LINKINFO).unwrap_or_default();
            let word = |payload: Option<&[u8]>| payload.map(netlink::text).unwrap_or_default().to_owned();
            all.push(SeenLink {
                index,
                name: word(netlink::attr(rest, IFLA_IFNAME)),
                alias: word(netlink::attr(rest, IFLA_IFALIAS)),
                kind: word(netlink::attr(info, IFLA_INFO_KIND)),
                mtu: netlink::attr(rest, IFLA_MTU).and_then(|p| u32_at(p, 0)).unwrap_or(0),
                up: flags & IFF_UP != 0,
            });
        }
    })?;
    Ok(all)
}

/// A route: where to, and by which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; the default route's is `0.0.0.0/0`.
    pub target: Ipv4Net,
    /// The device's index, 0 where it has none.
    pub device: u32,
}

/// Lists the IPv4 routes of all tables but those to own addresses.
pub fn routes(socket: &Socket) -> Result<Vec<Route>, Refused> {
    let mut all = Vec::new();
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    dump(socket, RTM_GETROUTE, &header, &mut |body| {
        let (Some(&length), Some(&kind), Some(rest)) = (body.get(1), body.get(7), body.get(12..)) else { return };
        let ip = netlink::attr(rest, RTA_DST).map_or(Some(Ipv4Addr::UNSPECIFIED), ipv4);
        if let Some(target) = ip.and_then(|ip| Ipv4Net::new(ip, length).ok())
            && kind == RTN_UNICAST
        {
            let device = netlink::attr(rest, RTA_OIF).and_then(|p| u32_at(p, 0)).unwrap_or(0);
            all.push(Route { target: target.trunc(), device });
        }
    })?;
    Ok(all)
}

/// Asks for a device, for the sake of what the kernel does before it answers: it lets a carrier that just came take
/// effect, which otherwise waits for a worker thread. Until then the first packets are lost, and the first ARP request
/// is repeated only after a second.
pub fn settle_carrier(batch: &mut Batch, name: &str) {
    batch.message(RTM_GETLINK, ACK, |m| {
        m.put(&ifinfo(0, false)).attr_text(IFLA_IFNAME, name);
    });
}

/// `ENODEV`: there is no such device (any more).
pub fn is_absent(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// A device's first IPv4 address.
pub fn address_of(socket: &Socket, index: u32) -> Result<Option<Ipv4Net>, Refused> {
    let mut found = None;
    dump(socket, RTM_GETADDR, &[AF_INET, 0, 0, 0, 0, 0, 0, 0], &mut |body| {
        if u32_at(body, 4) == Some(index)
            && let Some(ip) = body.get(8..).and_then(|rest| netlink::attr(rest, IFA_LOCAL)).and_then(ipv4)
            && found.is_none()
        {
            found = Ipv4Net::new(ip, body[1]).ok();
        }
    })?;
    Ok(found)
}

/// The destinations of all IPv4 routes of all tables, except default routes. Addresses show as local routes.
pub fn route_targets(socket: &Socket) -> Result<Vec<Ipv4Net>, Refused> {
    let mut targets = Vec::new();
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    dump(socket, RTM_GETROUTE, &header, &mut |body| {
        if let (Some(&length), Some(rest)) = (body.get(1), body.get(12..))
            && let Some(ip) = netlink::attr(rest, RTA_DST).and_then(ipv4)
            && let Ok(target) = Ipv4Net::new(ip, length)
            && length > 0
        {
            targets.push(target.trunc());
        }
    })?;
    Ok(targets)
}

fn dump(socket: &Socket, kind: u16, header: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), Refused> {
    let mut batch = Batch::new();
    batch.message(kind, DUMP, |m| {
        m.put(header);
    });
    socket.exchange(&batch, &mut |m| each(m.body))
}

fn ipv4(payload: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(payload).ok().map(Ipv4Addr::from)
}
