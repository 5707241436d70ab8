//! Everything a start needs, made in one go on a thread that may block: network, files, document, and the frame to
//! the zygote. Each step that leaves something behind registers its undo.

use super::attach::Pending;
use super::join::{Joins, not_joined};
use crate::config::HostConfig;
use crate::core::Core;
use crate::layers::Layers;
use crate::machine;
use crate::plan::mounts::Source;
use crate::plan::spec::{Input, NetworkFiles, Shm};
use crate::plan::{self, modes, security};
use crate::reach;
use crate::record::{Record, Root};
use crate::undo::Undo;
use crate::users;
use crate::view::Status;
use dhow_net::{PortBinding, files};
use dhow_shim::encode_call;
use dhow_shim::protocol::{Launch, Request, Rootfs, VERSION};
use dhow_shim::spec::NamespaceKind;
use dhow_store::Durability;
use dhow_store::merged::View;
use dhow_types::{Cause, ContainerId, Context, Error, Result};
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A start that waits for the shim's answer.
pub(super) struct Prepared {
    /// The connection, with the call numbered [`crate::link::FIRST`] sent.
    pub(super) stream: UnixStream,
    /// The record as it is stored: running, with its endpoint.
    pub(super) record: Record,
    /// It could not be stored: what it must survive.
    pub(super) unwritten: Option<Durability>,
    /// Takes everything back unless it is kept.
    pub(super) undo: Undo,
}

/// Prepares a start and sends it to a fresh shim.
pub(super) fn prepare(core: &Arc<Core>, mut record: Record, joins: Joins, clients: Vec<Pending>) -> Result<Prepared> {
    let mut undo = Undo::default();
    let security = security::parse(&record.host.security_opt)?;
    let capabilities = plan::spec::capabilities(&record.host, &core.facts, core.settings.hardened)?;
    let (rootfs, lower) = rootfs(core, &record)?;
    let identity = identity(core, &record, &lower)?;
    let mut fds: Vec<OwnedFd> = Vec::new();
    let mut namespaces: Vec<(NamespaceKind, u32)> = Vec::new();
    let mut join = |kind, fd| {
        namespaces.push((kind, fds.len() as u32));
        fds.push(fd);
    };

    let mode =
        if record.config.network_disabled { modes::Network::None } else { modes::network(&record.host.network_mode)? };
    let mut address = None;
    let (netns, files) = joins.network.map_or((None, None), |(netns, files)| (Some(netns), Some(files)));
    match (&mode, netns) {
        (modes::Network::Bridge, _) => {
            let ports = plan::ports::published(&record.config, &record.host)?;
            let connected = core.network.connect(&record.id, &ports, record.mac);
            let (netns, endpoint) = connected.map_err(|e| held_by(core, &record.id, &ports, e))?;
            let (back, given) = (core.clone(), endpoint.clone());
            undo.add("endpoint", move || back.network.disconnect(&given));
            address = Some(endpoint.ip);
            record.endpoint = Some(endpoint);
            join(NamespaceKind::Network, netns);
        }
        (modes::Network::None, _) => join(NamespaceKind::Network, dhow_net::loopback_netns()?),
        (modes::Network::Container(_), Some(netns)) => join(NamespaceKind::Network, netns),
        (modes::Network::Container(name), None) => return Err(not_joined(name)),
        (modes::Network::Host, _) => {}
    }
    if let Some(pids) = joins.pid {
        join(NamespaceKind::Pid, pids);
    }
    let shared = joins.ipc.map(|(ipc, shm)| {
        join(NamespaceKind::Ipc, ipc);
        shm
    });

    let files = match files {
        Some(files) => files,
        None => write_files(core, &record, address, mode == modes::Network::Host)?,
    };
    let shm = shared_memory(core, &record, shared, &mut undo)?;
    make_sources(&record)?;
    let devices =
        if record.host.privileged { machine::all_devices()? } else { machine::mapped(&record.host.resources.devices)? };
    let spec = plan::spec::build(Input {
        config: &record.config,
        host: &record.host,
        facts: &core.facts,
        security: &security,
        hardened: core.settings.hardened,
        hostname: &record.hostname,
        identity: &identity,
        capabilities: &capabilities,
        mounts: &record.mounts,
        files: Some(&files),
        devices: &devices,
        resources: plan::resources::oci(&record.host.resources, &machine::numbers)?,
        shm,
    })?;
    let seccomp = match record.host.privileged {
        true => None,
        false => core.filters.get(&security.seccomp, &capabilities, &core.facts)?,
    };

    let mut attach = Vec::new();
    for client in clients {
        let (options, fd) = client.options(fds.len() as u32);
        attach.push(options);
        fds.push(fd);
    }
    let (log, send) = super::logging::orders(core, &record)?;
    let launch = Launch {
        protocol: VERSION,
        id: record.id.to_string(),
        spec,
        rootfs,
        cgroup: record.cgroup.clone(),
        namespaces,
        seccomp: seccomp.map(|p| (*p).clone()),
        init: record.host.init.unwrap_or(false),
        open_stdin: record.config.open_stdin,
        stdin_once: record.config.stdin_once,
        log,
        send,
        socket: core.dirs.socket(&record.id),
        exit_path: core.dirs.exit_file(&record.id),
        pid_file: None,
        attach,
    };
    if !record.is_fresh() {
        // An exit of an earlier run must not be taken for this one's.
        let _ = std::fs::remove_file(&launch.exit_path);
    }
    record.told_before = Some(core.events.last());
    let frame = encode_call(crate::link::FIRST, Request::Launch(Box::new(launch)), fds.len())?;
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let stream = core.zygote()?.send(&frame, &borrowed).context("start the container's shim")?;

    // Written while the shim works. A daemon that dies now finds the container by its socket, and its endpoint here.
    record.state.status = Status::Running;
    record.state.error.clear();
    record.failed = false;
    record.state.restarting = None;
    super::health::fresh(&mut record);
    record.sent_at = Some(jiff::Timestamp::now());
    // The shim will tell exactly; this is for one that is killed before it can.
    record.state.started_at = record.sent_at;
    // The shim is on its way already, so a failure here must not undo what it stands on.
    let durability = started(&record);
    let written =
        record.encode().and_then(|doc| core.store.db().update_container(record.id.as_str(), &doc, durability));
    let unwritten = written.err().map(|e| {
        tracing::warn!("container {}: its start could not be recorded: {e}", record.id.short());
        durability
    });
    Ok(Prepared { stream, record, unwritten, undo })
}

