//! Uploads, mounts and manifests: broken, refusing and lying registries, and that nothing leaves for elsewhere.

use crate::server::{Reply, Request, Server};
use crate::uploads::{Shared, Told, UPLOADS, bytes, error, give, open, upload};
use crate::world::{bounds, certs, hosts_toml, settings, tls};
use dhow_distribution::{Bounds, Cause, Credentials, Mounted, Settings};
use dhow_types::{Digest, Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LEN: usize = 1_000_000;

/// A registry whose requests go through `each`, with the number of those of their method, before the lawful answer.
async fn registry(each: impl Fn(usize, &Request) -> Option<Reply> + Send + Sync + 'static) -> (Server, Shared) {
    let taken = Shared::default();
    let (shared, count) = (taken.clone(), counter());
    let server = Server::start(move |r| {
        let other = each(count(&r.method), r);
        other.unwrap_or_else(|| shared.lock().unwrap().answer(r))
    })
    .await;
    (server, taken)
}

/// Counts requests by method.
fn counter() -> impl Fn(&str) -> usize + Send + Sync {
    let counts: [AtomicUsize; 5] = Default::default();
    move |method| {
        let at = ["POST", "PATCH", "PUT", "GET", "HEAD"].iter().position(|m| *m == method);
        at.map_or(0, |at| counts[at].fetch_add(1, Ordering::Relaxed))
    }
}

async fn sent(server: &Server, len: usize) -> (Arc<Vec<u8>>, Told) {
    let bytes = Arc::new(bytes(len));
    let repo = open(server.address, settings(), Credentials::none()).await;
    let told = upload(&repo, &bytes, None).await;
    (bytes, told)
}

/// It worked: the registry has the bytes.
fn arrived(taken: &Shared, bytes: &[u8], told: &Told) {
    let digest = Digest::of(bytes);
    assert_eq!(told.result.as_ref().map_err(ToString::to_string), Ok(&(digest, bytes.len() as u64)));
    assert!(taken.lock().unwrap().blobs.get(&digest).is_some_and(|b| b == bytes));
}

fn methods(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|r| r.method).collect()
}

