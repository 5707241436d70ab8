//! Opening an engine: directories, store, machine, and everything an earlier daemon left behind.

use crate::config::HostConfig;
use crate::container::{Container, startup};
use crate::core::{Core, Dirs, MAX_OWN_STARTS, blocking, random};
use crate::events::{Events, Told};
use crate::machine;
use crate::network::Network;
use crate::plan::spec;
use crate::pull::Flights;
use crate::record::Record;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::space::budget::{self, Budget};
use crate::trash::{PREFIX, Trash};
use crate::view::Status;
use crate::volumes::Volumes;
use dhow_cgroup::Layout;
use dhow_store::{Durability, Store, StoreConfig};
use dhow_types::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// Where the id of a root is kept.
const ROOT_ID: &str = "root-id";

/// Opens the root and the state directory and takes up what was left running.
pub(crate) async fn open(settings: Settings) -> Result<Arc<Core>> {
    let trash = Trash::start();
    let core = blocking(move || base(settings, trash)).await?;
    let core = Arc::new(core);
    let shared = core.clone();
    let (records, mut told) = blocking(move || {
        let records = records(&shared)?;
        crate::commit::thaw(&shared, &records);
        adopt(&shared, &records);
        let told = told(&shared, &records);
        Ok((records, told))
    })
    .await?;
    let mut known = HashSet::new();
    let mut tasks = Vec::with_capacity(records.len());
    for record in records {
        known.insert(record.id.to_string());
        let name = record.name.clone();
        core.registry().reserve(&name, &record.id)?;
        let container = Container::spawn(&core, record);
        core.registry().insert(container.clone());
        // One of an older daemon, which told its start.
        let told = told.remove(container.id.as_str()).unwrap_or(Told::START);
        tasks.push(tokio::spawn(async move { container.take_up(told).await }));
    }
    for task in tasks {
        if let Ok(Err(e)) = task.await {
            tracing::warn!("take a container up: {e}");
        }
    }
    let shared = core.clone();
    blocking(move || {
        sweep(&shared, &known);
        Ok(())
    })
    .await?;
    startup::begin(&core);
    budget::start(&core);
    let warm = core.clone();
    // The first container need not wait for these. What fails here fails again, and is told, when it is needed.
    tokio::task::spawn_blocking(move || {
        if let Err(e) = warm_up(&warm) {
            tracing::warn!("warm up: {e}");
        }
    });
    Ok(core)
}

fn warm_up(core: &Core) -> Result<()> {
    core.zygote()?;
    let usual = spec::capabilities(&HostConfig::default(), &core.facts, core.settings.hardened)?;
    core.filters.get(&Default::default(), &usual, &core.facts).map(drop)
}

fn base(settings: Settings, trash: Trash) -> Result<Core> {
    crate::container::logging::check_defaults(&settings.log)?;
    let dirs = Dirs::prepare(&settings.root, &settings.state)?;
    let store = Store::open(&settings.root, StoreConfig { keep_blobs: settings.keep_blobs, ..StoreConfig::default() })
        .with_context(|| format!("open the store at {}", settings.root.display()))?;
    let root_id = match store.db().meta(ROOT_ID)? {
        Some(id) => id,
        None => {
            let id = dhow_types::Digest::from_raw(random()?).hex();
            store.db().set_meta(ROOT_ID, &id, Durability::Synced)?;
            id
        }
    };
    let events = Arc::new(Events::open(&dirs.events())?);
    store.ensure_hello(settings.hello)?;
    let layout = Layout::detect().context("look at the control groups")?;
    let facts = machine::facts(&layout);
    let network = Network::new(&settings.bridge, settings.hardened, &root_id, settings.netns_pool)?;
    Ok(Core {
        dirs,
        store,
        layout,
        facts,
        network,
        filters: Default::default(),
        users: Default::default(),
        volumes: Volumes::new(&events),
        holds: Default::default(),
        budget: Budget::new(settings.disk_budget.clone()),
        trash,
        execs: Default::default(),
        packer: Default::default(),
        probes: tokio::sync::Semaphore::new(crate::container::probe::MAX_AT_ONCE),
        events,
        registry: Mutex::new(Registry::default()),
        zygote: Mutex::new(None),
        starts: Semaphore::new(MAX_OWN_STARTS),
        flights: Flights::new(settings.max_downloads),
        uploads: Semaphore::new(settings.max_uploads),
        turns: Default::default(),
        checking: Mutex::default(),
        root_id,
        settings,
    })
}

/// The containers of the database. One that can't be read is named and left alone.
fn records(core: &Core) -> Result<Vec<Record>> {
    let rows = core.store.db().containers()?;
    Ok(rows
        .into_iter()
        .filter_map(|row| match Record::decode(&row.doc) {
            Ok(record) => Some(record.at_home(&core.dirs)),
            Err(e) => {
                tracing::error!("container {} is left out: {e}", row.id);
                None
            }
        })
        .collect())
}

/// Addresses and ports of containers that ran when the last daemon ended, taken before anybody can be given them. Those
/// of a container that has ended meanwhile are given back by its end.
fn adopt(core: &Core, records: &[Record]) {
    for record in records.iter().filter(|r| r.state.status == Status::Running || r.doomed.is_some()) {
        if let Some(endpoint) = &record.endpoint
            && let Err(e) = core.network.adopt(endpoint)
        {
            tracing::warn!("container {}: take its network up: {e}", record.id.short());
        }
    }
}

/// What the daemon before told of those that ran when it ended.
fn told(core: &Core, records: &[Record]) -> HashMap<String, Told> {
    let ran = records.iter().filter(|r| matches!(r.state.status, Status::Running | Status::Dead));
    let before = ran.filter_map(|r| Some((r.id.to_string(), r.told_before?))).collect();
    core.events.told(&before).unwrap_or_else(|e| {
        tracing::warn!("what was told of containers: {e}");
        HashMap::new()
    })
}

/// Removes what no container owns: half-made and half-removed directories, sockets without a shim.
fn sweep(core: &Core, known: &HashSet<String>) {
    let unreadable: HashSet<String> =
        core.store.db().containers().unwrap_or_default().into_iter().map(|r| r.id).collect();
    let owned = |name: &str| known.contains(name) || unreadable.contains(name);
    for dir in [core.dirs.containers(), core.dirs.memory(), core.dirs.volumes()] {
        let volumes = dir == core.dirs.volumes();
        for (name, path) in entries(&dir) {
            // Volumes are known to the database; only what was renamed on its way out goes here.
            if name.starts_with(PREFIX) {
                core.trash.remove_later(path);
            } else if !volumes
                && !owned(&name)
                && let Err(e) = core.trash.discard(&path)
            {
                tracing::warn!("sweep: {e}");
            }
        }
    }
    for (name, path) in entries(&core.dirs.sockets()) {
        let stale = name.strip_suffix(".sock").is_some_and(|id| !owned(id));
        if stale && std::os::unix::net::UnixStream::connect(&path).is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn entries(dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| Some((e.file_name().into_string().ok()?, e.path()))).collect()
}
