//! Pulls as clients see them: Docker's words, how much is asked of a registry, who shares what, and platforms.

use super::clients::docker_ok;
use crate::daemon::{Daemon, PATIENCE, until};
use crate::made::{Form, Made, digest, put_manifest, small};
use crate::registry::{Kind, Registry};
use crate::runner::World;
use crate::transfers::{ask, pull};
use crate::wire::{Act, Server};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap::Packing;
use dhow_types::image::media_type;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};

super::cases!("pull":
    dockers_words_and_what_is_kept, an_unchanged_tag_costs_one_request, by_digest, two_at_once_cost_one_download,
    anothers_failure_is_not_ones_own, who_leaves_before_the_first_word_stops_it, who_leaves_stops_nobody_else, who_leaves_alone_stops_it_and_the_next_goes_on, platforms, all_tags, what_is_refused,
    names_that_move, a_prune_takes_what_is_not_whole, compressions,
);

/// An image with a configuration that says for which machine it is.
fn image_for(architecture: &str, seed: u64) -> Made {
    let tars = [small(seed, architecture)];
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&tars[0])]},
    });
    Made::of(Form::Oci, &tars, &[Packing::Gzip.pack(&tars[0])], config.to_string().into_bytes())
}

/// An index of these manifests: media type, bytes, platform.
fn index(entries: &[(&str, &[u8], Value)]) -> Vec<u8> {
    let manifests: Vec<Value> = entries
        .iter()
        .map(|(kind, bytes, platform)| {
            let mut entry = json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
            if !platform.is_null() {
                entry["platform"] = platform.clone();
            }
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests}).to_string().into_bytes()
}

fn platform(os: &str, architecture: &str) -> Value {
    json!({"os": os, "architecture": architecture})
}

/// The statuses of a layer, in their order.
fn of<'a>(lines: &'a [Value], id: &str) -> Vec<&'a str> {
    let mut all: Vec<&str> = lines.iter().filter(|l| l["id"] == id).filter_map(|l| l["status"].as_str()).collect();
    all.dedup();
    all
}

fn dockers_words_and_what_is_kept(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let image = Made::sized(1000, 2 << 20);
    image.put(&r, "pull/words", "1")?;
    let name = r.name("pull/words:1");
    let first = pull(&d, &name)?.ok()?;
    let status = |l: &Value| l["status"].as_str().unwrap_or_default().to_owned();
    ensure!(first.lines[0] == json!({"status": "Pulling from pull/words", "id": "1"}));
    for number in 0..image.layers.len() {
        let told = of(&first.lines, &image.short(number));
        ensure!(
            told.first() == Some(&"Pulling fs layer")
                && told.ends_with(&["Pull complete"])
                && told.contains(&"Verifying Checksum")
                && told.contains(&"Download complete"),
            "{told:?}"
        );
    }
    let last: Vec<String> = first.lines.iter().rev().take(2).map(status).collect();
    ensure!(
        last == [format!("Status: Downloaded newer image for {name}"), format!("Digest: {}", image.digest()),],
        "{last:?}"
    );
    let seen = d.inspect(&name)?;
    let known = format!("{}@{}", r.name("pull/words"), image.digest());
    ensure!(seen["Id"] == image.id() && seen["RepoTags"] == json!([name]) && seen["RepoDigests"] == json!([known]));
    ensure!(seen["RootFS"]["Layers"] == json!(image.tars.iter().map(|t| digest(t)).collect::<Vec<_>>()), "{seen}");
    // Byte for byte as they came.
    for bytes in [&image.config, &image.manifest] {
        let file = d.root().join("blobs/sha256").join(&digest(bytes)[7..]);
        ensure!(std::fs::read(&file)? == *bytes, "{}", file.display());
    }
    let second = pull(&d, &name)?.ok()?;
    let told: Vec<String> = second.lines.iter().map(status).collect();
    ensure!(
        told == [
            "Pulling from pull/words".to_owned(),
            format!("Digest: {}", image.digest()),
            format!("Status: Image is up to date for {name}"),
        ],
        "{told:?}"
    );
    // Layers that are here are said to be.
    let mut tars = image.tars.clone();
    tars.push(small(1001, "more"));
    let more = Made::new(Form::Docker, &tars, Packing::Gzip);
    more.put(&r, "pull/more", "1")?;
    let third = pull(&d, &r.name("pull/more:1"))?.ok()?;
    let here = third.said("Already exists");
    ensure!(here == (0..3).map(|n| image.short(n)).collect::<Vec<_>>() && third.said("Pull complete").len() == 1);
    let events = d.ok(&[
        "events",
        "--since",
        "0",
        "--until",
        "0s",
        "--filter",
        "event=pull",
        "--format",
        "{{.ID}} {{.Actor.Attributes.name}}",
    ]);
    if let Ok(events) = events {
        ensure!(events.contains(&format!("{name} {}", r.name("pull/words"))), "{events}");
    }
    // And Docker's own client.
    d.ok(&["rmi", &name, &r.name("pull/more:1")])?;
    let out = docker_ok(&d, &["pull", &name])?;
    ensure!(out.ends_with(&format!("Status: Downloaded newer image for {name}\n{name}\n")), "{out}");
    d.ok(&["rmi", &name]).map(drop)
}

