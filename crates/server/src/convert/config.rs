//! `Config` of a container, and the whole request to make one.

use super::{console_size, host, network, or_null, refuse};
use dhow_api as api;
use dhow_api::config::Words;
use dhow_engine::config as engine;
use dhow_types::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The request of `POST /containers/create`.
pub(crate) fn create(
    name: Option<&str>,
    platform: Option<&str>,
    body: api::ContainerCreateRequest,
) -> Result<engine::CreateRequest> {
    let api::ContainerCreateRequest { config, host_config, networking_config } = body;
    Ok(engine::CreateRequest {
        name: name.map(|name| name.trim_start_matches('/').to_owned()).filter(|name| !name.is_empty()),
        platform: platform.map(str::to_owned),
        config: to_engine(config)?,
        host: host::to_engine(host_config)?,
        endpoints: network::endpoints(networking_config)?,
    })
}

pub(crate) fn to_engine(config: api::ContainerConfig) -> Result<engine::ContainerConfig> {
    let api::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck,
        args_escaped,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        mac_address,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    refuse("ArgsEscaped", args_escaped, "it is for Windows containers only")?;
    Ok(engine::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports: set(exposed_ports),
        tty,
        open_stdin,
        stdin_once,
        env: env.unwrap_or_default(),
        cmd: cmd.map(|words| words.0),
        healthcheck: healthcheck.map(health_to_engine),
        image,
        volumes: set(volumes),
        working_dir,
        entrypoint: entrypoint.map(|words| words.0),
        network_disabled,
        mac_address: or_null(mac_address),
        on_build: on_build.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        stop_signal: or_null(stop_signal),
        stop_timeout,
        shell: shell.map(|words| words.0),
    })
}

/// `Config` as `GET /containers/{id}/json` shows it.
pub(crate) fn to_api(config: engine::ContainerConfig) -> api::ContainerConfig {
    let engine::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        mac_address,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    api::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports: or_null(keys(exposed_ports)),
        tty,
        open_stdin,
        stdin_once,
        env: Some(env),
        cmd: cmd.map(Words),
        healthcheck: healthcheck.map(health_to_api),
        args_escaped: false,
        image,
        volumes: or_null(keys(volumes)),
        working_dir,
        entrypoint: entrypoint.map(Words),
        network_disabled,
        mac_address: mac_address.unwrap_or_default(),
        on_build: or_null(on_build),
        labels: Some(labels),
        stop_signal: stop_signal.unwrap_or_default(),
        stop_timeout,
        shell: shell.map(Words),
    }
}

fn health_to_engine(health: api::HealthConfig) -> engine::HealthConfig {
    let api::HealthConfig { test, interval, timeout, start_period, start_interval, retries } = health;
    engine::HealthConfig { test: test.unwrap_or_default(), interval, timeout, retries, start_period, start_interval }
}

fn health_to_api(health: engine::HealthConfig) -> api::HealthConfig {
    let engine::HealthConfig { test, interval, timeout, retries, start_period, start_interval } = health;
    api::HealthConfig { test: or_null(test), interval, timeout, start_period, start_interval, retries }
}

/// The request of `POST /containers/{id}/exec`.
pub(crate) fn exec(body: api::ExecCreateRequest) -> Result<engine::ExecRequest> {
    let api::ExecCreateRequest {
        user,
        privileged,
        tty,
        console_size: size,
        attach_stdin,
        attach_stderr,
        attach_stdout,
        detach_keys,
        env,
        working_dir,
        cmd,
    } = body;
    let cmd = cmd.map(|words| words.0).unwrap_or_default();
    if cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    Ok(engine::ExecRequest {
        cmd,
        env: env.unwrap_or_default(),
        user,
        working_dir,
        tty,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        privileged,
        detach_keys: or_null(detach_keys),
        console_size: console_size("ConsoleSize", size.unwrap_or_default())?,
    })
}

/// The request of `POST /exec/{id}/start`.
pub(crate) fn exec_start(body: api::ExecStartRequest) -> Result<engine::ExecStart> {
    let api::ExecStartRequest { detach, tty, console_size: size } = body;
    if size.is_some() && !tty {
        return Err(Error::invalid("ConsoleSize needs Tty: a size was given for an exec without a terminal"));
    }
    Ok(engine::ExecStart { detach, tty, console_size: console_size("ConsoleSize", size.unwrap_or_default())? })
}

fn set(map: Option<BTreeMap<String, api::Empty>>) -> BTreeSet<String> {
    map.unwrap_or_default().into_keys().collect()
}

fn keys(set: BTreeSet<String>) -> BTreeMap<String, api::Empty> {
    set.into_iter().map(|key| (key, api::Empty {})).collect()
}
