//! Images that stay at their registry: checked, inspected, copied, and put into lists by hand.

use super::clients::docker;
use super::registry_cli::{Client, basic};
use crate::made::{self, Form, Made};
use crate::registry::{Kind, Registry, USER};
use crate::runner::World;
use crate::wire::{self, Act, Reply, Server, Then};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::wrap::Packing;
use dhow_types::image::media_type;
use serde_json::{Value, json};

super::cases!("remote":
    a_check_of_what_can_be_pulled, a_check_names_what_is_wrong, a_check_sees_settings_and_mirrors,
    a_check_of_who_is_silent_ends, inspected_without_a_pull, copies_keep_digests, lists_made_by_hand,
);

/// What a repository has under a tag or a digest: the bytes.
fn raw(r: &Registry, repository: &str, last: &str) -> Result<Vec<u8>> {
    let accept =
        [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];
    let told = r.ask(&format!("GET /v2/{repository}/manifests/{last}"), &[("accept", &accept.join(", "))], b"")?;
    ensure!(told.status() == 200, "{repository}:{last}: {:?}", told.head);
    Ok(told.body)
}

/// An index of two images under a tag; its bytes.
fn put_index(r: &Registry, repository: &str, tag: &str) -> Result<Vec<u8>> {
    let mut manifests = Vec::new();
    for (seed, architecture) in [(1, "amd64"), (2, "arm64")] {
        let image = Made::sized(seed, 200_000);
        image.put(r, repository, &format!("{tag}-{architecture}"))?;
        manifests.push(json!({
            "mediaType": image.media_type, "digest": image.digest(), "size": image.manifest.len(),
            "platform": {"architecture": architecture, "os": "linux"},
        }));
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
        "annotations": {"org.example.why": "the tests"},
    });
    let bytes = index.to_string().into_bytes();
    made::put_manifest(r, repository, tag, media_type::OCI_INDEX, &bytes)?;
    Ok(bytes)
}

/// A check as JSON, and its exit code.
fn check(c: &Client<'_>, words: &[&str]) -> Result<(i32, Value)> {
    let mut all = vec!["image", "check", "--format", "json"];
    all.extend(words);
    let ran = c.run(&all)?;
    let report = serde_json::from_str(&ran.out).with_context(|| format!("{all:?}: {ran:?}"))?;
    Ok((ran.code, report))
}

/// Demands that a check finds this first, with that advice.
fn finds(c: &Client<'_>, words: &[&str], code: i32, what: &str, advice: &str) -> Result<()> {
    let (ended, report) = check(c, words)?;
    let first = &report["Findings"][0];
    let said = |field: &str| first[field].to_string();
    ensure!(
        ended == code && said("What").contains(what) && said("Advice").contains(advice),
        "{words:?}: want {code}, {what:?} and {advice:?}, got {ended} and {report:#}"
    );
    ensure!(report["Pullable"] == (code == 0), "{report:#}");
    Ok(())
}

