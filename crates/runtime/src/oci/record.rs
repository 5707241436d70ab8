//! What is kept on disk about a container: a directory `ROOT/ID` (0700) with the state, a copy of the document, and,
//! until it is started, the socket its process waits on.
//!
//! All of it is under `/run` and does not outlive the machine, so writes are atomic but not synced.

use super::{ids, time};
use crate::context::Context;
use crate::spec::Spec;
use crate::state::{State, Status};
use dhow_cgroup::{Group, GroupPath, Layout};
use dhow_sys::procfs::Procfs;
use dhow_types::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The largest document or state that is read.
const MAX_DOCUMENT: u64 = 16 << 20;
/// The most containers that are listed.
const MAX_CONTAINERS: usize = 100_000;
/// The name of the socket that a created container waits on.
pub(crate) const START_SOCKET: &str = "start.sock";

/// `state.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub oci_version: String,
    pub id: String,
    pub pid: i32,
    /// When the process started, in the kernel's ticks: a pid alone may be another's by now.
    pub pid_start: u64,
    pub bundle: String,
    pub rootfs: String,
    /// RFC 3339.
    pub created: String,
    pub owner: u32,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Its control group, if it has one.
    pub cgroup: Option<GroupPath>,
}

/// A container's open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    pub fd: OwnedFd,
    root: OwnedFd,
    pub id: String,
}

impl Dir {
    /// Makes the directory of a new container; `Conflict` if there is one.
    pub(crate) fn make(root: &Path, id: &str) -> Result<Self> {
        ids::check_id(id)?;
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(root).with_context(|| format!("make {}", root.display()))?;
        let top = open_root(root)?;
        match mkdirat(&top, id, Mode::from_bits_truncate(0o700)) {
            Err(Errno::EXIST) => return Err(Error::conflict(format!("a container with the id {id} exists already"))),
            result => result.with_context(|| format!("make {}/{id}", root.display()))?,
        }
        Self::at(top, id)
    }

    /// Opens the directory of an existing container.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        ids::check_id(id)?;
        let missing = || Error::not_found(format!("container {id} does not exist"));
        match open_root(root) {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(missing()),
            top => Self::at(top?, id).map_err(|e| if e.kind() == ErrorKind::NotFound { missing() } else { e }),
        }
    }

    fn at(root: OwnedFd, id: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&root, id, flags, Mode::empty()).map_err(|e| not_found(e, id))?;
        Ok(Self { fd, root, id: id.to_owned() })
    }

    /// The ids of all containers.
    pub(crate) fn ids(root: &Path) -> Result<Vec<String>> {
        let top = match open_root(root) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            top => top?,
        };
        let mut ids: Vec<String> = names(&top)?.into_iter().filter(|n| ids::check_id(n).is_ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.{}", std::process::id());
        write_new(self.fd.as_fd(), &temporary, bytes)?;
        renameat(&self.fd, temporary.as_str(), &self.fd, name).with_context(|| format!("put {name} in place"))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::empty()).map_err(|e| not_found(e, name))?;
        read_limited(File::from(file)).with_context(|| format!("read {name}"))
    }

    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record).map_err(|e| Error::system(e.to_string()))?;
        self.write("state.json", &text)
    }

    pub(crate) fn record(&self) -> Result<Record> {
        let text = self.read("state.json").map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::conflict(format!("container {} is still being made", self.id)),
            _ => e,
        })?;
        serde_json::from_slice(&text)
            .map_err(|e| Error::new(ErrorKind::DataLoss, format!("state of container {}: {e}", self.id)))
    }

    /// The document the container was made from.
    pub(crate) fn spec(&self) -> Result<Spec> {
        parse(&self.read("config.json")?)
    }

    /// Whether its process still waits to be started.
    pub(crate) fn waits(&self) -> bool {
        statat(&self.fd, START_SOCKET, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes the directory with all that is in it.
    pub(crate) fn remove(&self) -> Result<()> {
        for name in names(&self.fd)? {
            match unlinkat(&self.fd, name.as_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e).with_context(|| format!("remove {name}")),
            }
        }
        match unlinkat(&self.root, self.id.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).with_context(|| format!("remove the state of {}", self.id)),
        }
    }
}

impl Record {
    /// A record of a process that was just made.
    pub(crate) fn new(
        id: &str,
        pid: i32,
        bundle: &Path,
        rootfs: &Path,
        spec: &Spec,
        cgroup: Option<GroupPath>,
    ) -> Result<Self> {
        Ok(Self {
            oci_version: spec.oci_version.clone(),
            id: id.to_owned(),
            pid,
            pid_start: start_time(pid)?.ok_or_else(|| Error::system("the container's process is gone"))?,
            bundle: bundle.display().to_string(),
            rootfs: rootfs.display().to_string(),
            created: time::now(),
            owner: rustix::process::getuid().as_raw(),
            annotations: spec.annotations.clone(),
            cgroup,
        })
    }

