//! What is refused before anything is made: contradictions, values out of range, and fields that are not built,
//! each by its own name. Nothing that is accepted here is ignored later.

use super::{modes, names, ports, resources, restart, security, signal};
use crate::config::{ContainerConfig, CreateRequest, HostConfig};
use dhow_types::{Error, Result};

/// Largest number of entries in any list of a request.
const MAX_ENTRIES: usize = 10_000;
/// Largest text of one label, variable or argument.
const MAX_TEXT: usize = 1 << 20;

/// Checks a request as far as that needs neither the image nor the machine.
pub fn check(request: &CreateRequest) -> Result<()> {
    if let Some(name) = &request.name {
        names::check_container(name)?;
    }
    check_config(&request.config)?;
    let host = &request.host;
    if host.rootfs.is_some() != request.config.image.is_empty() {
        return Err(Error::invalid("name an image or a directory as root file system (Rootfs), and not both"));
    }
    not_built(host)?;
    check_modes(&request.config, host)?;
    security::parse(&host.security_opt)?;
    ports::check(&request.config, host)?;
    check_numbers(host)?;
    for (network, endpoint) in &request.endpoints {
        let fixed = endpoint.ipv4_address.is_some() || endpoint.ipv6_address.is_some();
        if fixed {
            return Err(Error::invalid(
                "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
            ));
        }
        if !endpoint.aliases.is_empty() {
            return Err(Error::invalid(
                "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
            ));
        }
        refuse_if(!endpoint.links.is_empty(), "Links")?;
        refuse_if(!endpoint.driver_opts.is_empty(), "DriverOpts of an endpoint")?;
        if modes::network(network)? != modes::network(&host.network_mode)? {
            return Err(Error::invalid(format!("a container has one network: {network} is not {}", host.network_mode)));
        }
    }
    Ok(())
}

fn check_config(config: &ContainerConfig) -> Result<()> {
    let lists = [config.env.len(), config.labels.len(), config.volumes.len(), config.exposed_ports.len()];
    let words = config.cmd.iter().chain(&config.entrypoint).flatten();
    if lists.into_iter().any(|n| n > MAX_ENTRIES) || words.clone().count() > MAX_ENTRIES {
        return Err(Error::invalid(format!("more than {MAX_ENTRIES} entries in one list")));
    }
    for text in words.chain(&config.env).chain(config.labels.values()) {
        if text.len() > MAX_TEXT {
            return Err(Error::invalid(format!("an argument, variable or label is longer than {MAX_TEXT} bytes")));
        }
        if text.contains('\0') {
            return Err(Error::invalid(format!("{text:?} contains a zero byte")));
        }
    }
    for entry in &config.env {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Error::invalid(format!("invalid environment variable: {entry}")));
        }
    }
    check_host_name(&config.hostname)?;
    check_host_name(&config.domainname)?;
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if let Some(s) = config.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        signal::parse(s)?;
    }
    config.healthcheck.as_ref().map_or(Ok(()), super::health::check)
}

/// Host names end up in files that programs parse: letters, digits, `-`, `_` and dots only.
fn check_host_name(name: &str) -> Result<()> {
    let good = name.len() <= 253
        && name.split('.').all(|label| label.len() <= 63)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !name.starts_with(['-', '.']);
    if name.is_empty() || good {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid hostname format: {name}")))
}

fn refuse_if(set: bool, what: &str) -> Result<()> {
    if set { Err(Error::not_implemented(format!("{what} is not built yet"))) } else { Ok(()) }
}

fn not_built(host: &HostConfig) -> Result<()> {
    for spec in &host.volumes_from {
        super::volumes_from::parse(spec)?;
    }
    refuse_if(!host.links.is_empty(), "Links (--link)")?;
    refuse_if(!host.storage_opt.is_empty(), "StorageOpt (--storage-opt)")?;
    refuse_if(host.resources.device_requests > 0, "DeviceRequests (--gpus)")?;
    refuse_if(host.resources.kernel_memory_tcp != 0, "KernelMemoryTCP")?;
    restart::check(&host.restart_policy)?;
    if host.auto_remove && !restart::is_none(&host.restart_policy) {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if !matches!(host.volume_driver.as_str(), "" | "local") {
        return Err(Error::not_implemented(format!("volume driver {} is not built: use local", host.volume_driver)));
    }
    if !matches!(host.runtime.as_str(), "" | "dhow" | "runc" | "io.containerd.runc.v2") {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(Error::invalid(format!("invalid isolation '{}' on linux", host.isolation)));
    }
    Ok(())
}

fn check_modes(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let network = modes::network(&host.network_mode)?;
    modes::ipc(&host.ipc_mode)?;
    modes::pid(&host.pid_mode)?;
    modes::host_or_own(&host.userns_mode, "USER")?;
    modes::cgroup_private(&host.cgroupns_mode, false)?;
    let conflict = |what: &str| Err(Error::invalid(format!("conflicting options: {what}")));
    if modes::host_or_own(&host.uts_mode, "UTS")? && !config.hostname.is_empty() {
        return conflict("hostname and the UTS mode");
    }
    if matches!(network, modes::Network::Container(_)) {
        if !config.hostname.is_empty() {
            return conflict("hostname and the network mode");
        }
        if !host.dns.is_empty() {
            return conflict("dns and the network mode");
        }
        if !host.extra_hosts.is_empty() {
            return conflict("custom host-to-IP mapping and the network mode");
        }
        if config.mac_address.is_some() {
            return conflict("mac-address and the network mode");
        }
        if !host.port_bindings.is_empty() || host.publish_all_ports {
            return conflict("port publishing and the container type network mode");
        }
        if !config.exposed_ports.is_empty() {
            return conflict("port exposing and the container type network mode");
        }
    }
    if config.network_disabled && !matches!(network, modes::Network::Bridge | modes::Network::None) {
        return conflict("NetworkDisabled and the network mode");
    }
    for server in &host.dns {
        if server.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::invalid(format!("invalid DNS server address {server:?}: use an IP address")));
        }
    }
    for text in host.dns_search.iter().chain(&host.dns_options) {
        if text.is_empty() || text.contains(char::is_whitespace) || text.contains(char::is_control) {
            return Err(Error::invalid(format!("invalid DNS search domain or option {text:?}")));
        }
    }
    for entry in &host.extra_hosts {
        super::hosts::parse(entry)?;
    }
    for name in host.sysctls.keys() {
        check_sysctl(name, host)?;
    }
    Ok(())
}

