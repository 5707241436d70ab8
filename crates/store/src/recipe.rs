//! Recipes: what is needed, beside a layer's tree, to write its tar again byte for byte.
//!
//! A recipe is a zstd stream of records: bytes to copy, and references to the content of files in the
//! tree. Content that a later entry of the same archive replaced is kept in a second file. Writing the
//! tar is the business of `rebuild`.

use crate::rebuild::Gather;
use dhow_types::{Context as _, Error, ErrorKind, Result};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind as Io, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The first bytes of a recipe, and of a file of replaced content.
const MAGIC: &[u8; 8] = b"dhowrcp1";
/// Level 1 packs headers nearly as well as higher ones and needs a third of the time and memory.
const LEVEL: i32 = 1;
/// Literal bytes per record.
const MAX_LITERAL: usize = 64 << 10;
/// Pieces of one file a reader accepts; the tar reader's own bound is the same.
const MAX_PIECES: u32 = 1 << 16;

const END: u8 = 0;
const LITERAL: u8 = 1;
const FILE: u8 = 2;
/// CRC-32 of the content that the file record before it means. Recipes without it are read as well.
const SUM: u8 = 3;

/// A record as read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Literal(Vec<u8>),
    /// Pieces (offset, length) of the file at `path`.
    File {
        path: Vec<u8>,
        pieces: Vec<(u64, u64)>,
    },
    /// The checksum of the file before it: it names the file that was damaged, where the digest only says that one was.
    Sum(u32),
}

/// Writes a recipe.
pub(crate) struct Writer {
    out: zstd::Encoder<'static, BufWriter<File>>,
    literal: Vec<u8>,
    /// Records of files so far.
    files: u64,
}

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).with_context(|| format!("create {}", path.display()))?;
        let mut out = zstd::Encoder::new(BufWriter::with_capacity(64 << 10, file), LEVEL)?;
        // So that a damaged recipe is told from a damaged tree.
        out.include_checksum(true)?;
        out.write_all(MAGIC)?;
        Ok(Self { out, literal: Vec::with_capacity(MAX_LITERAL), files: 0 })
    }

    /// Bytes that are not in the tree.
    pub(crate) fn literal(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(MAX_LITERAL - self.literal.len());
            self.literal.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.literal.len() == MAX_LITERAL {
                self.flush_literal()?;
            }
        }
        Ok(())
    }

    /// The content of a file in the tree; returns the record's number.
    pub(crate) fn file(&mut self, path: &[u8], pieces: &[(u64, u64)]) -> Result<u64> {
        self.flush_literal()?;
        self.out.write_all(&[FILE])?;
        self.out.write_all(&(path.len() as u32).to_le_bytes())?;
        self.out.write_all(path)?;
        self.out.write_all(&(pieces.len() as u32).to_le_bytes())?;
        for (offset, len) in pieces {
            self.out.write_all(&offset.to_le_bytes())?;
            self.out.write_all(&len.to_le_bytes())?;
        }
        self.files += 1;
        Ok(self.files - 1)
    }

    /// The checksum of the file that was recorded last.
    pub(crate) fn sum(&mut self, sum: u32) -> Result<()> {
        self.out.write_all(&[SUM])?;
        self.out.write_all(&sum.to_le_bytes())?;
        Ok(())
    }

    /// How many files were recorded so far.
    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    fn flush_literal(&mut self) -> Result<()> {
        if !self.literal.is_empty() {
            self.out.write_all(&[LITERAL])?;
            self.out.write_all(&(self.literal.len() as u32).to_le_bytes())?;
            self.out.write_all(&self.literal)?;
            self.literal.clear();
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush_literal()?;
        self.out.write_all(&[END])?;
        self.out.finish()?.flush()?;
        Ok(())
    }
}

/// Reads a recipe.
pub(crate) struct Reader {
    input: BufReader<zstd::Decoder<'static, BufReader<File>>>,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut input = BufReader::new(zstd::Decoder::new(file)?);
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| damaged())?;
        if magic != *MAGIC {
            return Err(damaged());
        }
        Ok(Self { input })
    }

    fn u32(&mut self) -> Result<u32> {
        let mut b = [0; 4];
        self.input.read_exact(&mut b).map_err(|_| damaged())?;
        Ok(u32::from_le_bytes(b))
    }
    fn u64(&mut self) -> Result<u64> {
        let mut b = [0; 8];
        self.input.read_exact(&mut b).map_err(|_| damaged())?;
        Ok(u64::from_le_bytes(b))
    }
    fn bytes(&mut self, limit: usize) -> Result<Vec<u8>> {
        let len = self.u32()? as usize;
        if len > limit {
            return Err(damaged());
        }
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes).map_err(|_| damaged())?;
        Ok(bytes)
    }

    /// The next record, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>> {
        let mut kind = [0];
        self.input.read_exact(&mut kind).map_err(|_| damaged())?;
        match kind[0] {
            // The checksum of the whole stream stands behind its end.
            END => match self.input.read(&mut [0]) {
                Ok(0) => Ok(None),
                _ => Err(damaged()),
            },
            LITERAL => Ok(Some(Record::Literal(self.bytes(MAX_LITERAL)?))),
            FILE => {
                let path = self.bytes(crate::names::MAX_NAME)?;
                let count = self.u32()?;
                if count > MAX_PIECES {
                    return Err(damaged());
                }
                let pieces = (0..count).map(|_| Ok((self.u64()?, self.u64()?))).collect::<Result<Vec<_>>>()?;
                // Sums of offsets and lengths are made without further looks.
                let fits = |end: u64, p: &(u64, u64)| end.checked_add(p.1).filter(|_| p.0.checked_add(p.1).is_some());
                pieces.iter().try_fold(0, fits).ok_or_else(damaged)?;
                Ok(Some(Record::File { path, pieces }))
            }
            SUM => Ok(Some(Record::Sum(self.u32()?))),
            _ => Err(damaged()),
        }
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::DataLoss, "the recipe is damaged")
}

