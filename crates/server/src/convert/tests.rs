//! No field of a request is silently ignored: the swagger file's fields, one at a time.

use super::*;
use dhow_api::{ContainerCreateRequest, HostConfig, Mount};
use serde_json::{Value, json};

/// The fields and types of one document of the swagger file.
fn fields(document: &str) -> Vec<(String, String)> {
    let swagger: Value = serde_json::from_str(include_str!("../../../api/tests/swagger-fields.json")).unwrap();
    let fields = swagger["documents"][document].as_object().unwrap();
    fields.iter().map(|(name, kind)| (name.clone(), kind.as_str().unwrap().to_owned())).collect()
}

/// A value that asks for something.
fn sample(field: &str, kind: &str) -> Value {
    match field {
        "ConsoleSize" => return json!([7, 9]),
        "LogConfig" => return json!({"Type": "x", "Config": {"k": "v"}}),
        "RestartPolicy" => return json!({"Name": "always", "MaximumRetryCount": 3}),
        "PortBindings" => return json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}),
        "Mounts" => return json!([{"Type": "bind", "Source": "/a", "Target": "/b"}]),
        "Healthcheck" => return json!({"Test": ["CMD", "x"], "Interval": 5}),
        "BlkioWeightDevice" => return json!([{"Path": "/dev/a", "Weight": 3}]),
        "Devices" => return json!([{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]),
        "Ulimits" => return json!([{"Name": "nofile", "Hard": 2, "Soft": 1}]),
        _ if field.starts_with("BlkioDevice") => return json!([{"Path": "/dev/a", "Rate": 3}]),
        _ => {}
    }
    match kind.split_once(" of ") {
        Some(("array", inner)) => json!([sample("", inner)]),
        Some(("map", inner)) => json!({ "k": sample("", inner) }),
        _ => match kind {
            "string" => json!("x"),
            "integer" => json!(7),
            "boolean" => json!(true),
            _ => json!({}),
        },
    }
}

fn create(body: Value) -> Result<dhow_engine::CreateRequest> {
    let body: ContainerCreateRequest = serde_json::from_value(body.clone()).unwrap_or_else(|e| panic!("{body}: {e}"));
    config::create(None, None, body)
}

/// Mapped (the engine's request differs, and inspect shows the value) or refused by name.
fn mapped_or_refused(
    name: &str,
    body: Value,
    shown: impl Fn(dhow_engine::CreateRequest) -> Value,
    value: &Value,
) -> bool {
    match create(body) {
        Err(error) => {
            assert!(error.text().contains(name), "{name} is refused with {error}");
            false
        }
        Ok(request) => {
            assert_ne!(request, create(json!({})).unwrap(), "{name} is ignored");
            // An engine refuses these itself, so they never come to be shown.
            if name != "DeviceRequests" {
                assert_eq!(&shown(request)[name], value, "{name} is not shown as it was asked for");
            }
            true
        }
    }
}

#[test]
fn every_field_of_host_config_is_mapped_or_refused() {
    let mut refused = Vec::new();
    for (field, kind) in fields("HostConfig") {
        let value = sample(&field, &kind);
        let body = json!({"HostConfig": {&field: value.clone()}});
        if !mapped_or_refused(&field, body, |request| json!(host::to_api(request.host)), &value) {
            refused.push(field);
        }
    }
    // Everything else is the engine's to do or to refuse.
    assert_eq!(refused, ["Cgroup", "CpuCount", "CpuPercent", "IOMaximumBandwidth", "IOMaximumIOps"]);
    // Not in the newest file any more, but clients still have them.
    assert!(create(json!({"HostConfig": {"KernelMemory": 1}})).unwrap_err().text().contains("KernelMemory"));
    assert_eq!(create(json!({"HostConfig": {"KernelMemoryTCP": 1}})).unwrap().host.resources.kernel_memory_tcp, 1);
    let rootfs = create(json!({"HostConfig": {"Rootfs": "/:O"}})).unwrap().host.rootfs;
    assert_eq!(rootfs.as_deref(), Some("/:O"));
}

#[test]
fn every_field_of_config_is_mapped_or_refused() {
    let mut refused = Vec::new();
    for (field, kind) in fields("ContainerConfig") {
        let value = sample(&field, &kind);
        let body = json!({&field: value.clone()});
        if !mapped_or_refused(&field, body, |request| json!(config::to_api(request.config)), &value) {
            refused.push(field);
        }
    }
    assert_eq!(refused, ["ArgsEscaped"]);
    let mac = create(json!({"MacAddress": "02:42:ac:11:00:02"})).unwrap().config.mac_address;
    assert_eq!(mac.as_deref(), Some("02:42:ac:11:00:02"));
}

