//! Debian's docker-registry, plain, with TLS, passwords and tokens.

use crate::daemon::{Daemon, until};
use crate::made::{self, Form, Made};
use crate::registry::{Auth, Kind, Registry, USER};
use crate::runner::World;
use crate::transfers::{self, pull, pull_as, shown};
use crate::wire::{self, Act, Reply, Server, Then};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap::{self, Packing};
use dhow_types::image::media_type;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

super::cases!("registries":
    the_registries_themselves, the_servers_themselves, pulls, public_images_need_no_password,
    a_pull_of_what_is_here_costs_one_request, pulls_at_the_same_time_share_the_work, platforms,
);

/// A way of the tests' own to each kind, so that a failure elsewhere is not the harness's.
fn the_registries_themselves(w: &World) -> Result<()> {
    let d = w.daemon()?;
    for kind in [Kind::PLAIN, Kind::TLS, Kind::BASIC, Kind::TOKEN] {
        let r = Registry::start(&d, kind)?;
        let upload = "POST /v2/some/thing/blobs/uploads/";
        let asked = r.ask(upload, &[], b"")?;
        let challenge = asked.head.field("www-authenticate");
        let (status, begin) = match kind.auth {
            Auth::Open => (202, ""),
            Auth::Basic => (401, "Basic realm="),
            Auth::Token => (401, "Bearer realm="),
        };
        ensure!(asked.status() == status && challenge.starts_with(begin), "{kind:?}: {:?}", asked.head);
        if kind.auth == Auth::Token {
            // Nobody's token opens nothing.
            let scope = "GET /token?service=s&scope=repository%3Asome%2Fthing%3Apull%2Cpush";
            let told = r.ask(scope, &[], b"")?;
            let told: serde_json::Value = serde_json::from_slice(&told.body)?;
            let token = format!("Bearer {}", told["token"].as_str().unwrap_or_default());
            ensure!(r.ask(upload, &[("authorization", &token)], b"")?.status() == 401);
        }
        let asked = r.ask_as_user(upload, &[], b"")?;
        ensure!(asked.status() == 202, "{kind:?}: {:?}\n{}", asked.head, r.log());
        // The same registry again.
        r.down()?;
        r.up()?;
    }
    Ok(())
}

/// From each kind of registry: with the right password, and with what is said without one or with a wrong one.
fn pulls(w: &World) -> Result<()> {
    let d = Daemon::start(&w.setup)?;
    let certs_d = d.dir.path().join("certs.d");
    std::fs::create_dir(&certs_d)?;
    d.configure(&json!({"registry-certs-dirs": [&certs_d]}).to_string())?;
    d.end()?;
    d.up()?;
    let image = Made::sized(70, 100_000);
    for kind in [Kind::PLAIN, Kind::TLS, Kind::BASIC, Kind::TOKEN, Kind { tls: true, auth: Auth::Basic }] {
        let r = Registry::start(&d, kind)?;
        if kind.tls {
            // Where it stands, nothing but a certificate that holds is good enough.
            std::fs::create_dir(certs_d.join(r.host()))?;
            std::fs::write(certs_d.join(r.host()).join("ca.pem"), wire::certs::CA)?;
            std::fs::write(certs_d.join(r.host()).join("hosts.toml"), "ca = 'ca.pem'\n")?;
        }
        image.put(&r, "some/image", "1")?;
        let name = r.name("some/image:1");
        if kind.auth != Auth::Open {
            let said = pull(&d, &name)?.fails(&[&r.name("some/image")])?;
            let words = ["no basic auth credentials", "pull access denied", "unauthorized", "authentication required"];
            ensure!(words.iter().any(|w| said.contains(w)), "{kind:?}: {said}");
            let wrong = pull_as(&d, &name, Some(&shown((USER.0, "a-wrong-word"))))?.fails(&["unauthorized"])?;
            ensure!(
                !wrong.contains("a-wrong-word") && !d.log().contains("a-wrong-word"),
                "a password was told: {wrong}"
            );
        }
        let told = pull_as(&d, &name, Some(&shown(USER)))?.ok().with_context(|| format!("{kind:?}"))?;
        ensure!(told.told("Status: Downloaded newer image for") && told.told(&format!("Digest: {}", image.digest())));
        let seen = d.inspect(&name)?;
        ensure!(seen["Id"] == image.id(), "{seen}");
        ensure!(seen["RepoDigests"] == json!([format!("{}@{}", r.name("some/image"), image.digest())]), "{seen}");
        // By its digest, and again.
        let by_digest = r.name(&format!("some/image@{}", image.digest()));
        pull_as(&d, &by_digest, Some(&shown(USER)))?.ok()?;
        let again = pull_as(&d, &name, Some(&shown(USER)))?.ok()?;
        ensure!(again.told("Status: Image is up to date for"), "{again:?}");
        d.ok(&["rmi", "-f", &name])?;
        ensure!(!d.log().contains(USER.1) && !d.log().contains(&shown(USER)), "a password stands in the log");
    }
    Ok(())
}

