//! Bridges, namespaces and endpoints from making to clearing away, restarts and failures in between.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
use common::*;
use dhow_net::{
    Bridge, BridgeConfig, Connect, Endpoint, Mac, NetnsSlot, PRESET_SYSCTLS, Pool, PoolConfig, loopback_netns,
};
use dhow_types::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn a_container_has_what_docker_gives_it() {
    on_a_host(|| {
        let bridge = bridge("a");
        assert_eq!((bridge.name(), bridge.subnet().to_string().as_str()), ("dhow0", "172.17.0.0/16"));
        assert_eq!(bridge.warnings(), &[] as &[String]);
        let c = try_container(&bridge, 1, &[]).unwrap();
        let Endpoint { ip, gateway, mac, .. } = &c.endpoint;
        assert_eq!((ip.to_string().as_str(), gateway.to_string().as_str()), ("172.17.0.2", "172.17.0.1"));
        within(c.netns.fd(), || {
            let eth0 = sh("ip addr show eth0");
            assert!(eth0.contains("172.17.0.2/16 brd 172.17.255.255") && eth0.contains("mtu 1500"), "{eth0}");
            assert!(eth0.contains(&mac.to_string()) && !eth0.contains("inet6"), "IPv6 off means off: {eth0}");
            assert!(sh("ip route").starts_with("default via 172.17.0.1 dev eth0"));
            assert!(sh("ip addr show lo").contains("127.0.0.1/8"));
            for (name, value) in PRESET_SYSCTLS {
                let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap();
                assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), value, "{name}");
            }
        });
        assert!(sh("ip addr show dhow0").contains("172.17.0.1/16"));
        assert!(!sh("ip -6 addr").contains("scope link"), "neither the bridge nor its ports speak IPv6");
        assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/dhow0/accept_ra"), "1\n0\n");
        assert_eq!(
            sh("cat /proc/sys/net/ipv4/conf/dhow0/route_localnet /proc/sys/net/ipv4/conf/all/route_localnet"),
            "1\n0\n"
        );
    });
}

#[test]
fn subnets_that_are_routed_already_are_not_taken() {
    on_a_host(|| {
        sh(
            "ip link add vpn type bridge; ip addr add 172.17.4.1/24 dev vpn; ip link set vpn up; ip route add 172.18.0.0/15 dev vpn table 77",
        );
        assert_eq!(bridge("a").subnet().to_string(), "172.20.0.0/16");
        let taken = BridgeConfig { subnet: Some("172.17.0.0/16".parse().unwrap()), ..BridgeConfig::new("b") };
        let e = Bridge::ensure(taken).err().unwrap();
        assert!(
            e.kind() == ErrorKind::Conflict && e.text().contains("172.17.4.") && e.text().contains("choose another"),
            "{e}"
        );
        for (name, kind) in [
            ("vpn", ErrorKind::Conflict),
            ("a/b", ErrorKind::InvalidParameter),
            ("sixteen-letters-", ErrorKind::InvalidParameter),
        ] {
            let e = Bridge::ensure(BridgeConfig { name: Some(name.into()), ..BridgeConfig::new("c") }).err().unwrap();
            assert!(e.kind() == kind && e.text().contains(name), "{e}");
        }
    });
}

#[test]
fn a_failed_connect_leaves_nothing() {
    on_a_host(|| {
        let bridge = bridge("a");
        let _foreign = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();
        let before = sh("nft -s list ruleset");
        let e = try_container(&bridge, 1, &[("80/tcp", "", "7070"), ("80/tcp", "", "8080")]).err().unwrap();
        let said = "failed to bind host port 0.0.0.0:8080/tcp: address already in use: by lifecycle";
        assert!(e.text().starts_with(said) && e.text().contains("(process "), "{e}");
        assert_eq!(sh("nft -s list ruleset"), before);
        drop(std::net::TcpListener::bind("0.0.0.0:7070").expect("its first port is free again"));
        eventually("the pair goes with its namespace", || pairs().is_empty());
    });
}

#[test]
fn chosen_addresses() {
    on_a_host(|| {
        let bridge = bridge("a");
        let mac: Mac = "02:00:00:00:00:99".parse().unwrap();
        let ip = Ipv4Addr::new(172, 17, 3, 4);
        // A bridge without a port has no carrier, and when the kernel comes to that it forgets its neighbours.
        let _port = try_container(&bridge, 9, &[]).unwrap();
        eventually("a carrier", || sh("ip -br link show dhow0").contains(" UP "));
        // The host remembers another Ethernet address for it; the announcement must correct that at once.
        sh("echo 0 > /proc/sys/net/ipv4/neigh/dhow0/locktime");
        sh(&format!("ip neigh replace {ip} lladdr 02:00:00:00:00:11 dev dhow0 nud stale"));
        let connect = |n, ip| {
            let (mut netns, container) = (NetnsSlot::new().unwrap(), id(n));
            let request = Connect { container: &container, netns: &mut netns, ports: &[], mac: Some(mac), ip };
            bridge.connect(request).map(|endpoint| Box_ { netns, endpoint })
        };
        let c = connect(1, Some(ip)).unwrap();
        assert_eq!((c.endpoint.ip, c.endpoint.mac), (ip, mac));
        assert!(within(c.netns.fd(), || sh("ip link show eth0")).contains("02:00:00:00:00:99"));
        eventually("the gratuitous ARP", || sh(&format!("ip neigh show {ip}")).contains("02:00:00:00:00:99"));
        let e = connect(2, Some(ip)).err().unwrap();
        assert_eq!((e.kind(), e.text()), (ErrorKind::Conflict, "Address already in use: 172.17.3.4"));
        for outside in [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(172, 17, 0, 0), Ipv4Addr::new(172, 17, 255, 255)] {
            assert_eq!(connect(3, Some(outside)).err().unwrap().kind(), ErrorKind::InvalidParameter);
        }
    });
}

