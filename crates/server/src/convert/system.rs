//! What the daemon says about itself.

use super::{or_null, time};
use dhow_api as api;
use dhow_api::ApiVersion;
use dhow_engine::view::{InfoView, VersionView};
use std::collections::BTreeMap;

/// The answer to `GET /version`.
pub(crate) fn version(view: VersionView) -> api::Version {
    let VersionView { version, os, arch, kernel_version } = view;
    let detail = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let details = BTreeMap::from([
        detail("ApiVersion", &ApiVersion::NEWEST.to_string()),
        detail("Arch", &arch),
        detail("Experimental", "false"),
        detail("KernelVersion", &kernel_version),
        detail("MinAPIVersion", &ApiVersion::OLDEST.to_string()),
        detail("Os", &os),
    ]);
    api::Version {
        platform: api::Platform { name: "dhow".to_owned() },
        components: vec![api::Component { name: "Engine".to_owned(), version: version.clone(), details }],
        version,
        api_version: ApiVersion::NEWEST.to_string(),
        min_api_version: ApiVersion::OLDEST.to_string(),
        os,
        arch,
        kernel_version,
        ..api::Version::default()
    }
}

/// How registries are reached, as Docker tells it; a registry with mirrors of its own is listed beside the insecure ones.
fn registry_config(shown: dhow_engine::view::Registries) -> api::RegistryConfig {
    const HUB: &str = "docker.io";
    let index = |name: &str, secure| api::IndexInfo {
        name: name.to_owned(),
        mirrors: shown.mirrors.get(name).cloned().unwrap_or_default(),
        secure,
        official: name == HUB,
    };
    let named = shown.mirrors.keys().map(|name| (name.as_str(), true));
    let insecure = shown.insecure_hosts.iter().map(|name| (name.as_str(), false));
    // Docker Hub comes last: it stays secure, whoever lists it.
    let all = named.chain(insecure).chain([(HUB, true)]);
    api::RegistryConfig {
        index_configs: all.map(|(name, secure)| (name.to_owned(), index(name, secure))).collect(),
        mirrors: shown.mirrors.get(HUB).cloned().unwrap_or_default(),
        insecure_registry_cidrs: shown.insecure_networks,
    }
}

/// The answer to `GET /info`.
pub(crate) fn info(view: InfoView) -> api::Info {
    let InfoView {
        id,
        containers,
        running,
        paused,
        stopped,
        images,
        driver,
        driver_status,
        root,
        name,
        kernel_version,
        operating_system,
        os_version,
        architecture,
        ncpu,
        mem_total,
        cgroup_driver,
        cgroup_version,
        controllers,
        mut security_options,
        logging_driver,
        log_drivers,
        network_drivers,
        volume_drivers,
        ipv4_forwarding,
        nfd,
        server_version,
        registries,
        warnings,
        system_time,
        hardened,
    } = view;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let has = |names: &[&str]| controllers.iter().any(|have| names.contains(&have.as_str()));
    if hardened {
        security_options.push("name=hardened".to_owned());
    }
    let built_in = || api::Runtime { path: "dhow".to_owned(), ..api::Runtime::default() };
    api::Info {
        id,
        containers: count(containers),
        containers_running: count(running),
        containers_paused: count(paused),
        containers_stopped: count(stopped),
        images: count(images),
        driver,
        driver_status: driver_status.into_iter().map(|(name, value)| [name, value]).collect(),
        plugins: api::PluginsInfo {
            volume: volume_drivers,
            network: network_drivers,
            authorization: None,
            log: log_drivers,
        },
        memory_limit: has(&["memory"]),
        swap_limit: has(&["memory"]),
        cpu_cfs_period: has(&["cpu"]),
        cpu_cfs_quota: has(&["cpu"]),
        cpu_shares: has(&["cpu"]),
        cpu_set: has(&["cpuset"]),
        pids_limit: has(&["pids"]),
        // Only the memory controller of v1 has the switch.
        oom_kill_disable: has(&["memory"]) && cgroup_version == "1",
        ipv4_forwarding,
        n_fd: count(nfd),
        system_time: system_time.map_or_else(String::new, |at| time(Some(at))),
        logging_driver,
        cgroup_driver,
        cgroup_version,
        kernel_version,
        operating_system,
        os_version,
        os_type: "linux".to_owned(),
        architecture,
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        http_proxy: registries.http_proxy.clone(),
        https_proxy: registries.https_proxy.clone(),
        no_proxy: registries.no_proxy.clone(),
        registry_config: Some(registry_config(registries)),
        ncpu: count(ncpu),
        mem_total: i64::try_from(mem_total).unwrap_or(i64::MAX),
        docker_root_dir: root,
        name,
        server_version,
        runtimes: BTreeMap::from([("dhow".to_owned(), built_in()), ("runc".to_owned(), built_in())]),
        default_runtime: "dhow".to_owned(),
        swarm: api::SwarmInfo { local_node_state: "inactive".to_owned(), ..api::SwarmInfo::default() },
        // Containers never depend on the daemon's life.
        live_restore_enabled: true,
        security_options,
        firewall_backend: Some(api::FirewallInfo { driver: "nftables".to_owned(), info: vec![] }),
        warnings: or_null(warnings),
        ..api::Info::default()
    }
}
