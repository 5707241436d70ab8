//! The files of a log: the newest bears its name, older ones a number behind it, compressed ones `.gz` behind that.

use super::gzip::{self, About};
use crate::logs::lock;
use dhow_types::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One of them, open: it stays the same file, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) own: u64,
    /// What a compressed one says of itself.
    pub(super) gzip: Option<About>,
}

/// The older file with this number.
pub(crate) fn rotated(path: &Path, n: u32) -> PathBuf {
    behind(path, &format!(".{n}"))
}

/// The same one, compressed.
pub(crate) fn compressed(path: &Path, n: u32) -> PathBuf {
    behind(path, &format!(".{n}.gz"))
}

fn behind(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// The numbers that there are, 0 for the newest, and whether a file that is not compressed has it. Where both are there,
/// the compressed one was finished and the other not removed yet.
pub(super) fn numbers(path: &Path) -> Result<BTreeMap<u32, bool>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(BTreeMap::new());
    };
    let what = || format!("list the log {}", path.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).with_context(what),
    };
    let mut out = BTreeMap::new();
    for entry in entries {
        let entry = entry.with_context(what)?.file_name();
        let Some(rest) = entry.to_str().and_then(|entry| entry.strip_prefix(name)) else { continue };
        let plain = rest.strip_suffix(".gz");
        let Some(n) = number(plain.unwrap_or(rest)) else { continue };
        *out.entry(n).or_insert(false) |= plain.is_none();
    }
    Ok(out)
}

fn number(rest: &str) -> Option<u32> {
    match rest.strip_prefix('.') {
        Some(n) => n.parse().ok().filter(|n| *n > 0),
        None => rest.is_empty().then_some(0),
    }
}

/// All of them, the newest first.
pub(super) fn open_all(path: &Path) -> Result<Vec<Opened>> {
    // Without it, files move behind this back: from the newest to the oldest, so that one can be seen twice, and none is
    // missed.
    let _lock = path.parent().and_then(lock::shared);
    let mut out: Vec<Opened> = Vec::new();
    for (n, plain) in numbers(path)? {
        let name = match (n, plain) {
            (0, _) => path.to_owned(),
            (n, true) => rotated(path, n),
            (n, false) => compressed(path, n),
        };
        let what = || format!("open {}", name.display());
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let file = match File::options().read(true).custom_flags(flags).open(&name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e).with_context(what),
        };
        let own = file.metadata().with_context(what)?.ino();
        if out.iter().all(|seen| seen.own != own) {
            let gzip = if n > 0 && !plain { Some(gzip::about(&file)) } else { None };
            out.push(Opened { file, own, gzip });
        }
    }
    Ok(out)
}

/// The files of `all` that are newer than the one with the inode `own`, which is open, the next one last.
pub(super) fn newer(all: Vec<Opened>, own: u64, plain: bool) -> Vec<Opened> {
    // While it is open no other file gets its inode. An older one may have had it before.
    let mine = |it: &Opened| it.own == own || plain && it.gzip.as_ref().is_some_and(|about| about.inode == Some(own));
    let end = all.iter().position(mine).unwrap_or(all.len());
    let mut all = all;
    all.truncate(end);
    all
}

/// The inode of the newest file.
pub(super) fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}
