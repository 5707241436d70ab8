//! Changes, histories, differences of images and their tree, as documents.

use dhow_api as api;
use dhow_engine::{Change, ChangeKind, DiffImage, HistoryRow, ImageChange, Side, TreeRow};
use jiff::Timestamp;

/// Go's zero time in seconds since 1970, which Docker writes for steps without one.
const NEVER: i64 = -62_135_596_800;

fn kind(kind: ChangeKind) -> u8 {
    match kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Removed => 2,
    }
}

/// A path from the root, with a slash in front. Bytes that are no UTF-8 become replacement characters, as in Go.
fn path(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

pub(crate) fn change(change: &Change, sizes: bool) -> api::FilesystemChange {
    api::FilesystemChange {
        path: path(&change.path),
        kind: kind(change.kind),
        old_size: sizes.then_some(change.old_size),
        new_size: sizes.then_some(change.new_size),
    }
}

pub(crate) fn history(row: HistoryRow) -> api::HistoryItem {
    let HistoryRow { image, tags, step } = row;
    let created = step.created.and_then(|t| t.parse::<Timestamp>().ok());
    api::HistoryItem {
        id: image.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        created: created.map_or(NEVER, |t| t.as_second()),
        created_by: step.created_by,
        tags: super::or_null(tags),
        size: i64::try_from(step.size).unwrap_or(i64::MAX),
        comment: step.comment,
    }
}

pub(crate) fn diff_image(image: DiffImage) -> api::audit::ImageDiffImage {
    let step = |step: dhow_engine::Step| api::audit::ImageStep {
        number: step.number as u64,
        created_by: step.created_by,
        size: step.size,
    };
    api::audit::ImageDiffImage {
        id: image.id.to_string(),
        tags: image.tags,
        layers: image.layers as u64,
        steps: image.steps.into_iter().map(step).collect(),
    }
}

pub(crate) fn diff_file(file: &ImageChange) -> api::audit::ImageDiffFile {
    let (side, number) = file.step;
    api::audit::ImageDiffFile {
        path: path(&file.change.path),
        kind: kind(file.change.kind),
        old_size: file.change.old_size,
        new_size: file.change.new_size,
        directory: file.change.directory,
        step_of: if side == Side::Old { "a" } else { "b" }.to_owned(),
        step: number as u64,
    }
}

pub(crate) fn tree(row: TreeRow) -> api::audit::ImageTreeItem {
    api::audit::ImageTreeItem {
        id: row.id.to_string(),
        tags: row.tags,
        base: row.base.map(|b| b.to_string()).unwrap_or_default(),
        layers: row.layers as u64,
        own_size: row.own,
        shared_size: row.shared,
        created: row.created.unwrap_or_default(),
        last_used: row.last_used_unix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_have_sizes_only_when_asked() {
        let one = Change {
            path: b"a/\xff".to_vec(),
            kind: ChangeKind::Removed,
            old_size: 5,
            new_size: 0,
            directory: false,
            by: None,
        };
        assert_eq!(json!(change(&one, false)), json!({"Path": "/a/\u{fffd}", "Kind": 2}));
        assert_eq!(json!(change(&one, true)), json!({"Path": "/a/\u{fffd}", "Kind": 2, "OldSize": 5, "NewSize": 0}));
    }

    #[test]
    fn a_step_without_a_time_or_an_image() {
        let step = dhow_engine::Step { number: 1, created_by: "RUN x".into(), ..Default::default() };
        let item = history(HistoryRow { image: None, tags: Vec::new(), step });
        let want = json!({
            "Id": "<missing>", "Created": NEVER, "CreatedBy": "RUN x", "Tags": null, "Size": 0, "Comment": "",
        });
        assert_eq!(json!(item), want);
    }
}
