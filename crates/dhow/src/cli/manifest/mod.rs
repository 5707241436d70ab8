//! `manifest`: lists of images for several platforms, made by hand. Lists that are being made lie where Docker's client
//! keeps its own ([`kept`]); what registries have is asked of the daemon.

mod document;
mod kept;

use super::context::Context;
use super::inspect::indented;
use super::pull::AUTH;
use super::{output, remote};
use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use dhow_api::remote::{ManifestPush, ManifestPushImage, ManifestPushed, ManifestRead};
use dhow_client::query;
use dhow_types::Reference;
use document::{Entry, Platform};

/// Make a list of images, to be annotated and pushed
#[derive(Parser, Debug)]
pub struct CreateArgs {
    /// Add to a list that there is
    #[arg(short, long)]
    amend: bool,
    /// Allow a registry without TLS, or with any certificate
    #[arg(long)]
    insecure: bool,
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    /// Its images, as their registry has them
    #[arg(value_name = "MANIFEST", required = true)]
    images: Vec<String>,
}

/// Say for which platform an image of a list is
#[derive(Parser, Debug)]
pub struct AnnotateArgs {
    /// Architecture
    #[arg(long, value_name = "ARCH", default_value = "", hide_default_value = true)]
    arch: String,
    /// Operating system
    #[arg(long, value_name = "OS", default_value = "", hide_default_value = true)]
    os: String,
    /// Feature of the operating system
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    os_version: String,
    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT", default_value = "", hide_default_value = true)]
    variant: String,
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    /// The image in it
    #[arg(value_name = "MANIFEST")]
    image: String,
}

/// Show a manifest, or a list of them
#[derive(Parser, Debug)]
pub struct InspectArgs {
    /// Allow a registry without TLS, or with any certificate
    #[arg(long)]
    insecure: bool,
    /// Say more: each image's manifest and platform
    #[arg(short, long)]
    verbose: bool,
    /// The list that it is in, and the manifest
    #[arg(value_name = "[MANIFEST_LIST] MANIFEST", required = true, num_args = 1..=2)]
    names: Vec<String>,
}

/// Push a list to its repository
#[derive(Parser, Debug)]
pub struct PushArgs {
    /// Allow a registry without TLS, or with any certificate
    #[arg(long)]
    insecure: bool,
    /// Forget the list when it is pushed
    #[arg(short, long)]
    purge: bool,
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
}

/// Forget lists that were made here
#[derive(Parser, Debug)]
pub struct RmArgs {
    /// The lists
    #[arg(value_name = "MANIFEST_LIST", required = true)]
    lists: Vec<String>,
}

fn named(name: &str) -> Result<Reference> {
    Ok(name.parse::<Reference>().map_err(|e| anyhow!("{e}"))?.or_latest())
}

/// Where the daemon is asked.
fn path(name: &Reference, insecure: bool) -> String {
    let query = query::build(&[("name", Some(name.to_string())), ("insecure", query::flag(insecure))]);
    format!("/dhow/manifests{query}")
}

/// What a registry has under a name.
fn ask(context: &Context, name: &Reference, insecure: bool) -> Result<ManifestRead> {
    let auth = remote::header(name);
    let fields: Vec<(&str, &str)> = auth.iter().map(|value| (AUTH, value.as_str())).collect();
    let client = context.client();
    let path = path(name, insecure);
    match context.with_daemon(&client, |c| c.send_fields("GET", &path, &fields)?.json()) {
        Err(e) if matches!(e.downcast_ref(), Some(dhow_client::Error::Api { status: 404, .. })) => {
            bail!("no such manifest: {name} ({e:#})")
        }
        answer => answer,
    }
}

/// `dhow manifest create`.
pub fn create(context: &Context, args: CreateArgs) -> Result<i32> {
    let list = named(&args.list).with_context(|| format!("error parsing name for manifest list {}", args.list))?;
    if kept::list(&list)?.is_some() && !args.amend {
        bail!("refusing to amend an existing manifest list with no --amend flag");
    }
    for image in &args.images {
        let image = named(image)?;
        let entry = match kept::get(&list, &image)? {
            Some(entry) => entry,
            None => {
                let read = ask(context, &image, args.insecure)?;
                if read.images.is_some() {
                    bail!("{image} is a manifest list");
                }
                Entry::of(&image, &read.top, None)?
            }
        };
        kept::put(&list, &image, &entry)?;
    }
    output::line(format!("Created manifest list {list}"));
    Ok(0)
}

