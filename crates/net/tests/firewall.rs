//! The nftables table as the kernel has it, read back by the `nft` program: golden text, and sizes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use dhow_net::{Bridge, BridgeConfig, Connect, NetnsSlot, PortBinding, Protocol};

fn listing(bridge: &Bridge) -> String {
    let text = sh(&format!("nft -s list table ip dhow-{}", bridge.name()));
    text.lines().map(|l| l.trim_end().replace('\t', "    ") + "\n").collect()
}

#[test]
fn the_plain_table() {
    on_a_host(|| {
        let _lan = neighbour();
        let bridge = bridge("a");
        try_container(&bridge, 1, &[("80/tcp", "", "8080"), ("53/udp", "10.99.0.1", "53")]).unwrap();
        try_container(&bridge, 2, &[("443/tcp", "127.0.0.1", "8443")]).unwrap();
        assert_eq!(listing(&bridge), include_str!("golden/plain.nft"));
    });
}

#[test]
fn the_hardened_table_without_icc() {
    on_a_host(|| {
        let config = BridgeConfig {
            name: Some("br-test.1".into()),
            subnet: Some("10.7.0.254/24".parse().unwrap()),
            icc: false,
            hardened: true,
            ..BridgeConfig::new("a")
        };
        let bridge = Bridge::ensure(config).unwrap();
        assert_eq!(bridge.gateway().to_string(), "10.7.0.254");
        assert_eq!(listing(&bridge), include_str!("golden/hardened.nft"));
        let pins = || {
            let text = sh("nft -s list table bridge dhow-br-test.1");
            text.lines().map(|l| l.trim_end().replace('\t', "    ") + "\n").collect::<String>()
        };
        let (mut netns, container, mac) = (NetnsSlot::new().unwrap(), id(1), "02:00:00:00:00:99".parse().unwrap());
        let request = Connect { container: &container, netns: &mut netns, ports: &[], mac: Some(mac), ip: None };
        let endpoint = bridge.connect(request).unwrap();
        assert_eq!(pins().replace(&endpoint.host_ifname, "vethNAME"), include_str!("golden/pins.nft"));
        let before = pins();
        bridge.reassert().unwrap();
        assert_eq!(pins(), before);
        // A second daemon's view after a restart, and the end of the endpoint.
        let again = Bridge::ensure(BridgeConfig {
            name: Some("br-test.1".into()),
            icc: false,
            hardened: true,
            ..BridgeConfig::new("a")
        });
        let again = again.unwrap();
        again.adopt(&endpoint).unwrap();
        again.reassert().unwrap();
        assert_eq!(pins(), before);
        again.disconnect(&endpoint).unwrap();
        assert!(!pins().contains("elements"), "{}", pins());
        drop(try_container(&again, 2, &[]).unwrap());
        drop(
            NetnsSlot::new().and_then(|_| try_container(&again, 3, &[("80/tcp", "203.0.113.1", "80")])).err().unwrap(),
        );
        assert_eq!(pins().matches("veth").count(), 2, "only the connected one: {}", pins());
        again.remove().unwrap();
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn rules_do_not_grow_with_ports_and_thousands_fit_one_transaction() {
    on_a_host(|| {
        let bridge = bridge("a");
        let rules = |b: &Bridge| sh(&format!("nft -a list table ip dhow-{}", b.name())).matches("handle").count();
        let before = rules(&bridge);
        let (mut netns, container) = (NetnsSlot::new().unwrap(), id(1));
        let ports: Vec<PortBinding> = (0..3000)
            .map(|n| PortBinding {
                protocol: if n % 2 == 0 { Protocol::Tcp } else { Protocol::Udp },
                container_port: 80,
                host_ip: (n % 3 == 0).then_some(std::net::Ipv4Addr::LOCALHOST),
                host_ports: Some((10_000 + n, 10_000 + n)),
            })
            .collect();
        let request = Connect { container: &container, netns: &mut netns, ports: &ports, mac: None, ip: None };
        let endpoint = bridge.connect(request).unwrap();
        let elements = || listing(&bridge).matches(" : ").count();
        assert_eq!((elements(), rules(&bridge)), (3000 + 2, before), "the types of the two maps have a colon too");
        let first = listing(&bridge);
        bridge.reassert().unwrap();
        assert_eq!(listing(&bridge), first);
        bridge.disconnect(&endpoint).unwrap();
        assert!(!listing(&bridge).contains("elements"));
    });
}

#[test]
fn other_tables_are_left_alone() {
    on_a_host(|| {
        sh(
            "nft add table ip theirs; nft add chain ip theirs c '{ type filter hook forward priority 5; policy drop; }'",
        );
        let before = sh("nft list table ip theirs");
        let bridge = bridge("a");
        let c = try_container(&bridge, 1, &[("80/tcp", "", "8080")]).unwrap();
        bridge.reassert().unwrap();
        bridge.disconnect(&c.endpoint).unwrap();
        bridge.remove().unwrap();
        assert_eq!(sh("nft list ruleset"), before);
        assert_eq!(sh("ip -o link show type bridge"), "");
    });
}
