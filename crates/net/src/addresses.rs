//! IPv4 addresses of a bridge: which subnet, and who has which address.
//!
//! Choosing is pure; nothing here asks the kernel.

use dhow_types::{ContainerId, Error, ErrorKind, Result};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Docker's default pools (`default-address-pools`): 172.17.0.0/16 to 172.31.0.0/16, then the /20s of 192.168.0.0/16.
fn pools() -> impl Iterator<Item = Ipv4Net> {
    let first = (17..=31).map(|b| (Ipv4Addr::new(172, b, 0, 0), 16));
    let second = (0..16).map(|c| (Ipv4Addr::new(192, 168, c * 16, 0), 20));
    first.chain(second).filter_map(|(ip, length)| Ipv4Net::new(ip, length).ok())
}

/// The first pool that no route of the host overlaps.
pub fn choose_subnet(routes: &[Ipv4Net]) -> Result<Ipv4Net> {
    pools().find(|pool| !routes.iter().any(|r| overlap(*r, *pool))).ok_or_else(|| {
        Error::new(
            ErrorKind::Exhausted,
            "the host's routes overlap all default subnets (172.17.0.0/16 to 172.31.0.0/16, 192.168.0.0/16); choose \
             one for the bridge in the configuration",
        )
    })
}

/// Whether two subnets share an address.
pub fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Checks that containers fit into a subnet given by hand, and normalises it to `gateway/length`. An address given
/// with host bits (`10.1.0.254/16`) is the gateway's, otherwise the subnet's first address is.
pub fn gateway_in(subnet: Ipv4Net) -> Result<Ipv4Net> {
    if subnet.prefix_len() > 30 {
        return Err(Error::invalid(format!(
            "the bridge subnet {subnet} has no room for containers: use /30 or larger"
        )));
    }
    if subnet.addr() == subnet.broadcast() {
        return Err(Error::invalid(format!("the bridge address {subnet} is its subnet's broadcast address")));
    }
    let ip = match subnet.addr() == subnet.network() {
        true => Ipv4Addr::from(u32::from(subnet.network()) + 1),
        false => subnet.addr(),
    };
    Ipv4Net::new(ip, subnet.prefix_len()).map_err(|e| Error::invalid(e.to_string()))
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    /// A namespace that waits in the pool.
    Prepared,
    /// A container.
    Container(ContainerId),
}

struct State {
    held: BTreeMap<Ipv4Addr, Holder>,
    /// Where the next search begins. Addresses go round rather than being reused at once: the old holder's namespace
    /// may take a moment to vanish, and neighbours remember it.
    next: u32,
}

/// The addresses of one subnet.
pub struct Addresses {
    /// The gateway with the prefix.
    gateway: Ipv4Net,
    state: Mutex<State>,
}

