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
    /// Only if the image is for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// `dhow inspect`.
pub fn inspect(context: &Context, args: InspectArgs) -> Result<i32> {
    let kinds: &[&str] = match args.r#type.as_deref() {
        None | Some("") => &["container", "image"],
        Some("container") => &["container"],
        Some("image") => &["image"],
        Some(other) => bail!("{other:?} is not a kind that dhow has; it has container and image"),
    };
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
    if args.platform.is_some() && kinds != ["image"] {
        bail!("--platform is for images: use it with `image inspect`");
    }
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
