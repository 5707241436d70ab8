//! `create`: from a request to a container on disk, or to nothing at all.

use super::Container;
use crate::config::{ContainerConfig, CreateRequest, HealthConfig, HostConfig};
use crate::core::{Core, blocking, make, random};
use crate::holds::Held;
use crate::plan::mounts::{Mount, Source};
use crate::plan::{self, modes, rootfs::Writes};
use crate::record::{New, Record, Root};
use crate::undo::Undo;
use crate::view::{Created, Status};
use dhow_store::Durability;
use dhow_store::merged::View;
use dhow_types::image::RunConfig;
use dhow_types::{Cause, ContainerId, Context, Error, ErrorKind, Platform, Result};
use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names drawn before giving up.
const MAX_DRAWS: u32 = 8;

/// Makes a container.
pub(crate) async fn create(core: &Arc<Core>, request: CreateRequest) -> Result<Created> {
    plan::check::check(&request)?;
    let shared = core.clone();
    let mut held = core.holds.begin();
    let (record, warnings, _held) = blocking(move || {
        let (record, warnings) = make_container(&shared, request, &mut held)?;
        Ok((record, warnings, held))
    })
    .await?;
    let id = record.id.clone();
    core.events.container(&record, "create", &[]);
    let container = Container::spawn(core, record);
    core.registry().insert(container);
    Ok(Created { id, warnings })
}

fn make_container(core: &Arc<Core>, request: CreateRequest, held: &mut Held) -> Result<(Record, Vec<String>)> {
    let mut undo = Undo::default();
    let mut warnings = Vec::new();
    let CreateRequest { name, config, mut host, endpoints, platform } = request;
    let id = ContainerId::from_raw(random()?);
    let durability = if host.auto_remove { Durability::Lazy } else { Durability::Synced };

    let (config, layers, root) = root(core, &id, config, &host, platform.as_deref(), &mut warnings, held)?;
    warnings.extend(plan::health::warning(&config));
    plan::health::check_restarts(&config, &host)?;
    warnings.extend(plan::resources::adapt(&mut host.resources, &core.facts)?);
    resolve_modes(core, &mut host)?;
    let log_named = !(host.log_config.driver.is_empty() && core.settings.log.driver.is_empty());
    fill_defaults(core, &mut host);
    check_now(core, &config, &host)?;
    let (config, hostname) = names(core, config, &host, &id)?;
    let mac = config.mac_address.as_ref().or_else(|| endpoints.values().find_map(|e| e.mac_address.as_ref()));
    let mac = mac.filter(|m| !m.is_empty()).map(|m| m.parse()).transpose()?;
    let name = reserve(core, name, &id, &mut undo)?;

    let dir = core.dirs.container(&id);
    undo_dir(&mut undo, &dir);
    make(&dir)?;
    if let Some(data) = root.data() {
        if *data != dir {
            undo_dir(&mut undo, data);
            make(data)?;
        }
        writable_layer(data, layers.first())?;
    }
    let mounts = plan::mounts::plan(&config, &host, inherited(core, &host, held)?)?;
    let image = || View::open(&layers);
    let mounts = core.volumes.prepare((&core.dirs, &core.store), mounts, &image, durability, &mut undo, held)?;
    let cgroup = core.group(&id, &host.resources.cgroup_parent)?;

    let log_store = plan::log_store::choose(&host.log_config, log_named)?;
    let record = Record::new(New { id, name, root, config, host, endpoints, hostname, mac, mounts, cgroup, log_store });
    core.store.db().put_container(&record.row()?, durability)?;
    undo.keep();
    if let Some(image) = record.root.image() {
        core.store.touch(&image)?;
    }
    Ok((record, warnings))
}

