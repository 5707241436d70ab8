//! Images made here: of one tar (`import`), or of a container's writable layer on top of its image (`commit`).
//!
//! The layer goes through the same road as every other one that comes in, with the same limits. What the image's
//! configuration says is the caller's; which layers it has is decided here.

use crate::apply::Applied;
use crate::db::{LayerBlob, LayerRow, NewImage};
use crate::layers::{Lease, Publication, Unpacked};
use crate::load::pipe::{CHUNK, Chunk, PipeWriter, Pool, pipe};
use crate::load::sniff::Content;
use crate::load::traffic::Traffic;
use crate::load::unpack::{joined, spawn, unpack};
use crate::load::{Start, Work};
use crate::pack::{layer_tar, weight};
use crate::{Reservation, Store};
use dhow_types::image::{History, MAX_DOCUMENT, MAX_LAYERS, RootFs, media_type};
use dhow_types::{Cause, Context as _, Digest, DigestWriter, Error, ImageConfig, Reference, Result};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Buffers between the thread that reads a layer and the one that unpacks it: 4 MiB.
const BUFFERS: usize = 16;

/// What an image that is made here is to be, beside its new layer.
#[derive(Clone, Debug, Default)]
pub struct NewDocument {
    /// The configuration, without layers; its history is that of the image below.
    pub config: ImageConfig,
    /// The step that makes the new layer.
    pub step: History,
    /// The name it gets, which may be taken from another image.
    pub reference: Option<Reference>,
}

/// An image that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Digest,
    /// What was left out of its layer, for people.
    pub warnings: Vec<String>,
}

/// A layer that was unpacked: its digest, the size of its tar, what is known about it, and as what it came.
struct Layer {
    diff_id: Digest,
    tar_size: u64,
    applied: Applied,
    received: Option<LayerBlob>,
}

impl Store {
    /// Makes an image of one layer from a tar of a root file system, plain or compressed with gzip or zstd. It survives a
    /// power cut once this returns, or there is nothing.
    pub fn import(&self, input: impl Read + Send, document: NewDocument) -> Result<Made> {
        self.import_of(input, 0, document)
    }

    /// [`Store::import`] of an archive that has at least `announced` bytes: if there is no space for them, nothing is
    /// written.
    pub fn import_of(&self, input: impl Read + Send, announced: u64, document: NewDocument) -> Result<Made> {
        let space = self.reserve(announced)?;
        let traffic = Traffic::default();
        let start = Start::read(traffic.received(input))?;
        let content = start.content();
        match content {
            Content::Unsupported(what, tool) => {
                return Err(Error::not_implemented(format!(
                    "the archive is compressed with {what}, which dhow does not read: unpack it first with {tool}"
                )));
            }
            Content::Other => {
                return Err(Error::invalid("this is no tar archive, nor one compressed with gzip or zstd"));
            }
            Content::Gzip | Content::Zstd | Content::Tar => {}
        }
        let work = Work::new(self).map_err(|e| self.explained(e))?;
        // Explained while what was written is still there.
        self.layer_of(&work, &space, content, &traffic, |out| feed(start, out))
            .and_then(|layer| self.publish_made(&work, None, Some(layer), document))
            .map_err(|e| self.explained(e))
    }

    /// Makes an image of the layers of `parent` and the overlayfs upper directory `upper`. If nothing was changed it has
    /// the layers of `parent` alone, as in Docker. `read` is called once `upper` was read, or could not be. The image
    /// survives a power cut once this returns, or there is nothing.
    pub fn commit(&self, parent: &Digest, upper: &Path, document: NewDocument, read: impl FnOnce()) -> Result<Made> {
        self.commit_within(&self.reserve_for_commit(upper)?, parent, upper, document, read)
    }

    /// Keeps the space that a commit of `upper` will need, or refuses it.
    pub fn reserve_for_commit(&self, upper: &Path) -> Result<Reservation> {
        self.reserve(weight(upper)?)
    }

