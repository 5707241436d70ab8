//! `image check` and `image copy`: images that stay at their registry.

use super::context::Context;
use super::interrupt::Leave;
use super::progress::{self, To};
use super::pull::{AUTH, platform};
use super::{credentials, output, table, units};
use anyhow::{Result, bail};
use clap::Parser;
use dhow_api::remote::{ImageCheck, ImageCheckFinding};
use dhow_client::query;
use dhow_types::{Platform, Reference};

/// The header field for the daemon's word to the registry that is copied to.
const TARGET_AUTH: &str = "X-Registry-Auth-Target";

/// Say whether an image could be pulled, and if not, what stands in the way
#[derive(Parser, Debug)]
#[command(
    after_help = "Goes the way of a pull at each mirror and registry: name, connection, TLS, login, manifest, platform and the\n\
                  first byte of each layer. It brings nothing; where pulls are counted, it counts as one.\n\
                  Exit code: 0 = a pull would work, 1 = it would not."
)]
pub struct CheckArgs {
    /// Print `json`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// For this platform (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Print problems only, and nothing if there are none
    #[arg(short, long)]
    quiet: bool,
    /// The image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

/// Copy an image from registry to registry, without bringing it here
#[derive(Parser, Debug)]
#[command(
    after_help = "Manifests are kept byte for byte, so digests stay the same. What the other registry has already is not\n\
                  sent; within a registry nothing is."
)]
pub struct CopyArgs {
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Only the image for this platform (os/arch[/variant]), not the whole index
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Print the digest only
    #[arg(short, long)]
    quiet: bool,
    /// Signatures and whatever else refers to it, too
    #[arg(long)]
    referrers: bool,
    /// The image
    #[arg(value_name = "SOURCE[:TAG|@DIGEST]")]
    from: String,
    /// Its new name; without a tag the image's own is taken
    #[arg(value_name = "TARGET[:TAG]")]
    to: String,
}

/// The header's value for the registry of an image.
pub fn header(reference: &Reference) -> Option<String> {
    credentials::header(credentials::names::of_domain(reference.domain()))
}

/// `dhow image check`.
pub fn check(context: &Context, args: CheckArgs) -> Result<i32> {
    let json = match args.format.as_deref() {
        None | Some("") => false,
        Some("json") => true,
        Some(other) => bail!("--format {other}: only json is known"),
    };
    let _leave = Leave::when_interrupted(None)?;
    let name: Reference = args.name.parse().map_err(|e: dhow_types::Error| anyhow::anyhow!("{e}"))?;
    let auth = header(&name);
    let fields: Vec<(&str, &str)> = auth.iter().map(|value| (AUTH, value.as_str())).collect();
    let wanted = platform(args.platform.as_ref().map(ToString::to_string).as_deref());
    let path = format!("/dhow/images/check{}", query::build(&[("name", Some(name.to_string())), ("platform", wanted)]));
    let client = context.client();
    let report: ImageCheck = context.with_daemon(&client, |c| c.send_fields("GET", &path, &fields)?.json())?;
    match json {
        true => output::line(serde_json::to_string(&report)?),
        false => output::text_out(shown(&report, args.quiet)),
    }
    Ok(i32::from(!report.pullable))
}

/// What a registry says can hold anything, what a terminal obeys included.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The steps at each endpoint, then what is wrong, then the sum.
fn shown(report: &ImageCheck, quiet: bool) -> String {
    let mut out = String::new();
    if !quiet {
        out.push_str(&format!("{} for {}\n", clean(&report.name), clean(&report.platform)));
        for endpoint in &report.endpoints {
            out.push_str(&format!("\n{} ({})\n", clean(&endpoint.address), clean(&endpoint.kind)));
            let rows: Vec<Vec<String>> = endpoint
                .steps
                .iter()
                .map(|s| {
                    let state = if s.state == "error" { "ERROR".to_owned() } else { clean(&s.state) };
                    vec![format!("  {}", clean(&s.step)), state, format!("{} ms", s.milliseconds), clean(&s.seen)]
                })
                .collect();
            out.push_str(&table::render(&["  STEP", "STATE", "TIME", "SEEN"], &rows));
        }
        out.push('\n');
    }
    let told = |f: &&ImageCheckFinding| !quiet || f.state != "note";
    report.findings.iter().filter(told).for_each(|f| out.push_str(&finding(f)));
    match (report.pullable, quiet) {
        (true, true) => {}
        (true, false) => {
            let layers = if report.layers == 1 { "layer" } else { "layers" };
            let (digest, size) = (clean(&report.digest), units::human_size(report.size));
            out.push_str(&format!("A pull would work: {digest}, {} {layers}, {size}\n", report.layers));
        }
        (false, _) => out.push_str("A pull would fail\n"),
    }
    out
}

