//! Manifests: tags and digests, sizes, media types, Docker's words.

use crate::server::{Reply, Server, Then};
use crate::world::{Image, repository, settings};
use dhow_distribution::{Cause, Settings, Wanted};
use dhow_types::image::media_type;
use dhow_types::{Digest, Error, ErrorKind};
use std::collections::BTreeMap;

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

#[tokio::test]
async fn by_tag_and_by_digest() {
    let server = Server::start(|r| Image::new().answer(r)).await;
    let repo = repository(server.address, settings()).await;
    let digest = Digest::of(&Image::new().manifest);
    let head = repo.head(&latest()).await.unwrap();
    assert_eq!((head.digest, head.media_type.as_str()), (digest, media_type::OCI_MANIFEST));
    assert_eq!(server.lines(), ["HEAD /v2/test/image/manifests/latest"], "an unchanged tag costs one request");
    for wanted in [latest(), Wanted::Digest(digest)] {
        let got = repo.manifest(&wanted).await.unwrap();
        assert_eq!((got.bytes, got.digest), (Image::new().manifest, digest));
    }
    assert!(server.seen()[1].header("accept").contains("json"));
}

#[tokio::test]
async fn a_head_that_says_nothing_is_asked_for_the_bytes() {
    for status in [200, 405] {
        let server = Server::start(move |r| match r.method.as_str() {
            "HEAD" => Reply::new(status, ""),
            _ => Image::new().answer(r),
        })
        .await;
        let head = repository(server.address, settings()).await.head(&latest()).await.unwrap();
        assert_eq!(head.digest, Digest::of(&Image::new().manifest));
    }
}

#[tokio::test]
async fn refusals_have_dockers_words_and_name_everything() {
    let answers: [(u16, &str, &str, ErrorKind); 4] = [
        (
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            "manifest for HOST/test/image:latest not found: manifest unknown: manifest unknown",
            ErrorKind::NotFound,
        ),
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
            "pull access denied for HOST/test/image, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            ErrorKind::NotFound,
        ),
        (
            404,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#,
            "repository HOST/test/image not found: name unknown: ",
            ErrorKind::NotFound,
        ),
        (
            500,
            "",
            "HOST/test/image:latest from http://HOST: received unexpected HTTP status: 500 Internal Server Error",
            ErrorKind::System,
        ),
    ];
    for (status, body, words, kind) in answers {
        let server = Server::start(move |_| Reply::new(status, body)).await;
        let repo = repository(server.address, settings()).await;
        for failure in [repo.manifest(&latest()).await.unwrap_err(), repo.head(&latest()).await.unwrap_err()] {
            let e = Error::from(failure);
            assert!(e.text().starts_with(&words.replace("HOST", &server.address.to_string())), "{e}");
            assert_eq!(e.kind(), kind, "{e}");
        }
    }
}

#[tokio::test]
async fn wrong_digests_are_told() {
    let server = Server::start(|r| {
        let mut reply = Image::new().answer(r);
        reply.body.push(b' ');
        reply
    })
    .await;
    let repo = repository(server.address, settings()).await;
    for wanted in [latest(), Wanted::Digest(Digest::of(&Image::new().manifest))] {
        let e = repo.manifest(&wanted).await.unwrap_err();
        assert!(matches!(e.cause, Cause::WrongDigest { .. }), "{e}");
    }
}

#[tokio::test]
async fn a_manifest_of_100_mib_is_not_read() {
    let announced = Server::start(|_| Reply::new(200, "{").length(Some(100 << 20)).then(Then::Stall(1))).await;
    let endless = Server::start(|_| Reply::new(200, vec![b' '; 1 << 20]).then(Then::Endless)).await;
    for server in [&announced, &endless] {
        let e = repository(server.address, settings()).await.manifest(&latest()).await.unwrap_err();
        assert_eq!(e.cause, Cause::TooLarge(4 << 20), "{e}");
    }
    // The twin: as large as it may be.
    let server = Server::start(|r| {
        let mut image = Image::new();
        image.manifest.resize(4 << 20, b' ');
        image.answer(r)
    })
    .await;
    assert_eq!(repository(server.address, settings()).await.manifest(&latest()).await.unwrap().bytes.len(), 4 << 20);
}

#[tokio::test]
async fn ambiguous_media_types_are_refused() {
    for (content_type, works) in [
        (media_type::OCI_MANIFEST, true),
        ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", true),
        ("text/plain", true),
        (media_type::DOCKER_MANIFEST, false),
        (media_type::OCI_INDEX, false),
        ("text/html", false),
    ] {
        let server = Server::start(move |r| Image::new().answer(r).with("content-type", content_type)).await;
        let got = repository(server.address, settings()).await.manifest(&latest()).await;
        assert_eq!(got.is_ok(), works, "{content_type}");
        if let Err(e) = got {
            assert!(matches!(e.cause, Cause::Document(_)), "{e}");
        }
    }
    let both = format!(r#"{{"schemaVersion":2,"manifests":[],"config":{{"digest":"{}","size":0}}}}"#, Digest::of(b""));
    let server = Server::start(move |_| Reply::new(200, both.clone())).await;
    let e = repository(server.address, settings()).await.manifest(&latest()).await.unwrap_err();
    assert!(e.to_string().contains("ambiguous manifest"), "{e}");
}

#[tokio::test]
async fn the_registry_answers_where_mirrors_do_not() {
    let server = Server::start(|r| Image::new().answer(r)).await;
    let lacking = Server::start(|_| Reply::new(404, "")).await;
    let broken = Server::start(|_| Reply::new(200, "not json")).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![lacking.url(), broken.url(), dead.clone()])]);
    let of = |host, mirrors| repository(host, Settings { mirrors, ..settings() });
    assert!(of(server.address, mirrors.clone()).await.manifest(&latest()).await.is_ok());
    // Nobody has it: each is named.
    let mirrors = BTreeMap::from([(lacking.address.to_string(), vec![broken.url(), dead.clone()])]);
    let e = of(lacking.address, mirrors).await.manifest(&latest()).await.unwrap_err().to_string();
    for word in [lacking.url(), broken.url(), dead] {
        assert!(e.contains(&word), "{e}: {word}");
    }
    // A mirror that has it is enough.
    let mirrors = BTreeMap::from([(lacking.address.to_string(), vec![server.url()])]);
    assert!(of(lacking.address, mirrors).await.manifest(&latest()).await.is_ok());
}

#[tokio::test]
async fn a_proxy_is_used_and_sees_whole_addresses() {
    let proxy = Server::start(|r| match r.method.as_str() {
        "CONNECT" => Reply::new(403, ""),
        _ => Image::new().answer(r),
    })
    .await;
    let proxies = dhow_distribution::Proxies {
        http: format!("http://u:p@{}", proxy.address),
        https: proxy.url(),
        none: String::new(),
    };
    let s = Settings { proxies, insecure: vec!["registry.invalid:5000".into()], ..settings() };
    let repo = repository("registry.invalid:5000", s).await;
    assert!(repo.manifest(&latest()).await.is_ok());
    assert_eq!(
        proxy.lines(),
        ["CONNECT registry.invalid:5000", "GET http://registry.invalid:5000/v2/test/image/manifests/latest"]
    );
    assert_eq!(proxy.seen()[1].header("proxy-authorization"), "Basic dTpw");
}
