//! A small world for network tests: a "host" that is a namespace of its own, a neighbour on its segment, containers,
//! and probes. Needs root, and the programs `ip` and `nft`.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use dhow_net::{Bridge, BridgeConfig, Connect, Endpoint, NetnsSlot, PortBinding};
use dhow_types::ContainerId;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long an answer is waited for. Packets between namespaces need microseconds; a lost ARP request, on a machine
/// that does much else, is repeated after a second.
pub const PROBE: Duration = Duration::from_millis(1200);
/// How long something that must come is waited for.
const DEADLINE: Duration = Duration::from_secs(10);

pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// Runs `test` on a thread that is the host: a fresh namespace with `lo`.
pub fn on_a_host(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        dhow_sys::netns::unshare_net().expect("tests need root");
        sh("ip link set lo up");
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command line in the calling thread's namespace; it must succeed.
pub fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Runs `work` on a thread in another namespace.
pub fn within<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A container: its namespace and its endpoint.
pub struct Box_ {
    pub netns: NetnsSlot,
    pub endpoint: Endpoint,
}

pub fn id(n: u8) -> ContainerId {
    ContainerId::from_raw([n; 32])
}

pub fn bridge(owner: &str) -> Bridge {
    Bridge::ensure(BridgeConfig::new(owner)).unwrap()
}

/// `("80/tcp", "127.0.0.1", "8080")` and so on.
pub fn ports(list: &[(&str, &str, &str)]) -> Vec<PortBinding> {
    list.iter().map(|(c, ip, h)| PortBinding::parse(c, ip, h).unwrap()).collect()
}

pub fn try_container(bridge: &Bridge, n: u8, publish: &[(&str, &str, &str)]) -> dhow_types::Result<Box_> {
    let mut netns = NetnsSlot::new()?;
    let (container, ports) = (id(n), ports(publish));
    let request = Connect { container: &container, netns: &mut netns, ports: &ports, mac: None, ip: None };
    let endpoint = bridge.connect(request)?;
    Ok(Box_ { netns, endpoint })
}

/// A connected container that answers on TCP and UDP port 80 with the address it was asked from.
pub fn container(bridge: &Bridge, n: u8, publish: &[(&str, &str, &str)]) -> Box_ {
    let made = try_container(bridge, n, publish).unwrap();
    serve(Some(made.netns.fd()), Ipv4Addr::UNSPECIFIED, 80);
    made
}

/// A neighbour at [`NEIGHBOUR`] on a segment with the host, which has [`HOST`] there.
pub fn neighbour() -> NetnsSlot {
    let netns = NetnsSlot::new().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), netns.fd().as_raw_fd());
    sh(&format!("ip link add lan0 type veth peer name eth0 netns {path}"));
    sh(&format!("ip addr add {HOST}/24 dev lan0; ip link set lan0 up"));
    within(netns.fd(), || {
        sh(&format!("ip addr add {NEIGHBOUR}/24 dev eth0; ip link set eth0 up; ip route add default via {HOST}"))
    });
    netns
}

/// Makes the calling thread's namespace one that sends packets to 127.0.0.1 out of `eth0` to `via`, as an attacker would.
pub fn send_loopback_outside(via: Ipv4Addr) {
    sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip link set lo down; ip addr flush dev lo");
    sh(&format!("ip route add 127.0.0.1/32 via {via} dev eth0"));
}

/// Answers on TCP and UDP with the asker's address, until the test process ends.
pub fn serve(netns: Option<BorrowedFd<'_>>, ip: Ipv4Addr, port: u16) {
    let netns = netns.map(|n| n.try_clone_to_owned().unwrap());
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        if let Some(netns) = netns {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        }
        let tcp = TcpListener::bind((ip, port)).unwrap();
        let udp = UdpSocket::bind((ip, port)).unwrap();
        ready.send(()).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 16];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(from.ip().to_string().as_bytes(), from);
            }
        });
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip().to_string();
            let _ = stream.write_all(from.as_bytes());
        }
    });
    is_ready.recv().unwrap();
}

/// What the server at `ip:port` says over TCP: the address it sees.
pub fn tcp(ip: Ipv4Addr, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), PROBE).ok()?;
    stream.set_read_timeout(Some(PROBE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

/// The same over UDP.
pub fn udp(ip: Ipv4Addr, port: u16) -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PROBE)).unwrap();
    socket.send_to(b"?", (ip, port)).ok()?;
    let mut buffer = [0u8; 64];
    let length = socket.recv(&mut buffer).ok()?;
    String::from_utf8(buffer[..length].to_vec()).ok()
}

/// The names of the host ends of pairs in the calling thread's namespace.
pub fn pairs() -> Vec<String> {
    let text = sh("ip -o link show type veth");
    let names = text.lines().filter_map(|l| l.split(": ").nth(1)).filter_map(|n| n.split('@').next());
    names.filter(|n| n.len() == 12).map(str::to_owned).collect()
}
