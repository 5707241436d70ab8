//! The OCI document of a container: everything decided, nothing done.
//!
//! Equal in behaviour to what Docker gives runc for the same request; the golden test below fixes it.

use super::facts::Facts;
use super::modes;
use super::mounts::{Mount, Source};
use super::security::Security;
use super::user::Identity;
use super::{caps, devices, merge, resources};
use crate::config::{ContainerConfig, HostConfig};
use dhow_shim::spec::{self, Namespace, NamespaceKind, Process, Spec};
use dhow_types::Result;

/// Bytes of `/dev/shm` when nothing is asked.
const SHM_SIZE: i64 = 64 << 20;

/// Hidden from containers. Source: Docker's documented list, which grows with the kernel (rule R12).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Not writable by containers.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where `/dev/shm` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shm {
    /// Nothing is mounted there.
    None,
    /// A tmpfs of its own.
    Own,
    /// This directory: the machine's, or one shared with other containers.
    Shared(String),
}

/// The files a container gets of its own in `/etc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFiles {
    /// Path on the machine.
    pub resolv_conf: String,
    /// Path on the machine.
    pub hostname: String,
    /// Path on the machine.
    pub hosts: String,
}

/// All that goes into the document.
#[derive(Debug)]
pub struct Input<'a> {
    /// Merged with the image's.
    pub config: &'a ContainerConfig,
    /// As asked, adapted to the machine.
    pub host: &'a HostConfig,
    /// The machine.
    pub facts: &'a Facts,
    /// Parsed options.
    pub security: &'a Security,
    /// Stricter defaults.
    pub hardened: bool,
    /// Name in the container.
    pub hostname: &'a str,
    /// Who runs.
    pub identity: &'a Identity,
    /// What it may.
    pub capabilities: &'a [String],
    /// Mounts with the paths of the machine they come from.
    pub mounts: &'a [(Mount, String)],
    /// Files in `/etc`.
    pub files: Option<&'a NetworkFiles>,
    /// Devices with their permissions.
    pub devices: &'a [(devices::Node, String)],
    /// Limits without devices.
    pub resources: spec::Resources,
    /// `/dev/shm`.
    pub shm: Shm,
}

/// The document.
pub fn build(input: Input<'_>) -> Result<Spec> {
    let Input { config, host, .. } = input;
    let process = process(&input)?;
    let mounts = mounts(&input)?;
    let mut resources = input.resources;
    resources.devices = if host.privileged { devices::all() } else { devices::default_rules(input.hardened) };
    if !host.privileged {
        resources.devices.extend(input.devices.iter().map(|(node, permissions)| devices::allow(node, permissions)));
        for rule in &host.resources.device_cgroup_rules {
            resources.devices.push(devices::rule(rule)?);
        }
    }
    let confined = !host.privileged && !input.security.system_paths_unconfined;
    let paths = |chosen: &Option<Vec<String>>, default: &[&str], more: &[String]| match (chosen, confined) {
        (Some(list), _) if !host.privileged => list.clone(),
        (_, true) => default.iter().map(|p| (*p).to_owned()).chain(more.iter().cloned()).collect(),
        _ => Vec::new(),
    };
    let own_uts = !modes::host_or_own(&host.uts_mode, "UTS")?;
    Ok(Spec {
        oci_version: spec::OCI_VERSION.into(),
        process: Some(process),
        root: Some(spec::Root { path: String::new(), readonly: host.readonly_rootfs }),
        hostname: own_uts.then(|| input.hostname.to_owned()),
        domainname: (own_uts && !config.domainname.is_empty()).then(|| config.domainname.clone()),
        mounts,
        annotations: host.annotations.clone(),
        linux: Some(spec::Linux {
            namespaces: namespaces(host, input.facts.pure_v2)?,
            devices: input.devices.iter().map(|(node, _)| node.oci()).collect(),
            resources: Some(resources),
            sysctl: host.sysctls.clone(),
            masked_paths: paths(&host.masked_paths, &MASKED, &input.facts.thermal_throttle),
            readonly_paths: paths(&host.readonly_paths, &READONLY, &[]),
            ..Default::default()
        }),
        ..Spec::default()
    })
}

