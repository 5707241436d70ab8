//! Who reaches whom through published ports and across bridges, by real packets between namespaces. Every probe that
//! must fail has a lawful twin, and, where a rule is what stops it, a proof that without the rule it would succeed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use dhow_net::{Bridge, BridgeConfig, Pool, PoolConfig};
use std::net::{Ipv4Addr, UdpSocket};

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn said(ip: impl ToString) -> Option<String> {
    Some(ip.to_string())
}

/// Whether frames within a bridge pass the IP firewall (br_netfilter). Kernels without the module can't.
fn set_bridge_netfilter(on: bool) {
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if std::path::Path::new(path).exists() {
        std::fs::write(path, if on { "1" } else { "0" }).unwrap();
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_sources_are_kept() {
    published_port(true);
    published_port(false);
}

fn published_port(bridge_netfilter: bool) {
    on_a_host(move || {
        set_bridge_netfilter(bridge_netfilter);
        let (bridge, lan) = (bridge("a"), neighbour());
        let gateway = bridge.gateway();
        let web = container(&bridge, 1, &[("80/tcp", "", "8080"), ("80/udp", "", "8080")]);
        let other = container(&bridge, 2, &[]);
        for ask in [tcp, udp] {
            assert_eq!(within(lan.fd(), || ask(HOST, 8080)), said(NEIGHBOUR), "a neighbour keeps its source");
            assert_eq!(
                ask(LOCAL, 8080),
                said(gateway),
                "a loopback source can't be answered, so the bridge's stands in"
            );
            assert_eq!(ask(HOST, 8080), said(HOST), "the host keeps its source");
            assert_eq!(within(other.netns.fd(), || ask(HOST, 8080)), said(gateway), "another container");
            assert_eq!(within(web.netns.fd(), || ask(HOST, 8080)), said(gateway), "the container itself");
            assert_eq!(ask(web.endpoint.ip, 80), said(gateway), "the host, directly");
            assert_eq!(ask(LOCAL, 8081), None, "a port not published");
        }
        bridge.disconnect(&web.endpoint).unwrap();
        assert_eq!((tcp(LOCAL, 8080), udp(LOCAL, 8080), within(lan.fd(), || tcp(HOST, 8080))), (None, None, None));
    });
}

#[test]
fn containers_reach_out_with_the_host_s_address() {
    on_a_host(|| {
        let (bridge, lan) = (bridge("a"), neighbour());
        serve(Some(lan.fd()), NEIGHBOUR, 7000);
        let c = container(&bridge, 1, &[]);
        assert_eq!(within(c.netns.fd(), || (tcp(NEIGHBOUR, 7000), udp(NEIGHBOUR, 7000))), (said(HOST), said(HOST)));
    });
}

#[test]
fn a_particular_host_address_is_just_that() {
    on_a_host(|| {
        let (bridge, lan) = (bridge("a"), neighbour());
        let _web = container(&bridge, 1, &[("80/tcp", "10.99.0.1", "8080")]);
        assert_eq!(within(lan.fd(), || tcp(HOST, 8080)), said(NEIGHBOUR));
        assert_eq!(tcp(HOST, 8080), said(HOST));
        assert_eq!(tcp(LOCAL, 8080), None);
        // The same port on another address is another port.
        let other = container(&bridge, 2, &[("80/tcp", "127.0.0.1", "8080")]);
        assert_eq!(tcp(LOCAL, 8080), said(bridge.gateway()));
        bridge.disconnect(&other.endpoint).unwrap();
        assert_eq!((tcp(LOCAL, 8080), tcp(HOST, 8080)), (None, said(HOST)));
    });
}

#[test]
fn a_loopback_published_port_stays_on_the_host() {
    on_a_host(|| {
        let (bridge, lan) = (bridge("a"), neighbour());
        let web = container(&bridge, 1, &[("80/tcp", "127.0.0.1", "9090"), ("80/udp", "127.0.0.1", "9090")]);
        let stranger = container(&bridge, 2, &[]);
        within(lan.fd(), || send_loopback_outside(HOST));
        within(stranger.netns.fd(), || send_loopback_outside(bridge.gateway()));
        for ask in [tcp, udp] {
            assert_eq!(ask(LOCAL, 9090), said(bridge.gateway()), "the lawful twin");
            assert_eq!(within(lan.fd(), || ask(HOST, 9090)), None, "the host's address");
            assert_eq!(within(lan.fd(), || ask(LOCAL, 9090)), None, "127.0.0.1 from the segment");
            assert_eq!(within(stranger.netns.fd(), || ask(LOCAL, 9090)), None, "127.0.0.1 from a container");
            assert_eq!(within(lan.fd(), || ask(web.endpoint.ip, 80)), None, "the container's own address");
        }
        sh(&format!("nft flush chain ip dhow-{} raw_prerouting", bridge.name()));
        assert_eq!(within(lan.fd(), || tcp(LOCAL, 9090)), said(NEIGHBOUR), "the rule is what stopped it");
        sh(&format!("nft flush chain ip dhow-{} forward", bridge.name()));
        assert_eq!(within(lan.fd(), || tcp(web.endpoint.ip, 80)), said(NEIGHBOUR), "the rule is what stopped it");
    });
}

#[test]
fn services_on_the_host_s_loopback_are_closed_to_containers() {
    on_a_host(|| {
        let bridge = bridge("a");
        serve(None, LOCAL, 5432);
        let c = container(&bridge, 1, &[]);
        within(c.netns.fd(), || send_loopback_outside(bridge.gateway()));
        assert_eq!(tcp(LOCAL, 5432), said(LOCAL), "the lawful twin");
        assert_eq!(within(c.netns.fd(), || (tcp(LOCAL, 5432), udp(LOCAL, 5432))), (None, None));
        sh(&format!("nft flush chain ip dhow-{} raw_prerouting", bridge.name()));
        assert!(within(c.netns.fd(), || tcp(LOCAL, 5432)).is_some(), "the rule is what stopped it");
    });
}

#[test]
fn bridges_are_closed_to_each_other_except_through_published_ports() {
    on_a_host(|| {
        let (one, two) = (bridge("one"), bridge("two"));
        assert_ne!((one.name(), one.subnet()), (two.name(), two.subnet()), "two daemons never share a bridge");
        let _lan = neighbour();
        let a = container(&one, 1, &[]);
        let b = container(&two, 2, &[("80/tcp", "", "8080")]);
        let a2 = container(&one, 3, &[]);
        assert_eq!(within(a.netns.fd(), || tcp(a2.endpoint.ip, 80)), said(a.endpoint.ip), "the lawful twin");
        assert_eq!(within(a.netns.fd(), || (tcp(b.endpoint.ip, 80), udp(b.endpoint.ip, 80))), (None, None));
        assert_eq!(within(b.netns.fd(), || (tcp(a.endpoint.ip, 80), udp(a.endpoint.ip, 80))), (None, None));
        assert!(within(a.netns.fd(), || tcp(HOST, 8080)).is_some(), "published is published");
        sh(&format!("nft flush chain ip dhow-{} forward", two.name()));
        assert!(within(a.netns.fd(), || tcp(b.endpoint.ip, 80)).is_some(), "the rule is what stopped it");
    });
}

#[test]
fn without_icc_containers_reach_only_what_is_published() {
    on_a_host(|| {
        set_bridge_netfilter(false);
        let bridge = Bridge::ensure(BridgeConfig { icc: false, ..BridgeConfig::new("a") }).unwrap();
        let lan = neighbour();
        serve(Some(lan.fd()), NEIGHBOUR, 7000);
        let a = container(&bridge, 1, &[]);
        let b = container(&bridge, 2, &[("80/tcp", "", "8080")]);
        assert_eq!(within(a.netns.fd(), || (tcp(b.endpoint.ip, 80), udp(b.endpoint.ip, 80))), (None, None));
        // Not over the gateway either.
        within(a.netns.fd(), || sh(&format!("ip route add {} via {}", b.endpoint.ip, bridge.gateway())));
        assert_eq!(within(a.netns.fd(), || tcp(b.endpoint.ip, 80)), None);
        assert_eq!(within(a.netns.fd(), || tcp(HOST, 8080)), said(bridge.gateway()));
        assert_eq!(within(a.netns.fd(), || tcp(NEIGHBOUR, 7000)), said(HOST));
        set_bridge_netfilter(true);
        assert_eq!(within(a.netns.fd(), || tcp(b.endpoint.ip, 80)), None, "whatever the host does with bridges");
    });
}

#[test]
fn hardened_blocks_cloud_metadata_and_forged_sources() {
    on_a_host(|| {
        let (plain, hard) = (bridge("a"), BridgeConfig { hardened: true, ..BridgeConfig::new("b") });
        let hard = Bridge::ensure(hard).unwrap();
        let lan = neighbour();
        let metadata = Ipv4Addr::new(169, 254, 169, 254);
        within(lan.fd(), || sh(&format!("ip addr add {metadata}/32 dev eth0")));
        sh(&format!("ip route add {metadata}/32 via {NEIGHBOUR}"));
        serve(Some(lan.fd()), Ipv4Addr::UNSPECIFIED, 7000);
        let forged = Ipv4Addr::new(10, 99, 0, 77);
        for (bridge, n, open) in [(&plain, 1, true), (&hard, 2, false)] {
            let c = container(bridge, n, &[]);
            assert_eq!(within(c.netns.fd(), || tcp(metadata, 7000)).is_some(), open, "{}", bridge.name());
            assert_eq!(within(c.netns.fd(), || tcp(NEIGHBOUR, 7000)), said(HOST), "the lawful twin");
            // A datagram with a source that is not the container's: it arrives, or not.
            let sink = within(lan.fd(), || UdpSocket::bind((NEIGHBOUR, 7100 + u16::from(n))).unwrap());
            sink.set_read_timeout(Some(PROBE)).unwrap();
            sh(&format!("ip route add {forged}/32 dev {}", bridge.name()));
            within(c.netns.fd(), || {
                sh(&format!("ip addr add {forged}/32 dev eth0"));
                let socket = UdpSocket::bind((forged, 0)).unwrap();
                socket.send_to(b"x", (NEIGHBOUR, 7100 + u16::from(n))).unwrap();
            });
            assert_eq!(sink.recv_from(&mut [0; 8]).is_ok(), open, "{}", bridge.name());
            sh(&format!("ip route del {forged}/32 dev {}", bridge.name()));
        }
    });
}

#[test]
fn hardened_ends_spoofing_between_containers() {
    on_a_host(|| {
        let hard = Bridge::ensure(BridgeConfig { hardened: true, ..BridgeConfig::new("b") }).unwrap();
        for (bridge, open) in [(bridge("a"), true), (hard, false)] {
            let (evil, victim) = (container(&bridge, 1, &[]), container(&bridge, 2, &[]));
            let (gateway, ip) = (bridge.gateway(), victim.endpoint.ip);
            serve(None, gateway, 7000);
            sh(&format!("echo 0 > /proc/sys/net/ipv4/neigh/{}/locktime", bridge.name()));
            let known = || sh(&format!("ip neigh show {ip}"));
            for c in [&evil, &victim] {
                assert_eq!(within(c.netns.fd(), || tcp(gateway, 7000)), said(c.endpoint.ip), "the lawful twin");
            }
            assert_eq!(within(evil.netns.fd(), || tcp(ip, 80)), said(evil.endpoint.ip), "the lawful twin");
            // It claims the victim's address by a gratuitous ARP, and in packets.
            within(evil.netns.fd(), || {
                sh(&format!("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify; ip addr add {ip}/32 dev eth0"));
                sh(&format!("ip link set eth0 address {}", evil.endpoint.mac));
                // Finds the gateway's Ethernet address under its own name, before packets under the other wait for that.
                assert_eq!(tcp(gateway, 7000), said(evil.endpoint.ip), "the lawful twin");
                let socket = UdpSocket::bind((ip, 0)).unwrap();
                socket.send_to(b"x", (gateway, 7000)).unwrap();
                assert_eq!(tcp(gateway, 7000), said(evil.endpoint.ip), "what was sent before has been seen");
            });
            let (evil_mac, mac) = (evil.endpoint.mac.to_string(), victim.endpoint.mac.to_string());
            assert_eq!((known().contains(&evil_mac), known().contains(&mac)), (open, !open), "{}", bridge.name());
            // It takes another Ethernet address.
            within(evil.netns.fd(), || sh("ip link set eth0 address 02:00:00:00:00:66"));
            assert_eq!(within(evil.netns.fd(), || tcp(gateway, 7000)).is_some(), open, "{}", bridge.name());
            bridge.disconnect(&evil.endpoint).unwrap();
            if !open {
                assert_eq!(within(victim.netns.fd(), || tcp(gateway, 7000)), said(ip), "the victim noticed nothing");
            }
        }
    });
}

#[test]
fn udp_flows_follow_the_publishing() {
    on_a_host(|| {
        let (bridge, lan) = (bridge("a"), neighbour());
        let first = container(&bridge, 1, &[("80/udp", "", "5300")]);
        let client = within(lan.fd(), || UdpSocket::bind("0.0.0.0:0").unwrap());
        client.set_read_timeout(Some(PROBE)).unwrap();
        client.connect((HOST, 5300)).unwrap();
        let ask = || client.send(b"?").and_then(|_| client.recv(&mut [0; 32])).is_ok();
        assert!(ask());
        bridge.disconnect(&first.endpoint).unwrap();
        assert!(!ask(), "the flow ended with the publishing");
        // The same client socket, whose flow to the host itself is now the remembered one, must find the successor.
        let _ = client.send(b"?");
        let second = container(&bridge, 2, &[("80/udp", "", "5300")]);
        assert!(ask() || ask(), "a refusal that was still queued may be read first");
        bridge.disconnect(&second.endpoint).unwrap();
    });
}

#[test]
fn the_firewall_comes_back_when_somebody_flushes_it() {
    on_a_host(|| {
        let (bridge, lan) = (bridge("a"), neighbour());
        let pool = Pool::start(&bridge, PoolConfig { target: 1, ..PoolConfig::default() }).unwrap();
        let _web = container(&bridge, 1, &[("80/tcp", "", "8080")]);
        let local = container(&bridge, 2, &[("80/tcp", "127.0.0.1", "9090")]);
        within(lan.fd(), || send_loopback_outside(HOST));
        let table = format!("ip dhow-{}", bridge.name());
        let before = sh(&format!("nft -s list table {table}"));
        for damage in [
            "nft flush ruleset".to_owned(),
            format!("nft delete table {table}"),
            format!("nft flush chain {table} raw_prerouting"),
            format!("nft flush map {table} ports"),
        ] {
            sh(&damage);
            eventually(&damage, || sh("nft -s list ruleset").trim() == before.trim());
            assert_eq!(within(lan.fd(), || tcp(HOST, 8080)), said(NEIGHBOUR), "{damage}");
            assert_eq!(tcp(LOCAL, 9090), said(bridge.gateway()), "{damage}");
            assert_eq!(within(lan.fd(), || tcp(LOCAL, 9090)), None, "{damage}");
            assert_eq!(within(lan.fd(), || tcp(local.endpoint.ip, 80)), None, "{damage}");
        }
        assert_eq!(pool.take_failure(), None);
        // Without the thread, the next change repairs it.
        drop(pool);
        sh("nft flush ruleset");
        let _third = container(&bridge, 3, &[("80/tcp", "", "8082")]);
        assert_eq!((tcp(LOCAL, 8080), tcp(LOCAL, 8082)), (said(bridge.gateway()), said(bridge.gateway())));
    });
}
