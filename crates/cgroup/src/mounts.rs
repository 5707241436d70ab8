//! What the runtime mounts for a container's `cgroup` mount. Only the plan; mounting lives in the runtime.
use std::path::PathBuf;

use crate::group::Group;
use crate::layout::{Hierarchy, Mode};

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

impl Group {
    /// What a container's `cgroup` mount consists of: one v2 file system, or a tmpfs with a directory for each v1
    /// hierarchy the group is in. Hierarchies it is not in would show groups of others, and are left out.
    pub fn mount_plan(&self) -> Vec<GroupMount> {
        let unified = self.layout().mode() == Mode::V2;
        self.members()
            .filter(|(h, _)| h.is_v2() == unified)
            .map(|(h, _)| {
                let dir = h.dir(self.path().path_in(h.key()));
                if unified { GroupMount::Unified { dir } } else { v1(h, dir) }
            })
            .collect()
    }
}

fn v1(hierarchy: &Hierarchy, dir: PathBuf) -> GroupMount {
    let key = hierarchy.key();
    let (name, data) = match key.strip_prefix("name=") {
        Some(name) => (name.to_string(), format!("none,{key}")),
        None => (key.to_string(), key.to_string()),
    };
    let links = if hierarchy.controllers().len() > 1 { hierarchy.controllers().to_vec() } else { Vec::new() };
    GroupMount::V1 { name, data, dir, links }
}
