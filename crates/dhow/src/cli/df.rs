//! `system df`: Docker's tables, and what Docker does not count, so that the sum is what `du` says.
//!
//! Without `-v` there are exactly Docker's four rows, for programs that read them; a terminal gets one line more.

use super::context::Context;
use super::df_parts::{self, Part};
use super::template::{Template, V, unescape};
use super::{image_rows, listing, output, ps, table, units};
use anyhow::Result;
use clap::Parser;
use dhow_api::{BuildCache, ContainerSummary, DiskUsage, ImageSummary, Volume};
use dhow_client::query;
use serde_json::{Value, json};
use std::io::IsTerminal as _;

/// Show how much of the disk is used, and by what
#[derive(Parser, Debug)]
#[command(
    after_help = "-v ends with everything below the root, part by part, in bytes: the sum is what `du -s` says of it."
)]
pub struct DfArgs {
    /// Each image, container, volume and log, and what the store needs for itself
    #[arg(short, long)]
    verbose: bool,
    /// Go template, `table …` or `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// `--format raw`.
const RAW: &str =
    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n";

/// `dhow system df`.
pub fn df(context: &Context, args: DfArgs) -> Result<i32> {
    let client = context.client();
    let path = format!("/system/df{}", query::build(&[("verbose", query::flag(args.verbose))]));
    let usage: DiskUsage = context.with_daemon(&client, |c| c.get(&path))?;
    if args.verbose {
        return verbose(&usage, args.format.as_deref());
    }
    let rows: Vec<V> =
        df_parts::of_docker(&usage).iter().map(|p| V::row("*formatter.diskUsageImagesContext", &row(p))).collect();
    let columns = [
        ("TYPE", "Type"),
        ("TOTAL", "TotalCount"),
        ("ACTIVE", "Active"),
        ("SIZE", "Size"),
        ("RECLAIMABLE", "Reclaimable"),
    ];
    let format = match args.format.as_deref() {
        Some("raw") => Some(RAW),
        other => other,
    };
    listing::print(format, &columns, &[], &rows)?;
    if args.format.is_none()
        && std::io::stdout().is_terminal()
        && let (Some(logs), Some(store), Some(total)) = (&usage.log_usage, &usage.store_usage, usage.total_size)
    {
        output::line(format!(
            "\nBesides these: logs {}, the store itself {}. Everything below the root: {} (-v for more)",
            units::human_sum(logs.total_size),
            units::human_sum(store.total_size),
            units::human_sum(total)
        ));
    }
    Ok(0)
}

fn row(part: &Part) -> Value {
    json!({
        "Type": part.kind,
        "TotalCount": part.total.to_string(),
        "Active": part.active.to_string(),
        "Size": units::human_sum(part.size),
        "Reclaimable": part.reclaimable(),
    })
}

fn verbose(usage: &DiskUsage, format: Option<&str>) -> Result<i32> {
    let is_table = matches!(format, None | Some("" | "table"));
    let images: Vec<Value> = df_parts::images(usage).iter().map(|i| image(i, is_table)).collect();
    let containers: Vec<Value> = df_parts::containers(usage).iter().map(|c| container(c, is_table)).collect();
    let volumes: Vec<Value> = df_parts::volumes(usage).iter().map(volume).collect();
    let caches: Vec<Value> = df_parts::caches(usage).iter().map(|c| cache(c, is_table)).collect();
    let logs: Vec<Value> = df_parts::logs(usage)
        .iter()
        .map(|l| json!({ "ID": id(&l.id, is_table), "Names": l.name, "Size": units::human_size(l.size), "Bytes": l.size }))
        .collect();
    let parts: Vec<Value> = df_parts::everything(usage)
        .iter()
        .map(|(part, bytes)| json!({ "Part": part, "Size": units::human_sum(*bytes), "Bytes": bytes }))
        .collect();
    if !is_table {
        let document = json!({
            "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": caches, "Logs": logs, "Parts": parts,
        });
        match format.unwrap_or_default() {
            "json" => output::line(document.to_string()),
            text => output::line(Template::parse(&unescape(text))?.render(&V::from(&document))?),
        }
        return Ok(0);
    }
    let cache_size = df_parts::of_docker(usage).iter().find(|p| p.kind == "Build Cache").map_or(0, |p| p.size);
    section("Images space usage:", IMAGES, &images);
    section("\nContainers space usage:", CONTAINERS, &containers);
    section("\nLocal Volumes space usage:", VOLUMES, &volumes);
    section(&format!("\nBuild cache usage: {}", units::human_sum(cache_size)), CACHES, &caches);
    if !parts.is_empty() {
        section("\nLogs space usage:", LOGS, &logs);
        section("\nEverything below the root:", PARTS, &parts);
    }
    Ok(0)
}

const IMAGES: &[(&str, &str)] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("CONTAINERS", "Containers"),
];
const CONTAINERS: &[(&str, &str)] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("SIZE", "Size"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("NAMES", "Names"),
];
const VOLUMES: &[(&str, &str)] = &[("VOLUME NAME", "Name"), ("LINKS", "Links"), ("SIZE", "Size")];
const CACHES: &[(&str, &str)] = &[
    ("CACHE ID", "ID"),
    ("CACHE TYPE", "CacheType"),
    ("SIZE", "Size"),
    ("CREATED", "CreatedSince"),
    ("LAST USED", "LastUsedSince"),
    ("USAGE", "UsageCount"),
    ("SHARED", "Shared"),
];
const LOGS: &[(&str, &str)] = &[("CONTAINER ID", "ID"), ("NAMES", "Names"), ("SIZE", "Size")];
const PARTS: &[(&str, &str)] = &[("PART", "Part"), ("SIZE", "Size"), ("BYTES", "Bytes")];

