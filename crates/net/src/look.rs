//! Looking at the network without changing it: devices, routes, what other programs forward or drop; and a trial of
//! everything that a container's network needs, in a namespace that ends with it.
//!
//! What is to be thought of what is seen is decided elsewhere.

use crate::addresses::choose_subnet;
use crate::bridge::{Bridge, BridgeConfig};
use crate::model::{Connect, PortBinding, Protocol};
use crate::netlink::{self, Batch, DUMP, Socket};
use crate::pool::NetnsSlot;
use crate::rtnl;
use dhow_types::{ContainerId, Context, Error, Result};
use ipnet::Ipv4Net;

pub use crate::rtnl::{Route, SeenLink};

/// Of all rules of one table, at most so many bytes are looked at.
const MAX_RULES: usize = 8 << 20;

/// All devices of this thread's network namespace.
pub fn links() -> Result<Vec<SeenLink>> {
    let socket = Socket::route().context("open a netlink socket")?;
    rtnl::links(&socket).context("list the network devices")
}

/// All IPv4 routes of this thread's network namespace, except those to its own addresses.
pub fn routes() -> Result<Vec<Route>> {
    let socket = Socket::route().context("open a netlink socket")?;
    rtnl::routes(&socket).context("list the routes")
}

/// The subnet that a new bridge would get: the first one of Docker's pools that no route overlaps.
pub fn free_subnet() -> Result<Ipv4Net> {
    let socket = Socket::route().context("open a netlink socket")?;
    let targets = rtnl::route_targets(&socket).context("list the routes")?;
    choose_subnet(&targets)
}

/// A chain that every forwarded packet goes through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardChain {
    /// `ip`, `inet` …
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// Whether a packet that no rule takes is dropped.
    pub drops: bool,
    /// What the rules of its table hold, raw.
    rules: Vec<u8>,
}

impl ForwardChain {
    /// Whether a rule of its table names this device.
    pub fn names(&self, device: &str) -> bool {
        let mut whole = device.as_bytes().to_vec();
        // As the kernel keeps a name: padded with zeros. What only begins with it is another device.
        whole.push(0);
        !device.is_empty() && self.rules.windows(whole.len()).any(|w| w == whole)
    }
}

/// The chains at the forward hook that IPv4 packets go through, of nftables and of what speaks to it (iptables-nft).
pub fn forward_chains() -> Result<Vec<ForwardChain>> {
    const NEWCHAIN: u16 = 10 << 8 | 3;
    const NEWRULE: u16 = 10 << 8 | 6;
    const HOOK_FORWARD: [u8; 4] = 2u32.to_be_bytes();
    const POLICY_DROP: [u8; 4] = 0u32.to_be_bytes();
    let socket = Socket::netfilter().context("open a netlink socket for nftables")?;
    let mut chains: Vec<ForwardChain> = Vec::new();
    ask(&socket, NEWCHAIN + 1, &mut |family, attrs| {
        let text = |n| netlink::attr(attrs, n).map(netlink::text).unwrap_or_default().to_owned();
        let hook = netlink::attr(attrs, 4).and_then(|nest| netlink::attr(nest, 1));
        let is_filter = netlink::attr(attrs, 7).map(netlink::text) == Some("filter");
        if let (Some(family), true, true) = (ipv4_family(family), hook == Some(&HOOK_FORWARD[..]), is_filter) {
            let drops = netlink::attr(attrs, 5) == Some(&POLICY_DROP[..]);
            chains.push(ForwardChain { family, table: text(1), chain: text(3), drops, rules: Vec::new() });
        }
    })?;
    if chains.is_empty() {
        return Ok(chains);
    }
    ask(&socket, NEWRULE + 1, &mut |family, attrs| {
        let table = netlink::attr(attrs, 1).map(netlink::text).unwrap_or_default();
        let of_it = |c: &&mut ForwardChain| Some(c.family) == ipv4_family(family) && c.table == table;
        for chain in chains.iter_mut().filter(of_it) {
            if chain.rules.len() < MAX_RULES {
                chain.rules.extend_from_slice(attrs);
            }
        }
    })?;
    Ok(chains)
}

/// The families whose chains see IPv4 packets.
fn ipv4_family(number: u8) -> Option<&'static str> {
    match number {
        1 => Some("inet"),
        2 => Some("ip"),
        _ => None,
    }
}

