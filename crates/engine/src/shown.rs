//! From records to views.

use crate::config::EndpointConfig;
use crate::container::Container;
use crate::core::Core;
use crate::plan::log_store::Store;
use crate::plan::mounts::{Mount, Source};
use crate::plan::{merge, modes, ports};
use crate::record::{Record, Root};
use crate::view::{ContainerView, EndpointView, MountPoint, NetworkView, StateView, Status, Summary};
use dhow_types::Result;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Docker's name of the way images and containers are stored here.
pub(crate) const DRIVER: &str = "overlay2";

/// Everything about a container.
pub(crate) fn view(core: &Core, container: &Container) -> ContainerView {
    let mut record = container.record();
    record.state.paused = container.is_paused();
    let mut command = merge::command(&record.config).into_iter();
    let dir = core.dirs.container(&record.id);
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    // As in Docker: only these files are for others to read. Segments are no file that others could read.
    let log_file = record.host.log_config.driver == "json-file" && record.log_store == Store::JsonFile;
    let running = record.state.status == Status::Running;
    ContainerView {
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        state: record.state.clone(),
        image: record.root.image(),
        platform: "linux".into(),
        driver: DRIVER.into(),
        resolv_conf_path: path("resolv.conf"),
        hostname_path: path("hostname"),
        hosts_path: path("hosts"),
        log_path: if log_file { core.dirs.log(&record.id).to_string_lossy().into_owned() } else { String::new() },
        graph: graph(core, &record),
        mounts: record.mounts.iter().map(|(m, place)| mount_point(m, place)).collect(),
        network: network(&core.root_id, &record, running),
        exec_ids: core.execs.alive(&record.id),
        size_rw: None,
        size_root_fs: None,
        cgroup: match (&record.cgroup, running) {
            (Some(group), true) => group.path_in("unified").to_owned(),
            _ => String::new(),
        },
        id: record.id,
        name: record.name,
        created: record.created,
        config: record.config,
        host: record.host,
    }
}

fn graph(core: &Core, record: &Record) -> BTreeMap<String, String> {
    let Some(data) = record.root.data() else { return BTreeMap::new() };
    let lower: Vec<String> = match &record.root {
        Root::Image { id, .. } => core
            .store
            .image(id)
            .map(|i| i.layer_dirs.iter().map(|d| d.to_string_lossy().into_owned()).collect())
            .unwrap_or_default(),
        Root::Overlay { path, .. } => vec![path.to_string_lossy().into_owned()],
        Root::Dir { .. } => Vec::new(),
    };
    let at = |name: &str| data.join(name).to_string_lossy().into_owned();
    BTreeMap::from([
        ("LowerDir".to_owned(), lower.join(":")),
        ("UpperDir".to_owned(), at("upper")),
        ("WorkDir".to_owned(), at("work")),
        // Docker's clients expect the key; here the merged tree exists only inside the container.
        ("MergedDir".to_owned(), at("merged")),
    ])
}

fn mount_point(mount: &Mount, place: &str) -> MountPoint {
    let mut out = MountPoint {
        destination: mount.destination.clone(),
        source: place.to_owned(),
        mode: mount.mode.clone(),
        rw: mount.rw,
        propagation: mount.propagation.clone(),
        ..MountPoint::default()
    };
    match &mount.source {
        Source::Bind { .. } => out.kind = "bind".into(),
        Source::Tmpfs { .. } => out.kind = "tmpfs".into(),
        Source::Volume { name, .. } => {
            out.kind = "volume".into();
            out.driver = "local".into();
            out.name = name.clone().unwrap_or_default();
        }
    }
    out
}

/// What a list says of a container. The store is not asked: a list of a thousand would ask it a thousand times.
pub(crate) fn summary(root_id: &str, record: &Record, paused: bool) -> Summary {
    let mut command = merge::command(&record.config).into_iter();
    Summary {
        id: record.id.clone(),
        name: record.name.clone(),
        created: record.created,
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        state: StateView { paused, ..record.state.clone() },
        image: record.root.image(),
        image_name: match &record.host.rootfs {
            Some(rootfs) if record.config.image.is_empty() => rootfs.clone(),
            _ => record.config.image.clone(),
        },
        labels: record.config.labels.clone(),
        network_mode: record.host.network_mode.clone(),
        annotations: record.host.annotations.clone(),
        network: network(root_id, record, record.state.status == Status::Running),
        mounts: record.mounts.iter().map(|(m, place)| mount_point(m, place)).collect(),
        sizes: None,
    }
}

/// The id of a network: the same as long as the root lives.
pub(crate) fn network_id(core: &Core, name: &str) -> String {
    network_id_of(&core.root_id, name)
}

/// The same, of the root of that id.
pub(crate) fn network_id_of(root_id: &str, name: &str) -> String {
    dhow_types::Digest::of(format!("network {name} of {root_id}").as_bytes()).hex()
}

fn network(root_id: &str, record: &Record, running: bool) -> NetworkView {
    let mode = modes::network(&record.host.network_mode).unwrap_or(modes::Network::None);
    let name = match mode {
        _ if record.config.network_disabled => "none",
        modes::Network::Bridge => "bridge",
        modes::Network::None => "none",
        modes::Network::Host => "host",
        modes::Network::Container(_) => return NetworkView::default(),
    };
    let config: EndpointConfig = record.endpoints.get(name).cloned().unwrap_or_default();
    let mut endpoint = EndpointView { config, ..EndpointView::default() };
    if running {
        endpoint.network_id = network_id_of(root_id, name);
        endpoint.endpoint_id = dhow_types::Digest::of(format!("endpoint {name} {}", record.id).as_bytes()).hex();
    }
    let mut bound = &Vec::new();
    if let Some(e) = &record.endpoint {
        endpoint.gateway = e.gateway.to_string();
        endpoint.ip_address = e.ip.to_string();
        endpoint.ip_prefix_len = e.prefix;
        endpoint.mac_address = e.mac.to_string();
        bound = &e.ports;
    }
    let exposed = ports::exposed(&record.config.exposed_ports).unwrap_or_default();
    NetworkView {
        sandbox_key: if running { format!("/proc/{}/ns/net", record.state.pid) } else { String::new() },
        ports: if running { ports::view(&exposed, bound) } else { BTreeMap::new() },
        endpoints: BTreeMap::from([(name.to_owned(), endpoint)]),
    }
}

/// Bytes in a container's writable layer, and in its whole root. Blocks.
pub(crate) fn sizes(core: &Core, record: &Record) -> Result<(i64, i64)> {
    let own = record.root.data().map_or(0, |data| size(&data.join("upper")));
    let image = match record.root.image() {
        Some(id) => core.store.image(&id)?.size,
        None => 0,
    };
    Ok((own as i64, (own + image) as i64))
}

/// Bytes below a directory, as far as they can be read; a container may be changing it.
fn size(dir: &Path) -> u64 {
    const MAX_DEPTH: usize = 512;
    let mut sum = 0;
    let mut todo = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() && depth < MAX_DEPTH {
                todo.push((entry.path(), depth + 1));
            } else {
                sum += meta.size();
            }
        }
    }
    sum
}
