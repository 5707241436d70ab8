//! What is said about containers, in the shape of each version.

use super::{config, host, mounts, network, or_null, time};
use dhow_api as api;
use dhow_api::ApiVersion;
use dhow_engine::view::{ContainerView, ExecView, HealthView, Probe, StateView, Status, Summary, WaitResult};
use jiff::Timestamp;

/// What keeps file systems, by the name that tools know.
pub(super) const DRIVER: &str = "overlay2";

/// The answer to `GET /containers/{id}/json`.
pub(crate) fn inspect(view: ContainerView, version: ApiVersion) -> api::ContainerInspect {
    let ContainerView {
        id,
        name,
        created,
        path,
        args,
        state: container_state,
        image,
        config: container_config,
        host: host_config,
        platform,
        driver,
        resolv_conf_path,
        hostname_path,
        hosts_path,
        log_path,
        graph,
        mounts: mount_points,
        network: container_network,
        exec_ids,
        size_rw,
        size_root_fs,
        cgroup: _, // Docker has no word for it
    } = view;
    let restart_count = container_state.restart_count as i64;
    let mut document = api::ContainerInspect {
        created: time(Some(created)),
        path,
        args,
        state: state(container_state),
        image: image.map_or_else(String::new, |id| id.to_string()),
        resolv_conf_path,
        hostname_path,
        hosts_path,
        log_path,
        name: format!("/{name}"),
        restart_count,
        graph_driver: Some(api::GraphDriver { data: or_null(graph), name: driver.clone() }),
        driver,
        platform,
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: String::new(),
        exec_ids: or_null(exec_ids),
        host_config: host::to_api(host_config),
        size_rw,
        size_root_fs,
        mounts: mount_points.into_iter().map(mounts::point).collect(),
        config: config::to_api(container_config),
        network_settings: network::settings(id.as_str(), container_network),
        image_manifest_descriptor: None,
        id: id.as_str().to_owned(),
    };
    if version < ApiVersion::new(1, 52) {
        add_legacy_network_fields(&mut document.network_settings);
    }
    document
}

/// Until 1.51 the end point in the default bridge stood beside `Networks` once more.
pub(super) fn add_legacy_network_fields(settings: &mut api::NetworkSettings) {
    let bridge = settings.networks.get("bridge").cloned().unwrap_or_default();
    settings.bridge = Some(String::new());
    settings.hairpin_mode = Some(false);
    settings.link_local_ipv6_address = Some(String::new());
    settings.link_local_ipv6_prefix_len = Some(0);
    settings.secondary_ip_addresses = Some(None);
    settings.secondary_ipv6_addresses = Some(None);
    settings.endpoint_id = Some(bridge.endpoint_id);
    settings.gateway = Some(bridge.gateway);
    settings.global_ipv6_address = Some(bridge.global_ipv6_address);
    settings.global_ipv6_prefix_len = Some(bridge.global_ipv6_prefix_len);
    settings.ip_address = Some(bridge.ip_address);
    settings.ip_prefix_len = Some(bridge.ip_prefix_len);
    settings.ipv6_gateway = Some(bridge.ipv6_gateway);
    settings.mac_address = Some(bridge.mac_address);
}

fn state(state: StateView) -> api::ContainerState {
    let word = state.as_str().to_owned();
    let StateView {
        status,
        paused,
        oom_killed,
        pid,
        exit_code,
        error,
        started_at,
        finished_at,
        restart_count: _,
        restarting,
        health,
    } = state;
    api::ContainerState {
        status: word,
        running: status.is_up(),
        paused,
        restarting: status == Status::Restarting,
        restart_reason: restarting.and_then(|r| r.reason).unwrap_or_default(),
        oom_killed,
        dead: status == Status::Dead,
        pid: pid.into(),
        exit_code: exit_code.into(),
        error,
        started_at: time(started_at),
        finished_at: time(finished_at),
        health: health.map(self::health),
    }
}

fn health(health: HealthView) -> api::Health {
    let HealthView { status, failing_streak, log, restarts: _ } = health;
    let result = |probe: &Probe| api::HealthcheckResult {
        start: time(Some(probe.start)),
        end: time(Some(probe.end)),
        exit_code: probe.exit_code.into(),
        output: probe.output.to_string(),
    };
    api::Health {
        status: status.as_str().to_owned(),
        failing_streak: failing_streak.into(),
        log: Some(log.iter().map(|probe| result(probe)).collect()),
    }
}

