//! The firewall of one bridge as data: which chains, which rules, and why. Pure.
//!
//! One table `ip dhow-<bridge>`; nothing in any other table is read or changed. The rules never depend on containers
//! or ports: those are elements of two maps, so the cost of a packet and of a change does not grow with them.

use super::expr::{CT_ESTABLISHED_RELATED, CT_STATUS_DNAT, Expr, Verdict};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Map of ports published on every address: `protocol . port → address . port`.
pub const PORTS_ANY: &str = "ports";
/// Map of ports published on one address: `address . protocol . port → address . port`.
pub const PORTS_AT: &str = "ports_at";
const PUBLISH: &str = "publish";

const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// Where a base chain sits: linux/netfilter.h, linux/netfilter_ipv4.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// `NF_INET_…`.
    pub number: u32,
    /// The order among chains of the hook.
    pub priority: i32,
}

/// A chain with its rules in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// `None` is a chain that is only jumped to.
    pub hook: Option<Hook>,
    /// Each a list of matches and an action.
    pub rules: Vec<Vec<Expr>>,
}

/// What the rules depend on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The bridge's name.
    pub bridge: String,
    /// The containers' subnet.
    pub subnet: Ipv4Net,
    /// Whether containers may talk to each other.
    pub icc: bool,
    /// Whether link-local targets and forged sources are blocked.
    pub hardened: bool,
}

impl Policy {
    /// The table's name.
    pub fn table(&self) -> String {
        format!("dhow-{}", self.bridge)
    }

    /// All chains; chains that others jump to come first.
    pub fn chains(&self) -> Vec<Chain> {
        let base =
            |name, kind, number, priority, rules| Chain { name, hook: Some(Hook { kind, number, priority }), rules };
        vec![
            Chain {
                name: PUBLISH,
                hook: None,
                // The particular address wins over every address.
                rules: vec![
                    vec![Expr::DnatByMap { map: PORTS_AT, with_address: true }],
                    vec![Expr::DnatByMap { map: PORTS_ANY, with_address: false }],
                ],
            },
            base("raw_prerouting", "filter", 0, -300, self.raw_prerouting()),
            base("nat_prerouting", "nat", 0, -100, self.to_published()),
            base("nat_output", "nat", 3, -100, self.to_published()),
            base("forward", "filter", 2, 0, self.forward()),
            base("nat_postrouting", "nat", 4, 100, self.nat_postrouting()),
        ]
    }

    fn to_published(&self) -> Vec<Vec<Expr>> {
        vec![vec![Expr::ToThisHost, Expr::Verdict(Verdict::Jump(PUBLISH))]]
    }

    /// Before any translation. A neighbour can put 127.0.0.1 into a packet, and translation would come before the
    /// kernel's own check of it: without this, loopback-published ports are open to the whole segment, and, because
    /// the bridge may route loopback addresses, the host's own loopback services to every container.
    fn raw_prerouting(&self) -> Vec<Vec<Expr>> {
        let not_from_loopback = Expr::InputDevice { equal: false, name: "lo".into() };
        let mut rules = vec![vec![not_from_loopback, Expr::Destination(LOOPBACK), Expr::Verdict(Verdict::Drop)]];
        if self.hardened {
            let forged = Expr::Source { equal: false, net: self.subnet };
            rules.push(vec![self.arriving(true), forged, Expr::Verdict(Verdict::Drop)]);
        }
        rules
    }

    /// Into the bridge goes what answers a container or was published; the rest, also from other bridges and from
    /// neighbours that know a container's address, does not.
    fn forward(&self) -> Vec<Vec<Expr>> {
        let into = self.leaving(true);
        let mut rules = Vec::new();
        if self.hardened {
            rules.push(vec![self.arriving(true), Expr::Destination(LINK_LOCAL), Expr::Verdict(Verdict::Drop)]);
        }
        rules.push(vec![into.clone(), Expr::State(CT_ESTABLISHED_RELATED), Expr::Verdict(Verdict::Accept)]);
        rules.push(vec![into.clone(), Expr::Status(CT_STATUS_DNAT), Expr::Verdict(Verdict::Accept)]);
        rules.push(match self.icc {
            true => vec![into, self.arriving(false), Expr::Verdict(Verdict::Drop)],
            false => vec![into, Expr::Verdict(Verdict::Drop)],
        });
        rules
    }

    /// Sources are kept except where an answer would not find its way: loopback sources into the bridge, a container
    /// that reaches a neighbour through a published port, and containers on their way out.
    fn nat_postrouting(&self) -> Vec<Vec<Expr>> {
        let from_subnet = Expr::Source { equal: true, net: self.subnet };
        vec![
            vec![self.leaving(true), Expr::Source { equal: true, net: LOOPBACK }, Expr::Masquerade],
            vec![self.leaving(true), from_subnet.clone(), Expr::Status(CT_STATUS_DNAT), Expr::Masquerade],
            vec![self.leaving(false), from_subnet, Expr::Masquerade],
        ]
    }

    /// `iifname [!=] bridge`: from the bridge into the host.
    fn arriving(&self, equal: bool) -> Expr {
        Expr::InputDevice { equal, name: self.bridge.clone() }
    }

    /// `oifname [!=] bridge`: from the host into the bridge.
    fn leaving(&self, equal: bool) -> Expr {
        Expr::OutputDevice { equal, name: self.bridge.clone() }
    }
}
