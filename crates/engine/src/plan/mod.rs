//! Pure decisions: from a request, an image's configuration and facts about the machine to what is to be done.
//!
//! Nothing here reads a file, asks the kernel, or knows the time.

pub mod caps;
pub mod changes;
pub mod check;
pub mod devices;
pub(crate) mod evict;
pub mod facts;
pub mod health;
pub mod hosts;
pub mod image;
pub mod keys;
pub mod log;
pub mod log_store;
pub mod merge;
pub mod modes;
pub mod mounts;
pub mod names;
pub mod ports;
pub mod prune;
pub mod resources;
pub(crate) mod restart;
pub mod rootfs;
pub mod security;
pub mod signal;
pub mod spec;
pub mod top;
pub(crate) mod update;
pub mod user;
pub mod volumes_from;
