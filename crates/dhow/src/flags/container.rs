//! The flags that `run` and `create` share: Docker's names, shapes and groups.

use super::values;
use clap::Args;

/// Everything that describes a container on the command line.
#[derive(Args, Clone, Debug, Default)]
pub struct ContainerFlags {
    /// Name of the container
    #[arg(long, help_heading = "General")]
    pub name: Option<String>,
    /// Keep standard input open
    #[arg(short, long, help_heading = "General")]
    pub interactive: bool,
    /// Give the program a terminal
    #[arg(short, long, help_heading = "General")]
    pub tty: bool,
    /// Connect to stdin, stdout or stderr only
    #[arg(short, long, value_name = "STREAM", help_heading = "General", value_parser = values::stream)]
    pub attach: Vec<String>,
    /// Remove the container, and its anonymous volumes, when it ends
    #[arg(long, help_heading = "General")]
    pub rm: bool,
    /// Treat IMAGE as a directory of this machine; `DIR:O` puts a copy-on-write layer over it
    #[arg(long, help_heading = "General")]
    pub rootfs: bool,
    /// When to fetch the image: `always`, `missing` or `never`
    #[arg(long, value_name = "POLICY", default_value = "missing", help_heading = "General")]
    pub pull: String,
    /// Platform that the image must have (os/arch)
    #[arg(long, help_heading = "General")]
    pub platform: Option<String>,
    /// Write the container's id to this file
    #[arg(long, value_name = "FILE", help_heading = "General")]
    pub cidfile: Option<std::path::PathBuf>,
    /// Label (KEY=VALUE)
    #[arg(short, long, help_heading = "General", value_parser = values::label)]
    pub label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE", help_heading = "General")]
    pub label_file: Vec<std::path::PathBuf>,
    /// OCI annotation (KEY=VALUE)
    #[arg(long, value_name = "KEY=VALUE", help_heading = "General")]
    pub annotation: Vec<String>,
    /// Print less
    #[arg(short, long, help_heading = "General")]
    pub quiet: bool,
    /// When to start it again after its end: no, always, unless-stopped or on-failure[:COUNT]
    #[arg(long, default_value = "no", help_heading = "General")]
    pub restart: String,
    /// Don't verify the image's signature (without effect: none is looked at)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true, hide = true)]
    pub disable_content_trust: Option<bool>,
    /// Let the container reach this daemon: its socket as /var/run/docker.sock
    #[arg(long, help_heading = "General")]
    pub use_api_socket: bool,
    /// OCI runtime: only the built-in `dhow` (or `runc`, its other name)
    #[arg(long, help_heading = "General")]
    pub runtime: Option<String>,

    /// Environment variable (NAME=VALUE, or NAME to pass the caller's)
    #[arg(short, long, help_heading = "Process", value_parser = values::variable)]
    pub env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub env_file: Vec<std::path::PathBuf>,
    /// User, or user:group, by name or number
    #[arg(short, long, help_heading = "Process")]
    pub user: Option<String>,
    /// More groups to join
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    pub group_add: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub workdir: Option<String>,
    /// Program to run instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM", help_heading = "Process")]
    pub entrypoint: Option<String>,
    /// Run a small init as process 1 that forwards signals and reaps
    #[arg(long, help_heading = "Process")]
    pub init: bool,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    pub stop_signal: Option<String>,
    /// Seconds to wait for it to stop before it is killed
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Process")]
    pub stop_timeout: Option<i64>,
    /// Resource limit of the process (NAME=SOFT[:HARD])
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Process", value_parser = values::ulimit)]
    pub ulimit: Vec<String>,
    /// How its health is checked
    #[command(flatten)]
    pub health: super::health::HealthFlags,

    /// Bind a directory or a named volume (SRC:DST[:OPTIONS])
    #[arg(short, long, value_name = "SRC:DST[:OPTIONS]", help_heading = "Files")]
    pub volume: Vec<String>,
    /// Attach a file system (type=bind|volume|tmpfs,source=,target=,…)
    #[arg(long, value_name = "type=…,target=…", help_heading = "Files", value_parser = values::mount)]
    pub mount: Vec<String>,
    /// Mount an empty file system in memory (DIR[:OPTIONS])
    #[arg(long, value_name = "DIR[:OPTIONS]", help_heading = "Files")]
    pub tmpfs: Vec<String>,
    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER", help_heading = "Files")]
    pub volumes_from: Vec<String>,
    /// Driver of new volumes (only `local`)
    #[arg(long, value_name = "DRIVER", help_heading = "Files")]
    pub volume_driver: Option<String>,
    /// Make the container's root read-only
    #[arg(long, help_heading = "Files")]
    pub read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", help_heading = "Files", value_parser = values::size)]
    pub shm_size: Option<String>,

    /// Network: bridge, host, none or container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK", help_heading = "Network", value_parser = values::network)]
    pub network: Vec<String>,
    /// Another name in the network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", help_heading = "Network")]
    pub network_alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub ip6: Option<String>,
    /// Publish a port ([[IP:]HOST:]CONTAINER[/udp])
    #[arg(short, long, value_name = "[[IP:]HOST:]CONTAINER", help_heading = "Network")]
    pub publish: Vec<String>,
    /// Publish all exposed ports to free ports
    #[arg(short = 'P', long, help_heading = "Network")]
    pub publish_all: bool,
    /// Expose a port without publishing it
    #[arg(long, value_name = "PORT[/PROTO]", help_heading = "Network")]
    pub expose: Vec<String>,
    /// Host name in the container
    #[arg(short = 'h', long, help_heading = "Network")]
    pub hostname: Option<String>,
    /// Domain name in the container
    #[arg(long, help_heading = "Network")]
    pub domainname: Option<String>,
    /// Name server
    #[arg(long, value_name = "IP", help_heading = "Network", value_parser = values::address)]
    pub dns: Vec<String>,
    /// Option in resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", help_heading = "Network")]
    pub dns_option: Vec<String>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN", help_heading = "Network", value_parser = values::domain)]
    pub dns_search: Vec<String>,
    /// Line in /etc/hosts (HOST:IP)
    #[arg(long, value_name = "HOST:IP", help_heading = "Network", value_parser = values::host_line)]
    pub add_host: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    pub mac_address: Option<String>,