fn a_check_of_what_can_be_pulled(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::PLAIN)?);
    let image = Made::sized(3, 300_000);
    image.put(&r, "some/thing", "1")?;
    let name = r.name("some/thing:1");
    let (code, report) = check(&c, &[&name])?;
    ensure!(code == 0 && report["Pullable"] == true && report["Digest"] == image.digest(), "{report:#}");
    ensure!(report["Layers"] == 3, "{report:#}");
    let size: usize = image.layers.iter().chain([&image.config]).map(Vec::len).sum();
    ensure!(report["Size"] == size, "{size}: {report:#}");
    let steps: Vec<&str> = report["Endpoints"][1]["Steps"]
        .as_array()
        .context("no steps")?
        .iter()
        .filter_map(|s| s["Step"].as_str())
        .collect();
    ensure!(steps == ["name", "connection", "api", "manifest", "platform", "content"], "{report:#}");
    // Nothing came here.
    ensure!(!c.ok(&["images"])?.contains("some/thing"), "an image was pulled");
    let text = c.ok(&["image", "check", &name])?;
    ensure!(text.contains(&format!("A pull would work: {}, 3 layers", image.digest())), "{text}");
    // And it does.
    c.ok(&["pull", &name])?;
    // Passwords and tokens, with what config.json has.
    for kind in [Kind::BASIC, Kind::TOKEN] {
        let r = Registry::start(&d, kind)?;
        c.configure(&json!({"auths": {r.host(): {"auth": basic(USER.0, USER.1)}}}))?;
        c.ok(&["tag", &name, &r.name("a/b:1")])?;
        c.ok(&["push", &r.name("a/b:1")])?;
        let (code, report) = check(&c, &[&r.name("a/b:1")])?;
        ensure!(code == 0, "{kind:?}: {report:#}");
        c.configure(&json!({"auths": {r.host(): {"auth": basic(USER.0, "wrong")}}}))?;
        finds(&c, &[&r.name("a/b:1")], 1, "access", "password is wrong")
            .or_else(|_| finds(&c, &[&r.name("a/b:1")], 1, "does not give the image", "password is wrong"))?;
        c.configure(&json!({}))?;
        let (code, report) = check(&c, &[&r.name("a/b:1")])?;
        ensure!(code == 1 && report["Findings"][0]["Advice"].to_string().contains("dhow login"), "{report:#}");
        ensure!(!report.to_string().contains(&basic(USER.0, USER.1)), "a password is told: {report:#}");
    }
    Ok(())
}

fn a_check_names_what_is_wrong(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::PLAIN)?);
    put_index(&r, "multi", "1")?;
    let nobody = format!("127.0.0.1:{}/multi:1", wire::port());
    finds(&c, &[&nobody], 1, "connection refused", "listens on port")?;
    finds(&c, &[&r.name("multi:2")], 1, "manifest unknown", "a tag that is there: 1")?;
    finds(&c, &[&r.name("none:2")], 1, "does not give the image", "no such repository")?;
    finds(&c, &["--platform", "linux/s390x", &r.name("multi:1")], 1, "it has linux/amd64, linux/arm64", "--platform")?;
    ensure!(check(&c, &["--platform", "linux/arm64", &r.name("multi:1")])?.0 == 0);
    // A blob that the registry lost.
    let image = Made::sized(1, 200_000);
    std::fs::remove_file(r.blob(&image.layer(0)))?;
    finds(&c, &[&r.name("multi:1")], 1, "its content can't be had: layer", "push it again")?;
    c.run(&["image", "check", "UPPER"])?.fails(1, &["invalid reference format"])?;
    Ok(())
}

fn a_check_sees_settings_and_mirrors(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (plain, tls) = (Registry::start(&d, Kind::PLAIN)?, Registry::start(&d, Kind::TLS)?);
    let c = Client::new(&d)?;
    let image = Made::sized(4, 1000);
    for r in [&plain, &tls] {
        image.put(r, "x", "1")?;
    }
    let dirs = d.dir.path().join("certs");
    let hosts = |host: &str, text: &str| -> Result<()> {
        std::fs::create_dir_all(dirs.join(host))?;
        Ok(std::fs::write(dirs.join(host).join("hosts.toml"), text)?)
    };
    d.end()?;
    d.configure(&json!({"registry-certs-dirs": [dirs]}).to_string())?;
    d.up()?;
    // TLS where there is none.
    hosts(&plain.host(), "")?;
    finds(&c, &[&plain.name("x:1")], 1, "server gave HTTP response to HTTPS client", "insecure-registries")?;
    // An authority that nobody knows, and then somebody does.
    hosts(&tls.host(), "")?;
    let file = dirs.join(tls.host()).join("hosts.toml").display().to_string();
    finds(&c, &[&tls.name("x:1")], 1, "signed by an unknown authority", &file)?;
    std::fs::write(dirs.join("ca.pem"), wire::certs::CA)?;
    hosts(&tls.host(), &format!("ca = '{}'", dirs.join("ca.pem").display()))?;
    ensure!(check(&c, &[&tls.name("x:1")])?.0 == 0);
    // A mirror that is dead, before a registry that lives.
    let dead = format!("http://127.0.0.1:{}", wire::port());
    hosts(&plain.host(), &format!("server = 'http://{}'\n[host.'{dead}']", plain.host()))?;
    finds(&c, &[&plain.name("x:1")], 0, "connection refused", "start the mirror")?;
    // One that has another image.
    Made::sized(5, 1000).put(&tls, "x", "1")?;
    let mirror = format!("server = 'http://{}'\n[host.'https://{}']\nskip_verify = true", plain.host(), tls.host());
    hosts(&plain.host(), &mirror)?;
    finds(&c, &[&plain.name("x:1")], 0, "another image under this tag", &image.digest())?;
    // A file that can't be read.
    hosts(&plain.host(), "capabilities = ['fly']")?;
    finds(&c, &[&plain.name("x:1")], 1, "unknown capability", "mend that file")
}

