//! Registries from dhow's own command line: what it prints, how it ends, and whose credentials go where.

use super::clients::docker;
use crate::daemon::{Daemon, Ran};
use crate::made::{Form, Made};
use crate::pty::Terminal;
use crate::registry::{Kind, Registry, USER};
use crate::runner::World;
use crate::wire::{Act, Reply, Server, Then};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use dhow_corpus::wrap::Packing;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

super::cases!("registry_cli":
    pulls, pushes, run_fetches_what_is_missing, credentials_go_to_their_registry_alone, bars_on_a_terminal,
    an_interrupt_ends_it_at_once,
);

/// The client with settings of its own, and nothing of the caller's.
pub(super) struct Client<'a> {
    d: &'a Daemon,
    settings: PathBuf,
}

impl<'a> Client<'a> {
    pub(super) fn new(d: &'a Daemon) -> Result<Self> {
        let settings = d.dir.path().join("settings");
        std::fs::create_dir(&settings)?;
        Ok(Self { d, settings })
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.d.command(words);
        for name in ["DOCKER_AUTH_CONFIG", "DOCKER_CONTENT_TRUST", "DOCKER_DEFAULT_PLATFORM"] {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", &self.settings);
        command
    }

    pub(super) fn run(&self, words: &[&str]) -> Result<Ran> {
        Daemon::finish(
            self.command(words).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?,
        )
    }

    pub(super) fn ok(&self, words: &[&str]) -> Result<String> {
        self.run(words)?.ok().with_context(|| format!("dhow {words:?}"))
    }

    pub(super) fn config(&self) -> PathBuf {
        self.settings.join("config.json")
    }

    pub(super) fn configure(&self, document: &Value) -> Result<()> {
        Ok(std::fs::write(self.config(), document.to_string())?)
    }
}

/// `auth` of a user in config.json, and behind `Basic` on the wire.
pub(super) fn basic(user: &str, password: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// busybox as an image that a registry gives.
fn runnable(d: &Daemon) -> Result<Made> {
    let id = d.ok(&["create", "busybox"])?;
    let tar = d.dir.path().join("root.tar");
    d.ok(&["export", "-o", &tar.display().to_string(), &id])?;
    d.ok(&["rm", &id])?;
    Ok(Made::new(Form::Oci, &[std::fs::read(tar)?], Packing::Gzip))
}

fn pulls(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::PLAIN)?);
    let image = Made::sized(1, 100_000);
    for tag in ["latest", "two"] {
        image.put(&r, "some/thing", tag)?;
    }
    let name = r.name("some/thing");
    let out = c.ok(&["pull", &name])?;
    let lines: Vec<&str> = out.lines().collect();
    ensure!(lines[..2] == ["Using default tag: latest", "latest: Pulling from some/thing"], "{out}");
    ensure!(lines.contains(&&*format!("Digest: {}", image.digest())), "{out}");
    let last = [format!("Status: Downloaded newer image for {name}:latest"), format!("{name}:latest")];
    ensure!(lines[lines.len() - 2..] == last, "{out}");
    for number in 0..3 {
        let done = format!("{}: Pull complete", image.short(number));
        ensure!(lines.iter().filter(|l| **l == done).count() == 1, "{out}");
    }
    ensure!(!out.contains('\x1b') && !out.contains("MB/"), "bars in a file: {out:?}");

    // Docker's client prints the same.
    let theirs = docker(&d, &["pull", &name])?.output()?;
    let ours = c.ok(&["image", "pull", &name])?;
    ensure!(String::from_utf8(theirs.stdout)?.trim_end() == ours && ours.contains("Image is up to date"), "{ours}");

    ensure!(c.ok(&["pull", "-q", &format!("{name}:two")])? == format!("{name}:two"));
    let digest = format!("{name}@{}", image.digest());
    ensure!(c.ok(&["pull", "--platform", "linux/AMD64", "-q", &digest])? == digest);
    let out = c.ok(&["pull", "-a", &name])?;
    ensure!(out.contains("two: Pulling from") && !out.contains("Using default tag"), "{out}");
    ensure!(out.ends_with(&format!("\n{name}")), "{out}");

    c.run(&["pull", "-a", &format!("{name}:two")])?.fails(1, &["tag can't be used with --all-tags/-a"])?;
    c.run(&["pull", &r.name("some/nothing")])?.fails(1, &["some/nothing"])?;
    c.run(&["pull", "-q", &r.name("some/nothing")])?.fails(1, &["some/nothing"])?;
    c.run(&["pull", "Some/Thing"])?.fails(1, &["must be lowercase"])?;
    c.run(&["pull", "--disable-content-trust=false", &name])?.fails(1, &["--disable-content-trust=false"])?;
    let mut trusting = c.command(&["pull", "-q", &name]);
    let said = Daemon::finish(trusting.env("DOCKER_CONTENT_TRUST", "1").stderr(std::process::Stdio::piped()).spawn()?)?;
    said.fails(1, &["DOCKER_CONTENT_TRUST"])?;
    Ok(())
}

