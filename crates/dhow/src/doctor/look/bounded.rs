//! Looking with a limit: what hangs (a dead network file system, a stopped program) is left behind on its thread, which
//! ends with the process.

use super::super::facts::{Seen, Unseen};
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// What one look may take. All groups are looked at side by side; only what hangs ever takes so long, and a machine that
/// is busy must not look like one that hangs.
pub const LIMIT: Duration = Duration::from_secs(6);
/// What one question to a socket, or one program, may take.
pub const ANSWER: Duration = Duration::from_millis(2500);
/// The most that is read of what a program says.
const MAX_SAID: u64 = 64 << 10;
/// Between two looks at whether a program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// A look that goes on.
pub struct Pending<T> {
    seen: Receiver<Seen<T>>,
    until: Instant,
}

/// Begins a look on a thread of its own.
pub fn begin<T: Send + 'static>(limit: Duration, look: impl FnOnce() -> Seen<T> + Send + 'static) -> Pending<T> {
    let (tx, seen) = sync_channel(1);
    let work = move || {
        let _ = tx.send(look());
    };
    // Where no thread can be started the channel is closed, which says enough.
    let _ = std::thread::Builder::new().name("dhow-look".into()).spawn(work);
    Pending { seen, until: Instant::now() + limit }
}

impl<T> Pending<T> {
    /// What was seen, within the limit.
    pub fn take(self) -> Seen<T> {
        match self.seen.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(seen) => seen,
            Err(RecvTimeoutError::Timeout) => Err(Unseen::Late),
            Err(RecvTimeoutError::Disconnected) => Err(Unseen::Other("the look broke off".to_owned())),
        }
    }
}

/// Looks, within a limit.
pub fn within<T: Send + 'static>(limit: Duration, look: impl FnOnce() -> Seen<T> + Send + 'static) -> Seen<T> {
    begin(limit, look).take()
}

/// What a program says on standard output; one that does not end is killed.
pub fn said(mut command: Command) -> Seen<String> {
    let other = |e: std::io::Error| Unseen::Other(e.to_string());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(other)?;
    let Some(out) = child.stdout.take() else { return Err(Unseen::Other("no output".to_owned())) };
    let text = within(ANSWER, move || {
        let mut text = String::new();
        out.take(MAX_SAID).read_to_string(&mut text).map_err(other)?;
        Ok(text)
    });
    let until = Instant::now() + if text.is_ok() { ANSWER } else { Duration::ZERO };
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(PAUSE),
            Ok(Some(_)) => return text,
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Unseen::Late);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        let (never, wait) = sync_channel::<()>(0);
        let late = within(Duration::from_millis(1), move || {
            let _ = wait.recv();
            Ok(())
        });
        assert_eq!(late, Err(Unseen::Late));
        drop(never);
        assert_eq!(within(LIMIT, || Ok(7)), Ok(7));
        let mut echo = Command::new("echo");
        echo.arg("hello");
        assert_eq!(said(echo), Ok("hello\n".to_owned()));
        assert!(matches!(said(Command::new("/no/such/program")), Err(Unseen::Other(_))));
    }
}
