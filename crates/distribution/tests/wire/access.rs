//! Credentials: Basic, tokens, their scopes and ends, and that nobody gets any who has no right to them.

use crate::server::{Reply, Request, Server};
use crate::world::{Image, layer, open, registries, settings, with_credentials};
use dhow_distribution::{Cause, Credentials, Settings, Wanted};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

fn user() -> Credentials {
    Credentials::basic("user", "pass")
}

const BASIC: &str = "Basic dXNlcjpwYXNz";

/// A registry that wants a token from `realm` (or from itself) which `accepts` the credentials.
async fn with_tokens(realm: Option<String>, anonymous: bool) -> Server {
    let own: Arc<OnceLock<String>> = Arc::default();
    let to = own.clone();
    let server = Server::start(move |r| {
        if r.path == "/token" {
            return token(r, anonymous);
        }
        if r.header("authorization") == "Bearer good" {
            return Image::new().answer(r);
        }
        let realm = realm.clone().unwrap_or_else(|| format!("{}/token", to.get().unwrap()));
        Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .with("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:other:push\""))
    })
    .await;
    own.set(server.url()).unwrap();
    server
}

fn token(r: &Request, anonymous: bool) -> Reply {
    let posted = String::from_utf8_lossy(&r.body).into_owned();
    match r.header("authorization") == BASIC || posted.contains("refresh_token=identity") || anonymous {
        true => Reply::new(200, r#"{"token":"good","expires_in":300}"#),
        false => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    }
}

#[tokio::test]
async fn basic() {
    let server = Server::start(|r| match r.header("authorization") {
        BASIC => Image::new().answer(r),
        _ => Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
            .with("www-authenticate", "BASIC Realm=\"r\""),
    })
    .await;
    assert!(with_credentials(server.address, settings(), user()).await.manifest(&latest()).await.is_ok());
    let e =
        with_credentials(server.address, settings(), Credentials::none()).await.manifest(&latest()).await.unwrap_err();
    assert!(e.cause == Cause::NoCredentials && e.to_string().contains("no basic auth credentials"), "{e}");
    let before = server.seen().len();
    let e = with_credentials(server.address, settings(), Credentials::basic("user", "wrong"))
        .await
        .manifest(&latest())
        .await
        .unwrap_err();
    assert!(e.to_string().contains("unauthorized: authentication required"), "{e}");
    assert_eq!(server.seen().len() - before, 2, "a wrong password is shown once");
}

#[tokio::test]
async fn tokens_their_scope_and_their_memory() {
    let server = with_tokens(None, false).await;
    let r = registries(settings());
    let repo = open(&r, server.address, user()).await;
    let image = Image::new();
    assert!(repo.manifest(&latest()).await.is_ok());
    assert!(layer(&repo, &Image::descriptor(&image.layer)).await.unwrap().0 == image.layer);
    let asked: Vec<_> = server.seen().into_iter().filter(|r| r.path == "/token").collect();
    assert_eq!(asked.len(), 1, "one token for all of it");
    assert_eq!(asked[0].query, "service=s&scope=repository%3Atest%2Fimage%3Apull&account=user");
    // Another pull of the same tag: one request.
    let before = server.seen().len();
    assert!(open(&r, server.address, user()).await.head(&latest()).await.is_ok());
    assert_eq!(server.lines()[before..], ["HEAD /v2/test/image/manifests/latest"]);
    // Somebody else does not get the first one's token.
    let e = open(&r, server.address, Credentials::basic("user", "guess")).await.manifest(&latest()).await.unwrap_err();
    assert!(e.to_string().contains("unauthorized: incorrect username or password"), "{e}");
    assert!(open(&r, server.address, Credentials::none()).await.manifest(&latest()).await.is_err());
}

#[tokio::test]
async fn identity_and_registry_tokens() {
    let server = with_tokens(None, false).await;
    let identity = Credentials { identity_token: "identity".into(), ..Credentials::none() };
    assert!(with_credentials(server.address, settings(), identity).await.manifest(&latest()).await.is_ok());
    let posted = server.seen().into_iter().find(|r| r.method == "POST").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&posted.body),
        "scope=repository%3Atest%2Fimage%3Apull&service=s&client_id=docker&grant_type=refresh_token&refresh_token=identity"
    );
    let registry = Credentials { registry_token: "good".into(), ..Credentials::none() };
    assert!(with_credentials(server.address, settings(), registry).await.manifest(&latest()).await.is_ok());
}

