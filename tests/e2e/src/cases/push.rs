//! Pushes as clients see them: what is told, what is not sent twice, zstd, and layers that must not go.

use crate::daemon::Daemon;
use crate::made::{Made, digest};
use crate::registry::{Kind, Registry};
use crate::runner::World;
use crate::transfers::{ask, pull, push};
use crate::wire::{Act, Server};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap;
use serde_json::{Value, json};

super::cases!("push":
    what_is_there_is_not_sent, two_at_once_send_each_layer_once, with_zstd, a_damaged_layer_is_never_pushed,
    what_cannot_be_pushed,
);

/// The image in the daemon's store, under a name.
fn given(d: &Daemon, image: &Made, name: &str) -> Result<()> {
    let path = d.dir.path().join("given.tar");
    std::fs::write(&path, wrap::docker_archive(Some("given:1"), &image.config, &image.tars))?;
    d.ok(&["load", "-q", "-i", &path.display().to_string()])?;
    d.ok(&["tag", "given:1", name])?;
    d.ok(&["rmi", "given:1"])?;
    Ok(())
}

/// A registry with a proxy before it that remembers what was asked.
fn watched(d: &Daemon) -> Result<(Registry, Server)> {
    let r = Registry::start(d, Kind::PLAIN)?;
    let proxy = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    Ok((r, proxy))
}

/// How often a blob was closed.
fn closed(proxy: &Server) -> usize {
    proxy.lines().iter().filter(|l| l.starts_with("PUT ") && l.contains("/blobs/uploads/")).count()
}

fn manifest(r: &Registry, repository: &str, tag: &str) -> Result<Value> {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let told = r.ask(&format!("GET /v2/{repository}/manifests/{tag}"), &[("accept", accept)], b"")?;
    ensure!(told.status() == 200, "{:?}", told.head);
    Ok(serde_json::from_slice(&told.body)?)
}

fn what_is_there_is_not_sent(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (r, proxy) = watched(&d)?;
    let image = Made::sized(2000, 700_000);
    let (name, other) = (format!("{}/a/first:1", proxy.host()), format!("{}/b/second:2", proxy.host()));
    given(&d, &image, &name)?;
    let told = push(&d, &name)?.ok()?;
    ensure!(told.told(&format!("The push refers to repository [{}/a/first]", proxy.host())), "{told:?}");
    for (word, count) in [("Preparing", 3), ("Pushed", 3)] {
        ensure!(told.said(word).len() == count, "{word}: {told:?}");
    }
    let digest = r.digest("a/first", "1")?;
    ensure!(told.told(&format!("1: digest: {digest} size: ")), "{told:?}");
    let aux = told.lines.iter().find_map(|l| l.get("aux")).context("no aux")?;
    ensure!(aux["Tag"] == "1" && aux["Digest"] == json!(digest), "{aux}");
    ensure!(closed(&proxy) == 4, "{:?}", proxy.lines());
    ensure!(d.inspect(&name)?["RepoDigests"] == json!([format!("{}/a/first@{digest}", proxy.host())]));

    proxy.forget();
    let told = push(&d, &name)?.ok()?;
    ensure!(told.said("Layer already exists").len() == 3, "{told:?}");
    ensure!(proxy.lines().iter().all(|l| l.starts_with("HEAD ") || l.contains("/manifests/")), "{:?}", proxy.lines());

    proxy.forget();
    d.ok(&["tag", &name, &other])?;
    let told = push(&d, &other)?.ok()?;
    ensure!(told.said("Mounted from a/first").len() == 3, "{told:?}");
    ensure!(closed(&proxy) <= 1, "more than the configuration was sent: {:?}", proxy.lines());
    ensure!(r.digest("b/second", "2")? == digest);
    Ok(())
}