/// The capability sets of a process. A user other than root holds none until it runs a program that gives some, as
/// after any `execve`; inheritable and ambient stay empty (rule R11).
pub fn capability_sets(capabilities: &[String], uid: u32) -> spec::Capabilities {
    let held = if uid == 0 { capabilities.to_vec() } else { Vec::new() };
    spec::Capabilities {
        bounding: capabilities.to_vec(),
        effective: held.clone(),
        permitted: held,
        ..Default::default()
    }
}

fn process(input: &Input<'_>) -> Result<Process> {
    let Input { config, host, .. } = input;
    let adjust = i32::try_from(host.oom_score_adj).unwrap_or(0);
    Ok(Process {
        terminal: config.tty,
        console_size: host.console_size.map(|(height, width)| spec::ConsoleSize { height, width }),
        user: spec::User {
            uid: input.identity.uid,
            gid: input.identity.gid,
            umask: None,
            additional_gids: input.identity.groups.clone(),
        },
        args: merge::command(config),
        env: merge::environment(config, input.hostname, &input.identity.home),
        cwd: if config.working_dir.is_empty() { "/".into() } else { config.working_dir.clone() },
        capabilities: Some(capability_sets(input.capabilities, input.identity.uid)),
        rlimits: host.resources.ulimits.iter().map(resources::rlimit).collect::<Result<_>>()?,
        no_new_privileges: input.security.no_new_privileges.unwrap_or(input.hardened),
        // Writing a 0 over a 0 is a system call for nothing.
        oom_score_adj: (adjust != input.facts.oom_score_adj).then_some(adjust),
        ..Process::default()
    })
}

fn namespaces(host: &HostConfig, pure_v2: bool) -> Result<Vec<Namespace>> {
    let mut out = vec![NamespaceKind::Mount];
    if modes::network(&host.network_mode)? != modes::Network::Host {
        out.push(NamespaceKind::Network);
    }
    if !modes::host_or_own(&host.uts_mode, "UTS")? {
        out.push(NamespaceKind::Uts);
    }
    if modes::pid(&host.pid_mode)? != modes::Pid::Host {
        out.push(NamespaceKind::Pid);
    }
    if modes::ipc(&host.ipc_mode)? != modes::Ipc::Host {
        out.push(NamespaceKind::Ipc);
    }
    if modes::cgroup_private(&host.cgroupns_mode, pure_v2)? {
        out.push(NamespaceKind::Cgroup);
    }
    Ok(out.into_iter().map(|kind| Namespace { kind, path: None }).collect())
}

