//! The default bridge: the device, its addresses, host ports and firewall brought together.
//!
//! Life of an endpoint:
//!
//! ```text
//!   plug in (address leased, eth0 there)  -- pool, ahead; or connect()
//!        │ connect(): ports held, then published; the address becomes the container's
//!        ▼
//!   Endpoint in force ◄── adopt() after a restart of the daemon
//!        │ disconnect(): unpublished, ports and address freed
//!        ▼
//!   leaving: the pair vanishes with its namespace; sweep() removes what is still there a second later
//! ```
//!
//! No rule and no route is made per container; per published port one map element.

use crate::addresses::{Addresses, Lease};
use crate::device::{self, Device};
use crate::firewall::Firewall;
use crate::model::{Connect, Endpoint, Mac, PortBinding};
use crate::netlink::{Batch, Socket};
use crate::netns;
use crate::nft::pin::Member;
use crate::pool::{NetnsSlot, Plugged};
use crate::ports::Ports;
use crate::rtnl::{self, Pair};
use dhow_types::{ContainerId, Context, Error, Result};
use ipnet::Ipv4Net;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

const DEFAULT_MTU: u32 = 1500;
/// IPv4's least (RFC 791) and Ethernet's most that a veth takes.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65535;
/// A pair normally dies with its namespace, milliseconds after the container. One that is still there after this
/// long is held by somebody (a container that shares the namespace) and is taken away.
const LEAVE_AFTER: Duration = Duration::from_secs(1);
/// A random name that is taken is drawn again so often.
const NAME_ATTEMPTS: usize = 4;

/// How the bridge is to be.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The device's name; `None` takes the first of `dhow0`, `dhow1`… that is free or already this owner's.
    pub name: Option<String>,
    /// The subnet; `None` keeps that of an existing device, else takes the first free one of Docker's pools. With
    /// host bits (`10.1.0.254/16`) they are the bridge's own address.
    pub subnet: Option<Ipv4Net>,
    /// The devices' MTU; `None` is 1500.
    pub mtu: Option<u32>,
    /// Who owns it: the id of the daemon's root. Written to the device's alias, so that daemons side by side
    /// never share a bridge.
    pub owner: String,
    /// Whether containers on the bridge may talk to each other (Docker's `icc`, on by default). Off, they still reach
    /// each other's published ports, except where the host runs br_netfilter.
    pub icc: bool,
    /// Blocks link-local targets (cloud metadata at 169.254.169.254) and forged addresses: outside the subnet by the
    /// IP firewall, and each port to its own Ethernet and IPv4 address by a table of the bridge family.
    pub hardened: bool,
}

impl BridgeConfig {
    /// Docker's defaults for this owner.
    pub fn new(owner: impl Into<String>) -> Self {
        Self { name: None, subnet: None, mtu: None, owner: owner.into(), icc: true, hardened: false }
    }
}

struct Inner {
    device: Device,
    mtu: u32,
    icc: bool,
    addresses: Arc<Addresses>,
    ports: Ports,
    firewall: Firewall,
    leaving: Mutex<VecDeque<(Instant, String)>>,
    /// The thread to wake when the first one leaves.
    waker: Mutex<Weak<OwnedFd>>,
    names: RandomState,
}

/// The default bridge: cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Bridge(Arc<Inner>);