/// The root file system, the directories it is made of (top first), and the configuration merged with its image's.
fn root(
    core: &Core,
    id: &ContainerId,
    config: ContainerConfig,
    host: &HostConfig,
    platform: Option<&str>,
    warnings: &mut Vec<String>,
    held: &mut Held,
) -> Result<(ContainerConfig, Vec<PathBuf>, Root)> {
    let Some(text) = &host.rootfs else {
        let record = core.store.resolve(&config.image)?;
        held.image(record.id);
        if !core.store.stays(&record.id)? {
            return Err(Error::not_found(format!("No such image: {}", config.image)).because(Cause::ImageMissing));
        }
        check_platform(&config.image, &record.image.config.platform(), platform, warnings)?;
        let merged = plan::merge::merge(&config, &from_image(&record.image.config.config))?;
        let (data, memory) = core.dirs.data(id, None)?;
        warnings.extend(memory);
        return Ok((merged, record.image.layer_dirs.clone(), Root::Image { id: record.id, data }));
    };
    let (path, writes) = plan::rootfs::parse(text)?;
    let path = Path::new(path);
    let meta = std::fs::metadata(path).with_context(|| format!("rootfs {}", path.display()))?;
    if !meta.is_dir() {
        return Err(Error::invalid(format!("rootfs {} is not a directory", path.display())));
    }
    let path = path.canonicalize().with_context(|| format!("rootfs {}", path.display()))?;
    let merged = plan::merge::merge(&config, &ContainerConfig::default())?;
    let root = match writes {
        Writes::Through | Writes::Refused => Root::Dir { path: path.clone() },
        Writes::Overlay => {
            let (data, memory) = core.dirs.data(id, Some(&path))?;
            warnings.extend(memory);
            let mut below = crate::machine::mounts_below(&path);
            // What engines mount for themselves holds nothing for the container.
            below.retain(|mount| !Path::new(mount).starts_with(core.dirs.state()));
            if !below.is_empty() {
                const SHOWN: usize = 8;
                let more =
                    if below.len() > SHOWN { format!(" and {} more", below.len() - SHOWN) } else { String::new() };
                warnings.push(format!(
                    "file systems mounted below {} are not part of the container, which sees what is beneath them: {}{more}",
                    path.display(),
                    below[..below.len().min(SHOWN)].join(", ")
                ));
            }
            Root::Overlay { path: path.clone(), data }
        }
    };
    Ok((merged, vec![path], root))
}

fn from_image(image: &RunConfig) -> ContainerConfig {
    let list = |l: &Vec<String>| (!l.is_empty()).then(|| l.clone());
    let text = |t: &String| (!t.is_empty()).then(|| t.clone());
    ContainerConfig {
        user: image.user.clone(),
        exposed_ports: image.exposed_ports.keys().cloned().collect(),
        env: image.env.clone(),
        entrypoint: list(&image.entrypoint),
        cmd: list(&image.cmd),
        volumes: image.volumes.keys().cloned().collect(),
        working_dir: image.working_dir.clone(),
        labels: image.labels.clone(),
        stop_signal: text(&image.stop_signal),
        shell: list(&image.shell),
        healthcheck: image.healthcheck.as_ref().map(|h| HealthConfig {
            test: h.test.clone(),
            interval: h.interval,
            timeout: h.timeout,
            retries: h.retries,
            start_period: h.start_period,
            start_interval: h.start_interval,
        }),
        ..ContainerConfig::default()
    }
}

fn check_platform(name: &str, has: &Platform, asked: Option<&str>, warnings: &mut Vec<String>) -> Result<()> {
    let host = Platform::best_host();
    if let Some(asked) = asked.filter(|a| !a.is_empty()) {
        let wanted: Platform = asked.parse()?;
        if has.rank_on(&wanted).is_none() {
            return Err(Error::not_found(format!(
                "image with reference {name} was found but its platform ({has}) does not match the specified platform ({asked})"
            )));
        }
    } else if has.rank_on(&host).is_none() {
        warnings.push(format!(
            "The requested image's platform ({has}) does not match the detected host platform ({host}) and no specific \
             platform was requested"
        ));
    }
    Ok(())
}

/// `container:NAME` becomes `container:ID`, so that it stays true when names move.
fn resolve_modes(core: &Core, host: &mut HostConfig) -> Result<()> {
    for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
        if let Some(name) = mode.strip_prefix("container:") {
            let target = core.registry().find(name)?;
            *mode = format!("container:{}", target.id);
        }
    }
    Ok(())
}

/// The mounts that `--volumes-from` asks for.
fn inherited(core: &Core, host: &HostConfig, held: &mut Held) -> Result<Vec<Mount>> {
    let mut out = Vec::new();
    for spec in &host.volumes_from {
        let (name, writes) = plan::volumes_from::parse(spec)?;
        // Docker calls this a wrong request, not a missing thing, or clients would fetch the image.
        let missing = |e: Error| e.with_kind(ErrorKind::InvalidParameter);
        let source = core.registry().find(name).map_err(missing)?;
        let mounts = {
            let shared = source.shared();
            let record = &shared.record;
            plan::volumes_from::inherit(record.mounts.iter().map(|(mount, _)| mount), &record.host, writes)
        };
        for mount in &mounts {
            if let Source::Volume { name: Some(volume), .. } = &mount.source {
                held.volume(volume);
            }
        }
        // Its removal takes its anonymous volumes along; one that begins from here on sees that they are held.
        if core.registry().find(source.id.as_str()).is_err() {
            return Err(missing(
                Error::not_found(format!("No such container: {name}")).because(Cause::ContainerMissing),
            ));
        }
        out.extend(mounts);
    }
    Ok(out)
}

