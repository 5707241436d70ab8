//! One 512-byte header block: fields, numbers, checksum.
//!
//! Rule: POSIX.1-2001 ustar, GNU tar's and star's extensions; where readers differ this one does what
//! Go's archive/tar does, since Docker and containerd unpack with that.

use dhow_types::{Error, Result};

/// The size of everything in a tar.
pub(crate) const BLOCK: usize = 512;

/// A header block.
pub(crate) struct Header<'a>(pub &'a [u8; BLOCK]);

/// Which extensions a header speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Header<'_> {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|&b| b == 0)
    }

    /// Whether the checksum holds, over unsigned or (as some old programs wrote it) signed bytes.
    pub(crate) fn checksum_holds(&self) -> bool {
        let Ok(want) = number(&self.0[148..156]) else { return false };
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (i, &b) in self.0.iter().enumerate() {
            let b = if (148..156).contains(&i) { b' ' } else { b };
            unsigned += i64::from(b);
            signed += i64::from(b as i8);
        }
        want == unsigned || want == signed
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match (&self.0[257..263], &self.0[263..265], &self.0[508..512]) {
            (b"ustar\0", b"00", b"tar\0") => Dialect::Star,
            (b"ustar\0", b"00", _) => Dialect::Ustar,
            (b"ustar ", b" \0", _) => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with the prefix of the dialects that have one.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { crate::names::join(prefix, name) }
    }

    pub(crate) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }
    pub(crate) fn mode(&self) -> Result<i64> {
        number(&self.0[100..108])
    }
    pub(crate) fn uid(&self) -> Result<i64> {
        number(&self.0[108..116])
    }
    pub(crate) fn gid(&self) -> Result<i64> {
        number(&self.0[116..124])
    }
    pub(crate) fn size(&self) -> Result<i64> {
        number(&self.0[124..136])
    }
    pub(crate) fn mtime(&self) -> Result<i64> {
        number(&self.0[136..148])
    }
    /// Major and minor number; only extended headers have them.
    pub(crate) fn device(&self) -> Result<(i64, i64)> {
        match self.dialect() {
            Dialect::V7 => Ok((0, 0)),
            _ => Ok((number(&self.0[329..337])?, number(&self.0[337..345])?)),
        }
    }
}

/// Up to the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// Octal digits between spaces and NULs, or big-endian two's complement if the first bit is set.
pub(crate) fn number(field: &[u8]) -> Result<i64> {
    let bad = || Error::invalid("a number in a header is malformed or too large");
    if let Some(&first) = field.first()
        && first & 0x80 != 0
    {
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (i, &b) in field.iter().enumerate() {
            let b = match i {
                0 if negative => b | 0x80,
                0 => b & 0x7f,
                _ => b,
            };
            value = value.checked_mul(256).ok_or_else(bad)? + i128::from(b);
        }
        return i64::try_from(value).map_err(|_| bad());
    }
    let field = field.trim_ascii_start();
    let is_pad = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !is_pad(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().rposition(|b| !is_pad(b)).map_or(0, |p| p + 1);
    let digits = text(&digits[..end]);
    let mut value: i64 = 0;
    for &b in digits {
        if !(b'0'..=b'7').contains(&b) {
            return Err(bad());
        }
        value = value.checked_mul(8).and_then(|v| v.checked_add(i64::from(b - b'0'))).ok_or_else(bad)?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, want) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77777777777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\x00", Some(-256)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"0x10\0", None),
        ] {
            assert_eq!(number(field).ok(), want, "{field:?}");
        }
    }
}
