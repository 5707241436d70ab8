//! The second table of a hardened bridge: each port may send only with the Ethernet and IPv4 address it was given, in
//! IPv4 and in ARP, and nothing else. That ends ARP, DHCP and router spoofing between containers, which NET_RAW would
//! allow.

use super::expr::{Expr, Verdict, padded_name};
use super::rules::{Chain, Hook};
use super::{
    Batch, CREATE, DELSETELEM, ELEMENTS_PER_MESSAGE, NEWSET, NEWSETELEM, NFPROTO_BRIDGE, TYPE_ADDRESS, new_table,
    object_of, put_chains, transaction,
};
use crate::model::Mac;
use std::net::Ipv4Addr;

const PORTS: &str = "ports";
const MEMBERS: &str = "members";
const TYPE_ETHER: u32 = 9;
const TYPE_DEVICE: u32 = 41;
/// A note of the `nft` program to itself, in `NFTA_SET_USERDATA`: keys are in host order. Without it, it prints names
/// backwards.
const HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// What a port of the bridge may call itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The host end of the pair.
    pub ifname: String,
    /// Its container's Ethernet address.
    pub mac: Mac,
    /// Its container's IPv4 address.
    pub ip: Ipv4Addr,
}

impl Member {
    fn key(&self) -> Vec<u8> {
        let mut key = padded_name(&self.ifname).to_vec();
        key.extend_from_slice(&self.mac.0);
        key.extend_from_slice(&[0; 2]);
        key.extend_from_slice(&self.ip.octets());
        key
    }
}

fn chain() -> Chain {
    let sender = |arp| vec![Expr::SenderIn { set: MEMBERS, arp }, Expr::Verdict(Verdict::Accept)];
    Chain {
        name: "pin",
        hook: Some(Hook { kind: "filter", number: 0, priority: -300 }),
        rules: vec![
            vec![Expr::InputDeviceNotIn(PORTS), Expr::Verdict(Verdict::Accept)],
            sender(false),
            sender(true),
            vec![Expr::Verdict(Verdict::Drop)],
        ],
    }
}

/// Appends the table to a transaction.
pub fn put_table(batch: &mut Batch, table: &str, members: &[Member]) {
    new_table(batch, NFPROTO_BRIDGE, table);
    let member_type = (TYPE_DEVICE << 6 | TYPE_ETHER) << 6 | TYPE_ADDRESS;
    for (id, (name, key_type, length)) in [(PORTS, TYPE_DEVICE, 16), (MEMBERS, member_type, 28)].into_iter().enumerate()
    {
        object_of(batch, NFPROTO_BRIDGE, NEWSET, CREATE, |b| {
            b.attr_text(1, table).attr_text(2, name).attr_be32(3, 0);
            b.attr_be32(4, key_type).attr_be32(5, length).attr_be32(10, id as u32 + 11);
            if name == PORTS {
                b.attr(13, &HOST_ORDER);
            }
        });
    }
    put_chains(batch, NFPROTO_BRIDGE, table, &[chain()]);
    put_members(batch, NEWSETELEM, table, members);
}

/// Takes some members away and adds others.
pub fn change(table: &str, removed: &[Member], added: &[Member]) -> Batch {
    transaction(|b| {
        put_members(b, DELSETELEM, table, removed);
        put_members(b, NEWSETELEM, table, added);
    })
}

fn put_members(batch: &mut Batch, kind: u16, table: &str, members: &[Member]) {
    let flags = if kind == NEWSETELEM { CREATE } else { 0 };
    for part in members.chunks(ELEMENTS_PER_MESSAGE) {
        for set in [PORTS, MEMBERS] {
            object_of(batch, NFPROTO_BRIDGE, kind, flags, |b| {
                b.attr_text(1, table).attr_text(2, set).nest(3, |b| {
                    for member in part {
                        let key = member.key();
                        b.nest(1, |b| {
                            b.nest(1, |b| {
                                b.attr(1, if set == PORTS { &key[..16] } else { &key });
                            });
                        });
                    }
                });
            });
        }
    }
}
