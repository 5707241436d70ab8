//! Compresses the older files of a log with `compress=true`, as Docker names and fills them. Works for the packer.
//!
//! ```text
//!   log.N ──► log.packing, synced ──► log.N.gz (renamed, synced) ──► log.N removed       killed anywhere: the old, or both
//! ```
//!
//! Where both are there, log.N is the one that counts, and is compressed again. The file is found by its inode when it is
//! done, for the shim may have given it another number meanwhile; names are changed under the lock of the directory.

use super::files::{self, compressed, numbers, rotated};
use super::gzip::Extra;
use super::{line, seek};
use crate::logs::lock;
use dhow_types::{Context, Result};
use flate2::{Compression, GzBuilder};
use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// As Docker's.
const MODE: u32 = 0o640;

/// Where one is made. A log has one packer.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".packing");
    PathBuf::from(name)
}

/// Whether there is something to do.
pub(in crate::logs) fn is_due(path: &Path) -> Result<bool> {
    Ok(unfinished(path).exists() || numbers(path)?.iter().any(|(n, plain)| *n > 0 && *plain))
}

/// Compresses all files but the newest, the oldest first.
pub(in crate::logs) fn pack_all(path: &Path) -> Result<()> {
    let temp = unfinished(path);
    // Left by one that was killed.
    let _ = std::fs::remove_file(&temp);
    let mut first = None;
    for (n, plain) in numbers(path)?.into_iter().rev() {
        if n == 0 || !plain {
            continue;
        }
        let done = pack_one(path, &rotated(path, n), &temp);
        if let Err(e) = done.with_context(|| format!("compress {}", rotated(path, n).display())) {
            let _ = std::fs::remove_file(&temp);
            first.get_or_insert(e);
        }
    }
    first.map_or(Ok(()), Err)
}

fn pack_one(path: &Path, from: &Path, temp: &Path) -> Result<()> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let source = match File::options().read(true).custom_flags(nofollow).open(from) {
        Ok(source) => source,
        // It has another number by now, and is found with the next look.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    compress(&source, temp)?;
    finish(path, &source, temp)
}

/// Writes what `source` holds to `temp`, which is whole and on the disk when this returns.
fn compress(mut source: &File, temp: &Path) -> Result<()> {
    let last_time = line::time_text(&seek::last_line(source)?).unwrap_or_default();
    let extra = Extra { last_time, inode: Some(source.metadata()?.ino()) };
    let extra = serde_json::to_vec(&extra).unwrap_or_default();
    let target = File::options().write(true).create_new(true).mode(MODE).open(temp)?;
    let mut out = GzBuilder::new().extra(extra).write(BufWriter::new(target), Compression::default());
    std::io::copy(&mut source, &mut out)?;
    let target = out.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    // Only then may the other one go: a power cut must not leave both unreadable.
    target.sync_data()?;
    Ok(())
}

/// Puts the compressed form of `source` in its place, if it is still there.
fn finish(path: &Path, source: &File, temp: &Path) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    let lock = lock::exclusive(dir)?;
    let own = source.metadata()?.ino();
    let is_it = |n: &u32| *n > 0 && files::inode(&rotated(path, *n)) == Some(own);
    let Some(n) = numbers(path)?.into_keys().find(is_it) else {
        // Turned out, or emptied.
        std::fs::remove_file(temp)?;
        return Ok(());
    };
    std::fs::rename(temp, compressed(path, n))?;
    if let Some(dir) = lock {
        dir.sync_all()?;
    }
    Ok(std::fs::remove_file(rotated(path, n))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn unpacked(path: &Path) -> String {
        let mut out = String::new();
        let mut decoder = flate2::read::GzDecoder::new(File::open(path).unwrap());
        std::io::Read::read_to_string(&mut decoder, &mut out).unwrap();
        out
    }

    #[test]
    fn older_files_as_docker_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line =
            |n: u32| format!("{{\"log\":\"{n}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:0{n}Z\"}}\n");
        for (name, n) in [("log", 3), ("log.1", 2), ("log.2", 1)] {
            std::fs::write(dir.path().join(name), line(n)).unwrap();
        }
        std::fs::write(unfinished(&path), "left by one that was killed").unwrap();
        assert!(is_due(&path).unwrap());
        pack_all(&path).unwrap();
        assert_eq!(names(dir.path()), ["log", "log.1.gz", "log.2.gz"]);
        assert!(!is_due(&path).unwrap());
        assert_eq!([unpacked(&compressed(&path, 1)), unpacked(&compressed(&path, 2))], [line(2), line(1)]);
        let head = flate2::read::GzDecoder::new(File::open(compressed(&path, 1)).unwrap()).header().cloned().unwrap();
        let extra: serde_json::Value = serde_json::from_slice(head.extra().unwrap()).unwrap();
        assert_eq!(extra["lastTime"], "2026-01-01T00:00:02Z");
        assert_eq!(std::fs::metadata(compressed(&path, 1)).unwrap().mode() & 0o777, MODE);
    }

    /// A shim that turns files over, and one who empties the log, while a file is compressed.
    #[test]
    fn a_file_is_found_under_its_number_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let temp = unfinished(&path);
        let made = || {
            std::fs::write(rotated(&path, 1), "first\n").unwrap();
            let source = File::open(rotated(&path, 1)).unwrap();
            compress(&source, &temp).unwrap();
            source
        };
        let source = made();
        std::fs::rename(rotated(&path, 1), rotated(&path, 2)).unwrap();
        std::fs::write(rotated(&path, 1), "second\n").unwrap();
        finish(&path, &source, &temp).unwrap();
        assert_eq!(names(dir.path()), ["log.1", "log.2.gz"]);
        assert_eq!(std::fs::read_to_string(rotated(&path, 1)).unwrap(), "second\n");
        assert_eq!(unpacked(&compressed(&path, 2)), "first\n");
        let source = made();
        std::fs::remove_file(rotated(&path, 1)).unwrap();
        std::fs::write(rotated(&path, 1), "of the next start\n").unwrap();
        finish(&path, &source, &temp).unwrap();
        assert_eq!(names(dir.path()), ["log.1", "log.2.gz"]);
    }
}
