//! What is in a container and where it comes from: export, changes, histories, differences of images and their tree.
//!
//! Everything long streams through a bounded channel from a thread that may block. The comparing and packing is the
//! store's. A container may run meanwhile, and do to its files what it likes.

use crate::container::Container;
use crate::core::{Core, blocking};
use crate::layers::Layers;
use crate::view::Status;
use dhow_store::merged::compare::{Change, Comparison, Removals};
use dhow_store::merged::{Rule, View};
use dhow_store::{ImageChange, Step};
use dhow_types::{Digest, Error, ErrorKind, Reference, Result};
use std::io::Write;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces or batches that may wait for a slow client.
const AHEAD: usize = 4;
/// Differences in one batch.
const BATCH: usize = 256;

/// A row of a history.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// The image that ends with this step, if it is here.
    pub image: Option<Digest>,
    /// Its names.
    pub tags: Vec<String>,
    /// The step.
    pub step: Step,
}

/// One of two images that are compared.
#[derive(Clone, Debug)]
pub struct DiffImage {
    /// Its id.
    pub id: Digest,
    /// Its names.
    pub tags: Vec<String>,
    /// How many layers it has.
    pub layers: usize,
    /// How it was made.
    pub steps: Vec<Step>,
}

/// A comparison of images that is under way.
#[derive(Debug)]
pub struct DiffStream {
    /// The old one.
    pub old: DiffImage,
    /// The new one.
    pub new: DiffImage,
    /// How many layers they have in common.
    pub shared: usize,
    /// What differs, and then the end. An error is the last.
    pub events: mpsc::Receiver<Result<DiffEvent>>,
}

/// Part of a comparison.
#[derive(Clone, Debug)]
pub enum DiffEvent {
    /// Some of what differs.
    Changes(Vec<ImageChange>),
    /// That was all.
    End,
}

/// An image among the others.
#[derive(Clone, Debug)]
pub struct TreeRow {
    /// Its id.
    pub id: Digest,
    /// Its names.
    pub tags: Vec<String>,
    /// The image it stands on directly.
    pub base: Option<Digest>,
    /// How many layers it has.
    pub layers: usize,
    /// Bytes in layers that no other image has.
    pub own: u64,
    /// Bytes in layers that another image has, too.
    pub shared: u64,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// When a container was last made from it, seconds since 1970; 0 = never.
    pub last_used_unix: i64,
}

/// Runs `work` on a thread of its own. A failure, a panic too, is the last thing that comes through the channel.
fn streamed<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce(&mpsc::Sender<Result<T>>) -> Result<()> + Send + 'static,
) -> mpsc::Receiver<Result<T>> {
    let (to, pieces) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let end = End { to, what, done: false };
        end.finish(work)
    });
    pieces
}

/// The end of a stream, so that none ends as if it were whole when it is not.
struct End<T: Send> {
    to: mpsc::Sender<Result<T>>,
    what: &'static str,
    done: bool,
}

impl<T: Send> End<T> {
    fn finish(mut self, work: impl FnOnce(&mpsc::Sender<Result<T>>) -> Result<()>) {
        let result = work(&self.to);
        self.done = true;
        if let Err(error) = result {
            if !self.to.is_closed() {
                tracing::error!(%error, "{} breaks off", self.what);
            }
            let _ = self.to.blocking_send(Err(error));
        }
    }
}

impl<T: Send> Drop for End<T> {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.to.blocking_send(Err(Error::system(format!("{} failed; this is a bug in dhow", self.what))));
        }
    }
}

fn left<T>(_: T) -> Error {
    Error::system("the client left")
}

/// Sends what is written, piece by piece.
struct Pieces<'a>(&'a mpsc::Sender<Result<Vec<u8>>>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.blocking_send(Ok(bytes.to_vec())).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Collects differences and sends many at a time.
struct Batches<'a, I, T> {
    waiting: Vec<I>,
    wrap: fn(Vec<I>) -> T,
    to: &'a mpsc::Sender<Result<T>>,
}

impl<I, T> Batches<'_, I, T> {
    fn add(&mut self, item: I) -> Result<()> {
        self.waiting.push(item);
        if self.waiting.len() < BATCH { Ok(()) } else { self.send() }
    }
    fn send(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.waiting);
        if batch.is_empty() { Ok(()) } else { self.to.blocking_send(Ok((self.wrap)(batch))).map_err(left) }
    }
}

/// Docker's words for containers that are on their way out.
fn present(container: &Container, what: &str) -> Result<()> {
    let record = container.record();
    let why = match record.state.status {
        Status::Dead => "Dead",
        Status::Removing => "being removed",
        Status::Created | Status::Running | Status::Restarting | Status::Exited => return Ok(()),
    };
    Err(Error::conflict(format!("You cannot {what} container {} which is {why}", record.id)))
}

/// Files of a container that is removed meanwhile vanish one by one, and are passed over: then what was read is not
/// the whole.
fn still_there(core: &Core, container: &Container) -> Result<()> {
    let there = core.registry().find(container.id.as_str()).is_ok();
    if there && container.record().state.status != Status::Removing {
        return Ok(());
    }
    let text = format!("container {} was removed while it was read", container.id.short());
    Err(Error::new(ErrorKind::Conflict, text))
}