/// `dhow manifest annotate`.
pub fn annotate(_: &Context, args: AnnotateArgs) -> Result<i32> {
    let list =
        named(&args.list).with_context(|| format!("annotate: error parsing name for manifest list {}", args.list))?;
    let image =
        named(&args.image).with_context(|| format!("annotate: error parsing name for manifest {}", args.image))?;
    let missing = || anyhow!("manifest for image {} does not exist in {}", args.image, args.list);
    let mut entry = kept::get(&list, &image)?.ok_or_else(missing)?;
    let platform = entry.descriptor.platform.get_or_insert_default();
    for (given, field) in [
        (&args.os, &mut platform.os),
        (&args.arch, &mut platform.architecture),
        (&args.variant, &mut platform.variant),
        (&args.os_version, &mut platform.os_version),
    ] {
        if !given.is_empty() {
            field.clone_from(given);
        }
    }
    for feature in &args.os_features {
        if !platform.os_features.contains(feature) {
            platform.os_features.push(feature.clone());
        }
    }
    if !platform.is_known() {
        let (os, arch) = (&platform.os, &platform.architecture);
        bail!("manifest entry for image has unsupported os/arch combination: {os}/{arch}");
    }
    kept::put(&list, &image, &entry)?;
    Ok(0)
}

/// `dhow manifest inspect`.
pub fn inspect(context: &Context, args: InspectArgs) -> Result<i32> {
    let text = match args.names.as_slice() {
        [list, image] => {
            let (list, image) = (named(list)?, named(image)?);
            let entry = kept::get(&list, &image)?.ok_or_else(|| anyhow!("No such manifest: {image}"))?;
            one(&entry, args.verbose)?
        }
        names => {
            let name = named(names.first().map(String::as_str).unwrap_or_default())?;
            match kept::list(&name)? {
                Some(list) => several(&name, &list, args.verbose)?,
                None => {
                    let read = ask(context, &name, args.insecure)?;
                    match &read.images {
                        None => one(&Entry::of(&name, &read.top, None)?, args.verbose)?,
                        Some(_) => several(&name, &document::entries(&name, &read)?, args.verbose)?,
                    }
                }
            }
        }
    };
    output::line(text);
    Ok(0)
}

fn one(entry: &Entry, verbose: bool) -> Result<String> {
    let text = if verbose { serde_json::to_string(entry)? } else { entry.text()? };
    Ok(indented(&text, "\t"))
}

fn several(name: &Reference, list: &[Entry], verbose: bool) -> Result<String> {
    match verbose {
        true => Ok(indented(&serde_json::to_string(list)?, "\t")),
        false => Ok(document::list(name, list)?.1),
    }
}

/// `dhow manifest push`.
pub fn push(context: &Context, args: PushArgs) -> Result<i32> {
    let name = named(&args.list)?;
    let entries = kept::list(&name)?.ok_or_else(|| anyhow!("No such manifest: {name}"))?;
    if entries.is_empty() {
        bail!("{name} not found");
    }
    let unfit = |p: &Option<Platform>| p.as_ref().is_none_or(|p| p.os.is_empty() || p.architecture.is_empty());
    if let Some(entry) = entries.iter().find(|e| unfit(&e.descriptor.platform)) {
        bail!("manifest {} must have an OS and Architecture to be pushed to a registry", entry.name);
    }
    let (media_type, text) = document::list(&name, &entries)?;
    let mut elsewhere = Vec::new();
    for entry in &entries {
        let image = named(&entry.name)?;
        if image.path() != name.path() {
            elsewhere.push(ManifestPushImage { name: image.name(), raw: entry.raw.clone() });
        }
    }
    let request = ManifestPush { media_type, raw: STANDARD.encode(text), images: elsewhere };
    let auth = remote::header(&name);
    let fields: Vec<(&str, &str)> = auth.iter().map(|value| (AUTH, value.as_str())).collect();
    let client = context.client();
    context.with_daemon(&client, |c| c.send("GET", "/_ping")?.finish())?;
    let path = path(&name, args.insecure);
    let pushed: ManifestPushed = client.send_json_fields("POST", &path, &fields, &request)?.json()?;
    for digest in &pushed.images {
        output::line(format!("Pushed ref {}@{digest} with digest: {digest}", name.name()));
    }
    output::line(&pushed.digest);
    if args.purge {
        kept::remove(&name)?;
    }
    Ok(0)
}

/// `dhow manifest rm`.
pub fn rm(_: &Context, args: RmArgs) -> Result<i32> {
    let mut code = 0;
    for list in &args.lists {
        let done = named(list).and_then(|name| match kept::remove(&name)? {
            true => Ok(()),
            false => bail!("No such manifest: {name}"),
        });
        if let Err(error) = done {
            output::note(format!("{error:#}"));
            code = 1;
        }
    }
    Ok(code)
}