impl Addresses {
    /// All free but the gateway's.
    pub fn new(gateway: Ipv4Net) -> Self {
        Self { gateway, state: Mutex::new(State { held: BTreeMap::new(), next: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free address.
    pub fn lease(self: &Arc<Self>) -> Result<Lease> {
        let mut state = self.state();
        let first = u32::from(self.gateway.network()) + 1;
        let count = u32::from(self.gateway.broadcast()) - first;
        let free = (0..count).map(|i| state.next.wrapping_add(i) % count).find(|offset| {
            let ip = Ipv4Addr::from(first + offset);
            ip != self.gateway.addr() && !state.held.contains_key(&ip)
        });
        let offset = free.ok_or_else(|| {
            let subnet = self.gateway.trunc();
            Error::new(
                ErrorKind::Exhausted,
                format!("no free address in {subnet}; remove containers or use a larger subnet"),
            )
        })?;
        state.next = offset + 1;
        let ip = Ipv4Addr::from(first + offset);
        state.held.insert(ip, Holder::Prepared);
        Ok(Lease { ip, of: Arc::clone(self), kept: false })
    }

    /// This address.
    pub fn lease_exact(self: &Arc<Self>, ip: Ipv4Addr) -> Result<Lease> {
        self.check(ip)?;
        let mut state = self.state();
        if ip == self.gateway.addr() || state.held.contains_key(&ip) {
            return Err(Error::conflict(format!("Address already in use: {ip}")));
        }
        state.held.insert(ip, Holder::Prepared);
        Ok(Lease { ip, of: Arc::clone(self), kept: false })
    }

    /// Gives `owner` the address it had before a restart. Repeating it changes nothing.
    pub fn adopt(&self, owner: &ContainerId, ip: Ipv4Addr) -> Result<()> {
        self.check(ip)?;
        let mut state = self.state();
        match state.held.get(&ip) {
            Some(Holder::Container(id)) if id == owner => return Ok(()),
            Some(_) => {
                return Err(Error::conflict(format!("the address {ip} of container {} is in use", owner.short())));
            }
            None => {}
        }
        state.held.insert(ip, Holder::Container(owner.clone()));
        state.next = state.next.max(u32::from(ip) - u32::from(self.gateway.network()));
        Ok(())
    }

    fn check(&self, ip: Ipv4Addr) -> Result<()> {
        let subnet = self.gateway.trunc();
        if !subnet.contains(&ip) || ip == subnet.network() || ip == subnet.broadcast() {
            return Err(Error::invalid(format!("the address {ip} is not one for containers of {subnet}")));
        }
        Ok(())
    }

    /// Frees `ip` if it is still `owner`'s.
    pub fn release(&self, owner: &ContainerId, ip: Ipv4Addr) {
        let mut state = self.state();
        if matches!(state.held.get(&ip), Some(Holder::Container(id)) if id == owner) {
            state.held.remove(&ip);
        }
    }
}

/// An address that is given back when dropped, unless a container [keeps](Lease::keep) it.
pub struct Lease {
    ip: Ipv4Addr,
    of: Arc<Addresses>,
    kept: bool,
}

impl Lease {
    /// The address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }
    /// Whether it is one of `addresses`.
    pub fn is_of(&self, addresses: &Arc<Addresses>) -> bool {
        Arc::ptr_eq(&self.of, addresses)
    }
    /// From now on it is `owner`'s, until [`Addresses::release`].
    pub fn keep(mut self, owner: &ContainerId) {
        self.of.state().held.insert(self.ip, Holder::Container(owner.clone()));
        self.kept = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.kept {
            self.of.state().held.remove(&self.ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    fn net(s: &str) -> Ipv4Net {
        s.parse().unwrap()
    }

    #[test]
    fn the_first_pool_no_route_overlaps() {
        let rows: &[(&[&str], &str)] = &[
            (&[], "172.17.0.0/16"),
            (&["172.17.0.0/16"], "172.18.0.0/16"),
            (&["172.17.255.1/32", "10.0.0.0/8"], "172.18.0.0/16"),
            (&["172.16.0.0/12"], "192.168.0.0/20"),
            (&["172.16.0.0/12", "192.168.0.0/24", "192.168.31.7/32"], "192.168.32.0/20"),
        ];
        for (routes, want) in rows {
            let routes: Vec<_> = routes.iter().map(|r| net(r)).collect();
            assert_eq!(choose_subnet(&routes).unwrap(), net(want), "{routes:?}");
        }
        assert_eq!(choose_subnet(&[net("128.0.0.0/1")]).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn gateways() {
        assert_eq!(gateway_in(net("10.1.0.0/16")).unwrap(), net("10.1.0.1/16"));
        assert_eq!(gateway_in(net("10.1.0.254/16")).unwrap(), net("10.1.0.254/16"));
        for bad in ["10.1.0.0/31", "10.1.0.1/32", "10.1.255.255/16"] {
            assert!(gateway_in(net(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_go_round_and_come_back() {
        let all = Arc::new(Addresses::new(net("10.0.0.1/29")));
        let a = all.lease().unwrap();
        assert_eq!(a.ip(), Ipv4Addr::new(10, 0, 0, 2));
        drop(a);
        let ips: Vec<_> = (0..5).map(|_| all.lease().map(|l| (l.ip().octets()[3], l)).unwrap()).collect();
        assert_eq!(ips.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [3, 4, 5, 6, 2]);
        assert_eq!(all.lease().err().unwrap().kind(), ErrorKind::Exhausted);
        drop(ips);
        let lease = all.lease_exact(Ipv4Addr::new(10, 0, 0, 5)).unwrap();
        lease.keep(&id(1));
        assert!(all.lease_exact(Ipv4Addr::new(10, 0, 0, 5)).is_err());
        for not_for_containers in [0, 1, 7, 8] {
            assert!(all.lease_exact(Ipv4Addr::new(10, 0, 0, not_for_containers)).is_err());
        }
        all.release(&id(2), Ipv4Addr::new(10, 0, 0, 5));
        assert!(all.lease_exact(Ipv4Addr::new(10, 0, 0, 5)).is_err(), "only its owner frees it");
        all.release(&id(1), Ipv4Addr::new(10, 0, 0, 5));
        all.adopt(&id(3), Ipv4Addr::new(10, 0, 0, 5)).unwrap();
        all.adopt(&id(3), Ipv4Addr::new(10, 0, 0, 5)).unwrap();
        assert_eq!(all.adopt(&id(4), Ipv4Addr::new(10, 0, 0, 5)).unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(all.lease().unwrap().ip().octets()[3], 6, "after the highest adopted");
    }
}
