//! Which program of the machine holds a port at an address, for the words of an error. Bounded, and only looked for when a port could
//! not be had; that it is not found is no failure.

use crate::model::{BoundPort, Protocol};
use std::io::Read;
use std::net::Ipv4Addr;

/// Descriptors that are looked at, of all processes together.
const MAX_DESCRIPTORS: usize = 65_536;
/// Largest list of sockets that is read.
const MAX_LIST: u64 = 16 << 20;

/// `nginx (process 812)`.
pub(crate) fn of(port: &BoundPort) -> Option<String> {
    let lists = match port.protocol {
        Protocol::Tcp => ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"],
        Protocol::Udp => ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"],
    };
    let inodes = sockets(&lists.map(|list| read(list).unwrap_or_default()), port);
    if inodes.is_empty() {
        return None;
    }
    let mut left = MAX_DESCRIPTORS;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(fds) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        for fd in fds.flatten() {
            left = left.checked_sub(1)?;
            let link = std::fs::read_link(fd.path()).ok();
            let inode =
                link.as_ref().and_then(|l| l.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if inode.is_some_and(|inode| inodes.contains(&inode)) {
                let name = read(&format!("/proc/{pid}/comm")).unwrap_or_default();
                return Some(format!("{} (process {pid})", name.trim_end()));
            }
        }
    }
    None
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_LIST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// How likely it is that a socket is what stands in the way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It has the address, and waits for clients (UDP: packets).
    Waits,
    /// It waits on all addresses of IPv6, which as a rule are those of IPv4 too; which of them does not is not told.
    WaitsOnSix,
    /// A connection from the port.
    Connected,
}

/// The inodes of the sockets that are bound to the port at this address, or at all; only those of the highest rank.
fn sockets(lists: &[String], port: &BoundPort) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (*words.get(1)?, *words.get(3)?, words.get(9)?.parse::<u64>().ok()?);
        let (address, number) = local.rsplit_once(':')?;
        let bound = address_of(address)?;
        let collides = match bound {
            Bound::To(ip) => ip == port.host_ip || ip.is_unspecified() || port.host_ip.is_unspecified(),
            Bound::ToAllOfSix => true,
        };
        let holds = u16::from_str_radix(number, 16).ok()? == port.host_port && collides && inode != 0;
        let rank = match bound {
            _ if port.protocol == Protocol::Tcp && state != LISTEN => Rank::Connected,
            Bound::To(_) => Rank::Waits,
            Bound::ToAllOfSix => Rank::WaitsOnSix,
        };
        holds.then_some((rank, inode))
    };
    let found: Vec<(Rank, u64)> = lists.iter().flat_map(|list| list.lines().skip(1)).filter_map(row).collect();
    let best = found.iter().map(|(rank, _)| *rank).min();
    found.iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, inode)| *inode).collect()
}

/// What a socket is bound to, if that can be in the way of an IPv4 address.
enum Bound {
    To(Ipv4Addr),
    ToAllOfSix,
}

/// An address as the kernel prints it: each four bytes as one number in the machine's order.
fn address_of(text: &str) -> Option<Bound> {
    let number = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok();
    let four = |at: usize| Some(Ipv4Addr::from(number(at)?.to_ne_bytes()));
    if text.len() == 8 {
        return Some(Bound::To(four(0)?));
    }
    // ::ffff:a.b.c.d is an IPv4 address; other addresses of IPv6 are in nobody's way.
    match [number(0)?, number(8)?, number(16)?, number(24)?] {
        [0, 0, 0, 0] => Some(Bound::ToAllOfSix),
        [0, 0, mapped, _] if mapped.to_ne_bytes() == [0, 0, 0xff, 0xff] => Some(Bound::To(four(24)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n\
        1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100\n\
        2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0 100\n\
        3: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 80 1 0 100\n\
        4: 0100007F:0051 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 81 1 0 100\n\
        5: 0100007F:0052 0100007F:9999 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0 100\n";
    const SIX: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 90 1\n\
        1: 00000000000000000000000000000000:0053 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 91 1\n\
        2: 0000000000000000FFFF00000300007F:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 92 1\n\
        3: 00000000000000000000000001000000:0054 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 93 1\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_sockets_of_a_port() {
        use Protocol::{Tcp, Udp};
        let lists = [FOUR.to_owned(), SIX.to_owned()];
        for (host_ip, host_port, protocol, want) in [
            ([127, 0, 0, 1], 8080, Tcp, vec![77]),
            ([127, 0, 0, 2], 8080, Tcp, vec![80]),
            // Mapped into IPv6.
            ([127, 0, 0, 3], 8080, Tcp, vec![92]),
            ([127, 0, 0, 4], 8080, Tcp, vec![]),
            ([0, 0, 0, 0], 8080, Tcp, vec![77, 80, 92]),
            ([127, 0, 0, 1], 8080, Udp, vec![77, 78]),
            // Who has it on IPv4 comes before who may have it by IPv6.
            ([127, 0, 0, 1], 80, Tcp, vec![79]),
            ([0, 0, 0, 0], 83, Tcp, vec![91]),
            // A connection only, and one that nobody has open any more.
            ([0, 0, 0, 0], 81, Tcp, vec![81]),
            ([0, 0, 0, 0], 82, Tcp, vec![]),
            // ::1 is no address of IPv4.
            ([0, 0, 0, 0], 84, Tcp, vec![]),
            ([0, 0, 0, 0], 85, Tcp, vec![]),
        ] {
            let port = BoundPort { host_port, protocol, host_ip: host_ip.into(), container_port: 80 };
            assert_eq!(sockets(&lists, &port), want, "{host_ip:?}:{host_port}/{protocol:?}");
        }
    }

    #[test]
    fn this_program_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host_port = socket.local_addr().unwrap().port();
        let port = BoundPort { host_port, protocol: Protocol::Tcp, host_ip: [127, 0, 0, 1].into(), container_port: 80 };
        let found = of(&port).unwrap();
        assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
    }
}
