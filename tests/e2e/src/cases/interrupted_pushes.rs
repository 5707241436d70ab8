//! Pushes that are broken off, by the connection or by the death of the daemon: the store stays whole, the next push (or
//! the next try of the same one) completes, and what stands in the registry is the image to the last byte.

use super::interrupted::{CUTS, HASTY, KILLS, image, killed, seeded, served};
use crate::daemon::{Daemon, until};
use crate::made::{Made, digest};
use crate::registry::Registry;
use crate::runner::World;
use crate::transfers::{pull, push};
use crate::wire::{Act, Server};
use anyhow::{Context as _, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

super::cases!("interrupted_pushes": killed_at_pushes, pushes_cut_at_any_byte);

/// What stands in the registry is the image, to the last byte.
pub(super) fn stands(r: &Registry, d: &Daemon, name: &str, id: &str) -> Result<()> {
    let (repository, tag) = name.rsplit_once(':').context("no tag")?;
    let repository = repository.split_once('/').context("no registry")?.1;
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let told = r.ask(&format!("GET /v2/{repository}/manifests/{tag}"), &[("accept", accept)], b"")?;
    ensure!(told.status() == 200, "{:?}", told.head);
    let manifest: serde_json::Value = serde_json::from_slice(&told.body)?;
    ensure!(manifest["config"]["digest"] == id, "another image stands there: {manifest}");
    let layers = manifest["layers"].as_array().context("no layers")?;
    ensure!(layers.len() == d.inspect(name)?["RootFS"]["Layers"].as_array().map_or(0, Vec::len));
    for blob in layers.iter().chain([&manifest["config"]]) {
        let wanted = blob["digest"].as_str().context("no digest")?;
        let told = r.ask(&format!("GET /v2/{repository}/blobs/{wanted}"), &[], b"")?;
        ensure!(digest(&told.body) == wanted, "{wanted}: {:?}", told.head);
    }
    Ok(())
}

/// An image of a daemon, by a name behind a proxy, that no registry has yet.
fn unpushed(d: &Daemon, seed: u64) -> Result<(Registry, Server, Made)> {
    let image = image(seed);
    let (r, proxy, name) = served(d, &image)?;
    pull(d, &name)?.ok()?;
    d.ok(&["tag", &name, "local:1"])?;
    d.ok(&["rmi", &name])?;
    Ok((r, proxy, image))
}

fn killed_at_pushes(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, HASTY)?;
    let (r, proxy, image) = unpushed(&d, 400)?;
    let name = |n: &str| format!("{}/killed/{n}:1", proxy.host());
    let tagged = |n: &str| -> Result<String> {
        let name = name(n);
        d.ok(&["tag", "local:1", &name])?;
        Ok(name)
    };
    let begin = Instant::now();
    push(&d, &tagged("measured")?)?.ok()?;
    let took = begin.elapsed();
    let (mut random, seed) = seeded("kills");
    for round in 0..KILLS {
        let name = tagged(&format!("r{round}"))?;
        let what = || format!("round {round} (seed {seed})");
        let _ = killed(&d, &mut random, took, || push(&d, &name))?;
        let r1 = d.cli(&["system", "check"])?;
        ensure!(r1.code == 0 && r1.out.contains("everything is whole"), "{}: {r1:?}", what());
        push(&d, &name)?.ok().with_context(what)?;
        stands(&r, &d, &name, &image.id()).with_context(what)?;
    }
    until("nothing half done to be left", || Ok((std::fs::read_dir(d.root().join("tmp"))?.count() == 0).then_some(())))
}

fn pushes_cut_at_any_byte(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, HASTY)?;
    let (r, _, image) = unpushed(&d, 500)?;
    let (mut random, seed) = seeded("cuts");
    let mut cuts = 0;
    for round in 0..CUTS {
        // One of the requests that send something breaks, once.
        let cut = random.below(image.layers[2].len()) as u64;
        let broken = AtomicBool::new(false);
        let proxy = Server::before(&d.net, r.port(), move |r| {
            let long =
                r.field("content-length").parse().unwrap_or(u64::MAX) > cut && r.method != "GET" && r.method != "HEAD";
            let sends = matches!(r.method.as_str(), "PATCH" | "PUT") && r.path.contains("/uploads/");
            match sends && long && !broken.swap(true, Ordering::Relaxed) {
                true => Act::CutRequest(cut),
                false => Act::Forward,
            }
        })?;
        let name = format!("{}/cut/r{round}:1", proxy.host());
        d.ok(&["tag", "local:1", &name])?;
        push(&d, &name)?.ok().with_context(|| format!("round {round} (seed {seed}): cut after {cut} bytes"))?;
        stands(&r, &d, &name, &image.id())?;
        // Who was cut was not answered.
        cuts += usize::from(proxy.entries().iter().any(|e| e.status == 0));
        d.ok(&["rmi", &name])?;
    }
    println!("    {cuts} of {CUTS} pushes were cut");
    ensure!(cuts > CUTS / 4, "too few of them were cut");
    Ok(())
}