/// Content that later entries replaced, in the order of the records that need it.
pub(crate) struct DisplacedWriter {
    out: zstd::Encoder<'static, BufWriter<File>>,
}

impl DisplacedWriter {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).with_context(|| format!("create {}", path.display()))?;
        let mut out = zstd::Encoder::new(BufWriter::new(file), LEVEL)?;
        out.include_checksum(true)?;
        out.write_all(MAGIC)?;
        Ok(Self { out })
    }
    /// The content for file record `number`.
    pub(crate) fn add(&mut self, number: u64, file: &File, pieces: &[(u64, u64)]) -> Result<()> {
        self.out.write_all(&number.to_le_bytes())?;
        self.out.write_all(&pieces.iter().map(|p| p.1).sum::<u64>().to_le_bytes())?;
        copy_pieces(file, pieces, &mut self.out)
    }
    pub(crate) fn finish(mut self) -> Result<()> {
        self.out.write_all(&u64::MAX.to_le_bytes())?;
        self.out.finish()?.flush()?;
        Ok(())
    }
}

/// Reads what [`DisplacedWriter`] wrote.
pub(crate) struct DisplacedReader {
    input: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    /// The record that needs the next content.
    pub(crate) next: u64,
}

impl DisplacedReader {
    /// None if nothing was replaced.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(f) => f,
            Err(e) if e.kind() == Io::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("open {}", path.display())),
        };
        let mut input = BufReader::new(zstd::Decoder::new(file)?);
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| damaged())?;
        let mut this = Self { input, next: 0 };
        this.next = this.number()?;
        Ok(Some(this))
    }
    fn number(&mut self) -> Result<u64> {
        let mut b = [0; 8];
        self.input.read_exact(&mut b).map_err(|_| damaged())?;
        Ok(u64::from_le_bytes(b))
    }
    /// Copies the content that comes next.
    pub(crate) fn copy(&mut self, out: &mut Gather<'_>) -> Result<()> {
        let mut left = self.number()?;
        while left > 0 {
            let room = out.room();
            let want = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.input.read(&mut room[..want]) {
                Ok(0) => return Err(damaged()),
                Ok(n) => {
                    out.filled(n)?;
                    left -= n as u64;
                }
                Err(e) if e.kind() == Io::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.next = self.number()?;
        Ok(())
    }
}

/// Copies pieces of a file; the file being shorter than it was is an error.
fn copy_pieces(file: &File, pieces: &[(u64, u64)], out: &mut dyn Write) -> Result<()> {
    let longest = pieces.iter().map(|p| p.1).max().unwrap_or(0).min(256 << 10) as usize;
    let mut buffer = vec![0; longest];
    for &(offset, len) in pieces {
        let mut done = 0;
        while done < len {
            let want = buffer.len().min(usize::try_from(len - done).unwrap_or(usize::MAX));
            match file.read_at(&mut buffer[..want], offset + done) {
                Ok(0) => return Err(Error::new(ErrorKind::DataLoss, "it is shorter than it was")),
                Ok(n) => {
                    out.write_all(&buffer[..n])?;
                    done += n as u64;
                }
                Err(e) if e.kind() == Io::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut w = Writer::create(&path).unwrap();
        let long = vec![7u8; 2 * MAX_LITERAL + 5];
        w.literal(b"ab").unwrap();
        w.literal(b"c").unwrap();
        assert_eq!(w.file(b"x/y", &[(0, 3)]).unwrap(), 0);
        w.sum(0x1234_5678).unwrap();
        w.literal(&long).unwrap();
        assert_eq!(w.file(b"z", &[]).unwrap(), 1);
        w.finish().unwrap();
        let mut r = Reader::open(&path).unwrap();
        assert_eq!(r.next().unwrap(), Some(Record::Literal(b"abc".to_vec())));
        assert_eq!(r.next().unwrap(), Some(Record::File { path: b"x/y".to_vec(), pieces: vec![(0, 3)] }));
        assert_eq!(r.next().unwrap(), Some(Record::Sum(0x1234_5678)));
        let mut got = Vec::new();
        loop {
            match r.next().unwrap() {
                Some(Record::Literal(l)) => got.extend(l),
                other => {
                    assert_eq!(other, Some(Record::File { path: b"z".to_vec(), pieces: vec![] }));
                    break;
                }
            }
        }
        assert_eq!(got, long);
        assert_eq!(r.next().unwrap(), None);
    }

    #[test]
    fn damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        std::fs::write(&path, zstd::encode_all(&b"dhowrcp1\x09"[..], 1).unwrap()).unwrap();
        assert_eq!(Reader::open(&path).unwrap().next().unwrap_err().kind(), ErrorKind::DataLoss);
        std::fs::write(&path, zstd::encode_all(&b"dhowrcp1\x01\xff\xff\xff\xff"[..], 1).unwrap()).unwrap();
        assert!(Reader::open(&path).unwrap().next().is_err());
        std::fs::write(&path, b"garbage").unwrap();
        assert!(Reader::open(&path).is_err());
    }
}
