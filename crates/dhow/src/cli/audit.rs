//! `export`, `diff`, `history`, `image diff` and `image tree`: what is in containers and images, and where it comes
//! from.

use super::context::Context;
use super::file_out::{CHUNK, FileOut};
use super::template::{Template, V, unescape};
use super::{listing, output, table, units};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::audit::{
    DiffTotal, ImageDiffEnd, ImageDiffFile, ImageDiffHead, ImageDiffImage, ImageDiffTotals, ImageTreeItem,
};
use dhow_api::{FilesystemChange, HistoryItem};
use dhow_client::query;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;

/// What is said when an answer ends early.
const CUT: &str = "the daemon broke the answer off: its log says why";
/// The longest line of an answer: paths have at most 4096 bytes, and steps are commands.
const MAX_LINE: u64 = 64 << 20;

/// Write a container's whole file system as a tar archive (standard output by default)
#[derive(Parser, Debug)]
pub struct ExportArgs {
    /// Write to a file, which appears when it is whole, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The container, by name or id; running or not
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// `dhow export`.
pub fn export(context: &Context, args: ExportArgs) -> Result<i32> {
    if args.output.is_none() && std::io::stdout().is_terminal() {
        bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    let client = context.client();
    // A daemon is started before; the answer may be read once only.
    context.awake(&client)?;
    let mut response = client.send("GET", &format!("/containers/{}/export", query::encode(&args.container)))?;
    match &args.output {
        Some(file) => {
            let mut out = FileOut::create(file, None).context("failed to export container")?;
            copy(&mut response.body, &mut out)?;
            out.finish()?;
        }
        None => copy(&mut response.body, &mut std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?))?,
    }
    Ok(0)
}

fn copy(from: &mut impl Read, out: &mut impl Write) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => out.write_all(&buffer[..n]).context("write the archive")?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context(CUT),
        }
    }
}

/// Show what a container added (A), changed (C) and deleted (D)
#[derive(Parser, Debug)]
pub struct DiffArgs {
    /// Sizes before and after, and totals (not in Docker)
    #[arg(long)]
    stat: bool,
    /// Go template or `json` (not in Docker)
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The container, by name or id; running or not
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// `dhow diff`.
pub fn diff(context: &Context, args: DiffArgs) -> Result<i32> {
    if args.container.trim().is_empty() {
        bail!("Container name cannot be empty");
    }
    let sizes = args.stat || args.format.is_some();
    let size = query::build(&[("size", query::flag(sizes))]);
    let path = format!("/containers/{}/changes{size}", query::encode(&args.container));
    // A daemon that has nothing to say says null.
    let changes: Option<Vec<FilesystemChange>> = context.with_daemon(&context.client(), |c| c.get(&path))?;
    let changes = changes.unwrap_or_default();
    if let Some(format) = &args.format {
        let template = if format == "json" { None } else { Some(Template::parse(&unescape(format))?) };
        for change in &changes {
            let row = json!({
                "Type": letter(change.kind), "Path": change.path, "Kind": change.kind,
                "OldSize": change.old_size, "NewSize": change.new_size,
            });
            output::line(template.as_ref().map_or_else(|| Ok(row.to_string()), |t| t.render(&V::row("change", &row)))?);
        }
        return Ok(0);
    }
    let mut totals = ImageDiffTotals::default();
    for change in &changes {
        let (kind, path) = (letter(change.kind), &change.path);
        let (old, new) = (change.old_size.unwrap_or(0), change.new_size.unwrap_or(0));
        totals.add(&ImageDiffFile { kind: change.kind, old_size: old, new_size: new, ..Default::default() });
        output::line(match args.stat {
            true => format!("{kind} {:>9} {path}", delta(old, new)),
            false => format!("{kind} {path}"),
        });
    }
    if args.stat {
        output::line(sum(&totals));
    }
    Ok(0)
}

fn letter(kind: u8) -> &'static str {
    match kind {
        0 => "C",
        1 => "A",
        _ => "D",
    }
}

