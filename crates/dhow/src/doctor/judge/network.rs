//! Forwarding, firewalls of others, addresses, names.

use super::super::facts::{Bridge, Caller, Chain, Network};
use super::super::finding::{Finding, Group};
use std::net::IpAddr;

/// What a bridge has when nobody says otherwise.
const DEFAULT_MTU: u32 = 1500;

/// The findings.
pub fn judge(n: &Network, caller: &Caller) -> Vec<Finding> {
    let mut out = vec![forwarding(n), loopback(n), firewalls(n, caller)];
    out.extend(old_iptables(n));
    if n.bridge_filter == Some(true) && n.chains.as_ref().is_ok_and(|c| c.iter().any(|c| c.drops)) {
        out.push(
            Finding::new(Group::Network, "bridge-filter", "bridge-nf-call-iptables", "1, and a chain drops what is forwarded")
                .note("containers on one bridge reach each other only if that chain lets them")
                .mend_noted(
                    "sysctl -w net.bridge.bridge-nf-call-iptables=0",
                    "Kubernetes and Docker without icc need it; to make it last: echo 'net.bridge.bridge-nf-call-iptables = 0' > /etc/sysctl.d/60-dhow-bridge.conf",
                ),
        );
    }
    out.push(addresses(n, caller));
    out.push(mtu(n, caller));
    out.push(names(n, caller));
    out.push(localhost(n));
    out.push(ipv6(n));
    out
}

fn forwarding(n: &Network) -> Finding {
    let f = |seen: &str| Finding::new(Group::Network, "forwarding", "IPv4 forwarding", seen);
    match (n.forwarding, n.bridges.first()) {
        (Some(true), _) => f("on"),
        (Some(false), None) => f("off; the daemon switches it on with the first container that needs it"),
        (Some(false), Some(bridge)) => f("off")
            .error(format!("containers on {} reach nothing but each other and this machine", bridge.name))
            .mend_noted(
                "sysctl -w net.ipv4.ip_forward=1",
                "to make it last: echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/60-dhow-forward.conf; and look for what switches it off (grep -r ip_forward /etc/sysctl*)",
            ),
        (None, _) => f("not seen: no net.ipv4.ip_forward").note("a kernel without IPv4, or /proc hidden"),
    }
}

fn loopback(n: &Network) -> Finding {
    match n.loopback {
        true => Finding::new(Group::Network, "loopback", "loopback", "on"),
        false => Finding::new(Group::Network, "loopback", "loopback", "off")
            .warning("ports that are published on 127.0.0.1 are not reached")
            .mend("ip link set lo up"),
    }
}

/// The bridges, or the one that will be made.
fn bridges(n: &Network, caller: &Caller) -> Vec<String> {
    match n.bridges.is_empty() {
        true => vec![caller.bridge.clone().unwrap_or_else(|| "dhow0".to_owned())],
        false => n.bridges.iter().map(|b| b.name.clone()).collect(),
    }
}

fn firewalls(n: &Network, caller: &Caller) -> Finding {
    let chains = match &n.chains {
        Ok(chains) => chains,
        Err(unseen) => return Finding::unseen(Group::Network, "firewall", "other firewalls", unseen),
    };
    let bridges = bridges(n, caller);
    // firewalld's chain takes what no rule names at its end, by a rule: its policy says nothing.
    let closed = |c: &&Chain| c.drops || c.table.ends_with(" firewalld");
    let blocking: Vec<(&Chain, Vec<&String>)> = chains
        .iter()
        .filter(closed)
        .map(|c| (c, bridges.iter().filter(|b| !c.lets.contains(b)).collect::<Vec<_>>()))
        .filter(|(_, kept)| !kept.is_empty())
        .collect();
    let Some((chain, kept)) = blocking.first() else {
        let seen = match chains.len() {
            0 => "none looks at what is forwarded".to_owned(),
            n => format!("{n} chains look at what is forwarded, none keeps containers from it"),
        };
        return Finding::new(Group::Network, "firewall", "other firewalls", seen);
    };
    let seen: Vec<String> = blocking.iter().map(|(c, _)| format!("chain {} of table {}", c.name, c.table)).collect();
    let f = Finding::new(
        Group::Network,
        "firewall",
        "other firewalls",
        format!("{} drops what no rule of it takes", seen.join(", ")),
    );
    let names = kept.iter().map(|b| b.as_str()).collect::<Vec<_>>().join(", ");
    let mut f = match n.bridges.is_empty() {
        true => {
            f.note(format!("containers on {names} will reach nothing outside, and published ports are not reached"))
        }
        false => f.error(format!("containers on {names} reach nothing outside, and published ports are not reached")),
    };
    for bridge in kept {
        f = open(f, chain, bridge, chains);
    }
    f
}

