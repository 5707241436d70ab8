//! From an OCI bundle to a process: a library the shim links, and the commands of an OCI runtime over it.
//!
//! Synchronous and single-threaded by design: one `clone3`, no second program between the caller and the
//! container's own. Nothing here prints, reads the environment, uses threads or an async runtime, knows
//! images, networks or the Engine API.

pub mod launch;
pub mod seccomp;
pub mod spec;

pub use launch::{Exec, Launch, Overlay, Rootfs, Stdio};
