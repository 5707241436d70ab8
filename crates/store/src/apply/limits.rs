//! Bounds on what one archive may make this machine do.

use crate::space::{self, Reservation};
use dhow_types::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Named bounds. The defaults are far beyond every honest image and far below what would hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one layer, uncompressed.
    pub layer_bytes: u64,
    /// Bytes of all layers of one archive together, uncompressed.
    pub archive_bytes: u64,
    /// Bytes that layers may become for each byte received, all compressions together. gzip alone reaches 1032.
    pub ratio: u64,
    /// Bytes that layers may become before anybody asks for the ratio: a few zeros compress well.
    pub ratio_from: u64,
    /// Entries of one layer.
    pub entries: u64,
    /// Bytes of all extended headers of one entry: long names, attributes, sparse maps.
    pub header_bytes: usize,
    /// Directories one in another. Deleting a tree needs a descriptor for each.
    pub depth: usize,
    /// Entries of one layer that replace earlier ones.
    pub displaced: usize,
    /// Bytes of names of directories remembered until the end of a layer.
    pub directory_bytes: usize,
    /// Entries of the archive itself.
    pub archive_entries: usize,
    /// Bytes of documents (manifests, configurations) and of names in one archive, all together.
    pub document_bytes: usize,
    /// The largest zstd window, as a power of two.
    pub zstd_window_log: u32,
    /// Space that was promised to the write.
    pub space: Option<Reservation>,
}

impl Limits {
    /// The same bounds for a write that has this reservation.
    pub(crate) fn within(&self, space: &Reservation) -> Self {
        Self { space: Some(space.clone()), ..self.clone() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 256 << 30,
            archive_bytes: 1 << 40,
            ratio: 1100,
            ratio_from: 4 << 30,
            entries: 4_000_000,
            header_bytes: 1 << 20,
            depth: 256,
            displaced: 100_000,
            directory_bytes: 24 << 20,
            archive_entries: 20_000,
            document_bytes: 16 << 20,
            zstd_window_log: 27,
            space: None,
        }
    }
}

/// How many bytes are written between two looks at the free space.
const LOOK_EVERY: u64 = 64 << 20;

/// What a layer has used of its limits.
pub(super) struct Budget {
    limits: Limits,
    entries: u64,
    bytes: u64,
    announced: u64,
    next_look: u64,
    fs: OwnedFd,
}

impl Budget {
    pub(super) fn new(limits: &Limits, fs: BorrowedFd<'_>) -> Result<Self> {
        let fs = fs.try_clone_to_owned()?;
        Ok(Self { limits: limits.clone(), entries: 0, bytes: 0, announced: 0, next_look: 0, fs })
    }

    /// One more entry.
    pub(super) fn entry(&mut self) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(over(format!("the layer has more than {} entries", self.limits.entries)));
        }
        Ok(())
    }

    /// A file of this length will be made, holes counted.
    pub(super) fn announce(&mut self, length: u64) -> Result<()> {
        self.announced = self.announced.saturating_add(length);
        self.within(self.announced)
    }

    /// This many bytes are about to be written.
    pub(super) fn bytes(&mut self, n: u64) -> Result<()> {
        self.bytes += n;
        self.within(self.bytes)?;
        if let Some(space) = &self.limits.space {
            space.spend(n)?;
        }
        if self.bytes >= self.next_look {
            self.next_look = self.bytes + LOOK_EVERY;
            self.look()?;
        }
        Ok(())
    }

    fn within(&self, n: u64) -> Result<()> {
        if n > self.limits.layer_bytes {
            return Err(over(format!("the layer has more than {} bytes", self.limits.layer_bytes)));
        }
        Ok(())
    }

    fn look(&self) -> Result<()> {
        let (free, kept) = space::free(self.fs.as_fd())?;
        // What others were promised is not there for this write; its own promise is what it writes into.
        let promised = self.limits.space.as_ref().map_or(0, Reservation::promised_to_others);
        if free.saturating_sub(promised) < kept {
            return Err(match &self.limits.space {
                Some(space) => space.used_up(free, kept),
                None => over(format!("only {} MiB are free on the store's file system", free >> 20)),
            });
        }
        Ok(())
    }
}

fn over(text: String) -> Error {
    Error::new(ErrorKind::Exhausted, text)
}
