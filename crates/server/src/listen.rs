//! The sockets that the API is served on, and who may open them.
//!
//! Rule R8 (file modes): a socket stands on a path, never in the abstract namespace, and is 0600 from the
//! first moment; then it gets 0660 and the group `docker` if there is one.

use dhow_types::{Context, Error, ErrorKind, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted; more are refused by the kernel until some were.
const BACKLOG: i32 = 1024;
/// The most that is read of `/etc/group`.
const MAX_GROUP_FILE: u64 = 1024 * 1024;

/// A listening socket. Its path is removed when it is dropped, unless another socket stands there by then.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    node: Option<Node>,
}

/// The name that a listener made, with device and inode to know it again.
#[derive(Debug)]
struct Node {
    path: PathBuf,
    id: (u64, u64),
}

impl Listener {
    /// Listens on an address as command lines give it: `unix:///run/dhow.sock`.
    pub fn open(address: &str) -> Result<Self> {
        match address.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Self::bind(Path::new(path)),
            Some(("unix", path)) => Err(Error::invalid(format!("{address}: the path {path:?} must be absolute"))),
            Some((scheme, _)) => {
                Err(Error::not_implemented(format!("{address}: {scheme}:// is not supported; use unix://PATH")))
            }
            None => Err(Error::invalid(format!("{address}: want unix://PATH"))),
        }
    }

    /// Listens on `path`. What a dead daemon left there is replaced; a living one is left alone.
    pub fn bind(path: &Path) -> Result<Self> {
        Self::bind_at(path).with_context(|| format!("listen on {}", path.display()))
    }

    /// A socket that someone else bound (socket activation). Its path is left as it is.
    pub fn from_socket(socket: UnixListener) -> Self {
        Self { socket, node: None }
    }

    fn bind_at(path: &Path) -> Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::invalid("the path names no file"));
        };
        let parent_fd = rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(std::io::Error::from)
            .with_context(|| format!("open the directory {}", parent.display()))?;
        // Through the descriptor, as a path in an address ends after 107 bytes.
        let short = PathBuf::from(format!("/proc/self/fd/{}", parent_fd.as_raw_fd())).join(name);
        match rustix::fs::statat(&parent_fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(std::io::Error::from(e).into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
                return Err(Error::conflict("something that is no socket has this name; remove it or choose another"));
            }
            Ok(_) => match UnixStream::connect(&short) {
                Ok(_) => return Err(Error::conflict("another daemon serves this socket; stop it or choose another")),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                    rustix::fs::unlinkat(&parent_fd, name, AtFlags::empty()).map_err(std::io::Error::from)?;
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::from(e).prefixed("ask who serves it")),
            },
        }
        let socket = listening(&short)?;
        let group = docker_group(Path::new("/etc/group"));
        if let Some(group) = group {
            // Without the right to give it away the socket stays with the caller's group.
            match rustix::fs::chownat(&parent_fd, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(()) | Err(rustix::io::Errno::PERM) => {}
                Err(e) => return Err(Error::from(std::io::Error::from(e)).prefixed("give it to the group docker")),
            }
        }
        rustix::fs::chmodat(&parent_fd, name, Mode::from_raw_mode(0o660), AtFlags::empty())
            .map_err(std::io::Error::from)?;
        let stat = rustix::fs::statat(&parent_fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
        let node = Node { path: path.to_owned(), id: (stat.st_dev, stat.st_ino) };
        Ok(Self { socket, node: Some(node) })
    }

    pub(crate) fn socket(&self) -> std::io::Result<UnixListener> {
        self.socket.try_clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(node) = &self.node else { return };
        let ours = rustix::fs::lstat(&node.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == node.id);
        if ours {
            let _ = rustix::fs::unlink(&node.path);
        }
    }
}

/// A socket that listens on `path`, which only its owner may open.
fn listening(path: &Path) -> Result<UnixListener> {
    let io = std::io::Error::from;
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(io)?;
    // The node that bind makes takes its mode from the socket, so there is no moment with a wider one.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(io)?;
    let address = SocketAddrUnix::new(path).map_err(io)?;
    rustix::net::bind(&socket, &address).map_err(|e| match e {
        rustix::io::Errno::ADDRINUSE => Error::new(ErrorKind::Conflict, "another daemon takes this socket right now"),
        e => io(e).into(),
    })?;
    rustix::net::listen(&socket, BACKLOG).map_err(io)?;
    Ok(UnixListener::from(socket))
}

/// The id of the group `docker`, if this machine has one.
fn docker_group(file: &Path) -> Option<Gid> {
    let mut text = String::new();
    let file = std::fs::File::open(file).ok()?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_GROUP_FILE), &mut text).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == "docker").then(|| fields.nth(1)?.parse().ok()).flatten().map(Gid::from_raw)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_absolute_unix_paths_are_served() {
        for (address, word) in [
            ("tcp://127.0.0.1:2375", "tcp://"),
            ("fd://", "fd://"),
            ("npipe:////./pipe/docker_engine", "npipe://"),
            ("unix://run/x", "absolute"),
            ("/run/x", "unix://PATH"),
        ] {
            let error = Listener::open(address).unwrap_err();
            assert!(error.text().contains(word) && error.text().contains(address), "{error}");
        }
    }

    #[test]
    fn a_living_daemon_is_left_alone_and_a_dead_ones_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than an address can be.
        let long = dir.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let path = long.join("api.sock");
        let first = Listener::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::Conflict);
        // As after SIGKILL: the socket is closed, the name stays.
        let Listener { socket, node } = &first;
        assert!(node.is_some());
        rustix::net::shutdown(socket, rustix::net::Shutdown::Both).unwrap();
        let second = Listener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "the first must not remove the second's name");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&path).unwrap_err().text().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let nowhere = Listener::bind(&dir.path().join("gone/api.sock")).unwrap_err();
        assert!(nowhere.text().contains("gone"), "{nowhere}");
    }

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("group");
        std::fs::write(&file, "root:x:0:\nmydocker:x:7:\ndocker:x:998:ann,bob\n").unwrap();
        assert_eq!(docker_group(&file), Some(Gid::from_raw(998)));
        std::fs::write(&file, "root:x:0:\n").unwrap();
        assert_eq!(docker_group(&file), None);
    }
}
