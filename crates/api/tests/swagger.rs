//! The documents against moby's swagger file: every field is there, under its name, with its type.
//!
//! `swagger-fields.json` is made from that file by `swagger-fields.py` beside it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dhow_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What only some daemons say, and a dhow server never does. Nothing that a client sends is in here.
const NEVER_SAID: &[(&str, &[&str])] = &[
    // Several platforms and signatures under one name: the containerd image store.
    ("ImageInspect", &["Manifests", "Identity"]),
    ("ImageSummary", &["Manifests"]),
    ("OCIDescriptor", &["data"]),
    ("ContainerInspectResponse", &["Storage"]),
    // Parts of other daemons, and Swarm.
    ("SystemInfo", &["Containerd", "DiscoveredDevices", "NRI"]),
    ("SwarmInfo", &["Nodes", "Managers", "Cluster"]),
    ("Network", &["Peers"]),
    ("Volume", &["Status", "ClusterVolume"]),
];

fn swagger() -> Value {
    serde_json::from_str(include_str!("swagger-fields.json")).unwrap()
}

/// A value of the swagger file's type that is not the zero value.
fn sample(kind: &str) -> Value {
    match kind.split_once(" of ") {
        Some(("array", inner)) => json!([sample(inner)]),
        Some(("map", inner)) => json!({ "k": sample(inner) }),
        _ => match kind {
            "string" => json!("x"),
            "integer" => json!(7),
            "boolean" => json!(true),
            "object" => json!({}),
            other => panic!("no sample for {other}"),
        },
    }
}

/// Sends every field of the document through `T`; each must come back as it was.
fn check<T: Serialize + DeserializeOwned>(swagger: &Value, document: &str) {
    let fields = swagger["documents"][document].as_object().unwrap_or_else(|| panic!("{document} is not in the file"));
    let absent = NEVER_SAID.iter().find(|(name, _)| *name == document).map_or(&[][..], |(_, fields)| fields);
    let mut whole = Map::new();
    for (field, kind) in fields {
        let kind = kind.as_str().unwrap();
        let value = match (field.as_str(), kind) {
            // Pairs, which the file calls lists.
            ("ConsoleSize", _) => json!([7, 7]),
            (_, "array of array of string") if document == "SystemInfo" => json!([["a", "b"]]),
            _ => sample(kind),
        };
        let read: T = serde_json::from_value(json!({ field: value.clone() }))
            .unwrap_or_else(|e| panic!("{document}.{field}: {e}"));
        let written = serde_json::to_value(&read).unwrap();
        if absent.contains(&field.as_str()) {
            assert!(written.get(field).is_none(), "{document}.{field} is there, so it is no exception any more");
            continue;
        }
        let back = written.get(field).unwrap_or_else(|| panic!("{document}.{field} is missing"));
        match value.is_object() || kind.ends_with("object") {
            // What is in a nested document is checked under its own name.
            true => assert!(!back.is_null(), "{document}.{field}"),
            false => assert_eq!(*back, value, "{document}.{field}"),
        }
        whole.insert(field.clone(), Value::Null);
    }
    // Go reads null as the zero value.
    serde_json::from_value::<T>(Value::Object(whole)).unwrap_or_else(|e| panic!("{document} of nulls: {e}"));
}

