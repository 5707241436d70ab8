//! Reads what shims have logged: Docker's `json-file`, one JSON object per piece of output.
//!
//! Torn last lines (a crash in the middle of a write) are left out; a follower waits for their rest.

use crate::config::{LogsRequest, WaitCondition};
use crate::container::Container;
use crate::core::Core;
use crate::view::{LogChunk, LogStream, Status, StdStream, WaitResult};
use dhow_types::{Context, Error, ErrorKind, Result};
use jiff::Timestamp;
use rustix::fs::inotify;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

/// Pieces that may wait for a slow reader.
const MAX_WAITING: usize = 64;
/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// Longest line: 16 KiB of output, each byte at most six in JSON, and the rest of the object.
const MAX_LINE: usize = 1 << 20;
/// Most files of one log.
const MAX_FILES: u32 = 1000;

/// The error for logs that are kept nowhere.
pub(crate) fn unreadable() -> Error {
    Error::not_implemented("configured logging driver does not support reading")
}

/// Starts reading.
pub(crate) fn open(core: &Arc<Core>, container: &Arc<Container>, request: LogsRequest) -> Result<LogStream> {
    let (tty, driver, running) = {
        let shared = container.shared();
        let r = &shared.record;
        (r.config.tty, r.host.log_config.driver.clone(), r.state.status == Status::Running)
    };
    if driver == "none" {
        return Err(unreadable());
    }
    if !request.stdout && !request.stderr {
        return Err(Error::invalid("you must choose at least one stream"));
    }
    let end = match request.follow && running {
        true => Some(container.wait(WaitCondition::NextExit)?),
        false => None,
    };
    let (tx, chunks) = mpsc::channel(MAX_WAITING);
    let path = core.dirs.log(&container.id);
    tokio::spawn(async move {
        if let Err(e) = run(&path, &request, end, &tx).await {
            let _ = tx.send(Err(e)).await;
        }
    });
    Ok(LogStream { tty, chunks })
}

type Out = mpsc::Sender<Result<LogChunk>>;

/// A reader went away: nothing is left to do.
struct Left;

async fn run(path: &Path, request: &LogsRequest, end: Option<oneshot::Receiver<WaitResult>>, tx: &Out) -> Result<()> {
    // Watched before the first read, so that nothing falls between.
    let watch = end.is_some().then(|| Watch::new(path)).transpose()?;
    let (owned, tail) = (path.to_owned(), request.tail);
    let Some(mut reader) = crate::core::blocking(move || Reader::open(&owned, tail)).await? else { return Ok(()) };
    if drain(&mut reader, request, tx).await?.is_err() {
        return Ok(());
    }
    let (Some(mut end), Some(watch)) = (end, watch) else { return Ok(()) };
    loop {
        let over = tokio::select! {
            _ = &mut end => true,
            changed = watch.changed() => { changed?; false }
            () = tx.closed() => return Ok(()),
        };
        if drain(&mut reader, request, tx).await?.is_err() || over {
            return Ok(());
        }
    }
}

