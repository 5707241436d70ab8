//! The way to an image, looked at: each step tells what a pull would meet.

use crate::server::{Reply, Server};
use crate::world::{Image, hosts_toml, repository, settings, tls, with_credentials};
use dhow_distribution::{Cause, Credentials, Settings, Wanted};
use std::collections::BTreeMap;
use std::net::IpAddr;

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

#[tokio::test]
async fn a_fine_registry_and_its_twin() {
    let server = Server::start(|r| match r.path.as_str() {
        "/v2/" => Reply::new(200, "{}")
            .with("date", "Sun, 13 Sep 2020 12:26:40 GMT")
            .with("docker-distribution-api-version", "registry/2.0"),
        _ => Image::new().answer(r).with("ratelimit-limit", "100;w=21600").with("ratelimit-remaining", "7;w=21600"),
    })
    .await;
    let repo = repository(server.address, settings()).await;
    let places = repo.places();
    let told: Vec<_> = places.iter().map(|p| (p.address.as_str(), p.https, p.plain_twin, p.verifies)).collect();
    let (https, http) = (format!("https://{}/v2", server.address), format!("http://{}/v2", server.address));
    assert_eq!(told, [(https.as_str(), true, false, false), (http.as_str(), false, true, false)]);
    assert_eq!(repo.ping(&places[0]).await.unwrap_err(), Cause::NotTls);
    let at = &places[1];
    let addresses = repo.look_up(at).await.unwrap();
    assert_eq!(addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(repo.dial(at, &addresses).await.unwrap(), server.address);
    let ping = repo.ping(at).await.unwrap();
    assert_eq!((ping.status, ping.date, ping.api.as_str()), (200, Some(1_600_000_000), "registry/2.0"));
    assert!(ping.schemes.is_empty() && ping.realm.is_none());
    let given = repo.manifest_at(at, &latest()).await.unwrap();
    assert_eq!(given.fetched.bytes, Image::new().manifest);
    let limit = given.limit.unwrap();
    assert_eq!((limit.limit, limit.remaining), (100, 7));
    let reached = repo.first_byte(at, &Image::descriptor(&Image::new().layer)).await.unwrap();
    assert_eq!((reached.elsewhere, reached.resumable), (None, true));
    let mut wrong = Image::descriptor(&Image::new().layer);
    wrong.size += 1;
    assert!(matches!(repo.first_byte(at, &wrong).await, Err(Cause::WrongSize { .. })));
    let gone = repo.first_byte(at, &Image::descriptor(b"gone")).await;
    assert!(matches!(gone, Err(Cause::Refused { status: 404, .. })), "{gone:?}");
}

#[tokio::test]
async fn who_is_not_there_and_who_is_a_mirror() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let mirrors = BTreeMap::from([("registry.invalid".to_owned(), vec![format!("http://{dead}")])]);
    let repo = repository("registry.invalid", Settings { mirrors, ..settings() }).await;
    let places = repo.places();
    assert_eq!((places.len(), places[0].mirror, places[1].mirror), (2, true, false));
    let addresses = repo.look_up(&places[0]).await.unwrap();
    let e = repo.dial(&places[0], &addresses).await.unwrap_err();
    assert_eq!(e, format!("{dead}: connection refused"));
    assert!(repo.look_up(&places[1]).await.is_err());
    assert!(matches!(repo.ping(&places[0]).await, Err(Cause::Unreachable(_))));
}

#[tokio::test]
async fn what_is_asked_for_and_whether_it_can_be_had() {
    let server = Server::start(|r| match (r.path.as_str(), r.header("authorization")) {
        ("/token", "Basic dXNlcjpwYXNz") => Reply::new(200, r#"{"token":"good"}"#),
        ("/token", _) => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
        (_, "Bearer good") => Image::new().answer(r),
        _ => Reply::new(401, "").with("www-authenticate", "Bearer realm=\"/token\",service=\"s\""),
    })
    .await;
    for (credentials, works) in
        [(Credentials::basic("user", "pass"), true), (Credentials::basic("user", "wrong"), false)]
    {
        let repo = with_credentials(server.address, settings(), credentials).await;
        let at = &repo.places()[1];
        let ping = repo.ping(at).await.unwrap();
        assert_eq!((ping.status, ping.schemes.as_slice()), (401, &["bearer".to_owned()][..]));
        assert_eq!(ping.realm, Some(format!("{}/token", server.url())));
        let proven = repo.prove(at, &ping).await;
        assert_eq!(proven.is_ok(), works);
        assert!(proven.is_err() || proven.unwrap().shown);
        assert_eq!(repo.manifest_at(at, &latest()).await.is_ok(), works);
    }
}

#[tokio::test]
async fn a_blob_from_elsewhere_and_one_without_parts() {
    let storage = Server::start(|_| Reply::new(200, Image::new().layer)).await;
    let to = storage.url();
    let server = Server::start(move |r| match r.path.contains("/blobs/") {
        true => Reply::to(307, format!("{to}/x?signed=1")),
        false => Image::new().answer(r),
    })
    .await;
    let repo = repository(server.address, settings()).await;
    let layer = Image::descriptor(&Image::new().layer);
    let reached = repo.first_byte(&repo.places()[1], &layer).await.unwrap();
    assert_eq!((reached.elsewhere, reached.resumable), (Some(storage.url()), false));
    let mut foreign = layer.clone();
    foreign.urls = vec!["https://evil/".into()];
    assert_eq!(repo.first_byte(&repo.places()[1], &foreign).await, Err(Cause::Foreign));
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_is_told_with_the_file_that_helps() {
    let server = Server::tls(tls("server", false), |r| Image::new().answer(r)).await;
    let (dir, s) = hosts_toml(server.address, "");
    let repo = repository(server.address, s).await;
    let places = repo.places();
    assert!(places.len() == 1 && places[0].verifies);
    let e = repo.ping(&places[0]).await.unwrap_err();
    let file = dir.path().join(server.address.to_string()).join("hosts.toml").display().to_string();
    assert!(matches!(&e, Cause::Certificate(why) if why.contains("unknown authority") && why.contains(&file)), "{e}");
}
