//! Lists that come in pages: tags and referrers.

use crate::server::{Reply, Server, Then};
use crate::world::{repository, settings};
use dhow_distribution::{Cause, Settings, fallback_tag};
use dhow_types::Digest;
use dhow_types::image::media_type;
use std::collections::BTreeMap;

/// A page of tags, and the next one's address.
fn page(tags: &[&str], next: &str) -> Reply {
    let list = serde_json::json!({ "name": "test/image", "tags": tags });
    let reply = Reply::new(200, list.to_string());
    if next.is_empty() { reply } else { reply.with("link", format!("<{next}>; rel=\"next\"")) }
}

#[tokio::test]
async fn all_pages_of_tags() {
    let server = Server::start(|r| match r.query.as_str() {
        "" => page(&["1", "2"], "/v2/test/image/tags/list?last=2"),
        "last=2" => page(&["3"], "?last=3"),
        _ => page(&["latest"], ""),
    })
    .await;
    assert_eq!(repository(server.address, settings()).await.tags().await.unwrap(), ["1", "2", "3", "latest"]);
    assert_eq!(server.lines(), ["GET /v2/test/image/tags/list"; 3]);
    let none = Server::start(|_| Reply::new(200, r#"{"name":"test/image","tags":null}"#)).await;
    assert!(repository(none.address, settings()).await.tags().await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_that_are_none_or_have_no_end() {
    let elsewhere = Server::start(|_| page(&["stolen"], "")).await;
    let other = elsewhere.url();
    let answers: [(Box<crate::server::Handler>, &str); 6] = [
        (Box::new(move |_| page(&["1"], &format!("{other}/v2/test/image/tags/list"))), "not followed"),
        (Box::new(|_| page(&["1"], "/v2/test/image/tags/list")), "the same page"),
        (Box::new(|r| page(&["1"], if r.query == "a" { "?b" } else { "?a" })), "more than 1000 pages"),
        (Box::new(|_| page(&["1", "../../x"], "")), "which is no tag"),
        (Box::new(|_| Reply::new(200, "<html>")), "can't be read"),
        (Box::new(|_| Reply::new(200, vec![b' '; 1 << 20]).then(Then::Endless)), "larger than the limit"),
    ];
    for (handler, words) in answers {
        let server = Server::start(move |r| handler(r)).await;
        let e = repository(server.address, settings()).await.tags().await.unwrap_err();
        let text = e.to_string();
        assert!(text.contains(words), "{words}: {text}");
        assert!(text.starts_with(&format!("list of tags of {}/test/image", server.address)), "{text}");
    }
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn another_endpoint_has_the_whole_list() {
    let server = Server::start(|_| page(&["whole"], "")).await;
    let half = Server::start(|r| if r.query.is_empty() { page(&["half"], "?x=1") } else { Reply::new(404, "") }).await;
    let mirrors = BTreeMap::from([(server.address.to_string(), vec![half.url()])]);
    let repo = repository(server.address, Settings { mirrors, ..settings() }).await;
    assert_eq!(repo.tags().await.unwrap(), ["whole"]);
    let unknown =
        Server::start(|_| Reply::new(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not known"}]}"#)).await;
    let e = repository(unknown.address, settings()).await.tags().await.unwrap_err();
    assert!(matches!(e.cause, Cause::Refused { status: 404, .. }), "{e}");
    assert!(e.to_string().starts_with(&format!("repository {}/test/image not found", unknown.address)), "{e}");
}

/// An index that lists referrers: what each is, and whose digest it has.
fn index(list: &[(&str, &str)]) -> Reply {
    let manifests: Vec<_> = list
        .iter()
        .map(|(kind, of)| {
            serde_json::json!({
                "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(of.as_bytes()).to_string(), "size": 7,
                "artifactType": kind, "annotations": {"for": of},
            })
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests});
    Reply::new(200, index.to_string()).with("content-type", media_type::OCI_INDEX)
}

#[tokio::test]
async fn referrers_of_a_registry_that_lists_them() {
    let subject = Digest::of(b"subject");
    let path = format!("/v2/test/image/referrers/{subject}");
    let server = Server::start(move |r| match (r.path == path, r.query.contains("page")) {
        (true, false) => index(&[("sbom", "1"), ("signature", "2")]).with("link", "<?page=2>; rel=\"next\""),
        (true, true) => index(&[("sbom", "3")]),
        _ => Reply::new(500, ""),
    })
    .await;
    let repo = repository(server.address, settings()).await;
    let all = repo.referrers(&subject, None).await.unwrap();
    let told: Vec<_> =
        all.iter().map(|r| (r.artifact_type.as_str(), r.descriptor.annotations["for"].as_str())).collect();
    assert_eq!(told, [("sbom", "1"), ("signature", "2"), ("sbom", "3")]);
    assert_eq!((all[0].descriptor.digest, all[0].descriptor.size), (Digest::of(b"1"), 7));
    // It need not filter.
    let some = repo.referrers(&subject, Some("signature")).await.unwrap();
    assert_eq!(some.len(), 1);
    assert!(server.seen().iter().any(|r| r.query == "artifactType=signature"));
}

#[tokio::test]
async fn referrers_by_a_tag_where_a_registry_does_not_list_them() {
    let subject = Digest::of(b"subject");
    let tag = format!("/v2/test/image/manifests/{}", fallback_tag(&subject));
    for first in [404, 405, 400, 501, 200] {
        let tag = tag.clone();
        let server = Server::start(move |r| match r.path.contains("/referrers/") {
            true => Reply::new(first, "<html>").with("content-type", "text/html"),
            false if r.path == tag => index(&[("sbom", "1")]),
            false => Reply::new(404, ""),
        })
        .await;
        let repo = repository(server.address, settings()).await;
        assert_eq!(repo.referrers(&subject, None).await.unwrap().len(), 1, "{first}");
        assert!(repo.referrers(&Digest::of(b"other"), None).await.unwrap().is_empty(), "{first}");
    }
    let server = Server::start(|_| Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#)).await;
    let e = repository(server.address, settings()).await.referrers(&subject, None).await.unwrap_err();
    assert!(e.to_string().starts_with(&format!("list of referrers to {}", subject.short())), "{e}");
    let broken = Server::start(|_| Reply::new(200, "[]").with("content-type", media_type::OCI_INDEX)).await;
    let e = repository(broken.address, settings()).await.referrers(&subject, None).await.unwrap_err();
    assert!(e.to_string().contains("can't be read"), "{e}");
}
