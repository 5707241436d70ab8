//! From registry to registry: manifests byte for byte, and of the blobs only those that are missing. A blob streams from
//! one to the other and its digest is known to be right before the upload is closed.
//!
//! What refers to something goes after it: blobs, then manifests, then indexes, then the tag.

use super::wanted;
use crate::core::Core;
use crate::pull::choose::is_document;
use crate::pull::{Teller, TransferStream, choose_manifest};
use crate::view::TransferEvent;
use dhow_distribution::{
    Actions, Cause, Credentials, Failure, Fetched, Mounted, Opened, Piece, Repository, Session, Step, Wanted,
};
use dhow_types::image::{Descriptor, Document, Manifest};
use dhow_types::{Digest, Error, Platform, Reference, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Events that may wait for a slow client.
const MAX_WAITING: usize = 64;
/// Blobs that are under way at the same time.
const AT_ONCE: usize = 3;
/// Pieces of one blob between the two registries.
const PIECES_AHEAD: usize = 4;
/// How deep indexes may lie in one another.
const MAX_DEPTH: usize = 3;
/// Manifests of one copy.
const MAX_MANIFESTS: usize = 10_000;
/// Between two words about how far a blob is.
const EVERY: Duration = Duration::from_millis(100);

/// What to copy where.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// The image.
    pub from: Reference,
    /// Its new name; without a tag the image's own is taken.
    pub to: Reference,
    /// What the image's registry is shown.
    pub from_credentials: Credentials,
    /// What the other one is shown.
    pub to_credentials: Credentials,
    /// Only the image for this platform, not the whole index.
    pub platform: Option<Platform>,
    /// All tags of the repository.
    pub all_tags: bool,
    /// What refers to the image, too.
    pub referrers: bool,
}

/// Begins a copy. What can't be meant is told at once.
pub(crate) fn copy(core: &Arc<Core>, request: CopyRequest) -> Result<TransferStream> {
    let CopyRequest { from, to, all_tags, platform, referrers, .. } = &request;
    if to.digest().is_some() {
        return Err(Error::invalid(format!("{}: a target can't have a digest, for the image says it", to.familiar())));
    }
    if *all_tags && (from.tag().is_some() || from.digest().is_some() || to.tag().is_some()) {
        return Err(Error::invalid("tag can't be used with --all-tags"));
    }
    if platform.is_some() && *referrers {
        let text = "what refers to an index does not refer to one of its images: take one of platform and referrers";
        return Err(Error::invalid(text));
    }
    let (tx, events) = mpsc::channel(MAX_WAITING);
    let core = core.clone();
    tokio::spawn(async move {
        let teller = Teller::new(tx.clone());
        let done = tokio::select! {
            done = run(&core, request, &teller) => done,
            () = tx.closed() => return,
        };
        if let Err(error) = done {
            tracing::info!(%error, "a copy failed");
            teller.tell(TransferEvent::Failed(error)).await;
        }
    });
    Ok(TransferStream { events })
}

async fn run(core: &Core, request: CopyRequest, teller: &Teller) -> Result<()> {
    let CopyRequest { from, to, from_credentials, to_credentials, platform, all_tags, referrers } = request;
    let registries = &core.settings.registries;
    let source = registries.repository(&from, from_credentials, Actions::Pull).await?;
    let target = registries.repository(&to, to_credentials, Actions::PullPush).await?;
    teller.tell(TransferEvent::line(format!("Copying from {} to {}", from.name(), to.name()))).await;
    let way = Way::new(source, target, teller.clone());
    if all_tags {
        let tags = way.source.tags().await?;
        for tag in &tags {
            one(&way, &from.with_tag(tag)?, Some(tag), platform.as_ref(), referrers).await?;
        }
        teller.tell(TransferEvent::line(format!("Copied {} tags", tags.len()))).await;
        return Ok(());
    }
    let from = from.or_latest();
    // By its digest alone it stays without a tag, unless the target has one.
    let tag = to.tag().or(from.tag().filter(|_| from.digest().is_none()));
    one(&way, &from, tag, platform.as_ref(), referrers).await
}

