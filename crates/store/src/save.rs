//! `save`: images as a Docker archive that is an OCI layout, too.
//!
//! Rule: the archives of `docker save` since Docker 25: `blobs/sha256/<digest>` for uncompressed layers,
//! configurations and manifests, and beside them `index.json`, `manifest.json`, `oci-layout` and
//! `repositories`. Its bytes depend on the images alone: all times are 0, so the same images give the same archive.

mod ahead;

use crate::Store;
use crate::db::LayerRow;
use crate::images::no_such_image;
use crate::layers::Lease;
use crate::load::pipe::{Chunk, Piece, Pool};
use crate::tar::header::BLOCK;
use ahead::Ahead;
use dhow_types::image::{Descriptor, Index, Manifest, media_type};
use dhow_types::{Context as _, Digest, Error, ErrorKind, Platform, Reference, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The most layers rebuilt at the same time: the one that is being written and those behind it.
const MAX_PARALLEL: usize = 3;
/// Buffers of each thread that rebuilds: 6 MiB, so 18 MiB together.
const BUFFERS: usize = 24;
/// Buffers for headers and documents.
const SMALL_BUFFERS: usize = 4;
/// The stack of a thread: nothing here recurses.
const STACK: usize = 512 << 10;
/// The most images in one archive, as `load` takes them.
const MAX_IMAGES: usize = 1000;
/// Where blobs lie in the archive.
const BLOBS: &str = "blobs/sha256/";

/// An archive that is about to be written: what is in it is known and held.
pub struct Save {
    store: Store,
    _lease: Lease,
    /// Each once, in the order in which they are written.
    layers: Vec<LayerRow>,
    /// Documents by their names in the archive, in the order in which they are written.
    documents: Vec<(String, Vec<u8>)>,
}

/// An image to be saved.
struct Saved {
    id: Digest,
    config: Vec<u8>,
    platform: Platform,
    layers: Vec<LayerRow>,
    references: Vec<Reference>,
}

impl Store {
    /// Finds the images called `names` and holds their layers until the [`Save`] is gone. A name without a tag means
    /// all tags of that repository, as in Docker; an image named by its id has no names in the archive.
    /// With `platform` every image must be for it.
    pub fn prepare_save(&self, names: &[String], platform: Option<&Platform>) -> Result<Save> {
        if names.is_empty() {
            return Err(Error::invalid("no image to save was named"));
        }
        let mut lease = Lease::new(self);
        let mut images: Vec<Saved> = Vec::new();
        for name in names {
            for (id, reference) in self.named(name)? {
                let at = match images.iter().position(|i| i.id == id) {
                    Some(at) => at,
                    None if images.len() == MAX_IMAGES => {
                        return Err(Error::invalid(format!("more than {MAX_IMAGES} images in one archive")));
                    }
                    None => {
                        images.push(self.to_be_saved(&id, name, platform, &mut lease)?);
                        images.len() - 1
                    }
                };
                let known = &mut images[at].references;
                known.extend(reference.filter(|r| !known.contains(r)));
            }
        }
        let documents = documents(&images)?;
        let mut seen = HashSet::new();
        let layers = images.into_iter().flat_map(|i| i.layers).filter(|l| seen.insert(l.diff_id)).collect();
        Ok(Save { store: self.clone(), _lease: lease, layers, documents })
    }

    /// The images which `name` means, and the names under which they are to be saved.
    fn named(&self, name: &str) -> Result<Vec<(Digest, Option<Reference>)>> {
        let is_id = name.parse::<Digest>().is_ok() || Digest::from_hex(name).is_ok();
        if !is_id && let Ok(reference) = name.parse::<Reference>() {
            if reference.tag().is_none() && reference.digest().is_none() {
                let mut all = self.inner.db.tags_of(&reference)?;
                if !all.is_empty() {
                    return Ok(all.drain(..).map(|(r, id)| (id, Some(r))).collect());
                }
            } else if let Some(id) = self.inner.db.image_named(&reference)? {
                return Ok(vec![(id, Some(reference).filter(|r| r.digest().is_none()))]);
            }
        }
        Ok(vec![(self.resolve_id(name)?, None)])
    }

    fn to_be_saved(&self, id: &Digest, name: &str, platform: Option<&Platform>, lease: &mut Lease) -> Result<Saved> {
        let image = self.image(id)?;
        let its = image.config.platform();
        if let Some(wanted) = platform
            && its != *wanted
        {
            return Err(Error::not_found(format!(
                "no suitable export target found for platform {wanted}: image {name} is for {its}"
            )));
        }
        let layers = image
            .layers
            .iter()
            .map(|layer| lease.hold(layer)?.ok_or_else(|| no_such_image(name)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Saved { id: *id, config: image.raw.clone(), platform: its, layers, references: Vec::new() })
    }
}

/// An element of `manifest.json`, with Docker's `LayerSources`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<Digest, Descriptor>,
}

fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
        urls: Vec::new(),
    }
}

