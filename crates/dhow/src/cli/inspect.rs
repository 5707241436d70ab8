//! `inspect` of containers and images.

use super::archives::platform_json;
use super::context::Context;
use super::template::{Template, unescape};
use super::{Exit, output};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_client::query;
use dhow_types::Platform;
use serde_json::Value;

/// Show everything about containers and images as JSON
#[derive(Parser, Debug)]
pub struct InspectArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Look for this kind only: container or image
    #[arg(long, value_name = "KIND")]
    r#type: Option<String>,
    /// Sizes of containers too
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// Show everything about containers as JSON
#[derive(Parser, Debug)]
pub struct ContainersArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes too
    #[arg(short, long)]
    size: bool,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

/// Show everything about images as JSON
#[derive(Parser, Debug)]
pub struct ImagesArgs {
    /// Go template or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only if the image is for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Images, by name or id
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

/// What is asked for.
struct Asked {
    kinds: &'static [&'static str],
    format: Option<String>,
    size: bool,
    platform: Option<Platform>,
    names: Vec<String>,
}

/// `dhow inspect`.
pub fn inspect(context: &Context, args: InspectArgs) -> Result<i32> {
    let kinds: &'static [&'static str] = match args.r#type.as_deref() {
        None | Some("") => &["container", "image"],
        Some("container") => &["container"],
        Some("image") => &["image"],
        Some(other) => bail!("{other:?} is not a kind that dhow has; it has container and image"),
    };
    show(context, &Asked { kinds, format: args.format, size: args.size, platform: None, names: args.names })
}

/// `dhow container inspect`.
pub fn containers(context: &Context, args: ContainersArgs) -> Result<i32> {
    let ContainersArgs { format, size, names } = args;
    show(context, &Asked { kinds: &["container"], format, size, platform: None, names })
}

/// `dhow image inspect`.
pub fn images(context: &Context, args: ImagesArgs) -> Result<i32> {
    let ImagesArgs { format, platform, names } = args;
    show(context, &Asked { kinds: &["image"], format, size: false, platform, names })
}

fn show(context: &Context, args: &Asked) -> Result<i32> {
    let kinds = args.kinds;
    let template = match args.format.as_deref() {
        None | Some("json" | "") => None,
        Some(text) => match Template::parse(&unescape(text)) {
            Ok(template) => Some(template),
            Err(error) => {
                output::note(format!("template parsing error: {error:#}"));
                return Err(Exit(64).into());
            }
        },
    };
    let client = context.client();
    let mut found: Vec<Value> = Vec::new();
    let mut wrong = Vec::new();
    for name in &args.names {
        let mut one = None;
        for kind in kinds {
            let path = match *kind {
                "container" => format!(
                    "/containers/{}/json{}",
                    query::encode(name),
                    query::build(&[("size", query::flag(args.size))])
                ),
                _ => format!(
                    "/images/{}/json{}",
                    query::encode_path(name),
                    query::build(&[("platform", args.platform.as_ref().map(platform_json))])
                ),
            };
            match context.with_daemon(&client, |c| c.get::<Value>(&path)) {
                Ok(document) => {
                    one = Some(document);
                    break;
                }
                Err(e) if matches!(e.downcast_ref(), Some(dhow_client::Error::Api { status: 404, message: _ })) => {
                    if kinds.len() == 1 {
                        wrong.push(format!("{e:#}"));
                    }
                }
                Err(e) => return Err(e),
            }
        }
        match one {
            Some(document) => found.push(document),
            None if kinds.len() > 1 => wrong.push(format!("Error: No such object: {name}")),
            None => {}
        }
    }
    match (&template, args.format.as_deref()) {
        (Some(template), _) => {
            for document in &found {
                match template.render(document) {
                    Ok(text) => output::line(text),
                    Err(error) => wrong.push(format!("template parsing error: {error:#}")),
                }
            }
        }
        (None, Some("json")) => output::line(serde_json::to_string(&found)?),
        (None, _) => output::line(pretty(&found)?),
    }
    wrong.iter().for_each(output::note);
    Ok(i32::from(!wrong.is_empty()))
}

/// JSON with four spaces, as Docker indents it.
fn pretty(documents: &[Value]) -> Result<String> {
    let mut out = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(documents, &mut serde_json::Serializer::with_formatter(&mut out, format))?;
    Ok(String::from_utf8(out)?)
}