    /// [`Store::commit`] with space that was kept for it.
    pub fn commit_within(
        &self,
        space: &Reservation,
        parent: &Digest,
        upper: &Path,
        document: NewDocument,
        read: impl FnOnce(),
    ) -> Result<Made> {
        let work = Work::new(self).map_err(|e| self.explained(e))?;
        // Explained while what was written is still there.
        self.commit_in(&work, space, parent, upper, document, read).map_err(|e| self.explained(e))
    }

    fn commit_in(
        &self,
        work: &Work,
        space: &Reservation,
        parent: &Digest,
        upper: &Path,
        document: NewDocument,
        read: impl FnOnce(),
    ) -> Result<Made> {
        let layer = if is_untouched(upper, self.image(parent)?.layer_dirs.first().map(PathBuf::as_path))? {
            read();
            None
        } else {
            Some(self.layer_of(work, space, Content::Tar, &Traffic::default(), |out| {
                let written = layer_tar(upper, out);
                read();
                written
            })?)
        };
        self.publish_made(work, Some(parent), layer, document)
    }

    /// Unpacks what `write` gives, on another thread than `write` runs on.
    fn layer_of(
        &self,
        work: &Work,
        space: &Reservation,
        content: Content,
        traffic: &Traffic,
        write: impl FnOnce(&mut Hashed) -> Result<()>,
    ) -> Result<Layer> {
        let dir = work.dir.join(LAYER);
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let limits = self.config().limits.within(space);
        let pool = Pool::new(BUFFERS);
        let (to, from) = pipe(&pool);
        std::thread::scope(|scope| {
            let place = &dir;
            let limits = &limits;
            let unpacking = spawn(scope, "dhow-unpack", move || unpack(from, content, place, limits, traffic))?;
            let mut out = Hashed { to, chunk: None, hash: DigestWriter::new(), refused: false };
            let written = write(&mut out).and_then(|()| Ok(out.flush()?));
            let refused = out.refused;
            // Without a word of its end the other side knows that it broke off.
            let written = written.and_then(|()| Ok(out.finish()?));
            let unpacked = joined(unpacking);
            let (applied, inflated, (digest, size)) = match (written, unpacked) {
                (Ok(sum), Ok(outcome)) => (outcome.applied, outcome.inflated, sum),
                // One that can't unpack stops reading: then its error is the cause.
                (_, Err(e)) if refused => return Err(e),
                (Err(e), _) | (Ok(_), Err(e)) => return Err(e),
            };
            Ok(match inflated {
                None => Layer { diff_id: digest, tar_size: size, applied, received: None },
                Some((diff_id, tar_size)) => {
                    let suffix = if content == Content::Gzip { "gzip" } else { "zstd" };
                    let media_type = format!("{}+{suffix}", media_type::OCI_LAYER);
                    let received = Some(LayerBlob { digest, diff_id, size, media_type, kept: false });
                    Layer { diff_id, tar_size, applied, received }
                }
            })
        })
    }

