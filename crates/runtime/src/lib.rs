//! From an OCI bundle to a process: a library the shim links, and the commands of an OCI runtime over it.
//!
//! Synchronous and single-threaded by design: one `clone3`, no second program between the caller and the
//! container's own. Nothing here prints, reads the environment, uses threads or an async runtime, knows
//! images, networks or the Engine API.
//!
//! - [`spec`] has the documents; `plan` (private) decides everything that can be decided from them.
//! - [`create`], [`exec`]: the parent's side; `child` (private) is what the new process does.
//! - [`seccomp`] makes filters.
//! - [`oci`] is runc's command line over all of that.

mod child;
mod context;
mod create;
mod created;
mod detour;
mod exec;
mod hooks;
mod idmap;
pub mod launch;
mod notify;
pub mod oci;
mod plan;
mod reexec;
pub mod seccomp;
pub mod spec;
pub mod state;
mod wire;

pub use create::create;
pub use created::Created;
pub use exec::exec;
pub use launch::{Exec, Launch, Overlay, Rootfs, Stdio};
pub use reexec::{is_readonly, reexec_readonly};
