//! `tag` and `rmi`: names of images come and go.

use super::archives::platform_json;
use super::context::Context;
use super::output;
use anyhow::Result;
use clap::Parser;
use dhow_api::ImageDeleteItem;
use dhow_client::query;
use dhow_types::Platform;

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
    if let Err(error) = context.with_daemon(&context.client(), |c| c.post_empty(&path)) {
        let error = reference(error);
        if error.is::<dhow_client::Error>() {
            return Err(error);
        }
        return Err(error.context(format!("Error parsing reference: {:?} is not a valid repository/tag", args.target)));
    }
    Ok(0)
}

/// A name that is none is said as Docker's client says it, which looks at names itself: without the daemon.
pub fn reference(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<dhow_client::Error>() {
        Some(dhow_client::Error::Api { status: 400, message, .. })
            if message.starts_with("invalid reference format") =>
        {
            anyhow::anyhow!("{message}")
        }
        _ => error,
    }
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
    /// Only if the image is for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Images, by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// `dhow rmi`.
pub fn rmi(context: &Context, args: RmiArgs) -> Result<i32> {
    let client = context.client();
    let query = query::build(&[
        ("force", query::flag(args.force)),
        ("noprune", query::flag(args.no_prune)),
        ("platforms", args.platform.as_ref().map(platform_json)),
    ]);
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