/// One line of `GET /containers/json`.
pub(crate) fn summary(of: Summary, now: Timestamp, version: ApiVersion) -> api::ContainerSummary {
    let running = of.state.status == Status::Running;
    let (size_rw, size_root_fs) = of.sizes.unwrap_or_default();
    let health = api::HealthSummary {
        status: of.state.health.as_ref().map_or("none", |h| h.status.as_str()).to_owned(),
        failing_streak: of.state.health.as_ref().map_or(0, |h| h.failing_streak.into()),
    };
    api::ContainerSummary {
        id: of.id.as_str().to_owned(),
        names: vec![format!("/{}", of.name)],
        image: of.image_name,
        image_id: of.image.map_or_else(String::new, |id| id.to_string()),
        image_manifest_descriptor: None,
        command: command_line(&of.path, &of.args),
        created: of.created.as_second(),
        ports: if running { ports(&of.network.ports) } else { Vec::new() },
        size_rw,
        size_root_fs,
        labels: of.labels,
        state: of.state.as_str().to_owned(),
        status: of.state.summary(now),
        host_config: api::ContainerSummaryHostConfig {
            network_mode: of.network_mode,
            annotations: or_null(of.annotations),
        },
        health: (version >= ApiVersion::new(1, 52)).then_some(health),
        network_settings: api::ContainerSummaryNetworks {
            networks: network::settings_by_network(of.network.endpoints).into_iter().map(boxed).collect(),
        },
        mounts: of.mounts.into_iter().map(mounts::point).collect(),
    }
}

fn boxed((name, settings): (String, api::EndpointSettings)) -> (String, Box<api::EndpointSettings>) {
    (name, Box::new(settings))
}

/// The command as lists show it: words with a space are quoted.
fn command_line(path: &str, args: &[String]) -> String {
    args.iter().fold(path.to_owned(), |line, arg| match arg.contains(' ') {
        true => format!("{line} '{arg}'"),
        false => format!("{line} {arg}"),
    })
}

fn ports(
    ports: &std::collections::BTreeMap<String, Option<Vec<dhow_engine::config::PortBinding>>>,
) -> Vec<api::PortSummary> {
    ports
        .iter()
        .flat_map(|(port, bindings)| {
            let (private_port, protocol) = network::split_port(port);
            let exposed = api::PortSummary { private_port, r#type: protocol.to_owned(), ..api::PortSummary::default() };
            match bindings.as_deref() {
                None | Some([]) => vec![exposed],
                Some(bindings) => bindings
                    .iter()
                    .map(|binding| api::PortSummary {
                        ip: binding.host_ip.clone(),
                        public_port: binding.host_port.parse().unwrap_or(0),
                        ..exposed.clone()
                    })
                    .collect(),
            }
        })
        .collect()
}

/// The answer to `POST /containers/{id}/wait`.
pub(crate) fn waited(result: WaitResult) -> api::WaitResponse {
    let WaitResult { code, error } = result;
    api::WaitResponse { status_code: code, error: error.map(|message| api::WaitError { message }) }
}

/// The answer to `GET /exec/{id}/json`.
pub(crate) fn exec(view: ExecView) -> api::ExecInspect {
    let ExecView { id, container, running, exit_code, pid, request, open_stdin } = view;
    let mut words = request.cmd.into_iter();
    api::ExecInspect {
        id,
        running,
        exit_code: exit_code.map(i64::from),
        process_config: api::ProcessConfig {
            tty: request.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(request.privileged),
            user: request.user,
        },
        open_stdin,
        open_stderr: request.attach_stderr,
        open_stdout: request.attach_stdout,
        can_remove: !running && exit_code.is_some(),
        container_id: container.as_str().to_owned(),
        detach_keys: String::new(),
        pid: pid.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_engine::config::PortBinding;
    use serde_json::json;

    #[test]
    fn commands_in_lists_quote_words_with_spaces() {
        assert_eq!(command_line("true", &[]), "true");
        assert_eq!(command_line("sh", &["-c".to_owned(), "echo hi".to_owned()]), "sh -c 'echo hi'");
    }

    #[test]
    fn ports_in_lists() {
        let at = |ip: &str, port: &str| PortBinding { host_ip: ip.to_owned(), host_port: port.to_owned() };
        let given = [
            ("53/udp".to_owned(), None),
            ("80/tcp".to_owned(), Some(vec![at("0.0.0.0", "8080"), at("127.0.0.1", "81")])),
        ];
        assert_eq!(
            json!(ports(&given.into())),
            json!([
                {"PrivatePort": 53, "Type": "udp"},
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 81, "Type": "tcp"},
            ])
        );
    }

    #[test]
    fn the_bridge_is_repeated_for_old_versions() {
        let of = |networks: serde_json::Value| -> serde_json::Value {
            let mut settings = serde_json::from_value(json!({ "Networks": networks })).unwrap();
            add_legacy_network_fields(&mut settings);
            json!(settings)
        };
        let settings = of(json!({"bridge": {"IPAddress": "172.17.0.2", "IPPrefixLen": 16}}));
        assert_eq!(settings["IPAddress"], "172.17.0.2");
        assert_eq!(settings["Networks"]["bridge"]["IPPrefixLen"], 16);
        let settings = of(json!({"none": {}}));
        assert_eq!((&settings["IPAddress"], settings["Networks"].as_object().unwrap().len()), (&json!(""), 1));
        assert!(settings["SecondaryIPAddresses"].is_null() && settings.get("SecondaryIPAddresses").is_some());
    }

    #[test]
    fn a_wait_without_error_has_no_error_field() {
        assert_eq!(json!(waited(WaitResult { code: 3, error: None })), json!({"StatusCode": 3}));
        let failed = WaitResult { code: 125, error: Some("gone".to_owned()) };
        assert_eq!(json!(waited(failed)), json!({"StatusCode": 125, "Error": {"Message": "gone"}}));
    }
}
