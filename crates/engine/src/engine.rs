//! The front of the crate: every command an adapter may give. Each is a few lines; the work is in the modules.

use crate::access::{self, DistributionView, SearchRequest};
use crate::config::*;
use crate::container::attach::{self, AttachTicket};
use crate::container::update::Wanted;
use crate::container::{Container, create};
use crate::core::{Core, blocking};
use crate::events::{self, EventStream, EventsRequest};
use crate::pull::{self, PullRequest, TransferStream};
use crate::push::{self, PushRequest};
use crate::remote::{self, RemoteRequest};
use crate::settings::Settings;
use crate::space::view::{DiskView, Pruned};
use crate::space::{df, prune};
use crate::view::*;
use crate::{archives, audit, check, commit, exec, images, info, list, logs, open, pause, shown, stats, stop, top};
use dhow_distribution::{Credentials, Hit};
use dhow_shim::protocol::Request;
use dhow_store::Piece;
use dhow_types::{Digest, Error, ErrorKind, Platform, Reference, Result};
use std::io::Read;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The engine. Methods must be called inside a tokio runtime with I/O and time enabled.
pub struct Engine {
    core: Arc<Core>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("settings", &self.core.settings).finish_non_exhaustive()
    }
}

/// A wait that is registered.
#[derive(Debug)]
pub struct WaitTicket {
    rx: oneshot::Receiver<WaitResult>,
}

/// A load that is under way.
#[derive(Debug)]
pub struct LoadStream {
    /// What happens.
    pub events: mpsc::Receiver<LoadEvent>,
}

/// An archive that is being written.
#[derive(Debug)]
pub struct SaveStream {
    /// Its size in bytes.
    pub size: u64,
    /// Its pieces. An error is the last of them: what came before it is of no use.
    pub pieces: mpsc::Receiver<Result<Piece>>,
}

impl WaitTicket {
    /// Waits for the end.
    pub async fn result(self) -> WaitResult {
        self.rx.await.unwrap_or_else(|_| WaitResult { code: -1, error: Some("the daemon stops".into()) })
    }
}

