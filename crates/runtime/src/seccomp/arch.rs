//! The architectures dhow runs on, and the foreign ones whose programs their kernels also run.

use super::doc::Architecture;

/// The machine's own architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86_64; its kernel also runs x86 and x32 programs.
    X86_64,
    /// aarch64; its kernel may also run 32-bit arm programs.
    Aarch64,
}

impl Arch {
    /// The one this binary was built for.
    pub const fn native() -> Arch {
        #[cfg(target_arch = "x86_64")]
        return Arch::X86_64;
        #[cfg(target_arch = "aarch64")]
        return Arch::Aarch64;
    }

    /// Its name as Docker's profiles write it (`includes.arches`): Go's.
    pub const fn go_name(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// Its name in an OCI document.
    pub const fn oci(self) -> Architecture {
        match self {
            Arch::X86_64 => Architecture::X86_64,
            Arch::Aarch64 => Architecture::Aarch64,
        }
    }
}
