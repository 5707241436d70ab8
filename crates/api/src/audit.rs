//! What a container changed, how an image was made, and dhow's own answers about images side by side.
//!
//! The first two are Docker's; what is below `/dhow` is not in the swagger file and is described here.

use crate::document::{document, is_zero};

document! {
    /// One item of the answer to `GET /containers/{id}/changes`. Sizes are dhow's own, and there with `size=1` only.
    pub struct FilesystemChange {
        path: String,
        /// 0 modified, 1 added, 2 deleted.
        kind: u8,
        #[serde(skip_serializing_if = "is_zero")]
        old_size: Option<u64>,
        #[serde(skip_serializing_if = "is_zero")]
        new_size: Option<u64>,
    }

    /// One item of the answer to `GET /images/{name}/history`.
    pub struct HistoryItem {
        id: String,
        created: i64,
        created_by: String,
        tags: Option<Vec<String>>,
        size: i64,
        comment: String,
    }

    /// The first line of the answer to `GET /dhow/images/diff?a=&b=`, which is a JSON document on each line.
    pub struct ImageDiffHead {
        /// The image called `a`, the old one.
        a: ImageDiffImage,
        /// The image called `b`, the new one.
        b: ImageDiffImage,
        /// How many of the lowest layers both have.
        common_layers: u64,
    }

    /// One of two images that are compared.
    pub struct ImageDiffImage {
        id: String,
        tags: Vec<String>,
        layers: u64,
        steps: Vec<ImageStep>,
    }

    /// A step in the making of an image.
    pub struct ImageStep {
        /// The lowest is 1.
        number: u64,
        created_by: String,
        /// Bytes of file content in its layer; 0 if it made none.
        size: u64,
    }

    /// A line for each path that differs. Directories that differ only in what is in them have none.
    pub struct ImageDiffFile {
        path: String,
        /// 0 changed, 1 added, 2 removed.
        kind: u8,
        /// Bytes of a regular file in `a` and in `b`.
        old_size: u64,
        new_size: u64,
        directory: bool,
        /// `a` or `b`: the image whose step made the difference.
        step_of: String,
        /// The step's number.
        step: u64,
    }

    /// The last line. An answer without it was cut off.
    pub struct ImageDiffEnd {
        totals: ImageDiffTotals,
    }

    /// Sums of what differs.
    pub struct ImageDiffTotals {
        added: DiffTotal,
        changed: DiffTotal,
        removed: DiffTotal,
    }

    /// How many paths, and their bytes before and after.
    pub struct DiffTotal {
        paths: u64,
        old_size: u64,
        new_size: u64,
    }

    /// One item of the answer to `GET /dhow/images/tree`.
    pub struct ImageTreeItem {
        id: String,
        tags: Vec<String>,
        /// The image it stands on directly; empty for none.
        base: String,
        layers: u64,
        /// Bytes in layers that no other image has, and in those that another one has, too.
        own_size: u64,
        shared_size: u64,
        /// RFC 3339; empty if the image does not say it.
        created: String,
        /// Seconds since 1970 when a container was last made from it; 0 = never.
        last_used: i64,
    }
}

impl ImageDiffTotals {
    /// Counts one more path.
    pub fn add(&mut self, file: &ImageDiffFile) {
        let total = match file.kind {
            1 => &mut self.added,
            2 => &mut self.removed,
            _ => &mut self.changed,
        };
        total.paths += 1;
        total.old_size += file.old_size;
        total.new_size += file.new_size;
    }
}
