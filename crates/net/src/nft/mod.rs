//! nftables over nfnetlink: one table per bridge, replaced as a whole or changed by single map elements, always in
//! one transaction.
//!
//! What the rules are is decided in `rules`; which ports are published, in `crate::firewall`.

mod expr;
pub mod pin;
pub mod rules;

use crate::model::BoundPort;
use crate::netlink::{self, ACK, APPEND, Batch, CREATE, Received, Refused, Socket};
use pin::Member;
use rules::{Chain, PORTS_ANY, PORTS_AT, Policy};
use std::net::Ipv4Addr;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_BRIDGE: u8 = 7;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = SUBSYSTEM << 8;
const GETTABLE: u16 = NEWTABLE | 1;
const DELTABLE: u16 = NEWTABLE | 2;
const NEWCHAIN: u16 = NEWTABLE | 3;
const DELCHAIN: u16 = NEWTABLE | 5;
const NEWRULE: u16 = NEWTABLE | 6;
const DELRULE: u16 = NEWTABLE | 8;
const NEWSET: u16 = NEWTABLE | 9;
const DELSET: u16 = NEWTABLE | 11;
const NEWSETELEM: u16 = NEWTABLE | 12;
const DELSETELEM: u16 = NEWTABLE | 14;

/// `NFT_SET_MAP`.
const SET_IS_MAP: u32 = 8;
/// Type numbers of the `nft` program, so that it can print the maps: six bits per part.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
/// An attribute holds 64 KiB; an element takes less than 64 bytes.
const ELEMENTS_PER_MESSAGE: usize = 512;
/// `NFNLGRP_NFTABLES` as a mask.
pub const NOTIFICATIONS: u32 = 1 << 6;

/// A published port: where it is on the host, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// `None` is every address.
    host_ip: Option<Ipv4Addr>,
    protocol: u8,
    host_port: u16,
    container_ip: Ipv4Addr,
    container_port: u16,
}

impl Element {
    /// The map element of a published port of the container with this address.
    pub fn new(port: &BoundPort, container_ip: Ipv4Addr) -> Self {
        Self {
            host_ip: (!port.host_ip.is_unspecified()).then_some(port.host_ip),
            protocol: port.protocol.number(),
            host_port: port.host_port,
            container_ip,
            container_port: port.container_port,
        }
    }

    fn map(&self) -> &'static str {
        if self.host_ip.is_some() { PORTS_AT } else { PORTS_ANY }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = self.host_ip.map_or_else(Vec::new, |ip| ip.octets().to_vec());
        key.extend_from_slice(&[self.protocol, 0, 0, 0]);
        let [high, low] = self.host_port.to_be_bytes();
        key.extend_from_slice(&[high, low, 0, 0]);
        key
    }

    fn value(&self) -> [u8; 8] {
        let ([a, b, c, d], [high, low]) = (self.container_ip.octets(), self.container_port.to_be_bytes());
        [a, b, c, d, high, low, 0, 0]
    }
}

/// Removes the table if it is there, and writes it with these elements: atomic for packets. A hardened bridge has a
/// second table of the same name in the bridge family.
pub fn replace(policy: &Policy, elements: &[Element], members: &[Member]) -> Batch {
    let table = policy.table();
    transaction(|b| {
        new_table(b, NFPROTO_IPV4, &table);
        let any = (TYPE_PROTOCOL << 6 | TYPE_PORT, 8);
        let at = ((TYPE_ADDRESS << 6 | TYPE_PROTOCOL) << 6 | TYPE_PORT, 12);
        for (id, (name, (key_type, key_length))) in [(PORTS_ANY, any), (PORTS_AT, at)].into_iter().enumerate() {
            object(b, NEWSET, CREATE, |b| {
                b.attr_text(1, &table).attr_text(2, name).attr_be32(3, SET_IS_MAP);
                b.attr_be32(4, key_type).attr_be32(5, key_length);
                b.attr_be32(6, TYPE_ADDRESS << 6 | TYPE_PORT).attr_be32(7, 8).attr_be32(10, id as u32 + 1);
            });
        }
        put_chains(b, NFPROTO_IPV4, &table, &policy.chains());
        put_elements(b, NEWSETELEM, CREATE, &table, elements);
        if policy.hardened {
            pin::put_table(b, &table, members);
        }
    })
}

/// Adds published ports.
pub fn publish(policy: &Policy, elements: &[Element]) -> Batch {
    transaction(|b| put_elements(b, NEWSETELEM, CREATE, &policy.table(), elements))
}