fn section(title: &str, columns: &[(&str, &str)], rows: &[Value]) {
    let cell = |row: &Value, field: &str| match &row[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|r| columns.iter().map(|(_, f)| cell(r, f)).collect()).collect();
    let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    output::text_out(format!("{title}\n\n{}", table::render(&header, &cells)));
}

fn id(id: &str, short: bool) -> &str {
    if short { id.get(..12).unwrap_or(id) } else { id }
}

fn image(image: &ImageSummary, short: bool) -> Value {
    // As in Docker: one row for an image, with its first name.
    let (repository, tag) = image
        .repo_tags
        .first()
        .filter(|t| *t != "<none>:<none>")
        .and_then(|t| t.rsplit_once(':'))
        .unwrap_or(("<none>", "<none>"));
    image_rows::row(image, (repository, tag, ""), !short)
}

fn container(container: &ContainerSummary, short: bool) -> Value {
    ps::row(container, !short)
}

fn volume(volume: &Volume) -> Value {
    let data = volume.usage_data.as_ref();
    let labels: Vec<String> = volume.labels.iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
    json!({
        "Name": volume.name,
        "Driver": volume.driver,
        "Scope": volume.scope,
        "Mountpoint": volume.mountpoint,
        "Labels": labels.join(","),
        "Links": data.map_or_else(|| "N/A".to_owned(), |d| d.ref_count.to_string()),
        "Size": data.filter(|d| d.size >= 0).map_or_else(|| "N/A".to_owned(), |d| units::human_sum(d.size)),
        "Availability": "N/A", "Group": "N/A", "Status": "N/A",
    })
}

fn cache(cache: &BuildCache, short: bool) -> Value {
    let since = |time: &str| format!("{} ago", units::human_duration(listing::age(time)));
    let used = cache.last_used_at.clone().unwrap_or_default();
    json!({
        "ID": format!("{}{}", id(&cache.id, short), if cache.in_use { "*" } else { "" }),
        "Parent": cache.parents.as_deref().unwrap_or_default().join(", "),
        "CacheType": cache.r#type,
        "Description": cache.description,
        "Size": units::human_size(cache.size),
        "CreatedAt": cache.created_at,
        "CreatedSince": since(&cache.created_at),
        "LastUsedSince": if used.is_empty() { String::new() } else { since(&used) },
        "LastUsedAt": used,
        "UsageCount": cache.usage_count.to_string(),
        "InUse": cache.in_use.to_string(),
        "Shared": cache.shared.to_string(),
    })
}
