//! Access to registries: logins, mirrors, proxies and certificates of a daemon, and what a registry says of a name.

use super::clients::docker;
use crate::daemon::{Daemon, fed};
use crate::made::Made;
use crate::registry::{Kind, Registry, USER, certs_dir};
use crate::runner::World;
use crate::tokens::IDENTITY;
use crate::wire::{Act, Reply, Server, certs};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

super::cases!("access":
    logins, dockers_login, certificates, mirrors, a_proxy, what_a_name_stands_for, searches, settings_are_checked,
);

/// `POST /auth`: status, and the answer's document.
fn login(d: &Daemon, address: &str, password: &str) -> Result<(u16, Value)> {
    let body = json!({"username": USER.0, "password": password, "serveraddress": address}).to_string();
    let (status, _, body) = d.http("POST", "/auth", &body)?;
    Ok((status, serde_json::from_str(&body)?))
}

/// A question that must be answered with this status; the document.
fn get(d: &Daemon, path: &str, status: u16) -> Result<Value> {
    // What no address may hold as it is.
    let path = path.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let (got, _, body) = d.http("GET", &path, "")?;
    ensure!(got == status, "{path}: {got} {body}");
    Ok(serde_json::from_str(&body)?)
}

fn message(document: &Value) -> &str {
    document["message"].as_str().unwrap_or_default()
}

/// The daemon again, with another configuration.
fn again(d: &Daemon, config: &Value) -> Result<()> {
    d.end()?;
    d.configure(&config.to_string())?;
    d.up()
}

