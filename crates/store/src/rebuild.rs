//! A layer's tar, written again from its tree and its recipe, and compared with its digest.
//!
//! Bytes of files are read straight into the buffers that are handed on; nothing here says where they go.

use crate::load::pipe::{Chunk, Pool};
use crate::names::shown;
use crate::recipe::{DisplacedReader, Reader, Record};
use crate::{Paths, Store};
use dhow_types::{Context as _, Digest, DigestWriter, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind as Io, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// What is wrong with the content of a file of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not there, or no regular file any more.
    Missing,
    /// It ends before its recorded end.
    Short,
    /// Its bytes have another checksum than they had.
    Changed,
    /// It cannot be read; the text says why.
    Unreadable(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Short => "is shorter than it was",
            Self::Changed => "has other bytes than it had",
            Self::Unreadable(why) => return write!(f, "cannot be read: {why}"),
        })
    }
}

/// Opens the regular file at `path` below `root`, through no link of any sort.
pub(crate) fn open_regular(root: impl AsFd, path: &[u8]) -> Result<File, Fault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let unreadable = |e: std::io::Error| Fault::Unreadable(Error::from(e).text().to_owned());
    let file = match openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Err(Fault::Missing),
        Err(e) => return Err(unreadable(e.into())),
    };
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        Ok(_) => Err(Fault::Missing),
        Err(e) => Err(unreadable(e)),
    }
}

/// Where a layer's parts are.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub tree: PathBuf,
    pub recipe: PathBuf,
    pub displaced: PathBuf,
    /// How many bytes are made up at most where files are faulty: a damaged recipe may ask for any number of them.
    pub most: u64,
}

impl Source {
    pub(crate) fn of(paths: &Paths, diff_id: &Digest) -> Self {
        let (tree, recipe) = (paths.layer(diff_id), paths.recipe(diff_id));
        Self { tree, recipe, displaced: paths.displaced(diff_id), most: u64::MAX }
    }
    /// The same with a bound on what is made up.
    pub(crate) fn at_most(self, most: u64) -> Self {
        Self { most, ..self }
    }
}

/// A file of a layer as its recipe knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub path: Vec<u8>,
    /// Bytes in the archive: those of all pieces.
    pub length: u64,
    /// None in recipes that were written without.
    pub sum: Option<u32>,
}

/// Who rebuilds: is told of faulty files and may bring their content from elsewhere.
pub(crate) trait Rebuild {
    /// Another file with the content of this one, asked for before the tree's own is opened.
    fn instead(&mut self, _path: &[u8]) -> Option<File> {
        None
    }
    /// A file is faulty; going on gives a tar of the right length with wrong content, and names all that are.
    fn fault(&mut self, file: &Content, fault: Fault) -> Result<()>;
    /// Whether it goes on after a fault: then zeros stand for the bytes that are missing.
    fn goes_on(&self) -> bool {
        true
    }
    /// A file whose data is not all of it, in one piece.
    fn sparse(&mut self, _path: &[u8]) {}
}

/// Stops at the first fault.
pub(crate) struct Strict;

impl Rebuild for Strict {
    fn fault(&mut self, file: &Content, fault: Fault) -> Result<()> {
        let text = format!("it is damaged: file {} {fault} (see dhow system check)", shown(&file.path));
        Err(Error::new(ErrorKind::DataLoss, text))
    }
    fn goes_on(&self) -> bool {
        false
    }
}

/// Writes the tar again into `out`. Checks nothing but what the recipe says of each file: the caller compares digests.
pub(crate) fn rebuild(from: &Source, out: &mut Gather<'_>, by: &mut dyn Rebuild) -> Result<()> {
    let root = OwnedFd::from(File::open(&from.tree).with_context(|| format!("open {}", from.tree.display()))?);
    let mut recipe = Reader::open(&from.recipe)?;
    let mut displaced = DisplacedReader::open(&from.displaced)?;
    let mut number = 0;
    let mut left = from.most;
    // The file before, its fault already told or not, until its checksum comes.
    let mut last: Option<(Content, Copied)> = None;
    loop {
        let record = recipe.next()?;
        if let Some((mut file, copied)) = last.take() {
            if let Some(Record::Sum(sum)) = &record {
                file.sum = Some(*sum);
            }
            match copied {
                Copied::Faulty(fault) => by.fault(&file, fault)?,
                Copied::Whole(got) if file.sum.is_some_and(|sum| sum != got) => by.fault(&file, Fault::Changed)?,
                Copied::Whole(_) => {}
            }
        }
        match record {
            None => return Ok(()),
            Some(Record::Literal(bytes)) => out.bytes(&bytes)?,
            Some(Record::Sum(_)) => {}
            Some(Record::File { path, pieces }) => {
                match &mut displaced {
                    Some(d) if d.next == number => {
                        d.copy(out).with_context(|| format!("replaced content of {}", shown(&path)))?;
                    }
                    _ => {
                        if !matches!(pieces.as_slice(), [(0, _)]) {
                            by.sparse(&path);
                        }
                        let length = pieces.iter().map(|p| p.1).sum();
                        let fill = by.goes_on().then_some(&mut left);
                        let copied = match by.instead(&path) {
                            // It has the pieces one behind the other.
                            Some(file) => gather_pieces(Ok(&file), &[(0, length)], out, fill)?,
                            None => {
                                let file = open_regular(&root, &path);
                                gather_pieces(file.as_ref().map_err(Clone::clone), &pieces, out, fill)?
                            }
                        };
                        last = Some((Content { path, length, sum: None }, copied));
                    }
                }
                number += 1;
            }
        }
    }
}