/// What is everybody's is pulled with a token for nobody.
fn public_images_need_no_password(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = Registry::start(&d, Kind::TOKEN)?;
    let image = Made::sized(71, 1000);
    image.put(&r, "public/image", "1")?;
    let before = r.tokens().len();
    let name = r.name("public/image:1");
    pull(&d, &name)?.ok()?;
    ensure!(d.inspect(&name)?["Id"] == image.id());
    let asked = r.tokens().split_off(before);
    ensure!(asked.len() == 1, "one token is enough for all of an image: {asked:?}");
    ensure!(asked[0].request.query.contains("scope=repository%3Apublic%2Fimage%3Apull"), "{asked:?}");
    d.ok(&["rmi", &name])?;
    Ok(())
}

/// A tag that did not change costs one request, and so does one that is there under another name.
fn a_pull_of_what_is_here_costs_one_request(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    Made::sized(72, 1000).put(&r, "cheap/image", "1")?;
    let p = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    let name = format!("{}/cheap/image:1", p.host());
    pull(&d, &name)?.ok()?;
    p.forget();
    ensure!(pull(&d, &name)?.ok()?.told("Status: Image is up to date for"));
    ensure!(p.lines() == ["HEAD /v2/cheap/image/manifests/1"], "{:?}", p.lines());
    // Another image under the tag: what is here of it is not fetched again.
    let mut tars = Made::sized(72, 1000).tars;
    tars.push(made::small(73, "more"));
    let next = Made::new(Form::Oci, &tars, Packing::Gzip);
    next.put(&r, "cheap/image", "1")?;
    p.forget();
    let told = pull(&d, &name)?.ok()?;
    ensure!(told.told("Status: Downloaded newer image for") && told.said("Already exists").len() == 3, "{told:?}");
    let layers: Vec<_> = p.lines().into_iter().filter(|l| l.contains("/blobs/") && !l.ends_with(&next.id())).collect();
    ensure!(layers == [format!("GET /v2/cheap/image/blobs/{}", next.layer(3))], "{layers:?}");
    ensure!(d.inspect(&name)?["Id"] == next.id());
    d.ok(&["rmi", &name])?;
    Ok(())
}

/// Two pulls of one image at the same time share the work; the one that is given up does not end the other.
fn pulls_at_the_same_time_share_the_work(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let image = Made::sized(74, 3 << 20);
    image.put(&r, "shared/image", "1")?;
    let (which, open) = (image.layer(2), Arc::new(AtomicBool::new(false)));
    let gate = open.clone();
    let p = Server::before(&d.net, r.port(), move |r| {
        while r.path.ends_with(&which) && !gate.load(Ordering::Relaxed) {
            // until the test has seen all pulls wait for this layer
            std::thread::sleep(Duration::from_millis(2));
        }
        Act::Forward
    })?;
    let name = format!("{}/shared/image:1", p.host());
    let told = std::thread::scope(|scope| -> Result<Vec<_>> {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| pull(&d, &name))).collect();
        let heads = || p.lines().iter().filter(|l| l.contains("/manifests/")).count();
        let asked = until("all pulls to have asked for the manifest", || Ok((heads() >= 3).then_some(())));
        open.store(true, Ordering::Relaxed);
        asked?;
        pulls.into_iter().map(|p| p.join().map_err(|_| anyhow::anyhow!("panicked"))?).collect()
    })?;
    for told in told {
        told.ok()?;
    }
    for number in 0..3 {
        let of = |l: &&String| l.starts_with("GET") && l.ends_with(&image.layer(number));
        ensure!(p.lines().iter().filter(of).count() == 1, "layer {number} was fetched more than once: {:?}", p.lines());
    }
    ensure!(d.inspect(&name)?["Id"] == image.id());
    d.ok(&["rmi", &name])?;
    Ok(())
}