/// What one name means.
async fn one(
    way: &Arc<Way>,
    from: &Reference,
    tag: Option<&str>,
    platform: Option<&Platform>,
    referrers: bool,
) -> Result<()> {
    let mut fetched = way.source.manifest(&wanted(from)).await?;
    if let Some(platform) = platform {
        let index = matches!(fetched.document, Document::Index(_));
        let (manifest, digest, bytes) = choose_manifest(&way.source, fetched.clone(), Some(platform), platform).await?;
        if index {
            let media_type = match manifest.media_type.as_str() {
                "" => dhow_types::image::media_type::OCI_MANIFEST.to_owned(),
                said => said.to_owned(),
            };
            fetched = Fetched { bytes, digest, media_type, document: Document::Manifest(Box::new(manifest)) };
        }
    }
    let (digest, size) = (fetched.digest, fetched.bytes.len() as u64);
    let mut subjects = Vec::new();
    way.document(fetched, tag, 0, &mut subjects).await?;
    if referrers {
        super::referrers::copy(way, subjects).await?;
    }
    let shown = tag.map_or_else(|| digest.to_string(), str::to_owned);
    way.teller.tell(TransferEvent::line(format!("{shown}: digest: {digest} size: {size}"))).await;
    way.teller.tell(TransferEvent::Pushed { tag: shown, digest, size }).await;
    Ok(())
}

/// From one repository to another.
pub(super) struct Way {
    pub(super) source: Repository,
    pub(super) target: Repository,
    pub(super) teller: Teller,
    turns: Semaphore,
    /// Blobs that were seen to already.
    seen: Mutex<BTreeSet<Digest>>,
    manifests: std::sync::atomic::AtomicUsize,
}

impl Way {
    pub(super) fn new(source: Repository, target: Repository, teller: Teller) -> Arc<Self> {
        let manifests = Default::default();
        Arc::new(Self { source, target, teller, turns: Semaphore::new(AT_ONCE), seen: Mutex::default(), manifests })
    }