    fn publish_made(
        &self,
        work: &Work,
        parent: Option<&Digest>,
        layer: Option<Layer>,
        document: NewDocument,
    ) -> Result<Made> {
        let NewDocument { mut config, mut step, reference } = document;
        let mut lease = Lease::new(self);
        let mut layers = Vec::new();
        if let Some(parent) = parent {
            // Its layers stay from here on, whatever happens to it.
            for diff_id in &self.image(parent)?.layers {
                let held = lease.hold(diff_id)?;
                held.ok_or_else(|| {
                    Error::not_found(format!("No such image: {parent}: it was removed meanwhile"))
                        .because(Cause::ImageMissing)
                })?;
                layers.push(*diff_id);
            }
        }
        step.empty_layer = layer.is_none();
        config.history.push(step);
        let mut publication = Publication::default();
        let mut warnings = Vec::new();
        if let Some(Layer { diff_id, tar_size, applied, received }) = layer {
            layers.push(diff_id);
            let row = LayerRow { diff_id, size: applied.size, tar_size, opaque_root: applied.opaque_root };
            publication.layers.push(Unpacked { dir: work.dir.join(LAYER), row });
            publication.received.extend(received.map(|blob| (blob, None)));
            warnings = applied.warnings;
        }
        if layers.len() > MAX_LAYERS {
            return Err(Error::invalid(format!(
                "max depth exceeded: an image can't have more than {MAX_LAYERS} layers"
            )));
        }
        config.rootfs = RootFs { kind: "layers".to_owned(), diff_ids: layers.clone() };
        let bytes = serde_json::to_vec(&config).map_err(|e| Error::system(e.to_string())).context("write the image")?;
        if bytes.len() > MAX_DOCUMENT {
            return Err(Error::invalid(format!(
                "the image's configuration has {} bytes, the limit is {MAX_DOCUMENT}",
                bytes.len()
            )));
        }
        let id = Digest::of(&bytes);
        publication.documents.push((id, bytes));
        let references = reference.into_iter().collect();
        publication.images.push(NewImage { id, manifest: None, parent: parent.copied(), layers, references });
        self.publish(publication, &work.dir)?;
        Ok(Made { id, warnings })
    }
}

/// Where the new layer is unpacked, in the work's directory.
const LAYER: &str = "layer-new";

/// Whether an upper directory holds nothing, and its own attributes are those of the layer below.
fn is_untouched(upper: &Path, below: Option<&Path>) -> Result<bool> {
    let what = || format!("look at {}", upper.display());
    if std::fs::read_dir(upper).with_context(what)?.next().is_some() {
        return Ok(false);
    }
    let own = std::fs::symlink_metadata(upper).with_context(what)?;
    let same = match below {
        Some(below) => {
            let theirs = std::fs::symlink_metadata(below).with_context(|| format!("look at {}", below.display()))?;
            (own.mode(), own.uid(), own.gid()) == (theirs.mode(), theirs.uid(), theirs.gid())
        }
        None => true,
    };
    let mut names = vec![0; MAX_NAMES];
    let n = rustix::fs::listxattr(upper, names.as_mut_slice()).map_err(io::Error::from).with_context(what)?;
    let plain = |name: &[u8]| name.is_empty() || name.starts_with(b"trusted.overlay.");
    Ok(same && names[..n].split(|&b| b == 0).all(plain))
}

/// The most bytes the kernel gives of names of attributes.
const MAX_NAMES: usize = 64 << 10;

/// Reads all of `input` into buffers, which are handed on.
fn feed(mut input: impl Read, out: &mut Hashed) -> Result<()> {
    loop {
        let mut chunk = out.to.buffer();
        let mut len = 0;
        while len < chunk.space().len() {
            match input.read(&mut chunk.space()[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("read the archive"),
            }
        }
        if len == 0 {
            return Ok(());
        }
        out.pass(chunk, len)?;
    }
}

/// Hashes buffers as they are handed on to the thread that unpacks.
struct Hashed {
    to: PipeWriter,
    chunk: Option<(Chunk, usize)>,
    hash: DigestWriter,
    /// The other side stopped reading.
    refused: bool,
}

impl Hashed {
    fn pass(&mut self, mut chunk: Chunk, len: usize) -> io::Result<()> {
        self.hash.update(&chunk.space()[..len]);
        if self.to.send(chunk, len) {
            return Ok(());
        }
        self.refused = true;
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Says that this was all.
    fn finish(self) -> io::Result<(Digest, u64)> {
        self.to.finish()?;
        Ok(self.hash.finish())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut chunk, at) = self.chunk.take().unwrap_or_else(|| (self.to.buffer(), 0));
        let n = bytes.len().min(CHUNK - at);
        chunk.space()[at..at + n].copy_from_slice(&bytes[..n]);
        match at + n {
            CHUNK => self.pass(chunk, CHUNK)?,
            len => self.chunk = Some((chunk, len)),
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        match self.chunk.take() {
            Some((chunk, len)) => self.pass(chunk, len),
            None => Ok(()),
        }
    }
}
