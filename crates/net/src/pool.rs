//! Network namespaces, prepared ahead.
use crate::bridge::Bridge;
use dhow_types::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Docker's default sysctls of a namespace of its own. Every namespace made here has them already, so a spec need
/// not set them again.
pub const PRESET_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// How much is prepared ahead.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// How many namespaces are kept ready.
    pub target: usize,
    /// How long after the last [`Pool::take`] the refill waits, so that it does not compete with the start it served.
    pub settle: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { target: 4, settle: Duration::from_millis(4) }
    }
}

/// A network namespace with `lo` up, IPv6 off for devices to come, and [`PRESET_SYSCTLS`] set.
pub struct NetnsSlot {
    fd: OwnedFd,
}

impl NetnsSlot {
    /// A fresh one, made now, with no other device.
    pub fn new() -> Result<Self> {
        Err(Error::unavailable("no namespace"))
    }
    /// The namespace, for `setns`.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
    /// The namespace alone.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// Namespaces ready to be taken, already plugged into a bridge.
pub struct Pool {
    _bridge: Bridge,
    _config: PoolConfig,
}

impl Pool {
    /// Starts the thread that fills the pool.
    pub fn start(bridge: &Bridge, config: PoolConfig) -> Result<Self> {
        Ok(Self { _bridge: bridge.clone(), _config: config })
    }
    /// A prepared namespace, or one made now if none is ready.
    pub fn take(&self) -> Result<NetnsSlot> {
        NetnsSlot::new()
    }
}

/// A network namespace with nothing but `lo`, for network mode `none`.
pub fn loopback_netns() -> Result<OwnedFd> {
    Ok(NetnsSlot::new()?.into_fd())
}