impl Bridge {
    /// Creates, or takes over, the bridge device, switches IPv4 forwarding on and sets the firewall up. Call it when
    /// the first container needs it, in the daemon's network namespace. Endpoints of an earlier daemon are
    /// [adopted](Bridge::adopt) next, before anything is connected.
    pub fn ensure(config: BridgeConfig) -> Result<Self> {
        let mtu = config.mtu.unwrap_or(DEFAULT_MTU);
        if !MTU_RANGE.contains(&mtu) {
            return Err(Error::invalid(format!("invalid MTU {mtu}: use {} to {}", MTU_RANGE.start(), MTU_RANGE.end())));
        }
        let device = device::ensure(&config, mtu)?;
        let firewall = Firewall::open(crate::nft::rules::Policy {
            bridge: device.name.clone(),
            subnet: device.gateway.trunc(),
            icc: config.icc,
            hardened: config.hardened,
        })?;
        let addresses = Arc::new(Addresses::new(device.gateway));
        Ok(Self(Arc::new(Inner {
            device,
            mtu,
            icc: config.icc,
            addresses,
            ports: Ports::new(),
            firewall,
            leaving: Mutex::new(VecDeque::new()),
            waker: Mutex::new(Weak::new()),
            names: RandomState::new(),
        })))
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.0.device.name
    }
    /// The subnet of its containers.
    pub fn subnet(&self) -> Ipv4Net {
        self.0.device.gateway.trunc()
    }
    /// The bridge's own address: the containers' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.0.device.gateway.addr()
    }
    /// What could not be done as wished, in words for people.
    pub fn warnings(&self) -> &[String] {
        &self.0.device.warnings
    }

    /// Gives the namespace its `eth0`, and publishes ports. On failure nothing stays behind once the caller drops
    /// the slot.
    pub fn connect(&self, request: Connect<'_>) -> Result<Endpoint> {
        let Connect { container, netns: slot, ports, mac, ip } = request;
        let usable = slot.plugged.as_ref().is_some_and(|p| p.lease.is_of(&self.0.addresses) && ip.is_none());
        if !usable {
            if slot.plugged.is_some() {
                *slot = NetnsSlot::new()?;
            }
            self.plug(slot, ip)?;
        }
        if let (Some(mac), Some(route), Some(Plugged { lease, pin })) = (mac, &slot.route, &slot.plugged) {
            // Before the address is used: it announces itself.
            self.0.firewall.pin(Member { ifname: pin.ifname().to_owned(), mac, ip: lease.ip() })?;
            let mut batch = Batch::new();
            rtnl::set_mac_announced(&mut batch, netns::eth0(route)?, mac);
            route.request(&batch).with_context(|| format!("give eth0 the MAC address {mac}"))?;
        }
        let plugged = slot.plugged.as_ref().ok_or_else(|| Error::system("the network namespace has no eth0"))?;
        let (ip, host_ifname) = (plugged.lease.ip(), plugged.pin.ifname().to_owned());

        let bound = self.0.ports.reserve(container, ports)?;
        if let Err(e) = self.0.firewall.publish(ip, &bound) {
            self.0.ports.release(container, &bound);
            return Err(e);
        }
        if let Some(plugged) = slot.plugged.take() {
            plugged.lease.keep(container);
            plugged.pin.keep();
        }
        // The socket would keep the namespace alive after the container.
        slot.route = None;
        Ok(Endpoint {
            container: container.clone(),
            bridge: self.name().to_owned(),
            ip,
            prefix: self.0.device.gateway.prefix_len(),
            gateway: self.gateway(),
            mac: mac.unwrap_or_else(|| Mac::from_ip(ip)),
            host_ifname,
            ports: bound,
        })
    }

    /// Puts `eth0` into a bare namespace: a pair whose host end is a port of the bridge, an address, a route.
    pub(crate) fn plug(&self, slot: &mut NetnsSlot, ip: Option<Ipv4Addr>) -> Result<()> {
        let route = slot.route.as_ref().ok_or_else(|| Error::system("the network namespace was used already"))?;
        let lease = match ip {
            Some(ip) => self.0.addresses.lease_exact(ip)?,
            None => self.0.addresses.lease()?,
        };
        let socket = Socket::route().context("open a netlink socket")?;
        let ifname = self.new_pair(&socket, slot, &lease)?;
        self.0.firewall.pin(Member { ifname: ifname.clone(), mac: Mac::from_ip(lease.ip()), ip: lease.ip() })?;
        let pin = Pin { bridge: self.clone(), ifname, kept: false };
        let address = Ipv4Net::new(lease.ip(), self.0.device.gateway.prefix_len())
            .map_err(|e| Error::system(format!("prefix of the bridge: {e}")))?;
        netns::configure_eth0(route, address, self.gateway())?;
        let mut batch = Batch::new();
        rtnl::settle_carrier(&mut batch, pin.ifname());
        socket.request(&batch).with_context(|| format!("look at {}", pin.ifname()))?;
        slot.plugged = Some(Plugged { lease, pin });
        Ok(())
    }

    fn new_pair(&self, socket: &Socket, slot: &NetnsSlot, lease: &Lease) -> Result<String> {
        let mut outcome = Ok(());
        for attempt in 0..NAME_ATTEMPTS {
            let host_ifname = format!("veth{:08x}", self.0.names.hash_one((Instant::now(), attempt)) as u32);
            let mut batch = Batch::new();
            rtnl::new_pair(
                &mut batch,
                &Pair {
                    host_ifname: &host_ifname,
                    bridge: self.0.device.index,
                    netns: slot.fd(),
                    mac: Mac::from_ip(lease.ip()),
                    mtu: self.0.mtu,
                    isolated: !self.0.icc,
                    hairpin: self.0.device.hairpin,
                    ipv6: self.0.device.ipv6,
                },
            );
            outcome = socket.request(&batch);
            match &outcome {
                Ok(()) => return Ok(host_ifname),
                Err(e) if e.cause.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(_) => break,
            }
        }
        let text = || format!("plug a network namespace into the bridge {} (does it still exist?)", self.name());
        outcome.map(|()| String::new()).with_context(text)
    }

    /// Which other container keeps `container` from publishing these ports.
    pub fn holder(&self, container: &ContainerId, ports: &[PortBinding]) -> Option<ContainerId> {
        self.0.ports.holder(container, ports)
    }

    /// Ends the publishing and frees the address. Safe to repeat, and for endpoints that were never adopted or whose
    /// bridge is gone; goes on after a failure and reports all of them.
    pub fn disconnect(&self, endpoint: &Endpoint) -> Result<()> {
        if self.check(endpoint).is_err() {
            return Ok(());
        }
        let unpublished = self.0.firewall.unpublish(endpoint.ip, &endpoint.ports);
        let unpinned = self.0.firewall.unpin(&endpoint.host_ifname);
        self.0.ports.release(&endpoint.container, &endpoint.ports);
        self.0.addresses.release(&endpoint.container, endpoint.ip);
        let mut leaving = self.leaving();
        let first = leaving.is_empty();
        leaving.push_back((Instant::now(), endpoint.host_ifname.clone()));
        drop(leaving);
        if first && let Some(waker) = self.waker().upgrade() {
            crate::pool::wake(&waker);
        }
        match (unpublished, unpinned) {
            (Err(a), Err(b)) => Err(Error::new(a.kind(), format!("{a}; {b}"))),
            (a, b) => a.and(b),
        }
    }

    /// Takes an endpoint over that an earlier daemon made: its address and ports are held again. When all are
    /// adopted, [`Bridge::reassert`] (or the first [`Bridge::connect`]) brings the firewall to exactly these.
    pub fn adopt(&self, endpoint: &Endpoint) -> Result<()> {
        self.check(endpoint)?;
        self.0.addresses.adopt(&endpoint.container, endpoint.ip)?;
        self.0.ports.adopt(&endpoint.container, &endpoint.ports)?;
        let Endpoint { host_ifname, mac, ip, ports, .. } = endpoint;
        self.0.firewall.adopt(*ip, ports, Member { ifname: host_ifname.clone(), mac: *mac, ip: *ip });
        Ok(())
    }

    /// Writes the whole firewall table anew in one transaction, as other programs' reloads may have removed it.
    /// [`crate::Pool`] does it by itself when that happens.
    pub fn reassert(&self) -> Result<()> {
        self.0.firewall.reassert()
    }

    /// Removes the device and the firewall table: for a daemon that will not come back. All containers on the bridge
    /// lose their network.
    pub fn remove(self) -> Result<()> {
        let firewall = self.0.firewall.remove();
        let mut batch = Batch::new();
        rtnl::delete_link(&mut batch, self.name());
        let device = Socket::route().map_err(Into::into).and_then(|s| s.request(&batch));
        firewall.and(device.with_context(|| format!("remove the bridge {}", self.name())))
    }

    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.bridge != self.name() || !self.subnet().contains(&endpoint.ip) {
            return Err(Error::conflict(format!(
                "the endpoint {} of container {} is on the bridge {}, not on {} ({})",
                endpoint.ip,
                endpoint.container.short(),
                endpoint.bridge,
                self.name(),
                self.subnet()
            )));
        }
        Ok(())
    }

    pub(crate) fn firewall(&self) -> &Firewall {
        &self.0.firewall
    }

    fn leaving(&self) -> MutexGuard<'_, VecDeque<(Instant, String)>> {
        self.0.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waker(&self) -> MutexGuard<'_, Weak<OwnedFd>> {
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on writes to this eventfd when [`Bridge::next_sweep`] begins to have an answer.
    pub(crate) fn wake_when_leaving(&self, waker: &Arc<OwnedFd>) {
        *self.waker() = Arc::downgrade(waker);
    }

    /// When [`Bridge::sweep`] has something to do.
    pub(crate) fn next_sweep(&self) -> Option<Instant> {
        self.leaving().front().map(|(since, _)| *since + LEAVE_AFTER)
    }

    /// Removes pairs whose containers left and which are still there.
    pub(crate) fn sweep(&self, now: Instant) -> Result<()> {
        let mut batch = Batch::new();
        let mut leaving = self.leaving();
        while let Some((_, name)) = leaving.pop_front_if(|(since, _)| *since + LEAVE_AFTER <= now) {
            rtnl::delete_link(&mut batch, &name);
        }
        drop(leaving);
        if batch.len() == 0 {
            return Ok(());
        }
        match Socket::route().map_err(Into::into).and_then(|s| s.request(&batch)) {
            Err(e) if !rtnl::is_absent(&e.cause) => Err(e).context("remove the devices of containers that left"),
            _ => Ok(()),
        }
    }
}

/// A port of the bridge with the right to send, which ends when dropped unless an endpoint [keeps](Pin::keep) it.
pub(crate) struct Pin {
    bridge: Bridge,
    ifname: String,
    kept: bool,
}

impl Pin {
    fn ifname(&self) -> &str {
        &self.ifname
    }
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if !self.kept {
            // The port goes away with its namespace in any case; a leftover element names a device that is gone.
            let _ = self.bridge.0.firewall.unpin(&self.ifname);
        }
    }
}
