//! A layer that is here already, unpacked once more beside itself: from its own recipe, or from the bytes in which it
//! was received. For `check`, which compares and replaces.

use super::pipe::{Chunk, Pool, pipe};
use super::sniff::{LOOK, sniff};
use super::traffic::Traffic;
use super::unpack::{joined, spawn, unpack};
use crate::apply::{Applied, Limits, apply};
use crate::rebuild::{Gather, Rebuild, Source, rebuild};
use dhow_types::{Context as _, Digest, DigestWriter, Result};
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;

/// Buffers between the reading and the unpacking side.
const BUFFERS: usize = 8;

/// A layer's tar as it is made of what lies on disk.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub digest: Digest,
    pub tar_size: u64,
    /// An error if the recipe or the tree could not be read to the end.
    pub rebuilt: Result<()>,
    /// What unpacking it again gave, if that was asked for.
    pub applied: Option<Result<Applied>>,
}

/// Writes the tar again and, if `dir` is given, unpacks it there at the same time.
pub(crate) fn replay(from: &Source, by: &mut dyn Rebuild, dir: Option<&Path>, limits: &Limits) -> Result<Replayed> {
    let pool = Pool::new(BUFFERS);
    std::thread::scope(|scope| {
        let (mut writer, handle) = match dir {
            None => (None, None),
            Some(dir) => {
                let (writer, mut reader) = pipe(&pool);
                let handle = spawn(scope, "dhow-unpack", move || apply(&mut reader, dir, limits))?;
                (Some(writer), Some(handle))
            }
        };
        // A reader that is gone tells its error when it is joined; the digest is wanted all the same.
        let mut hand_on = |chunk: Chunk, len: usize| {
            if writer.as_mut().is_some_and(|w| !w.send(chunk, len)) {
                writer = None;
            }
            Ok(())
        };
        let mut out = Gather::new(&pool, &mut hand_on);
        let rebuilt = rebuild(from, &mut out, by);
        let (digest, tar_size) = out.finish()?;
        if rebuilt.is_ok()
            && let Some(writer) = writer.take()
        {
            let _ = writer.finish();
        }
        drop(writer);
        Ok(Replayed { digest, tar_size, rebuilt, applied: handle.map(joined) })
    })
}

/// Unpacks a layer from the file in which it was received; returns the digest and size of its tar as well.
pub(crate) fn apply_blob(blob: &Path, dir: &Path, limits: &Limits) -> Result<(Digest, u64, Applied)> {
    let mut file = File::open(blob).with_context(|| format!("open {}", blob.display()))?;
    let mut start = Vec::with_capacity(LOOK);
    (&file).take(LOOK as u64).read_to_end(&mut start).with_context(|| format!("read {}", blob.display()))?;
    file.rewind().with_context(|| format!("read {}", blob.display()))?;
    let content = sniff(&start);
    let traffic = Traffic::default();
    let mut file = traffic.received(file);
    let pool = Pool::new(BUFFERS);
    std::thread::scope(|scope| {
        let (mut writer, reader) = pipe(&pool);
        let traffic = &traffic;
        let handle = spawn(scope, "dhow-unpack", move || unpack(reader, content, dir, limits, traffic))?;
        let mut hash = DigestWriter::new();
        let read = loop {
            let mut chunk = writer.buffer();
            let n = match file.read(chunk.space()) {
                Ok(0) => break Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => break Err(e),
            };
            hash.update(&chunk.space()[..n]);
            if !writer.send(chunk, n) {
                break Ok(());
            }
        };
        if read.is_ok() {
            let _ = writer.finish();
        } else {
            drop(writer);
        }
        let outcome = joined(handle);
        read.with_context(|| format!("read {}", blob.display()))?;
        let outcome = outcome?;
        let (digest, size) = outcome.inflated.unwrap_or_else(|| hash.finish());
        Ok((digest, size, outcome.applied))
    })
}