    /// A descriptor of the container's process, if it lives.
    pub(crate) fn process(&self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            result => result.context("open the container's process")?,
        };
        // Looked at after it was opened: if the times agree now, the descriptor is of the right process.
        Ok(if start_time(self.pid)? == Some(self.pid_start) { Some(pidfd) } else { None })
    }

    pub(crate) fn group(&self) -> Result<Option<Group>> {
        let Some(path) = &self.cgroup else { return Ok(None) };
        match Group::open(&Layout::detect()?, path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            group => group.map(Some),
        }
    }

    pub(crate) fn status(&self, dir: &Dir) -> Result<Status> {
        Ok(match self.process()? {
            None => Status::Stopped,
            Some(_) if dir.waits() => Status::Created,
            Some(_) => match self.group()?.map(|g| g.frozen()).transpose() {
                Ok(Some(true)) => Status::Paused,
                _ => Status::Running,
            },
        })
    }

    /// The document of the specification.
    pub(crate) fn state(&self, status: Status) -> State {
        State {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid: (status != Status::Stopped).then_some(self.pid),
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// Reads and parses a `config.json`.
pub(crate) fn parse(text: &[u8]) -> Result<Spec> {
    serde_json::from_slice(text).map_err(|e| Error::invalid(format!("config.json: {e}")))
}

/// Reads a file of the caller's, up to the limit.
pub(crate) fn read_limited(file: File) -> Result<Vec<u8>> {
    let size = file.metadata().map_or(0, |m| m.len().min(MAX_DOCUMENT));
    let mut text = Vec::with_capacity(size as usize + 1);
    file.take(MAX_DOCUMENT + 1).read_to_end(&mut text).context("read")?;
    if text.len() as u64 > MAX_DOCUMENT {
        return Err(Error::new(ErrorKind::Exhausted, format!("larger than {MAX_DOCUMENT} bytes")));
    }
    Ok(text)
}

/// When a process started, in ticks since boot; `None` if it is gone or only waits to be reaped.
pub(crate) fn start_time(pid: i32) -> Result<Option<u64>> {
    let procfs = Procfs::host().context("open /proc")?;
    let Ok(stat) = procfs.read(&format!("{pid}/stat"), 4096) else { return Ok(None) };
    let stat = String::from_utf8_lossy(&stat);
    // The name may hold anything, so fields are counted from its closing parenthesis.
    let Some((_, fields)) = stat.rsplit_once(')') else { return Ok(None) };
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(match (fields.first(), fields.get(19)) {
        (Some(&("Z" | "X")), _) | (_, None) => None,
        (_, Some(ticks)) => ticks.parse().ok(),
    })
}

fn open_root(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty()).map_err(|e| not_found(e, &root.display().to_string()))
}

fn not_found(e: Errno, what: &str) -> Error {
    let error = Error::from(std::io::Error::from(e)).prefixed(what);
    if e == Errno::NOENT { error.with_kind(ErrorKind::NotFound) } else { error }
}

fn write_new(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::from_bits_truncate(0o600)).with_context(|| format!("make {name}"))?;
    File::from(file).write_all(bytes).with_context(|| format!("write {name}"))
}

fn names(dir: &OwnedFd) -> Result<Vec<String>> {
    let list = openat(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).context("list")?;
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&list, &mut space);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.context("list")?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => names.push(name.to_owned()),
        }
        if names.len() > MAX_CONTAINERS {
            return Err(Error::new(ErrorKind::Exhausted, format!("more than {MAX_CONTAINERS} entries")));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_its_process_by_more_than_its_pid() {
        let own = std::process::id() as i32;
        let spec = Spec::default();
        let mut record = Record::new("x", own, Path::new("/b"), Path::new("/r"), &spec, None).unwrap();
        assert!(record.process().unwrap().is_some());
        record.pid_start += 1;
        assert!(record.process().unwrap().is_none());
    }

    #[test]
    fn directories_are_made_once_and_removed_whole() {
        let root = std::env::temp_dir().join(format!("dhow-oci-record-{}", std::process::id()));
        let dir = Dir::make(&root, "a").unwrap();
        assert_eq!(Dir::make(&root, "a").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(Dir::open(&root, "b").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(Dir::make(&root, "../b").is_err());
        dir.write("state.json", b"{").unwrap();
        assert_eq!(dir.record().unwrap_err().kind(), ErrorKind::DataLoss);
        assert_eq!(Dir::ids(&root).unwrap(), ["a"]);
        dir.remove().unwrap();
        assert!(Dir::ids(&root).unwrap().is_empty());
        std::fs::remove_dir(&root).unwrap();
    }
}
