//! `load`: images from a docker archive or an OCI layout, read once from front to back.
//!
//! Reading, deciding (`plan`) and publishing are three steps; only the last changes what others see.

mod again;
mod archive;
pub(crate) mod metered;
pub(crate) mod pipe;
pub(crate) mod plan;
pub(crate) mod sniff;
pub(crate) mod traffic;
pub(crate) mod unpack;

pub(crate) use again::{Replayed, apply_blob, replay};

use crate::apply::apply;
use crate::db::{LayerBlob, LayerRow, NewImage};
use crate::layers::{Lease, Publication};
use crate::trash::Making;
use crate::{Paths, Reservation, Store};
use archive::{Archive, Claims, Reading, Unpacked};
use dhow_types::image::media_type;
use dhow_types::{Context as _, Digest, Error, Platform, Reference, Result};
use sniff::{Content, LOOK, sniff};
use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use traffic::Traffic;

/// How far a layer's bytes have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// A short name of the layer.
    pub id: String,
    /// Bytes read.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

/// An image, or one name of it, that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The name it has now, if the archive gave it one.
    pub reference: Option<Reference>,
    /// The image's id.
    pub id: Digest,
    /// The image that had the name before.
    pub replaced: Option<Digest>,
    /// What was left out of its layers, for people.
    pub warnings: Vec<String>,
}

/// How much is read at once from what is not a file.
const READ_SIZE: usize = 256 << 10;

impl Store {
    /// Loads the images of an archive, all or none: a `docker save` archive of any age or an OCI layout, plain
    /// or compressed with gzip or zstd. Digests are verified while the bytes stream by; memory is bounded.
    pub fn load(&self, input: impl Read + Send, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Loaded>> {
        self.load_for(input, None, 0, progress)
    }

    /// [`Store::load`], but with `platform` only images for that platform: `NotFound` if the archive has none.
    /// `announced` is how many bytes the archive has at least, if that is known: what is certain to find no space is
    /// refused before anything is written.
    pub fn load_for(
        &self,
        input: impl Read + Send,
        platform: Option<&Platform>,
        announced: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        // What is here need not be written again, whichever layers the archive turns out to have.
        let known: u64 = self.inner.db.layers()?.iter().map(|l| l.tar_size).sum();
        let reserved = announced.saturating_sub(known);
        let reservation = self.reserve(reserved)?;
        let work = Work::new(self).map_err(|e| self.explained(e))?;
        // Explained while what was written is still there.
        self.load_into(&work, input, platform, (&reservation, reserved), progress).map_err(|e| self.explained(e))
    }

    fn load_into(
        &self,
        work: &Work,
        input: impl Read + Send,
        platform: Option<&Platform>,
        (reservation, reserved): (&Reservation, u64),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let limits = self.config().limits.within(reservation);
        crate::spread::spread(&work.dir);
        let mut lease = Lease::new(self);
        let archive = {
            let traffic = Traffic::default();
            let start = Start::read(traffic.received(input))?;
            let content = start.content();
            if let Content::Unsupported(what, tool) = content {
                return Err(Error::not_implemented(format!(
                    "the archive is compressed with {what}, which dhow does not read: unpack it first with {tool}"
                )));
            }
            if content == Content::Other {
                return Err(Error::invalid("this is not an image archive: it is neither a tar nor a compressed one"));
            }
            let inner = unpack::decoder(BufReader::with_capacity(READ_SIZE, start), content, &limits)?;
            let reading = Reading {
                limits: &limits,
                traffic,
                work: &work.dir,
                keep_blobs: self.config().keep_blobs,
                lease: &mut lease,
                progress,
                space: Claims { reservation, reserved, claimed: 0 },
            };
            archive::read(BufReader::with_capacity(READ_SIZE, inner), reading)?
        };
        let files = Files::new(&archive);
        let images = metered::metered(&files, |files| plan::plan(files, &Platform::host(), platform))?;
        drop(files);
        self.publish_images(archive, images, work)
    }

    fn publish_images(
        &self,
        mut archive: Archive,
        images: Vec<plan::PlannedImage>,
        work: &Work,
    ) -> Result<Vec<Loaded>> {
        let mut publication = Publication::default();
        let mut loaded = Vec::new();
        let mut empty = false;
        let mut seen: HashSet<Digest> = HashSet::new();
        for image in images {
            let mut warnings = Vec::new();
            for layer in &image.layers {
                let Some(source) = layer.source else {
                    empty = true;
                    continue;
                };
                let source = &mut archive.layers[source];
                if let Ok(Unpacked::Fresh { outcome, .. }) = &source.result {
                    warnings.extend(outcome.applied.warnings.iter().cloned());
                }
                let (digest, size) = source.blob;
                let media_type = match (layer.media_type.as_str(), source.content) {
                    ("", Content::Gzip) => format!("{}+gzip", media_type::OCI_LAYER),
                    ("", Content::Zstd) => format!("{}+zstd", media_type::OCI_LAYER),
                    ("", _) => media_type::OCI_LAYER.to_owned(),
                    (said, _) => said.to_owned(),
                };
                let kept = source.kept.take();
                // Of one that was here, nobody looked at the bytes.
                if matches!(source.result, Ok(Unpacked::Fresh { .. })) {
                    let blob = LayerBlob { digest, diff_id: layer.diff_id, size, media_type, kept: kept.is_some() };
                    publication.received.push((blob, kept));
                }
                if seen.insert(layer.diff_id)
                    && let Ok(Unpacked::Fresh { dir, outcome }) = &source.result
                {
                    let row = LayerRow {
                        diff_id: layer.diff_id,
                        size: outcome.applied.size,
                        tar_size: outcome.inflated.map_or(size, |i| i.1),
                        opaque_root: outcome.applied.opaque_root,
                    };
                    publication.layers.push(crate::layers::Unpacked { dir: dir.clone(), row });
                }
            }
            warnings.sort_unstable();
            warnings.dedup();
            let describe = plan::describe(&image);
            if image.references.is_empty() {
                let warnings = warnings.clone();
                loaded.push(Loaded { reference: None, id: image.id, replaced: None, warnings });
            }
            for reference in &image.references {
                let before = self.inner.db.image_named(reference).context(&describe)?;
                loaded.push(Loaded {
                    reference: Some(reference.clone()),
                    id: image.id,
                    replaced: before.filter(|b| *b != image.id),
                    warnings: std::mem::take(&mut warnings),
                });
            }
            publication.documents.push((image.id, image.config));
            let manifest = image.manifest.map(|(digest, bytes)| {
                publication.documents.push((digest, bytes));
                digest
            });
            publication.images.push(NewImage {
                id: image.id,
                manifest,
                parent: None,
                layers: image.layers.iter().map(|l| l.diff_id).collect(),
                references: image.references,
            });
        }
        if empty {
            publication.layers.push(self.empty_layer(work)?);
        }
        publication.documents.sort_unstable_by_key(|d| d.0);
        publication.documents.dedup_by_key(|d| d.0);
        self.publish(publication, &work.dir)?;
        Ok(loaded)
    }

    /// The layer whose tar has no bytes.
    fn empty_layer(&self, work: &Work) -> Result<crate::layers::Unpacked> {
        let dir = work.dir.join("layer-empty");
        std::fs::create_dir(&dir)?;
        apply(std::io::empty(), &dir, &self.config().limits)?;
        let row = LayerRow { diff_id: Digest::of(b""), size: 0, tar_size: 0, opaque_root: false };
        Ok(crate::layers::Unpacked { dir, row })
    }
}

/// A directory below `tmp/` for as long as something is being made. What is left in it goes to the trash.
pub(crate) struct Work {
    store: Store,
    pub(crate) dir: PathBuf,
    _making: Making,
}

impl Work {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = Self::path(store.paths(), NEXT.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self { store: store.clone(), dir, _making: store.inner.trash.making() })
    }
    fn path(paths: &Paths, number: u64) -> PathBuf {
        paths.dir("tmp").join(format!("load-{}-{number}", std::process::id()))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // If it cannot be moved it is cleared when the store is opened next.
        let dir: &Path = &self.dir;
        let _ = self.store.inner.trash.put(dir);
    }
}

