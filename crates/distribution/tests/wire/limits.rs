//! Bounds on time and size that a hostile or dead server runs into, and Docker Hub's limit on pulls in words.

use crate::server::{Reply, Server, Then};
use crate::world::{Image, bounds, hosts_toml, layer, repository, settings, with_credentials};
use dhow_distribution::{Bounds, Cause, Credentials, Settings, Wanted};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

/// A port whose connections are never taken, as behind a firewall that drops: its queue is full.
async fn dropping() -> (tokio::net::TcpListener, Vec<tokio::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(Ok(tcp)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        full.push(tcp);
    }
    (listener, full)
}

#[tokio::test]
async fn who_cannot_be_reached_is_told_apart_from_who_is_silent() {
    let (listener, _full) = dropping().await;
    let address = listener.local_addr().unwrap();
    let short = Duration::from_millis(200);
    // The limit for the answer is shorter than the way: it does not count before there is a connection.
    let b = Bounds { connect: short, answer: Duration::from_millis(20), attempts: 1, ..bounds() };
    let e = repository(address, Settings { bounds: b, ..settings() }).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(&e.cause, Cause::Unreachable(why) if why.contains("i/o timeout")), "{e}");
    assert!(e.others.len() == 1, "the plain twin was not asked: {e}");
    // Silence in the handshake is no answer either.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let (_dir, s) = hosts_toml(address, "");
    let b = Bounds { handshake: short, answer: Duration::from_millis(20), attempts: 1, ..bounds() };
    let e = repository(address, Settings { bounds: b, ..s }).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(&e.cause, Cause::Unreachable(why) if why.contains("TLS handshake")), "{e}");
}

#[tokio::test]
async fn what_drips_has_an_end() {
    let b = Bounds { document: Duration::from_millis(300), attempts: 2, ..bounds() };
    let s = || Settings { bounds: b.clone(), ..settings() };
    // A manifest and a configuration.
    let server = Server::start(|_| Reply::new(200, "    ").then(Then::Drip)).await;
    let e = repository(server.address, s()).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Slow(_)) && e.to_string().contains("too slow"), "{e}");
    let big = Image::descriptor(&vec![b' '; 1 << 20]);
    let e = repository(server.address, s()).await.config(&big).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Slow(_)), "{e}");
    // A token.
    let own: Arc<OnceLock<String>> = Arc::default();
    let to = own.clone();
    let server = Server::start(move |r| match r.path.as_str() {
        "/token" => Reply::new(200, "    ").then(Then::Drip),
        _ => Reply::new(401, "").with("www-authenticate", format!("Bearer realm=\"{}/token\"", to.get().unwrap())),
    })
    .await;
    own.set(server.url()).unwrap();
    let e = with_credentials(server.address, s(), Credentials::none()).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Slow(_)), "{e}");
    // The words of an error: what came in time is told.
    let server = Server::start(|_| Reply::new(403, "no ").then(Then::Drip)).await;
    let e = repository(server.address, s()).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Refused { status: 403, .. }) && e.to_string().contains("no"), "{e}");
}

#[tokio::test]
async fn numbers_that_fit_nowhere_are_refused() {
    const HUGE: u64 = u64::MAX - 2;
    let image = Arc::new(Image::new());
    for partial in [true, false] {
        let (i, count) = (image.clone(), AtomicUsize::new(0));
        let server = Server::start(move |r| match (count.fetch_add(1, Ordering::Relaxed), partial) {
            (0, _) => i.answer(r).then(Then::Cut(1000)),
            (_, true) => i.answer(r).length(Some(HUGE)),
            (_, false) => Reply::new(200, i.layer.clone()).length(Some(HUGE)),
        })
        .await;
        let repo = repository(server.address, settings()).await;
        let e = layer(&repo, &Image::descriptor(&image.layer)).await.unwrap_err();
        // It says nothing of the bytes that came before.
        assert!(matches!(e.cause, Cause::Protocol(_)) && e.to_string().contains("the size is wrong"), "{e}");
    }
    for range in ["bytes 99999999999999999999-1/2", "bytes 1000-1/18446744073709551615", "bytes -/-"] {
        let (i, count) = (image.clone(), AtomicUsize::new(0));
        let server = Server::start(move |r| match count.fetch_add(1, Ordering::Relaxed) {
            0 => i.answer(r).then(Then::Cut(1000)),
            _ => i.answer(r).with("content-range", range),
        })
        .await;
        let repo = repository(server.address, settings()).await;
        assert!(layer(&repo, &Image::descriptor(&image.layer)).await.is_err(), "{range}");
    }
}

#[tokio::test]
async fn a_limit_on_pulls_is_explained() {
    let server = Server::start(|_| {
        Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#)
            .with("ratelimit-limit", "100;w=21600")
            .with("ratelimit-remaining", "0;w=21600")
            .with("docker-ratelimit-source", "203.0.113.5")
    })
    .await;
    let e = repository(server.address, settings()).await.manifest(&latest()).await.unwrap_err();
    for words in [
        "toomanyrequests: You have reached your pull rate limit.",
        "100 pulls are allowed in 6h0m0s",
        "'docker login' raises",
    ] {
        assert!(e.to_string().contains(words), "{e}");
    }
}
