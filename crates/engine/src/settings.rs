//! What the daemon's owner decides once: directories, defaults and how helper processes are started.

use std::ffi::OsString;
use std::path::PathBuf;

/// Settings of one engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What must last (`/var/lib/dhow`).
    pub root: PathBuf,
    /// What lives until the next boot (`/run/dhow`).
    pub state: PathBuf,
    /// Keep compressed layers.
    pub keep_blobs: bool,
    /// The most that the root may use; `None` bounds nothing.
    pub disk_budget: Option<DiskBudget>,
    /// The default bridge.
    pub bridge: Bridge,
    /// Parent of every container's group unless a container names its own.
    pub cgroup_parent: Option<String>,
    /// Stricter than Docker: see `docs`; no_new_privs on and NET_RAW dropped.
    pub hardened: bool,
    /// Log driver and options of containers that don't name any.
    pub log: crate::config::LogConfig,
    /// What a stop does whose signal the container can't hear, when nobody said how long to wait.
    pub stop_unheeded: StopUnheeded,
    /// Where systemd's journal listens.
    pub journal_socket: PathBuf,
    /// Name servers, search domains and options of containers that don't name any.
    pub dns: Dns,
    /// The client of registries.
    pub registries: dhow_distribution::Registries,
    /// How many layers are downloaded at the same time, over all pulls.
    pub max_downloads: usize,
    /// How many layers are uploaded at the same time, over all pushes.
    pub max_uploads: usize,
    /// How many prepared network namespaces wait.
    pub netns_pool: usize,
    /// How the zygote is started.
    pub shim_spawn: ShimSpawn,
    /// The static program of the built-in image `dhow/hello`.
    pub hello: &'static [u8],
    /// Version of the program, for `info`.
    pub version: String,
}

/// The most that the root may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskBudget {
    /// So many bytes.
    Bytes(u64),
    /// So much of the size of the file system that holds the root, 1 to 100.
    Percent(u8),
}

/// What follows a stop signal that a container's process neither handles nor blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopUnheeded {
    /// It is killed at once.
    #[default]
    Kill,
    /// It is waited for, as Docker does, and killed when the time is over.
    Wait,
}

/// Default name resolution.
#[derive(Clone, Debug, Default)]
pub struct Dns {
    /// Servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// The program that becomes the zygote.
#[derive(Clone, Debug)]
pub struct ShimSpawn {
    /// This binary (`/proc/self/exe`).
    pub exe: PathBuf,
    /// Words that select the role, for example `shim zygote`.
    pub args: Vec<OsString>,
}

/// The default bridge.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Name of the interface; `None` chooses (`dhow0`, or another if that belongs to another daemon).
    pub name: Option<String>,
    /// Address range, as `172.17.0.0/16`; `None` takes the first free one of Docker's.
    pub subnet: Option<String>,
    /// Largest packet; `None` takes 1500.
    pub mtu: Option<u32>,
    /// Containers may talk to each other.
    pub icc: bool,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { name: None, subnet: None, mtu: None, icc: true }
    }
}