/// Removes published ports.
pub fn unpublish(policy: &Policy, elements: &[Element]) -> Batch {
    transaction(|b| put_elements(b, DELSETELEM, 0, &policy.table(), elements))
}

/// Removes the table.
pub fn remove(policy: &Policy) -> Batch {
    let families = [NFPROTO_IPV4, NFPROTO_BRIDGE];
    transaction(|b| {
        for &family in if policy.hardened { &families[..] } else { &families[..1] } {
            for (kind, flags) in [(NEWTABLE, CREATE), (DELTABLE, 0)] {
                object_of(b, family, kind, flags, |b| {
                    b.attr_text(1, &policy.table());
                });
            }
        }
    })
}

/// Whether the table is there.
pub fn exists(socket: &Socket, policy: &Policy) -> Result<bool, Refused> {
    let mut batch = Batch::new();
    object(&mut batch, GETTABLE, ACK, |b| {
        b.attr_text(1, &policy.table());
    });
    match socket.request(&batch) {
        Ok(()) => Ok(true),
        Err(e) if e.cause.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether a notification says that somebody else than socket `own` took a part of the table away.
pub fn is_damage(message: &Received<'_>, table: &str, own: u32) -> bool {
    let removal = matches!(message.kind, DELTABLE | DELCHAIN | DELRULE | DELSET | DELSETELEM);
    // The table's name is attribute 1 of each of these.
    let name = message.body.get(4..).and_then(|attrs| netlink::attr(attrs, 1)).map(netlink::text);
    removal && message.port != own && name == Some(table)
}

fn transaction(body: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new();
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let edge = |batch: &mut Batch, kind| {
        batch.message(kind, 0, |b| {
            b.put(&[0, 0, high, low]);
        });
    };
    edge(&mut batch, BATCH_BEGIN);
    body(&mut batch);
    // Acknowledgements come after the commit. Those of the edges are news of kernel 6.10; a failed commit is
    // reported for the beginning by every kernel, unasked.
    batch.acknowledge_last();
    edge(&mut batch, BATCH_END);
    batch
}

fn object(batch: &mut Batch, kind: u16, flags: u16, body: impl FnOnce(&mut Batch)) {
    object_of(batch, NFPROTO_IPV4, kind, flags, body);
}

fn object_of(batch: &mut Batch, family: u8, kind: u16, flags: u16, body: impl FnOnce(&mut Batch)) {
    batch.message(kind, flags, |b| {
        b.put(&[family, 0, 0, 0]);
        body(b);
    });
}

/// An empty table, whatever was there. Adding before deleting makes the deletion succeed in any case.
fn new_table(batch: &mut Batch, family: u8, table: &str) {
    for (kind, flags) in [(NEWTABLE, CREATE), (DELTABLE, 0), (NEWTABLE, CREATE)] {
        object_of(batch, family, kind, flags, |b| {
            b.attr_text(1, table);
        });
    }
}

fn put_chains(batch: &mut Batch, family: u8, table: &str, chains: &[Chain]) {
    for chain in chains {
        object_of(batch, family, NEWCHAIN, CREATE, |b| {
            b.attr_text(1, table).attr_text(3, chain.name);
            if let Some(hook) = chain.hook {
                b.nest(4, |b| {
                    b.attr_be32(1, hook.number).attr(2, &hook.priority.to_be_bytes());
                });
                b.attr_text(7, hook.kind);
            }
        });
    }
    for (chain, rule) in chains.iter().flat_map(|c| c.rules.iter().map(move |r| (c, r))) {
        object_of(batch, family, NEWRULE, APPEND, |b| {
            b.attr_text(1, table).attr_text(2, chain.name).nest(4, |b| {
                rule.iter().for_each(|e| e.write(b));
            });
        });
    }
}

fn put_elements(batch: &mut Batch, kind: u16, flags: u16, table: &str, elements: &[Element]) {
    for map in [PORTS_ANY, PORTS_AT] {
        let of_map: Vec<&Element> = elements.iter().filter(|e| e.map() == map).collect();
        for part in of_map.chunks(ELEMENTS_PER_MESSAGE) {
            object(batch, kind, flags, |b| {
                b.attr_text(1, table).attr_text(2, map).nest(3, |b| {
                    part.iter().for_each(|e| put_element(b, e, kind == NEWSETELEM));
                });
            });
        }
    }
}

fn put_element(batch: &mut Batch, element: &Element, with_value: bool) {
    batch.nest(1, |b| {
        b.nest(1, |b| {
            b.attr(1, &element.key());
        });
        if with_value {
            b.nest(2, |b| {
                b.attr(1, &element.value());
            });
        }
    });
}
