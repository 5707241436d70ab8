//! A unix socket from outside: who has it, and whether anybody listens.

use super::super::facts::{Answer, Node};
use super::bounded::{ANSWER, within};
use super::text;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What became of a connection, and the process at its other end. That somebody answers is not asked here.
pub fn connect(path: &Path) -> (Answer, Option<u32>) {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return (Answer::Absent, None),
        Ok(meta) if !meta.file_type().is_socket() => return (Answer::NoSocket, None),
        _ => {}
    }
    let path: PathBuf = path.to_owned();
    // A listener that accepts nobody lets its queue fill: then even this waits.
    let connected =
        within(ANSWER, move || Ok(UnixStream::connect(path).map(|s| peer(&s)).map_err(|e| (e.kind(), e.to_string()))));
    match connected {
        Ok(Ok(pid)) => (Answer::Well, pid),
        Ok(Err((ErrorKind::ConnectionRefused, _))) => (Answer::Dead, None),
        Ok(Err((ErrorKind::PermissionDenied, _))) => (Answer::Forbidden, None),
        Ok(Err((ErrorKind::NotFound, _))) => (Answer::Absent, None),
        Ok(Err((_, why))) => (Answer::Failed(why), None),
        Err(_) => (Answer::Silent, None),
    }
}

/// The process that made the socket listen; none if it is in a namespace where it has no number here.
fn peer(stream: &UnixStream) -> Option<u32> {
    let credentials = rustix::net::sockopt::socket_peercred(stream).ok()?;
    u32::try_from(credentials.pid.as_raw_nonzero().get()).ok()
}

/// The file of a socket, and who is in its group.
pub fn node(path: &Path) -> Option<Node> {
    let meta = std::fs::metadata(path).ok()?;
    let groups = text("/etc/group").unwrap_or_default();
    let users = text("/etc/passwd").unwrap_or_default();
    let (group, members) = group(&groups, &users, meta.gid());
    Some(Node { mode: meta.mode() & 0o7777, uid: meta.uid(), group, members })
}

/// A group's name, and who is in it: those it lists, and those whose own group it is. Root needs no mention.
fn group(groups: &str, users: &str, gid: u32) -> (String, Vec<String>) {
    let gid = gid.to_string();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let row = groups.lines().map(fields).find(|f| f.get(2) == Some(&gid)).unwrap_or_default();
    let listed = row.get(3).map(String::as_str).unwrap_or_default().split(',').map(str::to_owned);
    let own = users.lines().map(fields).filter(|f| f.get(3) == Some(&gid)).filter_map(|f| f.first().cloned());
    let mut members: Vec<String> = listed.chain(own).filter(|m| !m.is_empty() && m != "root").collect();
    members.sort();
    members.dedup();
    (row.first().cloned().unwrap_or(gid), members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn every_end_that_a_connection_can_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(connect(&path("absent")), (Answer::Absent, None));
        std::fs::write(path("file"), "").unwrap();
        assert_eq!(connect(&path("file")), (Answer::NoSocket, None));
        let listener = UnixListener::bind(path("open")).unwrap();
        assert_eq!(connect(&path("open")), (Answer::Well, Some(std::process::id())));
        drop(listener);
        assert_eq!(connect(&path("open")), (Answer::Dead, None));
    }

    #[test]
    fn who_is_in_a_group() {
        let groups = "root:x:0:\ndocker:x:998:ann,bob\n";
        let users = "root:x:0:0::/root:/bin/sh\neve:x:7:998::/:/bin/sh\nann:x:8:998::/:/bin/sh\n";
        assert_eq!(group(groups, users, 998), ("docker".into(), vec!["ann".into(), "bob".into(), "eve".into()]));
        assert_eq!(group(groups, users, 0), ("root".into(), vec![]));
        assert_eq!(group(groups, users, 5), ("5".into(), vec![]));
    }
}
