//! A bound on what is read while planning: a small archive can name a large document very often.

use super::plan::Files;
use dhow_types::{Digest, Error, ErrorKind, Result};
use std::cell::Cell;

/// Bytes of documents that are read for one archive; a document that is named twice counts twice.
const MAX_READ: usize = 32 << 20;

/// Runs a plan over files that run out when too much was read of them.
pub(crate) fn metered<T>(files: &dyn Files, plan: impl FnOnce(&dyn Files) -> Result<T>) -> Result<T> {
    let metered = Metered { files, left: Cell::new(Some(MAX_READ)) };
    let planned = plan(&metered);
    if metered.left.get().is_none() {
        return Err(Error::new(
            ErrorKind::Exhausted,
            format!("the archive names its documents over and over: more than {MAX_READ} bytes of documents are read"),
        ));
    }
    planned
}

struct Metered<'a> {
    files: &'a dyn Files,
    left: Cell<Option<usize>>,
}

impl Metered<'_> {
    fn spend<'d>(&self, document: Option<&'d [u8]>) -> Option<&'d [u8]> {
        let bytes = document?;
        self.left.set(self.left.get().and_then(|left| left.checked_sub(bytes.len())));
        self.left.get().map(|_| bytes)
    }
}

impl Files for Metered<'_> {
    fn document(&self, name: &[u8]) -> Option<&[u8]> {
        self.spend(self.files.document(name))
    }
    fn document_with(&self, digest: &Digest) -> Option<&[u8]> {
        self.spend(self.files.document_with(digest))
    }
    fn layer(&self, name: &[u8]) -> Option<usize> {
        self.files.layer(name)
    }
    fn layer_with(&self, digest: &Digest) -> Option<usize> {
        self.files.layer_with(digest)
    }
    fn diff_id(&self, layer: usize) -> Result<Digest> {
        self.files.diff_id(layer)
    }
}
