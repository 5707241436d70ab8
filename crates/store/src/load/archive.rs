//! The archive as it streams by: documents are kept, layers unpacked at once, since the manifest that
//! says which is which may come last.
//!
//! Nothing is published here, and nothing of the archive's own names reaches the file system.

use super::Progress;
use super::pipe::{PipeWriter, Pool, pipe};
use super::sniff::{Content, LOOK, sniff};
use super::traffic::Traffic;
use super::unpack::{Outcome, joined, spawn, unpack};
use crate::apply::Limits;
use crate::db::LayerRow;
use crate::layers::Lease;
use crate::names::{clean, join, shown, split};
use crate::space::Reservation;
use crate::spread::fresh_name;
use crate::tar::{self, Kind, Nowhere};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, Result};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};

/// Buffers of all layers that are being unpacked, together: 24 MiB.
const BUFFERS: usize = 96;
/// The most layers unpacked at the same time.
const MAX_PARALLEL: usize = 8;
/// How many links of an archive lead from one name to another.
const MAX_HOPS: usize = 8;
/// Bytes between two reports of progress.
const REPORT_EVERY: u64 = 512 << 10;

/// A file of the archive that is a layer, or could be one.
#[derive(Debug)]
pub(super) struct Layer {
    /// Digest and size of the bytes in the archive.
    pub blob: (Digest, u64),
    pub content: Content,
    /// What became of it. An error counts only if the layer is needed.
    pub result: Result<Unpacked>,
    /// The bytes themselves, if they are to be kept.
    pub kept: Option<PathBuf>,
}

/// A layer's tree.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// Just made.
    Fresh { dir: PathBuf, outcome: Outcome },
    /// It was here before.
    Known(Digest),
}

/// All that an archive held.
#[derive(Debug, Default)]
pub(super) struct Archive {
    /// Small files that are not tars, by cleaned name.
    pub documents: HashMap<Vec<u8>, Vec<u8>>,
    /// Layers in the order in which they came.
    pub layers: Vec<Layer>,
    /// Which of them a name means.
    pub layer_names: HashMap<Vec<u8>, usize>,
    /// Links: name to name.
    links: HashMap<Vec<u8>, Vec<u8>>,
}

impl Archive {
    /// Takes a name back.
    fn forget(&mut self, name: &[u8]) {
        self.documents.remove(name);
        self.layer_names.remove(name);
        self.links.remove(name);
    }

    /// The name a name means, after links.
    fn follow<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let mut name = name;
        for _ in 0..MAX_HOPS {
            match self.links.get(name) {
                Some(next) => name = next,
                None => break,
            }
        }
        name
    }
    pub(super) fn document(&self, name: &[u8]) -> Option<&[u8]> {
        let name = clean(name).ok()?;
        self.documents.get(self.follow(&name)).map(Vec::as_slice)
    }
    pub(super) fn layer(&self, name: &[u8]) -> Option<usize> {
        let name = clean(name).ok()?;
        self.layer_names.get(self.follow(&name)).copied()
    }
}

/// What reading needs beside the input.
pub(super) struct Reading<'a> {
    pub limits: &'a Limits,
    pub traffic: Traffic,
    pub work: &'a Path,
    pub keep_blobs: bool,
    pub lease: &'a mut Lease,
    pub progress: &'a mut dyn FnMut(Progress),
    pub space: Claims<'a>,
}

/// What layers need, out of what is reserved. A layer that is here already needs nothing.
pub(super) struct Claims<'a> {
    pub reservation: &'a Reservation,
    /// Bytes reserved, and how many of them layers have claimed.
    pub reserved: u64,
    pub claimed: u64,
}

impl Claims<'_> {
    fn claim(&mut self, bytes: u64) -> Result<()> {
        self.claimed = self.claimed.saturating_add(bytes);
        if let Some(missing) = self.claimed.checked_sub(self.reserved).filter(|n| *n > 0) {
            self.reservation.more(missing)?;
            self.reserved = self.claimed;
        }
        Ok(())
    }
}