/// What came of copying a file's content.
enum Copied {
    /// The checksum of what was copied.
    Whole(u32),
    /// The rest was made up of zeros, if that was wanted, so that what follows stays in its place.
    Faulty(Fault),
}

/// Reads pieces of a file straight into the buffers of `out`; where there is none, zeros, as many as `fill` has.
fn gather_pieces(
    file: Result<&File, Fault>,
    pieces: &[(u64, u64)],
    out: &mut Gather<'_>,
    mut fill: Option<&mut u64>,
) -> Result<Copied> {
    let mut sum = flate2::Crc::new();
    let (file, mut fault) = match file {
        Ok(file) => (Some(file), None),
        Err(fault) => (None, Some(fault)),
    };
    for &(offset, len) in pieces {
        let mut done = 0;
        while done < len {
            let room = out.room();
            let want = room.len().min(usize::try_from(len - done).unwrap_or(usize::MAX));
            let read = match (file, &fault) {
                (Some(file), None) => file.read_at(&mut room[..want], offset + done),
                _ => {
                    let Some(left) = &mut fill else { return Ok(Copied::Faulty(fault.unwrap_or(Fault::Missing))) };
                    **left = left.checked_sub(want as u64).ok_or_else(|| {
                        Error::new(
                            ErrorKind::DataLoss,
                            "the recipe is damaged: it wants more bytes than a layer may have",
                        )
                    })?;
                    room[..want].fill(0);
                    Ok(want)
                }
            };
            match read {
                Ok(0) => fault = Some(Fault::Short),
                Ok(n) => {
                    sum.update(&room[..n]);
                    out.filled(n)?;
                    done += n as u64;
                }
                Err(e) if e.kind() == Io::Interrupted => {}
                Err(e) => fault = Some(Fault::Unreadable(Error::from(e).text().to_owned())),
            }
        }
    }
    Ok(fault.map_or_else(|| Copied::Whole(sum.sum()), Copied::Faulty))
}

/// The checksum of a file's first `length` bytes; none if it has less.
pub(crate) fn sum_of(file: &File, length: u64) -> Result<Option<u32>> {
    let mut sum = flate2::Crc::new();
    let mut buffer = vec![0; length.min(64 << 10) as usize];
    let mut done = 0;
    while done < length {
        let want = buffer.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
        match file.read_at(&mut buffer[..want], done) {
            Ok(0) => return Ok(None),
            Ok(n) => {
                sum.update(&buffer[..n]);
                done += n as u64;
            }
            Err(e) if e.kind() == Io::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Some(sum.sum()))
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
    rebuild(&Source::of(paths, diff_id), &mut out, &mut Strict).with_context(what)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    struct GoesOn(usize);

    impl Rebuild for GoesOn {
        fn fault(&mut self, _: &Content, _: Fault) -> Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    /// A recipe that asks for bytes which no file has is followed only so far.
    #[test]
    fn what_is_made_up_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        for (length, fine) in [(1000, true), (1001, false), (u64::MAX >> 1, false)] {
            let (tree, recipe) = (dir.path().join("tree"), dir.path().join(format!("recipe-{length}")));
            std::fs::create_dir_all(&tree).unwrap();
            let mut writer = crate::recipe::Writer::create(&recipe).unwrap();
            writer.file(b"missing", &[(0, length)]).unwrap();
            writer.finish().unwrap();
            let from = Source { tree, recipe, displaced: dir.path().join("none"), most: 1000 };
            let pool = Pool::new(1);
            let mut full = |_, _| Ok(());
            let mut by = GoesOn(0);
            let rebuilt = rebuild(&from, &mut Gather::new(&pool, &mut full), &mut by);
            assert_eq!(rebuilt.is_ok(), fine, "{length}: {rebuilt:?}");
            assert_eq!(by.0, usize::from(fine), "{length}");
            assert!(rebuild(&from, &mut Gather::new(&pool, &mut full), &mut Strict).is_err(), "{length}");
        }
    }
}
