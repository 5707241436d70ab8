//! The root's content, from outside.

use super::super::facts::{Seen, Store, Unseen};
use super::{is_root, unseen_here};
use dhow_store::glance::{glance, newest_version};
use std::path::Path;

/// Looks. `damaged` is what a daemon says of damaged layers.
pub fn look(root: &Path, damaged: Option<u64>) -> Seen<Store> {
    let scratch = Scratch::new();
    if !is_root() && root.exists() && std::fs::read_dir(root).is_err() {
        return Err(Unseen::Root);
    }
    let seen = glance(root, &scratch.0).map_err(|e| unseen_here(&e))?;
    let Some(seen) = seen else {
        let none = Store {
            made: false,
            mode: 0,
            owner: 0,
            schema: None,
            known: newest_version(),
            layers: 0,
            damaged: Ok(0),
            leftovers: 0,
            holder: None,
        };
        return Ok(none);
    };
    let by_file = seen.database.as_ref().and_then(|d| d.as_ref().ok()?.damaged);
    Ok(Store {
        made: true,
        mode: seen.mode,
        owner: seen.owner,
        schema: seen.database.map(|d| d.map(|d| d.version)),
        known: newest_version(),
        layers: seen.layers,
        damaged: match (damaged.or(by_file), seen.holder) {
            (Some(n), _) => Ok(n),
            (None, Some(pid)) => Err(Unseen::Other(format!("process {pid} has the database"))),
            (None, None) => Err(Unseen::Other("no database that could be read so".to_owned())),
        },
        leftovers: seen.leftovers,
        holder: seen.holder,
    })
}

/// A directory of this process alone, which goes when it is dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    /// Where it can't be made, what is to be copied to it is not.
    fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt as _;
        let moment = jiff::Timestamp::now().subsec_nanosecond();
        let dir = std::env::temp_dir().join(format!("dhow-doctor-{}-{moment}", std::process::id()));
        let _ = std::fs::DirBuilder::new().mode(0o700).create(&dir);
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
