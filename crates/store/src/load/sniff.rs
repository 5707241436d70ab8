//! What a file is, by its first bytes.

use crate::tar::header::{BLOCK, Header};

/// What starts with these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Gzip,
    Zstd,
    /// A tar, as far as its first block tells.
    Tar,
    /// A compression that is not supported, and the program which undoes it.
    Unsupported(&'static str, &'static str),
    Other,
}

/// How many bytes must be looked at.
pub(crate) const LOOK: usize = BLOCK;

/// Judges a file by its first [`LOOK`] bytes, or all of it if it is shorter.
pub(crate) fn sniff(start: &[u8]) -> Content {
    match start {
        [0x1f, 0x8b, ..] => Content::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Content::Zstd,
        [b'B', b'Z', b'h', ..] => Content::Unsupported("bzip2", "bzip2 -d"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Content::Unsupported("xz", "xz -d"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Content::Unsupported("lz4", "lz4 -d"),
        _ => match start.first_chunk::<BLOCK>() {
            Some(block) if Header(block).is_zero() || Header(block).checksum_holds() => Content::Tar,
            _ => Content::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_first_bytes() {
        let zero = [0; BLOCK];
        let mut header = ::tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_size(0);
        header.set_cksum();
        for (bytes, want) in [
            (&b"\x1f\x8b\x08"[..], Content::Gzip),
            (b"\x28\xb5\x2f\xfd....", Content::Zstd),
            (b"\x50\x2a\x4d\x18", Content::Zstd),
            (b"BZh9", Content::Unsupported("bzip2", "bzip2 -d")),
            (&zero, Content::Tar),
            (header.as_bytes(), Content::Tar),
            (b"{\"a\":1}", Content::Other),
            (b"", Content::Other),
            (&[b'x'; BLOCK], Content::Other),
        ] {
            assert_eq!(sniff(bytes), want, "{:?}", &bytes[..bytes.len().min(8)]);
        }
    }
}
