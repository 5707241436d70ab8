//! `logs`: reads what shims have kept of the output of containers, and follows it. What kinds of log there are has a file
//! each; what is chosen and how it is framed is in `frames`.
//!
//! A reader works on a thread for things that block, for one chunk at a time: a client that reads slowly holds none.

mod frames;
mod json;
pub(crate) mod lock;
mod mend;
mod packed;
pub(crate) mod packer;
mod segment;
mod segments;
mod watch;

use crate::config::{LogsRequest, WaitCondition};
use crate::container::Container;
use crate::core::{Core, blocking};
use crate::plan::log_store::Store;
use crate::view::{LogStream, Status, WaitResult};
use dhow_types::{Error, Result};
use frames::Frames;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use watch::Watch;

/// Chunks that may wait for a slow reader.
const MAX_WAITING: usize = 2;

/// What reading on has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fill {
    /// There is more.
    More,
    /// There is nothing more for the moment.
    End,
    /// Nothing later was asked for.
    Over,
}

/// Where a log lies, by its kind.
#[derive(Debug)]
enum Source {
    Json(PathBuf),
    Segments(PathBuf),
}

#[derive(Debug)]
enum Reader {
    Json(json::Reader),
    Segments(segments::Reader),
}

impl Source {
    /// Watches its directory: both kinds make files there.
    fn watch(&self) -> Result<Watch> {
        match self {
            Source::Json(path) => Watch::new(path.parent().unwrap_or(path)),
            Source::Segments(dir) => Watch::new(dir),
        }
    }

    /// `None`: nothing was ever logged.
    fn open(&self, request: &LogsRequest, frames: &Frames) -> Result<Option<Reader>> {
        Ok(match self {
            Source::Json(path) => json::Reader::open(path, request, frames.since())?.map(Reader::Json),
            Source::Segments(dir) => Some(Reader::Segments(segments::Reader::open(dir, request, frames.since())?)),
        })
    }
}

impl Reader {
    fn fill(&mut self, frames: &mut Frames) -> Result<Fill> {
        match self {
            Reader::Json(reader) => reader.fill(frames),
            Reader::Segments(reader) => reader.fill(frames),
        }
    }
}

/// The error for logs that are kept nowhere.
pub(crate) fn unreadable() -> Error {
    Error::not_implemented("configured logging driver does not support reading")
}

/// Starts reading.
pub(crate) fn open(core: &Arc<Core>, container: &Arc<Container>, request: LogsRequest) -> Result<LogStream> {
    let (tty, readable, store, running) = {
        let shared = container.shared();
        let r = &shared.record;
        (r.config.tty, crate::plan::log::readable(&r.host.log_config), r.log_store, r.state.status == Status::Running)
    };
    if !readable {
        return Err(unreadable());
    }
    if !request.stdout && !request.stderr {
        return Err(Error::invalid("you must choose at least one stream"));
    }
    let end = match request.follow && running {
        true => {
            let end = container.wait(WaitCondition::NextExit)?;
            // It may have ended before this was registered: then there is no end to wait for.
            (container.status() == Status::Running).then_some(end)
        }
        false => None,
    };
    let (tx, chunks) = mpsc::channel(MAX_WAITING);
    let source = match store {
        Store::JsonFile => Source::Json(core.dirs.log(&container.id)),
        Store::Segments { .. } => Source::Segments(core.dirs.segments(&container.id)),
    };
    tokio::spawn(async move {
        if let Err(e) = run(source, request, tty, end, &tx).await {
            let _ = tx.send(Err(e)).await;
        }
    });
    Ok(LogStream { tty, chunks })
}

type Out = mpsc::Sender<Result<Vec<u8>>>;

async fn run(
    source: Source,
    request: LogsRequest,
    tty: bool,
    end: Option<oneshot::Receiver<WaitResult>>,
    tx: &Out,
) -> Result<()> {
    // Watched before the first read, so that nothing falls between.
    let watch = end.is_some().then(|| source.watch()).transpose()?;
    let opened = blocking(move || {
        let frames = Frames::new(&request, tty);
        Ok(source.open(&request, &frames)?.map(|reader| Box::new((reader, frames))))
    });
    let Some(reading) = opened.await? else { return Ok(()) };
    let Some(mut reading) = drain(reading, tx).await? else { return Ok(()) };
    let (Some(mut end), Some(watch)) = (end, watch) else { return Ok(()) };
    loop {
        let over = tokio::select! {
            _ = &mut end => true,
            changed = watch.changed() => { changed?; false }
            () = tx.closed() => return Ok(()),
        };
        match drain(reading, tx).await? {
            Some(_) if over => return Ok(()),
            Some(same) => reading = same,
            None => return Ok(()),
        }
    }
}

type Reading = Box<(Reader, Frames)>;

/// Sends what can be read now. `None` if nobody reads any more, or the time asked for is over.
async fn drain(mut reading: Reading, tx: &Out) -> Result<Option<Reading>> {
    loop {
        let (back, filled) = blocking(move || {
            let (reader, frames) = &mut *reading;
            let filled = reader.fill(frames)?;
            Ok((reading, filled))
        })
        .await?;
        reading = back;
        let chunk = reading.1.take();
        if !chunk.is_empty() && tx.send(Ok(chunk)).await.is_err() {
            return Ok(None);
        }
        match filled {
            Fill::More => {}
            Fill::End => return Ok(Some(reading)),
            Fill::Over => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