/// Sends what can be read now. `Ok(Err(Left))` if nobody reads any more, or the time asked for is over.
async fn drain(reader: &mut Reader, request: &LogsRequest, tx: &Out) -> Result<Result<(), Left>> {
    loop {
        let more = reader.fill()?;
        while let Some(line) = reader.line()? {
            match select(&line, request)? {
                Selected::Send(chunk) => {
                    if tx.send(Ok(chunk)).await.is_err() {
                        return Ok(Err(Left));
                    }
                }
                Selected::Skip => {}
                Selected::Over => return Ok(Err(Left)),
            }
        }
        if !more && !reader.next_file()? {
            return Ok(Ok(()));
        }
        // A long log is read between other tasks' turns.
        tokio::task::yield_now().await;
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Selected {
    Send(LogChunk),
    Skip,
    Over,
}

/// Decides about one line.
fn select(line: &[u8], request: &LogsRequest) -> Result<Selected> {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
        // Damage in the middle (a power cut) costs its line, not the log.
        return Ok(Selected::Skip);
    };
    let stream = if line.stream == "stderr" { StdStream::Stderr } else { StdStream::Stdout };
    let wanted = match stream {
        StdStream::Stdout => request.stdout,
        StdStream::Stderr => request.stderr,
    };
    let timed = request.since.is_some() || request.until.is_some() || request.timestamps;
    let time: Option<Timestamp> = if timed { line.time.parse().ok() } else { None };
    if let (Some(t), Some(until)) = (time, request.until)
        && t > until
    {
        return Ok(Selected::Over);
    }
    let early = matches!((time, request.since), (Some(t), Some(since)) if t < since);
    if !wanted || early {
        return Ok(Selected::Skip);
    }
    let mut bytes = Vec::with_capacity(line.log.len() + 32);
    if request.timestamps {
        match time {
            Some(t) => bytes.extend_from_slice(format!("{t:.9} ").as_bytes()),
            None => bytes.extend_from_slice(format!("{} ", line.time).as_bytes()),
        }
    }
    bytes.extend_from_slice(line.log.as_bytes());
    Ok(Selected::Send(LogChunk { stream, bytes }))
}

/// Reads the files of a log, the oldest first.
struct Reader {
    path: PathBuf,
    file: File,
    /// Files still to come after this one, the next one last.
    rest: Vec<PathBuf>,
    buffer: Vec<u8>,
    start: usize,
}

impl Reader {
    /// Opens a log at its beginning, or where the last `tail` lines begin. `None` if there is none.
    fn open(path: &Path, tail: Option<u64>) -> Result<Option<Self>> {
        let mut files = vec![path.to_owned()];
        for n in 1..=MAX_FILES {
            let older = rotated(path, n);
            if !older.exists() {
                break;
            }
            files.push(older);
        }
        let mut left = tail;
        let mut offset = 0;
        if let Some(lines) = &mut left {
            let mut keep = 0;
            for (i, file) in files.iter().enumerate() {
                keep = i + 1;
                offset = match File::open(file) {
                    Ok(f) => tail_offset(f, lines).with_context(|| format!("read {}", file.display()))?,
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
                    Err(e) => return Err(e).with_context(|| format!("open {}", file.display())),
                };
                if *lines == 0 {
                    break;
                }
            }
            files.truncate(keep);
        }
        while let Some(first) = files.pop() {
            match File::open(&first) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(offset)).with_context(|| format!("read {}", first.display()))?;
                    return Ok(Some(Self { path: path.to_owned(), file, rest: files, buffer: Vec::new(), start: 0 }));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => offset = 0,
                Err(e) => return Err(e).with_context(|| format!("open {}", first.display())),
            }
        }
        Ok(None)
    }

    /// Reads once. False at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let old = self.buffer.len();
        if old > MAX_LINE {
            return Err(Error::new(
                ErrorKind::DataLoss,
                format!("{} has a line longer than {MAX_LINE} bytes", self.path.display()),
            ));
        }
        self.buffer.resize(old + BLOCK, 0);
        let n = self.file.read(&mut self.buffer[old..]).with_context(|| format!("read {}", self.path.display()))?;
        self.buffer.truncate(old + n);
        if n == 0 && self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
        Ok(n > 0)
    }

    /// The next whole line.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let rest = &self.buffer[self.start..];
        let Some(at) = rest.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let line = rest[..at].to_vec();
        self.start += at + 1;
        Ok(Some(line))
    }

    /// Goes on with the next file: one that was there at the start, or one that has taken this one's place.
    fn next_file(&mut self) -> Result<bool> {
        if let Some(next) = self.rest.pop() {
            return match File::open(&next) {
                Ok(file) => {
                    self.take(file);
                    Ok(true)
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.next_file(),
                Err(e) => Err(e).with_context(|| format!("open {}", next.display())),
            };
        }
        let (Ok(here), Ok(there)) = (self.file.metadata(), std::fs::metadata(&self.path)) else { return Ok(false) };
        if here.ino() == there.ino() {
            return Ok(false);
        }
        let Ok(file) = File::open(&self.path) else { return Ok(false) };
        self.take(file);
        Ok(true)
    }

    fn take(&mut self, file: File) {
        self.file = file;
        // A torn line of the old file has no rest in the new one.
        self.buffer.clear();
        self.start = 0;
    }
}