#[test]
fn every_option_of_a_mount_is_mapped_or_refused() {
    let mount = |kind: &str, options: &str, value: Value| {
        create(json!({"HostConfig": {"Mounts": [{"Type": kind, "Target": "/t", options: value}]}}))
    };
    for (kind, options, document) in [
        ("bind", "BindOptions", "MountBindOptions"),
        ("volume", "VolumeOptions", "MountVolumeOptions"),
        ("tmpfs", "TmpfsOptions", "MountTmpfsOptions"),
    ] {
        let empty = mount(kind, options, json!({})).unwrap();
        for (field, type_) in fields(document) {
            let value = match field.as_str() {
                "DriverConfig" => json!({"Name": "x", "Options": {"k": "v"}}),
                _ => sample(&field, &type_),
            };
            let request = mount(kind, options, json!({&field: value.clone()})).unwrap();
            assert_ne!(request, empty, "{options}.{field} is ignored");
            let shown = json!(host::to_api(request.host).mounts);
            assert_eq!(shown[0][options][&field], value, "{options}.{field}");
        }
        // Options of another type.
        let wrong = if kind == "bind" { "TmpfsOptions" } else { "BindOptions" };
        assert!(mount(kind, wrong, json!({})).unwrap_err().text().contains(wrong), "{kind} with {wrong}");
    }
    for kind in ["image", "cluster", "npipe"] {
        assert!(mount(kind, "Source", json!("s")).unwrap_err().text().contains(kind));
    }
    for field in ["Source", "Consistency", "ReadOnly", "Target", "Type"] {
        let value = if field == "ReadOnly" { json!(true) } else { json!("bind") };
        let mount: Mount = serde_json::from_value(json!({ field: value })).unwrap();
        assert_ne!(mounts::to_engine(mount.clone()).unwrap(), mounts::to_engine(Mount::default()).unwrap(), "{field}");
        assert_eq!(mounts::to_api(mounts::to_engine(mount.clone()).unwrap()), mount, "{field}");
    }
}

#[test]
fn every_setting_of_an_endpoint_is_mapped_or_refused() {
    // Docker, too, ignores these in a request: they say how things are.
    const SAID_ONLY: [&str; 9] = [
        "NetworkID",
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "DNSNames",
    ];
    let with = |settings: Value| create(json!({"NetworkingConfig": {"EndpointsConfig": {"bridge": settings}}}));
    let empty = with(Value::Null).unwrap();
    for (field, kind) in fields("EndpointSettings") {
        let settings = |value: Value| with(json!({ &field: value }));
        match field.as_str() {
            name if SAID_ONLY.contains(&name) => assert_eq!(settings(sample(&field, &kind)).unwrap(), empty, "{field}"),
            "GwPriority" => assert!(settings(json!(7)).unwrap_err().text().contains("GwPriority")),
            "IPAMConfig" => {
                for address in ["IPv4Address", "IPv6Address"] {
                    assert_ne!(settings(json!({address: "x"})).unwrap(), empty, "{address}");
                }
                let refused = settings(json!({"LinkLocalIPs": ["x"]})).unwrap_err();
                assert!(refused.text().contains("LinkLocalIPs"));
            }
            _ => assert_ne!(settings(sample(&field, &kind)).unwrap(), empty, "{field} is ignored"),
        }
    }
}

/// Values by which clients say "nothing" must stay nothing.
#[test]
fn what_clients_send_for_nothing_is_nothing() {
    let plain = create(json!({})).unwrap();
    for nothing in [
        json!({"HostConfig": {"MemorySwappiness": -1}}),
        json!({"HostConfig": {"PidsLimit": 0}}),
        json!({"HostConfig": {"PidsLimit": -1}}),
        json!({"HostConfig": {"ConsoleSize": [0, 0], "Binds": null, "Dns": [], "Devices": []}}),
        json!({"HostConfig": null, "NetworkingConfig": null}),
        json!({"NetworkingConfig": {"EndpointsConfig": {}}}),
    ] {
        assert_eq!(create(nothing.clone()).unwrap(), plain, "{nothing}");
    }
    let host: HostConfig = serde_json::from_value(json!({"ConsoleSize": [70000, 1]})).unwrap();
    assert!(host::to_engine(host).unwrap_err().text().contains("ConsoleSize"));
}

#[test]
fn names_lose_their_slash_and_execs_need_a_command() {
    let named = |name| config::create(Some(name), None, ContainerCreateRequest::default()).unwrap().name;
    assert_eq!((named("/web").as_deref(), named(""), named("/")), (Some("web"), None, None));
    let exec = |body: Value| config::exec(serde_json::from_value(body).unwrap());
    assert_eq!(exec(json!({})).unwrap_err().text(), "No exec command specified");
    assert_eq!(exec(json!({"Cmd": ["sh"], "DetachKeys": ""})).unwrap().detach_keys, None);
    let start = |body: Value| config::exec_start(serde_json::from_value(body).unwrap());
    assert_eq!(start(json!({"Tty": true, "ConsoleSize": [4, 5]})).unwrap().console_size, Some((4, 5)));
    assert!(start(json!({"ConsoleSize": [4, 5]})).is_err());
}

#[test]
fn every_field_of_an_exec_is_mapped() {
    let exec = |body: Value| config::exec(serde_json::from_value(body).unwrap()).unwrap();
    let plain = exec(json!({"Cmd": ["a"]}));
    for (field, kind) in fields("ExecCreateRequest") {
        let value = sample(&field, &kind);
        assert_ne!(exec(json!({"Cmd": ["a"], &field: value})), plain, "{field} is ignored");
    }
}