fn ask(socket: &Socket, kind: u16, each: &mut dyn FnMut(u8, &[u8])) -> Result<()> {
    let mut batch = Batch::new();
    batch.message(kind, DUMP, |m| {
        m.put(&[0, 0, 0, 0]);
    });
    let done = socket.exchange(&batch, &mut |m| {
        if let (Some(&family), Some(attrs)) = (m.body.first(), m.body.get(4..)) {
            each(family, attrs);
        }
    });
    done.context("list the firewall's chains and rules")
}

/// Makes all that a container with a published port needs (bridge, pair, addresses, nftables table) in a network
/// namespace of its own, on a thread of its own. Nothing of it is left, and nobody else sees it.
pub fn trial() -> Result<()> {
    let work = || -> Result<()> {
        dhow_sys::netns::unshare_net().context("make a network namespace")?;
        let bridge = Bridge::ensure(BridgeConfig::new("trial"))?;
        let mut slot = NetnsSlot::new()?;
        let port = PortBinding { protocol: Protocol::Tcp, container_port: 80, host_ip: None, host_ports: None };
        let container = ContainerId::from_raw([0; 32]);
        let request = Connect { container: &container, netns: &mut slot, ports: &[port], mac: None, ip: None };
        bridge.connect(request).map(|_| ())
    };
    let thread = std::thread::Builder::new().name("dhow-trial".into());
    let handle = thread.spawn(work).context("start a thread")?;
    handle.join().unwrap_or_else(|_| Err(Error::system("the thread that tries the network failed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_new_netns, nft};

    #[test]
    fn devices_routes_and_free_subnets() {
        in_new_netns(|| {
            let all = links().unwrap();
            assert_eq!(all.iter().map(|l| (l.name.as_str(), l.up)).collect::<Vec<_>>(), [("lo", true)]);
            assert!(all[0].mtu > 1500, "{all:?}");
            assert!(routes().unwrap().is_empty());
            assert_eq!(free_subnet().unwrap().to_string(), "172.17.0.0/16");
            let _bridge = Bridge::ensure(BridgeConfig::new("x")).unwrap();
            let bridge = links().unwrap().into_iter().find(|l| l.name == "dhow0").unwrap();
            assert_eq!((bridge.kind.as_str(), bridge.mtu, bridge.alias.as_str()), ("bridge", 1500, "dhow:x"));
            let route = routes().unwrap();
            assert_eq!(route.len(), 1, "{route:?}");
            assert_eq!((route[0].target.to_string(), route[0].device), ("172.17.0.0/16".into(), bridge.index));
            assert_eq!(free_subnet().unwrap().to_string(), "172.18.0.0/16");
        });
    }

    #[test]
    fn chains_that_drop_what_is_forwarded() {
        in_new_netns(|| {
            assert!(forward_chains().unwrap().is_empty());
            let chain = |name: &str, hook: &str, policy: &str, rule: &str| {
                format!("chain {name} {{\n type filter hook {hook} priority 0; policy {policy};\n {rule}\n }}\n")
            };
            nft(&format!(
                "table ip filter {{\n {} }}\ntable ip6 filter {{\n {} }}\ntable inet own {{\n {} {} }}\n",
                chain("FORWARD", "forward", "drop", "iifname \"dhow01\" accept"),
                chain("FORWARD", "forward", "drop", ""),
                chain("mine", "forward", "accept", "oifname \"dhow0\" accept"),
                chain("other", "input", "drop", ""),
            ));
            let mut seen = forward_chains().unwrap();
            seen.sort_by_key(|c| c.family);
            let told = |c: &ForwardChain| (c.family, c.table.clone(), c.chain.clone(), c.drops, c.names("dhow0"));
            assert_eq!(
                seen.iter().map(told).collect::<Vec<_>>(),
                [
                    ("inet", "own".into(), "mine".into(), false, true),
                    ("ip", "filter".into(), "FORWARD".into(), true, false),
                ]
            );
            assert!(seen[1].names("dhow01") && !seen[1].names(""));
        });
    }

    #[test]
    fn the_trial_leaves_nothing() {
        in_new_netns(|| {
            trial().unwrap();
            assert_eq!(links().unwrap().len(), 1);
            assert!(forward_chains().unwrap().is_empty());
        });
    }
}
