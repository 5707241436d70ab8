//! What the runtime mounts for a container's `cgroup` mount. Only the plan; mounting lives in the runtime.
use std::path::PathBuf;

/// One piece of a container's `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupMount {
    /// The whole mount is one cgroup2 file system; `dir` is the group's directory on the host, for a bind mount
    /// where the container has no cgroup namespace.
    Unified {
        /// The group's directory on the host.
        dir: PathBuf,
    },
    /// A v1 hierarchy, mounted at `name` inside a tmpfs.
    V1 {
        /// The directory inside the tmpfs: `memory`, `cpu,cpuacct`, `systemd`.
        name: String,
        /// Mount data for a fresh `cgroup` mount in a cgroup namespace: `memory`, or `none,name=systemd`.
        data: String,
        /// The group's directory on the host, to bind instead.
        dir: PathBuf,
        /// Symlinks beside it for hierarchies of several controllers: `cpu` and `cpuacct`.
        links: Vec<String>,
    },
}