impl Engine {
    /// Opens the root and the state directory and takes up what was left running.
    pub async fn open(settings: Settings) -> Result<Arc<Engine>> {
        Ok(Arc::new(Self { core: open::open(settings).await? }))
    }
    /// An error of a command, to be told: one of a full disk, or of one that takes no writes any more, says that it was
    /// the root's, and what to do.
    pub fn explained(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::DiskFull if !self.core.store.is_full() => error,
            ErrorKind::DiskFull | ErrorKind::System => self.core.store.explained(error),
            _ => error,
        }
    }
    /// The settings it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }
    /// Makes a container.
    pub async fn create(&self, request: CreateRequest) -> Result<Created> {
        create::create(&self.core, request).await
    }
    /// Starts a container. `NotModified` if it runs.
    pub async fn start(&self, name: &str) -> Result<()> {
        let container = self.core.registry().find(name)?;
        container.start().await
    }
    /// Stops a container: the signal, then after `timeout` seconds (-1: never) SIGKILL. `NotModified` if it does not run.
    /// Without a timeout, a signal that can't be heard is followed by SIGKILL at once; then a sentence for people comes
    /// back that says so.
    pub async fn stop(&self, name: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<Option<String>> {
        stop::stop(&self.core, name, timeout, signal).await
    }
    /// Stops a container if it runs, as [`Engine::stop`] does, and starts it.
    pub async fn restart(&self, name: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<Option<String>> {
        stop::restart(&self.core, name, timeout, signal).await
    }
    /// Makes all processes of a container stand still.
    pub async fn pause(&self, name: &str) -> Result<()> {
        pause::pause(&self.core, name).await
    }
    /// Lets a paused container go on.
    pub async fn unpause(&self, name: &str) -> Result<()> {
        pause::unpause(&self.core, name).await
    }
    /// Gives a container another name.
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        let (name, new) = (name.trim(), new.trim());
        let bare = |text: &str| text.strip_prefix('/').unwrap_or(text).to_owned();
        if bare(name).is_empty() || bare(new).is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let container = self.core.registry().find(name)?;
        container.rename(bare(new)).await
    }
    /// Gives a container other limits (what is 0, empty or absent stays) and another restart policy, and gives the
    /// warnings.
    pub async fn update(&self, name: &str, limits: Resources, policy: Option<RestartPolicy>) -> Result<Vec<String>> {
        let container = self.core.registry().find(name)?;
        let warnings = container.update(Wanted { limits, policy }).await?;
        self.core.events.container(&container.record(), "update", &[]);
        Ok(warnings)
    }
    /// The processes of a running container; `args` are words of `ps`.
    pub async fn top(&self, name: &str, args: &str) -> Result<top::TopView> {
        let container = self.core.registry().find(name)?;
        let (core, args) = (self.core.clone(), args.to_owned());
        blocking(move || {
            let view = top::top(&core, &container, &args)?;
            core.events.container(&container.record(), "top", &[]);
            Ok(view)
        })
        .await
    }
    /// What a container uses, for as long as the receiver lives.
    pub fn stats(&self, name: &str, request: stats::StatsRequest) -> Result<mpsc::Receiver<StatsView>> {
        stats::stats(&self.core, name, request)
    }
    /// Sends a signal (`KILL` if `None`).
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        stop::kill(&self.core, name, signal).await
    }
    /// Registers a wait before it returns, so that a caller can answer its client at once.
    pub async fn wait(&self, name: &str, condition: WaitCondition) -> Result<WaitTicket> {
        let container = self.core.registry().find(name)?;
        Ok(WaitTicket { rx: container.wait(condition)? })
    }
    /// Takes a place at the streams of a container, also before it is started.
    pub async fn attach(&self, name: &str, request: AttachRequest) -> Result<AttachTicket> {
        let container = self.core.registry().find(name)?;
        if container.is_paused() {
            let text = format!("container {name} is paused, unpause the container before attach");
            return Err(Error::conflict(text));
        }
        if container.status() == Status::Restarting {
            let text = format!("container {name} is restarting, wait until the container is running");
            return Err(Error::conflict(text));
        }
        attach::attach(&self.core, &container, request)
    }
    /// Reads the log.
    pub async fn logs(&self, name: &str, request: LogsRequest) -> Result<LogStream> {
        let container = self.core.registry().find(name)?;
        logs::open(&self.core, &container, request)
    }
    /// Sets the size of the terminal.
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let container = self.core.registry().find(name)?;
        container.running()?.call(Request::Resize { exec_id: None, width, height }, Vec::new()).await?;
        let more = [("height", height.to_string()), ("width", width.to_string())];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.core.events.container(&container.record(), "resize", &more);
        Ok(())
    }
    /// Removes a container, with its anonymous volumes if `volumes`.
    pub async fn remove(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        stop::remove(&self.core, name, force, volumes).await
    }
    /// Everything about one container.
    pub async fn inspect(&self, name: &str, size: bool) -> Result<ContainerView> {
        let container = self.core.registry().find(name)?;
        let mut view = shown::view(&self.core, &container);
        if size {
            let (own, all) = self.measure(&container.record()).await?;
            (view.size_rw, view.size_root_fs) = (Some(own), Some(all));
        }
        Ok(view)
    }
    async fn measure(&self, record: &crate::record::Record) -> Result<(i64, i64)> {
        let (core, record) = (self.core.clone(), record.clone());
        blocking(move || shown::sizes(&core, &record)).await
    }
    /// Gives each container that is asked for to `each`, newest first.
    pub async fn list(&self, request: ListRequest, mut each: impl FnMut(Summary)) -> Result<()> {
        let (core, size) = (self.core.clone(), request.size);
        let chosen = blocking(move || choose(&core, &request)).await?;
        for (container, paused) in chosen {
            let mut summary = shown::summary(&self.core.root_id, &container.shared().record, paused);
            if size {
                summary.sizes = Some(self.measure(&container.record()).await?);
            }
            each(summary);
        }
        Ok(())
    }
    /// Prepares one more program in a running container and gives its id.
    pub async fn exec_create(&self, name: &str, request: ExecRequest) -> Result<String> {
        let container = self.core.registry().find(name)?;
        exec::create(&self.core, &container, request)
    }
    /// Starts an exec. With `detach` it runs when this returns `None`; else it starts when the ticket is handed over,
    /// and an error of the start is written to the client's stream, as Docker does.
    pub async fn exec_start(&self, id: &str, start: ExecStart) -> Result<Option<AttachTicket>> {
        let exec = exec::claim(&self.core, id, &start)?;
        if start.detach {
            exec::start_detached(&self.core, &exec, start.console_size).await?;
            return Ok(None);
        }
        Ok(Some(attach::for_exec(&self.core, exec, start.console_size)))
    }
    /// Everything about one exec.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecView> {
        exec::inspect(&self.core, id).await
    }
    /// Sets the size of an exec's terminal.
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        exec::resize(&self.core, id, height, width).await
    }
    /// All images, newest first.
    pub async fn images(&self) -> Result<Vec<ImageView>> {
        images::list(&self.core).await
    }
    /// One image.
    pub async fn image_inspect(&self, name: &str) -> Result<ImageView> {
        images::inspect(&self.core, name).await
    }
    /// Fails with `NotFound` unless the image is for `platform`.
    pub async fn image_for(&self, name: &str, platform: Platform) -> Result<()> {
        images::demand(&self.core, name, platform).await
    }
    /// Gives an image one more name (`repo` and `tag` as the caller got them; an empty tag is `latest`).
    pub async fn tag(&self, source: &str, repo: &str, tag: &str) -> Result<()> {
        images::tag(&self.core, source, repo, tag).await
    }
    /// Removes a name of an image, and the image with its last name.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<Vec<ImageRemoved>> {
        images::remove(&self.core, name, force).await
    }
    /// Loads an archive; with `platform` only what is for it. `input` is read on a thread of its own.
    /// `announced` is how many bytes it has at least, 0 if that is not known.
    pub fn load(&self, input: Box<dyn Read + Send>, platform: Option<Platform>, announced: u64) -> LoadStream {
        LoadStream { events: archives::load(&self.core, input, platform, announced) }
    }
    /// The archive of images, by names or ids. Fails before it begins if one is missing or for another platform.
    pub async fn save(&self, names: Vec<String>, platform: Option<Platform>) -> Result<SaveStream> {
        archives::save(&self.core, names, platform).await
    }
    /// Makes an image of an archive of a root file system and gives its id. `input` is read on a thread of its own.
    /// `announced` is how many bytes it has at least, 0 if that is not known.
    pub async fn import(&self, input: Box<dyn Read + Send>, announced: u64, request: ImportRequest) -> Result<Digest> {
        archives::import(&self.core, input, announced, request).await
    }
    /// Brings images from a registry; what happens comes through the stream. Whoever drops it calls the pull off.
    pub fn pull(&self, request: PullRequest) -> TransferStream {
        pull::pull(&self.core, request)
    }
    /// Brings images to a registry; what happens comes through the stream. Whoever drops it calls the push off.
    pub async fn push(&self, request: PushRequest) -> Result<TransferStream> {
        push::push(&self.core, request).await
    }
    /// An image as its registry has it. `referrers` asks for what refers to it, of one type or of all.
    pub async fn remote_image(
        &self,
        request: RemoteRequest,
        referrers: Option<Option<String>>,
    ) -> Result<remote::inspect::RemoteImage> {
        remote::inspect::inspect(&self.core, request, referrers).await
    }
    /// Goes the way of a pull and says what is wrong on it. That it finds nothing is no failure.
    pub async fn image_check(&self, request: RemoteRequest) -> remote::judge::Report {
        remote::check(&self.core, request).await
    }
    /// Copies images from registry to registry. Whoever drops the stream calls the copy off.
    pub fn copy_image(&self, request: remote::copy::CopyRequest) -> Result<TransferStream> {
        remote::copy::copy(&self.core, request)
    }
    /// A manifest or list as its registry has it.
    pub async fn manifests(&self, request: remote::manifests::ManifestRequest) -> Result<remote::manifests::Manifests> {
        remote::manifests::read(&self.core, request).await
    }
    /// Puts a list of manifests; gives the digests of the images that went before it, and its own.
    pub async fn push_list(&self, push: remote::manifests::ListPush) -> Result<(Vec<Digest>, Digest)> {
        remote::manifests::push(&self.core, push).await
    }
    /// Shows credentials to the registry at `address`; gives the token that stands for them from now on, if any.
    pub async fn login(&self, address: &str, credentials: Credentials) -> Result<String> {
        access::login(&self.core, address, credentials).await
    }
    /// Asks a registry what a name stands for.
    pub async fn describe(&self, reference: Reference, credentials: Credentials) -> Result<DistributionView> {
        access::describe(&self.core, reference, credentials).await
    }
    /// Asks the index of a registry.
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<Hit>> {
        access::search(&self.core, request).await
    }
    /// Makes an image of a container and gives its id.
    pub async fn commit(&self, request: CommitRequest) -> Result<Digest> {
        commit::commit(&self.core, request).await
    }
    /// Checks the store, and mends it with `repair`; what is found comes through the channel, the end last.
    pub fn check(&self, repair: bool) -> mpsc::Receiver<CheckEvent> {
        check::check(&self.core, repair)
    }
    /// Who has how much of the disk.
    pub async fn disk(&self) -> Result<DiskView> {
        df::disk(&self.core).await
    }
    /// Removes images that no container uses: those without a name, or with `dangling=false` all.
    pub async fn prune_images(&self, request: PruneRequest) -> Result<Pruned> {
        prune::images(&self.core, request).await
    }
    /// Removes containers that do not run.
    pub async fn prune_containers(&self, request: PruneRequest) -> Result<Pruned> {
        prune::containers(&self.core, request).await
    }
    /// Removes volumes that no container uses: those that nobody named, or with `all=true` all.
    pub async fn prune_volumes(&self, request: PruneRequest) -> Result<Pruned> {
        prune::volumes(&self.core, request).await
    }
    /// Removes networks that no container uses, as far as they are not always there.
    pub async fn prune_networks(&self, request: PruneRequest) -> Result<Pruned> {
        prune::networks(&self.core, &request)
    }
    /// The whole root of a container as a tar archive, in pieces. An error is the last of them: what came before it is
    /// of no use.
    pub async fn export(&self, name: &str) -> Result<mpsc::Receiver<Result<Vec<u8>>>> {
        let container = self.core.registry().find(name)?;
        let pieces = audit::export(&self.core, &container).await?;
        self.core.events.container(&container.record(), "export", &[]);
        Ok(pieces)
    }
    /// What a container changed, many at a time. With `measure` the size of directories that are gone is that of all
    /// that was in them. An error is the last.
    pub async fn changes(
        &self,
        name: &str,
        measure: bool,
    ) -> Result<mpsc::Receiver<Result<Vec<dhow_store::merged::compare::Change>>>> {
        let container = self.core.registry().find(name)?;
        audit::changes(&self.core, &container, measure).await
    }
    /// How an image was made, the last step first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<audit::HistoryRow>> {
        audit::history(&self.core, name).await
    }
    /// What two images differ in.
    pub async fn image_diff(&self, old: &str, new: &str) -> Result<audit::DiffStream> {
        audit::image_diff(&self.core, old, new).await
    }
    /// All images, with what each stands on.
    pub async fn image_tree(&self) -> Result<Vec<audit::TreeRow>> {
        audit::image_tree(&self.core).await
    }
    /// Facts about the engine and its machine.
    pub async fn info(&self) -> Result<InfoView> {
        info::info(&self.core).await
    }
    /// What happens from now on, and what happened, as far as it is asked for and kept.
    pub fn events(&self, request: EventsRequest) -> Result<EventStream> {
        events::subscribe(&self.core.events, request)
    }
    /// Versions.
    pub fn version(&self) -> VersionView {
        info::version(&self.core)
    }
    /// The networks: `bridge`, `host` and `none`.
    pub async fn networks(&self) -> Result<Vec<NetworkInfo>> {
        Ok(info::networks(&self.core))
    }
}

