//! Lists that are being made: a folder for each below Docker's `manifests`, in it a file for each image. Docker's client
//! reads them, and reads what it wrote.

use super::document::Entry;
use crate::cli::config;
use anyhow::{Context as _, Result, bail};
use dhow_types::Reference;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The largest file that is read: a manifest twice over, and what stands around it.
const MAX_FILE: u64 = 16 << 20;

/// A name as that of a file. No slash is left in it, and it begins with a domain.
fn file_name(name: &Reference) -> String {
    name.to_string().replace(':', "-").replace('/', "_")
}

fn folder(list: &Reference) -> PathBuf {
    config::directory().join("manifests").join(file_name(list))
}

/// The images of a list; none if there is no such list.
pub(super) fn list(list: &Reference) -> Result<Option<Vec<Entry>>> {
    let folder = folder(list);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("open {}", folder.display())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.with_context(|| format!("read {}", folder.display()))?.path());
    }
    paths.sort();
    Ok(Some(paths.iter().filter_map(|path| read(path).transpose()).collect::<Result<_>>()?))
}

/// One image of a list.
pub(super) fn get(list: &Reference, image: &Reference) -> Result<Option<Entry>> {
    read(&folder(list).join(file_name(image)))
}

fn read(path: &Path) -> Result<Option<Entry>> {
    let what = || format!("read {}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(what),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(what)?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} is larger than {MAX_FILE} bytes", path.display());
    }
    Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{}: no manifest as it is kept", path.display()))?))
}

/// Keeps an image of a list.
pub(super) fn put(list: &Reference, image: &Reference, entry: &Entry) -> Result<()> {
    let path = folder(list).join(file_name(image));
    config::write_whole(&path, &serde_json::to_vec(entry)?, std::fs::Permissions::from_mode(0o644))
}

/// Forgets a list. Whether there was one.
pub(super) fn remove(list: &Reference) -> Result<bool> {
    let folder = folder(list);
    match std::fs::remove_dir_all(&folder) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).with_context(|| format!("remove {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for (name, want) in [("x", "docker.io_library_x"), ("r:5000/a/b:1", "r-5000_a_b-1"), ("a.b/../c", "")] {
            let name: Result<Reference, _> = name.parse();
            assert_eq!(name.map(|n| file_name(&n)).unwrap_or_default(), want);
        }
    }
}
