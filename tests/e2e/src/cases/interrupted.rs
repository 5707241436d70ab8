//! Transfers that are broken off at any byte, by the connection or by the death of the daemon: what is whole is never
//! fetched again, what came of the rest is gone on with, and the end is the same.

use super::hostile_registry::nothing_came;
use crate::daemon::Daemon;
use crate::made::{Made, digest};
use crate::registry::{Kind, Registry};
use crate::runner::World;
use crate::transfers::{Transfer, pull};
use crate::wire::{Act, Entry, Server};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::random::Random;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

super::cases!("interrupted":
    cut_at_any_byte, cut_again_and_again, killed_at_pulls,
);

/// Connections that break are tried twice, at once.
pub(super) const HASTY: &str = r#"{"registry-limits": {"attempts": 2, "first-wait": "1ms", "longest-wait": "2ms"}}"#;
const REPOSITORY: &str = "test/image";
pub(super) const CUTS: usize = 12;
pub(super) const KILLS: usize = 12;

/// Two layers that are kept while they come, two small ones.
pub(super) fn image(seed: u64) -> Made {
    let mut tars = Made::sized(seed, 3 << 20).tars;
    tars.push(Made::sized(seed + 1, 2 << 20).tars.swap_remove(2));
    Made::new(crate::made::Form::Oci, &tars, dhow_corpus::wrap::Packing::Gzip)
}

/// A registry with the image, a proxy before it, and its name behind the proxy.
pub(super) fn served(d: &Daemon, image: &Made) -> Result<(Registry, Server, String)> {
    let r = Registry::start(d, Kind::PLAIN)?;
    image.put(&r, REPOSITORY, "latest")?;
    let proxy = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    let name = format!("{}/{REPOSITORY}:latest", proxy.host());
    Ok((r, proxy, name))
}

/// The bytes of layers that are kept, by digest.
fn kept(d: &Daemon) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(d.root().join("ingest"))? {
        let entry = entry?;
        all.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
    }
    Ok(all)
}

/// What was asked of a layer.
fn asked(proxy: &Server, layer: &str) -> Vec<Entry> {
    let get = |e: &Entry| e.request.method == "GET" && e.request.path.ends_with(layer);
    proxy.entries().into_iter().filter(get).collect()
}

/// After a pull that broke off, the next one completes it and fetches nothing twice that was whole, or was kept.
fn completed(d: &Daemon, proxy: &Server, name: &str, image: &Made, broken: &Transfer) -> Result<()> {
    let there = kept(d)?;
    proxy.heal();
    proxy.forget();
    pull(d, name)?.ok()?;
    let seen = d.inspect(name)?;
    let ids: Vec<String> = image.tars.iter().map(|t| digest(t)).collect();
    ensure!(seen["Id"] == image.id() && seen["RootFS"]["Layers"] == json!(ids), "another image came: {seen}");
    let whole = broken.said("Pull complete");
    for number in 0..image.layers.len() {
        let asked = asked(proxy, &image.layer(number));
        let length = image.layers[number].len() as u64;
        if whole.contains(&image.short(number)) {
            ensure!(asked.is_empty(), "layer {number} was whole and was fetched again: {asked:?}");
            continue;
        }
        let hex = image.layer(number)[7..].to_owned();
        let at = there.iter().find(|(name, _)| name.contains(&hex)).map_or(0, |(_, bytes)| *bytes);
        if at == length {
            ensure!(asked.is_empty(), "all of layer {number} had come and it was fetched again: {asked:?}");
        } else if at > 0 {
            let range = asked.first().map(|e| e.request.field("range").to_owned()).unwrap_or_default();
            ensure!(range.starts_with(&format!("bytes={at}-")), "{at} bytes of layer {number} had come: {asked:?}");
        }
    }
    ensure!(kept(d)?.is_empty(), "bytes of layers that are here are kept: {:?}", kept(d)?);
    d.ok(&["rmi", name])?;
    Ok(())
}

pub(super) fn seeded(what: &str) -> (Random, u64) {
    let seed = u64::from(std::process::id());
    println!("    {what}: seed {seed}");
    (Random::new(seed), seed)
}