impl Drop for Engine {
    /// Containers go on, and the next engine on the same directories takes them up: only what nobody uses is let go.
    fn drop(&mut self) {
        self.core.dirs.release_memory();
        if let Err(e) = self.core.store.write_uses() {
            tracing::warn!("note the last use of images: {e}");
        }
    }
}

/// The containers that a list shows, newest first, and whether each is paused. Blocks, as long as a client's patterns take.
fn choose(core: &Core, request: &ListRequest) -> Result<Vec<(Arc<Container>, bool)>> {
    let context = list::Context {
        find: &|name| Ok(core.registry().find(name)?.record().created),
        image: &|name| core.store.resolve(name).ok().map(|i| i.id),
    };
    let wanted = list::Wanted::read(request, &context)?;
    let network_id = |name: &str| shown::network_id_of(&core.root_id, name);
    let all = core.registry().all();
    let mut chosen = Vec::new();
    for container in all {
        let name = container.shared().record.name.clone();
        if !wanted.fits(container.id.as_str(), &name) {
            continue;
        }
        let paused = container.is_paused();
        let shared = container.shared();
        if wanted.takes(&shared.record, list::Beside { paused, network_id: &network_id }) {
            let created = shared.record.created;
            drop(shared);
            chosen.push((created, container, paused));
        }
    }
    chosen.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    chosen.truncate(request.limit.filter(|n| *n > 0).unwrap_or(usize::MAX));
    Ok(chosen.into_iter().map(|(_, container, paused)| (container, paused)).collect())
}
