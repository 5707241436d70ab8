//! Docker's profile format, and the default profile: resolved to a document for a set of capabilities, an
//! architecture and a kernel.
//!
//! A profile differs from an OCI document in its conditions (`includes`, `excludes`) and in `archMap`. What remains
//! after resolving is an ordinary document; compiling it is [`super::compile`].

use super::arch::Arch;
use super::default::PROFILE;
use super::doc::{Action, Architecture, Arg, Flag, Rule, Seccomp, null_as_default};
use dhow_types::{Error, Result};
use serde::Deserialize;

/// The longest profile that is read, in bytes. Docker's own has 13 thousand.
pub const MAX_PROFILE_BYTES: usize = 1 << 20;

/// A kernel's version as far as profiles compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number of `uname -r`.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl KernelVersion {
    /// From the release that uname(2) reports, such as `6.1.0-31-cloud-amd64`.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let mut numbers = release.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some(KernelVersion { major: numbers.next()??, minor: numbers.next()?? })
    }

    /// The running kernel's.
    pub fn running() -> KernelVersion {
        rustix::system::uname()
            .release()
            .to_str()
            .ok()
            .and_then(KernelVersion::parse)
            .unwrap_or(KernelVersion { major: 0, minor: 0 })
    }
}

/// The default profile for a container with `caps` (names such as `CAP_SYS_ADMIN`).
pub fn default_profile<S: AsRef<str>>(caps: &[S], arch: Arch, kernel: KernelVersion) -> Seccomp {
    let has = |cap: &&str| caps.iter().any(|c| c.as_ref() == *cap);
    let is_arch = |name: &&str| *name == arch.go_name();
    let rules = PROFILE
        .iter()
        .filter(|entry| {
            entry.caps.iter().all(has)
                && (entry.arches.is_empty() || entry.arches.iter().any(is_arch))
                && !entry.without_caps.iter().any(has)
                && entry.kernel <= kernel
        })
        .map(|entry| Rule {
            names: entry.names.split_whitespace().map(str::to_owned).collect(),
            action: if entry.errno.is_some() { Action::Errno } else { Action::Allow },
            errno_ret: entry.errno,
            args: entry.arg.iter().map(|&(index, op, value)| Arg { index, op, value, value_two: 0 }).collect(),
        });
    Seccomp {
        default_action: Action::Errno,
        default_errno_ret: Some(1),
        architectures: match arch {
            Arch::X86_64 => vec![Architecture::X86_64, Architecture::X86, Architecture::X32],
            Arch::Aarch64 => vec![Architecture::Aarch64, Architecture::Arm],
        },
        syscalls: rules.collect(),
        ..Seccomp::default()
    }
}

/// A profile in Docker's format (`--security-opt seccomp=FILE`) for a container with `caps`.
pub fn from_docker_profile<S: AsRef<str>>(
    json: &str,
    caps: &[S],
    arch: Arch,
    kernel: KernelVersion,
) -> Result<Seccomp> {
    if json.len() > MAX_PROFILE_BYTES {
        return Err(Error::invalid(format!(
            "the seccomp profile has {} bytes; at most {MAX_PROFILE_BYTES} are accepted",
            json.len()
        )));
    }
    let profile: Profile =
        serde_json::from_str(json).map_err(|e| Error::invalid(format!("decoding seccomp profile failed: {e}")))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(Error::invalid("seccomp profile: use either 'architectures' or 'archMap', not both"));
    }

    let mut architectures = profile.architectures;
    if let Some(entry) = profile.arch_map.into_iter().find(|entry| entry.architecture == arch.oci()) {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub_architectures);
    }
    let mut syscalls = Vec::with_capacity(profile.syscalls.len());
    for call in profile.syscalls {
        if call.excludes.any(caps, arch, kernel)? || !call.includes.all(caps, arch, kernel)? {
            continue;
        }
        let names = match (call.name, call.names) {
            (Some(name), names) if names.is_empty() => vec![name],
            (Some(name), _) => {
                return Err(Error::invalid(format!(
                    "seccomp profile: use either 'name' or 'names' in one rule, not both (name: {name})"
                )));
            }
            (None, names) => names,
        };
        syscalls.push(Rule { names, action: call.action, errno_ret: call.errno_ret, args: call.args });
    }
    Ok(Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags,
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    })
}

/// The file's top level.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_as_default")]
    architectures: Vec<Architecture>,
    #[serde(default, deserialize_with = "null_as_default")]
    arch_map: Vec<ArchMapEntry>,
    #[serde(default)]
    flags: Option<Vec<Flag>>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default, deserialize_with = "null_as_default")]
    syscalls: Vec<ProfileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMapEntry {
    architecture: Architecture,
    #[serde(default, deserialize_with = "null_as_default")]
    sub_architectures: Vec<Architecture>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileRule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    names: Vec<String>,
    action: Action,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_as_default")]
    args: Vec<Arg>,
    #[serde(default, deserialize_with = "null_as_default")]
    includes: Filter,
    #[serde(default, deserialize_with = "null_as_default")]
    excludes: Filter,
}

/// When a rule applies, or does not.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default, deserialize_with = "null_as_default")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Filter {
    /// As `includes`: every part given must hold; of capabilities all, of architectures one.
    fn all<S: AsRef<str>>(&self, caps: &[S], arch: Arch, kernel: KernelVersion) -> Result<bool> {
        Ok(self.caps.iter().all(|cap| caps.iter().any(|c| c.as_ref() == cap))
            && (self.arches.is_empty() || self.arches.iter().any(|a| a == arch.go_name()))
            && self.kernel()?.is_none_or(|least| kernel >= least))
    }

    /// As `excludes`: any part is enough.
    fn any<S: AsRef<str>>(&self, caps: &[S], arch: Arch, kernel: KernelVersion) -> Result<bool> {
        Ok(self.caps.iter().any(|cap| caps.iter().any(|c| c.as_ref() == cap))
            || self.arches.iter().any(|a| a == arch.go_name())
            || self.kernel()?.is_some_and(|least| kernel >= least))
    }

    fn kernel(&self) -> Result<Option<KernelVersion>> {
        let Some(text) = &self.min_kernel else { return Ok(None) };
        match KernelVersion::parse(text) {
            Some(version) => Ok(Some(version)),
            None => Err(Error::invalid(format!(
                "seccomp profile: minKernel {text:?} is not a kernel version such as \"4.8\""
            ))),
        }
    }
}
