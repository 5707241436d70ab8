//! Sockets on paths, also on paths that are longer than the 107 bytes of a socket's address.

use dhow_types::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The address of `path`. A long one is spelled by a descriptor of its folder, which must stay open while the address
/// is used.
fn address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(plain) = SocketAddrUnix::new(path) {
        return Ok((plain, None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((SocketAddrUnix::new(short)?, Some(folder)))
}

/// A blocking connection to the socket at `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect_socket(&socket, path)?;
    Ok(UnixStream::from(socket))
}

/// Connects `socket`, of whatever type, to the one at `path`.
pub fn connect_socket(socket: impl AsFd, path: &Path) -> io::Result<()> {
    let (address, _folder) = address(path)?;
    Ok(rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?)
}

/// Binds `socket` to `path`, with mode 0600 whatever the umask. A socket left behind at the path is replaced; anything
/// else there is an error.
pub fn bind(socket: impl AsFd, path: &Path) -> Result<()> {
    let work = || -> io::Result<()> {
        let (address, _folder) = address(path)?;
        // A socket's file gets the mode of the socket's own inode.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        match rustix::net::bind(&socket, &address) {
            Err(rustix::io::Errno::ADDRINUSE) => {}
            other => return Ok(other?),
        }
        use std::os::unix::fs::FileTypeExt;
        if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::Error::other("something that is no socket is in the way"));
        }
        std::fs::remove_file(path)?;
        Ok(rustix::net::bind(&socket, &address)?)
    };
    work().map_err(Error::from).with_context(|| format!("listen on {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn listening() -> OwnedFd {
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn long_paths_work_and_stale_sockets_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        for path in [dir.path().join("short.sock"), deep.join("long.sock")] {
            for _ in 0..2 {
                // The second round finds the first one's socket, which nobody listens on any more.
                let socket = listening();
                bind(&socket, &path).unwrap();
                rustix::net::listen(&socket, 1).unwrap();
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                connect(&path).unwrap();
            }
            assert!(connect(&path).is_err());
        }
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "keep").unwrap();
        assert!(bind(listening(), &path).unwrap_err().text().contains("in the way"));
        assert_eq!(std::fs::read(&path).unwrap(), b"keep");
    }
}