/// What `inspect` shows for what was left open.
fn fill_defaults(core: &Core, host: &mut HostConfig) {
    let fill = |text: &mut String, default: &str| {
        if text.is_empty() {
            *text = default.to_owned();
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    fill(&mut host.network_mode, "bridge");
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, if core.facts.pure_v2 { "private" } else { "host" });
    fill(&mut host.restart_policy.name, "no");
    fill(&mut host.runtime, "dhow");
    host.log_config = plan::log::merge(&host.log_config, &core.settings.log);
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
}

/// Errors that a start would meet are better met now: names of users, devices and filters that do not exist.
fn check_now(core: &Core, config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    super::logging::check(config, host)?;
    plan::spec::capabilities(host, &core.facts, core.settings.hardened)?;
    if let Some(signal) = config.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        plan::signal::parse(signal)?;
    }
    plan::ports::check(config, host)
}

/// The host name, and the configuration with it and with the published ports among the exposed.
fn names(
    core: &Core,
    mut config: ContainerConfig,
    host: &HostConfig,
    id: &ContainerId,
) -> Result<(ContainerConfig, String)> {
    let network = if config.network_disabled { modes::Network::None } else { modes::network(&host.network_mode)? };
    if config.hostname.is_empty() {
        config.hostname = match &network {
            modes::Network::Host => core.facts.hostname.clone(),
            modes::Network::Container(other) => core.registry().find(other)?.shared().record.hostname.clone(),
            _ if modes::host_or_own(&host.uts_mode, "UTS")? => core.facts.hostname.clone(),
            _ => id.short().to_owned(),
        };
    }
    let published: BTreeSet<String> = host.port_bindings.keys().cloned().collect();
    config.exposed_ports = plan::ports::exposed(&config.exposed_ports.union(&published).cloned().collect())?
        .into_iter()
        .map(|(port, protocol)| format!("{port}/{protocol}"))
        .collect();
    let hostname = config.hostname.clone();
    Ok((config, hostname))
}

fn reserve(core: &Arc<Core>, name: Option<String>, id: &ContainerId, undo: &mut Undo) -> Result<String> {
    let name = match name {
        Some(name) => {
            core.registry().reserve(&name, id)?;
            name
        }
        None => draw(core, id)?,
    };
    let (core, id, held) = (core.clone(), id.clone(), name.clone());
    undo.add("name", move || {
        core.registry().release(&held, &id);
        Ok(())
    });
    Ok(name)
}

fn draw(core: &Core, id: &ContainerId) -> Result<String> {
    for attempt in 0..MAX_DRAWS {
        let bytes = random()?;
        let number = bytes[..8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let name = plan::names::draw(number, attempt);
        let mut registry = core.registry();
        if registry.is_free(&name) {
            registry.reserve(&name, id)?;
            return Ok(name);
        }
    }
    Err(Error::system("no free name could be drawn: name the container"))
}

fn undo_dir(undo: &mut Undo, dir: &Path) {
    let dir = dir.to_owned();
    undo.add("directory", move || match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    });
}

/// `upper` and `work`. The upper directory's owner and mode are what the container sees at its root.
fn writable_layer(data: &Path, top: Option<&PathBuf>) -> Result<()> {
    let upper = data.join("upper");
    for dir in [&upper, &data.join("work")] {
        std::fs::DirBuilder::new().mode(0o755).create(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    if let Some(meta) = top.and_then(|top| std::fs::metadata(top).ok()) {
        if (meta.uid(), meta.gid()) != (0, 0) {
            std::os::unix::fs::chown(&upper, Some(meta.uid()), Some(meta.gid()))?;
        }
        // The daemon's umask took some away, and /tmp-like roots have more.
        std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    Ok(())
}

impl Record {
    /// True while nothing was ever written to its root.
    pub(crate) fn is_fresh(&self) -> bool {
        self.state.status == Status::Created && self.state.started_at.is_none()
    }
}