/// Starts writing finished layers to disk while others are being unpacked, so that the sync before
/// publication finds little left to do. It promises nothing: errors show in that sync.
struct Flusher {
    root: std::sync::Arc<File>,
    unwritten: u64,
    busy: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// Bytes of finished layers that are worth a sync of their own.
const FLUSH_EVERY: u64 = 64 << 20;

impl Flusher {
    fn new(work: &Path) -> Result<Self> {
        Ok(Self { root: std::sync::Arc::new(File::open(work)?), unwritten: 0, busy: std::sync::Arc::default() })
    }
    fn finished<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, bytes: u64) {
        use std::sync::atomic::Ordering;
        self.unwritten += bytes;
        if self.unwritten < FLUSH_EVERY || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.unwritten = 0;
        let (root, busy) = (self.root.clone(), self.busy.clone());
        let started = spawn(scope, "dhow-flush", move || {
            let _ = rustix::fs::syncfs(&*root);
            busy.store(false, Ordering::Release);
        });
        if started.is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

type Handle<'scope> = (usize, ScopedJoinHandle<'scope, Result<Outcome>>);

/// Reads all of `input`.
pub(super) fn read(input: impl BufRead, mut r: Reading<'_>) -> Result<Archive> {
    let pool = Pool::new(BUFFERS);
    let parallel = std::thread::available_parallelism().map_or(2, |n| n.get() + 1).min(MAX_PARALLEL);
    std::thread::scope(|scope| {
        let mut archive = Archive::default();
        let mut running: VecDeque<Handle<'_>> = VecDeque::new();
        let mut reader = tar::Reader::new(input, r.limits.header_bytes);
        let mut flusher = Flusher::new(r.work)?;
        let mut documents = 0usize;
        let mut entries = 0;
        while let Some(entry) = reader.next(&mut Nowhere)? {
            entries += 1;
            if entries > r.limits.archive_entries {
                return Err(over(format!("the archive has more than {} entries", r.limits.archive_entries)));
            }
            let name = clean(&entry.name)?.into_owned();
            documents = documents.saturating_add(name.len() + entry.link.len());
            within(documents, r.limits)?;
            // A later entry replaces an earlier one of its name, whatever they are.
            archive.forget(&name);
            match entry.kind {
                Kind::File if entry.sparse.is_none() => {}
                Kind::Dir => continue,
                Kind::Symlink | Kind::Hardlink => {
                    let link = match entry.kind {
                        Kind::Symlink if entry.link.first() != Some(&b'/') => join(split(&name).0, &entry.link),
                        _ => entry.link.clone(),
                    };
                    archive.links.insert(name, clean(&link).context("link in the archive")?.into_owned());
                    continue;
                }
                _ => return Err(Error::invalid(format!("entry {} is no file of an image archive", shown(&name)))),
            }
            let start = peek(&mut reader, LOOK)?;
            let content = sniff(&start);
            match content {
                Content::Gzip | Content::Zstd | Content::Tar => {
                    let index = archive.layers.len();
                    let layer = Incoming { name: &name, size: entry.size, content, start };
                    let handle = layer.receive(scope, &mut reader, &pool, &mut r, &mut archive)?;
                    archive.layer_names.insert(name, index);
                    running.extend(handle.map(|h| (index, h)));
                    while running.len() >= parallel {
                        flusher.finished(scope, settle(&mut running, &mut archive));
                    }
                }
                Content::Unsupported(what, tool) => {
                    let error = Error::not_implemented(format!(
                        "{} is compressed with {what}, which dhow does not read: unpack it first with {tool}",
                        shown(&name)
                    ));
                    archive.layer_names.insert(name, archive.layers.len());
                    archive.layers.push(Layer { blob: (Digest::of(b""), 0), content, result: Err(error), kept: None });
                    reader.pass_over(&mut Nowhere)?;
                }
                // Neither a document nor a layer; if something asks for it, it is missing.
                Content::Other if entry.size > dhow_types::image::MAX_DOCUMENT as u64 => {
                    reader.pass_over(&mut Nowhere)?;
                }
                Content::Other => {
                    documents = documents.saturating_add(entry.size as usize);
                    within(documents, r.limits)?;
                    let mut bytes = start;
                    while let piece = reader.piece()?
                        && !piece.is_empty()
                    {
                        bytes.extend_from_slice(piece);
                        let n = piece.len();
                        reader.used(n);
                    }
                    archive.documents.insert(name, bytes);
                }
            }
        }
        reader.rest(&mut Nowhere)?;
        while !running.is_empty() {
            settle(&mut running, &mut archive);
        }
        Ok(archive)
    })
}

/// Waits for the layer that was begun first; returns how many bytes it had in the archive.
fn settle(running: &mut VecDeque<Handle<'_>>, archive: &mut Archive) -> u64 {
    let Some((index, handle)) = running.pop_front() else { return 0 };
    let layer = &mut archive.layers[index];
    let outcome = joined(handle);
    if let Ok(Unpacked::Fresh { dir, .. }) = &layer.result {
        let dir = dir.clone();
        layer.result = outcome.map(|outcome| Unpacked::Fresh { dir, outcome });
    }
    layer.blob.1
}

/// A layer whose bytes come next.
struct Incoming<'a> {
    name: &'a [u8],
    size: u64,
    content: Content,
    /// The first bytes, already read.
    start: Vec<u8>,
}