fn an_unchanged_tag_costs_one_request(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let image = image_for("amd64", 1100);
    image.put(&r, "pull/once", "plain")?;
    let entries = [(media_type::OCI_MANIFEST, image.manifest.as_slice(), platform("linux", "amd64"))];
    put_manifest(&r, "pull/once", "index", media_type::OCI_INDEX, &index(&entries))?;
    let proxy = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    for (tag, all) in [("plain", 3), ("index", 2)] {
        let name = format!("{}/pull/once:{tag}", proxy.host());
        pull(&d, &name)?.ok()?;
        // Manifest, configuration and layer; index and manifest, for the rest is here.
        ensure!(proxy.lines().len() == all, "{:?}", proxy.lines());
        for _ in 0..2 {
            proxy.forget();
            let again = pull(&d, &name)?.ok()?;
            ensure!(again.told("Status: Image is up to date"), "{:?}", again.lines);
            ensure!(proxy.lines() == [format!("HEAD /v2/pull/once/manifests/{tag}")], "{:?}", proxy.lines());
        }
        proxy.forget();
    }
    // A name that is gone comes back for one more.
    let (plain, index) = (format!("{}/pull/once:plain", proxy.host()), format!("{}/pull/once:index", proxy.host()));
    d.ok(&["rmi", &plain, &index]).map(drop)
}

fn by_digest(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = Registry::start(&d, Kind::PLAIN)?;
    let image = Made::sized(1200, 1000);
    image.put(&r, "pull/digest", "1")?;
    let name = r.name(&format!("pull/digest@{}", image.digest()));
    let told = pull(&d, &name)?.ok()?;
    ensure!(told.told("Status: Downloaded newer image for") && told.lines[0]["id"] == name, "{:?}", told.lines);
    let seen = d.inspect(&name)?;
    ensure!(seen["RepoTags"] == json!([]) && seen["RepoDigests"] == json!([name]), "{seen}");
    // As clients send it: the digest as a tag. It is here, and the registry is asked all the same.
    let line = format!("POST /v1.44/images/create?fromImage={}&tag={}", r.name("pull/digest"), image.digest());
    ensure!(ask(&d, &line, None, "")?.ok()?.told("Status: Image is up to date for"));
    r.down()?;
    let silent = ask(&d, &line, None, "")?;
    ensure!(silent.status == 500, "{silent:?}");
    r.up()?;
    // A digest that one repository gave is none of another's.
    let stranger = r.name(&format!("pull/stranger@{}", image.digest()));
    pull(&d, &stranger)?.fails(&["not found"])?;
    ensure!(d.inspect(&name)?["RepoDigests"] == json!([name]));
    let wrong = r.name(&format!("pull/digest@{}", digest(b"other")));
    pull(&d, &wrong)?.fails(&["manifest for", "not found"])?;
    d.ok(&["rmi", &name]).map(drop)
}

/// Opens when a test says so.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open));
    }
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A pull of which one line after the other is read.
struct Slow(BufReader<UnixStream>);

