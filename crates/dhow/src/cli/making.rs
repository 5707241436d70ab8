//! `commit` and `import`: images made here.

use super::archives::standard_input;
use super::context::Context;
use super::output;
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use dhow_api::{IdResponse, JsonMessage};
use dhow_client::{Upload, query};
use dhow_types::Platform;
use std::io::IsTerminal;

/// Make an image of a container's changes
#[derive(Parser, Debug)]
pub struct CommitArgs {
    /// Who made it, for example "Jo Doe <jo@example.org>"
    #[arg(short, long, value_name = "NAME", default_value = "")]
    author: String,
    /// Edit the image by a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
    /// USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A note about the change
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// Freeze the container while its files are read
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    pause: bool,
    /// Let the container run on meanwhile; what it writes may come in half
    #[arg(long)]
    no_pause: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

/// `dhow commit`.
pub fn commit(context: &Context, args: CommitArgs) -> Result<i32> {
    if args.container.trim().is_empty() {
        return Err(dhow_client::Error::NoName.into());
    }
    let (repository, tag) = name(args.name.as_deref());
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let pause = args.pause && !args.no_pause;
    let mut pairs = vec![
        ("container", Some(args.container.clone())),
        ("repo", repository),
        ("tag", tag),
        ("comment", some(&args.message)),
        ("author", some(&args.author)),
        ("pause", Some(if pause { "1" } else { "0" }.to_owned())),
    ];
    pairs.extend(args.change.iter().map(|change| ("changes", Some(change.clone()))));
    let path = format!("/commit{}", query::build(&pairs));
    let made: IdResponse =
        context.with_daemon(&context.client(), |c| c.send("POST", &path)?.json()).map_err(super::names::reference)?;
    output::line(made.id);
    Ok(0)
}

/// Make an image of an archive of a root file system
#[derive(Parser, Debug)]
pub struct ImportArgs {
    /// Edit the image by a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
    /// USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A note about whence it came
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the files are for (os/arch[/variant]); this machine's platform without it
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// A tar archive, plain or compressed with gzip or zstd; `-` is standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

/// `dhow import`.
pub fn import(context: &Context, args: ImportArgs) -> Result<i32> {
    let source: Upload = match args.file.as_str() {
        "-" if std::io::stdin().is_terminal() => {
            bail!("requested import from stdin, but stdin is a terminal: give a file or pipe an archive in")
        }
        "-" => standard_input()?,
        url if url.starts_with("http://") || url.starts_with("https://") => {
            bail!(
                "importing from a URL is not supported: fetch it yourself, as in `curl -L {url} | dhow import - NAME`"
            )
        }
        path => std::fs::File::open(path).with_context(|| format!("open {path}"))?.into(),
    };
    let (repository, tag) = name(args.name.as_deref());
    let mut pairs = vec![
        ("fromSrc", Some("-".to_owned())),
        ("repo", repository),
        ("tag", tag),
        ("message", args.message.clone()),
        ("platform", args.platform.as_ref().map(ToString::to_string)),
    ];
    pairs.extend(args.change.iter().map(|change| ("changes", Some(change.clone()))));
    let path = format!("/images/create{}", query::build(&pairs));
    let client = context.client();
    // A daemon is started before the archive is read, which can be sent only once.
    context.awake(&client)?;
    let mut response = client.upload(&path, "application/x-tar", source)?;
    response.sent()?;
    let message: JsonMessage = response.json()?;
    if !message.error.is_empty() {
        bail!("{}", message.error);
    }
    output::line(message.status);
    Ok(0)
}

/// Repository and tag of a name; the daemon judges both.
fn name(name: Option<&str>) -> (Option<String>, Option<String>) {
    match name {
        None => (None, None),
        Some(name) => match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') && !name.contains('@') => {
                (Some(repository.to_owned()), Some(tag.to_owned()))
            }
            _ => (Some(name.to_owned()), None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_at_the_tag() {
        let owned = |(a, b): (Option<&str>, Option<&str>)| (a.map(str::to_owned), b.map(str::to_owned));
        for (text, want) in [
            (None, (None, None)),
            (Some("box"), (Some("box"), None)),
            (Some("box:v1"), (Some("box"), Some("v1"))),
            (Some("reg:5000/box"), (Some("reg:5000/box"), None)),
            (Some("reg:5000/box:v1"), (Some("reg:5000/box"), Some("v1"))),
            (Some("box@sha256:00"), (Some("box@sha256:00"), None)),
        ] {
            assert_eq!(name(text), owned(want), "{text:?}");
        }
    }
}