/// Whether a power cut may take a change of the configuration.
pub(super) fn durability(host: &HostConfig) -> Durability {
    // It takes the container itself.
    if host.auto_remove { Durability::Lazy } else { Durability::Synced }
}

/// Whether a power cut may take the knowledge of a start. A service that was started by hand comes back; what was started
/// again by itself is known as such already.
fn started(record: &Record) -> Durability {
    match !plan::restart::is_none(&record.host.restart_policy) && record.state.restart_count == 0 {
        true => Durability::Synced,
        false => Durability::Lazy,
    }
}

/// The network knows who has a port by id; people know the name.
fn held_by(core: &Core, id: &ContainerId, ports: &[PortBinding], error: Error) -> Error {
    if error.cause() != Cause::PortTaken {
        return error;
    }
    let holder = core.network.holder(id, ports).filter(|holder| error.text().ends_with(holder.short()));
    match holder.and_then(|holder| core.registry().find(holder.as_str()).ok()) {
        Some(holder) => error.clone().with_text(format!("{error} ({})", holder.record().name)),
        None => error,
    }
}

/// The root for the shim, and the directories it is made of, without what the container wrote.
fn rootfs(core: &Core, record: &Record) -> Result<(Rootfs, Vec<PathBuf>)> {
    let Layers { upper, lower } = Layers::of(core, record)?;
    let (Some(upper), Some(data)) = (upper, record.root.data()) else {
        return Ok((Rootfs::Dir(lower.first().cloned().unwrap_or_default()), lower));
    };
    if !upper.is_dir() {
        return Err(Error::system(format!(
            "the writable layer {} is gone: it was in memory, and the machine was started anew. Remove the container",
            upper.display()
        )));
    }
    let mut rootfs = Rootfs::Overlay(Default::default());
    if let Rootfs::Overlay(overlay) = &mut rootfs {
        overlay.lower.clone_from(&lower);
        overlay.upper = upper;
        overlay.work = data.join("work");
        // Thrown away with the container: never worth a sync.
        overlay.volatile = record.host.auto_remove;
        if overlay.volatile && !record.is_fresh() {
            // The kernel mounts such a layer once, as it may be damaged after a power cut. This is a restart, and after
            // a power cut the container is forgotten.
            let mark = overlay.work.join("work/incompat");
            match std::fs::remove_dir_all(&mark) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(e).with_context(|| format!("remove {}", mark.display()));
                }
                _ => {}
            }
        }
    }
    Ok((rootfs, lower))
}

fn identity(core: &Core, record: &Record, lower: &[PathBuf]) -> Result<plan::user::Identity> {
    let (user, add) = (&record.config.user, &record.host.group_add);
    match (&record.root, record.is_fresh()) {
        (Root::Image { id, .. }, true) => core.users.of_image(id, lower, user, add),
        (root, _) => {
            let upper = root.data().map(|d| d.join("upper"));
            let layers: Vec<&PathBuf> = upper.iter().chain(lower).collect();
            users::of_tree(&View::open(&layers)?, user, add)
        }
    }
}

