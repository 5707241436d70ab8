//! The words of prunes: what is asked of the daemon, of the user, and what is said afterwards. Pure.

use super::{table, units};
use dhow_api::{Filters, PruneReport, PrunedItem};
use dhow_client::query;

/// What is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Containers that do not run.
    Containers,
    /// Networks of one's own.
    Networks,
    /// Volumes.
    Volumes,
    /// Images.
    Images,
    /// What builds keep.
    BuildCache,
}

/// One prune.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Of what.
    pub kind: Kind,
    /// `--all`.
    pub all: bool,
    /// `--filter`.
    pub filters: Filters,
    /// `--unused-for`: seconds, and as it was written.
    pub unused_for: Option<(u64, String)>,
    /// `--keep-bytes`: bytes, and as it was written.
    pub keep_bytes: Option<(u64, String)>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// A dry run counts containers as gone that the same filters would remove.
    pub after_containers: bool,
}

/// The request's path.
pub fn request(ask: &Ask) -> String {
    let mut filters = ask.filters.clone();
    let route = match ask.kind {
        Kind::Containers => "containers",
        Kind::Networks => "networks",
        Kind::Volumes => {
            if ask.all {
                filters.add("all", "true");
            }
            "volumes"
        }
        Kind::Images => {
            filters.add("dangling", if ask.all { "false" } else { "true" });
            "images"
        }
        Kind::BuildCache => "build",
    };
    let number = |given: &Option<(u64, String)>| given.as_ref().map(|(n, _)| n.to_string());
    let build = ask.kind == Kind::BuildCache;
    let uses_containers = matches!(ask.kind, Kind::Volumes | Kind::Images);
    let parameters = [
        ("filters", (!filters.is_empty()).then(|| filters.to_text())),
        ("all", query::flag(build && ask.all)),
        (if build { "reserved-space" } else { "keep-bytes" }, number(&ask.keep_bytes)),
        ("unused-for", number(&ask.unused_for)),
        ("dry-run", query::flag(ask.dry_run)),
        ("after-containers", query::flag(ask.after_containers && uses_containers)),
    ];
    format!("/{route}/prune{}", query::build(&parameters))
}

/// What a prune of one kind asks before it begins, without `[y/N]`.
pub fn question(ask: &Ask) -> String {
    const SURE: &str = "Are you sure you want to continue?";
    let what = match (ask.kind, ask.all) {
        (Kind::BuildCache, true) => return format!("WARNING! This will remove all build cache. {SURE}"),
        (Kind::BuildCache, false) => return format!("WARNING! This will remove all dangling build cache. {SURE}"),
        (Kind::Networks, _) => "all custom networks not used by at least one container",
        (Kind::Volumes, true) => "all local volumes not used by at least one container",
        (Kind::Volumes, false) => "anonymous local volumes not used by at least one container",
        (kind, all) => short(kind, all),
    };
    let mut text = format!("WARNING! This will remove {what}.\n");
    bounds(ask).iter().for_each(|bound| text.push_str(&format!("Only {bound}.\n")));
    text + SURE
}

/// What is said of a kind among others.
fn short(kind: Kind, all: bool) -> &'static str {
    match (kind, all) {
        (Kind::Containers, _) => "all stopped containers",
        (Kind::Networks, _) => "all networks not used by at least one container",
        (Kind::Volumes, _) => "all anonymous volumes not used by at least one container",
        (Kind::Images, true) => "all images without at least one container associated to them",
        (Kind::Images, false) => "all dangling images",
        (Kind::BuildCache, true) => "all build cache",
        (Kind::BuildCache, false) => "unused build cache",
    }
}

/// dhow's own bounds in words.
fn bounds(ask: &Ask) -> Vec<String> {
    let unused = ask.unused_for.iter().map(|(_, text)| format!("what was not used for {text}"));
    let keep = ask.keep_bytes.iter().map(|(_, text)| format!("as many as it takes until {text} are left"));
    unused.chain(keep).collect()
}

/// What `system prune` asks.
pub fn question_of_all(ask: &Ask, kinds: &[Kind]) -> String {
    let mut text = String::from("WARNING! This will remove:");
    kinds.iter().for_each(|kind| text.push_str(&format!("\n  - {}", short(*kind, ask.all))));
    text.push('\n');
    let mut filters: Vec<String> = ["label", "label!", "until"]
        .iter()
        .flat_map(|name| ask.filters.values(name).map(move |value| format!("{name}={value}")))
        .collect();
    filters.sort();
    filters.extend(bounds(ask));
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:");
        filters.iter().for_each(|filter| text.push_str(&format!("\n  - {filter}")));
        text.push('\n');
    }
    text + "\nAre you sure you want to continue?"
}

