//! Writing tar archives as they stream by: ustar headers, and pax records where ustar has no room.
//!
//! Rule: POSIX.1-2001 pax; `SCHILY.xattr.` of star for extended attributes. The same entries give the same bytes,
//! whoever writes them and when. Nothing here touches a file system.

use super::header::BLOCK;
use super::{Entry, Kind};
use crate::names::shown;
use dhow_types::{Context as _, Error, Result};
use std::io::Write;

/// The largest numbers that octal digits have room for.
const MAX_ID: u32 = 0o7_777_777;
const MAX_DEVICE: u32 = 0o7_777_777;
const MAX_LONG: u64 = 0o77_777_777_777;
/// The longest name of a ustar header, and the longest prefix.
const NAME: usize = 100;
const PREFIX: usize = 155;
/// Zeros for the end of an entry and of an archive.
const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes entries to `out`.
pub(crate) struct TarWriter<W: Write> {
    out: W,
    /// Bytes of data and of padding that the current entry still needs.
    data: u64,
    padding: usize,
    /// The current entry's name, for errors.
    name: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// An archive that begins where `out` stands. `out` should be buffered: headers are written in small pieces.
    pub(crate) fn new(out: W) -> Self {
        Self { out, data: 0, padding: 0, name: Vec::new() }
    }

    /// Begins an entry. Its `size` bytes of data must follow before the next one begins; a directory's name gets
    /// its slash here. Fails on what no archive can say: a NUL in a name, an attribute with `=` in its name.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.whole()?;
        self.name.clone_from(&entry.name);
        self.header(entry).with_context(|| format!("archive {}", shown(&entry.name)))
    }

    /// Data of the current entry.
    pub(crate) fn data(&mut self, data: &[u8]) -> Result<()> {
        let left = self
            .data
            .checked_sub(data.len() as u64)
            .ok_or_else(|| Error::system(format!("archive {}: more data than its header says", shown(&self.name))))?;
        self.out.write_all(data)?;
        self.data = left;
        if left == 0 {
            self.out.write_all(&ZEROS[..std::mem::take(&mut self.padding)])?;
        }
        Ok(())
    }

    /// Bytes of data that the current entry still needs.
    pub(crate) fn missing(&self) -> u64 {
        self.data
    }

    /// Ends the archive and gives back what it was written to, flushed.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.whole()?;
        self.out.write_all(&ZEROS)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn whole(&self) -> Result<()> {
        if self.data == 0 {
            return Ok(());
        }
        Err(Error::system(format!("archive {}: {} bytes less than its header says", shown(&self.name), self.data)))
    }

    fn header(&mut self, entry: &Entry) -> Result<()> {
        if entry.sparse.is_some() {
            return Err(Error::system("a file with holes is written with its holes filled"));
        }
        let mut name = entry.name.clone();
        if entry.kind == Kind::Dir && name.last() != Some(&b'/') {
            name.push(b'/');
        }
        for (what, text) in [("name", &name), ("link target", &entry.link)] {
            if text.contains(&0) || (text.is_empty() && what == "name") {
                return Err(Error::invalid(format!("the {what} is empty or has a NUL byte")));
            }
        }
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        let records = records(entry, &name, size)?;
        if !records.is_empty() {
            let (_, last) = crate::names::split(name.strip_suffix(b"/").unwrap_or(&name));
            let mut pax_name = b"PaxHeaders/".to_vec();
            pax_name.extend_from_slice(&last[..last.len().min(NAME - pax_name.len())]);
            let mut block = Block::new(b'x', &pax_name);
            block.octal(100..108, 0o644);
            block.octal(124..136, records.len() as u64);
            self.out.write_all(&block.sealed())?;
            self.out.write_all(&records)?;
            self.out.write_all(&ZEROS[..padding(records.len() as u64)])?;
        }
        self.out.write_all(&main_block(entry, &name, size)?)?;
        (self.data, self.padding) = (size, padding(size));
        Ok(())
    }
}

/// Zeros needed behind this many bytes.
fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

