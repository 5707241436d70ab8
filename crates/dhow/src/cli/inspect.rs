//! `inspect` of containers and images.

use super::archives::platform_json;
use super::context::Context;
use super::pull::AUTH;
use super::template::{Template, V};
use super::{Exit, output};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_client::query;
use dhow_types::Platform;

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
    /// Only if the image is for this platform (os/arch[/variant]); with --remote, which of an index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// As its registry has it, without bringing it here
    #[arg(long)]
    remote: bool,
    /// Signatures and whatever else refers to it, too (with --remote)
    #[arg(long, requires = "remote")]
    referrers: bool,
    /// Only what refers to it and is of this type (with --remote)
    #[arg(long, value_name = "TYPE", requires = "remote")]
    artifact_type: Option<String>,
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
    remote: Option<Remote>,
    names: Vec<String>,
}

/// What is asked of a registry.
struct Remote {
    referrers: bool,
    artifact_type: Option<String>,
}

/// `dhow inspect`.
pub fn inspect(context: &Context, args: InspectArgs) -> Result<i32> {
    let kinds: &'static [&'static str] = match args.r#type.as_deref() {
        None | Some("") => &["container", "image"],
        Some("container") => &["container"],
        Some("image") => &["image"],
        Some(other) => bail!("unknown type: {other:?}: must be one of \"container\", \"image\""),
    };
    show(
        context,
        &Asked { kinds, format: args.format, size: args.size, platform: None, remote: None, names: args.names },
    )
}

/// `dhow container inspect`.
pub fn containers(context: &Context, args: ContainersArgs) -> Result<i32> {
    let ContainersArgs { format, size, names } = args;
    show(context, &Asked { kinds: &["container"], format, size, platform: None, remote: None, names })
}

/// `dhow image inspect`.
pub fn images(context: &Context, args: ImagesArgs) -> Result<i32> {
    let ImagesArgs { format, platform, remote, referrers, artifact_type, names } = args;
    let remote = remote.then_some(Remote { referrers, artifact_type });
    show(context, &Asked { kinds: &["image"], format, size: false, platform, remote, names })
}

fn show(context: &Context, args: &Asked) -> Result<i32> {
    let kinds = args.kinds;
    let template = match args.format.as_deref() {
        None | Some("json" | "") => None,
        Some(text) => match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                output::note(format!("template parsing error: {error:#}"));
                return Err(Exit(64).into());
            }
        },
    };
    let client = context.client();
    let mut found: Vec<V> = Vec::new();
    let mut wrong = Vec::new();
    for name in &args.names {
        let mut one = None;
        let before = wrong.len();
        if name.trim().is_empty() && kinds != ["image"] {
            wrong.push("invalid container name or ID: value is empty".to_owned());
            continue;
        }
        for kind in kinds {
            let mut auth = None;
            let path = match *kind {
                _ if args.remote.is_some() => {
                    let path;
                    (path, auth) = at_registry(args, name);
                    path
                }
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
            let fields: Vec<(&str, &str)> = auth.iter().map(|value: &String| (AUTH, value.as_str())).collect();
            match context.with_daemon(&client, |c| c.send_fields("GET", &path, &fields)?.json::<V>()) {
                Ok(document) => {
                    one = Some(document);
                    break;
                }
                Err(e) if matches!(e.downcast_ref(), Some(dhow_client::Error::Api { status: 404, .. })) => {
                    if kinds.len() == 1 {
                        wrong.push(format!("{e:#}"));
                    }
                }
                Err(e) => {
                    wrong.push(format!("{e:#}"));
                    break;
                }
            }
        }
        match one {
            Some(document) => found.push(document),
            None if kinds.len() > 1 && wrong.len() == before => wrong.push(format!("Error: No such object: {name}")),
            None => {}
        }
    }
    let mut out = String::new();
    match (&template, args.format.as_deref()) {
        (Some(template), _) => {
            for document in &found {
                match template.render_document(document) {
                    Ok(text) => out.push_str(&(text + "\n")),
                    Err(error) => wrong.push(format!("template parsing error: {error:#}")),
                }
            }
            // Docker ends the line that is not there.
            if out.is_empty() {
                out.push('\n');
            }
        }
        (None, Some("json")) => {
            V::List(found).json(&mut out);
            out.push('\n');
        }
        (None, _) => out = pretty(&found) + "\n",
    }
    output::text_out(out);
    wrong.iter().for_each(output::note);
    Ok(i32::from(!wrong.is_empty()))
}

/// Where an image is asked for at its registry, and as whom. A name that is none is the daemon's to refuse.
fn at_registry(args: &Asked, name: &str) -> (String, Option<String>) {
    let remote = args.remote.as_ref();
    let query = query::build(&[
        ("name", Some(name.to_owned())),
        ("platform", args.platform.as_ref().map(ToString::to_string)),
        ("referrers", query::flag(remote.is_some_and(|r| r.referrers))),
        ("artifact-type", remote.and_then(|r| r.artifact_type.clone())),
    ]);
    let auth = name.parse().ok().as_ref().and_then(super::remote::header);
    (format!("/dhow/images/remote{query}"), auth)
}

/// JSON with four spaces, as Docker indents it.
pub fn pretty(documents: &[V]) -> String {
    let mut text = String::new();
    V::List(documents.to_vec()).json(&mut text);
    indented(&text, "    ")
}

/// JSON whose members stand in lines of their own.
pub fn indented(text: &str, unit: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    let line = |out: &mut String, depth: usize| out.push_str(&format!("\n{}", unit.repeat(depth)));
    let mut blank = false;
    // Of texts nothing goes, between them the spaces that there were.
    let text = text.chars().filter(|c| {
        if !blank && c.is_ascii_whitespace() {
            return false;
        }
        if blank {
            blank = *c != '"' || escaped;
            escaped = *c == '\\' && !escaped;
        } else {
            blank = *c == '"';
        }
        true
    });
    let text: String = text.collect();
    escaped = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quoted {
            quoted = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        match c {
            '{' | '[' if chars.next_if(|n| matches!(n, '}' | ']')).is_some() => {
                out.push_str(if c == '{' { "{}" } else { "[]" });
            }
            '{' | '[' => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                quoted = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_indented() {
        let document: V = serde_json::from_str(r#"{"A":[],"B":{"z":"a{\"[:,","y":{}},"C":[1,2]}"#).unwrap();
        let want = "[\n    {\n        \"A\": [],\n        \"B\": {\n            \"z\": \"a{\\\"[:,\",\n            \"y\": {}\n        },\n        \"C\": [\n            1,\n            2\n        ]\n    }\n]";
        assert_eq!(pretty(&[document]), want);
        assert_eq!(pretty(&[]), "[]");
        let spaced = "{ \"a b\" : [ ] ,\n \"c\\\" \":1 }";
        assert_eq!(indented(spaced, "\t"), "{\n\t\"a b\": [],\n\t\"c\\\" \": 1\n}");
    }
}
