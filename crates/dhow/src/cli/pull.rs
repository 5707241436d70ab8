//! `pull`, and what `run` and `create` fetch before they begin.

use super::context::Context;
use super::interrupt::Leave;
use super::progress::{self, To};
use super::{credentials, output};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_client::query;
use dhow_types::Reference;

/// The header field for the daemon's word to a registry.
pub const AUTH: &str = "X-Registry-Auth";

/// Fetch an image from a registry
#[derive(Parser, Debug)]
pub struct PullArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Don't verify the image's signature (without effect: none is looked at)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    disable_content_trust: Option<bool>,
    /// Platform (os/arch[/variant]) to choose where there are several
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Print the name only
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

/// `dhow pull`.
pub fn pull(context: &Context, args: PullArgs) -> Result<i32> {
    let reference = named(&args.name, args.all_tags, args.quiet)?;
    without_signatures(args.disable_content_trust)?;
    let header = credentials::header(credentials::names::of_domain(reference.domain()));
    let request =
        Request { reference: &reference, all_tags: args.all_tags, platform: platform(args.platform.as_deref()) };
    let to = if args.quiet { To::Nowhere } else { To::Stdout };
    if let Some(error) = request.send(context, header, to)? {
        output::note(error);
        return Ok(1);
    }
    output::line(reference.to_string());
    Ok(0)
}

/// The name of a repository, or of an image in it: its tag is `latest` if none is said.
pub fn named(name: &str, all_tags: bool, quiet: bool) -> Result<Reference> {
    let reference: Reference = name.parse().map_err(|e: dhow_types::Error| match e.to_string() {
        // To Docker's client it is all one grammar.
        said if said.starts_with("invalid digest") => anyhow::anyhow!("invalid reference format"),
        said => anyhow::anyhow!(said),
    })?;
    let bare = reference.tag().is_none() && reference.digest().is_none();
    match all_tags {
        true if !bare => bail!("tag can't be used with --all-tags/-a"),
        true => return Ok(reference),
        false => {}
    }
    if bare && !quiet {
        output::line(format!("Using default tag: {}", dhow_types::reference::DEFAULT_TAG));
    }
    Ok(reference.or_latest())
}

/// Whether the caller wants signatures verified, which can't be done, is refused.
pub fn without_signatures(disabled: Option<bool>) -> Result<()> {
    let wanted = || {
        let value = std::env::var("DOCKER_CONTENT_TRUST").unwrap_or_default();
        ["1", "t", "T", "true", "TRUE", "True"].contains(&value.as_str())
    };
    match disabled {
        Some(false) => {
            bail!("--disable-content-trust=false: signatures of images can't be verified; leave the flag out")
        }
        None if wanted() => bail!(
            "DOCKER_CONTENT_TRUST is on: signatures of images can't be verified; unset it, or give --disable-content-trust"
        ),
        _ => Ok(()),
    }
}

/// The platform that is wanted: by the flag, else by `DOCKER_DEFAULT_PLATFORM`.
pub fn platform(flag: Option<&str>) -> Option<String> {
    let variable = || std::env::var("DOCKER_DEFAULT_PLATFORM").ok();
    flag.map(str::to_owned).or_else(variable).filter(|text| !text.is_empty()).map(|text| text.to_lowercase())
}

/// What is to be fetched.
pub struct Request<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// Of its repository all tags.
    pub all_tags: bool,
    /// For this platform.
    pub platform: Option<String>,
}

impl Request<'_> {
    fn path(&self) -> String {
        let suffix = match (self.reference.digest(), self.reference.tag()) {
            _ if self.all_tags => None,
            (Some(digest), _) => Some(digest.to_string()),
            (None, tag) => tag.map(str::to_owned),
        };
        let query = query::build(&[
            ("fromImage", Some(self.reference.familiar_name())),
            ("tag", suffix),
            ("platform", self.platform.clone()),
        ]);
        format!("/images/create{query}")
    }

    /// Has the daemon fetch it; the error that it told at last, if it did.
    pub fn send(&self, context: &Context, header: Option<String>, to: To) -> Result<Option<String>> {
        let fields: Vec<(&str, &str)> = header.iter().map(|value| (AUTH, value.as_str())).collect();
        let client = context.client();
        context.awake(&client)?;
        let _leave = Leave::when_interrupted(None)?;
        let mut response = client.send_fields("POST", &self.path(), &fields)?;
        Ok(progress::follow(&mut response.body, to)?.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_requests() {
        let digest = dhow_types::Digest::of(b"");
        for (name, all_tags, want) in [
            ("busybox", false, "fromImage=busybox&tag=latest".to_owned()),
            ("busybox", true, "fromImage=busybox".to_owned()),
            ("a:1/b/c:2", false, "fromImage=a%3A1%2Fb%2Fc&tag=2".to_owned()),
            (
                &format!("a.b/c:2@{digest}"),
                false,
                format!("fromImage=a.b%2Fc&tag={}", query::encode(&digest.to_string())),
            ),
        ] {
            let reference = named(name, all_tags, true).unwrap();
            let request = Request { reference: &reference, all_tags, platform: None };
            assert_eq!(request.path(), format!("/images/create?{want}"), "{name}");
        }
        for (name, all_tags, part) in [
            ("busybox:1", true, "tag can't be used with --all-tags/-a"),
            ("Busybox", false, "must be lowercase"),
            ("a b", false, "invalid reference format"),
            ("a@sha256:12", false, "invalid reference format"),
        ] {
            let error = named(name, all_tags, true).unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
        }
    }

    #[test]
    fn signatures_that_are_to_be_verified_are_refused() {
        assert!(without_signatures(Some(true)).is_ok());
        assert!(without_signatures(Some(false)).unwrap_err().to_string().contains("--disable-content-trust=false"));
    }
}
