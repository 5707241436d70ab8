//! The client against a registry that misbehaves on purpose. Every bad answer has its lawful twin, which must work.

#![allow(clippy::unwrap_used)]

mod access;
mod limits;
mod lists;
mod login;
mod manifests;
mod memory;
mod probe;
mod push;
mod redirects;
mod server;
mod tls;
mod transfers;
mod uploads;
mod world;
