//! What was seen of the machine: plain data, without an opinion. `look` fills it, `judge` reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why something was not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// Only root may look.
    Root,
    /// No answer in time.
    Late,
    /// Something else.
    Other(String),
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("not seen without root"),
            Self::Late => f.write_str("not seen: no answer in time"),
            Self::Other(why) => write!(f, "not seen: {why}"),
        }
    }
}

/// What was seen, or why not.
pub type Seen<T> = Result<T, Unseen>;

/// A trial: whether it worked, else what the system said.
pub type Tried = Seen<Result<(), String>>;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who asks, and where.
    pub caller: Caller,
    /// The kernel.
    pub kernel: Seen<Kernel>,
    /// Control groups.
    pub groups: Seen<Groups>,
    /// Rights.
    pub rights: Seen<Rights>,
    /// The directories, in the order root, state.
    pub disks: Vec<Disk>,
    /// The root's content.
    pub store: Seen<Store>,
    /// The network.
    pub network: Seen<Network>,
    /// The daemon.
    pub daemon: Seen<Daemon>,
    /// Docker's client and others.
    pub clients: Seen<Clients>,
}

/// Who asks, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Its name, if it has one.
    pub user: String,
    /// What manages packages: `apt-get`, `dnf` …, empty if none of them was found.
    pub packager: String,
    /// Whether systemd is process 1.
    pub systemd: bool,
    /// `docker`, `podman`, … if this is a container itself.
    pub container: Option<String>,
    /// The root directory.
    pub root: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The configuration file, if it exists.
    pub config: Option<PathBuf>,
    /// What is wrong with it.
    pub config_error: Option<String>,
    /// Its `dns`.
    pub dns: Vec<String>,
    /// Its `bip`.
    pub bip: Option<String>,
    /// Its `bridge`.
    pub bridge: Option<String>,
    /// Its `mtu`.
    pub mtu: Option<u32>,
    /// The socket that commands use, as `unix://PATH`, or what was said of it instead.
    pub host: String,
    /// The name of the context that says so.
    pub context: String,
    /// Seconds since 1970.
    pub now: i64,
}

impl Caller {
    /// Whether it is root.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The command that installs a package here.
    pub fn install(&self, debian: &str, fedora: &str) -> String {
        match self.packager.as_str() {
            "dnf" | "yum" | "zypper" => format!("{} install -y {fedora}", self.packager),
            "apk" => format!("apk add {fedora}"),
            "pacman" => format!("pacman -S {fedora}"),
            _ => format!("apt-get install -y {debian}"),
        }
    }

    /// The configuration file to edit.
    pub fn config_file(&self) -> String {
        self.config.as_ref().map_or_else(|| "/etc/dhow/daemon.json".to_owned(), |p| p.display().to_string())
    }

    /// How keys get into the configuration: a command where there is no file yet, else words on what to write.
    pub fn configure(&self, keys: &str) -> (String, String) {
        let restart = "then restart the daemon: containers go on meanwhile".to_owned();
        match &self.config {
            None => (format!("mkdir -p /etc/dhow && echo '{{{keys}}}' > /etc/dhow/daemon.json"), restart),
            Some(path) => (format!("${{EDITOR:-vi}} {}", path.display()), format!("set {keys}, {restart}")),
        }
    }
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// System calls and interfaces that were tried, by name.
    pub calls: BTreeMap<String, Result<(), String>>,
    /// Namespaces: kind, whether a process could be made in one.
    pub namespaces: Vec<(String, Tried)>,
    /// `/proc/sys/user/max_KIND_namespaces`.
    pub namespace_limits: BTreeMap<String, u64>,
    /// What seccomp can do.
    pub seccomp: Vec<String>,
    /// An overlay on the root's file system.
    pub overlay: Tried,
    /// Whether the root's file system tells the kinds of files in a directory.
    pub dirent_types: Option<bool>,
    /// Bridge, pair, addresses, nftables.
    pub network: Tried,
    /// Whether /dev/fuse is there.
    pub fuse: bool,
    /// Keys: used and allowed, of this user.
    pub keys: Option<(u64, u64)>,
    /// `kernel.pid_max` and the number of processes and threads now.
    pub pids: Option<(u64, u64)>,
}

