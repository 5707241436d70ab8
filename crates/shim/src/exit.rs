//! The exit file: how a container ended, on disk before anybody is told.

use crate::protocol::ExitStatus;
use dhow_types::{Context, Error, Result};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How a process ended, in Docker's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code, 128 + n when killed by signal n.
    pub code: i32,
    /// The signal.
    pub signal: Option<i32>,
}

impl Ended {
    fn from_status(status: &WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self { code, signal: None },
            (None, Some(signal)) => Self { code: 128 + signal, signal: Some(signal) },
            // A status that is neither cannot come from WEXITED; 255 is what Docker reports for "unknown".
            (None, None) => Self { code: 255, signal: None },
        }
    }
}

/// Reaps the child behind `pidfd` if it has ended.
pub fn reap(pidfd: BorrowedFd<'_>) -> Option<Ended> {
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(status) => return status.as_ref().map(Ended::from_status),
            Err(rustix::io::Errno::INTR) => {}
            // Somebody else reaped it: it has ended, nobody knows how.
            Err(_) => return Some(Ended { code: 255, signal: None }),
        }
    }
}

/// Waits for a child that was killed.
pub fn reap_now(pidfd: BorrowedFd<'_>) {
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED));
}

/// A pidfd that outlives whatever made the process.
pub fn own_pidfd(pidfd: BorrowedFd<'_>) -> Result<std::os::fd::OwnedFd> {
    pidfd.try_clone_to_owned().context("duplicate a pidfd")
}

/// Writes `bytes` to `path` so that a reader sees all of it or nothing, whenever this process dies.
///
/// Not synced: after a power cut the container has ended anyway, and a missing file says so.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid(format!("{} has no file name", path.display())))?;
    let mut temp = std::ffi::OsString::from(".");
    temp.push(name);
    temp.push(format!(".{}", rustix::process::getpid().as_raw_nonzero()));
    let temp = path.with_file_name(temp);
    let work = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&temp);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(bytes)?;
        std::fs::rename(&temp, path)
    };
    work().map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        Error::from(e).prefixed(format!("write {}", path.display()))
    })
}

/// Writes the exit file.
pub fn record(path: &Path, status: &ExitStatus) -> Result<()> {
    let text = serde_json::to_vec(status).map_err(|e| Error::system(format!("encode an exit status: {e}")))?;
    write_atomically(path, &text)
}

/// Reads an exit file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<ExitStatus>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::new(dhow_types::ErrorKind::DataLoss, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
    }
}

/// A signal to the process behind `pidfd`; false when it has ended.
pub fn signal(pidfd: BorrowedFd<'_>, signo: i32) -> Result<bool> {
    match dhow_sys::fork::send_signal(pidfd, signo) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
            Err(Error::invalid(format!("signal {signo} does not exist")))
        }
        Err(e) => Err(e).with_context(|| format!("send signal {signo}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_file_is_whole_and_replaces_an_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit.json");
        assert_eq!(read(&path).unwrap(), None);
        for exit_code in [1, 137] {
            let status = ExitStatus {
                exit_code,
                signal: (exit_code > 128).then_some(9),
                oom_killed: false,
                started_at: Some(crate::clock::now()),
                finished_at: crate::clock::now(),
                pid: 7,
                error: String::new(),
            };
            record(&path, &status).unwrap();
            assert_eq!(read(&path).unwrap(), Some(status));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""exitCode":137"#) && text.contains(r#""oomKilled":false"#), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
        std::fs::write(&path, "{").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), dhow_types::ErrorKind::DataLoss);
    }
}
