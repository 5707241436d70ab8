//! Layers and configurations: wrong bytes, wrong sizes, broken, stalling and refusing servers, resumption, mirrors.

use crate::server::{Reply, Request, Server, Then};
use crate::world::{Image, bounds, layer, ranged, repository, settings};
use dhow_distribution::{Bounds, Cause, Settings, Step};
use dhow_types::{Digest, DigestWriter, Error, ErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A registry whose blobs are answered by `blob` with the number of the request; all else is lawful.
async fn registry(blob: impl Fn(usize, &Request, &Image) -> Reply + Send + Sync + 'static) -> (Server, Arc<Image>) {
    let image = Arc::new(Image::new());
    let (i, count) = (image.clone(), AtomicUsize::new(0));
    let server = Server::start(move |r| match r.path.contains("/blobs/") {
        true => blob(count.fetch_add(1, Ordering::Relaxed), r, &i),
        false => i.answer(r),
    })
    .await;
    (server, image)
}

#[tokio::test]
async fn a_lawful_registry_gives_the_bytes() {
    let (server, image) = registry(|_, r, i| i.answer(r)).await;
    let repo = repository(server.address, settings()).await;
    let (bytes, breaks) = layer(&repo, &Image::descriptor(&image.layer)).await.unwrap();
    assert!(bytes == image.layer && breaks.is_empty());
    assert_eq!(repo.config(&Image::descriptor(&image.config)).await.unwrap(), image.config);
    assert_eq!(repo.layer(&Image::descriptor(b"")).unwrap().position(), 0);
    assert!(layer(&repo, &Image::descriptor(b"")).await.unwrap().0.is_empty(), "nothing need be asked for no bytes");
}

#[tokio::test]
async fn wrong_bytes_are_told_and_name_the_layer() {
    let (server, image) = registry(|_, r, i| {
        let mut reply = i.answer(r);
        *reply.body.last_mut().unwrap() ^= 1;
        reply
    })
    .await;
    let repo = repository(server.address, settings()).await;
    let wanted = Image::descriptor(&image.layer);
    let e = layer(&repo, &wanted).await.unwrap_err();
    assert!(matches!(e.cause, Cause::WrongDigest { wanted: w, .. } if w == wanted.digest), "{e}");
    let e = Error::from(e);
    let (host, short) = (server.address.to_string(), wanted.digest.short());
    assert_eq!(e.kind(), ErrorKind::DataLoss);
    for word in [&host, &short, "test/image", "verification failed for digest"] {
        assert!(e.text().contains(word), "{e}: {word}");
    }
    assert_eq!(server.seen().len(), 1, "the same wrong bytes are not fetched again");
    let e = repository(server.address, settings()).await.config(&Image::descriptor(&image.config)).await.unwrap_err();
    assert!(matches!(e.cause, Cause::WrongDigest { .. }) && e.to_string().contains("image configuration"), "{e}");
}

#[tokio::test]
async fn wrong_sizes_are_told() {
    for (name, change) in [
        (
            "longer, announced",
            (|mut r: Reply| {
                r.body.push(0);
                r
            }) as fn(Reply) -> Reply,
        ),
        ("longer, not announced", |mut r| {
            r.body.push(0);
            r.length(None)
        }),
        ("shorter, announced", |mut r| {
            r.body.pop();
            r
        }),
    ] {
        let (server, image) = registry(move |_, r, i| change(i.answer(r))).await;
        let e =
            layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await.unwrap_err();
        assert!(matches!(e.cause, Cause::WrongSize { .. }), "{name}: {e}");
    }
    // The twin: no length is said, and the size is right.
    let (server, image) = registry(|_, r, i| i.answer(r).length(None)).await;
    assert!(
        layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await.unwrap().0
            == image.layer
    );
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_was() {
    for ranges in [true, false] {
        let (server, image) = registry(move |n, r, i| {
            let reply = if ranges { i.answer(r) } else { Reply::new(200, i.layer.clone()) };
            let half = reply.body.len() / 2;
            if n < 3 { reply.then(Then::Cut(half)) } else { reply }
        })
        .await;
        let repo = repository(server.address, settings()).await;
        let (bytes, breaks) = layer(&repo, &Image::descriptor(&image.layer)).await.unwrap();
        assert!(bytes == image.layer, "ranges: {ranges}");
        assert_eq!(breaks.len(), if ranges { 3 } else { breaks.len() });
        let seen = server.seen();
        assert_eq!(seen[0].header("range"), "");
        assert_eq!(seen[1].header("range"), format!("bytes={}-{}", image.layer.len() / 2, image.layer.len() - 1));
    }
}

#[tokio::test]
async fn an_earlier_try_is_taken_up() {
    let (server, image) = registry(|_, r, i| i.answer(r)).await;
    let repo = repository(server.address, settings()).await;
    let descriptor = Image::descriptor(&image.layer);
    let at = 123_456;
    let mut hash = DigestWriter::new();
    hash.update(&image.layer[..at]);
    let mut stream = repo.layer_from(&descriptor, hash, at as u64).unwrap();
    let mut bytes = Vec::new();
    while let Step::Bytes(piece) = stream.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert!(bytes == image.layer[at..]);
    // All of it was there: only the digest is left to be looked at, and it is.
    let mut hash = DigestWriter::new();
    hash.update(&image.layer);
    let size = image.layer.len() as u64;
    assert!(matches!(repo.layer_from(&descriptor, hash, size).unwrap().next().await, Ok(Step::End)));
    let mut wrong = DigestWriter::new();
    wrong.update(&vec![0; image.layer.len()]);
    assert!(matches!(
        repo.layer_from(&descriptor, wrong, size).unwrap().next().await.unwrap_err().cause,
        Cause::WrongDigest { .. }
    ));
    assert!(repo.layer_from(&descriptor, DigestWriter::new(), size + 1).is_err());
}

#[tokio::test]
async fn other_bytes_than_those_asked_for_are_refused() {
    for (range, ok) in [("bytes 0-1/2", false), ("nonsense", false), ("", false)] {
        let (server, image) = registry(move |n, r, i| match n {
            0 => {
                let r = i.answer(r);
                r.then(Then::Cut(1000))
            }
            _ => Reply::new(206, &i.layer[1000..]).with("content-range", range),
        })
        .await;
        let got = layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await;
        assert_eq!(got.is_ok(), ok, "{range}");
        assert!(matches!(got.unwrap_err().cause, Cause::Protocol(_)), "{range}");
    }
}

#[tokio::test]
async fn who_never_gives_more_is_given_up() {
    let (server, image) = registry(|_, r, i| ranged(r, &i.layer).then(Then::Cut(0))).await;
    let e = layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Broken(_)), "{e}");
    assert_eq!(server.seen().len(), bounds().attempts as usize);
}