/// An input whose first bytes were looked at.
pub(crate) struct Start<R> {
    bytes: Vec<u8>,
    at: usize,
    rest: R,
}

impl<R: Read> Start<R> {
    pub(crate) fn read(mut input: R) -> Result<Self> {
        let mut bytes = Vec::with_capacity(LOOK);
        input.by_ref().take(LOOK as u64).read_to_end(&mut bytes).context("read the archive")?;
        if bytes.is_empty() {
            return Err(Error::invalid("this is not an image archive: it is empty"));
        }
        Ok(Self { bytes, at: 0, rest: input })
    }
}

impl<R> Start<R> {
    /// An input of which `bytes` were read already.
    pub(crate) fn begun(bytes: Vec<u8>, rest: R) -> Self {
        Self { bytes, at: 0, rest }
    }
    /// What it is, as far as its first bytes tell.
    pub(crate) fn content(&self) -> Content {
        sniff(&self.bytes)
    }
}

impl<R: Read> Read for Start<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = &self.bytes[self.at..];
        if left.is_empty() {
            return self.rest.read(buf);
        }
        let n = left.len().min(buf.len());
        buf[..n].copy_from_slice(&left[..n]);
        self.at += n;
        Ok(n)
    }
}

/// The archive by name and by digest.
struct Files<'a> {
    archive: &'a Archive,
    documents_by_digest: HashMap<Digest, &'a [u8]>,
    layers_by_digest: HashMap<Digest, usize>,
}

impl<'a> Files<'a> {
    fn new(archive: &'a Archive) -> Self {
        let documents_by_digest =
            archive.documents.values().map(|bytes| (Digest::of(bytes), bytes.as_slice())).collect();
        let layers_by_digest = archive.layers.iter().enumerate().map(|(i, l)| (l.blob.0, i)).collect();
        Self { archive, documents_by_digest, layers_by_digest }
    }
}

impl plan::Files for Files<'_> {
    fn document(&self, name: &[u8]) -> Option<&[u8]> {
        self.archive.document(name)
    }
    fn document_with(&self, digest: &Digest) -> Option<&[u8]> {
        self.documents_by_digest.get(digest).copied()
    }
    fn layer(&self, name: &[u8]) -> Option<usize> {
        self.archive.layer(name)
    }
    fn layer_with(&self, digest: &Digest) -> Option<usize> {
        self.layers_by_digest.get(digest).copied()
    }
    fn diff_id(&self, layer: usize) -> Result<Digest> {
        let layer = &self.archive.layers[layer];
        match &layer.result {
            Ok(Unpacked::Known(diff_id)) => Ok(*diff_id),
            Ok(Unpacked::Fresh { outcome, .. }) => Ok(outcome.inflated.map_or(layer.blob.0, |i| i.0)),
            Err(e) => Err(e.clone()),
        }
    }
}
