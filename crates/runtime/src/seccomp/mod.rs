//! seccomp: OCI documents and Docker profiles compiled to the kernel's BPF, with no library beneath.
//!
//! - [`doc`]: the OCI document `linux.seccomp`.
//! - [`profile`]: Docker's profile format, resolved to a document for a set of capabilities; our default profile.
//! - [`compile`]: a document becomes a [`Program`]: pure, deterministic.
//! - `calls`, `numbers`: system calls by name, for the architectures dhow runs on; `default`: the table of our profile.
//! - `code`: the BPF itself.
//!
//! [`Program::install`] is the only effect. Where to install it on the way to the container's program is decided by
//! the rest of the runtime, never here.

mod arch;
mod calls;
mod code;
pub mod compile;
mod default;
pub mod doc;
mod numbers;
pub mod profile;
mod program;
#[cfg(test)]
mod tests;

pub use arch::Arch;
pub use compile::compile;
pub use doc::Seccomp;
pub use profile::{KernelVersion, default_profile, from_docker_profile};
pub use program::{Listener, Program};
