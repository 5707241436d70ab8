//! `HostConfig` of a container.

use super::{console_size, mounts, or_null, refuse, resources};
use dhow_api as api;
use dhow_api::config::Words;
use dhow_engine::config as engine;
use dhow_types::{Error, Result};
use std::collections::BTreeMap;

const WINDOWS: &str = "it is for Windows containers only";

/// The limits and the restart policy of an update. What else a HostConfig has can't be changed.
pub(crate) fn update(mut host: api::HostConfig) -> Result<(engine::Resources, Option<engine::RestartPolicy>)> {
    // Docker's client sends it for a flag that it has hidden, with a kernel that has no such limit.
    host.kernel_memory = 0;
    // At a create no limit is nothing to say; here it takes one away.
    let pids_limit = host.pids_limit.take();
    let mut host = to_engine(host)?;
    let limits = engine::Resources { pids_limit, ..std::mem::take(&mut host.resources) };
    let policy = std::mem::take(&mut host.restart_policy);
    if host != engine::HostConfig::default() {
        return Err(Error::invalid(
            "only limits (Memory, CpuShares, ...) and RestartPolicy of a container can be updated",
        ));
    }
    Ok((limits, Some(policy).filter(|policy| !policy.name.is_empty())))
}

/// Maps every field, or refuses it by name.
pub(super) fn to_engine(host: api::HostConfig) -> Result<engine::HostConfig> {
    let api::HostConfig {
        binds,
        container_id_file,
        log_config,
        network_mode,
        port_bindings,
        restart_policy,
        auto_remove,
        volume_driver,
        volumes_from,
        console_size: size,
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode,
        cgroup,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        isolation,
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices,
        device_cgroup_rules,
        device_requests,
        kernel_memory,
        kernel_memory_tcp,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits,
        cpu_count,
        cpu_percent,
        io_maximum_iops,
        io_maximum_bandwidth,
        mounts: mount_list,
        masked_paths,
        readonly_paths,
        init,
        rootfs,
        restart_on,
    } = host;
    refuse("HostConfig.Cgroup", !cgroup.is_empty(), "use CgroupParent to choose the control group")?;
    refuse("HostConfig.KernelMemory", kernel_memory != 0, "current kernels have no such limit; use Memory")?;
    refuse("HostConfig.CpuCount", cpu_count != 0, WINDOWS)?;
    refuse("HostConfig.CpuPercent", cpu_percent != 0, WINDOWS)?;
    refuse("HostConfig.IOMaximumIOps", io_maximum_iops != 0, WINDOWS)?;
    refuse("HostConfig.IOMaximumBandwidth", io_maximum_bandwidth != 0, WINDOWS)?;
    Ok(engine::HostConfig {
        rootfs,
        restart_on,
        binds: binds.unwrap_or_default(),
        container_id_file,
        log_config: engine::LogConfig { driver: log_config.r#type, options: log_config.config.unwrap_or_default() },
        network_mode,
        port_bindings: ports_to_engine(port_bindings.unwrap_or_default()),
        restart_policy: engine::RestartPolicy {
            name: restart_policy.name,
            maximum_retry_count: restart_policy.maximum_retry_count,
        },
        auto_remove,
        volume_driver,
        volumes_from: volumes_from.unwrap_or_default(),
        mounts: mount_list.unwrap_or_default().into_iter().map(mounts::to_engine).collect::<Result<_>>()?,
        console_size: console_size("HostConfig.ConsoleSize", size)?,
        annotations: annotations.unwrap_or_default(),
        cap_add: words(cap_add),
        cap_drop: words(cap_drop),
        cgroupns_mode,
        dns: dns.unwrap_or_default(),
        dns_options: dns_options.unwrap_or_default(),
        dns_search: dns_search.unwrap_or_default(),
        extra_hosts: extra_hosts.unwrap_or_default(),
        group_add: group_add.unwrap_or_default(),
        ipc_mode,
        links: links.unwrap_or_default(),
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt: security_opt.unwrap_or_default(),
        storage_opt: storage_opt.unwrap_or_default(),
        tmpfs: tmpfs.unwrap_or_default(),
        uts_mode,
        userns_mode,
        shm_size,
        sysctls: sysctls.unwrap_or_default(),
        runtime,
        isolation,
        masked_paths,
        readonly_paths,
        init,
        resources: engine::Resources {
            cpu_shares,
            memory,
            nano_cpus,
            cgroup_parent,
            blkio_weight,
            blkio_weight_device: resources::weights_to_engine(blkio_weight_device),
            blkio_device_read_bps: resources::throttles_to_engine(blkio_device_read_bps),
            blkio_device_write_bps: resources::throttles_to_engine(blkio_device_write_bps),
            blkio_device_read_iops: resources::throttles_to_engine(blkio_device_read_iops),
            blkio_device_write_iops: resources::throttles_to_engine(blkio_device_write_iops),
            cpu_period,
            cpu_quota,
            cpu_realtime_period,
            cpu_realtime_runtime,
            cpuset_cpus,
            cpuset_mems,
            devices: resources::devices_to_engine(devices),
            device_cgroup_rules: device_cgroup_rules.unwrap_or_default(),
            device_requests: device_requests.map_or(0, |requests| requests.len()),
            kernel_memory_tcp,
            memory_reservation,
            memory_swap,
            // The command line writes -1 for a limit that was not given.
            memory_swappiness: memory_swappiness.filter(|percent| *percent != -1),
            oom_kill_disable,
            pids_limit: pids_limit.filter(|limit| *limit > 0),
            ulimits: resources::ulimits_to_engine(ulimits),
        },
    })
}

/// `HostConfig` as `GET /containers/{id}/json` shows it. Lists that Docker's command line always sends are
/// `[]` when they are empty, as they then are with Docker; the others are `null`.
pub(super) fn to_api(host: engine::HostConfig) -> api::HostConfig {
    let engine::HostConfig {
        rootfs,
        restart_on,
        binds,
        container_id_file,
        log_config,
        network_mode,
        port_bindings,
        restart_policy,
        auto_remove,
        volume_driver,
        volumes_from,
        mounts: mount_list,
        console_size,
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        isolation,
        masked_paths,
        readonly_paths,
        init,
        resources: limits,
    } = host;
    let engine::Resources {
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices,
        device_cgroup_rules,
        device_requests: _, // none: a container that asks for some is never made
        kernel_memory_tcp,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits,
    } = limits;
    api::HostConfig {
        binds: or_null(binds),
        container_id_file,
        log_config: api::LogConfig { r#type: log_config.driver, config: Some(log_config.options) },
        network_mode,
        port_bindings: Some(ports_to_api(port_bindings)),
        restart_policy: api::RestartPolicy {
            name: if restart_policy.name.is_empty() { "no".to_owned() } else { restart_policy.name },
            maximum_retry_count: restart_policy.maximum_retry_count,
        },
        auto_remove,
        volume_driver,
        volumes_from: or_null(volumes_from),
        console_size: console_size.map_or([0, 0], |(height, width)| [height.into(), width.into()]),
        annotations: or_null(annotations),
        cap_add: or_null(cap_add).map(Words),
        cap_drop: or_null(cap_drop).map(Words),
        cgroupns_mode,
        dns: Some(dns),
        dns_options: Some(dns_options),
        dns_search: Some(dns_search),
        extra_hosts: or_null(extra_hosts),
        group_add: or_null(group_add),
        ipc_mode,
        cgroup: String::new(),
        links: or_null(links),
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt: or_null(security_opt),
        storage_opt: or_null(storage_opt),
        tmpfs: or_null(tmpfs),
        uts_mode,
        userns_mode,
        shm_size,
        sysctls: or_null(sysctls),
        runtime,
        isolation,
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device: Some(resources::weights_to_api(blkio_weight_device)),
        blkio_device_read_bps: Some(resources::throttles_to_api(blkio_device_read_bps)),
        blkio_device_write_bps: Some(resources::throttles_to_api(blkio_device_write_bps)),
        blkio_device_read_iops: Some(resources::throttles_to_api(blkio_device_read_iops)),
        blkio_device_write_iops: Some(resources::throttles_to_api(blkio_device_write_iops)),
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices: Some(resources::devices_to_api(devices)),
        device_cgroup_rules: or_null(device_cgroup_rules),
        device_requests: None,
        kernel_memory: 0,
        kernel_memory_tcp,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits: Some(resources::ulimits_to_api(ulimits)),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
        mounts: or_null(mount_list.into_iter().map(mounts::to_api).collect()),
        masked_paths,
        readonly_paths,
        init,
        rootfs,
        restart_on,
    }
}

fn words(words: Option<Words>) -> Vec<String> {
    words.map(|words| words.0).unwrap_or_default()
}

fn ports_to_engine(ports: api::PortMap) -> BTreeMap<String, Vec<engine::PortBinding>> {
    let binding = |b: api::PortBinding| engine::PortBinding { host_ip: b.host_ip, host_port: b.host_port };
    ports
        .into_iter()
        .map(|(port, bindings)| (port, bindings.unwrap_or_default().into_iter().map(binding).collect()))
        .collect()
}

fn ports_to_api(ports: BTreeMap<String, Vec<engine::PortBinding>>) -> api::PortMap {
    ports.into_iter().map(|(port, bindings)| (port, Some(bindings_to_api(bindings)))).collect()
}

/// Places on the machine where a port is published.
pub(super) fn bindings_to_api(bindings: Vec<engine::PortBinding>) -> Vec<api::PortBinding> {
    bindings.into_iter().map(|b| api::PortBinding { host_ip: b.host_ip, host_port: b.host_port }).collect()
}