#[test]
fn disconnecting_twice_or_late_harms_nobody() {
    on_a_host(|| {
        let config = BridgeConfig { subnet: Some("10.5.0.0/29".parse().unwrap()), ..BridgeConfig::new("a") };
        let bridge = Bridge::ensure(config).unwrap();
        let first = try_container(&bridge, 1, &[("80/tcp", "", "8080")]).unwrap();
        bridge.disconnect(&first.endpoint).unwrap();
        bridge.disconnect(&first.endpoint).unwrap();
        // Five addresses: the sixth container gets the first one's, and a late repetition must not take it away.
        let others: Vec<_> = (2..7).map(|n| try_container(&bridge, n, &[]).unwrap()).collect();
        assert_eq!(others[4].endpoint.ip, first.endpoint.ip);
        assert_eq!(try_container(&bridge, 8, &[]).err().unwrap().kind(), ErrorKind::Exhausted);
        bridge.disconnect(&first.endpoint).unwrap();
        assert_eq!(try_container(&bridge, 8, &[]).err().unwrap().kind(), ErrorKind::Exhausted);
        let elsewhere = Endpoint { bridge: "dhow7".into(), ..first.endpoint };
        bridge.disconnect(&elsewhere).expect("of a bridge that is gone nothing is left to free");
        assert_eq!(bridge.adopt(&elsewhere).unwrap_err().kind(), ErrorKind::Conflict);
    });
}

#[test]
fn a_pair_that_somebody_holds_is_taken_away() {
    on_a_host(|| {
        let bridge = bridge("a");
        let _pool = Pool::start(&bridge, PoolConfig { target: 0, ..PoolConfig::default() }).unwrap();
        let c = try_container(&bridge, 1, &[]).unwrap();
        assert_eq!(pairs(), std::slice::from_ref(&c.endpoint.host_ifname));
        bridge.disconnect(&c.endpoint).unwrap();
        eventually("the pair is removed although its namespace lives", || pairs().is_empty());
        assert!(!within(c.netns.fd(), || sh("ip link")).contains("eth0"));
    });
}

#[test]
fn endpoints_survive_the_daemon() {
    on_a_host(|| {
        let lan = neighbour();
        let first = bridge("a");
        let web = container(&first, 1, &[("80/tcp", "", "8080"), ("80/udp", "127.0.0.1", "53")]);
        let gone = container(&first, 2, &[("80/tcp", "", "9090")]);
        let stored = serde_json::to_string(&web.endpoint).unwrap();
        let (name, subnet) = (first.name().to_owned(), first.subnet());
        drop(first);
        assert!(within(lan.fd(), || tcp(HOST, 8080)).is_some(), "without a daemon");

        let second = bridge("a");
        assert_eq!((second.name(), second.subnet()), (name.as_str(), subnet));
        assert!(within(lan.fd(), || tcp(HOST, 8080)).is_some(), "while the daemon comes back");
        let endpoint: Endpoint = serde_json::from_str(&stored).unwrap();
        assert_eq!(endpoint, web.endpoint);
        second.adopt(&endpoint).unwrap();
        second.adopt(&endpoint).unwrap();
        second.reassert().unwrap();
        assert!(within(lan.fd(), || tcp(HOST, 8080)).is_some() && udp(Ipv4Addr::LOCALHOST, 53).is_some());
        assert_eq!(within(lan.fd(), || tcp(HOST, 9090)), None, "what was not adopted is no longer published");
        let e = try_container(&second, 3, &[("80/tcp", "", "8080")]).err().unwrap();
        assert_eq!(e.text(), "Bind for 0.0.0.0:8080 failed: port is already allocated: by container 010101010101");
        assert_eq!(
            second.adopt(&Endpoint { container: id(9), ..endpoint.clone() }).unwrap_err().kind(),
            ErrorKind::Conflict
        );
        drop(gone);
        second.disconnect(&endpoint).unwrap();
        assert_eq!(within(lan.fd(), || tcp(HOST, 8080)), None);
        drop(second);
        // A flushed firewall is restored by the first connect of the next daemon, too.
        sh("nft flush ruleset");
        let third = bridge("a");
        third.adopt(&endpoint).unwrap();
        let _other = try_container(&third, 4, &[]).unwrap();
        assert!(within(lan.fd(), || tcp(HOST, 8080)).is_some());
    });
}

