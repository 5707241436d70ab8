//! Images on disk: what was loaded, its layers as directories ready for overlayfs, and the database
//! that says what exists.
//!
//! Synchronous: callers bring their own blocking threads. Nothing here mounts, runs or talks to a
//! network; containers and volumes are opaque rows kept for the engine.

mod apply;
mod check;
mod damaged;
pub mod db;
mod diff;
pub mod glance;
mod hello;
mod history;
mod images;
mod layers;
mod load;
mod lock;
mod make;
pub mod merged;
mod names;
mod pack;
mod rebuild;
mod receive;
mod recipe;
mod remove;
mod save;
mod send;
mod space;
mod spread;
pub mod steps;
mod sync;
mod tar;
mod trash;
pub mod usage;

pub use apply::Limits;
pub use check::{Checked, Finding, Outcome, check_root};
pub use db::{ContainerRow, Database, Durability, VolumeRow};
pub use diff::{ImageChange, ImageDiff};
pub use hello::HELLO;
pub use history::{Step, TreeNode};
pub use images::{Image, ImageRecord};
pub use load::pipe::Piece;
pub use load::{Loaded, Progress};
pub use make::{Made, NewDocument};
pub use receive::{CallOff, Hold, Incoming, Landed, LayerIn, ReceivedImage, Spoiled, Taken, Unfinished, WantedLayer};
pub use remove::{InUse, Removed};
pub use save::Save;
pub use send::{Compression, Form, How, Sending, SentLayer};
pub use space::{Reservation, Steward};
pub use spread::spread;
pub use usage::Usage;

use dhow_types::{Context as _, Digest, Error, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a store behaves.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// Keep layers also as they were received, not only unpacked with a recipe.
    pub keep_blobs: bool,
    /// Named bounds on what archives may hold.
    pub limits: Limits,
}

/// The store under one root directory. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    paths: Paths,
    config: StoreConfig,
    db: Database,
    /// Images already parsed, by id.
    images: Mutex<HashMap<Digest, Arc<Image>>>,
    /// When images were last used, and which moment of it is written down.
    used: Mutex<HashMap<Digest, (i64, i64)>>,
    /// Images whose removal has begun.
    removing: Mutex<HashSet<Digest>>,
    /// Layers whose size on disk is known. Held while disk usage is measured.
    measured: Mutex<usage::Measured>,
    space: Arc<space::Space>,
    sends: send::Shared,
    /// Layers that a check found damaged and could not mend: the next load brings them anew.
    damaged: Mutex<HashSet<Digest>>,
    /// Held while layers and images become visible or vanish, never while bytes flow.
    publish: Mutex<layers::Leases>,
    held: layers::Held,
    /// Whose bytes are being received.
    ingesting: receive::Claims,
    trash: trash::Trash,
    lock: lock::RootLock,
}

/// Where things lie under the root.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    fn dir(&self, name: &'static str) -> PathBuf {
        self.root.join(name)
    }
    fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.dir("layers").join(diff_id.hex())
    }
    fn recipe(&self, diff_id: &Digest) -> PathBuf {
        self.dir("recipes").join(diff_id.hex())
    }
    /// The bytes of a layer as far as they came.
    fn ingest(&self, digest: &Digest) -> PathBuf {
        self.dir("ingest").join(digest.hex())
    }
    fn displaced(&self, diff_id: &Digest) -> PathBuf {
        self.dir("recipes").join(format!("{}.displaced", diff_id.hex()))
    }
    fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir("blobs").join("sha256").join(digest.hex())
    }
}

/// What lies directly under the root; all of it 0700.
const DIRECTORIES: [&str; 8] = ["blobs", "blobs/sha256", "ingest", "layers", "recipes", "tmp", "trash", "containers"];

impl Store {
    /// Opens the store at `root`, makes it if it is not there, and clears what a crash left half done.
    /// Fails if another process has it open; the error names that process.
    pub fn open(root: &Path, config: StoreConfig) -> Result<Store> {
        make_private(root)?;
        let lock = lock::RootLock::take(root)?;
        let advise = |e: Error| {
            match e.kind() {
            ErrorKind::DataLoss => e.advised(format_args!(
                "see what is left with `dhow system check --root {0}`, mend it with `dhow system check --repair --root {0}`",
                root.display()
            )),
            _ => e,
        }
        };
        let db = Self::open_database(root).map_err(advise)?;
        let store = Self::assemble(root, config, lock, db)?;
        store.clear_half_done().context("clear what a crash left behind").map_err(advise)?;
        Ok(store)
    }

    /// A store of these parts; nothing is cleared.
    fn assemble(root: &Path, config: StoreConfig, lock: lock::RootLock, db: Database) -> Result<Store> {
        for name in DIRECTORIES {
            make_private(&root.join(name))?;
        }
        spread(&root.join("tmp"));
        let paths = Paths::new(root);
        let trash = trash::Trash::open(&paths)?;
        let inner = Inner {
            space: space::Space::open(root, trash.room())?,
            paths,
            config,
            db,
            images: Mutex::default(),
            used: Mutex::default(),
            removing: Mutex::default(),
            sends: send::Shared::default(),
            measured: Mutex::default(),
            damaged: Mutex::default(),
            publish: Mutex::default(),
            held: Default::default(),
            ingesting: Default::default(),
            trash,
            lock,
        };
        let store = Store { inner: Arc::new(inner) };
        store.read_damaged();
        Ok(store)
    }

    /// Closes the database and gives the lock back. Fails if somebody else has the store as well.
    fn close(self) -> Result<lock::RootLock> {
        let inner = Arc::try_unwrap(self.inner).map_err(|_| Error::conflict("the store is in use"))?;
        Ok(inner.lock)
    }

    /// A root that has layers and a database that knows nothing is one that lost its database: everything in it would
    /// look like the waste of a crash.
    fn open_database(root: &Path) -> Result<Database> {
        let layers = std::fs::read_dir(root.join("layers")).is_ok_and(|mut d| d.next().is_some());
        Database::open(&root.join("dhow.db"), !layers)
    }

    /// The database.
    pub fn db(&self) -> &Database {
        &self.inner.db
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.inner.paths.root
    }

    /// The configuration the store was opened with.
    pub fn config(&self) -> &StoreConfig {
        &self.inner.config
    }

    fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    fn publishing(&self) -> MutexGuard<'_, layers::Leases> {
        lock_anyway(&self.inner.publish)
    }
}

/// A mutex whose holder panicked guards data that is still whole: every change under it is one statement.
fn lock_anyway<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a directory only its owner may enter, or checks that it is one (R8).
fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("make {}", dir.display()))?;
    let meta = std::fs::symlink_metadata(dir).with_context(|| format!("look at {}", dir.display()))?;
    if meta.is_dir() && meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("close {} to others", dir.display()))?;
    }
    Ok(())
}
