//! One process per root: an exclusive lock on a file that says who holds it.

use dhow_types::{Context as _, Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file's name below the root.
pub(crate) const NAME: &str = "lock";

/// The lock; released when dropped or when the process dies.
pub(crate) struct RootLock {
    _file: File,
}

/// The longest text read from a lock file: a process id.
const MAX_TEXT: u64 = 32;

impl RootLock {
    pub(crate) fn take(root: &Path) -> Result<Self> {
        let path = root.join(NAME);
        let what = || format!("lock {}", path.display());
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .with_context(what)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // The holder may not have written its id yet; the message then does without.
                let _ = file.take(MAX_TEXT).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(Error::conflict(format!(
                    "{} is in use by {holder}: stop that daemon or give this one another --root",
                    root.display()
                )));
            }
            Err(e) => return Err(std::io::Error::from(e)).with_context(what),
        }
        // Over what is there, whose block is kept: a full disk must not keep a daemon from its start. The id only serves
        // a message.
        let text = format!("{}\n", std::process::id());
        let _ =
            file.rewind().and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.set_len(text.len() as u64));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = RootLock::take(dir.path()).unwrap();
        let e = RootLock::take(dir.path()).err().unwrap();
        assert!(e.text().contains(&format!("process {}", std::process::id())), "{e}");
        drop(held);
        RootLock::take(dir.path()).unwrap();
    }
}