#[tokio::test]
async fn silence_has_an_end() {
    let short =
        Settings { bounds: Bounds { stall: Duration::from_millis(100), attempts: 2, ..bounds() }, ..settings() };
    let (server, image) = registry(|_, r, i| ranged(r, &i.layer).then(Then::Stall(0))).await;
    let e = layer(&repository(server.address, short).await, &Image::descriptor(&image.layer)).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Stalled(_)) && e.to_string().contains("nothing came for 100ms"), "{e}");
    // The twin: silence once, then the rest.
    let patient =
        Settings { bounds: Bounds { stall: Duration::from_millis(300), attempts: 100, ..bounds() }, ..settings() };
    let (server, image) = registry(|n, r, i| {
        let reply = i.answer(r);
        if n == 0 { reply.then(Then::Stall(5000)) } else { reply }
    })
    .await;
    let (bytes, breaks) =
        layer(&repository(server.address, patient).await, &Image::descriptor(&image.layer)).await.unwrap();
    assert!(bytes == image.layer && matches!(breaks[0], Cause::Stalled(_)));
}

#[tokio::test]
async fn no_answer_at_all_has_an_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_dir, s) = crate::world::hosts_toml(address, &format!("server = 'http://{address}'"));
    let s = Settings { bounds: Bounds { answer: Duration::from_millis(100), attempts: 1, ..bounds() }, ..s };
    let e = layer(&repository(address, s).await, &Image::descriptor(b"x")).await.unwrap_err();
    assert!(matches!(e.cause, Cause::Stalled(_)), "{e}");
}