fn human(bytes: u64) -> String {
    units::human_size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// By how much something grew or shrank; empty if it is as large as before.
fn delta(old: u64, new: u64) -> String {
    match () {
        () if new > old => format!("+{}", human(new - old)),
        () if new < old => format!("-{}", human(old - new)),
        () => String::new(),
    }
}

/// `3 added (+1.2MB), 1 changed (-3kB), 2 deleted (-5MB): -3.8MB`
fn sum(totals: &ImageDiffTotals) -> String {
    let part = |total: &DiffTotal, word: &str| {
        let size = delta(total.old_size, total.new_size);
        format!("{} {word}{}", total.paths, if size.is_empty() { size } else { format!(" ({size})") })
    };
    let all = [&totals.added, &totals.changed, &totals.removed];
    let (old, new) = (all.iter().map(|t| t.old_size).sum(), all.iter().map(|t| t.new_size).sum());
    let whole = match delta(old, new) {
        same if same.is_empty() => "same size".to_owned(),
        other => other,
    };
    let (added, changed) = (part(&totals.added, "added"), part(&totals.changed, "changed"));
    format!("{added}, {changed}, {}: {whole}", part(&totals.removed, "deleted"))
}

/// Show how an image was made, the last step first
#[derive(Parser, Debug)]
pub struct HistoryArgs {
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and ages for people; `--human=false` for bytes and times
    #[arg(short = 'H', long, default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Print ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// The image, by name or id
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Go's zero time, which stands for "not said".
const NEVER: i64 = -62_135_596_800;
/// Docker shows so many letters of a command.
const COMMAND: usize = 45;

/// `dhow history`.
pub fn history(context: &Context, args: HistoryArgs) -> Result<i32> {
    let path = format!("/images/{}/history", query::encode_path(&args.image));
    let items: Vec<HistoryItem> = context.with_daemon(&context.client(), |c| c.get(&path))?;
    let id = |id: &str| if args.no_trunc { id.to_owned() } else { short(id) };
    if args.quiet && args.format.is_none() {
        items.iter().for_each(|i| output::line(id(&i.id)));
        return Ok(0);
    }
    let rows: Vec<V> =
        items.iter().map(|i| V::row("*formatter.historyContext", &history_row(i, id(&i.id), &args))).collect();
    let created = if args.human { "CreatedSince" } else { "CreatedAt" };
    let columns = [
        ("IMAGE", "ID"),
        (if args.human { "CREATED" } else { "CREATED AT" }, created),
        ("CREATED BY", "CreatedBy"),
        ("SIZE", "Size"),
        ("COMMENT", "Comment"),
    ];
    listing::print(args.format.as_deref(), &columns, &[], &rows)?;
    Ok(0)
}

fn history_row(item: &HistoryItem, id: String, args: &HistoryArgs) -> Value {
    let at = jiff::Timestamp::from_second(item.created).ok().filter(|_| item.created > NEVER);
    let at = at.map(|t| t.to_string());
    let since = at.as_deref().map_or("N/A".to_owned(), |t| format!("{} ago", units::human_duration(listing::age(t))));
    let command = item.created_by.replace('\t', " ");
    let command = if args.no_trunc { command } else { table::ellipsis(&command, COMMAND) };
    json!({
        "ID": id,
        "CreatedSince": since,
        "CreatedAt": at.unwrap_or_default(),
        "CreatedBy": command,
        "Size": if args.human { units::human_size(item.size) } else { item.size.to_string() },
        "Comment": item.comment,
    })
}

fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

/// Show what one image has that another has not, and which step of its making did it (not in Docker)
#[derive(Parser, Debug)]
pub struct ImageDiffArgs {
    /// `json`: one document
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The old image, by name or id
    #[arg(value_name = "A")]
    old: String,
    /// The new image, by name or id
    #[arg(value_name = "B")]
    new: String,
}

/// `dhow image diff`.
pub fn image_diff(context: &Context, args: ImageDiffArgs) -> Result<i32> {
    let as_json = match args.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(other) => bail!("format {other:?} is not supported: give json, or none for a list"),
    };
    let pairs = [("a", Some(args.old.clone())), ("b", Some(args.new.clone()))];
    let path = format!("/dhow/images/diff{}", query::build(&pairs));
    let client = context.client();
    context.awake(&client)?;
    let response = client.send("GET", &path)?;
    let mut lines = Lines(BufReader::new(response.body));
    let head: ImageDiffHead = serde_json::from_str(&lines.next()?.context(CUT)?)?;
    let mut told = BTreeSet::new();
    if as_json {
        output::text_out(format!(
            "{{\"A\":{},\"B\":{},\"CommonLayers\":{},\"Changes\":[",
            serde_json::to_string(&head.a)?,
            serde_json::to_string(&head.b)?,
            head.common_layers
        ));
    } else {
        output::text_out(heading(&head));
    }
    let mut comma = "";
    let totals = loop {
        let line = lines.next()?.context(CUT)?;
        if line.starts_with("{\"Totals\"") {
            break serde_json::from_str::<ImageDiffEnd>(&line)?.totals;
        }
        if as_json {
            output::text_out(format!("{comma}{}", line.trim_end()));
            comma = ",";
            continue;
        }
        let file: ImageDiffFile = serde_json::from_str(&line)?;
        output::line(file_line(&file));
        told.insert((file.step_of, file.step));
    };
    if as_json {
        output::line(format!("],\"Totals\":{}}}", serde_json::to_string(&totals)?));
        return Ok(0);
    }
    output::text_out(legend(&head, &told));
    output::line(sum(&totals));
    Ok(0)
}

/// The lines of an answer.
struct Lines<R>(BufReader<R>);

impl<R: Read> Lines<R> {
    fn next(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        (&mut self.0).take(MAX_LINE).read_line(&mut line).context(CUT)?;
        Ok(Some(line).filter(|l| l.ends_with('\n')))
    }
}

fn image_name(image: &ImageDiffImage) -> String {
    match image.tags.first() {
        Some(tag) => format!("{tag} ({})", short(&image.id)),
        None => short(&image.id),
    }
}

fn heading(head: &ImageDiffHead) -> String {
    let own = |image: &ImageDiffImage| image.layers.saturating_sub(head.common_layers);
    format!(
        "a: {}, {} layers of its own\nb: {}, {} layers of its own\n{} layers in common\n\n",
        image_name(&head.a),
        own(&head.a),
        image_name(&head.b),
        own(&head.b),
        head.common_layers
    )
}

/// `C   +1.2kB  b7   /etc/passwd`
fn file_line(file: &ImageDiffFile) -> String {
    let step = format!("{}{}", file.step_of, file.step);
    let slash = if file.directory && file.path != "/" { "/" } else { "" };
    format!("{} {:>9}  {step:<4} {}{slash}", letter(file.kind), delta(file.old_size, file.new_size), file.path)
}

/// The steps that were named, with their commands.
fn legend(head: &ImageDiffHead, told: &BTreeSet<(String, u64)>) -> String {
    let mut text = String::new();
    for (of, number) in told {
        let image = if of == "a" { &head.a } else { &head.b };
        let step = image.steps.iter().find(|s| s.number == *number);
        let command = step.map(|s| s.created_by.replace(['\t', '\n'], " ")).filter(|c| !c.is_empty());
        text.push_str(&format!("{of}{number}: {}\n", command.as_deref().unwrap_or("(not said)")));
    }
    if told.is_empty() { text } else { format!("\n{text}\n") }
}

/// Show which image stands on which, and how much of each is its own (not in Docker)
#[derive(Parser, Debug)]
pub struct ImageTreeArgs {
    /// Go template or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// `dhow image tree`.
pub fn image_tree(context: &Context, args: ImageTreeArgs) -> Result<i32> {
    let items: Vec<ImageTreeItem> = context.with_daemon(&context.client(), |c| c.get("/dhow/images/tree"))?;
    if let Some(format) = args.format.as_deref().filter(|f| !f.is_empty()) {
        let rows: Vec<Value> = items.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let rows: Vec<V> = rows.iter().map(|row| V::row("image", row)).collect();
        listing::print(Some(format), &[], &[], &rows)?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = drawn(&items)
        .into_iter()
        .map(|(line, item)| {
            let used = match item.last_used {
                0 => "never".to_owned(),
                at => units::ago(at),
            };
            vec![line, short(&item.id), human(item.own_size), human(item.shared_size), used]
        })
        .collect();
    output::text_out(table::render(&["IMAGE", "IMAGE ID", "OWN", "SHARED", "LAST USED"], &rows));
    Ok(0)
}

/// The images as a tree: each with the line that stands for it, those without a base first to last by name.
fn drawn(items: &[ImageTreeItem]) -> Vec<(String, &ImageTreeItem)> {
    fn below<'a>(items: &'a [ImageTreeItem], base: &str, before: &str, out: &mut Vec<(String, &'a ImageTreeItem)>) {
        let name = |item: &ImageTreeItem| match item.tags.is_empty() {
            true => "<none>".to_owned(),
            false => item.tags.join(", "),
        };
        let mut here: Vec<&ImageTreeItem> = items.iter().filter(|i| i.base == base).collect();
        here.sort_by_key(|i| (i.tags.is_empty(), name(i), i.id.clone()));
        let last = here.len();
        for (at, item) in here.into_iter().enumerate() {
            let (mark, line) = match (base.is_empty(), at + 1 == last) {
                (true, _) => ("", ""),
                (_, false) => ("├─ ", "│  "),
                (_, true) => ("└─ ", "   "),
            };
            out.push((format!("{before}{mark}{}", name(item)), item));
            below(items, &item.id, &format!("{before}{line}"), out);
        }
    }
    let mut out = Vec::new();
    below(items, "", "", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::audit::ImageStep;

    #[test]
    fn sizes_and_sums() {
        for (old, new, want) in [(0, 0, ""), (5, 5, ""), (0, 1200, "+1.2kB"), (4_000_000, 0, "-4MB")] {
            assert_eq!(delta(old, new), want);
        }
        let mut totals = ImageDiffTotals::default();
        assert_eq!(sum(&totals), "0 added, 0 changed, 0 deleted: same size");
        for (kind, old_size, new_size) in [(1, 0, 1000), (1, 0, 200), (0, 50, 20), (0, 1, 1), (2, 2000, 0)] {
            totals.add(&ImageDiffFile { kind, old_size, new_size, ..Default::default() });
        }
        assert_eq!(sum(&totals), "2 added (+1.2kB), 2 changed (-30B), 1 deleted (-2kB): -830B");
    }

    #[test]
    fn a_history_is_shown_as_docker_shows_it() {
        let args = |words: &[&str]| HistoryArgs::try_parse_from([&["history"], words].concat()).unwrap();
        let long = format!("RUN\t{}", "x".repeat(60));
        let item = HistoryItem { created: NEVER, created_by: long.clone(), size: 1234, ..Default::default() };
        let row = history_row(&item, "<missing>".into(), &args(&["i"]));
        assert_eq!((&row["CreatedSince"], &row["Size"]), (&json!("N/A"), &json!("1.23kB")));
        assert_eq!(row["CreatedBy"], json!(format!("RUN {}…", "x".repeat(40))));
        let row = history_row(&item, "<missing>".into(), &args(&["--no-trunc", "--human=false", "i"]));
        assert_eq!((&row["CreatedBy"], &row["Size"]), (&json!(long.replace('\t', " ")), &json!("1234")));
        assert_eq!((short("sha256:0123456789abcdef"), short("<missing>")), ("0123456789ab".into(), "<missing>".into()));
    }

    #[test]
    fn differences_name_their_steps() {
        let file = |kind, path: &str, step_of: &str, directory| ImageDiffFile {
            path: path.into(),
            kind,
            new_size: 3,
            directory,
            step_of: step_of.into(),
            step: 2,
            ..Default::default()
        };
        assert_eq!(file_line(&file(1, "/x", "b", false)), "A       +3B  b2   /x");
        assert_eq!(file_line(&file(0, "/d", "a", true)), "C       +3B  a2   /d/");
        let steps = vec![ImageStep { number: 2, created_by: "RUN\tx".into(), size: 0 }];
        let head = ImageDiffHead { b: ImageDiffImage { steps, ..Default::default() }, ..Default::default() };
        let told = BTreeSet::from([("b".to_owned(), 2), ("a".to_owned(), 1)]);
        assert_eq!(legend(&head, &told), "\na1: (not said)\nb2: RUN x\n\n");
        assert_eq!(legend(&head, &BTreeSet::new()), "");
    }

    #[test]
    fn trees() {
        let item = |id: &str, tag: &str, base: &str| ImageTreeItem {
            id: id.into(),
            tags: if tag.is_empty() { vec![] } else { vec![tag.into()] },
            base: base.into(),
            ..Default::default()
        };
        let items =
            [item("1", "z", ""), item("2", "a", ""), item("3", "", "2"), item("4", "b", "2"), item("5", "c", "4")];
        let lines: Vec<String> = drawn(&items).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, ["a", "├─ b", "│  └─ c", "└─ <none>", "z"]);
    }
}
