//! `images`, `tag` and `rmi`.

use super::context::Context;
use super::{listing, output, units};
use anyhow::Result;
use clap::Parser;
use dhow_api::{ImageDeleteItem, ImageSummary};
use dhow_client::query;
use serde_json::{Value, json};

/// List images
#[derive(Parser, Debug)]
pub struct ImagesArgs {
    /// Images without a name too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that match (reference=, dangling=, label=, before=, since=)
    #[arg(short, long, value_name = "NAME=VALUE")]
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
    /// Only this name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// `dhow images`.
pub fn images(context: &Context, args: ImagesArgs) -> Result<i32> {
    let client = context.client();
    let mut wanted = args.filter.clone();
    wanted.extend(args.name.as_ref().map(|n| format!("reference={n}")));
    let path = format!(
        "/images/json{}",
        query::build(&[("all", query::flag(args.all)), ("filters", listing::filters(&wanted)?)])
    );
    let images: Vec<ImageSummary> = context.with_daemon(&client, |c| c.get(&path))?;
    let short = |id: &str| {
        if args.no_trunc { id.to_owned() } else { id.trim_start_matches("sha256:").chars().take(12).collect() }
    };
    if args.quiet && args.format.is_none() {
        images.iter().for_each(|i| output::line(short(&i.id)));
        return Ok(0);
    }
    let mut rows: Vec<Value> = Vec::new();
    for image in &images {
        let created = jiff::Timestamp::from_second(image.created).map(|t| t.to_string()).unwrap_or_default();
        let none = "<none>:<none>".to_owned();
        let names = if image.repo_tags.is_empty() { std::slice::from_ref(&none) } else { &image.repo_tags };
        for name in names {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
            let digest = image.repo_digests.iter().find_map(|d| d.strip_prefix(repository)?.strip_prefix('@'));
            rows.push(json!({
                "Repository": repository,
                "Tag": tag,
                "Digest": digest.unwrap_or("<none>"),
                "ID": short(&image.id),
                "CreatedSince": format!("{} ago", units::human_duration(listing::age(&created))),
                "CreatedAt": created,
                "Size": units::human_size(image.size),
                "VirtualSize": units::human_size(image.size),
                "Containers": if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() },
                "SharedSize": if image.shared_size < 0 { "N/A".to_owned() } else { units::human_size(image.shared_size) },
            }));
        }
    }
    let mut columns = vec![
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ];
    if args.digests {
        columns.insert(2, ("DIGEST", "Digest"));
    }
    listing::print(args.format.as_deref(), &columns, &rows)?;
    Ok(0)
}

/// Give an image another name
#[derive(Parser, Debug)]
pub struct TagArgs {
    /// The image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

/// `dhow tag`.
pub fn tag(context: &Context, args: TagArgs) -> Result<i32> {
    let (repository, tag) = match args.target.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), Some(tag.to_owned())),
        _ => (args.target.clone(), None),
    };
    let path = format!(
        "/images/{}/tag{}",
        query::encode_path(&args.source),
        query::build(&[("repo", Some(repository)), ("tag", tag)])
    );
    context.with_daemon(&context.client(), |c| c.post_empty(&path))?;
    Ok(0)
}

/// Remove images
#[derive(Parser, Debug)]
pub struct RmiArgs {
    /// Also if stopped containers use it, or if it has several names
    #[arg(short, long)]
    force: bool,
    /// Keep parents without a name
    #[arg(long)]
    no_prune: bool,
    /// Images, by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// `dhow rmi`.
pub fn rmi(context: &Context, args: RmiArgs) -> Result<i32> {
    let client = context.client();
    let query = query::build(&[("force", query::flag(args.force)), ("noprune", query::flag(args.no_prune))]);
    let mut code = 0;
    for image in &args.images {
        let path = format!("/images/{}{query}", query::encode_path(image));
        match context.with_daemon(&client, |c| c.send("DELETE", &path)?.json::<Vec<ImageDeleteItem>>()) {
            Ok(removed) => {
                for item in removed {
                    if item.deleted.is_empty() {
                        output::line(format!("Untagged: {}", item.untagged));
                    } else {
                        output::line(format!("Deleted: {}", item.deleted));
                    }
                }
            }
            Err(error) => {
                let gone = matches!(error.downcast_ref(), Some(dhow_client::Error::Api { status: 404, .. }));
                output::note(format!("{error:#}"));
                code = code.max(i32::from(!(gone && args.force)));
            }
        }
    }
    Ok(code)
}