/// The commands of the program that made the chain.
fn open(f: Finding, chain: &Chain, bridge: &str, chains: &[Chain]) -> Finding {
    let has = |name: &str| chains.iter().any(|c| c.name == name || c.table.contains(name));
    if chain.table.ends_with(" firewalld") {
        return f.mend_noted(
            format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"),
            "lasts",
        );
    }
    let place = if has("DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
    if chain.table == "ip filter" && chain.name == "FORWARD" {
        return f.mend_noted(
            format!("iptables -I {place} -i {bridge} -j ACCEPT && iptables -I {place} -o {bridge} -j ACCEPT"),
            "until the firewall is loaded anew; with ufw: `ufw route allow in on BRIDGE` and `ufw route allow out on BRIDGE` last",
        );
    }
    f.mend_noted(
        format!(
            "nft insert rule {0} {1} iifname {bridge} accept && nft insert rule {0} {1} oifname {bridge} accept",
            chain.table, chain.name
        ),
        "until the firewall is loaded anew; to make it last, the same rules in its file (/etc/nftables.conf)",
    )
}

fn old_iptables(n: &Network) -> Option<Finding> {
    if n.old_iptables != Some(true) {
        return None;
    }
    Some(
        Finding::new(
            Group::Network,
            "old-iptables",
            "old iptables",
            "its table filter is loaded; its rules are not seen here",
        )
        .note("if its chain FORWARD drops, containers reach nothing outside")
        .mend_noted("iptables-legacy -S FORWARD", "shows it; `-P FORWARD DROP` without a rule for dhow0 is the case")
        .mend_noted(
            "iptables-legacy -I FORWARD -i dhow0 -j ACCEPT && iptables-legacy -I FORWARD -o dhow0 -j ACCEPT",
            "lets containers through",
        ),
    )
}

fn addresses(n: &Network, caller: &Caller) -> Finding {
    let f = |seen: String| Finding::new(Group::Network, "addresses", "addresses", seen);
    // One that was seen to be free, if there is any.
    let bip = n.free.as_deref().ok().and_then(first_address).unwrap_or_else(|| "10.213.0.1/16".to_owned());
    let (command, note) = caller.configure(&format!("\"bip\": \"{bip}\""));
    for bridge in &n.bridges {
        let Some(subnet) = &bridge.subnet else { continue };
        if let Some((target, device)) = n.routes.iter().find(|(t, d)| *d != bridge.name && overlap(t, subnet)) {
            return f(format!("{} has {subnet}, and {target} goes by {device}", bridge.name))
                .error("what this machine sends there goes to one of the two: containers, or hosts of that network, are not reached")
                .mend_noted(command, format!("{note}, after `ip link delete {}` while no container runs", bridge.name));
        }
    }
    if let Some(wanted) = caller.bip.as_ref().filter(|_| n.bridges.is_empty()) {
        if let Some((target, device)) = n.routes.iter().find(|(t, _)| overlap(t, wanted)) {
            return f(format!("the bridge is to get {wanted}, and {target} goes by {device}"))
                .error("the daemon refuses to make such a bridge")
                .mend_noted(command, note);
        }
        return f(format!("the bridge is to get {wanted}, which is free"));
    }
    match (n.bridges.first(), &n.free) {
        (Some(Bridge { name, subnet: Some(subnet), .. }), _) => {
            f(format!("{name} has {subnet}, which nothing else uses"))
        }
        (_, Ok(free)) => f(format!("a new bridge gets {free}")),
        (_, Err(why)) => f(why.clone()).error("the bridge gets no subnet").mend_noted(command, note),
    }
}

/// The first address of a subnet, with its length: what a bridge gets.
fn first_address(subnet: &str) -> Option<String> {
    let (ip, length) = subnet.split_once('/')?;
    let ip: std::net::Ipv4Addr = ip.parse().ok()?;
    Some(format!("{}/{length}", std::net::Ipv4Addr::from(u32::from(ip).checked_add(1)?)))
}

/// Whether two subnets have an address in common.
fn overlap(a: &str, b: &str) -> bool {
    let read = |text: &str| {
        let (ip, length) = text.split_once('/')?;
        let ip: std::net::Ipv4Addr = ip.parse().ok()?;
        let length: u32 = length.parse().ok().filter(|l| *l <= 32)?;
        Some((u32::from(ip), length))
    };
    match (read(a), read(b)) {
        // The default route is for all that nobody else wants, also in the two halves that tunnels make of it.
        (Some((_, 0 | 1)), _) | (_, Some((_, 0 | 1))) => false,
        (Some((a, la)), Some((b, lb))) => {
            let shift = 32 - la.min(lb);
            a >> shift == b >> shift
        }
        _ => false,
    }
}

fn mtu(n: &Network, caller: &Caller) -> Finding {
    let inside = n.bridges.first().map_or(caller.mtu.unwrap_or(DEFAULT_MTU), |b| b.mtu);
    let f = |seen: String| Finding::new(Group::Network, "mtu", "MTU", seen);
    match &n.way_out {
        None => {
            f(format!("{inside} in containers; no default route")).note("this machine itself reaches no other network")
        }
        Some((device, mtu)) if *mtu < inside => {
            let (command, note) = caller.configure(&format!("\"mtu\": {mtu}"));
            f(format!("{inside} in containers, {mtu} on {device}"))
                .warning("large packets of containers do not fit: downloads that hang after they began")
                .mend_noted(
                    command,
                    format!(
                        "{note}; for the bridge that is there: ip link set {} mtu {mtu}",
                        n.bridges.first().map_or("dhow0", |b| &b.name)
                    ),
                )
        }
        Some((device, mtu)) => f(format!("{inside} in containers, {mtu} on {device}")),
    }
}

fn names(n: &Network, caller: &Caller) -> Finding {
    let f = |seen: String| Finding::new(Group::Network, "dns", "nameservers", seen);
    if !caller.dns.is_empty() {
        return f(format!("containers get {} (configured)", caller.dns.join(", ")));
    }
    let (command, note) = caller.configure("\"dns\": [\"ADDRESS\"]");
    let note = format!("ADDRESS: a nameserver of this network; {note}");
    let servers = match &n.nameservers {
        Ok(servers) => servers,
        Err(why) => {
            return f(format!("/etc/resolv.conf: {why}"))
                .warning("containers ask 8.8.8.8 and 8.8.4.4 instead")
                .mend_noted(command, note);
        }
    };
    let reachable: Vec<String> =
        servers.iter().filter(|s| matches!(s, IpAddr::V4(ip) if !ip.is_loopback())).map(ToString::to_string).collect();
    if !reachable.is_empty() {
        return f(reachable.join(", "));
    }
    let listed = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let stub = matches!(servers.as_slice(), [IpAddr::V4(ip)] if ip.octets() == [127, 0, 0, 53]);
    if stub && n.resolved {
        return f(format!("{listed}, the stub of systemd-resolved: containers get the real ones"));
    }
    f(if listed.is_empty() { "none in /etc/resolv.conf".to_owned() } else { format!("only {listed}") })
        .warning("containers do not reach those, and ask 8.8.8.8 and 8.8.4.4 instead")
        .mend_noted(command, note)
}

fn localhost(n: &Network) -> Finding {
    match n.localhost {
        true => Finding::new(Group::Network, "localhost", "localhost", "in /etc/hosts"),
        false => Finding::new(Group::Network, "localhost", "localhost", "not in /etc/hosts")
            .note("programs on this machine that use the name do not find published ports; containers have a file of their own")
            .mend("echo '127.0.0.1 localhost' >> /etc/hosts"),
    }
}

fn ipv6(n: &Network) -> Finding {
    let f = |seen: &str| Finding::new(Group::Network, "ipv6", "IPv6", seen);
    match n.ipv6 {
        None => f("the kernel has none; containers have none either"),
        Some(false) => f("off; containers have none either"),
        Some(true) => f("on for this machine; containers have none, and ports are published on IPv4 only"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn subnets_that_overlap() {
        for (a, b, want) in [
            ("10.0.0.0/8", "10.1.0.1/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
            ("10.0.0.1/32", "10.0.0.0/24", true),
            ("0.0.0.0/0", "10.0.0.0/24", false),
            ("x", "10.0.0.0/24", false),
            ("10.0.0.0/40", "10.0.0.0/24", false),
        ] {
            assert_eq!(super::overlap(a, b), want, "{a} {b}");
        }
    }
}