impl Slow {
    fn begin(d: &Daemon, name: &str) -> Result<Self> {
        let mut stream = UnixStream::connect(d.dir.path().join("dhow.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "POST /v1.44/images/create?fromImage={name} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")?;
        Ok(Self(BufReader::new(stream)))
    }
    /// Reads until this is said of a layer, or of the whole.
    fn until(&mut self, status: &str) -> Result<Value> {
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "it ended before {status:?}");
            let Ok(line) = serde_json::from_str::<Value>(line.trim()) else { continue };
            ensure!(line["error"].is_null(), "{line}");
            if line["status"].as_str().is_some_and(|s| s.starts_with(status)) {
                return Ok(line);
            }
        }
    }
}

/// A daemon's way to an image whose large layer waits at a gate.
fn gated(d: &Daemon, seed: u64) -> Result<(Made, Server, Gate, String)> {
    let image = Made::sized(seed, 2 << 20);
    let gate = Gate::default();
    let (served, waits, large) = (image.clone(), gate.clone(), image.layer(2));
    let server = Server::start(&d.net, move |r| {
        if r.path.ends_with(&large) {
            waits.pass();
        }
        served.answer(r).into()
    })?;
    let name = format!("{}/pull/gated{seed}:latest", server.host());
    Ok((image, server, gate, name))
}

fn asked(server: &Server, digest: &str) -> usize {
    server.lines().iter().filter(|l| l.starts_with("GET ") && l.ends_with(digest)).count()
}

fn two_at_once_cost_one_download(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (image, server, gate, name) = gated(&d, 1300)?;
    // Under another name, too: the layers are the same.
    let other = name.replace("gated", "other");
    let mut pulls = [Slow::begin(&d, &name)?, Slow::begin(&d, &name)?, Slow::begin(&d, &other)?];
    for pull in &mut pulls {
        pull.until("Downloading")?;
    }
    gate.open();
    for pull in &mut pulls {
        // Whoever comes last finds the name as it wants it.
        pull.until("Status: ")?;
    }
    for number in 0..image.layers.len() {
        ensure!(asked(&server, &image.layer(number)) == 1, "{:?}", server.lines());
    }
    ensure!(d.inspect(&name)?["Id"] == image.id() && d.inspect(&other)?["Id"] == image.id());
    d.ok(&["rmi", &name, &other]).map(drop)
}

/// Somebody else's way to the same layer fails: whoever had joined it goes one's own.
fn anothers_failure_is_not_ones_own(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (image, good, open, name) = gated(&d, 1350)?;
    open.open();
    let (served, large, gate) = (image.clone(), image.layer(2), Gate::default());
    let waits = gate.clone();
    let bad = Server::start(&d.net, move |r| match r.path.ends_with(&large) {
        true => {
            waits.pass();
            crate::wire::Reply::error(403, "DENIED", "not for you").into()
        }
        false => served.answer(r).into(),
    })?;
    let closed = format!("{}/secret/name:latest", bad.host());
    let mut first = Slow::begin(&d, &closed)?;
    first.until("Downloading")?;
    let mut second = Slow::begin(&d, &name)?;
    second.until("Downloading")?;
    ensure!(asked(&good, &image.layer(2)) == 0, "it joined the other's way");
    gate.open();
    second.until("Status: Downloaded newer image for")?;
    ensure!(first.until("Status: ").is_err());
    ensure!(d.inspect(&name)?["Id"] == image.id() && d.cli(&["inspect", &closed])?.code != 0);
    Ok(())
}