/// Of an index the image for this machine comes, or the one that was asked for.
fn platforms(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let image = |n: u64, platform: &str| -> Result<Made> {
        let mut made = Made::sized(n, 1000);
        let mut config: Value = serde_json::from_slice(&made.config)?;
        let mut words = platform.split('/').skip(1);
        config["architecture"] = json!(words.next());
        if let Some(variant) = words.next() {
            config["variant"] = json!(variant);
        }
        made = Made::of(Form::Oci, &made.tars, &made.layers, config.to_string().into_bytes());
        made.put(&r, "many/image", &platform.replace('/', "-"))?;
        Ok(made)
    };
    let own = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let mut manifests = Vec::new();
    let mut ids = Vec::new();
    for (n, platform) in ["linux/s390x", "linux/arm/v7", own, "linux/ppc64le"].into_iter().enumerate() {
        let made = image(80 + n as u64, platform)?;
        let mut entry = wrap::descriptor(media_type::OCI_MANIFEST, &made.manifest);
        let words: Vec<&str> = platform.split('/').collect();
        entry["platform"] = json!({"os": "linux", "architecture": words[1]});
        if let Some(variant) = words.get(2) {
            entry["platform"]["variant"] = json!(variant);
        }
        manifests.push(entry);
        ids.push((platform, made.id()));
    }
    for (tag, kind) in [("oci", media_type::OCI_INDEX), ("docker", media_type::DOCKER_INDEX)] {
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).to_string();
        made::put_manifest(&r, "many/image", tag, kind, index.as_bytes())?;
        let name = r.name(&format!("many/image:{tag}"));
        pull(&d, &name)?.ok()?;
        let id = |platform: &str| ids.iter().find(|(p, _)| *p == platform).map(|(_, id)| id.clone());
        let seen = d.inspect(&name)?;
        ensure!(Some(seen["Id"].as_str().unwrap_or_default().to_owned()) == id(own), "{tag}: {seen}");
        let digests = json!([format!("{}@{}", r.name("many/image"), made::digest(index.as_bytes()))]);
        ensure!(seen["RepoDigests"] == digests, "the index is what was asked for: {seen}");
        for (platform, id) in &ids {
            let line =
                format!("POST /v1.44/images/create?fromImage={}&tag={tag}&platform={platform}", r.name("many/image"));
            transfers::ask(&d, &line, None, "")?.ok()?;
            ensure!(d.inspect(&name)?["Id"] == *id, "{tag} {platform}");
        }
        let line =
            format!("POST /v1.44/images/create?fromImage={}&tag={tag}&platform=linux/riscv64", r.name("many/image"));
        transfers::ask(&d, &line, None, "")?.fails(&["no matching manifest for linux/riscv64", "linux/s390x"])?;
        d.ok(&["rmi", "-f", &name])?;
    }
    Ok(())
}

/// The server that misbehaves, and the proxy: each of its tricks, and that without one all passes.
fn the_servers_themselves(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let r = w.registry()?;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let digest = dhow_types::Digest::of(&bytes).to_string();
    let blob = format!("/v2/x/blobs/{digest}");
    let p = Server::before(&d.net, r.port(), |r| match r.query.as_str() {
        "cut" => Act::CutAnswer(1000),
        "request" => Act::CutRequest(2_000_000),
        "close" => Act::Close,
        _ => Act::Forward,
    })?;
    let ask = |line: &str, body: &[u8]| wire::ask(&d.net, p.port(), line, &[], body);
    let at = ask("POST /v2/x/blobs/uploads/", b"")?.head.field("location").to_owned();
    let at = at.strip_prefix(&format!("{}/", p.url())).map(|at| format!("/{at}"));
    let at = at.ok_or_else(|| anyhow::anyhow!("the registry names another address than the proxy's"))?;
    let put = ask(&format!("PUT {at}&digest={digest}"), &bytes)?;
    ensure!(put.status() == 201 && r.blob(&digest).exists(), "{:?}", put.head);
    ensure!(ask(&format!("GET {blob}"), b"")?.body == bytes, "a blob went there and back");
    ensure!(ask(&format!("GET {blob}?cut"), b"")?.body == bytes[..1000]);
    ensure!(ask(&format!("GET {blob}?close"), b"").is_err());
    p.breaks(&[1_000_000], true);
    let cut = ask(&format!("GET {blob}"), b"")?.body.len();
    ensure!((990_000..1_000_000).contains(&cut) && p.is_deaf() && ask("GET /v2/", b"").is_err(), "{cut}");
    p.heal();
    ensure!(ask("GET /v2/", b"")?.status() == 200);
    let gets: Vec<_> = p.entries().into_iter().filter(|e| e.request.line() == format!("GET {blob}")).collect();
    ensure!(gets.iter().map(|e| e.whole).eq([true, false, false, false]) && gets[1].sent == 1000, "{gets:?}");

    let s = Server::tls(&d.net, wire::certs::SERVER, |r| {
        Reply::new(200, "0123456789").then(if r.query == "cut" { Then::Cut(3) } else { Then::Whole }).into()
    })?;
    ensure!(wire::ask_tls(&d.net, s.port(), "GET /", &[], b"")?.body == b"0123456789");
    ensure!(wire::ask_tls(&d.net, s.port(), "GET /?cut", &[], b"").map_or(true, |told| told.body == b"012"));
    Ok(())
}
