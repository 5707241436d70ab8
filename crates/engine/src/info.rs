//! What the engine says about itself and the machine.

use crate::core::{Core, blocking};
use crate::machine::read;
use crate::shown::network_id;
use crate::view::{EndpointView, InfoView, NetworkInfo, Status, VersionView};
use dhow_cgroup::Mode;
use dhow_types::Result;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Versions.
pub(crate) fn version(core: &Core) -> VersionView {
    VersionView {
        version: core.settings.version.clone(),
        os: "linux".into(),
        arch: go_arch().into(),
        kernel_version: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Facts about the engine and its machine.
pub(crate) async fn info(core: &Arc<Core>) -> Result<InfoView> {
    let core = core.clone();
    blocking(move || {
        let all = core.registry().all();
        let alive = all.iter().filter(|c| c.status() == Status::Running).count();
        let paused = all.iter().filter(|c| c.is_paused()).count();
        let uname = rustix::system::uname();
        let facts = &core.facts;
        let release = read("/etc/os-release");
        let of_release = |key: &str| {
            let line = release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.map(|v| v.trim_matches('"').to_owned()).unwrap_or_default()
        };
        let mut security_options = vec!["name=seccomp,profile=builtin".to_owned()];
        if facts.pure_v2 {
            security_options.push("name=cgroupns".into());
        }
        let mut driver_status =
            vec![("Backing Filesystem".to_owned(), backing(&core)), ("Supports d_type".to_owned(), "true".to_owned())];
        match core.store.damaged_layers() {
            0 => {}
            n => driver_status.push(("Damaged Layers".to_owned(), n.to_string())),
        }
        Ok(InfoView {
            id: core.root_id.clone(),
            containers: all.len(),
            running: alive.saturating_sub(paused),
            paused,
            stopped: all.len() - alive,
            images: core.store.images()?.len(),
            driver: crate::shown::DRIVER.into(),
            driver_status,
            root: core.settings.root.to_string_lossy().into_owned(),
            name: facts.hostname.clone(),
            kernel_version: uname.release().to_string_lossy().into_owned(),
            operating_system: of_release("PRETTY_NAME"),
            os_version: of_release("VERSION_ID"),
            architecture: uname.machine().to_string_lossy().into_owned(),
            ncpu: facts.cpus,
            mem_total: memory(),
            cgroup_driver: if facts.no_cgroups { "none" } else { "cgroupfs" }.into(),
            cgroup_version: if core.layout.mode() == Mode::V2 { "2" } else { "1" }.into(),
            controllers: facts.controllers.clone(),
            security_options,
            logging_driver: match core.settings.log.driver.as_str() {
                "" => "json-file".into(),
                other => other.to_owned(),
            },
            log_drivers: crate::plan::log::DRIVERS.map(str::to_owned).to_vec(),
            network_drivers: vec!["bridge".into(), "host".into(), "null".into()],
            volume_drivers: vec!["local".into()],
            ipv4_forwarding: read("/proc/sys/net/ipv4/ip_forward").trim() == "1",
            nfd: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            server_version: core.settings.version.clone(),
            registries: core.settings.registries.shown(),
            warnings: warnings(&core),
            system_time: Some(Timestamp::now()),
            hardened: core.settings.hardened,
        })
    })
    .await
}

/// What is missing on this machine, in Docker's words.
fn warnings(core: &Core) -> Vec<String> {
    let absent = [
        ("memory", "No memory limit support"),
        ("pids", "No pids limit support"),
        ("cpu", "No cpu cfs quota support"),
        ("cpuset", "No cpuset support"),
    ];
    let mut out: Vec<String> =
        absent.iter().filter(|(c, _)| !core.facts.has_controller(c)).map(|(_, w)| (*w).to_owned()).collect();
    if core.facts.has_controller("memory") && !core.facts.swap_accounting {
        out.push("No swap limit support".into());
    }
    out
}

pub(crate) fn memory() -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib: u64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib * 1024
}

/// The file system below the root, by its magic number.
fn backing(core: &Core) -> String {
    let magic = rustix::fs::statfs(&core.settings.root).map_or(0, |s| s.f_type as u64);
    match magic {
        0xef53 => "extfs".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlayfs".into(),
        other => format!("{other:#x}"),
    }
}

/// The networks: `bridge`, `host` and `none`.
pub(crate) fn networks(core: &Core) -> Vec<NetworkInfo> {
    ["bridge", "host", "none"]
        .into_iter()
        .map(|name| {
            let mut containers = BTreeMap::new();
            for container in core.registry().all() {
                if container.status() != Status::Running {
                    continue;
                }
                let view = crate::shown::view(core, &container);
                let endpoint: Option<EndpointView> = view.network.endpoints.get(name).cloned();
                if let Some(endpoint) = endpoint {
                    containers.insert(view.id.to_string(), (view.name, endpoint));
                }
            }
            let mut info = NetworkInfo {
                id: network_id(core, name),
                name: name.into(),
                driver: if name == "none" { "null" } else { name }.into(),
                containers,
                ..NetworkInfo::default()
            };
            if let Some(up) = core.network.current().filter(|_| name == "bridge") {
                info.subnet = Some(up.bridge.subnet().to_string());
                info.gateway = Some(up.bridge.gateway().to_string());
                info.options = BTreeMap::from([
                    ("com.docker.network.bridge.default_bridge".to_owned(), "true".to_owned()),
                    ("com.docker.network.bridge.enable_icc".to_owned(), core.settings.bridge.icc.to_string()),
                    ("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "true".to_owned()),
                    ("com.docker.network.bridge.name".to_owned(), up.bridge.name().to_owned()),
                ]);
            }
            info
        })
        .collect()
}