/// A registry that never says a word: the client can leave.
fn who_leaves_before_the_first_word_stops_it(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let server =
        Server::start(&d.net, |_| crate::wire::Reply::new(200, "{}").then(crate::wire::Then::Stall(0)).into())?;
    let mut stream = UnixStream::connect(d.dir.path().join("dhow.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = format!("{}/pull/silent:1", server.host());
    write!(stream, "POST /v1.44/images/create?fromImage={name} HTTP/1.1\r\nHost: d\r\n\r\n")?;
    // The answer begins, so that it can be seen to be read no more.
    let mut head = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut head)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    let to = format!("0100007F:{:04X} 01", server.port());
    let asks = || -> Result<bool> {
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", d.pid()))?;
        Ok(table.lines().any(|l| l.split_whitespace().skip(2).take(2).collect::<Vec<_>>().join(" ") == to))
    };
    ensure!(asks()?, "it does not ask any more");
    drop(stream);
    until("the pull to be called off", || Ok((!asks()?).then_some(())))
}

fn who_leaves_stops_nobody_else(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let (image, server, gate, name) = gated(&d, 1400)?;
    let mut first = Slow::begin(&d, &name)?;
    first.until("Downloading")?;
    let mut second = Slow::begin(&d, &name)?;
    second.until("Downloading")?;
    drop(first);
    gate.open();
    second.until("Status: Downloaded newer image for")?;
    ensure!(asked(&server, &image.layer(2)) == 1, "{:?}", server.lines());
    d.ok(&["rmi", &name]).map(drop)
}

fn who_leaves_alone_stops_it_and_the_next_goes_on(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let image = Made::sized(1500, 4 << 20);
    let (served, large) = (image.clone(), image.layer(2));
    let stalls = Arc::new(Mutex::new(true));
    let still = stalls.clone();
    let server = Server::start(&d.net, move |r| {
        let answer = served.answer(r);
        match r.path.ends_with(&large) && *still.lock().unwrap() {
            true => answer.then(crate::wire::Then::Stall(3 << 20)).into(),
            false => answer.into(),
        }
    })?;
    let name = format!("{}/pull/left:latest", server.host());
    let part = d.root().join("ingest").join(&image.layer(2)[7..]);
    let came = || std::fs::metadata(&part).map_or(0, |m| m.len());
    let mut pull = Slow::begin(&d, &name)?;
    until("three MiB to come", || Ok((came() == 3 << 20).then_some(())))?;
    pull.until("Pull complete")?;
    pull.until("Pull complete")?;
    drop(pull);
    let begun = |d: &Daemon| std::fs::read_dir(d.root().join("tmp")).map(|dir| dir.count());
    until("the pull to be called off", || Ok((begun(&d)? == 0).then_some(())))?;
    ensure!(came() == 3 << 20 && d.cli(&["inspect", &name])?.code != 0);
    *stalls.lock().unwrap() = false;
    server.forget();
    crate::transfers::pull(&d, &name)?.ok()?;
    let ranges: Vec<String> =
        server.entries().iter().map(|e| e.request.field("range").to_owned()).filter(|r| !r.is_empty()).collect();
    ensure!(ranges == [format!("bytes={}-{}", 3 << 20, image.layers[2].len() - 1)], "{ranges:?}");
    // The small ones were whole.
    ensure!(asked(&server, &image.layer(0)) + asked(&server, &image.layer(1)) == 0, "{:?}", server.lines());
    ensure!(d.inspect(&name)?["Id"] == image.id() && !part.exists());
    Ok(())
}

fn platforms(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let host = dhow_types::Platform::host().architecture;
    let foreign = if host == "arm64" { "s390x" } else { "arm64" };
    let (own, other) = (image_for(&host, 1600), image_for(foreign, 1601));
    own.put(&r, "pull/platforms", "own")?;
    other.put(&r, "pull/platforms", "other")?;
    let nested = index(&[(media_type::OCI_MANIFEST, &other.manifest, platform("linux", foreign))]);
    put_manifest(&r, "pull/platforms", "nested", media_type::OCI_INDEX, &nested)?;
    let attestation = own.clone().with_manifest(|m| m["annotations"] = json!({"vnd.docker.reference.type": "x"}))?;
    attestation.put(&r, "pull/platforms", "attestation")?;
    let all = index(&[
        (media_type::OCI_MANIFEST, &attestation.manifest, platform("unknown", "unknown")),
        (media_type::OCI_INDEX, &nested, platform("linux", foreign)),
        (media_type::OCI_MANIFEST, &own.manifest, platform("linux", &host)),
    ]);
    put_manifest(&r, "pull/platforms", "all", media_type::OCI_INDEX, &all)?;
    let name = r.name("pull/platforms:all");
    let asking = |platform: &str| {
        let line = format!("POST /v1.44/images/create?fromImage={}&tag=all", r.name("pull/platforms"));
        ask(&d, &if platform.is_empty() { line } else { format!("{line}&platform={platform}") }, None, "")
    };
    let known = json!([format!("{}@{}", r.name("pull/platforms"), digest(&all))]);
    // Each time the tag means what was asked for, and a pull that changes nothing says so.
    for (asked, image) in [("", &own), (foreign, &other), ("", &own), (&host, &own), (foreign, &other)] {
        let before = d.inspect(&name).map(|i| i["Id"].clone()).unwrap_or_default();
        let told = asking(asked)?.ok()?;
        let seen = d.inspect(&name)?;
        ensure!(seen["Id"] == image.id() && seen["RepoDigests"] == known, "{asked}: {seen}");
        let status = if before == image.id() { "Status: Image is up to date" } else { "Status: Downloaded newer" };
        ensure!(told.told(status) && told.told(&format!("Digest: {}", digest(&all))), "{asked}: {:?}", told.lines);
        ensure!(!told.told("WARNING"), "{:?}", told.lines);
    }
    // A foreign image that nobody asked for by its platform is made into a container with a warning.
    let made = |query: &str| -> Result<Value> {
        let body = json!({"Image": name, "Cmd": ["x"]}).to_string();
        let (status, _, body) = d.http("POST", &format!("/v1.44/containers/create{query}"), &body)?;
        ensure!(status == 201, "{body}");
        let made: Value = serde_json::from_str(&body)?;
        d.ok(&["rm", made["Id"].as_str().context("no id")?])?;
        Ok(made["Warnings"].clone())
    };
    let warning = made("")?;
    let best = dhow_types::Platform::best_host();
    let want = format!(
        "The requested image's platform (linux/{foreign}) does not match the detected host platform ({best}) and no \
         specific platform was requested"
    );
    ensure!(warning == json!([want]), "{warning}");
    ensure!(made(&format!("?platform=linux/{foreign}"))? == json!([]));
    // What is not there is named, with what is.
    let text =
        asking("linux/mips64le")?.fails(&["no matching manifest for linux/mips64le in the manifest list entries"])?;
    ensure!(text.contains(&format!("linux/{host}")) && !text.contains("unknown"), "{text}");
    asking("no/such/thing/at/all")?.fails(&["invalid platform"])?;
    // Without an index nobody chose: it comes, with a word.
    let single = format!("POST /v1.44/images/create?fromImage={}&platform={foreign}", r.name("pull/platforms:own"));
    ensure!(ask(&d, &single, None, "")?.ok()?.told("WARNING: image with reference"));
    for tag in ["all", "own"] {
        d.ok(&["rmi", &r.name(&format!("pull/platforms:{tag}"))])?;
    }
    d.ok(&["rmi", &own.id()]).map(drop).or(Ok(()))
}

fn all_tags(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let images: Vec<Made> = (0..3).map(|n| Made::sized(1700 + n, 1000)).collect();
    for (image, tag) in images.iter().zip(["a", "b", "c"]) {
        image.put(&r, "pull/all", tag)?;
    }
    // No tag over the API means all of them; with a colon at its end, as an old client writes it, too.
    let told = pull(&d, &r.name("pull/all"))?.ok()?;
    ensure!(told.told(&format!("Status: Downloaded newer image for {}", r.name("pull/all"))), "{:?}", told.lines);
    for (image, tag) in images.iter().zip(["a", "b", "c"]) {
        ensure!(d.inspect(&r.name(&format!("pull/all:{tag}")))?["Id"] == image.id());
    }
    ensure!(pull(&d, &r.name("pull/all:"))?.ok()?.told("Status: Image is up to date for"));
    let names: Vec<String> = ["a", "b", "c"].map(|tag| r.name(&format!("pull/all:{tag}"))).to_vec();
    let words: Vec<&str> = ["rmi"].into_iter().chain(names.iter().map(String::as_str)).collect();
    d.ok(&words).map(drop)
}

fn what_is_refused(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let image = Made::sized(1800, 1000);
    image.put(&r, "pull/there", "1")?;
    let artifact =
        image.clone().with_manifest(|m| m["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"))?;
    artifact.put(&r, "pull/there", "artifact")?;
    let model = image.clone().with_manifest(|m| m["layers"][0]["mediaType"] = json!("application/x.model+gguf"))?;
    model.put(&r, "pull/there", "model")?;
    let plugin =
        image.clone().with_manifest(|m| m["config"]["mediaType"] = json!("application/vnd.docker.plugin.v1+json"))?;
    plugin.put(&r, "pull/there", "plugin")?;
    let closed = crate::wire::port();
    for (name, status, words) in [
        (r.name("pull/absent:1"), 404, &["manifest for", "pull/absent:1 not found"][..]),
        (r.name("pull/there:2"), 404, &["manifest for", "pull/there:2 not found: manifest unknown"]),
        (r.name("pull/there:artifact"), 400, &["Encountered remote \"application/vnd.oci.empty.v1+json\"(unknown)"]),
        (r.name("pull/there:plugin"), 400, &["(plugin) when fetching"]),
        ("scratch:1".into(), 403, &["'scratch' is a reserved name"]),
        ("UPPER:1".into(), 400, &["must be lowercase"]),
        (format!("127.0.0.1:{closed}/x:1"), 500, &["connection refused"]),
    ] {
        let told = pull(&d, &name)?;
        let said = told.status;
        let text = told.fails(words).with_context(|| name.clone())?;
        ensure!(said == status, "{name}: {said}, {text}");
    }
    // After the first line a failure is one, too.
    let told = pull(&d, &r.name("pull/there:model"))?;
    ensure!(told.status == 200 && told.lines.last().is_some_and(|l| l["errorDetail"]["message"].is_string()));
    told.fails(&["unsupported media type application/x.model+gguf", "pull/there"])?;
    let none = d.ok(&["images", "-q", &r.name("pull/there")])?;
    ensure!(none.is_empty(), "{none}");
    Ok(())
}

fn names_that_move(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let (old, new) = (Made::sized(1900, 1000), Made::sized(1901, 1000));
    let name = r.name("pull/moves:1");
    old.put(&r, "pull/moves", "1")?;
    pull(&d, &name)?.ok()?;
    new.put(&r, "pull/moves", "1")?;
    let told = pull(&d, &name)?.ok()?;
    ensure!(told.told("Status: Downloaded newer image for"), "{:?}", told.lines);
    ensure!(d.inspect(&name)?["Id"] == new.id());
    let left = d.inspect(&old.id())?;
    ensure!(left["RepoTags"] == json!([]), "the old one stays, without a tag: {left}");
    // And back, without a byte of a layer.
    old.put(&r, "pull/moves", "1")?;
    let told = pull(&d, &name)?.ok()?;
    ensure!(told.said("Pull complete").is_empty() && told.told("Status: Downloaded newer image for"));
    ensure!(d.inspect(&name)?["Id"] == old.id());
    d.ok(&["rmi", &name, &new.id()]).map(drop)
}

fn a_prune_takes_what_is_not_whole(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let image = Made::sized(2000, 4 << 20);
    let (served, large) = (image.clone(), image.layer(2));
    let server = Server::start(&d.net, move |r| match r.path.ends_with(&large) {
        true => served.answer(r).then(crate::wire::Then::Stall(3 << 20)).into(),
        false => served.answer(r).into(),
    })?;
    let name = format!("{}/pull/pruned:latest", server.host());
    let part = d.root().join("ingest").join(&image.layer(2)[7..]);
    let mut pull = Slow::begin(&d, &name)?;
    pull.until("Pull complete")?;
    until("three MiB to come", || Ok(std::fs::metadata(&part).is_ok_and(|m| m.len() == 3 << 20).then_some(())))?;
    // What a pull that runs counts on stays.
    d.ok(&["image", "prune", "-f"])?;
    ensure!(part.exists());
    drop(pull);
    let layers = |d: &Daemon| std::fs::read_dir(d.root().join("layers")).map(|dir| dir.count());
    let before = layers(&d)?;
    until("the pull to be called off", || Ok((std::fs::read_dir(d.root().join("tmp"))?.count() == 0).then_some(())))?;
    let said = d.ok(&["image", "prune", "-f"])?;
    ensure!(!part.exists() && layers(&d)? < before && !said.contains("reclaimed space: 0B"), "{said}");
    Ok(())
}

fn compressions(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    for (n, (form, packing)) in [
        (Form::Oci, Packing::Zstd),
        (Form::Oci, Packing::Gzip),
        (Form::Docker, Packing::Gzip),
        (Form::Oci, Packing::Plain),
    ]
    .into_iter()
    .enumerate()
    {
        let tars = [small(2100 + n as u64, "a"), small(2100 + n as u64, "b")];
        let image = Made::new(form, &tars, packing);
        image.put(&r, "pull/forms", &n.to_string())?;
        let name = r.name(&format!("pull/forms:{n}"));
        pull(&d, &name)?.ok()?;
        ensure!(d.inspect(&name)?["Id"] == image.id(), "{n}");
        d.ok(&["rmi", &name])?;
    }
    Ok(())
}
