//! What other tools push dhow pulls, and what dhow pushes other tools read: the same layers always, the same manifest
//! wherever the layers were kept as they came.

use crate::daemon::Daemon;
use crate::made::{Form, Made, digest, small};
use crate::registry::Registry;
use crate::runner::{World, skip};
use crate::transfers::{pull, push};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::random::distinct;
use dhow_corpus::wrap::{self, Packing};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

super::cases!("interop":
    what_skopeo_pushed, what_podman_pushed, skopeo_reads_what_was_pushed, podman_reads_what_was_pushed,
    unchanged_images_keep_their_manifest,
);

/// An image with all that a layer may hold, and files that are deleted from it.
fn image(seed: u64) -> Made {
    let tars = [distinct(seed, false), distinct(seed + 1, true), small(seed, "last")];
    Made::new(Form::Oci, &tars, Packing::Gzip)
}

/// The same with an empty layer, which many images have, in whatever form.
fn with_nothing(seed: u64) -> Made {
    let mut tars = image(seed).tars;
    tars.push(dhow_corpus::Tar::new().end());
    Made::new(Form::Oci, &tars, Packing::Gzip)
}

fn diff_ids(image: &Made) -> Vec<String> {
    image.tars.iter().map(|t| digest(t)).collect()
}

/// The image as an archive that other tools read.
fn archive(d: &Daemon, image: &Made, name: &str) -> Result<String> {
    let path = d.dir.path().join(format!("{name}.tar"));
    std::fs::write(&path, wrap::docker_archive(Some(&format!("{name}:1")), &image.config, &image.tars))?;
    Ok(path.display().to_string())
}

/// Runs another tool beside the daemon, in its network, with a home of its own.
fn other(d: &Daemon, tool: &str, words: &[&str]) -> Result<String> {
    let home = d.dir.path().join("home");
    std::fs::create_dir_all(&home)?;
    let mut command = Command::new(tool);
    if tool == "podman" {
        let place = |name: &str| format!("--{name}={}", d.dir.path().join("podman-of-interop").join(name).display());
        command.args([place("root"), place("runroot"), "--storage-driver=vfs".to_owned()]);
    }
    command.args(words).env("HOME", &home).env("XDG_RUNTIME_DIR", &home).stdin(Stdio::null());
    match d.net.within(|| command.output())? {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => skip(format!("{tool} is not installed")),
        out => {
            let out = out?;
            let (said, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            ensure!(out.status.success(), "{tool} {words:?}: {said}{wrong}");
            Ok(said.trim().to_owned())
        }
    }
}

fn skopeo(d: &Daemon, words: &[&str]) -> Result<String> {
    other(d, "skopeo", &[&["--insecure-policy"], words].concat())
}

/// Pulls it, compares layers and manifest with what the registry has, and looks at it.
fn arrives(d: &Daemon, r: &Registry, name: &str, image: &Made) -> Result<Value> {
    let (repository, tag) = name.rsplit_once(':').context("no tag")?;
    let full = r.name(name);
    let told = pull(d, &full)?.ok().with_context(|| name.to_owned())?;
    let seen = d.inspect(&full)?;
    ensure!(seen["RootFS"]["Layers"] == json!(diff_ids(image)), "{name}: {seen}");
    let digest = r.digest(repository, tag)?;
    ensure!(told.told(&format!("Digest: {digest}")), "{name}: {:?}", told.lines);
    ensure!(seen["RepoDigests"] == json!([format!("{}@{digest}", r.name(repository))]), "{name}: {seen}");
    Ok(seen)
}

fn what_skopeo_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    // Each time another one: skopeo remembers where it has seen a layer in another form.
    for (seed, tag, words) in [
        (1000, "docker", &["--format", "v2s2"][..]),
        (1100, "oci", &["--format", "oci"]),
        (1200, "zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        let image = with_nothing(seed);
        let from = format!("docker-archive:{}", archive(&d, &image, &format!("by-skopeo-{tag}"))?);
        let to = format!("docker://{}", r.name(&format!("by/skopeo:{tag}")));
        skopeo(&d, &[&["copy", "--dest-tls-verify=false"], words, &[&from, &to]].concat())?;
        let manifest = r.manifest("by/skopeo", tag)?;
        let kind = manifest["layers"][0]["mediaType"].as_str().unwrap_or_default();
        let want = if tag == "zstd" { "+zstd" } else { "gzip" };
        ensure!(kind.ends_with(want), "this skopeo made something else of it: {manifest}");
        let name = format!("by/skopeo:{tag}");
        arrives(&d, &r, &name, &image)?;
        d.ok(&["rmi", &r.name(&name)])?;
    }
    Ok(())
}

fn what_podman_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = with_nothing(1010);
    other(&d, "podman", &["load", "-q", "-i", &archive(&d, &image, "by-podman")?])?;
    for (tag, words) in [
        ("plain", &[][..]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--format", "oci", "--compression-format", "zstd"]),
    ] {
        let name = format!("by/podman:{tag}");
        let to = format!("docker://{}", r.name(&name));
        let words = [&["push", "-q", "--tls-verify=false"], words, &["localhost/by-podman:1", &to]].concat();
        other(&d, "podman", &words).or_else(|_| {
            // Where a short name stays what it is.
            let words: Vec<&str> =
                words.iter().map(|w| if *w == "localhost/by-podman:1" { "by-podman:1" } else { *w }).collect();
            other(&d, "podman", &words)
        })?;
        arrives(&d, &r, &name, &image)?;
        d.ok(&["rmi", &r.name(&name)])?;
    }
    // A list of two platforms, the second of which is for another machine.
    let foreign = {
        let mut config: Value = serde_json::from_slice(&image.config)?;
        config["architecture"] = json!("s390x");
        Made::of(Form::Oci, &image.tars, &image.layers, config.to_string().into_bytes())
    };
    foreign.put(&r, "by/podman", "s390x")?;
    let (own, other_one) = (r.name("by/podman:plain"), r.name("by/podman:s390x"));
    other(&d, "podman", &["manifest", "create", "both"])?;
    for part in [&own, &other_one] {
        other(&d, "podman", &["manifest", "add", "--tls-verify=false", "both", &format!("docker://{part}")])?;
    }
    let to = format!("docker://{}", r.name("by/podman:both"));
    other(&d, "podman", &["manifest", "push", "--all", "--tls-verify=false", "both", &to])?;
    let seen = arrives(&d, &r, "by/podman:both", &image)?;
    ensure!(seen["Architecture"] != "s390x", "{seen}");
    d.ok(&["rmi", &r.name("by/podman:both")])?;
    Ok(())
}

/// An image that dhow has, under this name.
fn given(d: &Daemon, image: &Made, name: &str) -> Result<()> {
    let from = archive(d, image, &name.rsplit(['/', ':']).nth(1).unwrap_or("given").replace('.', "-"))?;
    let loaded = d.ok(&["load", "-q", "-i", &from])?;
    let loaded = loaded.rsplit(' ').next().context("nothing was loaded")?;
    d.ok(&["tag", loaded, name])?;
    d.ok(&["rmi", loaded])?;
    Ok(())
}

fn skopeo_reads_what_was_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = image(1020);
    let name = r.name("for/skopeo:1");
    given(&d, &image, &name)?;
    push(&d, &name)?.ok()?;
    let at = format!("docker://{name}");
    let seen: Value = serde_json::from_str(&skopeo(&d, &["inspect", "--tls-verify=false", &at])?)?;
    ensure!(seen["Digest"] == r.digest("for/skopeo", "1")?, "{seen}");
    let config = skopeo(&d, &["inspect", "--config", "--raw", "--tls-verify=false", &at])?;
    ensure!(digest(config.as_bytes()) == image.id(), "another configuration: {config}");
    // Every byte of it, checked by skopeo on its way.
    let layout = d.dir.path().join("for-skopeo");
    skopeo(&d, &["copy", "--src-tls-verify=false", &at, &format!("dir:{}", layout.display())])?;
    let manifest = r.manifest("for/skopeo", "1")?;
    unpacked_layers(&layout, &manifest, &image)
}