fn a_check_of_who_is_silent_ends(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    d.end()?;
    d.configure(&json!({"registry-limits": {"handshake": "1s", "answer": "1s", "stall": "1s"}}).to_string())?;
    d.up()?;
    let image = Made::sized(6, 1000);
    let made = image.clone();
    let s = Server::start(&d.net, move |r| match r.path.contains("/blobs/") {
        true => Act::from(Reply::new(200, [0; 9]).length(None).then(Then::Stall(0))),
        false => Act::from(made.answer(r)),
    })?;
    finds(&c, &[&format!("{}/x:latest", s.host())], 1, "nothing came for 1s", "does not answer in time")
        .or_else(|_| finds(&c, &[&format!("{}/x:latest", s.host())], 1, "the size is wrong", "damaged"))?;
    s.deafen();
    let (code, report) = check(&c, &[&format!("{}/x:latest", s.host())])?;
    ensure!(code == 1 && report["Findings"][0]["State"] == "error", "{report:#}");
    Ok(())
}

fn inspected_without_a_pull(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::PLAIN)?);
    let index = put_index(&r, "multi", "1")?;
    let image = Made::sized(1, 200_000);
    refer(&r, "multi", &image, "application/spdx+json")?;
    let name = r.name("multi:1");
    let shown: Value = serde_json::from_str(&c.ok(&["image", "inspect", "--remote", "--referrers", &name])?)?;
    let shown = &shown[0];
    ensure!(shown["Id"] == image.id() && shown["RepoTags"] == json!([name]), "{shown:#}");
    ensure!(shown["RootFS"]["Layers"].as_array().map(Vec::len) == Some(3), "{shown:#}");
    let remote = &shown["Remote"];
    ensure!(remote["Descriptor"]["digest"] == made::digest(&index), "{remote:#}");
    ensure!(remote["Manifest"]["digest"] == image.digest(), "{remote:#}");
    ensure!(remote["Manifests"][1]["platform"]["architecture"] == "arm64", "{remote:#}");
    ensure!(remote["Annotations"]["org.example.why"] == "the tests", "{remote:#}");
    let layers: Vec<_> =
        remote["Layers"].as_array().context("no layers")?.iter().map(|l| l["digest"].clone()).collect();
    ensure!(layers == [0, 1, 2].map(|n| json!(image.layer(n))), "{remote:#}");
    ensure!(remote["Referrers"][0]["Descriptor"]["artifactType"] == "application/spdx+json", "{remote:#}");
    // It is what a pull brings.
    c.ok(&["pull", &name])?;
    let local: Value = serde_json::from_str(&c.ok(&["image", "inspect", &name])?)?;
    for field in ["Id", "Os", "Architecture", "Config", "RootFS", "Created"] {
        ensure!(local[0][field] == shown[field], "{field}: {:#} {:#}", local[0][field], shown[field]);
    }
    let arm = c.ok(&["image", "inspect", "--remote", "--platform", "linux/arm64", "-f", "{{.Id}}", &name])?;
    ensure!(arm == Made::sized(2, 200_000).id(), "{arm}");
    c.run(&["image", "inspect", "--remote", &r.name("multi:none")])?.fails(1, &["manifest unknown"])?;
    Ok(())
}

