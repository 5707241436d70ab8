//! What all commands share: the store, the machine, the index of containers. No command's logic lives here.

use crate::events::Events;
use crate::exec::Execs;
use crate::holds::Holds;
use crate::logs::packer::Packer;
use crate::network::Network;
use crate::plan::facts::Facts;
use crate::pull::Flights;
use crate::push::Turns;
use crate::registry::Registry;
use crate::seccomp::Filters;
use crate::settings::Settings;
use crate::space::budget::Budget;
use crate::trash::Trash;
use crate::users::UserFiles;
use crate::volumes::Volumes;
use dhow_cgroup::{GroupPath, Layout};
use dhow_shim::client::{Spawn, Zygote};
use dhow_store::Store;
use dhow_types::{ContainerId, Context, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// How many containers are started at the same time without anybody asking.
pub(crate) const MAX_OWN_STARTS: usize = 8;

/// The name of the directory with the segments of a log.
pub(crate) const SEGMENTS: &str = "log";

/// The shared part of an engine.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) dirs: Dirs,
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    pub(crate) facts: Facts,
    pub(crate) network: Network,
    pub(crate) filters: Filters,
    pub(crate) users: UserFiles,
    pub(crate) volumes: Volumes,
    pub(crate) holds: Holds,
    pub(crate) budget: Budget,
    pub(crate) trash: Trash,
    pub(crate) execs: Execs,
    pub(crate) packer: Packer,
    /// Places for health checks.
    pub(crate) probes: tokio::sync::Semaphore,
    pub(crate) events: Arc<Events>,
    pub(crate) registry: Mutex<Registry>,
    pub(crate) zygote: Mutex<Option<Arc<Zygote>>>,
    /// Turns of containers that are started without anybody asking.
    pub(crate) starts: Semaphore,
    /// Layers that are being pulled.
    pub(crate) flights: Flights,
    /// Places for layers that are pushed.
    pub(crate) uploads: Semaphore,
    /// Whose turn it is to push a layer.
    pub(crate) turns: Turns,
    /// Held by the check of the store that runs.
    pub(crate) checking: Mutex<()>,
    /// Stable id of this root.
    pub(crate) root_id: String,
}

impl Core {
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zygote, started now if need be. Blocks.
    pub(crate) fn zygote(&self) -> Result<Arc<Zygote>> {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(z) = &*zygote {
            return Ok(z.clone());
        }
        let spawn = Spawn { exe: self.settings.shim_spawn.exe.clone(), args: self.settings.shim_spawn.args.clone() };
        let made = Arc::new(Zygote::connect_or_start(&self.settings.state, &spawn)?);
        *zygote = Some(made.clone());
        Ok(made)
    }

    /// The group of a new container, `None` on a machine without control groups.
    pub(crate) fn group(&self, id: &ContainerId, parent: &str) -> Result<Option<GroupPath>> {
        if self.facts.no_cgroups {
            return Ok(None);
        }
        let parent = match (parent, &self.settings.cgroup_parent) {
            ("", Some(own)) => self.layout.parent(own)?,
            ("", None) => self.layout.default_parent(),
            (asked, _) => self.layout.parent(asked)?,
        };
        GroupPath::new(&parent, id.as_str()).map(Some)
    }
}

/// Where things lie.
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    root: PathBuf,
    state: PathBuf,
    /// The root is on overlayfs, which can't be the upper layer of another one.
    root_on_overlay: bool,
    /// Held while the memory for writable layers is mounted.
    mounting: Arc<Mutex<()>>,
}

