//! Host ports: each published one is held by a bound socket, so that no other program and no outgoing connection of
//! the host can get it, and a port that is taken is found out before anything else is changed.
//!
//! The sockets never listen: packets are translated before they would reach them, and without the firewall a client
//! is refused rather than left waiting.

use crate::holder;
use crate::model::{BoundPort, PortBinding, Protocol};
use dhow_types::{Cause, ContainerId, Error, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What Linux uses when nobody configured it (`ip_local_port_range` in ip-sysctl).
const DEFAULT_EPHEMERAL: (u16, u16) = (32768, 60999);

struct Held {
    owner: ContainerId,
    port: BoundPort,
    _socket: OwnedFd,
}

struct State {
    held: Vec<Held>,
    next_ephemeral: u16,
}

/// All host ports held for one bridge.
pub struct Ports {
    ephemeral: (u16, u16),
    state: Mutex<State>,
}

impl Ports {
    /// None held; ephemeral ports come from the range the kernel uses too.
    pub fn new() -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self::with_range(parse_range(&text).unwrap_or(DEFAULT_EPHEMERAL))
    }

    fn with_range(ephemeral: (u16, u16)) -> Self {
        Self { ephemeral, state: Mutex::new(State { held: Vec::new(), next_ephemeral: ephemeral.0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves all of `bindings` for `owner`, or none.
    pub fn reserve(&self, owner: &ContainerId, bindings: &[PortBinding]) -> Result<Vec<BoundPort>> {
        if bindings.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = self.state();
        let before = state.held.len();
        let mut bound = Vec::with_capacity(bindings.len());
        for binding in bindings {
            match state.reserve_one(owner, binding, self.ephemeral) {
                Ok(port) => bound.push(port),
                Err(refused) => {
                    state.held.truncate(before);
                    // The search reads much of /proc: not while others wait.
                    drop(state);
                    return Err(match refused.in_use.as_ref().and_then(holder::of) {
                        Some(program) => refused.error.advised(format!("by {program}")),
                        None => refused.error,
                    });
                }
            }
        }
        Ok(bound)
    }

    /// Reserves exactly these again, after a restart. Repeating it changes nothing.
    pub fn adopt(&self, owner: &ContainerId, ports: &[BoundPort]) -> Result<()> {
        let mut state = self.state();
        for port in ports {
            if !state.held.iter().any(|h| h.owner == *owner && h.port == *port) {
                state.try_bind(owner, port).map_err(|e| e.into_error(port))?;
            }
        }
        Ok(())
    }

    /// Which other container keeps `owner` from having one of these.
    pub fn holder(&self, owner: &ContainerId, bindings: &[PortBinding]) -> Option<ContainerId> {
        let state = self.state();
        let wants = |b: &PortBinding, h: &Held| {
            b.host_ports.is_some_and(|(first, last)| (first..=last).contains(&h.port.host_port))
                && collide(&h.port, &BoundPort { host_ip: b.bind_ip(), protocol: b.protocol, ..h.port.clone() })
        };
        let found = state.held.iter().find(|h| h.owner != *owner && bindings.iter().any(|b| wants(b, h)));
        found.map(|h| h.owner.clone())
    }

    /// Frees those of `ports` that are `owner`'s.
    pub fn release(&self, owner: &ContainerId, ports: &[BoundPort]) {
        if !ports.is_empty() {
            self.state().held.retain(|h| h.owner != *owner || !ports.contains(&h.port));
        }
    }
}

/// A port that could not be had.
struct Refused {
    error: Error,
    /// Some other program has this one.
    in_use: Option<BoundPort>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, in_use: None }
    }
}

enum Taken {
    ByOurs(ContainerId),
    ByOther(Errno),
}

impl Taken {
    /// Docker's words.
    fn into_error(self, port: &BoundPort) -> Error {
        let BoundPort { host_ip, host_port, protocol, .. } = port;
        match self {
            Self::ByOurs(owner) => Error::system(format!(
                "Bind for {host_ip}:{host_port} failed: port is already allocated: by container {}",
                owner.short()
            ))
            .because(Cause::PortTaken),
            Self::ByOther(e) => Error::from(std::io::Error::from(e))
                .prefixed(format!("failed to bind host port {host_ip}:{host_port}/{protocol}"))
                .because((e == Errno::ADDRINUSE).then_some(Cause::PortTaken)),
        }
    }
}

impl State {
    fn reserve_one(
        &mut self,
        owner: &ContainerId,
        binding: &PortBinding,
        ephemeral: (u16, u16),
    ) -> Result<BoundPort, Refused> {
        let at = |host_port| BoundPort {
            protocol: binding.protocol,
            container_port: binding.container_port,
            host_ip: binding.bind_ip(),
            host_port,
        };
        let candidates: Box<dyn Iterator<Item = u16>> = match binding.host_ports {
            Some((first, last)) => Box::new(first..=last),
            // From where the last search ended, so that a port just freed is not given out again at once.
            None => {
                let (first, last) = ephemeral;
                let start = if self.next_ephemeral > last { first } else { self.next_ephemeral.max(first) };
                Box::new((start..=last).chain(first..start))
            }
        };
        let (mut failure, mut in_use) = (None, None);
        for host_port in candidates {
            let port = at(host_port);
            match self.try_bind(owner, &port) {
                Ok(()) => {
                    if binding.host_ports.is_none() {
                        self.next_ephemeral = host_port.checked_add(1).unwrap_or(ephemeral.0);
                    }
                    return Ok(port);
                }
                // Another port of the range may do; an address that is not this host's never will.
                Err(e @ (Taken::ByOurs(_) | Taken::ByOther(Errno::ADDRINUSE | Errno::ACCESS))) => {
                    in_use = matches!(e, Taken::ByOther(Errno::ADDRINUSE)).then(|| port.clone());
                    failure = Some(e.into_error(&port));
                }
                Err(e) => return Err(e.into_error(&port).into()),
            }
        }
        match (failure, binding.host_ports) {
            (Some(e), Some((first, last))) if first == last => Err(Refused { error: e, in_use }),
            (Some(e), Some((first, last))) => Err(e.prefixed(format!("no port of {first}-{last} is free")).into()),
            (_, _) => Err(Error::new(
                dhow_types::ErrorKind::Exhausted,
                format!("all ports of {}-{} are allocated; free one or name a port", ephemeral.0, ephemeral.1),
            )
            .into()),
        }
    }

    fn try_bind(&mut self, owner: &ContainerId, port: &BoundPort) -> Result<(), Taken> {
        if let Some(holder) = self.held.iter().find(|h| collide(&h.port, port)) {
            return Err(Taken::ByOurs(holder.owner.clone()));
        }
        let socket = bind(port).map_err(Taken::ByOther)?;
        self.held.push(Held { owner: owner.clone(), port: port.clone(), _socket: socket });
        Ok(())
    }
}

/// Whether two published ports would take each other's packets.
fn collide(a: &BoundPort, b: &BoundPort) -> bool {
    let same_address = a.host_ip == b.host_ip || a.host_ip.is_unspecified() || b.host_ip.is_unspecified();
    a.protocol == b.protocol && a.host_port == b.host_port && same_address
}

/// A socket that holds the port. Without SO_REUSEADDR, which would let two holders in.
fn bind(port: &BoundPort) -> Result<OwnedFd, Errno> {
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if port.protocol == Protocol::Udp {
        // Should packets ever arrive here, the least memory is enough for them.
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    rustix::net::bind(&socket, &SocketAddrV4::new(port.host_ip, port.host_port))?;
    Ok(socket)
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse::<u16>);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => Some((first, last)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, in_new_netns};
    use std::net::Ipv4Addr;

    fn binding(protocol: Protocol, ip: Option<Ipv4Addr>, ports: Option<(u16, u16)>) -> PortBinding {
        PortBinding { protocol, container_port: 80, host_ip: ip, host_ports: ports }
    }

    #[test]
    fn one_holder_per_port_in_docker_words() {
        in_new_netns(|| {
            let ports = Ports::with_range((40000, 40002));
            let tcp = |ip, p: u16| binding(Protocol::Tcp, ip, Some((p, p)));
            let local = Some(Ipv4Addr::LOCALHOST);
            let held = ports.reserve(&id(1), &[tcp(None, 8080)]).unwrap();
            ports.reserve(&id(1), &[binding(Protocol::Udp, None, Some((8080, 8080)))]).unwrap();
            let e = ports.reserve(&id(2), &[tcp(None, 8080)]).unwrap_err();
            let by = format!("port is already allocated: by container {}", id(1).short());
            assert_eq!(e.text(), format!("Bind for 0.0.0.0:8080 failed: {by}"));
            assert_eq!(e.cause(), Cause::PortTaken);
            assert_eq!(ports.holder(&id(2), &[tcp(None, 9), tcp(local, 8080)]), Some(id(1)));
            assert_eq!(ports.holder(&id(2), &[tcp(None, 9)]), None);
            let e = ports.reserve(&id(2), &[tcp(local, 9), tcp(local, 8080)]).unwrap_err();
            assert_eq!(e.text(), format!("Bind for 127.0.0.1:8080 failed: {by}"));
            ports.reserve(&id(3), &[tcp(local, 9)]).expect("the failed request must have freed its first port");

            let _foreign = std::net::TcpListener::bind("127.0.0.1:7000").unwrap();
            let e = ports.reserve(&id(2), &[tcp(None, 7000)]).unwrap_err();
            let words = "failed to bind host port 0.0.0.0:7000/tcp: address already in use: by ";
            let me = format!("(process {})", std::process::id());
            assert!(e.text().starts_with(words) && e.text().ends_with(&me), "{e}");
            assert_eq!((e.cause(), ports.holder(&id(2), &[tcp(None, 7000)])), (Cause::PortTaken, None));
            let e = ports.reserve(&id(2), &[tcp(Some(Ipv4Addr::new(203, 0, 113, 9)), 1)]).unwrap_err();
            assert!(e.text().contains("203.0.113.9:1/tcp: cannot assign requested address"), "{e}");

            ports.release(&id(2), &held);
            assert!(std::net::TcpListener::bind("0.0.0.0:8080").is_err(), "only its owner frees it");
            ports.release(&id(1), &held);
            std::net::TcpListener::bind("0.0.0.0:8080").expect("released");
        });
    }

    #[test]
    fn ranges_and_ephemeral_ports_skip_what_is_taken() {
        in_new_netns(|| {
            let ports = Ports::with_range((40000, 40002));
            let _foreign = std::net::TcpListener::bind("0.0.0.0:40001").unwrap();
            let any = binding(Protocol::Tcp, None, None);
            let got = ports.reserve(&id(1), &[any.clone(), any.clone()]).unwrap();
            assert_eq!(got.iter().map(|p| p.host_port).collect::<Vec<_>>(), [40000, 40002]);
            let e = ports.reserve(&id(2), std::slice::from_ref(&any)).unwrap_err();
            assert!(e.text().contains("all ports of 40000-40002 are allocated"), "{e}");
            ports.release(&id(1), &got);
            assert_eq!(ports.reserve(&id(2), &[any]).unwrap()[0].host_port, 40000);

            let range = binding(Protocol::Tcp, None, Some((40000, 40002)));
            assert_eq!(ports.reserve(&id(3), std::slice::from_ref(&range)).unwrap()[0].host_port, 40002);
            let e = ports.reserve(&id(3), &[range]).unwrap_err();
            assert!(e.text().starts_with("no port of 40000-40002 is free: "), "{e}");
        });
    }

    #[test]
    fn adopting_twice_is_once() {
        in_new_netns(|| {
            let first = Ports::with_range((40000, 40002));
            let got = first.reserve(&id(1), &[binding(Protocol::Tcp, None, Some((80, 80)))]).unwrap();
            let second = Ports::with_range((40000, 40002));
            assert!(second.adopt(&id(1), &got).unwrap_err().text().contains("address already in use"));
            drop(first);
            second.adopt(&id(1), &got).unwrap();
            second.adopt(&id(1), &got).unwrap();
            assert!(std::net::TcpListener::bind("127.0.0.1:80").is_err());
        });
    }

    #[test]
    fn range_texts() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32768, 60999)));
        for bad in ["", "1", "9 8", "0 9", "a b", "1 70000"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
