//! Which objects of the API's documents are maps in Docker's client, and what a null stands for: JSON does not say.
//! By the name of the field, which is enough: no name is a struct in one document and a map in another, but for those
//! that [`of`] leaves as structs.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A struct, or a pointer to something.
    Struct,
    /// A map from text.
    Map,
    /// A list.
    List,
}

const MAPS: &[&str] = &[
    "Annotations",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "GraphDriver.Data",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Services",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Attributes",
    "Runtimes",
];

const LISTS: &[&str] = &[
    "Aliases",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "ConsoleSize",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Layers",
    "LinkLocalIPs",
    "Links",
    "Log",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "Names",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
    "Warnings",
];

/// What the field of this name holds.
pub fn of(field: &str) -> Shape {
    if MAPS.contains(&field) {
        Shape::Map
    } else if LISTS.contains(&field) {
        Shape::List
    } else {
        Shape::Struct
    }
}
