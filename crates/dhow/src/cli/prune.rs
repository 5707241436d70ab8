//! `prune` of images, containers, volumes, networks, the build cache, and of all (`system prune`): flags, questions and
//! what is printed. What may go is decided by the daemon.

use super::context::Context;
use super::prune_text::{self, Ask, Kind};
use super::{config, listing, output, units};
use anyhow::{Result, bail};
use clap::{Args, Parser};
use dhow_api::{Filters, PruneReport, Version};
use dhow_client::{Client, Error};
use std::io::{BufRead, Read};

/// What all prunes share.
#[derive(Args, Debug)]
struct Common {
    /// Only those that match (until=24h, label=KEY[=VALUE], label!=KEY[=VALUE])
    #[arg(long, value_name = "NAME=VALUE", value_parser = listing::filter)]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Say what would go, with sizes, and remove nothing (not in Docker)
    #[arg(long)]
    dry_run: bool,
}

/// dhow's own bounds, for what has a known last use.
#[derive(Args, Debug, Default)]
struct Bounds {
    /// Only what was not used for so long: 30d, 2w, 12h (not in Docker)
    #[arg(long, value_name = "TIME")]
    unused_for: Option<String>,
    /// Remove the least recently used, as few as needed so that no more than this is left: 5GB (not in Docker)
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<String>,
}

/// Remove images that no container uses
#[derive(Parser, Debug)]
pub struct ImagePruneArgs {
    /// All of them, not only those without a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    bounds: Bounds,
}

/// Remove all containers that do not run
#[derive(Parser, Debug)]
pub struct ContainerPruneArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    bounds: Bounds,
}