/// Control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// `v2`, `hybrid`, `v1`, `none`.
    pub mode: String,
    /// Controllers that can be used.
    pub controllers: Vec<String>,
    /// Controllers that `/proc/cgroups` lists as switched off.
    pub switched_off: Vec<String>,
    /// On v2: controllers that the group's children get.
    pub handed_down: Option<Vec<String>>,
    /// Where this process is on v2.
    pub own: String,
    /// Where the v2 hierarchy (or the one of memory) is mounted.
    pub mount: String,
    /// Whether that is mounted read-only.
    pub read_only: bool,
    /// Whether `cgroup.kill` is there; `None` where there is no group to look at.
    pub kill: Option<bool>,
    /// Bytes of swap.
    pub swap: u64,
    /// Whether swap is counted; `None` without a memory controller.
    pub swap_counted: Option<bool>,
}

/// Rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `CapEff`.
    pub effective: u64,
    /// `CapBnd`.
    pub bounding: u64,
    /// `NoNewPrivs`.
    pub no_new_privs: bool,
    /// Whether a seccomp filter is on this process.
    pub filtered: bool,
    /// Whose limit of open files this is: the daemon's process id, or none for the caller's own.
    pub files_of: Option<u32>,
    /// Soft and hard limit of open files.
    pub files: (u64, u64),
    /// Security modules that are active, if that can be seen.
    pub modules: Option<Vec<String>>,
    /// SELinux: `Some(true)` when it enforces.
    pub selinux: Option<bool>,
    /// AppArmor is enabled.
    pub apparmor: bool,
}

/// A directory and the file system that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `root`, `state`.
    pub what: String,
    /// The directory.
    pub path: PathBuf,
    /// The figures.
    pub room: Seen<Room>,
}

/// What is known of a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The directory that was looked at: the path, or what exists of it.
    pub exists: PathBuf,
    /// Bytes: free for everybody, all.
    pub bytes: (u64, u64),
    /// Inodes: free, all; `(0, 0)` where they are made as needed.
    pub inodes: (u64, u64),
    /// `ext4`.
    pub kind: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Options that matter: ro, noexec, nosuid, nodev.
    pub options: Vec<String>,
    /// Directories below it that are on another file system.
    pub elsewhere: Vec<PathBuf>,
}

/// The root's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Whether there is anything.
    pub made: bool,
    /// Mode and owner of the root directory.
    pub mode: u32,
    /// The root's owner.
    pub owner: u32,
    /// The version of the tables; `None` if there is no database.
    pub schema: Option<Result<u32, String>>,
    /// The version that this program knows.
    pub known: u32,
    /// Directories of layers.
    pub layers: u64,
    /// Layers that a check found damaged.
    pub damaged: Seen<u64>,
    /// What is half done or on its way out.
    pub leftovers: u64,
    /// The process that has the root.
    pub holder: Option<u32>,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `net.ipv4.ip_forward`.
    pub forwarding: Option<bool>,
    /// `bridge-nf-call-iptables`.
    pub bridge_filter: Option<bool>,
    /// Whether the loopback device is on.
    pub loopback: bool,
    /// dhow's bridges: name, MTU, subnet.
    pub bridges: Vec<Bridge>,
    /// The device of the default route and its MTU.
    pub way_out: Option<(String, u32)>,
    /// Routes of others: destination, device.
    pub routes: Vec<(String, String)>,
    /// The subnet that a new bridge would get.
    pub free: Result<String, String>,
    /// Chains that forwarded packets go through.
    pub chains: Seen<Vec<Chain>>,
    /// Whether the older iptables has a table `filter`, which nftables does not show.
    pub old_iptables: Option<bool>,
    /// Nameservers of resolv.conf.
    pub nameservers: Result<Vec<IpAddr>, String>,
    /// Whether systemd-resolved has a list of the real ones.
    pub resolved: bool,
    /// Whether /etc/hosts knows localhost.
    pub localhost: bool,
    /// Whether the kernel has IPv6, and whether it is on.
    pub ipv6: Option<bool>,
}