/// hosts, hostname and resolv.conf of a container with a network of its own, or the machine's.
fn write_files(
    core: &Core,
    record: &Record,
    address: Option<std::net::Ipv4Addr>,
    host_network: bool,
) -> Result<NetworkFiles> {
    let dir = core.dirs.container(&record.id);
    let host = &record.host;
    let pick = |own: &[String], default: &[String]| if own.is_empty() { default.to_vec() } else { own.to_vec() };
    let dns = &core.settings.dns;
    let resolv = files::resolv_conf(
        &machine::read("/etc/resolv.conf"),
        &pick(&host.dns, &dns.servers),
        &pick(&host.dns_search, &dns.search),
        &pick(&host.dns_options, &dns.options),
        host_network,
    );
    let mut extra = Vec::new();
    for entry in &host.extra_hosts {
        let (name, ip) = plan::hosts::parse(entry)?;
        let ip = match (ip, host_network) {
            (Some(ip), _) => ip,
            (None, true) => IpAddr::from([127, 0, 0, 1]),
            (None, false) => IpAddr::V4(core.network.ensure()?.bridge.gateway()),
        };
        extra.push((name.to_owned(), ip));
    }
    let hosts = match host_network {
        // With the machine's network its names count, too.
        true => {
            let mut text = machine::read("/etc/hosts");
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            for (name, ip) in &extra {
                text.push_str(&format!("{ip}\t{name}\n"));
            }
            text
        }
        false => files::hosts(&record.hostname, &record.config.domainname, address.map(IpAddr::V4), &extra),
    };
    let put = |name: &str, text: &str| -> Result<String> {
        let path = dir.join(name);
        let what = || format!("write {}", path.display());
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .and_then(|mut f| f.write_all(text.as_bytes()))
            .with_context(what)?;
        path.to_str().map(str::to_owned).ok_or_else(|| Error::invalid(format!("{} is not UTF-8", path.display())))
    };
    Ok(NetworkFiles {
        resolv_conf: put("resolv.conf", &resolv)?,
        hostname: put("hostname", &files::hostname(&record.hostname))?,
        hosts: put("hosts", &hosts)?,
    })
}

fn shared_memory(core: &Core, record: &Record, joined: Option<PathBuf>, undo: &mut Undo) -> Result<Shm> {
    let text =
        |p: &Path| p.to_str().map(str::to_owned).ok_or_else(|| Error::invalid(format!("{} is not UTF-8", p.display())));
    match modes::ipc(&record.host.ipc_mode)? {
        modes::Ipc::None => Ok(Shm::None),
        modes::Ipc::Private => Ok(Shm::Own),
        modes::Ipc::Host => Ok(Shm::Shared("/dev/shm".into())),
        modes::Ipc::Container(name) => Ok(Shm::Shared(text(&joined.ok_or_else(|| not_joined(&name))?)?)),
        modes::Ipc::Shareable => {
            let dir = core.dirs.shm(&record.id);
            unmount_shm(&dir)?;
            crate::core::make(&dir)?;
            let options = std::ffi::CString::new(format!("mode=1777,size={}", record.host.shm_size))
                .map_err(|e| Error::system(e.to_string()))?;
            use rustix::mount::MountFlags;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            rustix::mount::mount("shm", &dir, "tmpfs", flags, Some(options.as_c_str()))
                .map_err(std::io::Error::from)
                .with_context(|| format!("mount shared memory at {}", dir.display()))?;
            let back = dir.clone();
            undo.add("shared memory", move || unmount_shm(&back));
            Ok(Shm::Shared(text(&dir)?))
        }
    }
}

/// Unmounts shared memory that others could join, if there is any.
pub(crate) fn unmount_shm(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    match rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL) => {}
        Err(e) => return Err(std::io::Error::from(e)).with_context(|| format!("unmount {}", dir.display())),
    }
    std::fs::remove_dir(dir).with_context(|| format!("remove {}", dir.display()))
}

/// Sources of `-v` that are not there become directories, as Docker makes them.
fn make_sources(record: &Record) -> Result<()> {
    for (mount, place) in &record.mounts {
        if let Source::Bind { create, .. } = &mount.source {
            match reach::is_there(place, true)? {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && *create => {
                    std::fs::create_dir_all(place).with_context(|| format!("make the mount source {place}"))?;
                }
                Err(e) => return Err(e).with_context(|| format!("mount source {place}")),
            }
        }
    }
    Ok(())
}
