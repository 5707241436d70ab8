//! The order of the fields in Docker's structs, which `{{json .State}}` and `{{.State}}` show. A daemon may write them in
//! another. A field that has no place here stands behind the others; one that a document leaves out because it points to
//! nothing is still a field.

use super::value::V;

const CONTAINER: &str = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount \
    Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver SizeRw SizeRootFs Mounts Config \
    NetworkSettings";

const IMAGE: &str = "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config Architecture Variant Os \
    OsVersion Size VirtualSize GraphDriver RootFS Metadata Descriptor";

/// By the name of the field that holds the struct, or a list or map of such.
const FIELDS: &[(&str, &str)] = &[
    ("State", "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt Health"),
    ("Health", "Status FailingStreak Log"),
    ("Log", "Start End ExitCode Output"),
    (
        "Config",
        "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd \
         Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels StopSignal \
         StopTimeout Shell",
    ),
    ("Healthcheck", "Test Interval Timeout StartPeriod StartInterval Retries"),
    ("RestartPolicy", "Name MaximumRetryCount"),
    ("LogConfig", "Type Config"),
    ("Mounts", "Type Name Source Destination Driver Mode RW Propagation"),
    ("Ulimits", "Name Hard Soft"),
    ("Devices", "PathOnHost PathInContainer CgroupPermissions"),
    ("RootFS", "Type Layers"),
    (
        "NetworkSettings",
        "Bridge SandboxID SandboxKey Ports HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen SecondaryIPAddresses \
         SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway \
         MacAddress Networks",
    ),
    (
        "Networks",
        "IPAMConfig Links Aliases MacAddress DriverOpts GwPriority NetworkID EndpointID Gateway IPAddress IPPrefixLen \
         IPv6Gateway GlobalIPv6Address GlobalIPv6PrefixLen DNSNames",
    ),
    (
        "HostConfig",
        "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom \
         ConsoleSize Annotations CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup \
         Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode \
         UsernsMode ShmSize Sysctls Runtime Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice \
         BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota \
         CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests \
         MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps \
         IOMaximumBandwidth Mounts MaskedPaths ReadonlyPaths Init",
    ),
];

/// What a document leaves out because it is empty, by the name of the field that holds the struct; and whether JSON that
/// Docker's client writes has it nevertheless.
const ABSENT: &[(&str, &str, V, bool)] = &[
    ("State", "Health", V::Nil, false),
    ("Config", "Healthcheck", V::Nil, false),
    ("Config", "OnBuild", V::NilList, true),
    ("Mounts", "Name", V::Text(String::new()), false),
    ("Mounts", "Driver", V::Text(String::new()), false),
];

/// A document with its fields in Docker's order.
pub fn ordered(document: &V) -> V {
    sorted(document, "")
}

fn sorted(value: &V, field: &str) -> V {
    match value {
        V::List(items) => V::List(items.iter().map(|item| sorted(item, field)).collect()),
        V::Map(map) => V::Map(map.iter().map(|(key, value)| (key.clone(), sorted(value, field))).collect()),
        V::Struct(inner) => {
            let mut inner = inner.clone();
            for (name, value) in &mut inner.fields {
                *value = sorted(value, name);
            }
            let order = match field {
                "" if inner.field("HostConfig").is_some() => CONTAINER,
                "" if inner.field("RootFS").is_some() => IMAGE,
                _ => FIELDS.iter().find(|(name, _)| *name == field).map_or("", |(_, order)| order),
            };
            // An image's configuration is another document.
            let known = field != "Config" || inner.field("Hostname").is_some();
            for (_, name, value, in_json) in ABSENT.iter().filter(|(holder, ..)| known && *holder == field) {
                if inner.field(name).is_none() {
                    inner.fields.push(((*name).to_owned(), value.clone()));
                    if !in_json {
                        inner.omitted.push(name);
                    }
                }
            }
            let place = |name: &str| order.split_whitespace().position(|n| n == name).unwrap_or(usize::MAX);
            inner.fields.sort_by_key(|(name, _)| place(name));
            V::Struct(inner)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_dockers_order() {
        let document: V = serde_json::from_str(
            r#"{"HostConfig":{"RestartPolicy":{"MaximumRetryCount":0,"Name":"no"},"Binds":null},"Id":"x","Own":1,"State":{"Pid":1,"Status":"up"}}"#,
        )
        .unwrap();
        let mut out = String::new();
        ordered(&document).json(&mut out);
        assert_eq!(ordered(&document).to_string(), "{x {up 1 <nil>} {[] {no 0}} 1}");
        assert_eq!(
            out,
            r#"{"Id":"x","State":{"Status":"up","Pid":1},"HostConfig":{"Binds":null,"RestartPolicy":{"Name":"no","MaximumRetryCount":0}},"Own":1}"#
        );
    }
}
