//! Lists that come in pages: tags.

use crate::server::{Reply, Server, Then};
use crate::world::{repository, settings};
use dhow_distribution::{Cause, Settings};
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
