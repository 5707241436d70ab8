//! From what the API says of an image to the rows of a list: one for each name, by Docker's rules. Pure.

use super::units;
use dhow_api::ImageSummary;
use serde_json::{Value, json};

/// What a list of images shows besides names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Ids in full.
    pub full: bool,
    /// Digests have a column: an image that is known by several has a row for each.
    pub digests: bool,
    /// The format asks for digests, without a column of their own.
    pub names_digests: bool,
}

/// Fields of a row that no column of the default table shows.
pub const OTHERS: &[&str] =
    &["Digest", "CreatedAt", "Containers", "SharedSize", "UniqueSize", "VirtualSize", "LastUsed", "LastUsedAt"];

const NONE: &str = "<none>";

/// Whether it has no name at all; daemons before API 1.43 write that as `<none>`.
pub fn is_dangling(image: &ImageSummary) -> bool {
    names(image).is_empty() && digests(image).is_empty()
}

fn names(image: &ImageSummary) -> Vec<(&str, &str)> {
    image.repo_tags.iter().filter(|t| *t != "<none>:<none>").filter_map(|t| t.rsplit_once(':')).collect()
}

fn digests(image: &ImageSummary) -> Vec<(&str, &str)> {
    image.repo_digests.iter().filter(|d| *d != "<none>@<none>").filter_map(|d| d.split_once('@')).collect()
}

/// The rows of all images.
pub fn rows(images: &[ImageSummary], shown: Shown) -> Vec<Value> {
    images
        .iter()
        .flat_map(|image| {
            triples(image, shown).into_iter().map(|names| row(image, names, shown.full)).collect::<Vec<_>>()
        })
        .collect()
}

/// Repository, tag and digest of each row.
fn triples(image: &ImageSummary, shown: Shown) -> Vec<(&str, &str, &str)> {
    if is_dangling(image) {
        return vec![(NONE, NONE, NONE)];
    }
    let (tags, digests) = (names(image), digests(image));
    let mut out = Vec::new();
    for (repository, tag) in &tags {
        let mut own =
            digests.iter().filter(|(r, _)| r == repository && (shown.digests || shown.names_digests)).peekable();
        if own.peek().is_none() {
            out.push((*repository, *tag, NONE));
        }
        out.extend(own.map(|(_, digest)| (*repository, *tag, *digest)));
    }
    // Repositories that are known by a digest alone.
    let alone = digests.iter().filter(|(r, _)| tags.iter().all(|(t, _)| t != r));
    for (repository, digest) in alone {
        match shown.digests {
            true => out.push((*repository, NONE, *digest)),
            false if out.iter().any(|(r, ..)| r == repository) => {}
            false => out.push((*repository, NONE, "")),
        }
    }
    out
}

/// One row.
pub fn row(image: &ImageSummary, (repository, tag, digest): (&str, &str, &str), full: bool) -> Value {
    let unknown = || "N/A".to_owned();
    let unique = image.size - image.shared_size;
    json!({
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "ID": id(&image.id, full),
        "CreatedSince": units::ago(image.created),
        "CreatedAt": units::local_time(image.created),
        "Size": units::human_size(image.size),
        "VirtualSize": units::human_sum(image.size),
        "Containers": if image.containers < 0 { unknown() } else { image.containers.to_string() },
        "SharedSize": if image.shared_size < 0 { unknown() } else { units::human_sum(image.shared_size) },
        "UniqueSize": if image.shared_size < 0 || image.size < 0 { unknown() } else { units::human_sum(unique) },
        "LastUsed": if image.last_used > 0 { units::ago(image.last_used) } else { "never".to_owned() },
        "LastUsedAt": if image.last_used > 0 { units::local_time(image.last_used) } else { String::new() },
    })
}

/// An id as lists show it.
pub fn id(id: &str, full: bool) -> &str {
    let hex = id.trim_start_matches("sha256:");
    if full { id } else { hex.get(..12).unwrap_or(hex) }
}

/// `images --tree`: each image once, all its names above its platform.
pub fn tree(images: &[TreeImage]) -> String {
    const UNTAGGED: &str = "<untagged>";
    let mut sorted: Vec<(Vec<String>, &TreeImage)> = images
        .iter()
        .map(|image| {
            let mut names = image.names.clone();
            names.sort();
            (names, image)
        })
        .collect();
    // Those without a name come last.
    sorted.sort_by(|(a, _), (b, _)| a.is_empty().cmp(&b.is_empty()).then_with(|| a.cmp(b)));
    let child = |image: &TreeImage| format!("└─ {}", image.platform);
    let width = |text: &str| text.chars().count();
    let first = sorted
        .iter()
        .flat_map(|(names, image)| names.iter().map(|n| width(n)).chain([width(&child(image))]))
        .chain([width(UNTAGGED)])
        .max()
        .unwrap_or(0);
    let line = |name: &str, id: &str, disk: &str, content: &str, extra: &str| {
        let pad = " ".repeat(first - width(name));
        format!("{name}{pad}   {id:<12}   {disk:>10}   {content:>12}   {extra}").trim_end().to_owned() + "\n"
    };
    let mut out = line("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA");
    for (names, image) in sorted {
        let (disk, content) = (units::human_size(image.disk), units::human_size(image.content));
        let used = if image.in_use { "U" } else { "" };
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        let last = names.pop().unwrap_or(UNTAGGED);
        names.iter().for_each(|name| out.push_str(&format!("{name}\n")));
        out.push_str(&line(last, id(&image.id, false), &disk, &content, used));
        out.push_str(&line(&child(image), id(&image.id, false), &disk, &content, used));
        out.push('\n');
    }
    out
}

