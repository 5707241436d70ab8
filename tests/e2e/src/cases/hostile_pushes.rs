//! Registries that misbehave when something is pushed: the push fails and names what, no tag appears, the store stays
//! whole, no password goes astray, and the next push to an honest registry completes.

use super::hostile_registry::TIGHT;
use super::interrupted_pushes::stands;
use crate::daemon::{Daemon, until};
use crate::made::{Made, digest};
use crate::registry::{Kind, Registry, USER};
use crate::runner::World;
use crate::transfers::{pull, push, push_as, shown};
use crate::wire::{Act, Reply, Request, Server};
use anyhow::{Context as _, Result, ensure};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

super::cases!("hostile_pushes":
    refusals_are_named_and_passing_ones_are_outlasted, connections_that_break_or_stall, answers_that_lie,
    an_upload_elsewhere_gets_no_password,
);

/// A daemon with an image that a registry beside it may get.
struct Pusher {
    d: Daemon,
    r: Registry,
    image: Made,
    pushed: AtomicUsize,
}

impl Pusher {
    fn new(w: &World, seed: u64) -> Result<Self> {
        let d = Daemon::start_with(&w.setup, TIGHT)?;
        let r = Registry::start(&d, Kind::PLAIN)?;
        let image = Made::sized(seed, 2 << 20);
        image.put(&r, "first/image", "1")?;
        let name = r.name("first/image:1");
        pull(&d, &name)?.ok()?;
        d.ok(&["tag", &name, "local:1"])?;
        d.ok(&["rmi", &name])?;
        Ok(Self { d, r, image, pushed: AtomicUsize::new(0) })
    }

    /// A server before the registry, and a name behind it that nobody has pushed yet.
    fn before(&self, serve: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Result<(Server, String)> {
        let number = self.pushed.fetch_add(1, Ordering::Relaxed);
        let server = Server::before(&self.d.net, self.r.port(), serve)?;
        let name = format!("{}/test/image{number}:1", server.host());
        self.d.ok(&["tag", "local:1", &name])?;
        Ok((server, name))
    }

    fn whole(&self) -> Result<()> {
        let left = || Ok((std::fs::read_dir(self.d.root().join("tmp"))?.count() == 0).then_some(()));
        until("nothing half done to be left", left)?;
        let r = self.d.cli(&["system", "check"])?;
        ensure!(r.code == 0 && r.out.contains("everything is whole"), "{r:?}");
        Ok(())
    }

    fn refused(
        &self,
        what: &str,
        words: &[&str],
        serve: impl Fn(&Request) -> Act + Send + Sync + 'static,
    ) -> Result<()> {
        let (server, name) = self.before(serve)?;
        let named = &name[..name.len() - 2];
        push(&self.d, &name)?.fails(&[&[named], words].concat()).with_context(|| what.to_owned())?;
        self.whole().with_context(|| what.to_owned())?;
        let repository = named.split_once('/').context("no registry")?.1;
        let tag = self.r.ask(&format!("GET /v2/{repository}/manifests/1"), &[], b"")?;
        ensure!(tag.status() == 404, "{what}: a tag is there of what failed");
        drop(server);
        // And then it goes on where it was.
        let honest = self.r.name(&format!("{repository}:1"));
        self.d.ok(&["tag", "local:1", &honest])?;
        push(&self.d, &honest)?.ok().with_context(|| format!("after {what}"))?;
        stands(&self.r, &self.d, &honest, &self.image.id()).with_context(|| format!("after {what}"))?;
        self.d.ok(&["rmi", &name, &honest])?;
        Ok(())
    }

    fn accepted(&self, what: &str, serve: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Result<()> {
        let (_server, name) = self.before(serve)?;
        push(&self.d, &name)?.ok().with_context(|| what.to_owned())?;
        stands(&self.r, &self.d, &name, &self.image.id()).with_context(|| what.to_owned())?;
        self.d.ok(&["rmi", &name])?;
        Ok(())
    }
}

/// Which requests a row is about.
fn begins(r: &Request) -> bool {
    r.method == "POST" && r.path.ends_with("/blobs/uploads/")
}

fn sends(r: &Request) -> bool {
    matches!(r.method.as_str(), "PATCH" | "PUT") && r.path.contains("/blobs/uploads/")
}

fn ends(r: &Request) -> bool {
    r.method == "PUT" && r.path.contains("/manifests/")
}

/// The answer instead of the registry's, so many times.
fn instead(of: fn(&Request) -> bool, times: usize, answer: Reply) -> impl Fn(&Request) -> Act + Send + Sync + 'static {
    let said = Mutex::new(0);
    move |r| {
        let mut said = said.lock().unwrap();
        if !of(r) || *said == times {
            return Act::Forward;
        }
        *said += 1;
        answer.clone().into()
    }
}

fn refusals_are_named_and_passing_ones_are_outlasted(w: &World) -> Result<()> {
    let p = Pusher::new(w, 600)?;
    let denied = Reply::error(403, "DENIED", "requested access to the resource is denied");
    p.refused("denied", &["denied"], instead(begins, 999, denied.clone()))?;
    p.refused("denied at the end", &["denied"], instead(ends, 999, denied))?;
    let who =
        Reply::error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", "Basic realm=\"x\"");
    p.refused("no password", &["no basic auth credentials"], instead(begins, 999, who))?;
    let slow = Reply::error(429, "TOOMANYREQUESTS", "slow down");
    let invalid = Reply::error(400, "MANIFEST_INVALID", "manifest invalid");
    p.refused("a manifest that is not taken", &["manifest invalid"], instead(ends, 999, invalid))?;
    for of in [begins as fn(&Request) -> bool, sends, ends] {
        p.refused("429", &["toomanyrequests"], instead(of, 999, slow.clone()))?;
        p.accepted("429 once", instead(of, 1, slow.clone()))?;
        p.accepted("429 with a time", instead(of, 2, slow.clone().with("retry-after", "0")))?;
        p.refused("500", &["500"], instead(of, 999, Reply::new(500, "")))?;
        p.accepted("503 once", instead(of, 1, Reply::new(503, "")))?;
    }
    let hour = slow.with("retry-after", "3600");
    p.refused("429 for an hour", &["toomanyrequests", "1h0m0s"], instead(begins, 999, hour))
}