/// Remove volumes that no container uses
#[derive(Parser, Debug)]
pub struct VolumePruneArgs {
    /// Those with a name too, not only those that nobody named
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Remove networks that no container uses
#[derive(Parser, Debug)]
pub struct NetworkPruneArgs {
    #[command(flatten)]
    common: Common,
}

/// Remove the build cache
#[derive(Parser, Debug)]
pub struct BuilderPruneArgs {
    /// All of it, not only what nothing points to
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
    /// Leave so much of it
    #[arg(long, visible_alias = "reserved-space", value_name = "BYTES")]
    keep_storage: Option<String>,
}

/// Remove what is not used: containers that do not run, networks, images, build cache
#[derive(Parser, Debug)]
pub struct SystemPruneArgs {
    /// All images that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Volumes that nobody named and no container uses too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    common: Common,
    /// Only what was not used for so long: 30d, 2w, 12h. Only containers and images then (not in Docker)
    #[arg(long, value_name = "TIME")]
    unused_for: Option<String>,
    #[arg(long, hide = true)]
    keep_bytes: Option<String>,
}

/// What was given, and what the user has set down for every prune; where a label is both wanted and not wanted, what was
/// given counts.
fn with_configured(mut given: Filters, configured: &[String]) -> Filters {
    for (name, value) in configured.iter().filter_map(|word| word.split_once('=')) {
        let against = match name {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !given.values(against).any(|v| v == value) {
            given.add(name, value);
        }
    }
    given
}

impl Common {
    fn ask(&self, kind: Kind, all: bool, bounds: &Bounds) -> Result<Ask> {
        Ok(Ask {
            kind,
            all,
            filters: with_configured(listing::read_filters(&self.filter), config::file().prune_filters()),
            unused_for: read(bounds.unused_for.as_deref(), units::seconds)?,
            keep_bytes: read(bounds.keep_bytes.as_deref(), bytes)?,
            dry_run: self.dry_run,
            after_containers: false,
        })
    }
}

/// A value with the words it was given in.
fn read(text: Option<&str>, value: impl Fn(&str) -> Result<u64>) -> Result<Option<(u64, String)>> {
    text.map(|text| Ok((value(text)?, text.to_owned()))).transpose()
}

fn bytes(text: &str) -> Result<u64> {
    Ok(u64::try_from(units::bytes(text)?)?)
}

/// `dhow image prune`.
pub fn image(context: &Context, args: ImagePruneArgs) -> Result<i32> {
    one(context, args.common.ask(Kind::Images, args.all, &args.bounds)?, args.common.force)
}

/// `dhow container prune`.
pub fn container(context: &Context, args: ContainerPruneArgs) -> Result<i32> {
    one(context, args.common.ask(Kind::Containers, false, &args.bounds)?, args.common.force)
}

/// `dhow volume prune`.
pub fn volume(context: &Context, args: VolumePruneArgs) -> Result<i32> {
    let ask = args.common.ask(Kind::Volumes, args.all, &Bounds::default())?;
    if args.all && ask.filters.has("all") {
        bail!("conflicting options: cannot specify both --all and --filter all=1");
    }
    one(context, ask, args.common.force)
}

/// `dhow network prune`.
pub fn network(context: &Context, args: NetworkPruneArgs) -> Result<i32> {
    one(context, args.common.ask(Kind::Networks, false, &Bounds::default())?, args.common.force)
}

/// `dhow builder prune`.
pub fn builder(context: &Context, args: BuilderPruneArgs) -> Result<i32> {
    let mut ask = args.common.ask(Kind::BuildCache, args.all, &Bounds::default())?;
    ask.keep_bytes = read(args.keep_storage.as_deref(), bytes)?;
    one(context, ask, args.common.force)
}

/// A prune of one kind.
fn one(context: &Context, ask: Ask, force: bool) -> Result<i32> {
    let client = context.client();
    demand_dhow(context, &client, &ask)?;
    if !force && !ask.dry_run && !confirm(&prune_text::question(&ask)) {
        return Ok(0);
    }
    let report: PruneReport = context.with_daemon(&client, |c| post(c, &ask))?;
    let text = prune_text::report(&ask, &report);
    if !text.is_empty() {
        output::line(text);
    }
    if let Some(sum) = prune_text::sum(Some(ask.kind), ask.dry_run, report.space_reclaimed) {
        output::line(sum);
    }
    Ok(0)
}

/// `dhow system prune`.
pub fn system(context: &Context, args: SystemPruneArgs) -> Result<i32> {
    let bounds = Bounds { unused_for: args.unused_for, keep_bytes: None };
    let first = args.common.ask(Kind::Containers, args.all, &bounds)?;
    if args.keep_bytes.is_some() {
        bail!("--keep-bytes counts one kind of thing: use it with `image prune` or `container prune`");
    }
    if args.volumes && first.filters.has("until") {
        bail!("ERROR: The \"until\" filter is not supported with \"--volumes\"");
    }
    if args.volumes && first.unused_for.is_some() {
        bail!("--unused-for is not supported with --volumes: the last use of a volume is not recorded");
    }
    // Docker's order: what uses goes before what is used.
    let mut kinds = vec![Kind::Containers, Kind::Networks, Kind::Volumes, Kind::Images, Kind::BuildCache];
    kinds.retain(|kind| match kind {
        Kind::Volumes => args.volumes,
        // Their last use is not recorded.
        Kind::Networks | Kind::BuildCache => first.unused_for.is_none(),
        Kind::Containers | Kind::Images => true,
    });
    let client = context.client();
    demand_dhow(context, &client, &first)?;
    if !args.common.force && !first.dry_run && !confirm(&prune_text::question_of_all(&first, &kinds)) {
        return Ok(0);
    }
    let mut reclaimed = 0;
    for kind in kinds {
        // What a dry run leaves in place must not keep what would go after it.
        // And `--all` speaks of images and build cache, never of volumes that somebody named.
        let all = args.all && matches!(kind, Kind::Images | Kind::BuildCache);
        let ask = Ask { kind, all, after_containers: first.dry_run, ..first.clone() };
        let report: PruneReport = match context.with_daemon(&client, |c| post(c, &ask)) {
            Ok(report) => report,
            Err(e) if matches!(e.downcast_ref(), Some(Error::Api { status: 501, .. })) => continue,
            Err(e) => return Err(e),
        };
        reclaimed += report.space_reclaimed;
        let text = prune_text::report(&ask, &report);
        if !text.is_empty() {
            output::line(text);
        }
    }
    if let Some(sum) = prune_text::sum(None, first.dry_run, reclaimed) {
        output::line(sum);
    }
    Ok(0)
}

fn post(client: &Client, ask: &Ask) -> dhow_client::Result<PruneReport> {
    client.send("POST", &prune_text::request(ask))?.json()
}

/// Another daemon would not know dhow's bounds, and remove what was to be kept.
fn demand_dhow(context: &Context, client: &Client, ask: &Ask) -> Result<()> {
    let flags = [
        ("--dry-run", ask.dry_run),
        ("--unused-for", ask.unused_for.is_some()),
        ("--keep-bytes", ask.keep_bytes.is_some() && ask.kind != Kind::BuildCache),
    ];
    let Some((flag, _)) = flags.iter().find(|(_, given)| *given) else { return Ok(()) };
    let version: Version = context.with_daemon(client, |c| c.get("/version"))?;
    if version.platform.name != "dhow" {
        bail!(
            "{flag} works with dhow's daemon only, and {} is one of {:?}, which would remove more: leave the flag out",
            client.socket().display(),
            version.platform.name
        );
    }
    Ok(())
}

/// An answer may not be longer.
const MAX_ANSWER: u64 = 1024;

/// Asks, and reads one line. As in Docker an input that is no terminal may answer, and its end means no.
fn confirm(question: &str) -> bool {
    output::text_out(format!("{question} [y/N] "));
    let mut answer = String::new();
    // An answer that can't be read is none.
    let _ = std::io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
    answer.trim().eq_ignore_ascii_case("y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_are_set_down_are_added() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let given = listing::read_filters(&words(&["label=a", "until=1h"]));
        let all = with_configured(given, &words(&["label!=a", "label=b", "label!=c", "nonsense"]));
        let of = |name: &str| all.values(name).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((of("label"), of("label!"), of("until")), (words(&["a", "b"]), words(&["c"]), words(&["1h"])));
    }
}
