//! Logins and searches: Basic, tokens and identity tokens, and who gets no password.

use crate::server::{Reply, Server};
use crate::world::{certs, hosts_toml, registries, settings, tls};
use dhow_distribution::{Credentials, Search, Settings};
use dhow_types::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

const BASIC: &str = "Basic dXNlcjpwYXNz";

fn user() -> Credentials {
    Credentials::basic("user", "pass")
}

fn wrong() -> Credentials {
    Credentials::basic("user", "s3cret")
}

async fn login(server: &Server, settings: Settings, credentials: Credentials) -> Result<String, Error> {
    let address = server.address.to_string();
    registries(settings).login(&address, credentials).await.map(|l| l.identity_token)
}

#[tokio::test]
async fn basic() {
    let server = Server::start(|r| match r.header("authorization") {
        BASIC => Reply::new(200, "{}"),
        _ => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
    })
    .await;
    assert_eq!(login(&server, settings(), user()).await.unwrap(), "");
    assert_eq!(server.lines(), ["GET /v2/", "GET /v2/"]);
    let e = login(&server, settings(), wrong()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unauthorized);
    assert_eq!(
        e.text(),
        format!("login attempt to {}/v2/ failed with status: 401 Unauthorized", server.url()),
        "Docker's words"
    );
    let e = login(&server, settings(), Credentials::none()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unauthorized && e.text().contains("no basic auth credentials"), "{e}");
    // By address, as Docker's client sends it.
    let address = format!("http://{}/v1/", server.address);
    assert!(registries(settings()).login(&address, user()).await.is_ok());
    let gone = Server::start(|_| Reply::new(500, "")).await;
    let e = login(&gone, settings(), user()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::System && e.text().contains("failed with status: 500"), "{e}");
}

