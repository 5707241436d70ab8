//! The engine's use of the default bridge: made when the first container needs it, and the pool of namespaces with it.

use crate::settings::Bridge as BridgeSettings;
use dhow_net::{Bridge, BridgeConfig, Connect, Endpoint, Mac, NetnsSlot, Pool, PoolConfig, PortBinding};
use dhow_types::{ContainerId, Context, Error, Result};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The default bridge, up or not yet.
pub(crate) struct Network {
    config: BridgeConfig,
    pool: usize,
    up: Mutex<Option<Arc<Up>>>,
}

/// The bridge and the namespaces plugged into it.
pub(crate) struct Up {
    pub(crate) bridge: Bridge,
    pool: Option<Pool>,
}

impl Network {
    /// Only the configuration; nothing is made.
    pub(crate) fn new(settings: &BridgeSettings, hardened: bool, owner: &str, pool: usize) -> Result<Self> {
        let mut config = BridgeConfig::new(owner);
        config.name.clone_from(&settings.name);
        config.mtu = settings.mtu;
        config.icc = settings.icc;
        config.hardened = hardened;
        if let Some(text) = &settings.subnet {
            let bad =
                |_| Error::invalid(format!("invalid subnet {text:?} of the bridge: use a form like 172.17.0.0/16"));
            config.subnet = Some(text.parse().map_err(bad)?);
        }
        Ok(Self { config, pool, up: Mutex::new(None) })
    }

    /// The bridge if it is up.
    pub(crate) fn current(&self) -> Option<Arc<Up>> {
        self.lock().clone()
    }

    /// The bridge, made now if need be. Blocks; others wait, since nobody can go on without it.
    pub(crate) fn ensure(&self) -> Result<Arc<Up>> {
        let mut up = self.lock();
        if let Some(up) = &*up {
            return Ok(up.clone());
        }
        let bridge = Bridge::ensure(self.config.clone()).context("set up the default bridge")?;
        for warning in bridge.warnings() {
            tracing::warn!("network: {warning}");
        }
        let pool = match self.pool {
            0 => None,
            target => Some(Pool::start(&bridge, PoolConfig { target, ..PoolConfig::default() })?),
        };
        let made = Arc::new(Up { bridge, pool });
        *up = Some(made.clone());
        Ok(made)
    }

    /// A namespace on the bridge.
    pub(crate) fn connect(
        &self,
        container: &ContainerId,
        ports: &[PortBinding],
        mac: Option<Mac>,
    ) -> Result<(OwnedFd, Endpoint)> {
        let up = self.ensure()?;
        let mut netns = match &up.pool {
            Some(pool) => pool.take()?,
            None => NetnsSlot::new()?,
        };
        let endpoint = up.bridge.connect(Connect { container, netns: &mut netns, ports, mac, ip: None })?;
        Ok((netns.into_fd(), endpoint))
    }

    /// Which other container has one of these ports.
    pub(crate) fn holder(&self, container: &ContainerId, ports: &[PortBinding]) -> Option<ContainerId> {
        self.current()?.bridge.holder(container, ports)
    }

    /// Gives an endpoint back. Safe to repeat.
    pub(crate) fn disconnect(&self, endpoint: &Endpoint) -> Result<()> {
        self.ensure()?.bridge.disconnect(endpoint)
    }

    /// Takes over what an earlier daemon made.
    pub(crate) fn adopt(&self, endpoint: &Endpoint) -> Result<()> {
        self.ensure()?.bridge.adopt(endpoint)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Up>>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
