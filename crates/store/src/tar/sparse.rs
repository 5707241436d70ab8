//! Maps of files with holes, in GNU tar's old format and its pax formats 0.0, 0.1 and 1.0.
//!
//! Rule: GNU tar manual, "Storing Sparse Files". A map must be ascending and fit its data exactly.

use super::header::{BLOCK, Header, number};
use super::pax::{SparseRecords, decimal};
use super::{Entry, Reader, Sink, Sparse};
use dhow_types::{Error, Result};
use std::io::BufRead;

/// The most pieces in one file's map.
const MAX_PIECES: usize = 1 << 16;

fn bad(what: &str) -> Error {
    Error::invalid(format!("malformed sparse map: {what}"))
}

fn too_many() -> Error {
    bad("it has more than 65536 pieces")
}

/// Whether the map is ascending, inside the file, and as long as the data.
pub(super) fn check(sparse: &Sparse, data: u64) -> Result<()> {
    let (mut end, mut total) = (0u64, 0u64);
    for &(offset, len) in &sparse.map {
        let stop = offset.checked_add(len).ok_or_else(|| bad("it wraps around"))?;
        if offset < end || stop > sparse.real_size {
            return Err(bad("its pieces overlap or lie outside of the file"));
        }
        end = stop;
        total += len;
    }
    if total == data { Ok(()) } else { Err(bad("it does not fit the data")) }
}

impl<R: BufRead> Reader<R> {
    /// Four pieces in the header, 21 in each block that follows while a flag says so.
    pub(super) fn old_sparse(&mut self, header: &Header<'_>, sink: &mut dyn Sink) -> Result<Sparse> {
        let unsigned = |field: &[u8]| u64::try_from(number(field)?).map_err(|_| bad("a negative number"));
        let pieces = |bytes: &[u8], map: &mut Vec<(u64, u64)>| -> Result<()> {
            for piece in bytes.chunks_exact(24) {
                if piece[0] == 0 || map.len() == MAX_PIECES {
                    return if piece[0] == 0 { Ok(()) } else { Err(too_many()) };
                }
                map.push((unsigned(&piece[..12])?, unsigned(&piece[12..])?));
            }
            Ok(())
        };
        let mut map = Vec::new();
        pieces(&header.0[386..482], &mut map)?;
        let mut more = header.0[482] != 0;
        let mut block = [0; BLOCK];
        while more {
            self.exactly(&mut block, sink)?;
            pieces(&block[..504], &mut map)?;
            more = block[504] != 0;
        }
        Ok(Sparse { real_size: unsigned(&header.0[483..495])?, map })
    }

    /// What pax records say; format 1.0 has the map before the data, in blocks of decimal lines.
    pub(super) fn pax_sparse(
        &mut self,
        records: SparseRecords,
        entry: &mut Entry,
        sink: &mut dyn Sink,
    ) -> Result<Option<Sparse>> {
        let real_size = match (records.version, records.real_size) {
            ((Some(1), Some(0)), Some(size)) => size,
            ((Some(0) | None, _), Some(size)) if records.map.is_some() => size,
            ((None, None), None) if records.map.is_none() => return Ok(None),
            _ => return Err(bad("its version is unknown or parts are missing")),
        };
        let flat = match records.map {
            Some(map) => map,
            None => self.leading_map(sink)?,
        };
        if flat.len() % 2 != 0 {
            return Err(bad("an odd number of numbers"));
        }
        if flat.len() / 2 > MAX_PIECES {
            return Err(too_many());
        }
        if let Some(name) = records.name.filter(|n| !n.is_empty()) {
            entry.name = name;
        }
        Ok(Some(Sparse { real_size, map: flat.chunks_exact(2).map(|p| (p[0], p[1])).collect() }))
    }

    /// The map in front of the data: the number of pieces, then offset and length of each, one number a line.
    fn leading_map(&mut self, sink: &mut dyn Sink) -> Result<Vec<u64>> {
        let mut text: Vec<u8> = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut block = [0; BLOCK];
        loop {
            if self.data < BLOCK as u64 {
                return Err(bad("it does not fit the data"));
            }
            self.exactly(&mut block, sink)?;
            self.data -= BLOCK as u64;
            for &b in &block {
                if b != b'\n' {
                    text.push(b);
                    if text.len() > 20 {
                        return Err(bad("a number is too long"));
                    }
                    continue;
                }
                numbers.push(decimal(&text).ok_or_else(|| bad("not a number"))?);
                text.clear();
                let want = numbers[0];
                if want > MAX_PIECES as u64 {
                    return Err(too_many());
                }
                if numbers.len() as u64 == 1 + 2 * want {
                    numbers.remove(0);
                    return Ok(numbers);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit() {
        let s = |real_size, map: &[(u64, u64)]| Sparse { real_size, map: map.to_vec() };
        assert!(check(&s(10, &[(0, 2), (8, 2)]), 4).is_ok());
        assert!(check(&s(10, &[(10, 0)]), 0).is_ok());
        for (sparse, data) in [
            (s(10, &[(0, 2)]), 3),
            (s(10, &[(9, 2)]), 2),
            (s(10, &[(4, 2), (0, 2)]), 4),
            (s(10, &[(0, 4), (2, 4)]), 8),
            (s(u64::MAX, &[(u64::MAX, 2)]), 2),
        ] {
            assert!(check(&sparse, data).is_err(), "{sparse:?}");
        }
    }
}
