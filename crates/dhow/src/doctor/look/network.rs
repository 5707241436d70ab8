//! Devices, routes, switches, firewalls, names: of the network that this process sees.

use super::super::facts::{Bridge, Chain, Network, Seen};
use super::{number, text, unseen_here};
use dhow_net::look::{ForwardChain, Route, SeenLink, forward_chains, free_subnet, links, routes};
use std::net::IpAddr;
use std::path::Path;

/// What the alias of a daemon's bridge begins with.
const OURS: &str = "dhow:";

/// Looks; `configured` is the name that a bridge is to get.
pub fn look(configured: Option<String>) -> Seen<Network> {
    let links = links().map_err(|e| unseen_here(&e))?;
    let routes = routes().map_err(|e| unseen_here(&e))?;
    let name = |index: u32| links.iter().find(|l| l.index == index).map_or_else(String::new, |l| l.name.clone());
    let bridges: Vec<Bridge> = links.iter().filter(|l| l.alias.starts_with(OURS)).map(|l| bridge(l, &routes)).collect();
    let mut names: Vec<String> = bridges.iter().map(|b| b.name.clone()).collect();
    names.push(configured.unwrap_or_else(|| "dhow0".to_owned()));
    let way_out =
        routes.iter().find(|r| r.target.prefix_len() == 0).and_then(|r| links.iter().find(|l| l.index == r.device));
    Ok(Network {
        forwarding: switch("net/ipv4/ip_forward"),
        bridge_filter: switch("net/bridge/bridge-nf-call-iptables"),
        loopback: links.iter().any(|l| l.name == "lo" && l.up),
        way_out: way_out.map(|l| (l.name.clone(), l.mtu)),
        routes: routes.iter().map(|r| (r.target.to_string(), name(r.device))).collect(),
        free: free_subnet().map(|s| s.to_string()).map_err(|e| e.text().to_owned()),
        chains: forward_chains()
            .map(|all| all.iter().filter(|c| !is_ours(c)).map(|c| chain(c, &names)).collect())
            .map_err(|e| unseen_here(&e)),
        old_iptables: match std::fs::read_to_string("/proc/net/ip_tables_names") {
            Ok(tables) => Some(tables.lines().any(|l| l == "filter")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(false),
            Err(_) => None,
        },
        nameservers: std::fs::read_to_string("/etc/resolv.conf")
            .map(|t| nameservers(&t))
            .map_err(|e| dhow_types::Error::from(e).text().to_owned()),
        resolved: Path::new(dhow_net::files::RESOLVED_CONF).exists(),
        localhost: text("/etc/hosts").is_some_and(|t| knows_localhost(&t)),
        ipv6: switch("net/ipv6/conf/all/disable_ipv6").map(|off| !off),
        bridges,
    })
}

fn switch(path: &str) -> Option<bool> {
    number(&format!("/proc/sys/{path}")).map(|n| n != 0)
}

fn bridge(link: &SeenLink, routes: &[Route]) -> Bridge {
    let subnet = routes.iter().find(|r| r.device == link.index).map(|r| r.target.to_string());
    Bridge { name: link.name.clone(), mtu: link.mtu, up: link.up, subnet }
}

/// A table of a daemon.
fn is_ours(chain: &ForwardChain) -> bool {
    chain.table.starts_with("dhow-")
}

fn chain(chain: &ForwardChain, bridges: &[String]) -> Chain {
    Chain {
        table: format!("{} {}", chain.family, chain.table),
        name: chain.chain.clone(),
        drops: chain.drops,
        lets: bridges.iter().filter(|b| chain.names(b)).cloned().collect(),
    }
}

/// The addresses of resolv.conf; one of a device (`fe80::1%eth0`) counts as its address.
fn nameservers(text: &str) -> Vec<IpAddr> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(str::to_owned)).flatten()
    };
    text.lines().filter_map(words).filter_map(|w| w.split('%').next()?.parse().ok()).collect()
}

fn knows_localhost(hosts: &str) -> bool {
    let lines = hosts.lines().map(|l| l.split('#').next().unwrap_or_default());
    lines.map(|l| l.split_whitespace().collect::<Vec<_>>()).any(|words| {
        words.first().is_some_and(|ip| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
            && words.iter().skip(1).any(|w| *w == "localhost")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_resolver() {
        let text =
            "# x\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameservers 1.1.1.1\nnameserver\noptions edns0\n";
        assert_eq!(nameservers(text).iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.53", "fe80::1"]);
        for (hosts, want) in [
            ("127.0.0.1 localhost\n", true),
            ("::1\tip6 localhost # x\n", true),
            ("#127.0.0.1 localhost\n10.0.0.1 localhost\n127.0.0.1 local\n", false),
        ] {
            assert_eq!(knows_localhost(hosts), want, "{hosts}");
        }
    }
}