#[test]
fn the_pool_prepares_refills_and_clears_away() {
    on_a_host(|| {
        let bridge = bridge("a");
        let pool = Pool::start(&bridge, PoolConfig { target: 3, settle: Duration::from_millis(1) }).unwrap();
        pool.fill();
        eventually("the pool is filled", || pool.ready() == 3);
        assert_eq!(pairs().len(), 3);
        let mut boxes = Vec::new();
        // More than it holds: the rest is made on the spot.
        for n in 1..=8 {
            let (mut netns, container) = (pool.take().unwrap(), id(n));
            let request = Connect { container: &container, netns: &mut netns, ports: &[], mac: None, ip: None };
            let endpoint = bridge.connect(request).unwrap();
            boxes.push(Box_ { netns, endpoint });
        }
        let mut ips: Vec<_> = boxes.iter().map(|b| b.endpoint.ip).collect();
        ips.sort();
        ips.dedup();
        assert_eq!(ips.len(), 8);
        serve(Some(boxes[0].netns.fd()), Ipv4Addr::UNSPECIFIED, 80);
        assert!(within(boxes[7].netns.fd(), || tcp(boxes[0].endpoint.ip, 80)).is_some());
        eventually("the pool is refilled", || pool.ready() == 3);
        // A prepared namespace serves a chosen address as well.
        let (mut netns, container, ip) = (pool.take().unwrap(), id(20), Ipv4Addr::new(172, 17, 9, 9));
        let request = Connect { container: &container, netns: &mut netns, ports: &[], mac: None, ip: Some(ip) };
        assert_eq!(bridge.connect(request).unwrap().ip, ip);
        assert!(within(netns.fd(), || sh("ip addr show eth0")).contains("172.17.9.9/16"));
        eventually("the pool is refilled", || pool.ready() == 3);
        assert_eq!(pool.take_failure(), None);
        drop(pool);
        let held = boxes.len() + 1;
        eventually("what nobody took goes with the pool", || pairs().len() <= held);
        assert_eq!(pairs().len(), held);
    });
}

#[test]
fn a_pool_prepares_nothing_while_endpoints_are_adopted() {
    on_a_host(|| {
        let first = bridge("a");
        let old = container(&first, 1, &[("80/tcp", "", "8080")]);
        let ended = container(&first, 2, &[("80/tcp", "", "9090")]);
        drop(first);
        let second = bridge("a");
        let pool = Pool::start(&second, PoolConfig { target: 2, settle: Duration::ZERO }).unwrap();
        // A container that ended while no daemon ran is only disconnected: its port goes, the other's stays.
        second.disconnect(&ended.endpoint).unwrap();
        second.disconnect(&ended.endpoint).unwrap();
        let elements = sh("nft list map ip dhow-dhow0 ports");
        assert!(elements.contains("tcp . 8080") && !elements.contains("9090"), "{elements}");
        assert_eq!(tcp(Ipv4Addr::LOCALHOST, 9090), None);
        assert!(tcp(Ipv4Addr::LOCALHOST, 8080).is_some(), "before it is adopted, too");
        second.adopt(&old.endpoint).unwrap();
        // The second repair shows that the thread has gone round once since the first.
        for _ in 0..2 {
            sh("nft flush ruleset");
            eventually("the table is back", || sh("nft list ruleset").contains("8080"));
        }
        assert_eq!((pool.ready(), pairs().len()), (0, 2));
        pool.fill();
        eventually("the pool is filled", || pool.ready() == 2);
        let netns = pool.take().unwrap();
        assert!(!within(netns.fd(), || sh("ip addr show eth0")).contains(&format!("{}/", old.endpoint.ip)));
        assert!(tcp(Ipv4Addr::LOCALHOST, 8080).is_some());
    });
}

#[test]
fn a_pool_without_addresses_says_so_and_recovers() {
    on_a_host(|| {
        let config = BridgeConfig { subnet: Some("10.5.0.0/30".parse().unwrap()), ..BridgeConfig::new("a") };
        let bridge = Bridge::ensure(config).unwrap();
        let only = try_container(&bridge, 1, &[]).unwrap();
        let pool = Pool::start(&bridge, PoolConfig { target: 1, settle: Duration::ZERO }).unwrap();
        pool.fill();
        let mut failure = None;
        eventually("the failure is noted", || {
            failure = failure.take().or_else(|| pool.take_failure());
            failure.is_some()
        });
        assert!(failure.unwrap().text().contains("no free address in 10.5.0.0/30"));
        assert_eq!(pool.take().err().unwrap().kind(), ErrorKind::Exhausted);
        bridge.disconnect(&only.endpoint).unwrap();
        eventually("the pool is filled", || pool.ready() == 1);
    });
}

#[test]
fn network_none_has_loopback_only() {
    on_a_host(|| {
        let netns = loopback_netns().unwrap();
        within(netns.as_fd(), || {
            let links = sh("ip -o link show up");
            assert!(links.lines().count() == 1 && links.contains(" lo:"), "{links}");
            assert_eq!(sh("ip route"), "");
            assert!(std::net::TcpListener::bind("127.0.0.1:80").is_ok());
        });
    });
}