/// An image of a tree.
#[derive(Clone, Debug)]
pub struct TreeImage {
    /// `name:tag`.
    pub names: Vec<String>,
    /// The id.
    pub id: String,
    /// `os/arch`.
    pub platform: String,
    /// Bytes on disk.
    pub disk: i64,
    /// Bytes of the files in its layers.
    pub content: i64,
    /// Containers use it.
    pub in_use: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageSummary {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        ImageSummary {
            id: "sha256:0123456789abcdef".into(),
            repo_tags: list(tags),
            repo_digests: list(digests),
            shared_size: -1,
            containers: -1,
            size: 1000,
            ..ImageSummary::default()
        }
    }

    #[test]
    fn one_row_for_each_name() {
        let all = |tags: &[&str], d: &[&str], shown| {
            let image = image(tags, d);
            triples(&image, shown).iter().map(|(r, t, d)| format!("{r} {t} {d}")).collect::<Vec<_>>().join("; ")
        };
        let plain = Shown::default();
        let digests = Shown { digests: true, ..plain };
        let named = Shown { names_digests: true, ..plain };
        for (tags, known, shown, want) in [
            (&["a:1"][..], &[][..], plain, "a 1 <none>"),
            (&["a:1", "r:5000/b:2"], &[], plain, "a 1 <none>; r:5000/b 2 <none>"),
            (&[], &[], plain, "<none> <none> <none>"),
            (&["<none>:<none>"], &["<none>@<none>"], plain, "<none> <none> <none>"),
            (&["a:1"], &["a@sha256:x"], plain, "a 1 <none>"),
            (&["a:1"], &["a@sha256:x"], digests, "a 1 sha256:x"),
            (&["a:1"], &["a@sha256:x"], named, "a 1 sha256:x"),
            (&["a:1"], &["a@sha256:x", "a@sha256:y"], digests, "a 1 sha256:x; a 1 sha256:y"),
            (&["a:1"], &["b@sha256:x"], digests, "a 1 <none>; b <none> sha256:x"),
            (&[], &["b@sha256:x", "b@sha256:y"], plain, "b <none> "),
            (&[], &["b@sha256:x", "b@sha256:y"], digests, "b <none> sha256:x; b <none> sha256:y"),
        ] {
            assert_eq!(all(tags, known, shown), want, "{tags:?} {known:?}");
        }
    }

    #[test]
    fn what_is_not_known_says_so() {
        let one = row(&image(&["a:1"], &[]), ("a", "1", "<none>"), false);
        for (field, want) in [
            ("ID", "0123456789ab"),
            ("Containers", "N/A"),
            ("SharedSize", "N/A"),
            ("UniqueSize", "N/A"),
            ("LastUsed", "never"),
        ] {
            assert_eq!(one[field], want, "{field}");
        }
        let counted = ImageSummary { shared_size: 400, containers: 2, ..image(&[], &[]) };
        let one = row(&counted, ("a", "1", ""), true);
        for (field, want) in
            [("ID", "sha256:0123456789abcdef"), ("Containers", "2"), ("SharedSize", "400B"), ("UniqueSize", "600B")]
        {
            assert_eq!(one[field], want, "{field}");
        }
        OTHERS.iter().for_each(|field| assert!(one.get(field).is_some(), "{field}"));
    }

    #[test]
    fn trees_have_each_image_once() {
        let one = |names: &[&str], in_use| TreeImage {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            id: "sha256:0123456789abcdef".into(),
            platform: "linux/amd64".into(),
            disk: 2000,
            content: 1000,
            in_use,
        };
        assert_eq!(
            tree(&[one(&[], false), one(&["b:1", "a:1"], true)]),
            "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA\n\
             a:1\n\
             b:1              0123456789ab          2kB            1kB   U\n\
             └─ linux/amd64   0123456789ab          2kB            1kB   U\n\n\
             <untagged>       0123456789ab          2kB            1kB\n\
             └─ linux/amd64   0123456789ab          2kB            1kB\n\n"
        );
    }
}