impl Dirs {
    /// Makes the directories that must be there, all 0700 (rule R8).
    pub(crate) fn prepare(root: &Path, state: &Path) -> Result<Self> {
        let mut dirs =
            Self { root: root.to_owned(), state: state.to_owned(), root_on_overlay: false, mounting: Arc::default() };
        for dir in [dirs.containers(), dirs.volumes(), state.to_owned(), dirs.sockets()] {
            make(&dir)?;
        }
        for dir in [dirs.containers(), dirs.volumes()] {
            dhow_store::spread(&dir);
        }
        make_mountpoints(&dirs.mountpoints())?;
        // Of a directory that is there now.
        dirs.root_on_overlay = crate::machine::on_overlay(root);
        Ok(dirs)
    }
    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }
    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
    /// What happened, as it is told again.
    pub(crate) fn events(&self) -> PathBuf {
        self.root.join("events")
    }
    pub(crate) fn sockets(&self) -> PathBuf {
        self.state.join("shims")
    }
    pub(crate) fn socket(&self, id: &ContainerId) -> PathBuf {
        self.sockets().join(format!("{id}.sock"))
    }
    pub(crate) fn exit_file(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join("exit.json")
    }
    pub(crate) fn log(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }
    /// Where segments of its log are, if that is how it is kept.
    pub(crate) fn segments(&self, id: &ContainerId) -> PathBuf {
        self.container(id).join(SEGMENTS)
    }
    /// The shared memory of a container that lets others join.
    pub(crate) fn shm(&self, id: &ContainerId) -> PathBuf {
        self.state.join("shm").join(id.as_str())
    }
    /// The lowest layer of every container made from an image: places to mount on, where the image has none. Making
    /// them in each container's own layer would cost a dozen inodes a start.
    pub(crate) fn mountpoints(&self) -> PathBuf {
        self.root.join("mountpoints")
    }
    /// Writable layers in memory, for when the root can't hold them.
    pub(crate) fn memory(&self) -> PathBuf {
        self.state.join("rw")
    }
    /// Takes the memory for writable layers away if none is in it.
    pub(crate) fn release_memory(&self) {
        let memory = self.memory();
        let _held = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = std::fs::read_dir(&memory).is_ok_and(|mut list| list.next().is_none());
        // Fails, and does no harm, where it is a plain directory of a state directory that is a tmpfs itself.
        if empty && rustix::mount::unmount(&memory, rustix::mount::UnmountFlags::NOFOLLOW).is_ok() {
            let _ = std::fs::remove_dir(&memory);
        }
    }
    /// The state directory.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }
    /// Where a container's `upper` and `work` go. `lower` is the directory of the machine it is laid over, if any.
    /// The second value says that they are in memory and why.
    pub(crate) fn data(&self, id: &ContainerId, lower: Option<&Path>) -> Result<(PathBuf, Option<String>)> {
        let why = if self.root_on_overlay {
            Some(format!("{} is itself on overlayfs", self.root.display()))
        } else {
            lower
                .filter(|lower| overlaps(lower, &self.containers()))
                .map(|lower| format!("{} lies below {}", self.root.display(), lower.display()))
        };
        let Some(why) = why else { return Ok((self.container(id), None)) };
        let memory = self.memory();
        // Two at once would mount one over the other.
        let _held = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        make(&memory)?;
        if !crate::machine::on_tmpfs(&memory) {
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("dhow", &memory, "tmpfs", flags, Some(c"mode=0700"))
                .map_err(std::io::Error::from)
                .with_context(|| {
                    format!("{why}, and no tmpfs for the writable layer could be mounted at {}", memory.display())
                })?;
        }
        Ok((memory.join(id.as_str()), Some(format!("what the container writes is kept in memory, because {why}"))))
    }
}

/// Seen by containers as the image's own, hence the modes. Docker puts the same into every container where the image has
/// nothing of that name: by `.dockerenv` programs know that they run in one, `mtab` is what `df` reads.
fn make_mountpoints(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    let what = || format!("make the places to mount on in {}", dir.display());
    let exists = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AlreadyExists;
    for name in ["", "dev", "dev/pts", "dev/shm", "etc", "proc", "sys"] {
        let path = dir.join(name);
        match std::fs::DirBuilder::new().mode(0o755).create(&path) {
            // The daemon's umask takes bits away.
            Ok(()) => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).with_context(what)?,
            Err(e) if exists(&e) => {}
            Err(e) => return Err(e).with_context(what),
        }
    }
    for (name, mode) in [
        (".dockerenv", 0o755),
        ("dev/console", 0o755),
        ("etc/hostname", 0o644),
        ("etc/hosts", 0o644),
        ("etc/resolv.conf", 0o644),
    ] {
        let path = dir.join(name);
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(what)?,
            Err(e) if exists(&e) => {}
            Err(e) => return Err(e).with_context(what),
        }
    }
    match std::os::unix::fs::symlink("/proc/mounts", dir.join("etc/mtab")) {
        Err(e) if !exists(&e) => Err(e).with_context(what),
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner may enter; one that is there must be his.
pub(crate) fn make(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let what = || format!("make {}", dir.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(what)?;
    let meta = std::fs::symlink_metadata(dir).with_context(what)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::system(format!(
            "{} is not a directory of this user: remove it or choose another",
            dir.display()
        )));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).with_context(what)?;
    }
    Ok(())
}

/// overlayfs refuses an upper directory below one of its lower ones, in the same file system.
fn overlaps(lower: &Path, upper: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(lower), Ok(upper)) = (lower.canonicalize(), upper.canonicalize()) else { return false };
    let same = match (lower.metadata(), upper.metadata()) {
        (Ok(a), Ok(b)) => a.dev() == b.dev(),
        _ => false,
    };
    same && upper.starts_with(&lower)
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(f).await {
        Ok(result) => result,
        Err(e) => Err(Error::system(format!("an internal task failed: {e}"))),
    }
}

/// 32 random bytes.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let n = rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)
        .context("draw random bytes")?;
    if n == bytes.len() { Ok(bytes) } else { Err(Error::system("the kernel gave too few random bytes")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upper_below_its_lower_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("a/b"));
        std::fs::create_dir_all(&b).unwrap();
        assert!(overlaps(&a, &b) && overlaps(&a, &a) && !overlaps(&b, &a));
        assert!(!overlaps(Path::new("/proc"), &b));
    }

    #[test]
    fn directories_are_private() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().join("x");
        std::fs::create_dir(&d).unwrap();
        std::fs::set_permissions(&d, std::fs::Permissions::from_mode(0o755)).unwrap();
        make(&d).unwrap();
        assert_eq!(d.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert!(make(&dir.path().join("f")).is_err());
    }
}
