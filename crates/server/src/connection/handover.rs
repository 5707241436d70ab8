//! Giving a connection to whoever hijacked it, only when its client has read the answer's head: clients that read with
//! a buffer (docker-py, for one) forget what came together with the head, and a fast program's output would come so.
//!
//! Nothing is promised to a client that does not read: it is waited for a short time only.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// How long it is looked again and again: more than a client needs that waits for the answer.
const AT_ONCE: Duration = Duration::from_millis(1);
/// How long a slow client is waited for altogether.
const PATIENCE: Duration = Duration::from_millis(50);
const STEP: Duration = Duration::from_millis(1);

/// Returns when all that was sent on a unix socket has been read, or the patience is at its end.
pub(super) async fn head_is_read(connection: &OwnedFd) {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        match dhow_sys::fds::unread(connection.as_fd()) {
            Ok(0) | Err(_) => return,
            Ok(_) if begin.elapsed() < AT_ONCE => {
                tokio::task::yield_now().await;
                // The client may need this very processor.
                std::thread::yield_now();
            }
            Ok(_) => tokio::time::sleep(STEP).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[tokio::test]
    async fn it_ends_when_the_head_is_read_and_does_not_wait_for_ever() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"head").unwrap();
        let fd = OwnedFd::from(ours);
        // Nobody reads: still it ends.
        head_is_read(&fd).await;
        assert!(dhow_sys::fds::unread(fd.as_fd()).unwrap() > 0);
        theirs.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(dhow_sys::fds::unread(fd.as_fd()).unwrap(), 0);
        head_is_read(&fd).await;
    }
}