/// All documents of the archive: pure.
fn documents(images: &[Saved]) -> Result<Vec<(String, Vec<u8>)>> {
    fn json(document: &impl Serialize) -> Result<Vec<u8>> {
        serde_json::to_vec(document).map_err(|e| Error::system(e.to_string())).context("write a document")
    }
    let mut documents = Vec::new();
    let (mut items, mut index) = (Vec::new(), Vec::new());
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in images {
        let layer = |l: &LayerRow| descriptor(media_type::OCI_LAYER, l.diff_id, l.tar_size);
        let mut config = descriptor(media_type::OCI_CONFIG, image.id, image.config.len() as u64);
        config.platform = Some(image.platform.clone());
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config,
            layers: image.layers.iter().map(layer).collect(),
            annotations: BTreeMap::new(),
        })?;
        let digest = Digest::of(&manifest);
        let mut plain = descriptor(media_type::OCI_MANIFEST, digest, manifest.len() as u64);
        plain.platform = Some(image.platform.clone());
        documents.push((blob_name(&image.id), image.config.clone()));
        documents.push((blob_name(&digest), manifest));
        for reference in &image.references {
            let tag = reference.tag().unwrap_or_default().to_owned();
            let mut named = plain.clone();
            let full = format!("{}:{tag}", reference.name());
            named.annotations.insert("io.containerd.image.name".to_owned(), full);
            named.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.clone());
            index.push(named);
            if let Some(top) = image.layers.last() {
                repositories.entry(reference.familiar_name()).or_default().insert(tag, top.diff_id.hex());
            }
        }
        if image.references.is_empty() {
            index.push(plain);
        }
        let tags: Vec<String> = image.references.iter().map(Reference::familiar).collect();
        items.push(Item {
            config: blob_name(&image.id),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: image.layers.iter().map(|l| blob_name(&l.diff_id)).collect(),
            layer_sources: image.layers.iter().map(|l| (l.diff_id, layer(l))).collect(),
        });
    }
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests: index,
        annotations: BTreeMap::new(),
    };
    documents.push(("index.json".to_owned(), json(&index)?));
    documents.push(("manifest.json".to_owned(), json(&items)?));
    documents.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    if !repositories.is_empty() {
        documents.push(("repositories".to_owned(), json(&repositories)?));
    }
    Ok(documents)
}