fn rotated(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Where the last `lines` lines begin; what is missing stays in `lines`.
fn tail_offset(mut file: File, lines: &mut u64) -> std::io::Result<u64> {
    let mut at = file.seek(SeekFrom::End(0))?;
    let mut block = vec![0; BLOCK];
    let mut seen_end = false;
    if *lines == 0 {
        return Ok(at);
    }
    while at > 0 {
        let len = at.min(BLOCK as u64);
        at -= len;
        file.seek(SeekFrom::Start(at))?;
        let part = &mut block[..len as usize];
        file.read_exact(part)?;
        for (i, b) in part.iter().enumerate().rev() {
            if *b != b'\n' {
                continue;
            }
            if !seen_end {
                // The end of the last line, not of the one before it.
                seen_end = true;
                continue;
            }
            *lines -= 1;
            if *lines == 0 {
                return Ok(at + i as u64 + 1);
            }
        }
    }
    if seen_end {
        *lines -= 1;
    }
    Ok(0)
}

/// Tells when a log grows or is turned over.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(path: &Path) -> Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .map_err(std::io::Error::from)
            .context("watch the log")?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, dir, flags).map_err(std::io::Error::from).context("watch the log")?;
        #[expect(deprecated, reason = "its flaw is for types that close their descriptor early; an OwnedFd keeps it")]
        let fd = AsyncFd::new(fd).context("watch the log")?;
        Ok(Self(fd))
    }

    async fn changed(&self) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: &str, text: &str, second: u32) -> String {
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"{stream}\",\"time\":\"2024-01-01T00:00:{second:02}.5Z\"}}\n")
    }

    fn request() -> LogsRequest {
        LogsRequest { stdout: true, stderr: true, ..Default::default() }
    }

    fn collect(path: &Path, request: LogsRequest) -> Vec<String> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (tx, mut rx) = mpsc::channel(MAX_WAITING);
            let path = path.to_owned();
            let task = tokio::spawn(async move { run(&path, &request, None, &tx).await });
            let mut out = Vec::new();
            while let Some(chunk) = rx.recv().await {
                out.push(String::from_utf8(chunk.unwrap().bytes).unwrap().trim_end().to_owned());
            }
            task.await.unwrap().unwrap();
            out
        })
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(rotated(&path, 2), line("stdout", "a", 1)).unwrap();
        std::fs::write(rotated(&path, 1), line("stderr", "b", 2) + &line("stdout", "c", 3)).unwrap();
        std::fs::write(&path, line("stdout", "d", 4) + "broken\n" + &line("stderr", "e", 5) + "{\"log\":\"torn")
            .unwrap();
        (dir, path)
    }

    #[test]
    fn all_files_oldest_first_without_the_torn_line() {
        let (_dir, path) = log();
        assert_eq!(collect(&path, request()), ["a", "b", "c", "d", "e"]);
        assert_eq!(collect(&path, LogsRequest { stdout: false, ..request() }), ["b", "e"]);
        assert!(collect(&path.with_extension("none"), request()).is_empty());
    }

    #[test]
    fn tail_crosses_files() {
        let (_dir, path) = log();
        std::fs::write(&path, line("stdout", "d", 4) + &line("stderr", "e", 5)).unwrap();
        for (n, want) in
            [(0, ""), (1, "e"), (2, "d e"), (3, "c d e"), (4, "b c d e"), (5, "a b c d e"), (9, "a b c d e")]
        {
            assert_eq!(collect(&path, LogsRequest { tail: Some(n), ..request() }).join(" "), want, "{n}");
        }
    }

    #[test]
    fn times() {
        let (_dir, path) = log();
        let at = |s: u32| format!("2024-01-01T00:00:{s:02}Z").parse().ok();
        assert_eq!(collect(&path, LogsRequest { since: at(3), ..request() }), ["c", "d", "e"]);
        assert_eq!(collect(&path, LogsRequest { until: at(3), ..request() }), ["a", "b"]);
        assert_eq!(
            collect(&path, LogsRequest { timestamps: true, since: at(5), ..request() }),
            ["2024-01-01T00:00:05.500000000Z e"]
        );
    }

    #[test]
    fn follows_through_a_rotation_until_the_end() {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.log");
            std::fs::write(&path, line("stdout", "a", 1)).unwrap();
            let (tx, mut rx) = mpsc::channel(MAX_WAITING);
            let (stop, end) = oneshot::channel();
            let (p, r) = (path.clone(), LogsRequest { follow: true, ..request() });
            let task = tokio::spawn(async move { run(&p, &r, Some(end), &tx).await });
            let mut next = async || String::from_utf8(rx.recv().await.unwrap().unwrap().bytes).unwrap();
            assert_eq!(next().await, "a\n");
            std::fs::rename(&path, rotated(&path, 1)).unwrap();
            std::fs::write(&path, line("stdout", "b", 2)).unwrap();
            assert_eq!(next().await, "b\n");
            use std::io::Write;
            std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap()
                .write_all(line("stdout", "c", 3).as_bytes())
                .unwrap();
            stop.send(WaitResult::default()).unwrap();
            assert_eq!(next().await, "c\n");
            assert!(rx.recv().await.is_none());
            task.await.unwrap().unwrap();
        });
    }
}
