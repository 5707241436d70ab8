//! What happens while an image comes or goes: the lines that a client shows.

use dhow_types::{Digest, Error};

/// One of them. The words are Docker's.
#[derive(Clone, Debug, PartialEq)]
pub enum TransferEvent {
    /// What happened to a layer, or, with an empty id, to the whole.
    Status {
        /// Short id of the layer, a tag, or nothing.
        id: String,
        /// `Pull complete`.
        text: String,
    },
    /// How far a layer is.
    Progress {
        /// Short id of the layer.
        id: String,
        /// `Downloading`, `Extracting`, `Pushing` …
        action: &'static str,
        /// Bytes done.
        current: u64,
        /// Bytes in all, 0 if unknown.
        total: u64,
    },
    /// A tag stands for this manifest in the registry now.
    Pushed {
        /// The tag.
        tag: String,
        /// Of the manifest.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// It failed; nothing follows.
    Failed(Error),
}

impl TransferEvent {
    /// A line about the whole.
    pub fn line(text: impl Into<String>) -> Self {
        Self::Status { id: String::new(), text: text.into() }
    }
    /// A line about a part.
    pub fn status(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Status { id: id.into(), text: text.into() }
    }
}