fn finding(f: &ImageCheckFinding) -> String {
    let state = if f.state == "error" { "ERROR" } else { f.state.as_str() };
    let mut out = format!("{}  {}: {}\n", clean(state), clean(&f.about), clean(&f.what));
    f.advice.iter().for_each(|advice| out.push_str(&format!("    {}\n", clean(advice))));
    out.push('\n');
    out
}

/// `dhow image copy`.
pub fn copy(context: &Context, args: CopyArgs) -> Result<i32> {
    let read = |name: &str| name.parse::<Reference>().map_err(|e| anyhow::anyhow!("{e}"));
    let (from, to) = (read(&args.from)?, read(&args.to)?);
    if args.quiet && args.all_tags {
        bail!("--quiet prints one digest: it can't be used with --all-tags");
    }
    let path = format!(
        "/dhow/images/copy{}",
        query::build(&[
            ("from", Some(from.to_string())),
            ("to", Some(to.to_string())),
            ("platform", args.platform.as_ref().map(ToString::to_string)),
            ("all-tags", query::flag(args.all_tags)),
            ("referrers", query::flag(args.referrers)),
        ])
    );
    let (source, target) = (header(&from), header(&to));
    let mut fields: Vec<(&str, &str)> = source.iter().map(|value| (AUTH, value.as_str())).collect();
    fields.extend(target.iter().map(|value| (TARGET_AUTH, value.as_str())));
    let _leave = Leave::when_interrupted(None)?;
    let client = context.client();
    // A daemon is started before; what it then says is read once.
    context.with_daemon(&client, |c| c.send("GET", "/_ping")?.finish())?;
    let mut response = client.send_fields("POST", &path, &fields)?;
    let ended = progress::follow(&mut response.body, if args.quiet { To::Nowhere } else { To::Stdout })?;
    if let Some(error) = ended.error {
        output::note(error);
        return Ok(1);
    }
    if args.quiet {
        let digests = ended.aside.iter().filter_map(|aux| aux["Digest"].as_str());
        digests.for_each(|digest| output::line(clean(digest)));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_api::remote::{ImageCheckEndpoint, ImageCheckStep};

    fn report(pullable: bool) -> ImageCheck {
        let step = |step: &str, state: &str, seen: &str| ImageCheckStep {
            step: step.into(),
            state: state.into(),
            seen: seen.into(),
            milliseconds: 3,
        };
        ImageCheck {
            name: "r/x:1".into(),
            platform: "linux/amd64".into(),
            pullable,
            digest: "sha256:12".into(),
            manifest_digest: String::new(),
            size: 2000,
            layers: 1,
            endpoints: vec![ImageCheckEndpoint {
                address: "https://r/v2".into(),
                kind: "registry".into(),
                steps: vec![step("name", "ok", "r is 192.0.2.1"), step("manifest", "error", "no\u{1b}[2J")],
            }],
            findings: vec![ImageCheckFinding {
                state: "error".into(),
                about: "https://r/v2".into(),
                what: "it does not give the image".into(),
                advice: vec!["look".into()],
            }],
        }
    }

    #[test]
    fn a_check_for_people() {
        assert_eq!(
            shown(&report(false), false),
            "r/x:1 for linux/amd64\n\nhttps://r/v2 (registry)\n  STEP       STATE     TIME      SEEN\n\
             \x20 name       ok        3 ms      r is 192.0.2.1\n  manifest   ERROR     3 ms      no\u{fffd}[2J\n\n\
             ERROR  https://r/v2: it does not give the image\n    look\n\nA pull would fail\n"
        );
        let mut fine = report(true);
        fine.findings[0].state = "note".into();
        assert_eq!(shown(&fine, true), "");
        assert!(shown(&fine, false).ends_with("A pull would work: sha256:12, 1 layer, 2kB\n"));
    }
}
