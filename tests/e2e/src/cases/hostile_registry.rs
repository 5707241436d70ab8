//! Registries that misbehave on purpose: the pull fails and names what, the store stays whole, and the same image from
//! a registry that keeps to the rules comes in afterwards.

use crate::daemon::{Daemon, until};
use crate::disk::Disk;
use crate::made::{Form, Made, digest, small};
use crate::registry::{self, USER};
use crate::runner::World;
use crate::transfers::{pull, pull_as, shown};
use crate::wire::{Act, Issued, Reply, Request, Server, Then, certs, issue};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::Want;
use dhow_corpus::wrap::{self, Packing};
use dhow_types::image::media_type;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

super::cases!("hostile_registry":
    bytes_that_are_not_what_was_said, connections_that_break_or_say_nothing, too_many_requests_and_errors,
    redirects_lead_no_credentials_astray, a_realm_elsewhere_gets_no_password, documents_that_lie,
    foreign_layers_are_not_fetched, hostile_layers, a_disk_that_fills_half_way, certificates_that_do_not_match,
);

/// Few tries and short waits, which are what most of these cases are about.
pub(super) const TIGHT: &str = r#"{"registry-limits":
    {"answer": "1s", "stall": "500ms", "attempts": 3, "first-wait": "1ms", "longest-wait": "2ms"}}"#;

/// What all of these servers are asked for.
const REPOSITORY: &str = "test/image";

fn name(server: &Server) -> String {
    format!("{}/{REPOSITORY}:latest", server.host())
}

/// A server that is told which time a request comes.
fn counting(d: &Daemon, serve: impl Fn(&Request, usize) -> Act + Send + Sync + 'static) -> Result<Server> {
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    Server::start(&d.net, move |r| {
        let number = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(r.line()).or_default();
            *count += 1;
            *count
        };
        serve(r, number)
    })
}

/// Nothing is there that was not: no image, nothing half done, and what is there is whole.
pub(super) fn nothing_came(d: &Daemon, images: &str) -> Result<()> {
    ensure!(d.ok(&["images", "-aq", "--no-trunc"])? == images, "an image came");
    let left = |dir: &str| -> Result<usize> { Ok(std::fs::read_dir(d.root().join(dir))?.count()) };
    until("nothing half done to be left", || Ok((left("tmp")? + left("trash")? == 0).then_some(())))?;
    let r = d.cli(&["system", "check"])?;
    ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
    Ok(())
}

/// The pull fails with these words and leaves nothing; then the same image comes from an honest registry, and goes.
fn refused(
    d: &Daemon,
    what: &str,
    image: &Made,
    words: &[&str],
    serve: impl Fn(&Request, usize) -> Act + Send + Sync + 'static,
) -> Result<()> {
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let server = counting(d, serve)?;
    let told = pull(d, &name(&server))?;
    let named = format!("{}/{REPOSITORY}", server.host());
    told.fails(&[&[named.as_str()], words].concat()).with_context(|| what.to_owned())?;
    nothing_came(d, &before).with_context(|| what.to_owned())?;
    comes(d, image).with_context(|| format!("after {what}"))
}

/// An image comes from a registry that keeps to the rules, and goes.
fn comes(d: &Daemon, image: &Made) -> Result<()> {
    let served = image.clone();
    accepted(d, image, move |r, _| served.answer(r).into())
}

/// An image comes in spite of all.
fn accepted(d: &Daemon, image: &Made, serve: impl Fn(&Request, usize) -> Act + Send + Sync + 'static) -> Result<()> {
    let server = counting(d, serve)?;
    pull(d, &name(&server))?.ok()?;
    arrived(d, &name(&server), image)
}

fn arrived(d: &Daemon, name: &str, image: &Made) -> Result<()> {
    let seen = d.inspect(name)?;
    ensure!(seen["Id"] == image.id(), "another image came: {seen}");
    let ids: Vec<String> = image.tars.iter().map(|t| digest(t)).collect();
    ensure!(seen["RootFS"]["Layers"] == json!(ids), "{seen}");
    d.ok(&["rmi", name])?;
    Ok(())
}

/// Two small layers.
fn plain_image() -> Made {
    Made::new(Form::Oci, &[small(1, "first"), small(1, "second")], Packing::Gzip)
}

fn is(r: &Request, digest: &str) -> bool {
    r.path.ends_with(digest)
}