fn pushes(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let (c, r) = (Client::new(&d)?, Registry::start(&d, Kind::BASIC)?);
    c.configure(&json!({"auths": {r.host(): {"auth": basic(USER.0, USER.1)}}}))?;
    let name = r.name("some/box");
    c.ok(&["tag", "busybox", &name])?;
    let out = c.ok(&["push", &name])?;
    ensure!(out.starts_with(&format!("Using default tag: latest\nThe push refers to repository [{name}]")), "{out}");
    ensure!(out.lines().last().is_some_and(|l| l.starts_with("latest: digest: sha256:")), "{out}");
    ensure!(c.ok(&["push", "-q", &format!("{name}:latest")])? == format!("{name}:latest"));
    // Another compression is another layer; the image is the same.
    let packed = r.name("some/packed");
    c.ok(&["tag", "busybox", &packed])?;
    c.ok(&["image", "push", "--compression", "zstd", &packed])?;
    let id = d.inspect("busybox")?["Id"].clone();
    for name in [&name, &packed] {
        c.ok(&["rmi", name])?;
        c.ok(&["pull", "-q", name])?;
        ensure!(d.inspect(name)?["Id"] == id, "another image came back");
    }
    let auth = format!("Basic {}", basic(USER.0, USER.1));
    let fields = [("authorization", &*auth), ("accept", "application/vnd.oci.image.manifest.v1+json")];
    let manifest = String::from_utf8(r.ask("GET /v2/some/packed/manifests/latest", &fields, b"")?.body)?;
    ensure!(manifest.contains("+zstd"), "{manifest}");

    c.run(&["push", "-a", &format!("{name}:x")])?.fails(1, &["tag can't be used with --all-tags/-a"])?;
    c.run(&["push", "--compression", "xz", &name])?.fails(125, &["--compression"])?;
    c.run(&["push", "--disable-content-trust=false", &name])?.fails(1, &["--disable-content-trust=false"])?;
    c.run(&["push", &r.name("not/here")])?.fails(1, &["not/here"])?;
    // Without credentials.
    c.configure(&json!({}))?;
    c.run(&["push", &name])?.fails(1, &["some/box"])?;
    Ok(())
}

fn run_fetches_what_is_missing(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let image = runnable(&d)?;
    let s = Server::start(&d.net, move |request| match request.path.starts_with("/v2/none/") {
        true => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown").into(),
        false => image.answer(request).into(),
    })?;
    let name = format!("{}/some/box", s.host());
    let missing = format!("Unable to find image '{name}:latest' locally\n");
    c.run(&["run", "--rm", "--pull", "never", &name, "true"])?.fails(125, &["No such image"])?;
    ensure!(s.entries().is_empty(), "--pull never asked {:?}", s.lines());

    let ran = c.run(&["run", "--rm", &name, "echo", "hello"])?;
    ensure!(ran.code == 0 && ran.out == "hello\n", "{ran:?}");
    ensure!(ran.err.starts_with(&format!("{missing}latest: Pulling from some/box\n")), "{}", ran.err);
    ensure!(ran.err.contains("Status: Downloaded newer image"), "{}", ran.err);

    s.forget();
    let ran = c.run(&["run", "--rm", &name, "echo", "hello"])?;
    ensure!((ran.code, &*ran.out, &*ran.err) == (0, "hello\n", ""), "{ran:?}");
    ensure!(s.entries().is_empty(), "what is here was asked for: {:?}", s.lines());
    let ran = c.run(&["run", "--rm", "--pull=always", &name, "echo", "hello"])?;
    ensure!(ran.code == 0 && ran.out == "hello\n" && ran.err.contains("Image is up to date"), "{ran:?}");
    ensure!(!s.entries().is_empty(), "--pull always asked nobody");

    c.ok(&["rmi", &name])?;
    let ran = c.run(&["create", "-q", "--name", "quiet", &name, "true"])?;
    ensure!(ran.code == 0 && ran.err.is_empty() && ran.out.trim_end().len() == 64, "{ran:?}");

    let none = format!("{}/none/such", s.host());
    let ran = c.run(&["run", "--rm", &none])?;
    ensure!(ran.err.starts_with(&format!("Unable to find image '{none}:latest' locally\n")), "{}", ran.err);
    ran.fails(125, &["none/such", "Run 'dhow run --help' for more information"])?;
    c.run(&["create", &none])?.fails(1, &["none/such"])?;
    c.run(&["run", "--pull", "often", &name])?.fails(125, &["invalid pull option: 'often'"])?;
    // Only an image that is missing is fetched.
    s.forget();
    c.run(&["run", "--network", "container:nobody", &name, "true"])?.fails(125, &["nobody"])?;
    ensure!(s.entries().is_empty(), "{:?}", s.lines());
    Ok(())
}

