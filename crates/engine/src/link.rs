//! The engine's end of a shim's control connection: calls with replies, and events as they come.
//!
//! One small task reads; writing happens in place, because a frame is far smaller than the socket's buffer.

use dhow_shim::FrameDecoder;
use dhow_shim::client::send_request;
use dhow_shim::protocol::{Event, Message, Reply, Request};
use dhow_types::{Context, Error, ErrorKind, Result};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

/// The sequence number of the call that was sent before the link existed.
pub(crate) const FIRST: u64 = 1;
/// Longest time a shim may take for one answer.
const MAX_ANSWER: Duration = Duration::from_secs(60);
/// Bytes read at once.
const READ: usize = 4096;

/// What a link reports.
#[derive(Debug)]
pub(crate) enum Report {
    /// An event.
    Event(Event),
    /// The shim is gone, and its cgroup with it if it could.
    Gone,
}

/// Called with an answer as it is read, before the events that come behind it.
pub(crate) type Note = Box<dyn FnOnce(&Reply) + Send>;

/// Who waits for an answer.
struct Caller {
    tx: oneshot::Sender<Reply>,
    note: Option<Note>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("tx", &self.tx).finish_non_exhaustive()
    }
}

type Waiting = Mutex<HashMap<u64, Caller>>;

/// A connection to one shim.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Arc<UnixStream>,
    seq: AtomicU64,
    waiting: Arc<Waiting>,
    closed: watch::Receiver<bool>,
}

impl Link {
    /// Takes a connection over. The receiver gets the reply to a call numbered [`FIRST`] that was sent already.
    /// `report` is called by the reading task for every event and once at the end.
    pub(crate) fn start<F, R>(
        stream: std::os::unix::net::UnixStream,
        report: F,
    ) -> Result<(Arc<Link>, oneshot::Receiver<Reply>)>
    where
        F: Fn(Report) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        stream.set_nonblocking(true).context("prepare the shim's connection")?;
        let stream = Arc::new(UnixStream::from_std(stream).context("prepare the shim's connection")?);
        let (first, reply) = oneshot::channel();
        let waiting = Arc::new(Mutex::new(HashMap::from([(FIRST, Caller { tx: first, note: None })])));
        let (ended, closed) = watch::channel(false);
        tokio::spawn(read(stream.clone(), waiting.clone(), ended, report));
        Ok((Arc::new(Link { stream, seq: AtomicU64::new(FIRST), waiting, closed }), reply))
    }

    /// Asks and waits for the answer; a failure of the shim's becomes the error it carries.
    pub(crate) async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Result<Reply> {
        self.call_noting(request, fds, None).await
    }

    /// As [`Link::call`]; `note` is called with the answer, also if nobody waits for it any more.
    pub(crate) async fn call_noting(&self, request: Request, fds: Vec<OwnedFd>, note: Option<Note>) -> Result<Reply> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let (tx, rx) = oneshot::channel();
        lock(&self.waiting).insert(seq, Caller { tx, note });
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let sent = send_request(&*self.stream, seq, request, &borrowed);
        if *self.closed.borrow() || sent.is_err() {
            lock(&self.waiting).remove(&seq);
            return Err(gone());
        }
        drop(fds);
        let answer = answer(rx).await;
        lock(&self.waiting).remove(&seq);
        answer
    }

    /// Whether the container's process is still there, or at least not collected: whatever was reached by its number
    /// before is its own then, because nobody else could get the number.
    pub(crate) async fn holds(&self) -> bool {
        matches!(self.call(Request::Signal { exec_id: None, signo: 0, all: false }, Vec::new()).await, Ok(Reply::Done))
    }

    /// Whether the shim is gone.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until the shim is gone.
    pub(crate) async fn closed(&self) {
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }
}