fn main_block(entry: &Entry, name: &[u8], size: u64) -> Result<[u8; BLOCK]> {
    let kind = match entry.kind {
        Kind::File => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
    };
    let mut block = match ustar_name(name) {
        Some((prefix, name)) => {
            let mut block = Block::new(kind, name);
            block.0[345..345 + prefix.len()].copy_from_slice(prefix);
            block
        }
        // The record has it whole; this is for readers that pass records over.
        None => Block::new(kind, &name[..NAME]),
    };
    let link = &entry.link[..entry.link.len().min(NAME)];
    if matches!(entry.kind, Kind::Hardlink | Kind::Symlink) {
        block.0[157..157 + link.len()].copy_from_slice(link);
    }
    block.octal(100..108, u64::from(entry.mode & 0o7777));
    // What does not fit is in a record, and zero here.
    block.octal(108..116, fits(entry.uid, MAX_ID));
    block.octal(116..124, fits(entry.gid, MAX_ID));
    block.octal(124..136, if size <= MAX_LONG { size } else { 0 });
    block.octal(136..148, u64::try_from(entry.mtime.0).ok().filter(|&t| t <= MAX_LONG).unwrap_or(0));
    if matches!(entry.kind, Kind::Char | Kind::Block) {
        let (major, minor) = entry.device;
        if major > MAX_DEVICE || minor > MAX_DEVICE {
            return Err(Error::invalid(format!("device number {major}:{minor} is too large for an archive")));
        }
        block.octal(329..337, major.into());
        block.octal(337..345, minor.into());
    }
    Ok(block.sealed())
}

fn fits(id: u32, max: u32) -> u64 {
    if id <= max { id.into() } else { 0 }
}

/// A header block being filled.
struct Block([u8; BLOCK]);

impl Block {
    fn new(kind: u8, name: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let mut block = Self(block);
        for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
            block.octal(field, 0);
        }
        block
    }

    /// Octal digits that fill the field but for a final NUL. The value fits: callers see to it.
    fn octal(&mut self, field: std::ops::Range<usize>, mut value: u64) {
        let digits = &mut self.0[field];
        let last = digits.len() - 1;
        digits[last] = 0;
        for digit in digits[..last].iter_mut().rev() {
            *digit = b'0' + (value & 7) as u8;
            value >>= 3;
        }
    }

    fn sealed(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|&b| u64::from(b)).sum();
        self.octal(148..155, sum);
        self.0
    }
}

/// Prefix and name, if ustar has room for them and nobody could read their letters differently.
fn ustar_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    // The cut is at a slash that belongs to neither side; a directory's last one is not such a slash.
    let at = name.len().checked_sub(NAME + 1)?;
    let cut = at + name[at..name.len() - 1].iter().position(|&b| b == b'/')?;
    (cut > 0 && cut <= PREFIX).then(|| (&name[..cut], &name[cut + 1..]))
}

/// The pax records an entry needs, sorted by their keys.
fn records(entry: &Entry, name: &[u8], size: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut xattrs: Vec<&(Vec<u8>, Vec<u8>)> = entry.xattrs.iter().collect();
    xattrs.sort();
    for (key, value) in xattrs {
        if key.is_empty() || key.contains(&0) || key.contains(&b'=') {
            return Err(Error::invalid(format!("archives have no way to say the attribute name {:?}", shown(key))));
        }
        record(&mut out, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
    if entry.gid > MAX_ID {
        record(&mut out, b"gid", entry.gid.to_string().as_bytes());
    }
    // Letters beyond ASCII are declared as UTF-8 by being in a record; other bytes stay as they are if they fit.
    let declared = |text: &[u8]| !text.is_ascii() && std::str::from_utf8(text).is_ok();
    let linked = matches!(entry.kind, Kind::Hardlink | Kind::Symlink);
    if linked && (entry.link.len() > NAME || declared(&entry.link)) {
        record(&mut out, b"linkpath", &entry.link);
    }
    let (seconds, nanos) = entry.mtime;
    if nanos != 0 || u64::try_from(seconds).map_or(true, |s| s > MAX_LONG) {
        record(&mut out, b"mtime", time(seconds, nanos).as_bytes());
    }
    if ustar_name(name).is_none() || declared(name) {
        record(&mut out, b"path", name);
    }
    if size > MAX_LONG {
        record(&mut out, b"size", size.to_string().as_bytes());
    }
    if entry.uid > MAX_ID {
        record(&mut out, b"uid", entry.uid.to_string().as_bytes());
    }
    Ok(out)
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Seconds with as many decimal places as are needed; nanoseconds count forward also before 1970.
fn time(seconds: i64, nanos: u32) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let (sign, whole, fraction) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanos),
        _ => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
    };
    let fraction = format!("{fraction:09}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests;
