//! Forgets UDP flows over ctnetlink.
//!
//! A UDP "connection" lives as long as packets keep coming. One that began before a port was published keeps
//! bypassing the publishing, and one that began before it ended keeps reaching a container that is gone, or worse,
//! its successor. TCP needs nothing: its connections end by themselves.
//!
//! Numbers are those of linux/netfilter/nfnetlink_conntrack.h.

use crate::model::BoundPort;
use crate::netlink::{self, ACK, Batch, DUMP, Refused, Socket};
use std::net::Ipv4Addr;

const CTNETLINK: u16 = 1 << 8;
const CT_NEW: u16 = CTNETLINK;
const CT_GET: u16 = CTNETLINK | 1;
const CT_DELETE: u16 = CTNETLINK | 2;
const AF_INET: u8 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Bits of `CTA_FILTER_ORIG_FLAGS` and `CTA_FILTER_REPLY_FLAGS`: which fields of the tuple count.
const FILTER_IP_SRC: u32 = 1;
const FILTER_IP_DST: u32 = 1 << 1;
const FILTER_PROTO: u32 = 1 << 3;
const FILTER_SRC_PORT: u32 = 1 << 4;
const FILTER_DST_PORT: u32 = 1 << 5;

const UDP: u8 = 17;
/// Flows deleted per send when the kernel can't filter by itself.
const DELETES_PER_SEND: usize = 1000;

/// Which flows to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// Those that were sent to this host port, before it was published.
    To {
        /// Only to this address, if any.
        ip: Option<Ipv4Addr>,
        /// The host port.
        port: u16,
    },
    /// Those that a container answers from this port.
    AnsweredBy {
        /// The container's address.
        ip: Ipv4Addr,
        /// The container's port.
        port: u16,
    },
}

impl Flows {
    /// The flows in the way of a published port.
    pub fn before(port: &BoundPort) -> Self {
        Self::To { ip: (!port.host_ip.is_unspecified()).then_some(port.host_ip), port: port.host_port }
    }

    /// The tuple's attribute, the address's and port's within it, their values and the filter's bits.
    fn parts(self) -> (u16, u16, Option<Ipv4Addr>, u16, u16, u32) {
        match self {
            Self::To { ip, port } => {
                let address = if ip.is_some() { FILTER_IP_DST } else { 0 };
                (CTA_TUPLE_ORIG, CTA_IP_V4_DST, ip, CTA_PROTO_DST_PORT, port, FILTER_DST_PORT | address)
            }
            Self::AnsweredBy { ip, port } => {
                let bits = FILTER_SRC_PORT | FILTER_IP_SRC;
                (CTA_TUPLE_REPLY, CTA_IP_V4_SRC, Some(ip), CTA_PROTO_SRC_PORT, port, bits)
            }
        }
    }

    /// Whether a dumped flow (its attributes) is one of them.
    fn matches(self, flow: &[u8]) -> bool {
        let (tuple, ip_kind, ip, port_kind, port, _) = self.parts();
        let find = |path: [u16; 2]| {
            let tuple = netlink::attr(flow, tuple)?;
            netlink::attr(netlink::attr(tuple, path[0])?, path[1])
        };
        find([CTA_TUPLE_PROTO, CTA_PROTO_NUM]) == Some(&[UDP])
            && find([CTA_TUPLE_PROTO, port_kind]) == Some(&port.to_be_bytes())
            && ip.is_none_or(|ip| find([CTA_TUPLE_IP, ip_kind]) == Some(&ip.octets()))
    }
}