/// What went, by Docker's words; or what would go, as a table. Empty if there is nothing.
pub fn report(ask: &Ask, report: &PruneReport) -> String {
    if ask.dry_run {
        return preview(ask.kind, report.items.as_deref().unwrap_or_default());
    }
    let lines = |head: &str, names: &Option<Vec<String>>| {
        let names = names.as_deref().unwrap_or_default();
        let list: String = names.iter().map(|name| format!("{name}\n")).collect();
        if list.is_empty() { list } else { format!("{head}:\n{list}") }
    };
    match ask.kind {
        Kind::Containers => lines("Deleted Containers", &report.containers_deleted),
        Kind::Networks => lines("Deleted Networks", &report.networks_deleted),
        Kind::Volumes => lines("Deleted Volumes", &report.volumes_deleted),
        Kind::BuildCache => lines("Deleted build cache objects", &report.caches_deleted),
        Kind::Images => {
            let items = report.images_deleted.iter().flatten().map(|item| match item.untagged.as_str() {
                "" => format!("deleted: {}", item.deleted),
                name => format!("untagged: {name}"),
            });
            lines("Deleted Images", &Some(items.collect()))
        }
    }
}

fn preview(kind: Kind, items: &[PrunedItem]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let (head, titles) = match kind {
        Kind::Containers => ("Containers", ["CONTAINER ID", "NAME"]),
        Kind::Networks => ("Networks", ["NETWORK ID", "NAME"]),
        Kind::Volumes => ("Volumes", ["VOLUME NAME", ""]),
        Kind::Images => ("Images", ["IMAGE ID", "NAME"]),
        Kind::BuildCache => ("Build cache objects", ["CACHE ID", "NAME"]),
    };
    let dated = matches!(kind, Kind::Containers | Kind::Images);
    let row = |item: &PrunedItem| {
        let id = item.id.trim_start_matches("sha256:");
        let id = if kind == Kind::Volumes { id } else { id.get(..12).unwrap_or(id) };
        let mut row = vec![id.to_owned()];
        if kind != Kind::Volumes {
            row.push(if item.names.is_empty() { "<none>".to_owned() } else { item.names.join(", ") });
        }
        if dated {
            let used = item.last_used.parse::<jiff::Timestamp>();
            row.push(used.map_or_else(|_| "never".to_owned(), |at| units::ago(at.as_second())));
        }
        row.push(units::human_size(item.size));
        row
    };
    let mut header: Vec<&str> = titles.into_iter().filter(|t| !t.is_empty()).collect();
    header.extend(dated.then_some("LAST USED"));
    header.push("SIZE");
    format!("{head} that would be removed:\n{}", table::render(&header, &items.iter().map(row).collect::<Vec<_>>()))
}

