//! Bytes of a form on their way out: hashed from the first one on, handed on from an offset on.

use dhow_types::{Digest, DigestWriter, Result};

/// Who takes them: the bytes, and how much of the layer's tar is in all that went so far.
pub(super) type Out<'a> = &'a mut dyn FnMut(Vec<u8>, u64) -> Result<()>;

pub(super) struct Skip<'a> {
    hash: DigestWriter,
    left: u64,
    out: Out<'a>,
}

impl<'a> Skip<'a> {
    /// Hands on what comes after the first `from` bytes.
    pub(super) fn new(from: u64, out: Out<'a>) -> Self {
        Self { hash: DigestWriter::new(), left: from, out }
    }

    pub(super) fn bytes(&mut self, mut bytes: Vec<u8>, tar: u64) -> Result<()> {
        self.hash.update(&bytes);
        let skipped = self.left.min(bytes.len() as u64);
        self.left -= skipped;
        if skipped > 0 {
            bytes.drain(..skipped as usize);
        }
        if bytes.is_empty() { Ok(()) } else { (self.out)(bytes, tar) }
    }

    /// Digest and size of all.
    pub(super) fn finish(self) -> (Digest, u64) {
        self.hash.finish()
    }
}