/// Forgets these flows. Kernels before 6.11 can't filter a deletion: there the flows are listed and deleted singly.
pub fn forget(socket: &Socket, flows: &[Flows]) -> Result<(), Refused> {
    for &which in flows {
        match socket.request(&filtered_delete(which)) {
            Ok(()) => {}
            Err(e) if absent(&e) => {}
            Err(e) if unsupported(&e) => forget_singly(socket, which)?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn absent(e: &Refused) -> bool {
    e.cause.kind() == std::io::ErrorKind::NotFound
}

fn unsupported(e: &Refused) -> bool {
    use rustix::io::Errno;
    e.cause.raw_os_error().is_some_and(|n| n == Errno::OPNOTSUPP.raw_os_error() || n == Errno::INVAL.raw_os_error())
}

fn filtered_delete(which: Flows) -> Batch {
    let (tuple, ip_kind, ip, port_kind, port, bits) = which.parts();
    let mut batch = Batch::new();
    batch.message(CT_DELETE, ACK, |b| {
        b.put(&[AF_INET, 0, 0, 0]).nest(tuple, |b| {
            if let Some(ip) = ip {
                b.nest(CTA_TUPLE_IP, |b| {
                    b.attr(ip_kind, &ip.octets());
                });
            }
            b.nest(CTA_TUPLE_PROTO, |b| {
                b.attr(CTA_PROTO_NUM, &[UDP]).attr(port_kind, &port.to_be_bytes());
            });
        });
        b.nest(CTA_FILTER, |b| {
            b.attr_u32(tuple, bits | FILTER_PROTO);
        });
    });
    batch
}

fn forget_singly(socket: &Socket, which: Flows) -> Result<(), Refused> {
    let mut list = Batch::new();
    list.message(CT_GET, DUMP, |b| {
        b.put(&[AF_INET, 0, 0, 0]);
    });
    let mut originals: Vec<Vec<u8>> = Vec::new();
    socket.exchange(&list, &mut |m| {
        if let (CT_NEW, Some(flow)) = (m.kind, m.body.get(4..))
            && which.matches(flow)
            && let Some(original) = netlink::attr(flow, CTA_TUPLE_ORIG)
        {
            originals.push(original.to_vec());
        }
    })?;
    for part in originals.chunks(DELETES_PER_SEND) {
        let mut batch = Batch::new();
        for original in part {
            batch.message(CT_DELETE, ACK, |b| {
                b.put(&[AF_INET, 0, 0, 0]).nest(CTA_TUPLE_ORIG, |b| {
                    b.put(original);
                });
            });
        }
        match socket.request(&batch) {
            // It ended by itself in between.
            Err(e) if !absent(&e) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::in_new_netns;
    use std::net::UdpSocket;

    fn flows(socket: &Socket) -> usize {
        let mut list = Batch::new();
        list.message(CT_GET, DUMP, |b| {
            b.put(&[AF_INET, 0, 0, 0]);
        });
        let mut count = 0;
        socket.exchange(&list, &mut |m| count += usize::from(m.kind == CT_NEW)).unwrap();
        count
    }

    #[test]
    fn both_ways_forget_exactly_the_flows_meant() {
        in_new_netns(|| {
            // Any rule that looks at connections switches tracking on.
            crate::testing::nft(
                "table ip t {\n chain c {\n type filter hook output priority 0;\n ct state new accept\n }\n}\n",
            );
            let socket = Socket::netfilter().unwrap();
            let way_by_filter: fn(&Socket, Flows) = |s, f| forget(s, &[f]).unwrap();
            let way_singly: fn(&Socket, Flows) = |s, f| forget_singly(s, f).unwrap();
            for forget in [way_by_filter, way_singly] {
                let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
                let other = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (port, local) = (receiver.local_addr().unwrap().port(), Ipv4Addr::LOCALHOST);
                let send = || {
                    for to in [&receiver, &receiver, &other] {
                        let s = UdpSocket::bind("127.0.0.1:0").unwrap();
                        s.send_to(b"x", to.local_addr().unwrap()).unwrap();
                    }
                };
                let start = flows(&socket);
                send();
                assert_eq!(flows(&socket), start + 3);
                forget(&socket, Flows::To { ip: Some(Ipv4Addr::new(10, 0, 0, 1)), port });
                assert_eq!(flows(&socket), start + 3, "another address");
                forget(&socket, Flows::To { ip: None, port });
                assert_eq!(flows(&socket), start + 1);
                send();
                assert_eq!(flows(&socket), start + 4);
                forget(&socket, Flows::AnsweredBy { ip: local, port });
                assert_eq!(flows(&socket), start + 2);
                forget(&socket, Flows::To { ip: Some(local), port });
            }
        });
    }
}