/// A helper that keeps its secrets in a directory, and writes down what it was asked.
pub(super) fn helper(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(format!("docker-credential-{name}"));
    let dir = dir.display();
    let text = format!(
        "#!/bin/sh\nin=$(cat)\necho \"$1\" >> {dir}/asked\ncase $1 in\n\
         get) f={dir}/$(echo \"$in\" | tr / _); [ -e $f ] && cat $f || {{ echo 'credentials not found in native keychain'; exit 1; }};;\n\
         store) u=$(echo \"$in\" | sed 's/.*\"ServerURL\":\"\\([^\"]*\\)\".*/\\1/'); echo \"$in\" > {dir}/$(echo \"$u\" | tr / _);;\n\
         erase) rm -f {dir}/$(echo \"$in\" | tr / _);;\nesac\n"
    );
    std::fs::write(&path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

fn credentials_go_to_their_registry_alone(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let image = Made::sized(2, 1000);
    let asking = |image: &Made| {
        let image = image.clone();
        move |request: &crate::wire::Request| match request.field("authorization") {
            "" => {
                let refusal = Reply::error(401, "UNAUTHORIZED", "authentication required");
                Act::from(refusal.with("www-authenticate", "Basic realm=\"x\""))
            }
            _ => image.answer(request).into(),
        }
    };
    let (one, two) = (Server::start(&d.net, asking(&image))?, Server::start(&d.net, asking(&image))?);
    let shown = |s: &Server| -> Vec<String> {
        let mut all: Vec<_> = s.entries().iter().map(|e| e.request.field("authorization").to_owned()).collect();
        all.retain(|a| !a.is_empty());
        all.dedup();
        all
    };
    let pull = |s: &Server| c.run(&["pull", "-q", &format!("{}/some/thing", s.host())]);
    let bin = d.dir.path().join("bin");
    std::fs::create_dir(&bin)?;
    helper(&bin, "kept")?;

    // An old file's address is the host's; each gets its own.
    c.configure(&json!({"auths": {
        format!("https://{}/v1/", one.host()): {"auth": basic("me", "for one")},
        two.host(): {"auth": basic("me", "for two")},
    }}))?;
    pull(&one)?.ok()?;
    pull(&two)?.ok()?;
    ensure!(shown(&one) == [format!("Basic {}", basic("me", "for one"))], "{:?}", shown(&one));
    ensure!(shown(&two) == [format!("Basic {}", basic("me", "for two"))], "{:?}", shown(&two));

    // A helper's, by its registry; nobody else is asked about it.
    let document = json!({"ServerURL": one.host(), "Username": "me", "Secret": "of the helper"});
    std::fs::write(bin.join(one.host()), document.to_string())?;
    c.configure(&json!({"credHelpers": {one.host(): "kept"}, "auths": {one.host(): {"auth": basic("me", "old")}}}))?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    one.forget();
    let mut command = c.command(&["pull", "-q", &format!("{}/some/thing", one.host())]);
    ensure!(command.env("PATH", &path).output()?.status.success());
    ensure!(shown(&one) == [format!("Basic {}", basic("me", "of the helper"))], "{:?}", shown(&one));
    ensure!(std::fs::read_to_string(bin.join("asked"))? == "get\n");

    // The environment's go before all.
    one.forget();
    let auths = json!({"auths": {one.host(): {"auth": basic("me", "of the environment")}}}).to_string();
    let mut command = c.command(&["pull", "-q", &format!("{}/some/thing", one.host())]);
    ensure!(command.env("PATH", &path).env("DOCKER_AUTH_CONFIG", auths).output()?.status.success());
    ensure!(shown(&one) == [format!("Basic {}", basic("me", "of the environment"))], "{:?}", shown(&one));

    // A helper that is not there: pull goes on with a warning, run does not. No secret is told.
    two.forget();
    c.configure(&json!({"credsStore": "nowhere", "auths": {two.host(): {"auth": basic("me", "secret")}}}))?;
    let said = pull(&two)?.fails(1, &["WARNING", "docker-credential-nowhere", "executable file not found in $PATH"])?;
    ensure!(!said.contains("secret") && shown(&two).is_empty(), "{said}");
    let name = format!("{}/other/thing", two.host());
    c.run(&["run", "--rm", &name])?.fails(125, &["docker-credential-nowhere"])?;
    // Nor is what stands in a malformed entry.
    c.configure(&json!({"auths": {two.host(): {"auth": "my-secret"}}}))?;
    let said = pull(&two)?.fails(1, &["WARNING", "not base64 of NAME:PASSWORD"])?;
    ensure!(!said.contains("my-secret"), "{said}");
    ensure!(!d.log().contains("of the helper") && !d.log().contains(&basic("me", "of the helper")), "{}", d.log());
    Ok(())
}

/// A server that gives layers slowly enough for a rate to be seen.
fn slow(d: &Daemon, image: &Made, pause: Duration) -> Result<Server> {
    let image = image.clone();
    Server::start(&d.net, move |request| {
        let reply = image.answer(request);
        let piece = reply.body.len() / 10;
        let slow = request.path.contains("/blobs/") && piece > 10_000;
        if slow { reply.then(Then::Drip(piece, pause)).into() } else { reply.into() }
    })
}

fn bars_on_a_terminal(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let image = Made::sized(3, 2_000_000);
    let s = slow(&d, &image, Duration::from_millis(150))?;
    let name = format!("{}/some/thing", s.host());
    let t = Terminal::spawn(c.command(&["pull", &name]), 24, 160)?;
    let (code, seen) = t.wait()?;
    let id = image.short(2);
    ensure!(code == 0, "{code} {seen}");
    ensure!(
        seen.contains(&format!("{id}: Pulling fs layer")) && seen.contains(&format!("{id}: Pull complete")),
        "{seen}"
    );
    ensure!(seen.contains(&format!("{id}: Downloading [==")) && seen.contains("/2.1"), "{seen}");
    ensure!(seen.contains("MB/s\r") || seen.contains("kB/s\r"), "no rate: {seen}");
    // Where there is no room, numbers stand without bar; no line is longer than the terminal.
    c.ok(&["rmi", &name])?;
    let (code, seen) = Terminal::spawn(c.command(&["pull", &name]), 24, 50)?.wait()?;
    ensure!(code == 0 && seen.contains("Downloading") && !seen.contains("[=="), "{seen}");
    let drawn = seen.split("\x1b[2K\r").skip(1).filter_map(|l| l.split('\r').next());
    ensure!(drawn.clone().count() > 3 && drawn.clone().all(|l| l.chars().count() < 50), "{seen:?}");
    // Fewer rows than layers: what does not fit is counted, and in the end each layer has had its line.
    c.ok(&["rmi", &name])?;
    let (code, seen) = Terminal::spawn(c.command(&["pull", &name]), 3, 160)?.wait()?;
    ensure!(code == 0 && seen.contains("… and "), "{seen:?}");
    for number in 0..3 {
        ensure!(seen.contains(&format!("{}: Pull complete", image.short(number))), "{seen:?}");
    }
    // run's go to standard error, which may be a terminal where standard output is none.
    c.ok(&["rmi", &name])?;
    let mut t = Terminal::spawn(c.command(&["create", "--name", "made", &name, "x"]), 24, 160)?;
    t.expect(&format!("Unable to find image '{name}:latest' locally"))?;
    t.expect("Downloading [")?;
    ensure!(t.wait()?.0 == 0);
    Ok(())
}

fn an_interrupt_ends_it_at_once(w: &World) -> Result<()> {
    let d = w.own_daemon()?;
    let c = Client::new(&d)?;
    let image = Made::sized(4, 2_000_000);
    let s = slow(&d, &image, Duration::from_secs(600))?;
    let name = format!("{}/some/thing", s.host());
    for (words, code, signal) in [
        (&["pull", &name][..], 130, rustix::process::Signal::INT),
        (&["pull", "-q", &name], 143, rustix::process::Signal::TERM),
        (&["run", "--rm", &name, "true"], 130, rustix::process::Signal::INT),
    ] {
        s.forget();
        let child =
            c.command(words).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
        crate::daemon::until("a layer to come", || {
            Ok(s.entries().iter().any(|e| e.request.path.contains("/blobs/") && e.sent > 0 && !e.whole).then_some(()))
        })?;
        let pid = rustix::process::Pid::from_raw(child.id() as i32).context("no process")?;
        rustix::process::kill_process(pid, signal)?;
        let ran = Daemon::finish(child)?;
        ensure!(ran.code == code, "{words:?}: {ran:?}");
        // The daemon has let go of it: another can begin.
        s.heal();
    }
    Ok(())
}