/// A bridge of a daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// `dhow0`.
    pub name: String,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it is on.
    pub up: bool,
    /// Its subnet.
    pub subnet: Option<String>,
}

/// A chain at the forward hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// `ip filter`.
    pub table: String,
    /// `FORWARD`.
    pub name: String,
    /// Whether it drops what no rule takes.
    pub drops: bool,
    /// Bridges of dhow that its rules name.
    pub lets: Vec<String>,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The socket's path; `None` where the host is no socket.
    pub socket: Option<PathBuf>,
    /// Whether commands start a daemon there by themselves.
    pub default: bool,
    /// What became of a connection.
    pub answer: Answer,
    /// Mode, owner, group of the socket.
    pub node: Option<Node>,
    /// Who has the other end.
    pub peer: Option<Peer>,
    /// Version of this program.
    pub client_version: String,
    /// What it says of itself.
    pub said: Option<Said>,
    /// Shims: container and what is wrong with it, and how many were asked.
    pub shims: Seen<(u64, Vec<(String, Shim)>)>,
    /// Seconds since 1970 of the newest file of the root.
    pub newest: Option<i64>,
}

/// What became of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// An answer.
    Well,
    /// There is no socket.
    #[default]
    Absent,
    /// A socket on which nobody listens.
    Dead,
    /// Something else has the name.
    NoSocket,
    /// Not allowed.
    Forbidden,
    /// Connected, but no answer in time.
    Silent,
    /// Something else.
    Failed(String),
}

/// The socket's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// The group's name.
    pub group: String,
    /// Its members.
    pub members: Vec<String>,
}

/// The process behind a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub pid: u32,
    /// `dhow`, `dockerd`.
    pub name: String,
    /// The words that it was started with.
    pub words: Vec<String>,
    /// Seconds that it has run.
    pub age: Option<u64>,
    /// Its program was replaced since.
    pub replaced: bool,
    /// It sees another network than this process.
    pub other_network: bool,
    /// It sees other mounts than this process.
    pub other_mounts: bool,
}

/// What a daemon says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The product: `dhow`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Its clock, seconds since 1970.
    pub time: Option<i64>,
    /// Its root.
    pub root: String,
    /// Containers that run.
    pub running: i64,
    /// Warnings of its own.
    pub warnings: Vec<String>,
}

/// What is wrong with a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// Nobody listens on its socket.
    Gone,
    /// It speaks an older protocol.
    Older,
    /// No answer in time.
    Silent,
}

/// Docker's client and others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Docker's client: path and version.
    pub docker: Option<(PathBuf, String)>,
    /// It is podman under another name.
    pub is_podman: bool,
    /// Plugins: name and version.
    pub plugins: Vec<(String, String)>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DHOW_HOST`.
    pub dhow_host: Option<String>,
    /// The context that is used, and its host.
    pub context: Option<(String, Option<String>)>,
    /// Whether `DOCKER_CONTEXT` says so (else the configuration file).
    pub context_by_variable: bool,
    /// What is wrong with Docker's configuration file.
    pub config_error: Option<String>,
    /// Who serves `/var/run/docker.sock`.
    pub docker_socket: Other,
    /// Who serves podman's socket.
    pub podman_socket: Other,
}

/// What serves a well-known socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Other {
    /// There is none.
    #[default]
    Absent,
    /// It is the very socket of dhow.
    Same,
    /// Nobody listens.
    Dead,
    /// Not allowed to ask.
    Forbidden,
    /// A process of this name and id.
    By(String, u32),
    /// It does not answer.
    Silent,
}