/// Puts something that refers to an image, listed under the tag of the fallback.
fn refer(r: &Registry, repository: &str, image: &Made, kind: &str) -> Result<Vec<u8>> {
    for blob in [&b"{}"[..], b"what is in it"] {
        made::put_blob(r, repository, blob)?;
    }
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": made::digest(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": kind,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor(kind, b"what is in it")],
        "subject": descriptor(&image.media_type, &image.manifest),
    });
    let bytes = manifest.to_string().into_bytes();
    let mut entry = descriptor(media_type::OCI_MANIFEST, &bytes);
    entry["artifactType"] = json!(kind);
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry]}).to_string();
    made::put_manifest(r, repository, &made::digest(&bytes), media_type::OCI_MANIFEST, &bytes)?;
    let tag = image.digest().replace(':', "-");
    made::put_manifest(r, repository, &tag, media_type::OCI_INDEX, index.as_bytes())?;
    Ok(bytes)
}

fn copies_keep_digests(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let (from, to, closed) =
        (Registry::start(&d, Kind::PLAIN)?, Registry::start(&d, Kind::PLAIN)?, Registry::start(&d, Kind::TOKEN)?);
    let index = put_index(&from, "multi", "1")?;
    let image = Made::sized(1, 200_000);
    let (name, digest) = (from.name("multi:1"), made::digest(&index));
    // To another registry: all platforms, byte for byte.
    let out = c.ok(&["image", "copy", &name, &to.name("deep/copy:new")])?;
    ensure!(out.contains(&format!("new: digest: {digest} size: {}", index.len())), "{out}");
    ensure!(raw(&to, "deep/copy", "new")? == index);
    for made in [&image, &Made::sized(2, 200_000)] {
        ensure!(raw(&to, "deep/copy", &made.digest())? == made.manifest);
        for number in 0..3 {
            let blob = std::fs::read(to.blob(&made.layer(number)))?;
            ensure!(made::digest(&blob) == made.layer(number));
        }
    }
    // Nothing came here, and once more nothing goes.
    ensure!(!c.ok(&["images"])?.contains("multi"));
    let again = c.ok(&["image", "copy", &name, &to.name("deep/copy:other")])?;
    ensure!(again.contains("Manifest already exists") && !again.contains(": Copied"), "{again}");
    ensure!(raw(&to, "deep/copy", "other")? == index);
    // Within a registry blobs are mounted.
    let mounted = c.ok(&["image", "copy", &name, &from.name("mounted")])?;
    ensure!(mounted.contains("Mounted from multi") && !mounted.contains(": Copied"), "{mounted}");
    ensure!(raw(&from, "mounted", "1")? == index);
    // One platform.
    c.ok(&["image", "copy", "--platform", "linux/arm64", &name, &to.name("arm")])?;
    ensure!(raw(&to, "arm", "1")? == Made::sized(2, 200_000).manifest);
    // By its digest; quietly.
    let quiet = c.ok(&["image", "copy", "-q", &from.name(&format!("multi@{digest}")), &to.name("by/digest")])?;
    ensure!(quiet == digest && raw(&to, "by/digest", &digest)? == index, "{quiet}");
    // All tags.
    let all = c.ok(&["image", "copy", "-a", &from.name("multi"), &to.name("all")])?;
    ensure!(all.contains("Copied 3 tags"), "{all}");
    ensure!(raw(&to, "all", "1-amd64")? == image.manifest && raw(&to, "all", "1")? == index);
    // What refers to it.
    let referrer = refer(&from, "multi", &image, "application/spdx+json")?;
    c.ok(&["image", "copy", "--referrers", &name, &to.name("deep/copy:new")])?;
    ensure!(raw(&to, "deep/copy", &made::digest(&referrer))? == referrer);
    let kept = raw(&to, "deep/copy", &image.digest().replace(':', "-"))?;
    ensure!(serde_json::from_slice::<Value>(&kept)?["manifests"][0]["digest"] == made::digest(&referrer));
    // Each registry sees its own user only.
    c.run(&["image", "copy", &name, &closed.name("x/y:1")])?
        .fails(1, &["denied"])
        .or_else(|_| c.run(&["image", "copy", &name, &closed.name("x/y:1")])?.fails(1, &["unauthorized"]))?;
    c.configure(&json!({"auths": {closed.host(): {"auth": basic(USER.0, USER.1)}}}))?;
    c.ok(&["image", "copy", &name, &closed.name("x/y:1")])?;
    ensure!(c.ok(&["image", "copy", "-q", &closed.name("x/y:1"), &to.name("back:1")])? == digest);
    // Bytes that are wrong never get there.
    let path = from.blob(&image.layer(2));
    let mut bytes = std::fs::read(&path)?;
    bytes[100] ^= 1;
    std::fs::write(&path, bytes)?;
    let other = Registry::start(&d, Kind::PLAIN)?;
    c.run(&["image", "copy", &name, &other.name("spoiled:1")])?.fails(1, &["verification failed", &image.short(2)])?;
    ensure!(!other.blob(&image.layer(2)).exists());
    let told = other.ask("GET /v2/spoiled/manifests/1", &[], b"")?;
    ensure!(told.status() == 404, "{:?}", told.head);
    Ok(())
}

