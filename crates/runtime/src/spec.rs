//! The documents of the OCI runtime specification 1.3 (`config.json`), as far as Linux goes.
//!
//! Plain data: every field is optional or has a default, keys this crate does not know are ignored as the
//! specification demands, and nothing here is checked or acted on; that is `plan`'s work.

mod linux;
mod process;

pub use crate::seccomp::Seccomp;
pub use dhow_cgroup::resources::Resources;
pub use linux::*;
pub use process::*;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest version of the specification this runtime follows.
pub const OCI_VERSION: &str = "1.3.0";

/// A whole `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification the document was written for.
    pub oci_version: String,
    /// The container's process; absent for `create` only in theory, so its absence is an error at create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Where the root file system is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside the uts namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name inside the uts namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// File systems mounted beneath the root, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs run at points of the life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free-form data; never an instruction to this runtime (R5).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is Linux only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// `root`: the container's root file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Path on the host, relative to the bundle if not absolute.
    pub path: String,
    /// Mounted read-only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One entry of `mounts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where, inside the container's root.
    pub destination: String,
    /// File system type; `bind` or empty for a bind mount.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Device, file or directory on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Options in the words of mount(8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Id mapping of this mount for user ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Id mapping of this mount for group ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// A mount of `kind` at `destination`.
    pub fn new(destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        Self {
            destination: destination.into(),
            kind: Some(kind.into()),
            source: Some(source.into()),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// `hooks`: lists of programs by the point of the life cycle at which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated: as `create_runtime`, run before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after the namespaces exist and before the root is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// In the container, at start, before its program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program was started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container was deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One program of `hooks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hook {
    /// Absolute path.
    pub path: String,
    /// Arguments, the first one being the program's own name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds after which the hook is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_document_with_unknown_keys_and_writes_it_back() {
        let text = r#"{"ociVersion":"1.0.2","x":1,"process":{"user":{"uid":1,"gid":2,"additionalGids":[3]},
            "args":["a"],"cwd":"/","capabilities":{"bounding":["CAP_CHOWN"]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":2,"soft":1}]},
            "root":{"path":"r"},"mounts":[{"destination":"/p","type":"proc","options":["ro"]}],
            "linux":{"namespaces":[{"type":"mount"},{"type":"network","path":"/n"}],"maskedPaths":["/proc/kcore"]}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!(linux.namespaces[1].kind, NamespaceKind::Network);
        assert_eq!(spec.process.as_ref().unwrap().user.additional_gids, [3]);
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
    }
}