    /// A manifest or index, with all that it names, under a tag or its digest. `subjects` gets what may be referred to.
    pub(super) async fn document(
        self: &Arc<Self>,
        fetched: Fetched,
        tag: Option<&str>,
        depth: usize,
        subjects: &mut Vec<Digest>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!("indexes lie in one another more than {MAX_DEPTH} deep")));
        }
        if self.manifests.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= MAX_MANIFESTS {
            return Err(Error::invalid(format!("more than {MAX_MANIFESTS} manifests in one copy")));
        }
        let Fetched { bytes, digest, media_type, document } = fetched;
        // Who has a manifest has what it names.
        let known = is_there(self.target.head(&Wanted::Digest(digest)).await)?;
        match document {
            Document::Manifest(manifest) if !known => self.blobs(&manifest).await?,
            Document::Manifest(_) => {}
            Document::Index(index) => {
                for entry in &index.manifests {
                    if !is_document(entry) {
                        let text =
                            format!("{} in an index is {:?}, which dhow can't copy", entry.digest, entry.media_type);
                        return Err(Error::not_implemented(text));
                    }
                    if known {
                        subjects.push(entry.digest);
                        continue;
                    }
                    let child = self.source.manifest(&Wanted::Described(entry.clone())).await?;
                    Box::pin(self.document(child, None, depth + 1, subjects)).await?;
                }
            }
        }
        if known {
            self.teller.tell(TransferEvent::status(digest.short(), "Manifest already exists")).await;
        }
        if !known || tag.is_some() {
            self.target.put_manifest(tag, &media_type, bytes.into()).await?;
        }
        subjects.push(digest);
        Ok(())
    }

    /// Configuration and layers.
    pub(super) async fn blobs(self: &Arc<Self>, manifest: &Manifest) -> Result<()> {
        let mut under_way = JoinSet::new();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let is_new = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(blob.digest);
            if is_new {
                let (way, blob) = (self.clone(), blob.clone());
                under_way.spawn(async move { way.blob(&blob).await });
            }
        }
        // One that fails ends the others, which go with the set.
        while let Some(done) = under_way.join_next().await {
            done.map_err(|_| Error::system("the copy of a layer failed; this is a bug in dhow"))??;
        }
        Ok(())
    }

    async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let id = blob.digest.short();
        let status = async |text: String| self.teller.tell(TransferEvent::status(id.as_str(), text)).await;
        if !blob.urls.is_empty() {
            status("Skipped foreign layer".to_owned()).await;
            return Ok(());
        }
        let _turn = self.turns.acquire().await.map_err(|_| Error::system("the copy has ended"))?;
        let what = format!("layer {id}");
        if self.target.has_blob(&what, &blob.digest).await? == Some(blob.size) {
            status("Layer already exists".to_owned()).await;
            return Ok(());
        }
        let (source, target) = (self.source.name(), self.target.name());
        let mut begun = None;
        if source.domain() == target.domain() && source.path() != target.path() {
            match self.target.mount(&what, &blob.digest, source.path()).await? {
                Mounted::Yes => {
                    status(format!("Mounted from {}", source.path())).await;
                    return Ok(());
                }
                Mounted::Upload(session) => begun = Some(session),
                Mounted::No => {}
            }
        }
        self.send(&what, blob, begun).await?;
        status("Copied".to_owned()).await;
        Ok(())
    }

    async fn send(&self, what: &str, blob: &Descriptor, begun: Option<Session>) -> Result<()> {
        let source = |from: u64| self.open(blob, from);
        let told = |wait: Duration, cause: &Cause| {
            tracing::info!(%cause, "the upload of {what} broke off");
            self.teller.mention(TransferEvent::status(blob.digest.short(), retrying(wait)));
        };
        self.target.upload(what, begun, &source, &told).await?;
        Ok(())
    }

    /// The bytes of a blob from an offset on. Its digest is one of all of them, so they are read from the beginning.
    fn open(&self, blob: &Descriptor, from: u64) -> Opened {
        let (to, opened) = mpsc::channel(PIECES_AHEAD);
        let (source, blob, teller) = (self.source.clone(), blob.clone(), self.teller.clone());
        tokio::spawn(async move {
            if let Err(failure) = feed(&source, &blob, from, &teller, &to).await {
                let _ = to.send(Err(Error::from(failure))).await;
            }
        });
        opened
    }
}

/// Reads a blob and gives it on until nobody takes it any more.
async fn feed(
    source: &Repository,
    blob: &Descriptor,
    from: u64,
    teller: &Teller,
    to: &mpsc::Sender<Result<Piece>>,
) -> std::result::Result<(), Box<Failure>> {
    let (mut stream, mut skip) = (source.layer(blob)?, from);
    let (id, mut told) = (blob.digest.short(), None::<Instant>);
    loop {
        match stream.next().await? {
            Step::Bytes(mut piece) => {
                let known = skip.min(piece.len() as u64);
                skip -= known;
                let piece = piece.split_off(usize::try_from(known).unwrap_or(usize::MAX));
                if !piece.is_empty() && to.send(Ok(Piece::Bytes(piece))).await.is_err() {
                    return Ok(());
                }
                if told.is_none_or(|at| at.elapsed() >= EVERY) {
                    told = Some(Instant::now());
                    let (id, current, total) = (id.clone(), stream.position(), blob.size);
                    teller.mention(TransferEvent::Progress { id, action: "Copying", current, total });
                }
            }
            Step::Waiting(wait, cause) => {
                tracing::info!(%cause, "the download of layer {id} broke off");
                teller.mention(TransferEvent::status(id.as_str(), retrying(wait)));
            }
            Step::End => {
                let _ = to.send(Ok(Piece::End { digest: blob.digest, size: blob.size })).await;
                return Ok(());
            }
        }
    }
}

fn retrying(wait: Duration) -> String {
    let seconds = wait.as_secs().max(1);
    format!("Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" })
}

/// Whether a manifest is there. A repository that is not is made by the first upload, and some registries refuse to say
/// anything of one.
fn is_there<T>(asked: std::result::Result<T, Box<Failure>>) -> Result<bool> {
    match asked {
        Ok(_) => Ok(true),
        Err(failure) if matches!(failure.cause, Cause::Refused { status: 400..=428, .. }) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}