fn bytes_that_are_not_what_was_said(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    // Small ones, and one large enough to be kept while it comes.
    let docker = Made::new(Form::Docker, &[small(3, "docker's")], Packing::Gzip);
    for image in [plain_image(), docker, Made::sized(7, 2 << 20)] {
        let last = image.layers.len() - 1;
        let layer = format!("layer {}", image.short(last));
        let (i, which) = (image.clone(), image.layer(last));
        refused(&d, "a layer of other bytes", &image, &[&layer, "verification failed for digest"], move |r, _| {
            let mut reply = i.answer(r);
            if is(r, &which) {
                let middle = reply.body.len() / 2;
                reply.body[middle] ^= 1;
            }
            reply.into()
        })?;
        let (i, which) = (image.clone(), image.layer(last));
        refused(&d, "a layer that is longer", &image, &[&layer, "the size is wrong"], move |r, _| {
            let mut reply = i.answer(r);
            if is(r, &which) {
                reply.body.push(0);
            }
            reply.into()
        })?;
        let (i, which) = (image.clone(), image.layer(last));
        refused(&d, "a layer that is shorter", &image, &[&layer, "the size is wrong"], move |r, _| {
            let mut reply = i.answer(r);
            if is(r, &which) {
                reply.body.pop();
            }
            reply.into()
        })?;
    }
    let image = plain_image();
    let (i, which) = (image.clone(), image.id());
    let config = format!("image configuration {}", &image.id()[7..19]);
    refused(&d, "a configuration of other bytes", &image, &[&config, "verification failed"], move |r, _| {
        let mut reply = i.answer(r);
        if is(r, &which) {
            reply.body[1] ^= 1;
        }
        reply.into()
    })?;
    // The manifest is what counts, also where it says of a layer what the layer is not.
    let lying = image.clone().with_manifest(|m| m["layers"][0]["size"] = json!(image.layers[0].len() + 7))?;
    let layer = format!("layer {}", image.short(0));
    refused(&d, "a size in the manifest", &image, &[&layer, "the size is wrong"], move |r, _| lying.answer(r).into())?;
    // A layer that is what its digest says and not what the configuration says.
    let config = wrap::config(&[small(1, "first"), small(2, "second")]);
    let lying = Made::of(Form::Oci, &image.tars, &image.layers, config);
    refused(&d, "another diff id", &image, &[&format!("layer {}", image.short(1))], move |r, _| {
        lying.answer(r).into()
    })?;
    // And one layer fewer than it says.
    let lying = Made::of(Form::Oci, &image.tars[..1], &image.layers[..1], image.config.clone());
    refused(&d, "too few layers", &image, &["2", "1"], move |r, _| lying.answer(r).into())
}

fn connections_that_break_or_say_nothing(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let image = Made::sized(8, 2 << 20);
    let (layer, which) = (format!("layer {}", image.short(2)), image.layer(2));
    let when = |then: Then, forever: bool| {
        let (i, which) = (image.clone(), which.clone());
        move |r: &Request, n: usize| -> Act {
            match is(r, &which) && (forever || n == 1) {
                true if n == 1 => i.answer(r).then(then).into(),
                // And no byte more.
                true => {
                    i.answer(r).then(if matches!(then, Then::Stall(_)) { Then::Stall(0) } else { Then::Cut(0) }).into()
                }
                false => i.answer(r).into(),
            }
        }
    };
    refused(&d, "a layer that breaks off", &image, &[&layer], when(Then::Cut(1_500_000), true))?;
    accepted(&d, &image, when(Then::Cut(1_500_000), false))?;
    refused(
        &d,
        "a layer that stalls",
        &image,
        &[&layer, "nothing came for 500ms"],
        when(Then::Stall(1_500_000), true),
    )?;
    accepted(&d, &image, when(Then::Stall(1_500_000), false))?;
    // Slow is not silent.
    let drip = Then::Drip(64 << 10, Duration::from_millis(1));
    accepted(&d, &image, when(drip, false))?;
    let i = image.clone();
    refused(&d, "a connection that is closed", &image, &[&layer], move |r, _| match is(r, &i.layer(2)) {
        true => Act::Close,
        false => i.answer(r).into(),
    })?;
    let i = image.clone();
    refused(&d, "a manifest that stalls", &image, &["latest", "nothing came for"], move |r, _| {
        i.answer(r).then(Then::Stall(20)).into()
    })?;
    refused(&d, "nobody who answers", &image, &["latest"], |_, _| Act::Close)
}

