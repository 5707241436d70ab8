//! Redirects: followed within bounds, and nothing bound to an origin goes along.

use crate::server::{Reply, Server};
use crate::world::{Image, certs, hosts_toml, layer, repository, settings, tls, with_credentials};
use dhow_distribution::{Cause, Credentials, Wanted};

#[tokio::test]
async fn to_a_storage_elsewhere_without_credentials() {
    let storage = Server::start(|r| match r.query.as_str() {
        "signature=secret" => Image::new().answer(r),
        _ => Reply::new(403, "not signed"),
    })
    .await;
    let to = storage.url();
    let server = Server::start(move |r| match r.header("authorization") {
        "" => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        _ if r.path.contains("/blobs/") => Reply::to(307, format!("{to}{}?signature=secret", r.path)),
        _ => Image::new().answer(r),
    })
    .await;
    let repo = with_credentials(server.address, settings(), Credentials::basic("user", "pass")).await;
    let image = Image::new();
    assert!(layer(&repo, &Image::descriptor(&image.layer)).await.unwrap().0 == image.layer);
    assert!(server.seen().iter().any(|r| r.header("authorization") == "Basic dXNlcjpwYXNz"));
    assert!(storage.seen().iter().all(|r| r.header("authorization").is_empty()));
    // What the storage refuses is told without the signature.
    let e = layer(&repo, &Image::descriptor(b"unknown")).await.unwrap_err().to_string();
    assert!(!e.contains("secret"), "{e}");
}

#[tokio::test]
async fn within_an_origin_credentials_stay_and_elsewhere_they_are_lost_for_good() {
    use std::sync::OnceLock;
    static HOME: OnceLock<String> = OnceLock::new();
    let away = Server::start(|r| Reply::to(302, format!("{}{}/back", HOME.get().unwrap(), r.path))).await;
    let to = away.url();
    let server = Server::start(move |r| match r.path.as_str() {
        _ if r.path.ends_with("/back") => {
            Image::new().answer(&crate::server::Request { path: r.path.trim_end_matches("/back").into(), ..r.clone() })
        }
        _ if r.header("authorization").is_empty() => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        "/v2/test/image/manifests/latest" => Reply::to(301, "/v2/moved/manifests/latest"),
        "/v2/moved/manifests/latest" => Image::new().answer(r),
        _ => Reply::to(307, format!("{to}{}", r.path)),
    })
    .await;
    HOME.set(server.url()).unwrap();
    let repo = with_credentials(server.address, settings(), Credentials::basic("user", "pass")).await;
    assert!(repo.manifest(&Wanted::Tag("latest".into())).await.is_ok());
    let image = Image::new();
    assert!(layer(&repo, &Image::descriptor(&image.layer)).await.unwrap().0 == image.layer);
    let back: Vec<_> = server.seen().into_iter().filter(|r| r.path.ends_with("/back")).collect();
    assert!(!back.is_empty() && back.iter().all(|r| r.header("authorization").is_empty()));
}

#[tokio::test]
async fn circles_and_endless_ways_have_an_end() {
    let image = Image::new();
    for (name, words, server) in [
        ("circle", "in a circle", Server::start(|r| Reply::to(307, r.path.clone())).await),
        ("far", "more than 10 redirects", Server::start(|r| Reply::to(307, format!("{}x", r.path))).await),
        ("nowhere", "to nowhere", Server::start(|_| Reply::new(307, "")).await),
        ("no address", "no address", Server::start(|_| Reply::to(307, "file:///etc/passwd")).await),
        ("a user name", "holds a user name", Server::start(|_| Reply::to(307, "http://u:p@127.0.0.1/")).await),
    ] {
        let e =
            layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await.unwrap_err();
        assert!(matches!(e.cause, Cause::Redirect(_)) && e.to_string().contains(words), "{name}: {e}");
    }
    // The twin: nine steps are a way.
    let server = Server::start(|r| match r.path.strip_prefix("/step/") {
        Some(rest) if rest.starts_with("9/") => Image::new().answer(r),
        Some(rest) => {
            let (n, rest) = rest.split_once('/').unwrap();
            Reply::to(307, format!("/step/{}/{rest}", n.parse::<u32>().unwrap() + 1))
        }
        None => Reply::to(307, format!("/step/1{}", r.path)),
    })
    .await;
    assert!(
        layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await.unwrap().0
            == image.layer
    );
}

#[tokio::test]
async fn never_from_https_to_plain_text() {
    let image = Image::new();
    let plain = Server::start(|r| Image::new().answer(r)).await;
    let encrypted = Server::tls(tls("server", false), |r| Image::new().answer(r)).await;
    for (storage, works) in [(&plain, false), (&encrypted, true)] {
        let to = storage.url();
        let server = Server::tls(tls("server", false), move |r| Reply::to(307, format!("{to}{}", r.path))).await;
        let ca = certs().join("ca.pem");
        let (_dir, s) = hosts_toml(server.address, &format!("ca = '{}'", ca.display()));
        match layer(&repository(server.address, s).await, &Image::descriptor(&image.layer)).await {
            Ok((bytes, _)) => assert!(works && bytes == image.layer),
            Err(e) => assert!(!works && e.to_string().contains("from https to plain http"), "{e}"),
        }
    }
    assert_eq!(plain.seen().len(), 0);
}