#[tokio::test]
async fn a_lawful_registry_takes_large_small_and_empty_blobs() {
    for (len, expected) in [(LEN, "POST PATCH PUT"), (1000, "POST PUT"), (0, "POST PUT")] {
        let (server, taken) = registry(|_, _| None).await;
        let (bytes, told) = sent(&server, len).await;
        arrived(&taken, &bytes, &told);
        assert_eq!(methods(&server).join(" "), expected);
        assert_eq!((told.opened, told.waits), (vec![0], vec![]));
    }
    let (server, taken) = registry(|_, _| None).await;
    let repo = open(server.address, settings(), Credentials::none()).await;
    let digest = repo.upload_bytes("the configuration", "{}".into()).await.unwrap();
    assert_eq!(taken.lock().unwrap().blobs[&digest], b"{}");
    assert_eq!(repo.has_blob("x", &digest).await.unwrap(), Some(2));
    assert_eq!(repo.has_blob("x", &Digest::of(b"other")).await.unwrap(), None);
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_was() {
    let taken = Shared::default();
    let (shared, cuts) = (taken.clone(), AtomicUsize::new(0));
    let cut = move |r: &Request| match r.method == "PATCH" && cuts.fetch_add(1, Ordering::Relaxed) < 2 {
        true => Some(300_000),
        false => None,
    };
    let server = Server::cutting(cut, move |r| shared.lock().unwrap().answer(r)).await;
    let (bytes, told) = sent(&server, LEN).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(told.opened, [0, 300_000, 600_000]);
    assert_eq!(told.waits.len(), 2);
}

#[tokio::test]
async fn an_upload_that_is_forgotten_begins_anew() {
    let (server, taken) = registry(|n, r| match (r.method.as_str(), n) {
        ("PATCH", 0) => Some(Reply::new(503, "")),
        ("GET", 0) => Some(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown")),
        _ => None,
    })
    .await;
    let (bytes, told) = sent(&server, LEN).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(told.opened, [0, 0]);
    // Also one that is forgotten between the bytes and the digest.
    let (server, taken) = registry(|n, r| match (r.method.as_str(), n) {
        ("PUT", 0) => Some(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown")),
        _ => None,
    })
    .await;
    let (bytes, told) = sent(&server, LEN).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(told.opened, [0, 0]);
}

#[tokio::test]
async fn a_wrong_offset_is_noticed() {
    // It says that it has less, and more, than was sent; then the truth when it is asked.
    for range in ["0-9", "0-99999999", "5-9", "nonsense"] {
        let taken = Shared::default();
        let (shared, count) = (taken.clone(), counter());
        let server = Server::start(move |r| {
            let n = count(&r.method);
            let reply = shared.lock().unwrap().answer(r);
            if r.method == "PATCH" && n == 0 { reply.with("range", range) } else { reply }
        })
        .await;
        let (bytes, told) = sent(&server, LEN).await;
        arrived(&taken, &bytes, &told);
        assert!(matches!(told.waits[..], [Cause::Protocol(_)]), "{range}: {:?}", told.waits);
        assert_eq!(told.opened, [0], "{range}");
    }
    // It lies when it is asked: the digest shows it, and it is begun anew.
    let taken = Shared::default();
    let (shared, count) = (taken.clone(), counter());
    let server = Server::start(move |r| {
        let n = count(&r.method);
        if r.method == "PATCH" && n == 0 {
            return Reply::new(500, "");
        }
        let reply = shared.lock().unwrap().answer(r);
        if r.method == "GET" { reply.with("range", "0-499999") } else { reply }
    })
    .await;
    let (bytes, told) = sent(&server, LEN).await;
    assert!(told.opened.starts_with(&[0, 500_000]), "{:?}", told.opened);
    arrived(&taken, &bytes, &told);
}

#[tokio::test]
async fn a_range_that_is_refused_is_asked_for() {
    let (server, taken) = registry(|n, r| (r.method == "PATCH" && n == 0).then(|| Reply::new(416, ""))).await;
    let (bytes, told) = sent(&server, LEN).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(told.waits.len(), 1);
}

#[tokio::test]
async fn a_servers_own_errors_are_tried_again_and_refusals_are_not() {
    for method in ["POST", "PATCH", "PUT"] {
        for (status, failures, works) in [(500, 2, true), (503, 4, true), (429, 2, true), (502, 99, false)] {
            let hit = move |n, r: &Request| (r.method == method && n < failures).then(|| Reply::new(status, "no"));
            let (server, taken) = registry(hit).await;
            let (bytes, told) = sent(&server, LEN).await;
            match works {
                true => arrived(&taken, &bytes, &told),
                false => {
                    let e = told.result.unwrap_err();
                    assert!(
                        matches!(e.cause, Cause::Refused { status: s, .. } if s == status),
                        "{method} {status}: {e}"
                    );
                    let tries = server.seen().iter().filter(|r| r.method == method).count();
                    assert_eq!(tries, bounds().attempts as usize, "{method} {status}");
                }
            }
        }
        let denied = move |_, r: &Request| {
            (r.method == method).then(|| error(403, "DENIED", "requested access to the resource is denied"))
        };
        let (server, _) = registry(denied).await;
        let (_, told) = sent(&server, LEN).await;
        let e = Error::from(told.result.unwrap_err());
        assert!(
            e.kind() == ErrorKind::Forbidden
                && e.text()
                    .starts_with("denied: requested access to the resource is denied: layer 0123456789ab was not")
                && e.text().contains("test/image"),
            "{e}"
        );
        assert_eq!(server.seen().iter().filter(|r| r.method == method).count(), 1);
    }
}

#[tokio::test]
async fn without_credentials_dockers_words() {
    for (challenge, words, kind) in [
        ("Basic realm=\"x\"", "no basic auth credentials", ErrorKind::Unauthorized),
        ("", "unauthorized: authentication required", ErrorKind::Unauthorized),
    ] {
        let (server, _) = registry(move |_, _| {
            let reply = error(401, "UNAUTHORIZED", "authentication required");
            Some(if challenge.is_empty() { reply } else { reply.with("www-authenticate", challenge) })
        })
        .await;
        let (_, told) = sent(&server, LEN).await;
        let e = Error::from(told.result.unwrap_err());
        assert!(e.kind() == kind && e.text().starts_with(words), "{e}");
    }
}

#[tokio::test]
async fn a_token_that_becomes_old_in_the_middle_is_got_anew() {
    let tokens = Arc::new(AtomicUsize::new(0));
    let (given, taken) = (tokens.clone(), Shared::default());
    let (shared, count) = (taken.clone(), counter());
    let server = Server::start(move |r| {
        if r.path == "/token" {
            return Reply::new(200, format!(r#"{{"token":"t{}"}}"#, given.fetch_add(1, Ordering::Relaxed)));
        }
        // The first token is good for one request.
        let good = match r.header("authorization") {
            "Bearer t0" => r.method == "POST",
            "Bearer t1" => true,
            _ => false,
        };
        count(&r.method);
        match good {
            true => shared.lock().unwrap().answer(r),
            false => Reply::new(401, "").with("www-authenticate", "Bearer realm=\"/token\",service=\"s\""),
        }
    })
    .await;
    let (bytes, told) = sent(&server, LEN).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(tokens.load(Ordering::Relaxed), 2);
    let scopes: Vec<String> =
        server.seen().iter().filter(|r| r.path == "/token").map(|r| r.query.replace("%2F", "/")).collect();
    assert!(scopes.iter().all(|q| q.contains("scope=repository%3Atest/image%3Apull%2Cpush")), "{scopes:?}");
}

#[tokio::test]
async fn a_blob_of_another_repository() {
    let asked =
        |r: &Request| r.path == UPLOADS && r.query.contains("mount=sha256%3A") && r.query.contains("from=other%2Fone");
    for (status, mounted) in [(201, true), (202, false), (403, false), (404, false), (405, false)] {
        let (server, taken) = registry(move |_, r| (asked(r) && status > 299).then(|| Reply::new(status, ""))).await;
        let bytes = Arc::new(bytes(LEN));
        let digest = Digest::of(&bytes);
        if mounted {
            taken.lock().unwrap().blobs.insert(digest, bytes.to_vec());
        }
        let repo = open(server.address, settings(), Credentials::none()).await;
        let got = repo.mount("layer x", &digest, "other/one").await.unwrap();
        assert!(server.seen().iter().any(asked));
        match got {
            Mounted::Yes => assert!(mounted),
            Mounted::No => assert!(status > 299, "{status}"),
            // The upload that was begun is the one that is used.
            Mounted::Upload(session) => {
                let source = |from: u64| give(bytes.clone(), from as usize, None);
                repo.upload("layer x", Some(session), &source, &|_, _| {}).await.unwrap();
                assert_eq!(methods(&server), ["POST", "PATCH", "PUT"]);
            }
        }
    }
    // Its scope is asked for as well.
    let (server, _) = registry(|_, r| match (r.path.as_str(), r.header("authorization")) {
        ("/token", _) => Some(Reply::new(200, r#"{"token":"t"}"#)),
        (_, "Bearer t") => None,
        _ => Some(Reply::new(401, "").with("www-authenticate", "Bearer realm=\"/token\"")),
    })
    .await;
    let repo = open(server.address, settings(), Credentials::none()).await;
    repo.mount("layer x", &Digest::of(b""), "other/one").await.unwrap();
    let scopes = server.seen().into_iter().find(|r| r.path == "/token").unwrap().query;
    assert!(scopes.contains("repository%3Aother%2Fone%3Apull"), "{scopes}");
}

#[tokio::test]
async fn an_upload_that_goes_on_elsewhere_gets_no_credentials() {
    let taken = Shared::default();
    let shared = taken.clone();
    let storage = Server::start(move |r| shared.lock().unwrap().answer(r)).await;
    let (to, shared) = (storage.url(), taken.clone());
    let server = Server::start(move |r| match r.header("authorization") {
        "" => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        _ => {
            let reply = shared.lock().unwrap().answer(r);
            let location = reply.headers.iter().find(|(n, _)| n == "location").map(|(_, l)| format!("{to}{l}"));
            match location {
                Some(location) => reply.with("location", location),
                None => reply,
            }
        }
    })
    .await;
    let repo = open(server.address, settings(), Credentials::basic("user", "pass")).await;
    let repo = repo.with_meta([("x-meta-a".to_owned(), "b".to_owned())]);
    let bytes = Arc::new(bytes(LEN));
    let told = upload(&repo, &bytes, None).await;
    arrived(&taken, &bytes, &told);
    assert!(server.seen().iter().any(|r| r.header("authorization") == "Basic dXNlcjpwYXNz"));
    let elsewhere = storage.seen();
    assert!(elsewhere.iter().any(|r| r.method == "PATCH"));
    assert!(elsewhere.iter().all(|r| r.header("authorization").is_empty() && r.header("x-meta-a").is_empty()));
}

#[tokio::test]
async fn never_from_https_to_plain_text() {
    for encrypted in [true, false] {
        let taken = Shared::default();
        let shared = taken.clone();
        let answer = move |r: &Request| shared.lock().unwrap().answer(r);
        let storage = match encrypted {
            true => Server::tls(tls("server", false), answer).await,
            false => Server::start(answer).await,
        };
        let (to, shared) = (storage.url(), taken.clone());
        let server = Server::tls(tls("server", false), move |r| {
            let reply = shared.lock().unwrap().answer(r);
            let location = reply.headers.iter().find(|(n, _)| n == "location").map(|(_, l)| format!("{to}{l}"));
            location.map_or(reply.clone(), |l| reply.with("location", l))
        })
        .await;
        let ca = certs().join("ca.pem");
        let (_dir, s) = hosts_toml(server.address, &format!("ca = '{}'", ca.display()));
        let s = Settings { bounds: Bounds { attempts: 1, ..bounds() }, ..s };
        let repo = open(server.address, s, Credentials::none()).await;
        let bytes = Arc::new(bytes(LEN));
        let told = upload(&repo, &bytes, None).await;
        match told.result {
            Ok(_) => assert!(encrypted),
            Err(e) => assert!(!encrypted && e.to_string().contains("from https to plain http"), "{e}"),
        }
        assert_eq!(storage.seen().is_empty(), !encrypted);
    }
}

#[tokio::test]
async fn a_digest_that_disagrees_is_an_error() {
    let other = Digest::of(b"other").to_string();
    let wrong = other.clone();
    let (server, _) =
        registry(move |_, r| (r.method == "PUT").then(|| Reply::new(201, "").with("docker-content-digest", &*wrong)))
            .await;
    let (_, told) = sent(&server, LEN).await;
    let e = told.result.unwrap_err();
    assert!(matches!(&e.cause, Cause::WrongDigest { got, .. } if got.to_string() == other), "{e}");
    let repo = open(server.address, settings(), Credentials::none()).await;
    let e = repo.put_manifest(Some("t"), "application/x", "{}".into()).await.unwrap_err();
    assert!(matches!(&e.cause, Cause::WrongDigest { .. }) && e.to_string().contains("manifest"), "{e}");
    // The twins.
    let (server, taken) = registry(|_, _| None).await;
    let repo = open(server.address, settings(), Credentials::none()).await;
    let digest = repo.put_manifest(Some("t"), "application/x", "{}".into()).await.unwrap();
    repo.put_manifest(None, "application/y", "{}".into()).await.unwrap();
    let taken = taken.lock().unwrap();
    assert_eq!(taken.manifests["t"], ("application/x".to_owned(), b"{}".to_vec()));
    assert_eq!(taken.manifests[&digest.to_string()].0, "application/y");
}

#[tokio::test]
async fn who_takes_no_stream_gets_pieces() {
    const LONG: usize = 20 << 20;
    for (status, min, largest) in [(411, "", 4 << 20), (413, "6000000", 6_000_000)] {
        let taken = Shared::default();
        let shared = taken.clone();
        let server = Server::start(move |r| {
            if r.method == "PATCH" && r.header("content-length").is_empty() {
                return Reply::new(status, "");
            }
            let reply = shared.lock().unwrap().answer(r);
            if min.is_empty() { reply } else { reply.with("oci-chunk-min-length", min) }
        })
        .await;
        let (bytes, told) = sent(&server, LONG).await;
        arrived(&taken, &bytes, &told);
        let pieces: Vec<usize> =
            server.seen().iter().filter(|r| !r.header("content-range").is_empty()).map(|r| r.body.len()).collect();
        assert!(pieces.len() > 1 && pieces.iter().sum::<usize>() == LONG, "{pieces:?}");
        assert!(pieces[..pieces.len() - 1].iter().all(|n| (largest..largest + 100_000).contains(n)), "{pieces:?}");
    }
    let (server, _) = registry(|_, r| match r.method.as_str() {
        "POST" => Some(Reply::to(202, format!("{UPLOADS}u?_state=0")).with("oci-chunk-min-length", "99999999999")),
        "PATCH" => Some(Reply::new(413, "")),
        _ => None,
    })
    .await;
    let (_, told) = sent(&server, LEN).await;
    assert!(matches!(told.result.unwrap_err().cause, Cause::TooLarge(_)));
}

/// Waits until the registry has no upload that was begun; the test's own time limit is what bounds it.
async fn taken_back(taken: &Shared) {
    while !taken.lock().unwrap().sessions.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_source_that_fails_is_never_closed_and_the_upload_is_taken_back() {
    for piece in [0, 10] {
        let (server, taken) = registry(|_, _| None).await;
        let repo = open(server.address, settings(), Credentials::none()).await;
        let told = upload(&repo, &Arc::new(bytes(LEN)), Some(piece)).await;
        let e = told.result.unwrap_err();
        assert!(matches!(e.cause, Cause::Source(_)), "{e}");
        assert_eq!(Error::from(e).kind(), ErrorKind::DataLoss);
        taken_back(&taken).await;
        assert!(taken.lock().unwrap().blobs.is_empty() && !methods(&server).contains(&"PUT".to_owned()));
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_taken_back() {
    let (server, taken) = registry(|_, _| None).await;
    let repo = open(server.address, settings(), Credentials::none()).await;
    let (_to, never) = tokio::sync::mpsc::channel(1);
    let never = std::sync::Mutex::new(Some(never));
    let source = |_| never.lock().unwrap().take().unwrap();
    {
        let mut upload = std::pin::pin!(repo.upload("layer x", None, &source, &|_, _| {}));
        // Until it has begun.
        while never.lock().unwrap().is_some() {
            let asked = std::future::poll_fn(|cx| std::task::Poll::Ready(upload.as_mut().poll(cx).is_ready())).await;
            assert!(!asked);
            tokio::task::yield_now().await;
        }
        assert_eq!(taken.lock().unwrap().sessions.len(), 1);
    }
    taken_back(&taken).await;
    assert_eq!(methods(&server), ["POST", "DELETE"]);
}

#[tokio::test]
async fn a_close_whose_answer_was_lost_is_not_sent_again() {
    let taken = Shared::default();
    let shared = taken.clone();
    // All of it is read, and nothing is answered.
    let cut = |r: &Request| r.header("content-length").parse().ok().filter(|_| r.method == "PUT");
    let server = Server::cutting(cut, move |r| shared.lock().unwrap().answer(r)).await;
    let (bytes, told) = sent(&server, 1000).await;
    arrived(&taken, &bytes, &told);
    assert_eq!(methods(&server), ["POST", "PUT", "HEAD"]);
}

#[tokio::test]
async fn redirects_keep_to_their_origin() {
    let elsewhere = Server::start(|_| Reply::new(202, "")).await;
    for (to, status, works) in [
        ("/moved".to_owned(), 307, true),
        ("/moved".to_owned(), 308, true),
        ("/moved".to_owned(), 302, false),
        (elsewhere.url(), 307, false),
    ] {
        let (server, _) = registry(move |_, r| (r.path == UPLOADS).then(|| Reply::to(status, to.clone()))).await;
        let (_, told) = sent(&server, LEN).await;
        let e = told.result.unwrap_err();
        // The fake knows no such place, so what works is refused there.
        assert_eq!(matches!(e.cause, Cause::Refused { status: 404, .. }), works, "{status}: {e}");
        assert_eq!(matches!(e.cause, Cause::Redirect(_)), !works, "{status}: {e}");
    }
    assert!(elsewhere.seen().is_empty());
}