/// Only what belongs to a namespace of the container's own. Rule: Docker's list.
fn check_sysctl(name: &str, host: &HostConfig) -> Result<()> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm_next_id",
    ];
    let ipc = IPC.contains(&name) || name.starts_with("fs.mqueue.");
    let net = name.starts_with("net.");
    let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'))
        && !name.contains("..");
    if !clean || !(ipc || net) {
        return Err(Error::invalid(format!(
            "sysctl '{name}' is not allowed: it does not belong to a namespace of the container"
        )));
    }
    if ipc && modes::ipc(&host.ipc_mode)? == modes::Ipc::Host {
        return Err(Error::invalid(format!("sysctl '{name}' is not allowed with the machine's IPC namespace")));
    }
    if net && matches!(modes::network(&host.network_mode)?, modes::Network::Host | modes::Network::Container(_)) {
        return Err(Error::invalid(format!("sysctl '{name}' is not allowed without a network namespace of its own")));
    }
    Ok(())
}

fn check_numbers(host: &HostConfig) -> Result<()> {
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if host.shm_size < 0 {
        return Err(Error::invalid("SHM size can not be less than 0"));
    }
    resources::check(&host.resources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::ErrorKind;

    fn request() -> CreateRequest {
        CreateRequest { config: ContainerConfig { image: "x".into(), ..Default::default() }, ..Default::default() }
    }

    #[test]
    fn refusals_name_the_field() {
        type Change = fn(&mut CreateRequest);
        let rows: &[(&str, ErrorKind, Change)] = &[
            ("invalid mode: what", ErrorKind::InvalidParameter, |r| r.host.volumes_from.push("x:what".into())),
            ("--link", ErrorKind::NotImplemented, |r| r.host.links.push("x".into())),
            ("--gpus", ErrorKind::NotImplemented, |r| r.host.resources.device_requests = 1),
            ("can't create 'AutoRemove'", ErrorKind::InvalidParameter, |r| {
                r.host.auto_remove = true;
                r.host.restart_policy.name = "always".into();
            }),
            ("unknown policy 'x'", ErrorKind::InvalidParameter, |r| r.host.restart_policy.name = "x".into()),
            ("network mine not found", ErrorKind::NotFound, |r| r.host.network_mode = "mine".into()),
            ("hostname and the UTS mode", ErrorKind::InvalidParameter, |r| {
                r.host.uts_mode = "host".into();
                r.config.hostname = "h".into();
            }),
            ("port publishing and the container type", ErrorKind::InvalidParameter, |r| {
                r.host.network_mode = "container:a".into();
                r.host.publish_all_ports = true;
            }),
            ("Test in Healthcheck has no command", ErrorKind::InvalidParameter, |r| {
                let test = vec!["CMD".into()];
                r.config.healthcheck = Some(crate::config::HealthConfig { test, ..Default::default() });
            }),
            ("sysctl 'kernel.core_pattern'", ErrorKind::InvalidParameter, |r| {
                r.host.sysctls.insert("kernel.core_pattern".into(), "x".into());
            }),
            ("sysctl 'net/../kernel", ErrorKind::InvalidParameter, |r| {
                r.host.sysctls.insert("net/../kernel.core_pattern".into(), "x".into());
            }),
            ("invalid hostname format", ErrorKind::InvalidParameter, |r| r.config.hostname = "a\nb".into()),
            ("needs to be an absolute path", ErrorKind::InvalidParameter, |r| r.config.working_dir = "x".into()),
            ("invalid environment variable", ErrorKind::InvalidParameter, |r| r.config.env.push("=x".into())),
            ("zero byte", ErrorKind::InvalidParameter, |r| r.config.env.push("A=\0".into())),
            ("oom score", ErrorKind::InvalidParameter, |r| r.host.oom_score_adj = 1001),
            ("unknown or invalid runtime", ErrorKind::InvalidParameter, |r| r.host.runtime = "kata".into()),
            ("Invalid container name", ErrorKind::InvalidParameter, |r| r.name = Some("a/b".into())),
            ("and not both", ErrorKind::InvalidParameter, |r| r.host.rootfs = Some("/".into())),
            ("and not both", ErrorKind::InvalidParameter, |r| r.config.image.clear()),
            ("user defined networks only", ErrorKind::InvalidParameter, |r| {
                r.endpoints.entry("bridge".into()).or_default().ipv4_address = Some("1.2.3.4".into());
            }),
        ];
        check(&request()).unwrap();
        for (text, kind, change) in rows {
            let mut r = request();
            change(&mut r);
            let e = check(&r).expect_err(text);
            assert!(e.text().contains(text) && e.kind() == *kind, "{text}: {e:?}");
        }
    }
}
