//! From the words of `run`, `create` and `exec` to Engine API documents: pure, so tested by tables.
//!
//! What a value means is decided by the daemon; here it is only taken apart, and what cannot be taken
//! apart is refused with an example.

pub mod container;
pub mod devices;
pub mod env;
pub mod health;
pub mod network;
pub mod parse;
pub mod ports;
pub mod request;
pub mod restart;
pub mod scan;
pub mod table;
pub mod values;
pub mod volumes;