impl Incoming<'_> {
    /// Reads the layer's bytes and adds it to the archive. Unpacking goes on after the return, on the thread returned.
    fn receive<'scope, R: BufRead>(
        self,
        scope: &'scope Scope<'scope, '_>,
        reader: &mut tar::Reader<R>,
        pool: &std::sync::Arc<Pool>,
        r: &mut Reading<'_>,
        archive: &mut Archive,
    ) -> Result<Option<ScopedJoinHandle<'scope, Result<Outcome>>>> {
        let index = archive.layers.len();
        let claimed = digest_in_name(self.name);
        if let Some(digest) = claimed
            && let Some(row) = r.lease.hold(&digest)?
        {
            archive.layers.push(self.known(digest, &row, reader, r.progress)?);
            return Ok(None);
        }
        let copies = if r.keep_blobs { 2 } else { 1 };
        r.space.claim(self.size.saturating_mul(copies)).with_context(|| format!("layer {}", shown(self.name)))?;
        let kept = r.keep_blobs.then(|| r.work.join(format!("blob-{index}")));
        let mut copy = kept.as_ref().map(|p| File::create_new(p).map(|f| (f, p))).transpose()?;
        let dir = r.work.join(fresh_name("layer", index));
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        let (writer, from) = pipe(pool);
        let handle = {
            let (dir, content, limits, traffic) = (dir.clone(), self.content, r.limits.clone(), r.traffic.clone());
            spawn(scope, "dhow-unpack", move || unpack(from, content, &dir, &limits, &traffic))?
        };
        let mut writer = Some(writer);
        let mut hash = DigestWriter::new();
        let mut report = Report::new(self.name, self.size);
        let mut pending = self.start;
        loop {
            let mut chunk = pool.take();
            let mut len = std::mem::take(&mut pending).into_iter().zip(chunk.space()).fold(0, |n, (b, to)| {
                *to = b;
                n + 1
            });
            while len < chunk.space().len() {
                let piece = reader.piece()?;
                if piece.is_empty() {
                    break;
                }
                let n = piece.len().min(chunk.space().len() - len);
                chunk.space()[len..len + n].copy_from_slice(&piece[..n]);
                reader.used(n);
                len += n;
            }
            if len == 0 {
                break;
            }
            let bytes = &chunk.space()[..len];
            hash.update(bytes);
            if let Some((file, path)) = &mut copy {
                r.space.reservation.spend(len as u64)?;
                file.write_all(bytes).with_context(|| format!("write {}", path.display()))?;
            }
            report.more(len as u64, r.progress);
            // A layer that failed is still read to its end: it may not be needed.
            if let Some(w) = &mut writer {
                if self.content == Content::Tar {
                    r.traffic.unpacked(len, r.limits)?;
                }
                if !w.send(chunk, len) {
                    writer = None;
                }
            }
        }
        // A reader that is gone has an error to tell, which is told when it is joined.
        let _ = writer.map(PipeWriter::finish);
        let outcome = Outcome { applied: crate::apply::Applied::default(), inflated: None };
        let result = Ok(Unpacked::Fresh { dir, outcome });
        archive.layers.push(Layer { blob: hash.finish(), content: self.content, result, kept });
        Ok(Some(handle))
    }

    /// A layer that is here already. What the archive has under its name is passed over unread: whatever it is, the
    /// image gets the layer here, whose bytes had that digest.
    fn known<R: BufRead>(
        self,
        digest: Digest,
        row: &LayerRow,
        reader: &mut tar::Reader<R>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Layer> {
        let mut report = Report::new(self.name, self.size);
        report.more(self.start.len() as u64, progress);
        while let n = reader.piece()?.len()
            && n > 0
        {
            reader.used(n);
            report.more(n as u64, progress);
        }
        let result = Ok(Unpacked::Known(row.diff_id));
        Ok(Layer { blob: (digest, self.size), content: self.content, result, kept: None })
    }
}

/// Progress of one layer.
struct Report {
    id: String,
    current: u64,
    total: u64,
    next: u64,
}

impl Report {
    fn new(name: &[u8], total: u64) -> Self {
        // A dozen hex digits, wherever in the name they are, else the end of the name.
        let id = name
            .split(|b| !b.is_ascii_hexdigit())
            .find(|p| p.len() >= 12)
            .map_or_else(|| shown(split(name).1), |p| shown(&p[..12]));
        Self { id, current: 0, total, next: 0 }
    }
    fn more(&mut self, n: u64, progress: &mut dyn FnMut(Progress)) {
        self.current += n;
        if self.current >= self.next || self.current == self.total {
            self.next = self.current + REPORT_EVERY;
            progress(Progress { id: self.id.clone(), current: self.current, total: self.total });
        }
    }
}

/// Up to `n` bytes of the current entry, taken from it.
fn peek<R: BufRead>(reader: &mut tar::Reader<R>, n: usize) -> Result<Vec<u8>> {
    let mut start = Vec::with_capacity(n);
    while start.len() < n {
        let piece = reader.piece()?;
        if piece.is_empty() {
            break;
        }
        let take = piece.len().min(n - start.len());
        start.extend_from_slice(&piece[..take]);
        reader.used(take);
    }
    Ok(start)
}

/// The digest in `blobs/sha256/<hex>` or `<hex>.tar`. It is believed only once the bytes have it.
fn digest_in_name(name: &[u8]) -> Option<Digest> {
    let (dir, last) = split(name);
    let hex = match dir {
        b"blobs/sha256" => last,
        b"" => last.strip_suffix(b".tar")?,
        _ => return None,
    };
    Digest::from_hex(std::str::from_utf8(hex).ok()?).ok()
}

/// Whether the documents and names of an archive may be that long.
fn within(documents: usize, limits: &Limits) -> Result<()> {
    if documents <= limits.document_bytes {
        return Ok(());
    }
    Err(over(format!("the archive has more than {} bytes of documents", limits.document_bytes)))
}

fn over(text: String) -> Error {
    Error::new(ErrorKind::Exhausted, text)
}