fn cut_at_any_byte(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, HASTY)?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let image = image(100);
    let (_r, proxy, name) = served(&d, &image)?;
    let total: usize = image.layers.iter().map(Vec::len).sum::<usize>() + image.config.len() + image.manifest.len();
    let (mut random, seed) = seeded("cuts");
    let mut resumed = 0;
    for round in 0..CUTS {
        let at = random.below(total) as u64;
        let what = || format!("round {round} (seed {seed}): cut after {at} of {total} bytes");
        proxy.breaks(&[at], true);
        let broken = pull(&d, &name)?;
        let error = broken.error().or(broken.lines.first().and_then(|l| l["message"].as_str())).unwrap_or_default();
        ensure!(error.contains(REPOSITORY) && error.contains(&proxy.host()), "{}: {error:?}", what());
        nothing_came(&d, &before).with_context(what)?;
        resumed += usize::from(kept(&d)?.values().any(|n| *n > 0));
        completed(&d, &proxy, &name, &image, &broken).with_context(what)?;
    }
    ensure!(resumed > 0, "no cut fell within a layer");
    nothing_came(&d, &before)
}

/// One pull goes on by itself, as often as it must.
fn cut_again_and_again(w: &World) -> Result<()> {
    let d = Daemon::start_with(
        &w.setup,
        r#"{"registry-limits": {"attempts": 50, "first-wait": "1ms", "longest-wait": "2ms"}}"#,
    )?;
    let image = image(200);
    let (_r, proxy, name) = served(&d, &image)?;
    let (mut random, seed) = seeded("cuts");
    let cuts: Vec<u64> = (0..20).map(|_| random.below(400_000) as u64).collect();
    proxy.breaks(&cuts, false);
    pull(&d, &name)?.ok().with_context(|| format!("seed {seed}"))?;
    ensure!(d.inspect(&name)?["Id"] == image.id());
    let ranges = proxy.entries().iter().filter(|e| e.request.field("range").starts_with("bytes=")).count();
    ensure!(ranges > 0, "nothing was resumed");
    // What was sent twice is what was on its way when a connection broke: nothing was begun anew.
    let fresh = |n: usize| {
        asked(&proxy, &image.layer(n))
            .iter()
            .filter(|e| e.request.field("range").is_empty() && e.sent > 1 << 20)
            .count()
    };
    ensure!((0..image.layers.len()).all(|n| fresh(n) <= 1), "{:?}", proxy.lines());
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

/// Kills the daemon at a moment within the time that `work` takes, and starts the next one.
pub(super) fn killed<T: Send>(
    d: &Daemon,
    random: &mut Random,
    took: Duration,
    work: impl FnOnce() -> T + Send,
) -> Result<T> {
    // The moment is the point of the test.
    let moment = took.mul_f64(random.below(1 << 16) as f64 / 65536.0);
    let begin = Instant::now();
    let done = std::thread::scope(|scope| -> Result<T> {
        let working = scope.spawn(work);
        while begin.elapsed() < moment && !working.is_finished() {
            std::thread::yield_now();
        }
        d.kill()?;
        working.join().map_err(|_| anyhow::anyhow!("panicked"))
    })?;
    d.up()?;
    Ok(done)
}

fn killed_at_pulls(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, HASTY)?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let image = image(300);
    let (_r, proxy, name) = served(&d, &image)?;
    let begin = Instant::now();
    pull(&d, &name)?.ok()?;
    let took = begin.elapsed();
    d.ok(&["rmi", &name])?;
    let (mut random, seed) = seeded("kills");
    let mut whole = 0;
    for round in 0..KILLS {
        let what = || format!("round {round} (seed {seed})");
        let told = killed(&d, &mut random, took, || pull(&d, &name))?;
        // Who was not answered at all was told of nothing.
        let told = told.unwrap_or(Transfer { status: 200, lines: Vec::new(), whole: false });
        if told.whole {
            // It was faster.
            ensure!(d.inspect(&name)?["Id"] == image.id(), "{}", what());
            d.ok(&["rmi", &name])?;
            continue;
        }
        whole += told.said("Pull complete").len();
        let there = d.ok(&["images", "-aq", "--no-trunc"])?;
        if there == before {
            nothing_came(&d, &before).with_context(what)?;
        }
        completed(&d, &proxy, &name, &image, &told).with_context(what)?;
    }
    println!("    {whole} layers were whole when the daemon was killed");
    nothing_came(&d, &before)
}
