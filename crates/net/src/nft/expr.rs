//! Expressions of nftables rules and how the kernel wants them written.
//!
//! Numbers are those of linux/netfilter/nf_tables.h. Values that packets carry are in network order, the kernel's
//! own (connection state, results of the routing table) in the machine's.

use crate::netlink::Batch;

/// A 16-byte register, or the first of the 4-byte ones that lie in it.
pub const REG: u32 = 1;
/// The second 4-byte part of [`REG`].
pub const REG_2ND: u32 = 9;
/// The third 4-byte part of [`REG`].
pub const REG_3RD: u32 = 10;

/// `ct state established,related`.
pub const CT_ESTABLISHED_RELATED: u32 = 2 | 4;
/// `ct status dnat`.
pub const CT_STATUS_DNAT: u32 = 1 << 5;

/// The fifth and the seventh 4-byte part, behind a device's name in [`REG`] and behind an Ethernet address.
const REG_5TH: u32 = 12;
const REG_7TH: u32 = 14;
const LOOKUP_INVERTED: u32 = 1;
const META_PROTOCOL: u32 = 1;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const BASE_LINK: u32 = 0;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_F_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const NAT_DNAT: u32 = 1;
const NFPROTO_IPV4: u32 = 2;
/// Length of a device's name in a register or an element.
pub const IFNAMSIZ: usize = 16;

/// What ends a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Throw the packet away.
    Drop,
    /// Let it pass this chain.
    Accept,
    /// Go on in another chain.
    Jump(&'static str),
}

/// One match or action. A rule is a list of them: the first match that fails ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `iifname [!=] name`.
    InputDevice {
        /// Whether it must be this device or must not.
        equal: bool,
        /// The device.
        name: String,
    },
    /// `oifname [!=] name`.
    OutputDevice {
        /// Whether it must be this device or must not.
        equal: bool,
        /// The device.
        name: String,
    },
    /// `ip saddr [!=] net/len`.
    Source {
        /// Whether it must be inside or must not.
        equal: bool,
        /// The subnet.
        net: ipnet::Ipv4Net,
    },
    /// `ip daddr net/len`.
    Destination(ipnet::Ipv4Net),
    /// `ct state …`, any of the bits.
    State(u32),
    /// `ct status …`, any of the bits.
    Status(u32),
    /// `fib daddr type local`: the destination is an address of this host.
    ToThisHost,
    /// `dnat ip to [ip daddr .] meta l4proto . th dport map @name`.
    DnatByMap {
        /// The map.
        map: &'static str,
        /// Whether the destination address is part of its key.
        with_address: bool,
    },
    /// `iifname != @set`: the frame came by none of these devices.
    InputDeviceNotIn(&'static str),
    /// `meta protocol … iifname . ether saddr . (ip saddr | arp saddr ip) @set`: an IPv4 packet or an ARP message
    /// whose port, Ethernet address and IPv4 address of the sender belong together.
    SenderIn {
        /// The set.
        set: &'static str,
        /// ARP, or else IPv4.
        arp: bool,
    },
    /// `masquerade`.
    Masquerade,
    /// The end.
    Verdict(Verdict),
}

impl Expr {
    /// Appends the kernel's form, one list element per primitive expression.
    pub fn write(&self, batch: &mut Batch) {
        match self {
            Self::InputDevice { equal, name } => device(batch, META_IIFNAME, *equal, name),
            Self::OutputDevice { equal, name } => device(batch, META_OIFNAME, *equal, name),
            Self::Source { equal, net } => address(batch, 12, *equal, *net),
            Self::Destination(net) => address(batch, 16, true, *net),
            Self::State(bits) => conntrack(batch, CT_STATE, *bits),
            Self::Status(bits) => conntrack(batch, CT_STATUS, *bits),
            Self::ToThisHost => {
                expr(batch, "fib", |b| {
                    b.attr_be32(1, REG).attr_be32(2, FIB_RESULT_ADDRTYPE).attr_be32(3, FIB_F_DADDR);
                });
                compare(batch, true, &RTN_LOCAL.to_ne_bytes());
            }
            Self::DnatByMap { map, with_address } => dnat_by_map(batch, map, *with_address),
            Self::InputDeviceNotIn(set) => {
                meta(batch, META_IIFNAME, REG);
                lookup(batch, set, LOOKUP_INVERTED);
            }
            Self::SenderIn { set, arp } => {
                let (ether_type, ip_offset) = if *arp { (0x0806u16, 14) } else { (0x0800, 12) };
                meta(batch, META_PROTOCOL, REG);
                compare(batch, true, &ether_type.to_be_bytes());
                meta(batch, META_IIFNAME, REG);
                payload(batch, REG_5TH, BASE_LINK, 6, 6);
                payload(batch, REG_7TH, BASE_NETWORK, ip_offset, 4);
                lookup(batch, set, 0);
            }
            Self::Masquerade => expr(batch, "masq", |_| {}),
            Self::Verdict(verdict) => {
                let (code, chain) = match verdict {
                    Verdict::Drop => (0i32, None),
                    Verdict::Accept => (1, None),
                    Verdict::Jump(chain) => (-3, Some(*chain)),
                };
                expr(batch, "immediate", |b| {
                    b.attr_be32(1, 0).nest(2, |b| {
                        b.nest(2, |b| {
                            b.attr(1, &code.to_be_bytes());
                            if let Some(chain) = chain {
                                b.attr_text(2, chain);
                            }
                        });
                    });
                });
            }
        }
    }
}