fn too_many_requests_and_errors(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let image = plain_image();
    let layer = format!("layer {}", image.short(1));
    let when = |answer: Reply, times: usize, of: &str| {
        let (i, of) = (image.clone(), of.to_owned());
        move |r: &Request, n: usize| -> Act {
            if is(r, &of) && n <= times { answer.clone().into() } else { i.answer(r).into() }
        }
    };
    let (which, tag) = (image.layer(1), "latest");
    let slow = Reply::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.");
    let after = |text: &str| slow.clone().with("retry-after", text);
    let limit = "toomanyrequests: You have reached your pull rate limit.";
    for (of, part) in [(which.as_str(), layer.as_str()), (tag, "latest")] {
        accepted(&d, &image, when(slow.clone(), 2, of))?;
        refused(&d, "429", &image, &[part, limit], when(slow.clone(), 99, of))?;
        accepted(&d, &image, when(after("0"), 2, of))?;
        let words = [part, limit, "it asks to be tried again in 1h0m0s"];
        refused(&d, "429 for an hour", &image, &words, when(after("3600"), 99, of))?;
        for status in [500, 502, 503, 504] {
            let answer = Reply::new(status, "<html>sorry</html>").with("content-type", "text/html");
            accepted(&d, &image, when(answer.clone(), 2, of))?;
            refused(&d, "an error of the server's own", &image, &[part, &status.to_string()], when(answer, 99, of))?;
        }
    }
    let gone = Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    refused(&d, "a layer that is not there", &image, &[&layer, "blob unknown"], when(gone, 99, &which))?;
    let denied = Reply::error(403, "DENIED", "requested access to the resource is denied");
    refused(&d, "denied", &image, &["pull access denied for", "docker login"], when(denied, 99, tag))
}

fn redirects_lead_no_credentials_astray(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let image = plain_image();
    let (layer, which) = (format!("layer {}", image.short(1)), image.layer(1));
    for (what, words, way) in [
        ("a circle", "in a circle", (|r| r.path.clone()) as fn(&Request) -> String),
        ("an endless way", "more than 10 redirects", |r| {
            format!("{}/{}", r.path, r.path.rsplit('/').next().unwrap_or(""))
        }),
        ("a file", "no address", |_| "file:///etc/passwd".to_owned()),
    ] {
        let (i, which) = (image.clone(), which.clone());
        refused(&d, what, &image, &[&layer, words], move |r, _| match is(r, &which) {
            true => Reply::to(307, way(r)).into(),
            false => i.answer(r).into(),
        })?;
    }
    // To a storage elsewhere, which is lawful, and sees no password.
    let i = image.clone();
    let storage = Server::start(&d.net, move |r| i.answer(r).into())?;
    let (i, to) = (image.clone(), storage.url());
    let server = Server::start(&d.net, move |r| match r.field("authorization") {
        "" => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\"").into(),
        _ if r.path.contains("/blobs/") => Reply::to(307, format!("{to}{}?signed=secretly", r.path)).into(),
        _ => i.answer(r).into(),
    })?;
    pull_as(&d, &name(&server), Some(&shown(USER)))?.ok()?;
    ensure!(server.entries().iter().any(|e| e.request.field("authorization").starts_with("Basic ")));
    ensure!(storage.entries().len() >= 3, "the layers and the configuration came from there");
    ensure!(storage.entries().iter().all(|e| e.request.field("authorization").is_empty()), "a password went astray");
    arrived(&d, &name(&server), &image)
}