fn logins(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (basic, token) = (Registry::start(&d, Kind::BASIC)?, Registry::start(&d, Kind::TOKEN)?);
    let (status, told) = login(&d, &basic.host(), USER.1)?;
    ensure!(status == 200 && told == json!({"Status": "Login Succeeded", "IdentityToken": ""}), "{told}");
    let (status, told) = login(&d, &basic.host(), "s3cret")?;
    let words = format!("login attempt to http://{}/v2/ failed with status: 401 Unauthorized", basic.host());
    ensure!(status == 401 && message(&told) == words, "{status} {told}");
    let (status, told) = login(&d, &format!("http://{}/v1/", token.host()), USER.1)?;
    ensure!(status == 200 && told["IdentityToken"] == IDENTITY, "{status} {told}");
    let (status, told) = login(&d, &token.host(), "s3cret")?;
    ensure!(status == 401 && message(&told).contains("unauthorized: incorrect username or password"), "{told}");
    // A token server on another site gets the password only if the administrator says so.
    let elsewhere = Server::start(&d.net, |_| Reply::new(200, r#"{"token":"t"}"#).into())?;
    let realm = format!("Bearer realm=\"{}/token\",service=\"s\"", elsewhere.url());
    let pointing = Server::start(&d.net, move |r| match r.field("authorization") {
        "Bearer t" => Reply::new(200, "{}").into(),
        _ => Reply::new(401, "").with("www-authenticate", realm.clone()).into(),
    })?;
    let (status, told) = login(&d, &pointing.host(), USER.1)?;
    ensure!(status == 401 && message(&told).contains("auth-realms"), "{status} {told}");
    ensure!(elsewhere.entries().is_empty(), "the other site was asked");
    again(&d, &json!({"auth-realms": {pointing.host(): [elsewhere.url()]}}))?;
    let (status, told) = login(&d, &pointing.host(), USER.1)?;
    ensure!(status == 200 && elsewhere.entries().len() == 1, "{status} {told}");
    // Nobody is there; what is no address; and the password is never repeated.
    let (status, told) = login(&d, "127.0.0.1:1", USER.1)?;
    ensure!(status == 500 && message(&told).contains("connection refused"), "{status} {told}");
    let (status, told) = login(&d, "user:s3cret@host", USER.1)?;
    ensure!(status == 400 && message(&told).contains("unable to parse server address"), "{status} {told}");
    ensure!(!told.to_string().contains("s3cret") && !d.log().contains("s3cret"));
    Ok(())
}

fn dockers_login(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let r = Registry::start(&d, Kind::BASIC)?;
    let words = ["login", "-u", USER.0, "--password-stdin", &r.host()];
    let ran = fed(docker(&d, &words)?, USER.1.as_bytes())?;
    ensure!(ran.code == 0 && ran.out.contains("Login Succeeded"), "{} {}", ran.out, ran.err);
    let config: Value = serde_json::from_str(&std::fs::read_to_string(d.dir.path().join("config.json"))?)?;
    ensure!(config["auths"][r.host()]["auth"].is_string(), "{config}");
    // It is used from then on.
    d.ok(&["tag", "busybox", &r.name("some/box")])?;
    let pushed = docker(&d, &["push", &r.name("some/box")])?.output()?;
    ensure!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let gone = docker(&d, &["logout", &r.host()])?.output()?;
    ensure!(gone.status.success());
    let pulled = docker(&d, &["pull", &r.name("some/box")])?.output()?;
    let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
    ensure!(pulled.status.code() == Some(1) && said.contains("no basic auth credentials"), "{said}");
    let ran = fed(docker(&d, &words)?, b"wrong")?;
    ensure!(ran.code == 1 && ran.err.contains("failed with status: 401 Unauthorized"), "{}", ran.err);
    Ok(())
}

/// On loopback any certificate will do, unless `hosts.toml` asks for the right one.
fn certificates(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let good = Registry::start(&d, Kind::TLS)?;
    let elsewhere = Server::tls(&d.net, certs::ELSEWHERE, |_| Reply::new(200, "{}").into())?;
    let expired = Server::tls(&d.net, certs::EXPIRED, |_| Reply::new(200, "{}").into())?;
    for host in [good.host(), elsewhere.host(), expired.host()] {
        let (status, told) = login(&d, &host, USER.1)?;
        ensure!(status == 200, "{host}: {told}");
    }
    let mut dir = None;
    for host in [good.host(), elsewhere.host(), expired.host()] {
        let all = certs_dir(d.dir.path(), &host, certs::CA)?;
        std::fs::write(all.join(&host).join("hosts.toml"), "ca = 'ca.crt'\n")?;
        dir = Some(all);
    }
    again(&d, &json!({"registry-certs-dirs": [dir]}))?;
    let (status, told) = login(&d, &good.host(), USER.1)?;
    ensure!(status == 200, "{told}");
    for (host, words) in [(elsewhere.host(), "it is not for the name 127.0.0.1"), (expired.host(), "it has expired")] {
        let (status, told) = login(&d, &host, USER.1)?;
        ensure!(status == 500 && message(&told).contains(words), "{status} {told}");
    }
    // Nothing went to a server whose certificate does not hold, and what is missing is named.
    ensure!(elsewhere.entries().len() == 1, "{:?}", elsewhere.lines());
    let file = d.dir.path().join("certs.d").join(good.host()).join("hosts.toml");
    std::fs::write(&file, "")?;
    let (_, told) = login(&d, &good.host(), USER.1)?;
    ensure!(message(&told).contains(&format!("as ca in {}", file.display())), "{told}");
    Ok(())
}

fn mirrors(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let r = Registry::start(&d, Kind::PLAIN)?;
    let image = Made::sized(7, 10_000);
    image.put(&r, "some/thing", "latest")?;
    let seen = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    let mirror = Server::before(&d.net, r.port(), |_| Act::Forward)?;
    let path = format!("/distribution/{}/some/thing:latest/json", seen.host());
    again(&d, &json!({"registry-mirrors": {seen.host(): ["http://127.0.0.1:1", mirror.url()]}}))?;
    let info = get(&d, "/info", 200)?;
    let told = &info["RegistryConfig"];
    ensure!(told["Mirrors"] == json!([]) && told["IndexConfigs"]["docker.io"]["Official"] == true, "{told}");
    let own = &told["IndexConfigs"][seen.host()];
    ensure!(own["Mirrors"] == json!(["http://127.0.0.1:1/", format!("{}/", mirror.url())]), "{told}");
    // The first is dead, the second answers, the registry itself is left alone.
    ensure!(get(&d, &path, 200)?["Descriptor"]["digest"] == image.digest());
    ensure!(!mirror.entries().is_empty() && seen.entries().is_empty(), "{:?}", seen.lines());
    mirror.deafen();
    ensure!(get(&d, &path, 200)?["Descriptor"]["digest"] == image.digest());
    ensure!(!seen.entries().is_empty(), "nobody asked the registry");
    // Docker's form is for Docker Hub.
    again(&d, &json!({"registry-mirrors": [mirror.url()], "insecure-registries": ["10.1.0.0/16", "r:5000"]}))?;
    let told = &get(&d, "/info", 200)?["RegistryConfig"];
    ensure!(told["Mirrors"] == json!([format!("{}/", mirror.url())]), "{told}");
    ensure!(told["InsecureRegistryCIDRs"] == json!(["10.1.0.0/16", "::1/128", "127.0.0.0/8"]), "{told}");
    ensure!(told["IndexConfigs"]["r:5000"]["Secure"] == false, "{told}");
    let shown = d.ok(&["info"])?;
    ensure!(
        shown.contains(&format!("Registry Mirrors:\n {}/", mirror.url())) && shown.contains(" r:5000\n"),
        "{shown}"
    );
    mirror.heal();
    mirror.forget();
    d.cli(&["pull", "some/thing"])?.ok()?;
    ensure!(!mirror.entries().is_empty());
    Ok(())
}

fn a_proxy(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let proxy = Server::start(&d.net, |r| {
        // Requests without TLS name the whole address; a tunnel is not given.
        Reply::new(if r.method == "CONNECT" { 403 } else { 200 }, "{}").into()
    })?;
    let address = format!("http://me:s3cret@{}", proxy.host());
    let proxies = json!({"http-proxy": address, "https-proxy": address, "no-proxy": "direct.test"});
    again(&d, &json!({"proxies": proxies, "insecure-registries": ["registry.test:5000", "direct.test"]}))?;
    let (status, told) = login(&d, "registry.test:5000", USER.1)?;
    ensure!(status == 200, "{told}");
    ensure!(
        proxy.lines() == ["CONNECT registry.test:5000", "GET http://registry.test:5000/v2/"],
        "{:?}",
        proxy.lines()
    );
    let basic = super::registry_cli::basic("me", "s3cret");
    for entry in proxy.entries() {
        ensure!(entry.request.field("proxy-authorization") == format!("Basic {basic}"), "{:?}", entry.request);
    }
    // What goes without it is not seen by it.
    proxy.forget();
    let (status, _) = login(&d, "direct.test", USER.1)?;
    ensure!(status == 500 && proxy.entries().is_empty(), "{status} {:?}", proxy.lines());
    let info = get(&d, "/info", 200)?;
    let masked = format!("http://xxxxx:xxxxx@{}", proxy.host());
    ensure!(info["HttpProxy"] == masked && info["HttpsProxy"] == masked && info["NoProxy"] == "direct.test", "{info}");
    ensure!(d.ok(&["info"])?.contains(&format!("HTTPS Proxy: {masked}")) && !d.log().contains("s3cret"));
    Ok(())
}

fn what_a_name_stands_for(w: &World) -> Result<()> {
    let (d, r) = (w.daemon()?, w.registry()?);
    let image = Made::sized(8, 1000);
    image.put(&r, "access/one", "tag")?;
    let of = |rest: &str| format!("/distribution/{}/json", r.name(rest));
    for rest in ["access/one:tag".to_owned(), format!("access/one@{}", image.digest())] {
        let told = get(&d, &of(&rest), 200)?;
        let want = json!({"digest": image.digest(), "size": image.manifest.len(), "mediaType": dhow_types::image::media_type::OCI_MANIFEST});
        ensure!(told["Descriptor"] == want && told["Platforms"][0]["os"] == "linux", "{told}");
    }
    let told = get(&d, &of("access/one:other"), 404)?;
    ensure!(message(&told).contains("manifest unknown"), "{told}");
    let told = get(&d, &of("Access"), 400)?;
    ensure!(message(&told).contains("lowercase"), "{told}");
    get(&d, &format!("/distribution/{}/json", "a".repeat(64)), 500)?;
    // Who may not see it, and who is not known.
    let own = w.own_daemon()?;
    let closed = Registry::start(&own, Kind::BASIC)?;
    let told = get(&own, &format!("/distribution/{}/json", closed.name("x")), 401)?;
    ensure!(message(&told).contains("no basic auth credentials"), "{told}");
    let denied = Server::start(&own.net, |_| Reply::error(403, "DENIED", "requested access is denied").into())?;
    let told = get(&own, &format!("/distribution/{}/x/json", denied.host()), 403)?;
    ensure!(message(&told).contains("denied: requested access is denied"), "{told}");
    Ok(())
}

fn searches(w: &World) -> Result<()> {
    let d = w.daemon()?;
    let index = Server::start(&d.net, |r| match r.path.as_str() {
        "/v1/search" => {
            let row = |name: &str, official: bool, stars: u32| json!({"name": name, "description": "d", "is_official": official, "is_automated": true, "star_count": stars});
            let rows = [row("one", true, 10), row("two", false, 3)];
            Reply::new(200, json!({"num_results": 2, "query": "x", "results": rows}).to_string()).into()
        }
        _ => Act::Close,
    })?;
    let of = |rest: &str| format!("/images/search?term={}/x{rest}", index.host());
    let names = |rest: &str| -> Result<Vec<String>> {
        let told = get(&d, &of(rest), 200)?;
        Ok(told.as_array().into_iter().flatten().map(|r| r["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let told = get(&d, &of(""), 200)?;
    ensure!(
        told[1]
            == json!({"star_count": 3, "is_official": false, "name": "two", "is_automated": false, "description": "d"}),
        "{told}"
    );
    ensure!(index.entries()[0].request.query == "q=x&n=25", "{:?}", index.entries());
    ensure!(names(r#"&filters={"stars":["5"]}"#)? == ["one"]);
    ensure!(names(r#"&filters={"is-official":["false"]}"#)? == ["two"]);
    ensure!(names(r#"&filters={"is-automated":["true"]}"#)?.is_empty());
    for (rest, words) in [
        ("&limit=101", "limit 101 is outside the range of [1, 100]"),
        ("&limit=many", "invalid limit specified"),
        (r#"&filters={"stars":["many"]}"#, "invalid filter 'stars=many'"),
        (r#"&filters={"what":["x"]}"#, "invalid filter 'what'"),
    ] {
        let told = get(&d, &of(rest), 400)?;
        ensure!(message(&told).contains(words), "{rest}: {told}");
    }
    let found = docker(&d, &["search", "--no-trunc", &format!("{}/x", index.host())])?.output()?;
    let out = String::from_utf8_lossy(&found.stdout).into_owned();
    ensure!(found.status.success() && out.lines().count() == 3 && out.contains("[OK]"), "{out}");
    Ok(())
}

fn settings_are_checked(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    d.end()?;
    for (config, words) in [
        (r#"{"registry-mirrors": ["mirror:5000"]}"#, "no scheme specified for \"mirror:5000\""),
        (r#"{"registry-mirrors": 5}"#, "registry-mirrors: want a list"),
        (r#"{"insecure-registries": ["ftp://x"]}"#, "insecure registry ftp://x should not contain '://'"),
        (r#"{"max-concurrent-downloads": -1}"#, "invalid max concurrent downloads: -1"),
        (r#"{"max-concurrent-uploads": -1}"#, "invalid max concurrent uploads: -1"),
        (r#"{"max-download-attempts": -1}"#, "invalid max download attempts: -1"),
        (r#"{"proxies": {"https-proxy": "socks5://me:s3cret@p:1"}}"#, "invalid proxy in HTTPS_PROXY"),
        (r#"{"auth-realms": {"r": ["elsewhere"]}}"#, "invalid token server \"elsewhere\""),
    ] {
        d.configure(config)?;
        let Err(e) = d.up() else { anyhow::bail!("{config} was taken") };
        let said = format!("{e:#}");
        ensure!(said.contains(words) && !said.contains("s3cret"), "{config}: {said}");
    }
    d.configure("{}")?;
    d.up()
}