fn lists_made_by_hand(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::PLAIN)?);
    for (seed, name) in [(7, "one"), (8, "two")] {
        Made::new(Form::Docker, &[made::small(seed, name)], Packing::Gzip).put(&r, name, "1")?;
    }
    let (list, one, two) = (r.name("list:1"), r.name("one:1"), r.name("two:1"));
    ensure!(c.ok(&["manifest", "create", &list, &one])? == format!("Created manifest list {list}"));
    c.run(&["manifest", "create", &list, &two])?
        .fails(1, &["refusing to amend an existing manifest list with no --amend flag"])?;
    c.ok(&["manifest", "create", "--amend", &list, &two])?;
    c.ok(&["manifest", "annotate", "--arch", "arm64", "--os-features", "f1,f2", &list, &two])?;
    c.run(&["manifest", "annotate", "--arch", "vax", &list, &two])?
        .fails(1, &["unsupported os/arch combination: linux/vax"])?;
    // Docker's client reads what is kept, before and after it is pushed.
    let theirs = |words: &[&str]| -> Result<String> {
        let mut command = docker(&d, words)?;
        let settings = c.config();
        command.env("DOCKER_CONFIG", settings.parent().context("no folder")?);
        let out = d.net.within(|| command.output())??;
        ensure!(out.status.success(), "{words:?}: {out:?}");
        Ok(String::from_utf8(out.stdout)?)
    };
    let ours = c.ok(&["manifest", "inspect", &list])?;
    ensure!(theirs(&["manifest", "inspect", &list])?.trim_end() == ours, "{ours}");
    let verbose = c.ok(&["manifest", "inspect", "-v", &list, &two])?;
    ensure!(theirs(&["manifest", "inspect", "-v", &list, &two])?.trim_end() == verbose, "{verbose}");
    let out = c.ok(&["manifest", "push", "-p", &list])?;
    let digest = out.lines().last().unwrap_or_default().to_owned();
    ensure!(out.matches("Pushed ref").count() == 2, "{out}");
    ensure!(made::digest(&raw(&r, "list", "1")?) == digest && raw(&r, "list", "1")? == ours.as_bytes(), "{out}");
    ensure!(theirs(&["manifest", "inspect", "--insecure", &list])?.trim_end() == ours);
    ensure!(c.ok(&["manifest", "inspect", &list])? == ours);
    let verbose = c.ok(&["manifest", "inspect", "-v", &list])?;
    let other = theirs(&["manifest", "inspect", "-v", "--insecure", &list])?;
    ensure!(other.trim_end() == verbose, "{other}{verbose}");
    let image = c.ok(&["manifest", "inspect", &one])?;
    ensure!(theirs(&["manifest", "inspect", "--insecure", &one])?.trim_end() == image, "{image}");
    // What it names can be pulled.
    c.ok(&["pull", "--platform", "linux/arm64", &list])?;
    c.run(&["manifest", "rm", &list])?.fails(1, &["No such manifest"])?;
    c.ok(&["manifest", "create", &list, &one])?;
    c.ok(&["manifest", "rm", &list])?;
    c.run(&["manifest", "create", &r.name("other"), &list])?.fails(1, &["is a manifest list"])?;
    c.run(&["manifest", "inspect", &r.name("none")])?.fails(1, &["no such manifest"])?;
    Ok(())
}