fn a_realm_elsewhere_gets_no_password(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let image = plain_image();
    let token = |r: &Request, anonymous: bool| -> Act {
        match anonymous || !r.field("authorization").is_empty() {
            true => Reply::new(200, r#"{"token":"good"}"#).into(),
            false => Reply::error(401, "UNAUTHORIZED", "who are you").into(),
        }
    };
    for anonymous in [false, true] {
        let realm = Server::start(&d.net, move |r| token(r, anonymous))?;
        let (i, to) = (image.clone(), realm.url());
        let server = Server::start(&d.net, move |r| match r.field("authorization") {
            "Bearer good" => i.answer(r).into(),
            _ => {
                let challenge = format!("Bearer realm=\"{to}/token\",service=\"x\"");
                Reply::error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", challenge).into()
            }
        })?;
        let told = pull_as(&d, &name(&server), Some(&shown(USER)))?;
        ensure!(!realm.entries().is_empty());
        for e in realm.entries() {
            let r = &e.request;
            let said = format!("{:?} {} {}", r.head, r.query, String::from_utf8_lossy(&r.body));
            ensure!(r.field("authorization").is_empty() && !said.contains(USER.1), "a password went astray: {said}");
        }
        if anonymous {
            // What is everybody's needs no password, whoever gives the tokens.
            told.ok()?;
            arrived(&d, &name(&server), &image)?;
        } else {
            told.fails(&[&server.host(), &realm.host(), "another site", "auth-realms"])?;
            nothing_came(&d, &before)?;
        }
    }
    Ok(())
}

fn documents_that_lie(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let image = plain_image();
    let limit = "it is larger than the limit of 4194304 bytes";
    refused(&d, "a manifest of 100 MiB", &image, &["latest", limit], |_, _| {
        Reply::new(200, "{")
            .with("content-type", media_type::OCI_MANIFEST)
            .length(Some(100 << 20))
            .then(Then::Stall(1))
            .into()
    })?;
    refused(&d, "a manifest without an end", &image, &["latest", limit], |_, _| {
        Reply::new(200, vec![b' '; 64 << 10]).with("content-type", media_type::OCI_MANIFEST).then(Then::Endless).into()
    })?;
    let large = image.clone().with_manifest(|m| m["config"]["size"] = json!(100 << 20))?;
    refused(&d, "a configuration of 100 MiB", &image, &["image configuration"], move |r, _| large.answer(r).into())?;
    // What one reader takes for an image and the next one for an index.
    let both = image.clone().with_manifest(|m| m["manifests"] = json!([]))?;
    refused(&d, "layers and manifests", &image, &["latest", "ambiguous"], move |r, _| both.answer(r).into())?;
    let mut other = image.clone();
    other.media_type = media_type::OCI_INDEX.to_owned();
    refused(&d, "an index by its head alone", &image, &["latest"], move |r, _| other.answer(r).into())?;
    let docker = image.clone().with_manifest(|m| m["mediaType"] = json!(media_type::DOCKER_MANIFEST))?;
    refused(&d, "two media types", &image, &["latest"], move |r, _| docker.answer(r).into())?;
    let zstd = image
        .clone()
        .with_manifest(|m| m["layers"][1]["mediaType"] = json!(format!("{}+zstd", media_type::OCI_LAYER)))?;
    let words = [format!("layer {}", image.short(1)), "ambiguous layer".to_owned(), "its bytes are gzip".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&d, "zstd that is gzip", &image, &words, move |r, _| zstd.answer(r).into())?;
    // Another digest in the head than the bytes have.
    let i = image.clone();
    refused(&d, "a digest of another manifest", &image, &["latest", "verification failed"], move |r, _| {
        let reply = i.answer(r);
        if r.path.contains("/manifests/") {
            reply.with("docker-content-digest", digest(b"x")).into()
        } else {
            reply.into()
        }
    })?;
    refused(&d, "a page to log in at", &image, &["latest"], |_, _| {
        Reply::new(200, "<html>Welcome to our hotel</html>").with("content-type", "text/html").into()
    })?;
    refused(&d, "a manifest of the first kind", &image, &["latest"], |_, _| {
        let text = r#"{"schemaVersion":1,"name":"test/image","tag":"latest","fsLayers":[],"history":[]}"#;
        Reply::new(200, text).with("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws").into()
    })?;
    refused(&d, "no JSON", &image, &["latest"], |_, _| {
        Reply::new(200, "{\"schemaVersion\":2,").with("content-type", media_type::OCI_MANIFEST).into()
    })?;
    // An index that leads to nothing that runs here, and one that leads to itself under another size.
    let foreign = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        {"mediaType": media_type::OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len(),
         "platform": {"os": "linux", "architecture": "s390x"}}]});
    let mut index = image.clone();
    (index.manifest, index.media_type) = (foreign.to_string().into_bytes(), media_type::OCI_INDEX.to_owned());
    refused(&d, "another platform", &image, &["no matching manifest for linux/", "linux/s390x"], move |r, _| {
        index.answer(r).into()
    })?;
    let wrong = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        {"mediaType": media_type::OCI_MANIFEST, "digest": image.digest(), "size": image.manifest.len() + 1}]});
    let i = image.clone();
    refused(&d, "a size in the index", &image, &["the size is wrong"], move |r, _| match r.path.ends_with("latest") {
        true => Reply::new(200, wrong.to_string()).with("content-type", media_type::OCI_INDEX).into(),
        false => i.answer(r).into(),
    })
}

