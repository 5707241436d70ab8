//! Programs that run inside containers: built by this crate's build script from `guest/`, a few KB each, static,
//! without a C library. Here they are only bytes.

/// `--init`: starts a command, hands on signals, reaps orphans, ends with the command's status.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// The program of the image `dhow/hello`.
pub const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