#[tokio::test]
async fn too_many_requests() {
    // Without and with a time: tried again. With one that is too long: told, at once.
    for (after, works) in [(None, true), (Some("0"), true), (Some("3600"), false)] {
        let (server, image) = registry(move |n, r, i| match (n, after) {
            (0 | 1, None) => Reply::new(429, "slow down"),
            (0 | 1, Some(after)) => Reply::new(429, "slow down").with("retry-after", after),
            _ => i.answer(r),
        })
        .await;
        match layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await {
            Ok((bytes, breaks)) => assert!(works && bytes == image.layer && breaks.len() == 2, "{after:?}"),
            Err(e) => {
                assert!(!works, "{after:?}: {e}");
                assert!(
                    e.to_string().contains("toomanyrequests: slow down: it asks to be tried again in 1h0m0s"),
                    "{e}"
                );
                assert_eq!(server.seen().len(), 1);
            }
        }
    }
}

#[tokio::test]
async fn a_servers_own_errors_are_tried_again_and_refusals_are_not() {
    for (status, failures, works, requests) in
        [(503, 3, true, 4), (500, 99, false, 5), (404, 1, false, 1), (403, 1, false, 1), (501, 1, false, 1)]
    {
        let (server, image) =
            registry(move |n, r, i| if n < failures { Reply::new(status, "") } else { i.answer(r) }).await;
        let got = layer(&repository(server.address, settings()).await, &Image::descriptor(&image.layer)).await;
        assert_eq!((got.is_ok(), server.seen().len()), (works, requests), "{status}");
        if let Err(e) = got {
            assert!(matches!(e.cause, Cause::Refused { status: s, .. } if s == status), "{e}");
        }
    }
}

#[tokio::test]
async fn a_foreign_layer_is_never_followed() {
    let (server, image) = registry(|_, r, i| i.answer(r)).await;
    let repo = repository(server.address, settings()).await;
    let mut foreign = Image::descriptor(&image.layer);
    foreign.urls = vec![format!("http://{}/elsewhere", server.address)];
    let e = Error::from(layer(&repo, &foreign).await.unwrap_err());
    assert!(e.kind() == ErrorKind::NotImplemented && e.text().contains("foreign layer"), "{e}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_mirror_that_lies_is_asked_no_more() {
    let (liar, image) = registry(|_, r, i| {
        let mut reply = i.answer(r);
        reply.body[7] ^= 1;
        reply
    })
    .await;
    let (server, _) = registry(|_, r, i| i.answer(r)).await;
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![liar.url()])]);
    let repo = repository(server.address, Settings { mirrors, ..settings() }).await;
    let descriptor = Image::descriptor(&image.layer);
    let e = layer(&repo, &descriptor).await.unwrap_err();
    assert!(matches!(e.cause, Cause::WrongDigest { .. }) && e.to_string().contains(&liar.url()), "{e}");
    assert_eq!(server.seen().len(), 0);
    assert!(layer(&repo, &descriptor).await.unwrap().0 == image.layer);
    assert_eq!(liar.seen().len(), 1);
}

#[tokio::test]
async fn a_mirror_that_breaks_off_is_continued_by_the_registry() {
    let (mirror, image) = registry(|_, r, i| i.answer(r).then(Then::Cut(4000))).await;
    let (server, _) = registry(|_, r, i| i.answer(r)).await;
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![mirror.url()])]);
    let repo = repository(server.address, Settings { mirrors, ..settings() }).await;
    assert!(layer(&repo, &Image::descriptor(&image.layer)).await.unwrap().0 == image.layer);
    assert_eq!(server.seen()[0].header("range"), format!("bytes=4000-{}", image.layer.len() - 1));
    assert_eq!(Digest::of(&image.layer), Image::descriptor(&image.layer).digest);
}