fn foreign_layers_are_not_fetched(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let image = plain_image();
    let i = image.clone();
    let elsewhere = Server::start(&d.net, move |r| i.answer(r).into())?;
    let url = format!("{}/v2/x/blobs/{}", elsewhere.url(), image.layer(1));
    let foreign = image.clone().with_manifest(|m| {
        m["layers"][1]["urls"] = json!([url]);
        m["layers"][1]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    })?;
    let words = [format!("layer {}", image.short(1)), "a foreign layer".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    refused(&d, "a foreign layer", &image, &words, move |r, _| foreign.answer(r).into())?;
    ensure!(elsewhere.entries().is_empty(), "its address was asked");
    Ok(())
}

/// Every trick that archives were seen to play, from a registry; and its twin without the trick.
fn hostile_layers(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let canary = d.dir.path().join("canary");
    std::fs::write(&canary, "alive")?;
    let rows = dhow_corpus::rows();
    let images: Vec<(Made, bool)> = rows
        .iter()
        .enumerate()
        .flat_map(|(n, row)| {
            let packing = [Packing::Gzip, Packing::Zstd, Packing::Plain][n % 3];
            let of = |layer: &Vec<u8>| Made::new(Form::Oci, std::slice::from_ref(layer), packing);
            match &row.want {
                Want::Refused(_, twin) => vec![(of(&row.layer), false), (of(twin), true)],
                Want::Tree(_) => vec![(of(&row.layer), true)],
            }
        })
        .collect();
    let words: Vec<&str> = rows
        .iter()
        .flat_map(|row| match &row.want {
            Want::Refused(word, _) => vec![*word, ""],
            Want::Tree(_) => vec![""],
        })
        .collect();
    let served: Arc<Vec<(Made, bool)>> = Arc::new(images);
    let images = served.clone();
    let server = Server::start(&d.net, move |r| {
        let number: Option<usize> = r.path.split('/').nth(3).and_then(|n| n.parse().ok());
        number.and_then(|n| served.get(n)).map_or(Reply::new(404, ""), |(image, _)| image.answer(r)).into()
    })?;
    let (mut refused, mut good_ones) = (0, Vec::new());
    for (number, (image, good)) in images.iter().enumerate() {
        let name = format!("{}/corpus/{number}:latest", server.host());
        let told = pull(&d, &name)?;
        if *good {
            told.ok().with_context(|| format!("row {number}"))?;
            good_ones.push(name);
        } else {
            let layer = format!("layer {}", image.short(0));
            told.fails(&[&layer, &name[..name.len() - 7], words[number]]).with_context(|| format!("row {number}"))?;
            refused += 1;
        }
    }
    ensure!(refused > 20, "{refused}");
    let good_ones: Vec<&str> = good_ones.iter().map(String::as_str).collect();
    d.ok(&[&["rmi"], &good_ones[..]].concat())?;
    ensure!(std::fs::read_to_string(&canary)? == "alive");
    nothing_came(&d, &before)?;
    comes(&d, &plain_image())
}

fn a_disk_that_fills_half_way(w: &World) -> Result<()> {
    let d = Daemon::start_on(&w.setup, TIGHT, |dir| Disk::memory(&dir.join("root"), 40).map(Some))?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    let image = Made::sized(9, 8 << 20);
    // What can't fit is not begun.
    let large = image.clone().with_manifest(|m| m["layers"][2]["size"] = json!(60 << 20))?;
    let server = Server::start(&d.net, move |r| large.answer(r).into())?;
    pull(&d, &name(&server))?.fails(&["not enough space"])?;
    ensure!(!server.lines().iter().any(|l| l.ends_with(&image.layer(2))), "it was begun");
    nothing_came(&d, &before)?;
    // Somebody else takes the rest while the layer comes.
    let which = image.layer(2);
    let (i, fill) = (image.clone(), Arc::new(Mutex::new(Some(()))));
    let r = registry::Registry::start(&d, registry::Kind::PLAIN)?;
    i.put(&r, REPOSITORY, "latest")?;
    let held = fill.clone();
    let proxy = Server::before(&d.net, r.port(), move |r| {
        if is(r, &which) && held.lock().unwrap().take().is_some() { Act::StallAnswer(2 << 20) } else { Act::Forward }
    })?;
    let name = name(&proxy);
    let patient = r#"{"registry-limits": {"stall": "60s", "attempts": 3, "first-wait": "1ms", "longest-wait": "2ms"}}"#;
    d.configure(patient)?;
    d.end()?;
    d.up()?;
    let told = std::thread::scope(|scope| -> Result<_> {
        let pulling = scope.spawn(|| pull(&d, &name));
        until("half of the layer to be there", || {
            let there = proxy.entries().iter().any(|e| e.sent >= 2 << 20);
            Ok(there.then_some(()))
        })?;
        d.disk()?.fill()?;
        // The connection breaks, and the rest comes over the next one.
        proxy.deafen();
        proxy.heal();
        pulling.join().map_err(|_| anyhow::anyhow!("panicked"))?
    });
    let told = told?;
    // Whichever of the layers is the first to miss it.
    told.fails(&["layer ", REPOSITORY, "space", "dhow system df"])?;
    d.disk()?.relieve()?;
    nothing_came(&d, &before)?;
    pull(&d, &name)?.ok()?;
    arrived(&d, &name, &image)
}

/// Where no loopback excuses plain text or a certificate that nobody issued.
const ADDRESS: &str = "192.0.2.7";

fn certificates_that_do_not_match(w: &World) -> Result<()> {
    let d = Daemon::start_with(&w.setup, TIGHT)?;
    let before = d.ok(&["images", "-aq", "--no-trunc"])?;
    d.net.run(&["ip", "address", "add", &format!("{ADDRESS}/32"), "dev", "lo"])?;
    let dir = |name: &str| d.dir.path().join(name);
    let (own, other) = (issue(&dir("own"), ADDRESS)?, issue(&dir("other"), "192.0.2.8")?);
    let image = plain_image();
    let tls = |cert: (&str, &str)| {
        let i = image.clone();
        Server::tls(&d.net, cert, move |r| i.answer(r).into())
    };
    let pair = |issued: &Issued| issued.pair.clone();
    let [(cert, key), (other_cert, other_key)] = [pair(&own), pair(&other)];
    let (right, unknown, wrong_name) = (tls((&cert, &key))?, tls((&cert, &key))?, tls((&other_cert, &other_key))?);
    let (elsewhere, expired, local) = (tls(certs::ELSEWHERE)?, tls(certs::EXPIRED)?, tls(certs::SERVER)?);
    let i = image.clone();
    let unencrypted = Server::start(&d.net, move |r| i.answer(r).into())?;

    // As Docker has them, for the servers at that address; as containerd has them, for those on the loopback, where
    // Docker's would let everything pass, as they do with Docker.
    let at = |server: &Server| format!("{ADDRESS}:{}", server.port());
    let certs_d = registry::certs_dir(d.dir.path(), &at(&right), &own.ca)?;
    registry::certs_dir(d.dir.path(), &at(&wrong_name), &other.ca)?;
    std::fs::write(dir("ca.pem"), certs::CA)?;
    for server in [&elsewhere, &expired, &local] {
        std::fs::create_dir_all(certs_d.join(server.host()))?;
        let toml = format!("ca = '{}'\n", dir("ca.pem").display());
        std::fs::write(certs_d.join(server.host()).join("hosts.toml"), toml)?;
    }
    let mut config: serde_json::Value = serde_json::from_str(TIGHT)?;
    config["registry-certs-dirs"] = json!([certs_d]);
    d.configure(&config.to_string())?;
    d.end()?;
    d.up()?;
    let failed = "tls: failed to verify certificate";
    for (server, host, words) in [
        (&unknown, at(&unknown), &[failed, "unknown authority"][..]),
        (&wrong_name, at(&wrong_name), &[failed, "not for the name 192.0.2.7"]),
        (&unencrypted, at(&unencrypted), &["server gave HTTP response to HTTPS client"]),
        (&elsewhere, elsewhere.host(), &[failed, "not for the name 127.0.0.1"]),
        (&expired, expired.host(), &[failed, "has expired"]),
    ] {
        let name = format!("{host}/{REPOSITORY}");
        let told = pull(&d, &format!("{name}:latest"))?;
        told.fails(&[&[name.as_str()], words].concat()).with_context(|| format!("{words:?}"))?;
        ensure!(server.entries().is_empty(), "it was asked something: {words:?}");
        nothing_came(&d, &before)?;
    }
    for name in [format!("{}/{REPOSITORY}:latest", at(&right)), name(&local)] {
        pull(&d, &name)?.ok()?;
        arrived(&d, &name, &image)?;
    }
    Ok(())
}
