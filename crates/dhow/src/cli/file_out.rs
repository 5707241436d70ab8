//! An output file that appears whole or not at all: written without a name or under a temporary one beside its
//! place, and moved there at the end. Devices and pipes are written as they are.

use super::units::human_size;
use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, linkat, open};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
pub const CHUNK: usize = 1 << 20;

/// See the module.
pub struct FileOut {
    file: File,
    place: PathBuf,
    state: State,
}

enum State {
    /// A device or a pipe: nothing to be moved.
    Direct,
    /// A file without a name: it vanishes by itself.
    Nameless,
    /// A temporary name.
    Named(PathBuf),
}

impl FileOut {
    /// Begins a file that will be at `path`. With `size` the room for it is taken now, so that a full disk is known
    /// before anything is read.
    pub fn create(path: &Path, size: Option<u64>) -> Result<Self> {
        // A link at the place stays one, and what it leads to is replaced.
        let resolved = path.canonicalize();
        let path = resolved.as_deref().unwrap_or(path);
        let what = || format!("write {}", path.display());
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        if !dir.is_dir() {
            bail!("invalid output path: directory {:?} does not exist", dir.display().to_string());
        }
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                bail!("invalid output path: {:?} is a directory", path.display().to_string())
            }
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(path).with_context(what)?;
                return Ok(Self { file, place: path.to_owned(), state: State::Direct });
            }
            _ => {}
        }
        let mode = Mode::from_raw_mode(0o600);
        let (file, state) = match open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode) {
            Ok(fd) => (File::from(fd), State::Nameless),
            // Some file systems have no files without a name.
            Err(_) => {
                let temporary = temporary(path);
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let fd = open(&temporary, flags, mode).map_err(io::Error::from).with_context(what)?;
                (File::from(fd), State::Named(temporary))
            }
        };
        let out = Self { file, place: path.to_owned(), state };
        if let Some(size) = size.filter(|size| *size > 0)
            && let Err(error) = fallocate(&out.file, FallocateFlags::empty(), 0, size)
            && matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT | rustix::io::Errno::FBIG)
        {
            let free = rustix::fs::fstatvfs(&out.file).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
            bail!(
                "{}: no space left: {} are needed, {} are free on its file system",
                what(),
                human_size(i64::try_from(size).unwrap_or(i64::MAX)),
                human_size(i64::try_from(free).unwrap_or(i64::MAX))
            );
        }
        Ok(out)
    }

    /// Gives it these permissions and the owner of the file in whose place it comes, and has its content on the disk
    /// before its name.
    pub fn keep(&self, permissions: std::fs::Permissions) -> io::Result<()> {
        if let (Ok(before), Ok(own)) = (std::fs::metadata(&self.place), self.file.metadata())
            && (before.uid(), before.gid()) != (own.uid(), own.gid())
        {
            // Root may; for others it is theirs from now on, as with Docker's client.
            let _ = std::os::unix::fs::fchown(&self.file, Some(before.uid()), Some(before.gid()));
        }
        self.file.set_permissions(permissions)?;
        self.file.sync_all()
    }

    /// Puts the file at its place. Without this call there is none.
    pub fn finish(mut self) -> Result<()> {
        let what = format!("write {}", self.place.display());
        let temporary = match std::mem::replace(&mut self.state, State::Direct) {
            State::Direct => return Ok(()),
            State::Named(temporary) => temporary,
            State::Nameless => {
                let temporary = temporary(&self.place);
                let nameless = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, nameless, CWD, &temporary, AtFlags::SYMLINK_FOLLOW)
                    .map_err(io::Error::from)
                    .with_context(|| what.clone())?;
                temporary
            }
        };
        // From here on its drop removes it.
        self.state = State::Named(temporary.clone());
        std::fs::rename(&temporary, &self.place).with_context(|| what)?;
        self.state = State::Direct;
        Ok(())
    }
}

/// A name beside `path` that nobody else uses.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Short, because names have 255 bytes.
    let start: String = name.chars().take(32).collect();
    path.with_file_name(format!(".{start}.dhow-{}", std::process::id()))
}

impl Write for FileOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FileOut {
    fn drop(&mut self) {
        if let State::Named(temporary) = &self.state {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x.tar");
        let mut out = FileOut::create(&place, Some(4)).unwrap();
        out.write_all(b"abcd").unwrap();
        assert!(names(dir.path()).iter().all(|n| n != "x.tar"));
        out.finish().unwrap();
        assert_eq!((names(dir.path()), std::fs::read(&place).unwrap()), (vec!["x.tar".to_owned()], b"abcd".to_vec()));

        let mut out = FileOut::create(&place, None).unwrap();
        out.write_all(b"half").unwrap();
        drop(out);
        assert_eq!((names(dir.path()), std::fs::read(&place).unwrap()), (vec!["x.tar".to_owned()], b"abcd".to_vec()));

        let mut out = FileOut::create(&place, None).unwrap();
        out.write_all(b"new").unwrap();
        out.finish().unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"new");
        assert!(FileOut::create(dir.path(), None).is_err());
        assert!(FileOut::create(&dir.path().join("no/x"), None).is_err());
    }

    #[test]
    fn devices_are_written_as_they_are() {
        let mut out = FileOut::create(Path::new("/dev/null"), Some(1)).unwrap();
        out.write_all(b"x").unwrap();
        out.finish().unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_disk_that_is_too_small_is_known_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let error = FileOut::create(&dir.path().join("x"), Some(1 << 60)).err().unwrap();
        assert!(format!("{error:#}").contains("x"), "{error:#}");
        assert!(names(dir.path()).is_empty());
    }
}
