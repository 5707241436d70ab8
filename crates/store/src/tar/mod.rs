//! Reading tar archives as they stream by, entry by entry, every byte accounted for.
//!
//! Nothing here touches a file system. What is not file content goes byte for byte to a [`Sink`], so
//! that the archive can be written again later.

pub(crate) mod header;
pub(crate) mod pax;
mod sparse;
pub(crate) mod write;

use crate::names::shown;
use dhow_types::{Error, Result};
use header::{BLOCK, Dialect, Header};
use pax::Pax;
use std::io::BufRead;

/// Takes the bytes of an archive that are not file content.
pub(crate) trait Sink {
    fn literal(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Forgets them.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn literal(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    File,
    Hardlink,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
}

/// An entry: everything the headers before its data said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub kind: Kind,
    /// As written, not cleaned.
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of data that follow.
    pub size: u64,
    /// Where the data belongs, for a file with holes.
    pub sparse: Option<Sparse>,
}

/// A file with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub real_size: u64,
    /// Offset and length of each piece of data, ascending.
    pub map: Vec<(u64, u64)>,
}

/// Reads entries from `input`.
pub(crate) struct Reader<R> {
    input: R,
    /// The largest extended header or long name, and how much all of one entry may be together.
    max_header: usize,
    /// Bytes of the extended headers of the entry that is being read.
    extended: usize,
    /// Bytes of the current entry's data and padding still to come.
    data: u64,
    padding: u64,
    /// The current entry's name, for errors.
    name: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R, max_header: usize) -> Self {
        Self { input, max_header, extended: 0, data: 0, padding: 0, name: Vec::new() }
    }

    /// The next entry, or none at the end of the archive. The data of the one before must be used up.
    pub(crate) fn next(&mut self, sink: &mut dyn Sink) -> Result<Option<Entry>> {
        self.pass_over(sink)?;
        self.extended = 0;
        let mut pax = Pax::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut block = [0; BLOCK];
        loop {
            if !self.block(&mut block, sink)? {
                return Ok(None);
            }
            let header = Header(&block);
            if header.is_zero() {
                // Two zero blocks end an archive; one before the very end is let pass, as everywhere.
                if self.block(&mut block, sink)? && !Header(&block).is_zero() {
                    return Err(Error::invalid("damaged archive: data after a single block of zeros"));
                }
                return Ok(None);
            }
            if !header.checksum_holds() {
                return Err(Error::invalid(format!(
                    "damaged archive: wrong checksum in the header after {}",
                    if self.name.is_empty() { "the start".to_owned() } else { shown(&self.name) }
                )));
            }
            match header.kind() {
                b'x' => {
                    let body = self.body(&header, sink)?;
                    pax.read(&body)?;
                }
                // Go's reader, and so Docker and containerd, gives global records no effect.
                b'g' => drop(self.body(&header, sink)?),
                b'L' => long_name = Some(header::text(&self.body(&header, sink)?).to_vec()),
                b'K' => long_link = Some(header::text(&self.body(&header, sink)?).to_vec()),
                _ => {
                    let entry = self.entry(&header, pax, long_name, long_link, sink)?;
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        sink: &mut dyn Sink,
    ) -> Result<Entry> {
        let filled = |v: Option<Vec<u8>>| v.filter(|v| !v.is_empty());
        let name = filled(long_name).or_else(|| filled(pax.path.take())).unwrap_or_else(|| header.name());
        self.name.clone_from(&name);
        let at = |e: Error| e.prefixed(format_args!("entry {}", shown(&name)));
        let link = filled(long_link).or_else(|| filled(pax.link.take())).unwrap_or_else(|| header.link().to_vec());
        let kind = match header.kind() {
            0 if name.last() == Some(&b'/') => Kind::Dir,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => {
                return Err(at(Error::invalid(format!("unknown type {:?}", char::from(other)))));
            }
        };
        let number = |r: Result<i64>| r.map_err(at);
        let size = match pax.size {
            Some(size) => size,
            None => u64::try_from(number(header.size())?).map_err(|_| at(Error::invalid("negative size")))?,
        };
        if size > i64::MAX as u64 {
            return Err(at(Error::invalid("the size is too large")));
        }
        // Only files have data, whatever the size field of the others says.
        let size = if kind == Kind::File { size } else { 0 };
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let owner = |id: i64, what: &str| {
            // The last number means "leave it" to chown.
            u32::try_from(id)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or_else(|| at(Error::invalid(format!("{what} {id} is out of range 0 to 4294967294"))))
        };
        let uid = owner(pax.uid.map_or_else(|| number(header.uid()), Ok)?, "user id")?;
        let gid = owner(pax.gid.map_or_else(|| number(header.gid()), Ok)?, "group id")?;
        let mtime = match pax.mtime {
            Some(t) => t,
            None => (number(header.mtime())?, 0),
        };
        let device = match kind {
            Kind::Char | Kind::Block => {
                let (major, minor) = header.device().map_err(at)?;
                let part = |n: i64| u32::try_from(n).map_err(|_| at(Error::invalid("a device number is out of range")));
                (part(major)?, part(minor)?)
            }
            _ => (0, 0),
        };
        let mode = (number(header.mode())? & 0o7777) as u32;
        let mut entry = Entry {
            kind,
            name: name.clone(),
            link,
            mode,
            uid,
            gid,
            mtime,
            device,
            xattrs: pax.xattrs,
            size,
            sparse: None,
        };
        if kind == Kind::File {
            if header.kind() == b'S' && header.dialect() == Dialect::Gnu {
                entry.sparse = Some(self.old_sparse(header, sink).map_err(at)?);
            } else if header.kind() == b'S' {
                return Err(at(Error::invalid("a sparse file in a header that is not GNU's")));
            } else if let Some(sparse) = self.pax_sparse(pax.sparse, &mut entry, sink).map_err(at)? {
                entry.sparse = Some(sparse);
            }
            if let Some(s) = &entry.sparse {
                sparse::check(s, self.data).map_err(at)?;
                entry.size = self.data;
            }
        }
        Ok(entry)
    }

    /// The data of an extended header or a long name.
    fn body(&mut self, header: &Header<'_>, sink: &mut dyn Sink) -> Result<Vec<u8>> {
        let size = header.size()?;
        let limit = self.max_header;
        let size = usize::try_from(size)
            .ok()
            .filter(|&s| s <= limit)
            .ok_or_else(|| Error::invalid(format!("an extended header of {size} bytes, the limit is {limit}")))?;
        let padded = size.next_multiple_of(BLOCK);
        // Any number of them may stand before an entry, and what they say adds up in memory.
        self.extended = self.extended.saturating_add(BLOCK + padded);
        if self.extended > limit {
            return Err(Error::invalid(format!("the extended headers of one entry have more than {limit} bytes")));
        }
        let mut body = vec![0; padded];
        self.exactly(&mut body, sink)?;
        body.truncate(size);
        Ok(body)
    }

    /// One block; false at the end of the input. A piece of a block is an error.
    fn block(&mut self, block: &mut [u8; BLOCK], sink: &mut dyn Sink) -> Result<bool> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.exactly(block, sink)?;
        Ok(true)
    }

    fn exactly(&mut self, out: &mut [u8], sink: &mut dyn Sink) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let have = self.input.fill_buf()?;
            if have.is_empty() {
                return Err(self.cut_short());
            }
            let n = have.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&have[..n]);
            self.input.consume(n);
            done += n;
        }
        sink.literal(out)
    }

    fn cut_short(&self) -> Error {
        Error::invalid(match self.name.is_empty() {
            true => "the archive is cut short in its first header".to_owned(),
            false => format!("the archive is cut short at or after entry {}", shown(&self.name)),
        })
    }

    /// The next piece of the current entry's data; empty when it is used up. Say with `used` how much was taken.
    pub(crate) fn piece(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        // Twice, since a borrow that is returned conditionally cannot be given up again.
        if self.input.fill_buf()?.is_empty() {
            return Err(self.cut_short());
        }
        let have = self.input.fill_buf()?;
        let n = usize::try_from(self.data).map_or(have.len(), |d| d.min(have.len()));
        Ok(&have[..n])
    }

    pub(crate) fn used(&mut self, n: usize) {
        self.input.consume(n);
        self.data -= n as u64;
    }

    /// Sends what is left of the current entry, data and padding, to `sink`.
    pub(crate) fn pass_over(&mut self, sink: &mut dyn Sink) -> Result<()> {
        self.data += std::mem::take(&mut self.padding);
        loop {
            let piece = self.piece()?;
            if piece.is_empty() {
                return Ok(());
            }
            sink.literal(piece)?;
            let n = piece.len();
            self.used(n);
        }
    }

    /// Everything behind the end of the archive; it belongs to its digest.
    pub(crate) fn rest(&mut self, sink: &mut dyn Sink) -> Result<()> {
        loop {
            let have = self.input.fill_buf()?;
            if have.is_empty() {
                return Ok(());
            }
            sink.literal(have)?;
            let n = have.len();
            self.input.consume(n);
        }
    }
}
