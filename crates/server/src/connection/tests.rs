//! Whole connections over real sockets, answered by a stand-in for the API.

use super::*;
use crate::reply::Body;
use bytes::Bytes;
use dhow_types::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Client;
use std::path::PathBuf;

/// Echoes: the body of ordinary requests; after a hijack, everything that is sent.
#[derive(Default)]
struct Echo {
    /// Opened by a request that came later.
    gate: tokio::sync::Notify,
    /// Opened when the gated request came to its end.
    passed: tokio::sync::Notify,
}

impl Answer for Echo {
    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<Reply> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            let mut all = Vec::new();
            while let Some(piece) = body.piece().await {
                match piece {
                    Ok(piece) => all.extend_from_slice(&piece),
                    Err(e) => return Reply::error(&e),
                }
            }
            match path.as_str() {
                "/gated" => {
                    self.gate.notified().await;
                    self.passed.notify_one();
                    Reply::status(StatusCode::NO_CONTENT)
                }
                "/open" => {
                    self.gate.notify_one();
                    self.passed.notified().await;
                    Reply::status(StatusCode::NO_CONTENT)
                }
                "/refused" => Reply::error(&Error::not_found("No such container: x")),
                "/hijack" => Reply::Hijack(Hijack {
                    content_type: dhow_api::stdcopy::RAW,
                    take: Box::new(move |connection, sent| {
                        Box::pin(async move {
                            let stream = Client::from(connection);
                            stream.set_nonblocking(false).unwrap();
                            tokio::task::spawn_blocking(move || echo(stream, &all, &sent)).await.unwrap();
                        })
                    }),
                }),
                "/never" => Reply::body("text/plain", Body::later(std::future::pending::<Bytes>())),
                _ => Reply::body("text/plain", Body::Whole(all.into())),
            }
        })
    }

    fn hijacks(&self, method: &str, path: &str) -> bool {
        method == "POST" && matches!(path, "/hijack" | "/refused")
    }
}

/// Writes `<body>`, then what comes until the client's half closes.
fn echo(mut stream: Client, body: &[u8], sent: &[u8]) {
    stream.write_all(&[b"<", body, b">", sent].concat()).unwrap();
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(n) => stream.write_all(&bytes[..n]).unwrap(),
        }
    }
}

/// Runs `client` against a server, which is then shut down; gives what `client` gave.
fn with_server<T: Send + 'static>(client: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let listener = Listener::bind(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let (done, finished) = tokio::sync::oneshot::channel::<()>();
        let work = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                let result = client(path);
                drop(done);
                result
            }
        });
        serve(Arc::new(Echo::default()), vec![listener], async move {
            let _ = finished.await;
        })
        .await
        .unwrap();
        work.await.unwrap()
    });
    assert!(!path.exists(), "the socket's name is removed");
    result
}

/// Sends `parts` one by one, closes the sending half, and gives all that comes back.
fn talk(path: &PathBuf, parts: &[&str]) -> String {
    let mut client = Client::connect(path).unwrap();
    for part in parts {
        client.write_all(part.as_bytes()).unwrap();
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    all
}

fn read_until(client: &mut Client, end: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end.as_bytes()) {
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&all));
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn ordinary_requests_share_a_connection() {
    with_server(|path| {
        let mut client = Client::connect(path).unwrap();
        for text in ["first", "second"] {
            write!(client, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
            let head = read_until(&mut client, "\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Type: text/plain"), "{head}");
            read_until(&mut client, text);
        }
    });
}

#[test]
fn a_hijack_with_upgrade_gets_the_connection_and_what_was_sent_early() {
    with_server(|path| {
        let head =
            "POST /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n";
        let answer = talk(&path, &[head, "{}early", " late"]);
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        for line in ["Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/vnd.docker.raw-stream"] {
            assert!(head.lines().any(|l| l.eq_ignore_ascii_case(line)), "{line} is not in {head}");
        }
        assert_eq!(rest, "<{}>early late");
    });
}

#[test]
fn a_hijack_without_upgrade_gets_bare_bytes() {
    with_server(|path| {
        let head =
            "POST /hijack?stdin=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
        let want = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n<{}>early late";
        assert_eq!(talk(&path, &[head, "{}early", " late"]), want);
        // However the bytes are cut.
        let whole = format!("{head}{{}}early late");
        for cut in [1, 5, 20, head.len() - 1, head.len(), head.len() + 1] {
            assert_eq!(talk(&path, &[&whole[..cut], &whole[cut..]]), want, "cut {cut}");
        }
    });
}

#[test]
fn a_hijack_that_fails_is_an_ordinary_answer() {
    with_server(|path| {
        for upgrade in ["", "Connection: Upgrade\r\nUpgrade: tcp\r\n"] {
            let mut client = Client::connect(&path).unwrap();
            write!(client, "POST /refused HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n").unwrap();
            let answer = read_until(&mut client, "}\n");
            assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
            assert!(
                answer.ends_with("\r\n\r\n{\"message\":\"No such container: x\",\"cause\":\"not-found\"}\n"),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_hijack_without_upgrade_on_a_used_connection_gives_its_output() {
    with_server(|path| {
        let mut client = Client::connect(path).unwrap();
        client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_until(&mut client, "\r\n\r\n");
        client.write_all(b"POST /hijack HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        let head = read_until(&mut client, "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        read_until(&mut client, "<{}>");
    });
}

#[test]
fn hostile_heads_are_refused() {
    with_server(|path| {
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(MAX_HEAD + 1));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let twice = "POST /hijack HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}GET";
        for (bytes, status) in [
            ("\x16\x03\x01 tls hello\r\n\r\n", "HTTP/1.1 400 "),
            (many.as_str(), "HTTP/1.1 431 "),
            (twice, "HTTP/1.1 400 "),
            (long.as_str(), "HTTP/1.1 4"),
            // Ended before it was whole: nothing to answer.
            ("POST /hijack HTTP/1.1\r\nContent-Length: 50\r\n\r\n{", ""),
            ("", ""),
        ] {
            let mut client = Client::connect(&path).unwrap();
            // The server may close before it has read everything.
            let _ = client.write_all(bytes.as_bytes());
            let _ = client.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            let (answer, what) = (String::from_utf8_lossy(&answer), &bytes[..bytes.len().min(60)]);
            assert!(answer.starts_with(status), "{what:?}: {answer}");
            assert!(!answer.contains(" 200 "), "{what:?}: {answer}");
        }
    });
}

#[test]
fn a_request_comes_to_its_end_without_its_client() {
    with_server(|path| {
        let mut client = Client::connect(&path).unwrap();
        client.write_all(b"POST /gated HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // The server sees the end of this connection, in which an answer is due, and forgets it.
        drop(client);
        // By the time that these are answered it has: they came later, and one thread serves all.
        for _ in 0..2 {
            let mut client = Client::connect(&path).unwrap();
            client.write_all(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            read_until(&mut client, "\r\n\r\n");
        }
        let mut client = Client::connect(&path).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.write_all(b"POST /open HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 204 "));
    });
}

#[test]
fn the_shutdown_does_not_wait_for_a_client_that_waits_for_ever() {
    let mut client = with_server(|path| {
        let mut client = Client::connect(path).unwrap();
        client.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // The head comes before the body is there.
        assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
        client
    });
    // Cut off, not ended: no last chunk.
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
