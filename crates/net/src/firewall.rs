//! The bridge's table in the kernel, and what it should hold: the difference is repaired, never reasoned about.
//!
//! A change is first written down here, then sent as a small transaction; when that is refused (somebody flushed the
//! table, or half of it), the whole table is written anew from what is known.

use crate::conntrack::{self, Flows};
use crate::model::{BoundPort, Protocol};
use crate::netlink::{Received, Socket};
use crate::nft::{self, Element, pin::Member, rules::Policy};
use dhow_types::{Context, Error, Result};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct State {
    socket: Socket,
    published: BTreeSet<Element>,
    /// What the ports of a hardened bridge may call themselves; empty otherwise.
    members: Vec<Member>,
    /// Whether this daemon wrote the table. One that an earlier daemon left stays in force until all of its
    /// endpoints are adopted, so that published ports keep working through a restart.
    written: bool,
}

/// One bridge's firewall.
pub struct Firewall {
    policy: Policy,
    port: u32,
    state: Mutex<State>,
}

impl Firewall {
    /// Writes the table, unless an earlier daemon's is there.
    pub fn open(policy: Policy) -> Result<Self> {
        let socket = Socket::netfilter().context("open a netlink socket for nftables")?;
        let there = nft::exists(&socket, &policy).map_err(|e| unsupported(Error::from(e)))?;
        let port = socket.port();
        let state = State { socket, published: BTreeSet::new(), members: Vec::new(), written: false };
        let firewall = Self { policy, port, state: Mutex::new(state) };
        if !there {
            firewall.reassert().map_err(unsupported)?;
        }
        Ok(firewall)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the ports of a container. On failure none is.
    pub fn publish(&self, container: Ipv4Addr, ports: &[BoundPort]) -> Result<()> {
        let mut state = self.state();
        if ports.is_empty() && state.written {
            return Ok(());
        }
        let elements = elements(container, ports);
        state.published.extend(&elements);
        let done = state.apply(&self.policy, |policy| nft::publish(policy, &elements));
        if let Err(e) = done {
            elements.iter().for_each(|e| {
                state.published.remove(e);
            });
            return Err(e);
        }
        let stale: Vec<Flows> = udp(ports).map(Flows::before).collect();
        conntrack::forget(&state.socket, &stale).context("forget UDP flows older than the published port")
    }

    /// Ends the publishing.
    pub fn unpublish(&self, container: Ipv4Addr, ports: &[BoundPort]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        let mut elements = elements(container, ports);
        let done = if state.written {
            elements.retain(|e| state.published.remove(e));
            if elements.is_empty() {
                return Ok(());
            }
            state.apply(&self.policy, |policy| nft::unpublish(policy, &elements))
        } else {
            // The table is an earlier daemon's, and not all of its endpoints are adopted yet: only this one's may go.
            elements.iter().for_each(|e| {
                state.published.remove(e);
            });
            state.remove_singly(&self.policy, &elements)
        };
        let stale: Vec<Flows> =
            udp(ports).map(|p| Flows::AnsweredBy { ip: container, port: p.container_port }).collect();
        let forgotten = conntrack::forget(&state.socket, &stale).context("forget UDP flows of the container");
        done.and(forgotten)
    }

    /// On a hardened bridge, lets a port send as this member and nothing else. A second call for the port replaces
    /// the first.
    pub fn pin(&self, member: Member) -> Result<()> {
        if !self.policy.hardened {
            return Ok(());
        }
        let mut state = self.state();
        let removed = state.take_member(&member.ifname);
        state.members.push(member.clone());
        let done = state
            .apply(&self.policy, |policy| nft::pin::change(&policy.table(), &removed, std::slice::from_ref(&member)));
        if done.is_err() {
            state.take_member(&member.ifname);
        }
        done
    }

    /// Forgets a port.
    pub fn unpin(&self, ifname: &str) -> Result<()> {
        let mut state = self.state();
        let removed = state.take_member(ifname);
        if removed.is_empty() {
            return Ok(());
        }
        state.apply(&self.policy, |policy| nft::pin::change(&policy.table(), &removed, &[]))
    }

    /// Writes down what an earlier daemon published; [`Firewall::reassert`] makes it so.
    pub fn adopt(&self, container: Ipv4Addr, ports: &[BoundPort], member: Member) {
        let mut state = self.state();
        if self.policy.hardened {
            state.take_member(&member.ifname);
            state.members.push(member);
        }
        state.published.extend(elements(container, ports));
        state.written = false;
    }

    /// Writes the whole table anew.
    pub fn reassert(&self) -> Result<()> {
        self.state().rewrite(&self.policy)
    }

    /// Writes the table anew if it is not there at all. Unlike [`Firewall::reassert`] it makes no noise of its own
    /// otherwise, so it can answer the loss of notifications.
    pub fn restore_if_gone(&self) -> Result<()> {
        let mut state = self.state();
        match nft::exists(&state.socket, &self.policy).context("look for the nftables table")? {
            true => Ok(()),
            false => state.rewrite(&self.policy),
        }
    }

    /// Removes the table.
    pub fn remove(&self) -> Result<()> {
        let mut state = self.state();
        state.written = false;
        state
            .socket
            .request(&nft::remove(&self.policy))
            .with_context(|| format!("remove the nftables table {}", self.policy.table()))
    }

    /// Whether a notification says that somebody else damaged the table.
    pub fn is_damage(&self, message: &Received<'_>) -> bool {
        nft::is_damage(message, &self.policy.table(), self.port)
    }
}

impl State {
    fn apply(&mut self, policy: &Policy, change: impl FnOnce(&Policy) -> crate::netlink::Batch) -> Result<()> {
        match self.written && self.socket.request(&change(policy)).is_ok() {
            true => Ok(()),
            false => self.rewrite(policy),
        }
    }

    fn remove_singly(&self, policy: &Policy, elements: &[Element]) -> Result<()> {
        for element in elements {
            match self.socket.request(&nft::unpublish(policy, std::slice::from_ref(element))) {
                Err(e) if e.cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("remove a port from the nftables table {}", policy.table()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn take_member(&mut self, ifname: &str) -> Vec<Member> {
        self.members.extract_if(.., |m| m.ifname == ifname).collect()
    }

    fn rewrite(&mut self, policy: &Policy) -> Result<()> {
        let elements: Vec<Element> = self.published.iter().copied().collect();
        let done = self.socket.request(&nft::replace(policy, &elements, &self.members));
        self.written = done.is_ok();
        done.with_context(|| format!("write the nftables table {}", policy.table()))
    }
}

fn elements(container: Ipv4Addr, ports: &[BoundPort]) -> Vec<Element> {
    ports.iter().map(|p| Element::new(p, container)).collect()
}

fn udp(ports: &[BoundPort]) -> impl Iterator<Item = &BoundPort> {
    ports.iter().filter(|p| p.protocol == Protocol::Udp)
}

fn unsupported(e: Error) -> Error {
    let text = format!(
        "{e}; a bridge needs nftables with nat, fib and masquerade in the kernel (modules nf_tables, nft_chain_nat, nft_fib_ipv4, nft_masq, nft_ct), or run with --network none or host"
    );
    e.with_text(text)
}
