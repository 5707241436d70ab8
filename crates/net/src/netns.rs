//! Makes a network namespace the way containers want it, on a thread that returns home.
//!
//! What it is plugged into lives in `bridge`.

use crate::netlink::{Batch, Socket};
use crate::pool::{NetnsSlot, PRESET_SYSCTLS};
use crate::rtnl;
use dhow_types::{Context, Error, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};

/// The loopback device has this index in every namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
/// Stack of the threads of this crate: they make system calls and small buffers only.
pub const THREAD_STACK: usize = 128 * 1024;

/// The calling thread's network namespace.
pub fn current() -> Result<OwnedFd> {
    let fd = std::fs::File::open("/proc/thread-self/ns/net").context("open this thread's network namespace")?;
    Ok(fd.into())
}

/// Makes one on a thread of its own, so that the caller's thread never leaves its namespace.
pub fn make() -> Result<NetnsSlot> {
    let work = || -> Result<NetnsSlot> {
        dhow_sys::netns::unshare_net().context("make a network namespace")?;
        furnish()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("dhow-netns".into()).stack_size(THREAD_STACK);
        let handle = thread.spawn_scoped(scope, work).context("start a thread to make a network namespace")?;
        handle.join().unwrap_or_else(|_| Err(Error::system("the thread that makes a network namespace failed")))
    })
}

/// A thread's way back from a namespace it made.
pub struct Home(OwnedFd);

/// Why [`Home::make`] failed.
pub enum Astray {
    /// Nothing was made; the thread is at home.
    No(Error),
    /// The thread could not go home: it must end now.
    Yes,
}

impl Home {
    /// Where the thread is now.
    pub fn here() -> Result<Self> {
        Ok(Self(current()?))
    }

    /// Makes a namespace on this very thread, and comes back.
    pub fn make(&self) -> Result<NetnsSlot, Astray> {
        let made =
            dhow_sys::netns::unshare_net().context("make a network namespace").map_err(Astray::No).map(|()| furnish());
        match (made, move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))) {
            (_, Err(_)) => Err(Astray::Yes),
            (Err(e), Ok(())) => Err(e),
            (Ok(slot), Ok(())) => slot.map_err(Astray::No),
        }
    }
}

/// In the new namespace: `lo` up, IPv6 off for devices to come (`lo` keeps `::1`, as with Docker), preset sysctls.
fn furnish() -> Result<NetnsSlot> {
    let netns = current()?;
    for (name, value) in PRESET_SYSCTLS {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::write(&path, value).with_context(|| format!("set {name} in a new network namespace"))?;
    }
    match std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
        // A kernel without IPv6 has it off already.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        other => other.context("switch IPv6 off in a new network namespace")?,
    }
    let route = Socket::route().context("open a netlink socket in a new network namespace")?;
    let mut batch = Batch::new();
    rtnl::set_up(&mut batch, LOOPBACK);
    route.request(&batch).context("switch lo on in a new network namespace")?;
    Ok(NetnsSlot::bare(netns, route))
}

/// Switches `eth0` in the namespace of `route` on, and gives it its address and default route.
pub fn configure_eth0(route: &Socket, address: ipnet::Ipv4Net, gateway: std::net::Ipv4Addr) -> Result<()> {
    let eth0 = eth0(route)?;
    let mut batch = Batch::new();
    rtnl::set_up(&mut batch, eth0);
    rtnl::add_address(&mut batch, eth0, address);
    rtnl::add_default_route(&mut batch, gateway);
    rtnl::settle_carrier(&mut batch, "eth0");
    route.request(&batch).with_context(|| format!("give eth0 its address {address} and default route"))
}

/// The index of `eth0` in the namespace of `route`.
pub fn eth0(route: &Socket) -> Result<u32> {
    let link = rtnl::find_link(route, "eth0").context("look for eth0 in a network namespace")?;
    link.map(|l| l.index).ok_or_else(|| Error::system("eth0 is missing in a network namespace"))
}
