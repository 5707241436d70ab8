//! Which program of the machine holds a port, for the words of an error. Bounded, and only looked for when a port could
//! not be had; that it is not found is no failure.

use crate::model::{BoundPort, Protocol};
use std::io::Read;

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
    let inodes: Vec<u64> = lists.iter().filter_map(|l| read(l)).flat_map(|text| sockets(&text, port)).collect();
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

/// The inodes of the sockets that are bound to the port and that others can't share: of TCP those that listen.
fn sockets(list: &str, port: &BoundPort) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (*words.get(1)?, *words.get(3)?, words.get(9)?.parse().ok()?);
        let number = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        let holds = number == port.host_port && (port.protocol == Protocol::Udp || state == LISTEN);
        (holds && inode != 0).then_some(inode)
    };
    list.lines().skip(1).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_a_port() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100\n\
            1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100\n\
            2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0 100\n";
        for (host_port, protocol, want) in [
            (8080, Protocol::Tcp, vec![77]),
            (8080, Protocol::Udp, vec![77, 78]),
            (80, Protocol::Tcp, vec![79]),
            (81, Protocol::Tcp, vec![]),
        ] {
            let port = BoundPort { host_port, protocol, host_ip: [0, 0, 0, 0].into(), container_port: 80 };
            assert_eq!(sockets(list, &port), want);
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