/// See [`crate::Engine::export`].
pub(crate) async fn export(core: &Arc<Core>, container: &Arc<Container>) -> Result<mpsc::Receiver<Result<Vec<u8>>>> {
    let (core, container) = (core.clone(), container.clone());
    blocking(move || {
        present(&container, "export")?;
        let view = View::open(&Layers::of(&core, &container.record())?.all())?;
        Ok(streamed("an export", move |to| {
            view.export(&mut Pieces(to))?;
            still_there(&core, &container)
        }))
    })
    .await
}

/// See [`crate::Engine::changes`].
pub(crate) async fn changes(
    core: &Arc<Core>,
    container: &Arc<Container>,
    measure: bool,
) -> Result<mpsc::Receiver<Result<Vec<Change>>>> {
    let (core, container) = (core.clone(), container.clone());
    blocking(move || {
        present(&container, "compare")?;
        let layers = Layers::of(&core, &container.record())?;
        if layers.upper.is_none() {
            return Err(Error::invalid(format!(
                "container {} writes to the directory that it runs: there is nothing to compare that with",
                container.record().name
            )));
        }
        let (old, new) = (View::open(&layers.lower)?, View::open(&layers.all())?);
        Ok(streamed("a comparison", move |to| {
            let removals = if measure { Removals::Measured } else { Removals::Topmost };
            let shared = layers.lower.len();
            let mut batches = Batches { waiting: Vec::new(), wrap: std::convert::identity, to };
            let comparison = Comparison { old: &old, new: &new, shared, rule: Rule::Stat, removals };
            comparison.run(&mut |change| batches.add(change))?;
            batches.send()?;
            still_there(&core, &container)
        }))
    })
    .await
}

/// See [`crate::Engine::image_history`].
pub(crate) async fn history(core: &Arc<Core>, name: &str) -> Result<Vec<HistoryRow>> {
    let (core, name) = (core.clone(), name.to_owned());
    blocking(move || {
        let record = core.store.resolve(&name)?;
        let steps = record.image.steps();
        let mut known = core.store.bases(&record.image)?;
        known.push((steps.len(), record));
        let mut rows: Vec<HistoryRow> = steps
            .into_iter()
            .map(|step| {
                let image = known.iter().find(|(last, _)| *last == step.number).map(|(_, record)| record);
                let tags = image.map(|i| i.references.iter().map(Reference::familiar).collect()).unwrap_or_default();
                HistoryRow { image: image.map(|i| i.id), tags, step }
            })
            .collect();
        rows.reverse();
        Ok(rows)
    })
    .await
}

/// See [`crate::Engine::image_diff`].
pub(crate) async fn image_diff(core: &Arc<Core>, old: &str, new: &str) -> Result<DiffStream> {
    let (core, old, new) = (core.clone(), old.to_owned(), new.to_owned());
    blocking(move || {
        let diff = core.store.image_diff(&old, &new)?;
        let one = |record: &dhow_store::ImageRecord| DiffImage {
            id: record.id,
            tags: record.references.iter().map(Reference::familiar).collect(),
            layers: record.image.layers.len(),
            steps: record.image.steps(),
        };
        let (old, new, shared) = (one(&diff.old), one(&diff.new), diff.shared);
        let events = streamed("a comparison of images", move |to| {
            let mut batches = Batches { waiting: Vec::new(), wrap: DiffEvent::Changes, to };
            diff.run(&mut |change| batches.add(change))?;
            batches.send()?;
            to.blocking_send(Ok(DiffEvent::End)).map_err(left)
        });
        Ok(DiffStream { old, new, shared, events })
    })
    .await
}

/// See [`crate::Engine::image_tree`].
pub(crate) async fn image_tree(core: &Arc<Core>) -> Result<Vec<TreeRow>> {
    let core = core.clone();
    blocking(move || {
        let nodes = core.store.image_tree()?.into_iter();
        Ok(nodes
            .map(|node| TreeRow {
                id: node.record.id,
                tags: node.record.references.iter().map(Reference::familiar).collect(),
                base: node.base,
                layers: node.record.image.layers.len(),
                own: node.own,
                shared: node.shared,
                created: node.record.created,
                last_used_unix: node.record.last_used_unix,
            })
            .collect())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut pieces: mpsc::Receiver<Result<u32>>) -> Vec<std::result::Result<u32, String>> {
        let mut out = Vec::new();
        while let Some(piece) = pieces.recv().await {
            out.push(piece.map_err(|e| e.text().to_owned()));
        }
        out
    }

    #[tokio::test]
    async fn a_stream_never_ends_as_if_it_were_whole() {
        let whole = streamed("x", |to| (0..20).try_for_each(|n| to.blocking_send(Ok(n)).map_err(left)));
        assert_eq!(all(whole).await, (0..20).map(Ok).collect::<Vec<_>>());
        let failed = streamed("x", |to| {
            to.blocking_send(Ok(1)).map_err(left)?;
            Err(Error::system("broken"))
        });
        assert_eq!(all(failed).await, [Ok(1), Err("broken".to_owned())]);
        let panicked: mpsc::Receiver<Result<u32>> = streamed("the thing", |_| panic!("on purpose"));
        assert_eq!(all(panicked).await, [Err("the thing failed; this is a bug in dhow".to_owned())]);
    }

    #[tokio::test]
    async fn work_ends_when_nobody_listens() {
        let (done, ended) = tokio::sync::oneshot::channel();
        let pieces = streamed("x", move |to| {
            let result = loop {
                if let Err(e) = to.blocking_send(Ok(0u32)) {
                    break Err(left(e));
                }
            };
            let _ = done.send(());
            result
        });
        drop(pieces);
        ended.await.unwrap();
    }
}