fn two_at_once_send_each_layer_once(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (r, proxy) = watched(&d)?;
    let image = Made::sized(2010, 2 << 20);
    let names = ["1", "2", "3"].map(|tag| format!("{}/same/place:{tag}", proxy.host()));
    given(&d, &image, &names[0])?;
    for name in &names[1..] {
        d.ok(&["tag", &names[0], name])?;
    }
    let told: Vec<Result<_>> = std::thread::scope(|scope| {
        let running: Vec<_> = names.iter().map(|name| scope.spawn(|| push(&d, name)?.ok())).collect();
        running.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("a push panicked"))?).collect()
    });
    for one in told {
        one?;
    }
    let streams = proxy.lines().iter().filter(|l| l.starts_with("PATCH ")).count();
    ensure!(streams == 1, "the large layer was sent {streams} times");
    let digests = ["1", "2", "3"].map(|tag| r.digest("same/place", tag).unwrap_or_default());
    ensure!(digests[0] == digests[1] && digests[1] == digests[2] && !digests[0].is_empty(), "{digests:?}");
    Ok(())
}

fn with_zstd(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = Made::sized(2020, 700_000);
    let name = r.name("in/zstd:1");
    given(&d, &image, &name)?;
    let repository = name.trim_end_matches(":1");
    let line = |compression: &str| format!("POST /v1.44/images/{repository}/push?tag=1&compression={compression}");
    ask(&d, &line("zstd"), None, "")?.ok()?;
    let told = manifest(&r, "in/zstd", "1")?;
    ensure!(told["mediaType"] == "application/vnd.oci.image.manifest.v1+json", "{told}");
    let layers = told["layers"].as_array().context("no layers")?;
    for (layer, tar) in layers.iter().zip(&image.tars) {
        ensure!(layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd", "{told}");
        let digest = layer["digest"].as_str().context("no digest")?;
        let blob = r.ask(&format!("GET /v2/in/zstd/blobs/{digest}"), &[], b"")?.body;
        ensure!(zstd::decode_all(blob.as_slice())? == *tar, "{digest}");
    }
    d.ok(&["rmi", &name])?;
    pull(&d, &name)?.ok()?;
    ensure!(d.inspect(&name)?["Id"] == image.id());
    // What is asked for counts more than what is there.
    ask(&d, &line("gzip"), None, "")?.ok()?;
    let told = manifest(&r, "in/zstd", "1")?;
    ensure!(told["layers"][0]["mediaType"].as_str().is_some_and(|t| t.ends_with("gzip")), "{told}");
    let refused = ask(&d, &line("bzip2"), None, "")?;
    ensure!(refused.status == 400, "{refused:?}");
    Ok(())
}

fn a_damaged_layer_is_never_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = Made::sized(2030, 2 << 20);
    let name = r.name("in/pieces:1");
    given(&d, &image, &name)?;
    // The daemon may be others' as well: only this layer.
    let layer = digest(&image.tars[2]);
    let file = d.dir.path().join("root/layers").join(layer.trim_start_matches("sha256:")).join("large");
    ensure!(file.exists(), "{}", file.display());
    std::fs::write(&file, vec![7; 2 << 20])?;
    push(&d, &name)?.fails(&["damaged"])?;
    let told = r.ask("GET /v2/in/pieces/manifests/1", &[], b"")?;
    ensure!(told.status() == 404, "a manifest was pushed: {:?}", told.head);
    Ok(())
}

fn what_cannot_be_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let name = r.name("some/thing");
    push(&d, &format!("{name}:1"))?.fails(&["An image does not exist locally with the tag: ", "some/thing"])?;
    given(&d, &Made::sized(2040, 1000), &format!("{name}:1"))?;
    push(&d, &format!("{name}:2"))?.fails(&["tag does not exist: ", "some/thing:2"])?;
    // All tags.
    d.ok(&["tag", &format!("{name}:1"), &format!("{name}:3")])?;
    ask(&d, &format!("POST /v1.44/images/{name}/push"), None, "")?.ok()?;
    ensure!(r.digest("some/thing", "1")? == r.digest("some/thing", "3")?);
    let other = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    let refused = ask(&d, &format!("POST /v1.48/images/{name}/push?tag=1&platform={other}"), None, "")?;
    ensure!(refused.status == 404, "{refused:?}");
    Ok(())
}