/// The last line. Networks have none, as they take no space.
pub fn sum(kind: Option<Kind>, dry_run: bool, bytes: u64) -> Option<String> {
    let size = units::human_sum(i64::try_from(bytes).unwrap_or(i64::MAX));
    match (kind, dry_run) {
        (Some(Kind::Networks), false) => None,
        (_, false) => Some(format!("Total reclaimed space: {size}")),
        (_, true) => Some(format!("Total space that would be reclaimed: {size}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::ImageDeleteItem;

    fn ask(kind: Kind, all: bool) -> Ask {
        let filters = Filters::default();
        Ask { kind, all, filters, unused_for: None, keep_bytes: None, dry_run: false, after_containers: false }
    }

    #[test]
    fn questions_are_dockers() {
        for (kind, all, want) in [
            (Kind::Images, false, "all dangling images."),
            (Kind::Images, true, "all images without at least one container associated to them."),
            (Kind::Containers, false, "all stopped containers."),
            (Kind::Volumes, false, "anonymous local volumes not used by at least one container."),
            (Kind::Volumes, true, "all local volumes not used by at least one container."),
            (Kind::Networks, false, "all custom networks not used by at least one container."),
        ] {
            let want = format!("WARNING! This will remove {want}\nAre you sure you want to continue?");
            assert_eq!(question(&ask(kind, all)), want);
        }
        let builder = "WARNING! This will remove all dangling build cache. Are you sure you want to continue?";
        assert_eq!(question(&ask(Kind::BuildCache, false)), builder);
        let bound =
            Ask { unused_for: Some((1, "1s".into())), keep_bytes: Some((5, "5".into())), ..ask(Kind::Images, false) };
        assert_eq!(
            question(&bound),
            "WARNING! This will remove all dangling images.\nOnly what was not used for 1s.\n\
             Only as many as it takes until 5 are left.\nAre you sure you want to continue?"
        );
    }

    #[test]
    fn the_question_of_all_lists_kinds_and_filters() {
        let kinds = [Kind::Containers, Kind::Networks, Kind::Images, Kind::BuildCache];
        assert_eq!(
            question_of_all(&ask(Kind::Containers, false), &kinds),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
             - all dangling images\n  - unused build cache\n\nAre you sure you want to continue?"
        );
        let mut filtered = ask(Kind::Containers, true);
        filtered.filters.add("until", "24h");
        filtered.filters.add("label", "a=b");
        assert_eq!(
            question_of_all(&filtered, &[Kind::Images]),
            "WARNING! This will remove:\n  - all images without at least one container associated to them\n\n  \
             Items to be pruned will be filtered with:\n  - label=a=b\n  - until=24h\n\nAre you sure you want to continue?"
        );
    }

    #[test]
    fn requests_carry_what_was_asked() {
        let path =
            |ask: &Ask| request(ask).replace("%22", "'").replace("%7B", "{").replace("%7D", "}").replace("%3A", ":");
        assert_eq!(path(&ask(Kind::Images, true)), "/images/prune?filters={'dangling':{'false':true}}");
        assert_eq!(path(&ask(Kind::Volumes, true)), "/volumes/prune?filters={'all':{'true':true}}");
        assert_eq!(path(&ask(Kind::Volumes, false)), "/volumes/prune");
        assert_eq!(path(&ask(Kind::BuildCache, true)), "/build/prune?all=1");
        let all = |kind| Ask {
            unused_for: Some((60, "1m".into())),
            keep_bytes: Some((7, "7".into())),
            dry_run: true,
            after_containers: true,
            ..ask(kind, false)
        };
        assert_eq!(path(&all(Kind::Containers)), "/containers/prune?keep-bytes=7&unused-for=60&dry-run=1");
        let images =
            "/images/prune?filters={'dangling':{'true':true}}&keep-bytes=7&unused-for=60&dry-run=1&after-containers=1";
        assert_eq!(path(&all(Kind::Images)), images);
    }

    #[test]
    fn reports_are_dockers() {
        let image =
            |untagged: &str, deleted: &str| ImageDeleteItem { untagged: untagged.into(), deleted: deleted.into() };
        let done = PruneReport {
            images_deleted: Some(vec![image("a:1", ""), image("", "sha256:1")]),
            containers_deleted: Some(vec!["c1".into()]),
            ..PruneReport::default()
        };
        assert_eq!(report(&ask(Kind::Images, false), &done), "Deleted Images:\nuntagged: a:1\ndeleted: sha256:1\n");
        assert_eq!(report(&ask(Kind::Containers, false), &done), "Deleted Containers:\nc1\n");
        assert_eq!(report(&ask(Kind::Volumes, false), &done), "");
        assert_eq!(sum(Some(Kind::Images), false, 4_261_550).unwrap(), "Total reclaimed space: 4.262MB");
        assert_eq!(sum(Some(Kind::Networks), false, 0), None);
    }

    #[test]
    fn a_dry_run_shows_names_and_sizes() {
        let item = |id: &str, names: &[&str], size| PrunedItem {
            id: id.into(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            size,
            last_used: String::new(),
        };
        let done = PruneReport {
            items: Some(vec![item("sha256:0123456789abcdef", &["a:1", "b:2"], 1000), item("sha256:f", &[], 5)]),
            ..PruneReport::default()
        };
        let dry = |kind| Ask { dry_run: true, ..ask(kind, false) };
        assert_eq!(
            report(&dry(Kind::Images), &done),
            "Images that would be removed:\nIMAGE ID       NAME       LAST USED   SIZE\n\
             0123456789ab   a:1, b:2   never       1kB\nf              <none>     never       5B\n"
        );
        let volumes = report(&dry(Kind::Volumes), &PruneReport { items: Some(vec![item("data", &[], 7)]), ..done });
        assert_eq!(volumes, "Volumes that would be removed:\nVOLUME NAME   SIZE\ndata          7B\n");
        assert_eq!(sum(None, true, 0).unwrap(), "Total space that would be reclaimed: 0B");
    }
}