    /// Memory limit (b, k, m, g)
    #[arg(short, long, value_name = "BYTES", help_heading = "Limits", value_parser = values::size)]
    pub memory: Option<String>,
    /// Memory and swap together; -1 for no limit on swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, help_heading = "Limits", value_parser = values::size_or_all)]
    pub memory_swap: Option<String>,
    /// Memory to which it is pressed back under pressure
    #[arg(long, value_name = "BYTES", help_heading = "Limits", value_parser = values::size)]
    pub memory_reservation: Option<String>,
    /// How readily the kernel swaps (0-100)
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, help_heading = "Limits")]
    pub memory_swappiness: Option<i64>,
    /// Kernel memory (without effect: the kernel has no such limit any more)
    #[arg(long, value_name = "BYTES", hide = true, value_parser = values::size)]
    pub kernel_memory: Option<String>,
    /// Don't kill it when it is out of memory
    #[arg(long, help_heading = "Limits")]
    pub oom_kill_disable: bool,
    /// How readily the kernel kills it when memory is short (-1000 to 1000)
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pub oom_score_adj: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "N", help_heading = "Limits", value_parser = values::cpus)]
    pub cpus: Option<String>,
    /// Weight against other containers (1024 is usual)
    #[arg(short = 'c', long, value_name = "N", help_heading = "Limits")]
    pub cpu_shares: Option<i64>,
    /// Period of the CPU quota in microseconds
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_period: Option<i64>,
    /// CPU time per period in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true, help_heading = "Limits")]
    pub cpu_quota: Option<i64>,
    /// Period of the real-time quota in microseconds
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_period: Option<i64>,
    /// Real-time time per period in microseconds
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs it may use (0-2,4)
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub cpuset_mems: Option<String>,
    /// Number of processes and threads; -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pub pids_limit: Option<i64>,
    /// Block I/O weight (10-1000)
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub blkio_weight: Option<u16>,
    /// Block I/O weight for a device (DEVICE:WEIGHT)
    #[arg(long, value_name = "DEVICE:N", help_heading = "Limits", value_parser = values::device_weight)]
    pub blkio_weight_device: Vec<String>,
    /// Read at most so many bytes a second (DEVICE:BYTES)
    #[arg(long, value_name = "DEVICE:BYTES", help_heading = "Limits", value_parser = values::device_bytes)]
    pub device_read_bps: Vec<String>,
    /// Write at most so many bytes a second
    #[arg(long, value_name = "DEVICE:BYTES", help_heading = "Limits", value_parser = values::device_bytes)]
    pub device_write_bps: Vec<String>,
    /// Read at most so many times a second (DEVICE:N)
    #[arg(long, value_name = "DEVICE:N", help_heading = "Limits", value_parser = values::device_rate)]
    pub device_read_iops: Vec<String>,
    /// Write at most so many times a second
    #[arg(long, value_name = "DEVICE:N", help_heading = "Limits", value_parser = values::device_rate)]
    pub device_write_iops: Vec<String>,
    /// Group under which the container's group is made
    #[arg(long, value_name = "PATH", help_heading = "Limits")]
    pub cgroup_parent: Option<String>,

    /// Give a capability
    #[arg(long, value_name = "CAP", help_heading = "Isolation")]
    pub cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long, value_name = "CAP", help_heading = "Isolation")]
    pub cap_drop: Vec<String>,
    /// All capabilities and devices: no isolation to speak of
    #[arg(long, help_heading = "Isolation")]
    pub privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, systempaths=unconfined
    #[arg(long, value_name = "OPTION", help_heading = "Isolation")]
    pub security_opt: Vec<String>,
    /// Device of the machine (HOST[:CONTAINER[:rwm]])
    #[arg(long, value_name = "DEVICE", help_heading = "Isolation")]
    pub device: Vec<String>,
    /// Rule of the device group (`c 42:* rmw`)
    #[arg(long, value_name = "RULE", help_heading = "Isolation", value_parser = values::device_rule)]
    pub device_cgroup_rule: Vec<String>,
    /// Kernel setting of the container's namespaces (NAME=VALUE)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Isolation", value_parser = values::sysctl)]
    pub sysctl: Vec<String>,
    /// Isolation technology: only `default`
    #[arg(long, value_name = "TECHNOLOGY", help_heading = "Isolation")]
    pub isolation: Option<String>,
    /// Process namespace: private, host or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Isolation")]
    pub pid: Option<String>,
    /// IPC namespace: private, shareable, host, none or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Isolation")]
    pub ipc: Option<String>,
    /// Host name namespace: private or host
    #[arg(long, value_name = "MODE", help_heading = "Isolation")]
    pub uts: Option<String>,
    /// User namespace: host
    #[arg(long, value_name = "MODE", help_heading = "Isolation")]
    pub userns: Option<String>,
    /// cgroup namespace: private or host
    #[arg(long, value_name = "MODE", help_heading = "Isolation")]
    pub cgroupns: Option<String>,

    /// Where the output is kept: json-file or none
    #[arg(long, value_name = "DRIVER", help_heading = "Log")]
    pub log_driver: Option<String>,
    /// Option of the log driver (max-size=10m, max-file=3)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Log")]
    pub log_opt: Vec<String>,
}
