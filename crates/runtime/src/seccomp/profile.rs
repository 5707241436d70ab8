//! Docker's profile format (being filled in).
use super::{Arch, Seccomp};
use dhow_types::Result;

/// A kernel's version as far as profiles compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number of `uname -r`.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

/// The default profile for a container with `caps` (`CAP_…`).
pub fn default_profile<S: AsRef<str>>(_caps: &[S], _arch: Arch, _kernel: KernelVersion) -> Seccomp {
    Seccomp::default()
}

/// A profile in Docker's format (`--security-opt seccomp=FILE`) for a container with `caps`.
pub fn from_docker_profile<S: AsRef<str>>(
    _json: &str,
    _caps: &[S],
    _arch: Arch,
    _kernel: KernelVersion,
) -> Result<Seccomp> {
    Ok(Seccomp::default())
}
