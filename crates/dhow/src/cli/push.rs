//! `push`: an image to a registry.

use super::archives::platform_json;
use super::context::Context;
use super::interrupt::Leave;
use super::progress::{self, To};
use super::pull::{AUTH, named, without_signatures};
use super::{credentials, output, remark};
use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use dhow_client::query;
use dhow_types::Platform;
use serde_json::Value;

/// How layers are compressed on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    Gzip,
    Zstd,
}

/// Send an image to a registry
#[derive(Parser, Debug)]
pub struct PushArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// How layers are compressed that the registry does not have (not in Docker)
    #[arg(long, value_name = "gzip|zstd")]
    compression: Option<Compression>,
    /// Don't sign the image (without effect: nothing is signed)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    disable_content_trust: Option<bool>,
    /// Only the image for this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print the name only
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

const ONE_PLATFORM: &str = "Using --platform pushes only the specified platform manifest of a multi-platform image index.\nOther components, like attestations, will not be included.\nTo push the complete multi-platform image, remove the --platform flag.\n";

/// `dhow push`.
pub fn push(context: &Context, args: PushArgs) -> Result<i32> {
    let platform = match args.platform.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match text.parse::<Platform>() {
            Ok(platform) => {
                remark::on_stdout(ONE_PLATFORM);
                Some(platform)
            }
            Err(error) => bail!("Invalid platform {text}: {error}"),
        },
    };
    let reference = named(&args.name, args.all_tags, args.quiet)?;
    without_signatures(args.disable_content_trust)?;
    if reference.digest().is_some() {
        bail!("cannot push a digest reference: give the image a tag by `dhow tag`, and push that");
    }
    let header = credentials::header(credentials::names::of_domain(reference.domain()));
    let fields: Vec<(&str, &str)> = header.iter().map(|value| (AUTH, value.as_str())).collect();
    let path = format!(
        "/images/{}/push{}",
        query::encode_path(&reference.familiar_name()),
        query::build(&[
            ("tag", reference.tag().map(str::to_owned)),
            ("platform", platform.as_ref().map(platform_json)),
            ("compression", args.compression.map(|c| format!("{c:?}").to_lowercase())),
        ])
    );
    let client = context.client();
    context.awake(&client)?;
    let _leave = Leave::when_interrupted(None)?;
    let mut response = client.send_fields("POST", &path, &fields)?;
    let to = if args.quiet { To::Nowhere } else { To::Stdout };
    let ended = progress::follow(&mut response.body, to)?;
    ended.aside.iter().filter_map(remark_of).for_each(|text| remark::on_stdout(&text));
    if let Some(error) = ended.error {
        output::note(error);
        return Ok(1);
    }
    if args.quiet {
        output::line(reference.to_string());
    }
    Ok(0)
}

/// What people are to know of what the daemon told programs.
fn remark_of(aside: &Value) -> Option<String> {
    let is = |name: &str| aside[name].as_bool() == Some(true);
    let digest = |name: &str| aside[name]["digest"].as_str().unwrap_or_default().to_owned();
    if is("manifestPushedInsteadOfIndex") {
        return Some(format!(
            "Not all multiplatform-content is present and only the available single-platform image was pushed\n{} -> {}",
            digest("originalIndex"),
            digest("selectedManifest")
        ));
    }
    is("contentMissing").then(|| {
        "Not all that the image's index names is here or at the registry: pull all of it and push again, or push one platform by --platform"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::remark_of;
    use serde_json::json;

    #[test]
    fn asides_that_people_are_to_know() {
        assert_eq!(remark_of(&json!({"Tag": "latest", "Digest": "sha256:1", "Size": 5})), None);
        let stripped = json!({"manifestPushedInsteadOfIndex": true,
            "originalIndex": {"digest": "sha256:1"}, "selectedManifest": {"digest": "sha256:2"}});
        assert!(remark_of(&stripped).unwrap().ends_with("sha256:1 -> sha256:2"));
        assert!(remark_of(&json!({"contentMissing": true})).unwrap().contains("--platform"));
    }
}
