//! Debian's docker-registry, plain, with TLS, passwords and tokens.

use crate::daemon::Daemon;
use crate::made::{self, Form, Made};
use crate::registry::{Auth, Kind, Registry, USER};
use crate::runner::World;
use crate::transfers::{pull, pull_as, shown};
use crate::wire::{self, Act, Reply, Server, Then};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap::Packing;
use serde_json::json;

super::cases!("registries":
    the_registries_themselves, the_servers_themselves, pulls, public_images_need_no_password,
    what_is_here_is_not_fetched_again,
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

/// A tag that did not change costs one request, and one that did costs what is new.
fn what_is_here_is_not_fetched_again(w: &World) -> Result<()> {
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
