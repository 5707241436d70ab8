//! What is remembered of a registry's wish for a proof, and that it stands in nobody's way.

use crate::server::{Reply, Server, Then};
use crate::world::{Image, bounds, open, registries, settings};
use dhow_distribution::{Bounds, Cause, Credentials, Settings, Wanted};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

fn latest() -> Wanted {
    Wanted::Tag("latest".into())
}

fn user() -> Credentials {
    Credentials::basic("user", "pass")
}

#[tokio::test]
async fn one_bad_challenge_does_not_poison_a_registry() {
    let dead = "Bearer realm=\"http://127.0.0.1:1/token\"";
    for challenge in ["Negotiate", "Basic realm=\"x\"", dead, "Bearer realm=\"file:///x\""] {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |r| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(401, "").with("www-authenticate", challenge),
            _ => Image::new().answer(r),
        })
        .await;
        let r = registries(settings());
        let first = open(&r, server.address, Credentials::none()).await;
        assert!(first.manifest(&latest()).await.is_err(), "{challenge}");
        for credentials in [Credentials::none(), user()] {
            assert!(open(&r, server.address, credentials).await.manifest(&latest()).await.is_ok(), "{challenge}");
        }
        assert!(server.seen().iter().all(|r| r.header("authorization").is_empty()), "{challenge}");
    }
}

#[tokio::test]
async fn what_one_needed_is_not_demanded_of_another() {
    // Public, but whoever shows a password must show the right one; and once a password was asked for.
    let count = AtomicUsize::new(0);
    let server = Server::start(move |r| match (count.fetch_add(1, Ordering::Relaxed), r.header("authorization")) {
        (0, _) => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        (_, "" | "Basic dXNlcjpwYXNz") => Image::new().answer(r),
        _ => Reply::new(401, ""),
    })
    .await;
    let r = registries(settings());
    assert!(open(&r, server.address, user()).await.manifest(&latest()).await.is_ok());
    let before = server.seen().len();
    assert!(open(&r, server.address, user()).await.manifest(&latest()).await.is_ok());
    assert_eq!(server.seen()[before].header("authorization"), "Basic dXNlcjpwYXNz", "what held is shown at once");
    assert!(open(&r, server.address, Credentials::none()).await.manifest(&latest()).await.is_ok());
}

#[tokio::test]
async fn who_waits_for_a_token_shares_the_answer_also_a_bad_one() {
    for silent in [true, false] {
        let own: Arc<OnceLock<String>> = Arc::default();
        let to = own.clone();
        let server = Server::start(move |r| match r.path.as_str() {
            "/token" if silent => Reply::new(200, "{}").length(Some(9)).then(Then::Stall(1)),
            "/token" => Reply::new(200, r#"{"token":"good"}"#),
            _ if r.header("authorization") == "Bearer good" => Image::new().answer(r),
            _ => Reply::new(401, "").with("www-authenticate", format!("Bearer realm=\"{}/token\"", to.get().unwrap())),
        })
        .await;
        own.set(server.url()).unwrap();
        let short = Bounds { document: Duration::from_secs(2), ..bounds() };
        let r = registries(Settings { bounds: if silent { short } else { bounds() }, ..settings() });
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let repo = open(&r, server.address, user()).await;
            tasks.push(tokio::spawn(async move { repo.manifest(&latest()).await.map_err(|e| e.cause) }));
        }
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => assert!(!silent),
                Err(cause) => assert!(silent && matches!(cause, Cause::Slow(_)), "{cause:?}"),
            }
        }
        assert_eq!(server.seen().iter().filter(|r| r.path == "/token").count(), 1);
    }
}
