//! A layer's tar, written again from its tree and its recipe, and compared with its digest.
//!
//! Bytes of files are read straight into the buffers that are handed on; nothing here says where they go.

use crate::load::pipe::{Chunk, Pool};
use crate::names::shown;
use crate::recipe::{DisplacedReader, Reader, Record};
use crate::{Paths, Store};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::fs::File;
use std::io::{ErrorKind as Io, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Opens the regular file at `path` below `root`, through no link of any sort.
pub(crate) fn open_regular(root: impl AsFd, path: &[u8]) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = File::from(openat2(root, path, flags, Mode::empty(), resolve).map_err(std::io::Error::from)?);
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::DataLoss, "it is no regular file any more"));
    }
    Ok(file)
}

/// Writes the tar again into `out`, which checks nothing: the caller compares digests.
pub(crate) fn rebuild(tree: &Path, recipe: &Path, displaced: &Path, out: &mut Gather<'_>) -> Result<()> {
    let root = OwnedFd::from(File::open(tree).with_context(|| format!("open {}", tree.display()))?);
    let mut recipe = Reader::open(recipe)?;
    let mut displaced = DisplacedReader::open(displaced)?;
    let mut number = 0;
    while let Some(record) = recipe.next()? {
        match record {
            Record::Literal(bytes) => out.bytes(&bytes)?,
            Record::File { path, pieces } => {
                let what = || format!("file {} of the layer", shown(&path));
                match &mut displaced {
                    Some(d) if d.next == number => d.copy(out).with_context(what)?,
                    _ => {
                        let file = open_regular(&root, &path).with_context(what)?;
                        gather_pieces(&file, &pieces, out).with_context(what)?;
                    }
                }
                number += 1;
            }
        }
    }
    Ok(())
}

/// Reads pieces of a file straight into the buffers of `out`.
fn gather_pieces(file: &File, pieces: &[(u64, u64)], out: &mut Gather<'_>) -> Result<()> {
    for &(offset, len) in pieces {
        let mut done = 0;
        while done < len {
            let room = out.room();
            let want = room.len().min(usize::try_from(len - done).unwrap_or(usize::MAX));
            match file.read_at(&mut room[..want], offset + done) {
                Ok(0) => return Err(Error::new(ErrorKind::DataLoss, "it is shorter than it was")),
                Ok(n) => {
                    out.filled(n)?;
                    done += n as u64;
                }
                Err(e) if e.kind() == Io::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// Gathers a tar in pooled buffers, hashes it, and hands each full buffer on.
pub(crate) struct Gather<'a> {
    pool: &'a Arc<Pool>,
    chunk: Option<(Chunk, usize)>,
    hash: DigestWriter,
    full: &'a mut dyn FnMut(Chunk, usize) -> Result<()>,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(pool: &'a Arc<Pool>, full: &'a mut dyn FnMut(Chunk, usize) -> Result<()>) -> Self {
        Self { pool, chunk: None, hash: DigestWriter::new(), full }
    }
    /// Room for at least one byte.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let pool = self.pool;
        let (chunk, at) = self.chunk.get_or_insert_with(|| (pool.take(), 0));
        &mut chunk.space()[*at..]
    }
    /// Says that the first `n` bytes of the room were filled.
    pub(crate) fn filled(&mut self, n: usize) -> Result<()> {
        let Some((chunk, at)) = &mut self.chunk else { return Ok(()) };
        *at += n;
        if *at == chunk.space().len() { self.hand_on() } else { Ok(()) }
    }
    fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.room();
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.filled(n)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }
    fn hand_on(&mut self) -> Result<()> {
        let Some((mut chunk, len)) = self.chunk.take() else { return Ok(()) };
        self.hash.update(&chunk.space()[..len]);
        (self.full)(chunk, len)
    }
    /// Hands the rest on; gives digest and size of all.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64)> {
        self.hand_on()?;
        Ok(self.hash.finish())
    }
}

impl Store {
    /// Writes a layer's uncompressed tar, byte for byte as it was received. Fails, after writing, if what
    /// is on disk no longer gives those bytes.
    pub fn rebuild_layer(&self, diff_id: &Digest, out: &mut dyn Write) -> Result<()> {
        if self.inner.db.layer(diff_id)?.is_none() {
            return Err(Error::not_found(format!("no such layer: {diff_id}")));
        }
        let pool = Pool::new(1);
        let what = || format!("rebuild layer {}", diff_id.short());
        let mut write = |mut chunk: Chunk, len: usize| Ok(out.write_all(&chunk.space()[..len])?);
        rebuild_checked(self.paths(), diff_id, &pool, &mut write)?;
        out.flush().with_context(what)
    }
}

/// [`rebuild`] with the digest compared; returns the size of the tar.
pub(crate) fn rebuild_checked(
    paths: &Paths,
    diff_id: &Digest,
    pool: &Arc<Pool>,
    full: &mut dyn FnMut(Chunk, usize) -> Result<()>,
) -> Result<u64> {
    let what = || format!("rebuild layer {}", diff_id.short());
    let mut out = Gather::new(pool, full);
    rebuild(&paths.layer(diff_id), &paths.recipe(diff_id), &paths.displaced(diff_id), &mut out).with_context(what)?;
    let (got, size) = out.finish().with_context(what)?;
    if got == *diff_id {
        return Ok(size);
    }
    Err(Error::new(
        ErrorKind::DataLoss,
        format!(
            "layer {} is damaged: its files were changed; remove the images that use it and load them again",
            diff_id.short()
        ),
    ))
}