fn mounts(input: &Input<'_>) -> Result<Vec<spec::Mount>> {
    let host = input.host;
    let rw = if host.privileged { "rw" } else { "ro" };
    let mut out = vec![
        spec::Mount::new("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        spec::Mount::new("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        spec::Mount::new(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        spec::Mount::new("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", rw]),
    ];
    if !input.facts.no_cgroups {
        out.push(spec::Mount::new("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", rw]));
    }
    out.push(spec::Mount::new("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    let size = if host.shm_size > 0 { host.shm_size } else { SHM_SIZE };
    match &input.shm {
        Shm::None => {}
        Shm::Own => {
            let size = format!("size={size}");
            out.push(spec::Mount::new("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
        }
        Shm::Shared(path) => out.push(spec::Mount::new("/dev/shm", "bind", path, &["rbind", "rprivate"])),
    }
    if let Some(files) = input.files {
        let rw = if host.readonly_rootfs { "ro" } else { "rw" };
        for (target, source) in
            [("/etc/resolv.conf", &files.resolv_conf), ("/etc/hostname", &files.hostname), ("/etc/hosts", &files.hosts)]
        {
            out.push(spec::Mount::new(target, "bind", source, &["bind", "rprivate", rw]));
        }
    }
    // What the user mounts over a default place replaces it.
    out.retain(|m| !input.mounts.iter().any(|(user, _)| user.destination == m.destination));
    out.extend(input.mounts.iter().map(|(mount, source)| user_mount(mount, source)));
    Ok(out)
}

fn user_mount(mount: &Mount, source: &str) -> spec::Mount {
    match &mount.source {
        Source::Tmpfs { options } => {
            let mut m = spec::Mount::new(&mount.destination, "tmpfs", "tmpfs", &[]);
            m.options.clone_from(options);
            if !mount.rw && !m.options.iter().any(|o| o == "ro") {
                m.options.push("ro".into());
            }
            m
        }
        Source::Bind { .. } | Source::Volume { .. } => {
            let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
            let mut options = vec![if mount.non_recursive { "bind" } else { "rbind" }, propagation];
            options.push(if mount.rw { "rw" } else { "ro" });
            if !mount.rw && mount.read_only_recursive {
                options.push("rro");
            }
            spec::Mount::new(&mount.destination, "bind", source, &options)
        }
    }
}

/// The capabilities of a container.
pub fn capabilities(host: &HostConfig, facts: &Facts, hardened: bool) -> Result<Vec<String>> {
    caps::resolve(&host.cap_add, &host.cap_drop, host.privileged, hardened, facts.capabilities)
}

#[cfg(test)]
mod tests {
    use super::super::mounts;
    use super::*;

    fn document(config: &ContainerConfig, host: &HostConfig, identity: &Identity) -> serde_json::Value {
        let facts = Facts::for_tests();
        let security = super::super::security::parse(&host.security_opt).unwrap();
        let mounts: Vec<_> = mounts::plan(config, host, Vec::new())
            .unwrap()
            .into_iter()
            .map(|m| (m, "/machine/path".to_owned()))
            .collect();
        let files = NetworkFiles { resolv_conf: "/c/r".into(), hostname: "/c/n".into(), hosts: "/c/h".into() };
        let spec = build(Input {
            config,
            host,
            facts: &facts,
            security: &security,
            hardened: false,
            hostname: "0123456789ab",
            identity,
            capabilities: &capabilities(host, &facts, false).unwrap(),
            mounts: &mounts,
            files: Some(&files),
            devices: &[],
            resources: resources::oci(&host.resources, &|_| Ok((8, 0))).unwrap(),
            shm: Shm::Own,
        })
        .unwrap();
        serde_json::to_value(spec).unwrap()
    }

    fn root() -> Identity {
        Identity { home: "/root".into(), groups: vec![0], ..Default::default() }
    }

    #[test]
    fn default_container() {
        let config = ContainerConfig { cmd: Some(vec!["true".into()]), ..Default::default() };
        let got = document(&config, &HostConfig::default(), &root());
        let want: serde_json::Value = serde_json::from_str(include_str!("golden/default.json")).unwrap();
        assert_eq!(got, want, "{}", serde_json::to_string_pretty(&got).unwrap());
    }

    #[test]
    fn privileged_lifts_everything() {
        let config = ContainerConfig { cmd: Some(vec!["true".into()]), ..Default::default() };
        let host = HostConfig { privileged: true, ..Default::default() };
        let doc = document(&config, &host, &root());
        assert!(doc["linux"].get("maskedPaths").is_none() && doc["linux"].get("readonlyPaths").is_none());
        assert_eq!(doc["linux"]["resources"]["devices"].as_array().unwrap().len(), 1);
        assert_eq!(doc["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
        let sys = doc["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == "/sys").unwrap();
        assert!(sys["options"].as_array().unwrap().iter().any(|o| o == "rw"));
    }

    #[test]
    fn variations() {
        let config = ContainerConfig { cmd: Some(vec!["true".into()]), tty: true, ..Default::default() };
        let host = HostConfig {
            network_mode: "host".into(),
            pid_mode: "host".into(),
            readonly_rootfs: true,
            binds: vec!["/m:/etc/hosts:ro".into()],
            shm_size: 7,
            ..Default::default()
        };
        let identity = Identity { uid: 5, gid: 6, groups: vec![6], home: "/h".into() };
        let doc = document(&config, &host, &identity);
        let kinds: Vec<_> =
            doc["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["mount", "uts", "ipc"]);
        assert!(doc["process"]["capabilities"].get("effective").is_none());
        let mounts = doc["mounts"].as_array().unwrap();
        let hosts: Vec<_> = mounts.iter().filter(|m| m["destination"] == "/etc/hosts").collect();
        assert_eq!(hosts.len(), 1);
        assert_eq!(hosts[0]["options"], serde_json::json!(["rbind", "rprivate", "ro", "rro"]));
        let shm = mounts.iter().find(|m| m["destination"] == "/dev/shm").unwrap();
        assert!(shm["options"].as_array().unwrap().iter().any(|o| o == "size=7"));
        assert_eq!(doc["root"]["readonly"], true);
        assert_eq!(doc["process"]["terminal"], true);
    }
}
