//! The order of keys in what is said about containers and images: that of Docker's structs, as clients print it.

use super::{container, image};
use dhow_api as api;
use dhow_api::ApiVersion;
use dhow_engine::view::ImageView;
use dhow_types::Digest;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

const CONTAINER: &str = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount \
    Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver SizeRw SizeRootFs Mounts Config \
    NetworkSettings";
const STATE: &str = "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt";
const CONFIG: &str = "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd Image \
    Volumes WorkingDir Entrypoint Labels";
const NETWORK_SETTINGS: &str = "Bridge SandboxID SandboxKey Ports HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen \
    SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen IPAddress \
    IPPrefixLen IPv6Gateway MacAddress Networks";
const HOST_CONFIG: &str = "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver \
    VolumesFrom ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links \
    OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Isolation \
    CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps \
    BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems \
    Devices DeviceCgroupRules DeviceRequests MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits \
    CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth MaskedPaths ReadonlyPaths";
const IMAGE: &str = "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config Architecture Os Size \
    GraphDriver RootFS Metadata";
const IMAGE_CONFIG: &str = "User Env Entrypoint Cmd WorkingDir Labels StopSignal";
const OLD_IMAGE: &str = "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Architecture Os Size \
    GraphDriver RootFS Metadata Config";
const OLD_IMAGE_CONFIG: &str = "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env \
    Cmd Image Volumes WorkingDir Entrypoint OnBuild Labels StopSignal";

/// The members of an object as they stand in the bytes.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(Object)
    }
}

/// The keys of the object at that path, in the order in which an answer has them.
fn keys(answer: &impl Serialize, path: &[&str]) -> String {
    let mut text = serde_json::to_string(answer).unwrap();
    for name in path {
        let Members(members) = serde_json::from_str(&text).unwrap();
        text = members.iter().find(|(key, _)| key == name).unwrap().1.get().to_owned();
    }
    let Members(members) = serde_json::from_str(&text).unwrap();
    members.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_container_has_dockers_order() {
    let mut answer = api::ContainerInspect {
        graph_driver: Some(Default::default()),
        size_rw: Some(1),
        size_root_fs: Some(2),
        ..Default::default()
    };
    answer.config.labels = Some([("z", "1"), ("a", "2"), ("M", "3")].map(|(k, v)| (k.into(), v.into())).into());
    container::add_legacy_network_fields(&mut answer.network_settings);
    for (path, order) in [
        (&[][..], CONTAINER),
        (&["State"], STATE),
        (&["HostConfig"], HOST_CONFIG),
        (&["HostConfig", "RestartPolicy"], "Name MaximumRetryCount"),
        (&["GraphDriver"], "Data Name"),
        (&["Config"], CONFIG),
        (&["Config", "Labels"], "M a z"),
        (&["NetworkSettings"], NETWORK_SETTINGS),
    ] {
        assert_eq!(keys(&answer, path), order, "{path:?}");
    }
}

#[test]
fn an_image_has_dockers_order() {
    let document =
        br#"{"os":"linux","architecture":"amd64","config":{"StopSignal":"INT","Labels":{"z":"1","a":"2","M":"3"},
        "WorkingDir":"/","Cmd":["sh"],"Entrypoint":["e"],"Env":["A=b"],"User":"u"}}"#;
    let answer = |version| {
        let view = ImageView {
            id: Digest::of(b"x"),
            tags: vec![],
            digests: vec![],
            parent: None,
            created: jiff::Timestamp::from_second(1).ok(),
            size: 7,
            damaged: None,
            shared: 3,
            containers: 2,
            labels: Default::default(),
            document: Some(document[..].into()),
            layers: vec![],
            graph: Default::default(),
            last_tagged: None,
            last_used: None,
        };
        image::inspect(view, version).unwrap()
    };
    for (version, image, config) in
        [(ApiVersion::new(1, 50), IMAGE, IMAGE_CONFIG), (ApiVersion::new(1, 49), OLD_IMAGE, OLD_IMAGE_CONFIG)]
    {
        let answer = answer(version);
        for (path, order) in
            [(&[][..], image), (&["Config"], config), (&["Config", "Labels"], "M a z"), (&["GraphDriver"], "Data Name")]
        {
            assert_eq!(keys(&answer, path), order, "{version} {path:?}");
        }
    }
}