/// A registry with tokens, from `realm` or from itself.
async fn with_tokens(realm: Option<String>) -> Server {
    let own: Arc<OnceLock<String>> = Arc::default();
    let to = own.clone();
    let server = Server::start(move |r| {
        if r.path == "/token" {
            let body = String::from_utf8_lossy(&r.body).into_owned();
            return match (r.header("authorization"), body.contains("refresh_token=identity")) {
                (BASIC, _) if r.query.contains("offline_token=true&client_id=docker") => {
                    Reply::new(200, r#"{"token":"good","refresh_token":"identity"}"#)
                }
                (BASIC, _) | ("", true) => Reply::new(200, r#"{"token":"good"}"#),
                _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
            };
        }
        let realm = realm.clone().unwrap_or_else(|| format!("{}/token", to.get().unwrap()));
        match r.header("authorization") {
            "Bearer good" => Reply::new(200, r#"{"results":[{"name":"found"}]}"#),
            _ => Reply::new(401, "").with("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"s\"")),
        }
    })
    .await;
    own.set(server.url()).unwrap();
    server
}

#[tokio::test]
async fn tokens_and_what_stands_for_the_password() {
    let server = with_tokens(None).await;
    assert_eq!(login(&server, settings(), user()).await.unwrap(), "identity");
    let asked = server.seen().into_iter().find(|r| r.path == "/token").unwrap();
    assert_eq!(asked.query, "service=s&offline_token=true&client_id=docker&account=user");
    let identity = Credentials { identity_token: "identity".into(), ..Credentials::none() };
    assert_eq!(login(&server, settings(), identity.clone()).await.unwrap(), "identity");
    let e = login(&server, settings(), wrong()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unauthorized);
    assert_eq!(e.text(), format!("Get \"{}/v2/\": unauthorized: incorrect username or password", server.url()));
    // A search with it.
    let search = Search { term: format!("{}/x y", server.address), limit: 3, credentials: identity, meta: vec![] };
    let hits = registries(settings()).search(search).await.unwrap();
    assert_eq!(hits.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["found"]);
    assert_eq!(server.seen().last().unwrap().query, "q=x%20y&n=3");
}

#[tokio::test]
async fn nobody_else_gets_the_password() {
    let thief = Server::start(|_| Reply::new(200, r#"{"token":"good"}"#)).await;
    // A realm on another site, and a registry that points away.
    let server = with_tokens(Some(format!("{}/token", thief.url()))).await;
    let e = login(&server, settings(), user()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unauthorized && e.text().contains(&thief.url()), "{e}");
    let to = format!("{}/v2/", thief.url());
    let away = Server::start(move |_| Reply::to(307, to.clone())).await;
    let e = login(&away, settings(), user()).await.unwrap_err();
    assert!(e.text().contains("which gets no credentials"), "{e}");
    for r in thief.seen() {
        assert!(r.header("authorization").is_empty() && r.body.is_empty(), "{r:?}");
    }
    // The twin: the administrator says so.
    let realms = BTreeMap::from([(server.address.to_string(), vec![thief.url()])]);
    assert!(login(&server, Settings { realms, ..settings() }, user()).await.is_ok());
    // A mirror is no registry: it is not even asked.
    let mirror = Server::start(|_| Reply::new(200, "")).await;
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![mirror.url()])]);
    assert!(login(&server, Settings { mirrors, ..settings() }, user()).await.is_err());
    assert_eq!(mirror.seen().len(), 0);
    // TLS that says no is not asked again in plain text.
    let both = Server::both(tls("server", false), |_| Reply::new(401, "").with("www-authenticate", "Basic")).await;
    assert!(login(&both, settings(), user()).await.is_err());
    assert!(both.seen().len() == 2 && both.seen().iter().all(|r| r.encrypted));
}

#[tokio::test]
async fn certificates_count() {
    let server = Server::tls(tls("server", false), |_| Reply::new(200, "{}")).await;
    let ca = format!("ca = '{}'", certs().join("ca.pem").display());
    for (toml, works) in [(ca.as_str(), true), ("", false)] {
        let (_dir, s) = hosts_toml(server.address, toml);
        match login(&server, s, user()).await {
            Ok(_) => assert!(works),
            Err(e) => assert!(!works && e.text().contains("unknown authority"), "{e}"),
        }
    }
}

#[tokio::test]
async fn a_search() {
    let server = Server::start(|r| match r.path.as_str() {
        "/v1/search" => Reply::new(
            200,
            r#"{"num_results":2,"results":[{"name":"a","description":null,"is_official":true,"star_count":7},{"name":"b"}]}"#,
        ),
        _ => Reply::new(404, ""),
    })
    .await;
    let search = |term: &str, limit| Search {
        term: format!("{}/{term}", server.address),
        limit,
        credentials: user(),
        meta: vec![("x-meta-a".into(), "1".into()), ("cookie".into(), "x".into())],
    };
    let hits = registries(settings()).search(search("word", 25)).await.unwrap();
    assert_eq!((hits.len(), hits[0].is_official, hits[0].star_count, hits[1].name.as_str()), (2, true, 7, "b"));
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (seen.path.as_str(), seen.query.as_str(), seen.header("authorization")),
        ("/v1/search", "q=word&n=25", BASIC)
    );
    assert!(seen.header("x-meta-a") == "1" && seen.header("cookie").is_empty());
    for (s, words) in [
        (search("word", 0), "limit 0 is outside the range of [1, 100]"),
        (search("word", 101), "limit 101 is outside"),
        (search("a://b", 1), "should not have a scheme"),
    ] {
        let e = registries(settings()).search(s).await.unwrap_err();
        assert!(e.kind() == ErrorKind::InvalidParameter && e.text().contains(words), "{e}");
    }
    for (body, status, words) in
        [("<html>", 200, "error decoding registry search results"), ("", 403, "unexpected status code 403")]
    {
        let other = Server::start(move |_| Reply::new(status, body)).await;
        let s = Search { term: format!("{}/x", other.address), limit: 1, ..Search::default() };
        assert!(registries(settings()).search(s).await.unwrap_err().text().contains(words));
    }
}
