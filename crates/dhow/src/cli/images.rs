//! `images` (`image ls`): which images are listed, and in which form.

use super::config::{self, Setting};
use super::context::Context;
use super::image_rows::{self, OTHERS, Shown, TreeImage};
use super::template::V;
use super::{listing, output};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::{DiskUsage, ImageSummary};
use dhow_client::{Client, query};
use serde_json::Value;
use std::collections::HashMap;

/// List images
#[derive(Parser, Debug)]
#[command(
    after_help = "Fields of a template: .Repository .Tag .Digest .ID .CreatedSince .CreatedAt .Size .SharedSize .UniqueSize\n\
                  .Containers, and dhow's own .LastUsed and .LastUsedAt."
)]
pub struct ImagesArgs {
    /// Those in between too; dhow has none
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that match (reference=, dangling=, label=, before=, since=, until=)
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = listing::filter)]
    filter: Vec<String>,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Each image once, with all its names, its platform and what it takes on disk
    #[arg(long)]
    tree: bool,
    /// Only this name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

const COLUMNS: [(&str, &str); 5] =
    [("REPOSITORY", "Repository"), ("TAG", "Tag"), ("IMAGE ID", "ID"), ("CREATED", "CreatedSince"), ("SIZE", "Size")];

/// `--format raw`: before the digest, the digest, behind it.
const RAW: (&str, &str, &str) = (
    "repository: {{ .Repository }}\ntag: {{.Tag}}\n",
    "digest: {{.Digest}}\n",
    "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
);

/// `dhow images`.
pub fn images(context: &Context, args: ImagesArgs) -> Result<i32> {
    let given = config::or_configured(args.format.as_deref(), Setting::Images);
    let format = given.as_deref();
    if args.tree {
        let given = [
            ("--quiet", args.quiet),
            ("--no-trunc", args.no_trunc),
            ("--digests", args.digests),
            ("--format", args.format.as_deref().is_some_and(|f| !f.is_empty())),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            bail!("{flag} is not yet supported with --tree");
        }
    }
    let mut filters = listing::read_filters(&args.filter);
    if let Some(name) = &args.name {
        filters.add("reference", name);
    }
    let is_table = matches!(format, None | Some("table"));
    let templated = format.filter(|_| !is_table);
    // To count what images share takes longer, so it is asked for only where it is shown.
    let shares = templated.is_some_and(|f| f == "json" || f.contains(".SharedSize") || f.contains(".UniqueSize"));
    let path = format!(
        "/images/json{}",
        query::build(&[
            ("all", query::flag(args.all)),
            ("filters", (!filters.is_empty()).then(|| filters.to_text())),
            ("shared-size", query::flag(shares)),
        ])
    );
    let client = context.client();
    let images: Vec<ImageSummary> = context.with_daemon(&client, |c| c.get(&path))?;
    if let Some(name) = args.name.as_deref().filter(|_| images.is_empty()) {
        hint(name);
    }
    if args.tree {
        output::text_out(image_rows::tree(&tree(&client, &images)?));
        return Ok(0);
    }
    let names_digests = templated.is_some_and(|f| f.contains("{{.Digest}}"));
    let rows = image_rows::rows(&images, Shown { full: args.no_trunc, digests: args.digests, names_digests });
    let rows: Vec<V> = rows.iter().map(|row| V::row("*formatter.imageContext", row)).collect();
    let raw = format!("{}{}", RAW.0, if args.digests { RAW.1 } else { "" }) + RAW.2;
    let format = match format {
        Some("raw") if args.quiet => Some("image_id: {{.ID}}"),
        Some("raw") => Some(raw.as_str()),
        _ if listing::only_ids(args.quiet, format) => Some("{{.ID}}"),
        other => other,
    };
    let mut columns = COLUMNS.to_vec();
    if args.digests {
        columns.insert(2, ("DIGEST", "Digest"));
    }
    let wants_column = |f: &&str| f.starts_with("table") && args.digests && !f.contains("{{.Digest}}");
    let with_digest = templated.filter(wants_column).map(|f| format!("{f}\t{{{{.Digest}}}}"));
    listing::print(with_digest.as_deref().or(format), &columns, OTHERS, &rows)?;
    Ok(0)
}

/// A word that was meant as a command: `images ls` looks for an image of that name.
fn hint(name: &str) {
    const COMMANDS: [&str; 11] =
        ["diff", "history", "import", "inspect", "list", "load", "ls", "prune", "rm", "save", "tag"];
    if COMMANDS.contains(&name) {
        output::note(format!("\nNo images found matching {name:?}: did you mean \"dhow image {name}\"?"));
    }
}

/// What a list does not say: platforms, and space on disk.
fn tree(client: &Client, images: &[ImageSummary]) -> Result<Vec<TreeImage>> {
    let usage: DiskUsage = client.get("/system/df?type=image&verbose=1")?;
    let disk: HashMap<&str, i64> = super::df_parts::images(&usage).iter().map(|i| (i.id.as_str(), i.size)).collect();
    let mut out = Vec::new();
    for image in images {
        // One that can't be read has no platform to show; the others have.
        let document: Value = match client.get(&format!("/images/{}/json", query::encode_path(&image.id))) {
            Ok(document) => document,
            // Removed meanwhile.
            Err(e) if e.status() == Some(404) => continue,
            Err(_) if !image.damaged.is_empty() => {
                output::note(&image.damaged);
                Value::Null
            }
            Err(e) => return Err(e.into()),
        };
        let word = |name: &str| document[name].as_str().filter(|w| !w.is_empty()).map(str::to_owned);
        let platform = [word("Os"), word("Architecture"), word("Variant")].into_iter().flatten().collect::<Vec<_>>();
        out.push(TreeImage {
            names: image.repo_tags.iter().filter(|t| *t != "<none>:<none>").cloned().collect(),
            id: image.id.clone(),
            platform: platform.join("/"),
            disk: disk.get(image.id.as_str()).copied().unwrap_or(image.size),
            content: image.size,
            in_use: image.containers > 0,
        });
    }
    Ok(out)
}