fn expr(batch: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    batch.nest(1, |b| {
        b.attr_text(1, name).nest(2, data);
    });
}

fn compare(batch: &mut Batch, equal: bool, value: &[u8]) {
    expr(batch, "cmp", |b| {
        b.attr_be32(1, REG).attr_be32(2, u32::from(!equal)).nest(3, |b| {
            b.attr(1, value);
        });
    });
}

fn mask(batch: &mut Batch, mask: [u8; 4]) {
    expr(batch, "bitwise", |b| {
        b.attr_be32(1, REG).attr_be32(2, REG).attr_be32(3, 4);
        b.nest(4, |b| {
            b.attr(1, &mask);
        });
        b.nest(5, |b| {
            b.attr(1, &[0; 4]);
        });
    });
}

fn payload(batch: &mut Batch, register: u32, base: u32, offset: u32, length: u32) {
    expr(batch, "payload", |b| {
        b.attr_be32(1, register).attr_be32(2, base).attr_be32(3, offset).attr_be32(4, length);
    });
}

fn meta(batch: &mut Batch, key: u32, register: u32) {
    expr(batch, "meta", |b| {
        b.attr_be32(1, register).attr_be32(2, key);
    });
}

fn device(batch: &mut Batch, key: u32, equal: bool, name: &str) {
    meta(batch, key, REG);
    compare(batch, equal, &padded_name(name));
}

/// A device's name as the kernel compares it.
pub fn padded_name(name: &str) -> [u8; IFNAMSIZ] {
    let mut padded = [0u8; IFNAMSIZ];
    let length = name.len().min(IFNAMSIZ - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    padded
}

fn lookup(batch: &mut Batch, set: &str, flags: u32) {
    expr(batch, "lookup", |b| {
        b.attr_text(1, set).attr_be32(2, REG).attr_be32(5, flags);
    });
}

fn address(batch: &mut Batch, offset: u32, equal: bool, net: ipnet::Ipv4Net) {
    payload(batch, REG, BASE_NETWORK, offset, 4);
    if net.prefix_len() < 32 {
        mask(batch, net.netmask().octets());
    }
    compare(batch, equal, &net.network().octets());
}

fn conntrack(batch: &mut Batch, key: u32, bits: u32) {
    expr(batch, "ct", |b| {
        b.attr_be32(1, REG).attr_be32(2, key);
    });
    mask(batch, bits.to_ne_bytes());
    compare(batch, false, &[0; 4]);
}

fn dnat_by_map(batch: &mut Batch, map: &str, with_address: bool) {
    let (protocol, port) = if with_address { (REG_2ND, REG_3RD) } else { (REG, REG_2ND) };
    if with_address {
        payload(batch, REG, BASE_NETWORK, 16, 4);
    }
    meta(batch, META_L4PROTO, protocol);
    payload(batch, port, BASE_TRANSPORT, 2, 2);
    expr(batch, "lookup", |b| {
        b.attr_text(1, map).attr_be32(2, REG).attr_be32(3, REG);
    });
    expr(batch, "nat", |b| {
        b.attr_be32(1, NAT_DNAT).attr_be32(2, NFPROTO_IPV4).attr_be32(3, REG).attr_be32(5, REG_2ND);
    });
}