fn connections_that_break_or_stall(w: &World) -> Result<()> {
    let p = Pusher::new(w, 610)?;
    let layer = "layer ";
    p.refused(
        "a connection that always breaks",
        &[layer],
        |r| if sends(r) { Act::CutRequest(700) } else { Act::Forward },
    )?;
    p.refused("a connection that is closed", &[layer], |r| if sends(r) { Act::Close } else { Act::Forward })?;
    p.refused("a server that reads no more", &[layer, "nothing came for"], |r| {
        if sends(r) { Act::StallRequest(700) } else { Act::Forward }
    })?;
    p.refused("an answer to the manifest that breaks off", &["manifest"], |r| {
        if ends(r) { Act::Close } else { Act::Forward }
    })?;
    // The registry heard it, and its answer was lost: that is found out.
    for of in [|r: &Request| r.method == "PUT" && sends(r), ends, begins as fn(&Request) -> bool] {
        let lost = AtomicUsize::new(0);
        p.accepted("a lost answer", move |r| match of(r) && lost.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Act::LoseAnswer,
            false => Act::Forward,
        })?;
    }
    Ok(())
}

fn answers_that_lie(w: &World) -> Result<()> {
    let p = Pusher::new(w, 620)?;
    let other = digest(b"something else");
    p.refused("another digest of the manifest", &["verification failed"], {
        let answer = Reply::new(201, "").with("docker-content-digest", &other);
        instead(ends, 999, answer)
    })?;
    p.refused("another digest of a layer", &["verification failed"], {
        let answer = Reply::new(201, "").with("docker-content-digest", &other);
        let put = |r: &Request| r.method == "PUT" && sends(r);
        instead(put, 999, answer)
    })?;
    p.refused(
        "an upload without an address",
        &["layer", "did not say where"],
        instead(begins, 999, Reply::new(202, "")),
    )?;
    p.refused("an upload at no address", &["layer", "no address"], {
        instead(begins, 999, Reply::to(202, "file:///etc/passwd"))
    })?;
    p.refused("a page to log in at", &["layer"], {
        instead(begins, 999, Reply::new(200, "<html>").with("content-type", "text/html"))
    })?;
    // Whoever says that all is there is believed until the manifest is not taken.
    let (server, name) = p.before(|r| match r.method.as_str() {
        "HEAD" if r.path.contains("/blobs/") => Reply::new(200, "").length(Some(1)).into(),
        _ => Act::Forward,
    })?;
    push(&p.d, &name)?.ok().context("a size that is not the layer's is no layer")?;
    stands(&p.r, &p.d, &name, &p.image.id())?;
    ensure!(server.lines().iter().any(|l| l.starts_with("PATCH") || l.starts_with("PUT")));
    p.whole()
}

/// Where an upload goes on is the registry's to say; what proves who one is stays with the registry.
fn an_upload_elsewhere_gets_no_password(w: &World) -> Result<()> {
    let p = Pusher::new(w, 630)?;
    let storage = Server::before(&p.d.net, p.r.port(), |_| Act::Forward)?;
    let (from, to) = (p.r.host(), storage.host());
    let port = p.r.port();
    let net = p.d.net.clone();
    let (server, name) = p.before(move |r| {
        if r.field("authorization").is_empty() {
            return Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\"").into();
        }
        if !begins(r) {
            return Act::Forward;
        }
        // The registry's own upload, under the storage's address.
        match crate::wire::ask(&net, port, &format!("POST {}?{}", r.path, r.query), &[], b"") {
            Ok(told) if told.status() == 202 => Reply::to(202, told.head.field("location").replace(&from, &to)).into(),
            _ => Act::Close,
        }
    })?;
    push_as(&p.d, &name, Some(&shown(USER)))?.ok()?;
    ensure!(server.entries().iter().any(|e| e.request.field("authorization").starts_with("Basic ")));
    ensure!(storage.lines().iter().any(|l| l.starts_with("P")), "nothing was sent there");
    for entry in storage.entries() {
        let head = format!("{:?}", entry.request.head);
        ensure!(
            entry.request.field("authorization").is_empty() && !head.contains(USER.1),
            "a password went astray: {head}"
        );
    }
    stands(&p.r, &p.d, &name, &p.image.id())
}