#[test]
fn every_field_of_every_document_is_there() {
    let swagger = swagger();
    macro_rules! check_all {
        ($($type:ty = $name:literal,)*) => {{
            $(check::<$type>(&swagger, $name);)*
            let checked = [$($name),*];
            let all = swagger["documents"].as_object().unwrap().keys();
            let forgotten: Vec<_> = all.filter(|name| !checked.contains(&name.as_str())).collect();
            assert!(forgotten.is_empty(), "{forgotten:?} are not checked");
        }};
    }
    check_all! {
        ContainerConfig = "ContainerConfig",
        ContainerCreateRequest = "ContainerConfig",
        HostConfig = "HostConfig",
        NetworkingConfig = "NetworkingConfig",
        Mount = "Mount",
        BindOptions = "MountBindOptions",
        VolumeOptions = "MountVolumeOptions",
        ImageOptions = "MountImageOptions",
        TmpfsOptions = "MountTmpfsOptions",
        MountPoint = "MountPoint",
        RestartPolicy = "RestartPolicy",
        HealthConfig = "HealthConfig",
        Health = "Health",
        HealthcheckResult = "HealthcheckResult",
        DeviceMapping = "DeviceMapping",
        DeviceRequest = "DeviceRequest",
        ThrottleDevice = "ThrottleDevice",
        NetworkSettings = "NetworkSettings",
        EndpointSettings = "EndpointSettings",
        EndpointIpamConfig = "EndpointIPAMConfig",
        ImageInspect = "ImageInspect",
        ImageSummary = "ImageSummary",
        ImageConfig = "ImageConfig",
        ContainerInspect = "ContainerInspectResponse",
        ContainerSummary = "ContainerSummary",
        PortSummary = "PortSummary",
        ContainerState = "ContainerState",
        ContainerCreateResponse = "ContainerCreateResponse",
        WaitResponse = "ContainerWaitResponse",
        WaitError = "ContainerWaitExitError",
        ProcessConfig = "ProcessConfig",
        ImageDeleteItem = "ImageDeleteResponseItem",
        FilesystemChange = "FilesystemChange",
        HistoryItem = "ImageHistoryResponseItem",
        GraphDriver = "DriverData",
        OciDescriptor = "OCIDescriptor",
        OciPlatform = "OCIPlatform",
        ProgressDetail = "ProgressDetail",
        ErrorDetail = "ErrorDetail",
        ErrorResponse = "ErrorResponse",
        IdResponse = "IDResponse",
        Version = "SystemVersion",
        Info = "SystemInfo",
        PluginsInfo = "PluginsInfo",
        RegistryConfig = "RegistryServiceConfig",
        IndexInfo = "IndexInfo",
        Runtime = "Runtime",
        SwarmInfo = "SwarmInfo",
        Commit = "Commit",
        Network = "Network",
        Ipam = "IPAM",
        IpamConfig = "IPAMConfig",
        EndpointResource = "EndpointResource",
        network::ConfigReference = "ConfigReference",
        PortBinding = "PortBinding",
        ExecCreateRequest = "ExecCreateRequest",
        ExecStartRequest = "ExecStartRequest",
        ExecInspect = "ExecInspect",
        Volume = "Volume",
        ImagesDiskUsage = "ImagesDiskUsage",
        ContainersDiskUsage = "ContainersDiskUsage",
        VolumesDiskUsage = "VolumesDiskUsage",
        BuildCacheDiskUsage = "BuildCacheDiskUsage",
        BuildCache = "BuildCache",
    }
}

#[test]
fn the_newest_version_is_the_files() {
    assert_eq!(swagger()["version"], ApiVersion::NEWEST.to_string());
}

/// The zero values as Docker's daemon writes them: null for lists that were never set, nothing for what it leaves out.
#[test]
fn empty_documents_look_as_dockers_do() {
    assert_eq!(
        json!(ContainerConfig::default()),
        json!({
            "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
            "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null,
            "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "Labels": null,
        })
    );
    let host = json!(HostConfig::default());
    for (field, value) in [
        ("Binds", json!(null)),
        ("PortBindings", json!(null)),
        ("ConsoleSize", json!([0, 0])),
        ("LogConfig", json!({"Type": "", "Config": null})),
        ("RestartPolicy", json!({"Name": "", "MaximumRetryCount": 0})),
        ("MemorySwappiness", json!(null)),
        ("IOMaximumIOps", json!(0)),
    ] {
        assert_eq!(host[field], value, "{field}");
    }
    for left_out in [
        "Annotations",
        "Tmpfs",
        "Sysctls",
        "Runtime",
        "Mounts",
        "Init",
        "StorageOpt",
        "Rootfs",
        "RestartOn",
        "KernelMemory",
    ] {
        assert!(host.get(left_out).is_none(), "{left_out}");
    }
    assert_eq!(json!(WaitResponse::default()), json!({"StatusCode": 0}));
    assert_eq!(json!(JsonMessage::stream("a\n")), json!({"stream": "a\n"}));
    assert_eq!(json!(JsonMessage::error("no")), json!({"error": "no", "errorDetail": {"message": "no"}}));
}

#[test]
fn a_command_may_be_one_string() {
    let read: ContainerCreateRequest =
        serde_json::from_value(json!({"Cmd": "date", "Entrypoint": ["sh", "-c"], "Image": "busybox"})).unwrap();
    assert_eq!(read.config.cmd.unwrap().0, ["date"]);
    assert_eq!(read.config.entrypoint.unwrap().0, ["sh", "-c"]);
    assert!(serde_json::from_value::<ContainerConfig>(json!({"Cmd": 7})).is_err());
}