/// Waits for a reply in the time a shim has for it.
pub(crate) async fn answer(rx: oneshot::Receiver<Reply>) -> Result<Reply> {
    match tokio::time::timeout(MAX_ANSWER, rx).await {
        Ok(Ok(Reply::Failed(failure))) => Err(failure.into()),
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(_)) => Err(gone()),
        Err(_) => Err(Error::unavailable(format!("the shim did not answer within {} s", MAX_ANSWER.as_secs()))),
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the container's shim is gone")
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<u64, Caller>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read<F, R>(stream: Arc<UnixStream>, waiting: Arc<Waiting>, ended: watch::Sender<bool>, report: F)
where
    F: Fn(Report) -> R,
    R: Future<Output = ()>,
{
    let mut decoder = FrameDecoder::new();
    'connection: loop {
        if stream.readable().await.is_err() {
            break;
        }
        if !fill(&stream, &mut decoder) {
            break;
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(Message::Reply { seq, reply })) => {
                    let caller = lock(&waiting).remove(&seq);
                    if let Some(Caller { tx, note }) = caller {
                        if let Some(note) = note {
                            note(&reply);
                        }
                        let _ = tx.send(reply);
                    }
                }
                Ok(Some(Message::Event(event))) => report(Report::Event(event)).await,
                Ok(None) => break,
                Err(e) => {
                    tracing::warn!("shim connection: {e}");
                    break 'connection;
                }
            }
        }
    }
    let _ = ended.send(true);
    // Whoever waits learns it by the end of his channel.
    lock(&waiting).clear();
    report(Report::Gone).await;
}

/// Reads what is there. The buffer must not live across an await, or it would be part of every idle container.
fn fill(stream: &UnixStream, decoder: &mut FrameDecoder) -> bool {
    let mut buffer = [0; READ];
    match stream.try_read(&mut buffer) {
        Ok(0) => false,
        Ok(n) => {
            decoder.push(&buffer[..n]);
            true
        }
        Err(e) => e.kind() == std::io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_shim::protocol::Call;
    use dhow_shim::send_frame;
    use std::os::unix::net::UnixStream as StdStream;
    use tokio::sync::mpsc;

    fn block_on<F: Future>(f: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f)
    }

    #[test]
    fn replies_find_their_call_and_the_end_is_seen() {
        block_on(async {
            let (ours, theirs) = StdStream::pair().unwrap();
            let (tx, mut rx) = mpsc::channel(4);
            let (link, _first) = Link::start(ours, move |r| {
                let tx = tx.clone();
                async move { drop(tx.send(r).await) }
            })
            .unwrap();
            let shim = std::thread::spawn(move || {
                let mut reader = dhow_shim::frame::CallReader::new();
                let mut seqs = Vec::new();
                while seqs.len() < 2 {
                    reader.receive(theirs.as_fd(), &mut [0; 4096]).unwrap();
                    while let Some((Call { seq, .. }, fds)) = reader.next_call().unwrap() {
                        seqs.push((seq, fds.len()));
                    }
                }
                send_frame(&theirs, &Message::Event(Event::OomKilled), &[]).unwrap();
                for (seq, _) in seqs.iter().rev() {
                    let reply = if *seq == 2 { Reply::Done } else { Reply::Failed(Error::conflict("no").into()) };
                    send_frame(&theirs, &Message::Reply { seq: *seq, reply }, &[]).unwrap();
                }
                seqs
            });
            let fd = OwnedFd::from(StdStream::pair().unwrap().0);
            let (a, b) = tokio::join!(link.call(Request::Hello, vec![fd]), link.call(Request::State, vec![]));
            assert!(matches!(a, Ok(Reply::Done)), "{a:?}");
            assert_eq!(b.unwrap_err().text(), "no");
            assert_eq!(shim.join().unwrap(), [(2, 1), (3, 0)]);
            assert!(matches!(rx.recv().await, Some(Report::Event(Event::OomKilled))));
            assert!(matches!(rx.recv().await, Some(Report::Gone)));
            link.closed().await;
            assert_eq!(link.call(Request::Hello, vec![]).await.unwrap_err().kind(), ErrorKind::Unavailable);
        });
    }
}
