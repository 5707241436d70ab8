//! A container's network: namespaces prepared ahead, the default bridge with its addresses, published ports,
//! and the texts of the files a resolver reads.
//!
//! One [`Bridge`] is one bridge device, one pool of addresses and one nftables table. A [`Pool`] keeps a few
//! namespaces that are already plugged into it. No other program is executed; everything goes over netlink.
//! Nothing here knows a container's process, its configuration or the Engine API, and nothing is persisted: the
//! caller stores the [`Endpoint`] and gives it back to [`Bridge::adopt`] after a restart.

mod addresses;
mod bridge;
mod conntrack;
mod device;
pub mod files;
mod firewall;
mod holder;
pub mod look;
mod model;
mod netlink;
mod netns;
mod nft;
mod pool;
mod ports;
mod rtnl;
#[cfg(test)]
mod testing;

pub use bridge::{Bridge, BridgeConfig};
pub use model::{BoundPort, Connect, Endpoint, Mac, PortBinding, Protocol, parse_port_key};
pub use pool::{NetnsSlot, PRESET_SYSCTLS, Pool, PoolConfig, loopback_netns};