/// The layers in skopeo's directory, unpacked, are the tars.
fn unpacked_layers(dir: &Path, manifest: &Value, image: &Made) -> Result<()> {
    let layers = manifest["layers"].as_array().context("no layers")?;
    ensure!(layers.len() == image.tars.len(), "{manifest}");
    for (layer, tar) in layers.iter().zip(&image.tars) {
        let file = dir.join(&layer["digest"].as_str().context("no digest")?[7..]);
        let tool = if layer["mediaType"].as_str().is_some_and(|t| t.ends_with("zstd")) { "zstd" } else { "gzip" };
        let out = Command::new(tool).arg("-dc").stdin(std::fs::File::open(file)?).output()?;
        ensure!(out.status.success() && out.stdout == *tar, "a layer is another one: {layer}");
    }
    Ok(())
}

fn podman_reads_what_was_pushed(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = image(1030);
    let name = r.name("for/podman:1");
    given(&d, &image, &name)?;
    push(&d, &name)?.ok()?;
    other(&d, "podman", &["pull", "-q", "--tls-verify=false", &name])?;
    let seen: Value = serde_json::from_str(&other(&d, "podman", &["image", "inspect", &name])?)?;
    ensure!(seen[0]["RootFS"]["Layers"] == json!(diff_ids(&image)), "{seen}");
    ensure!(seen[0]["Digest"] == r.digest("for/podman", "1")?, "{seen}");
    // And back.
    d.ok(&["rmi", &name])?;
    let back = pull(&d, &name)?.ok()?;
    ensure!(back.told("Status: Downloaded newer image for"));
    ensure!(d.inspect(&name)?["Id"] == image.id());
    d.ok(&["rmi", &name])?;
    Ok(())
}

/// What was pulled and is pushed elsewhere in the same registry is mounted, and its manifest is the one that came.
fn unchanged_images_keep_their_manifest(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    for (n, form) in [Form::Oci, Form::Docker].into_iter().enumerate() {
        let tars = image(1040 + 10 * n as u64).tars;
        let made = Made::new(form, &tars, Packing::Gzip);
        made.put(&r, "kept/here", "1")?;
        let (from, to) = (r.name("kept/here:1"), r.name(&format!("kept/there{n}:1")));
        pull(&d, &from)?.ok()?;
        d.ok(&["tag", &from, &to])?;
        let told = push(&d, &to)?.ok()?;
        ensure!(
            told.lines.iter().any(|l| l["status"].as_str().is_some_and(|s| s.starts_with("Mounted from"))),
            "{told:?}"
        );
        ensure!(r.digest(&format!("kept/there{n}"), "1")? == made.digest(), "{form:?}: another manifest was made");
        // Once more: nothing is sent.
        let told = push(&d, &to)?.ok()?;
        ensure!(told.said("Layer already exists").len() == tars.len(), "{told:?}");
        d.ok(&["rmi", &from, &to])?;
    }
    Ok(())
}