#[tokio::test]
async fn a_token_that_ended_is_replaced_and_one_that_never_holds_is_given_up() {
    for (good_from, works) in [(2, true), (99, false)] {
        let tokens = Arc::new(AtomicUsize::new(0));
        let own: Arc<OnceLock<String>> = Arc::default();
        let (to, given) = (own.clone(), tokens.clone());
        let server = Server::start(move |r| {
            if r.path == "/token" {
                return Reply::new(200, format!(r#"{{"token":"t{}"}}"#, given.fetch_add(1, Ordering::Relaxed)));
            }
            let number = r.header("authorization").strip_prefix("Bearer t").and_then(|n| n.parse::<usize>().ok());
            match number {
                Some(n) if n + 1 >= good_from || (n == 0 && r.path.contains("manifests") && works) => {
                    Image::new().answer(r)
                }
                _ => Reply::new(401, "")
                    .with("www-authenticate", format!("Bearer realm=\"{}/token\"", to.get().unwrap())),
            }
        })
        .await;
        own.set(server.url()).unwrap();
        let repo = with_credentials(server.address, settings(), user()).await;
        assert_eq!(repo.manifest(&latest()).await.is_ok(), works);
        let image = Image::new();
        assert_eq!(layer(&repo, &Image::descriptor(&image.layer)).await.is_ok(), works);
        assert!(tokens.load(Ordering::Relaxed) <= 4);
    }
}

#[tokio::test]
async fn a_realm_on_another_host_gets_no_password() {
    // The thief takes what it gets and gives a token for it.
    let thief = Server::start(|r| token(r, false)).await;
    let server = with_tokens(Some(format!("{}/token", thief.url())), false).await;
    let e = with_credentials(server.address, settings(), user()).await.manifest(&latest()).await.unwrap_err();
    assert!(matches!(e.cause, Cause::RealmElsewhere(_)) && e.to_string().contains(&thief.url()), "{e}");
    assert!(!thief.seen().is_empty());
    for r in thief.seen() {
        assert!(r.header("authorization").is_empty() && !r.query.contains("account") && r.body.is_empty(), "{r:?}");
    }
    let identity = Credentials { identity_token: "identity".into(), ..Credentials::none() };
    assert!(with_credentials(server.address, settings(), identity).await.manifest(&latest()).await.is_err());
    assert!(thief.seen().iter().all(|r| r.method == "GET" && r.body.is_empty()));
    // The twins: a public image needs no password; and the administrator may trust the other host.
    let open_house = Server::start(|r| token(r, true)).await;
    let public = with_tokens(Some(format!("{}/token", open_house.url())), false).await;
    assert!(with_credentials(public.address, settings(), user()).await.manifest(&latest()).await.is_ok());
    let realms = BTreeMap::from([(server.address.to_string(), vec![thief.url()])]);
    let trusting = Settings { realms, ..settings() };
    assert!(with_credentials(server.address, trusting, user()).await.manifest(&latest()).await.is_ok());
    assert!(thief.seen().iter().any(|r| r.header("authorization") == BASIC));
}

#[tokio::test]
async fn a_mirror_gets_no_credentials_of_the_registry() {
    let mirror = Server::start(|_| Reply::new(401, "").with("www-authenticate", "Basic realm=\"give\"")).await;
    let token_mirror = with_tokens(None, false).await;
    let server = Server::start(|r| match r.header("authorization") {
        BASIC => Image::new().answer(r),
        _ => Reply::new(401, "").with("www-authenticate", "Basic realm=\"r\""),
    })
    .await;
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![mirror.url(), token_mirror.url()])]);
    let repo = with_credentials(server.address, Settings { mirrors, ..settings() }, user()).await;
    let repo = repo.with_meta([("X-Meta-Secret".to_owned(), "1".to_owned()), ("Cookie".to_owned(), "x".to_owned())]);
    assert!(repo.manifest(&latest()).await.is_ok());
    for r in mirror.seen().iter().chain(&token_mirror.seen()) {
        assert!(r.header("authorization").is_empty() && r.header("x-meta-secret").is_empty(), "{r:?}");
    }
    assert!(server.seen().iter().all(|r| r.header("x-meta-secret") == "1" && r.header("cookie").is_empty()));
}

#[tokio::test]
async fn proofs_that_make_no_sense_are_named() {
    for (challenge, words) in [
        ("Negotiate", "authentication that dhow does not have: negotiate"),
        ("Bearer service=\"x\"", "no realm specified for token auth challenge"),
        ("Bearer realm=\"file:///etc/passwd\"", "invalid token auth challenge realm"),
        ("", "unauthorized"),
    ] {
        let server = Server::start(move |_| {
            let reply = Reply::new(401, "");
            if challenge.is_empty() { reply } else { reply.with("www-authenticate", challenge) }
        })
        .await;
        let e = with_credentials(server.address, settings(), user()).await.manifest(&latest()).await.unwrap_err();
        assert!(e.to_string().contains(words), "{challenge}: {e}");
    }
}