/// A header of the archive's own entries.
fn header(name: &str, kind: ::tar::EntryType, size: u64) -> Result<[u8; BLOCK]> {
    // GNU's dialect has a way to write sizes above 8 GiB; below, it is what every reader knows.
    let mut header = ::tar::Header::new_gnu();
    header.set_path(name).context("name in the archive")?;
    header.set_entry_type(kind);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Bytes up to the next block.
fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

impl Save {
    /// The archive's size in bytes.
    pub fn size(&self) -> u64 {
        let block = BLOCK as u64;
        let entry = |size: u64| block + size + padding(size) as u64;
        let layers: u64 = self.layers.iter().map(|l| entry(l.tar_size)).sum();
        let documents: u64 = self.documents.iter().map(|d| entry(d.1.len() as u64)).sum();
        2 * block + layers + documents + 2 * block
    }

    /// Writes the archive, piece by piece, to `out`, whose error ends it. Layers are rebuilt on threads of their own, the
    /// next ones while one is being written; what is ahead is bounded by buffers. A layer whose bytes are not what they
    /// should be is an error after it was written: `out` has then got an archive that must be thrown away.
    pub fn write(&self, out: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get() + 1).min(MAX_PARALLEL);
        let layers: Vec<Digest> = self.layers.iter().map(|l| l.diff_id).collect();
        let ahead = Ahead::new(&self.store, &layers, BUFFERS);
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            let started = (0..threads.min(layers.len())).try_for_each(|_| {
                let thread = std::thread::Builder::new().name("dhow-rebuild".into()).stack_size(STACK);
                running.push(thread.spawn_scoped(scope, || ahead.rebuild()).context("start a thread")?);
                Ok(())
            });
            let ended = started.and_then(|()| self.in_order(&ahead, out));
            ahead.give_up();
            for thread in running {
                // One that panicked has left its layer without an end, which is an error already.
                let _ = thread.join();
            }
            ended
        })
    }

    fn in_order(&self, ahead: &Ahead<'_>, out: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let mut small = Small { pool: Pool::new(SMALL_BUFFERS), chunk: None, out };
        small.bytes(&header("blobs/", ::tar::EntryType::Directory, 0)?)?;
        small.bytes(&header(BLOBS, ::tar::EntryType::Directory, 0)?)?;
        for (number, layer) in self.layers.iter().enumerate() {
            let wrong = || {
                let text = format!("layer {} does not have the size that is noted", layer.diff_id.short());
                Error::new(ErrorKind::DataLoss, text)
            };
            small.bytes(&header(&blob_name(&layer.diff_id), ::tar::EntryType::Regular, layer.tar_size)?)?;
            small.hand_on()?;
            let mut left = layer.tar_size;
            ahead.read(number, &mut |piece| {
                left = left.checked_sub(piece.as_ref().len() as u64).ok_or_else(wrong)?;
                (small.out)(piece)
            })?;
            if left != 0 {
                return Err(wrong());
            }
            small.zeroes(padding(layer.tar_size))?;
        }
        for (name, bytes) in &self.documents {
            small.bytes(&header(name, ::tar::EntryType::Regular, bytes.len() as u64)?)?;
            small.bytes(bytes)?;
            small.zeroes(padding(bytes.len() as u64))?;
        }
        small.zeroes(2 * BLOCK)?;
        small.hand_on()
    }
}

impl std::fmt::Debug for Save {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Save").field("layers", &self.layers).finish_non_exhaustive()
    }
}

/// Gathers what lies between the layers.
struct Small<'a> {
    pool: Arc<Pool>,
    chunk: Option<(Chunk, usize)>,
    out: &'a mut dyn FnMut(Piece) -> Result<()>,
}

impl Small<'_> {
    fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (mut chunk, at) = self.chunk.take().unwrap_or_else(|| (self.pool.take(), 0));
            let room = &mut chunk.space()[at..];
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            let full = n == room.len();
            self.chunk = Some((chunk, at + n));
            bytes = &bytes[n..];
            if full {
                self.hand_on()?;
            }
        }
        Ok(())
    }
    fn zeroes(&mut self, n: usize) -> Result<()> {
        self.bytes(&[0; 2 * BLOCK][..n])
    }
    fn hand_on(&mut self) -> Result<()> {
        match self.chunk.take() {
            Some((chunk, len)) => (self.out)(Piece::new(chunk, len)),
            None => Ok(()),
        }
    }
}
