//! Tells when a log grows or is turned over.

use dhow_types::{Context, Result};
use rustix::fs::inotify;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::unix::AsyncFd;

/// A watch on the directory of a log.
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .context("watch the log")?;
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, dir, flags).map_err(std::io::Error::from).context("watch the log")?;
        #[expect(deprecated, reason = "its flaw is for types that close their descriptor early; an OwnedFd keeps it")]
        let fd = AsyncFd::new(fd).context("watch the log")?;
        Ok(Self(fd))
    }

    pub(super) async fn changed(&self) -> Result<()> {
        let mut guard = self.0.readable().await.context("watch the log")?;
        let mut buffer = [0u8; 4096];
        // What happened is of no interest, only that something did.
        while let Ok(n) = rustix::io::read(&self.0, &mut buffer) {
            if n == 0 {
                break;
            }
        }
        guard.clear_ready();
        Ok(())
    }
}
