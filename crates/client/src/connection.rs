//! One connection to a daemon, kept for the next request where the body allows it.

use crate::body::{Body, Framing};
use crate::error::{Error, Result};
use crate::hijack::Hijacked;
use crate::upload::Upload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// The head of a response may not be longer.
const MAX_HEAD: usize = 64 * 1024;
/// An error document may not be longer.
const MAX_ERROR: u64 = 1024 * 1024;
/// Read at once of an answer.
const ROOM: usize = 64 * 1024;
/// Read at once of a container's output: what a flood brings at a time, with its head.
const STREAM_ROOM: usize = 128 * 1024;
/// Room made for a body before it comes; what is longer gets more as it comes.
const MAX_ROOM: usize = 4 << 20;
/// Header fields that are looked at.
const MAX_FIELDS: usize = 64;

/// Fields of a request that its caller may not set: they say what the connection is and what the body is.
const OWN_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// A client of the daemon at one socket.
pub struct Client {
    socket: PathBuf,
    prefix: String,
    /// Fields that every request has, as lines of its head.
    fields: String,
    /// Who is told of every request.
    watch: Option<fn(&str)>,
    idle: RefCell<Option<BufReader<UnixStream>>>,
}

/// A response whose status is a success; its body still streams.
pub struct Response<'a> {
    client: &'a Client,
    /// The HTTP status.
    pub status: u16,
    /// Header fields with lower-case names.
    pub headers: Vec<(String, String)>,
    keep: bool,
    /// Sends the request's body yet.
    sender: Option<JoinHandle<std::io::Result<()>>>,
    /// The body.
    pub body: Body,
}

struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Client {
    /// A client for the socket; it connects at the first request. `version` is put before each path
    /// (`1.44` → `/v1.44`); without one the daemon answers in its newest version.
    pub fn new(socket: impl Into<PathBuf>, version: Option<&str>) -> Self {
        let prefix = version.map(|v| format!("/v{}", v.trim_start_matches('v'))).unwrap_or_default();
        Self { socket: socket.into(), prefix, fields: String::new(), watch: None, idle: RefCell::new(None) }
    }

    /// Sends these header fields with every request. Fields that say what the connection or the body is stay the
    /// client's own.
    ///
    /// # Errors
    /// A name or a value that can't stand in a header.
    pub fn with_fields<'a>(
        mut self,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> std::result::Result<Self, String> {
        for (name, value) in fields {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|b| b < b' ' && b != b'\t' || b == 127)
            {
                // Its value may be a secret.
                return Err(format!("{name:?} can't be a header field, or its value can't"));
            }
            if !OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
                self.fields.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        Ok(self)
    }

    /// Tells `watch` of every request and of what came of it, a line each.
    pub fn watched(mut self, watch: Option<fn(&str)>) -> Self {
        self.watch = watch;
        self
    }

    fn told(&self, method: &str, path: &str, came: &dyn std::fmt::Display) {
        if let Some(watch) = self.watch {
            watch(&format!("{method} {}{path}: {came}", self.prefix));
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Another connection to the same daemon, for a second request while the first still streams.
    pub fn sibling(&self) -> Self {
        Self {
            socket: self.socket.clone(),
            prefix: self.prefix.clone(),
            fields: self.fields.clone(),
            watch: self.watch,
            idle: RefCell::new(None),
        }
    }

    fn connect(&self, room: usize) -> Result<BufReader<UnixStream>> {
        let stream = UnixStream::connect(&self.socket)
            .map_err(|cause| Error::NoDaemon { socket: self.socket.display().to_string(), cause })?;
        Ok(BufReader::with_capacity(room, stream))
    }

    /// Sends a request without a body.
    pub fn send(&self, method: &str, path: &str) -> Result<Response<'_>> {
        self.exchange(method, path, &[], None)
    }

    /// Sends a request without a body that has these header fields beside the usual ones.
    pub fn send_fields(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Result<Response<'_>> {
        self.exchange(method, path, fields, None)
    }

    /// Sends a JSON document.
    pub fn send_json(&self, method: &str, path: &str, document: &impl Serialize) -> Result<Response<'_>> {
        self.exchange(method, path, &[("Content-Type", "application/json")], Some(serde_json::to_vec(document)?))
    }

    /// Sends a JSON document with these header fields.
    pub fn send_json_fields(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        document: &impl Serialize,
    ) -> Result<Response<'_>> {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(fields);
        self.exchange(method, path, &all, Some(serde_json::to_vec(document)?))
    }

    /// `GET path` as a document.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send("GET", path)?.json()
    }

    /// `GET path`, a list, whose items are read by [`each`](crate::each).
    pub fn get_list(&self, path: &str) -> Result<Vec<u8>> {
        self.send("GET", path)?.bytes()
    }

    /// `POST path` with a document; the answer as a document.
    pub fn post<T: DeserializeOwned>(&self, path: &str, document: &impl Serialize) -> Result<T> {
        self.send_json("POST", path, document)?.json()
    }

    /// `POST path` without body, the answer's body thrown away.
    pub fn post_empty(&self, path: &str) -> Result<u16> {
        self.send("POST", path)?.finish()
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Response<'_>> {
        named(path)?;
        let answer = self.exchange_untold(method, path, fields, body);
        match &answer {
            Ok(response) => self.told(method, path, &response.status),
            Err(error) => self.told(method, path, error),
        }
        answer
    }

    fn exchange_untold(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Response<'_>> {
        let bytes = self.head(method, path, fields, Some(body.as_deref().unwrap_or_default()));
        // A kept connection may have been closed by the daemon meanwhile: then once more on a new one.
        if let Some(mut kept) = self.idle.take()
            && kept.get_mut().write_all(&bytes).is_ok()
        {
            match self.receive(kept, method) {
                Err(Error::Io(_)) => {}
                other => return other,
            }
        }
        let mut fresh = self.connect(ROOM)?;
        fresh.get_mut().write_all(&bytes)?;
        self.receive(fresh, method)
    }

    /// Uploads `content` as the body of a POST, on a thread of its own: the answer may begin, and even end, before all
    /// is sent. [`Response::sent`] says how that went.
    pub fn upload(&self, path: &str, content_type: &str, content: Upload) -> Result<Response<'_>> {
        let mut conn = self.connect(ROOM)?;
        let (name, value) = content.framing();
        let head = self.head("POST", path, &[("Content-Type", content_type), (name, &value)], None);
        conn.get_mut().write_all(&head)?;
        let mut to = conn.get_ref().try_clone()?;
        let stop = to.try_clone()?;
        let sender = std::thread::Builder::new().name("upload".into()).spawn(move || {
            let sent = content.send(&mut to);
            if sent.is_err() {
                // Else the daemon would wait for the rest.
                let _ = to.shutdown(std::net::Shutdown::Write);
            }
            sent
        })?;
        let answer = self.receive(conn, "POST");
        match &answer {
            Ok(response) => self.told("POST", path, &response.status),
            Err(error) => self.told("POST", path, error),
        }
        match answer {
            Ok(mut response) => {
                response.sender = Some(sender);
                Ok(response)
            }
            // That it could not be read may be why the daemon got no more.
            Err(error) => {
                let _ = stop.shutdown(std::net::Shutdown::Both);
                match sender.join() {
                    Ok(Err(read)) => Err(read.into()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Turns the connection of `POST path` into a raw two-way stream (attach, exec).
    pub fn hijack(&self, path: &str, document: Option<Vec<u8>>) -> Result<Hijacked> {
        named(path)?;
        let mut conn = self.connect(STREAM_ROOM)?;
        let fields = [("Content-Type", "application/json"), ("Connection", "Upgrade"), ("Upgrade", "tcp")];
        conn.get_mut().write_all(&self.head("POST", path, &fields, Some(document.as_deref().unwrap_or_default())))?;
        let head = read_head(&mut conn)?;
        self.told("POST", path, &head.status);
        if head.status != 101 && head.status != 200 {
            return Err(api_error(&head, conn));
        }
        let multiplexed = head.field("content-type").is_some_and(|t| t.contains("multiplexed"));
        Ok(Hijacked::new(conn, multiplexed))
    }

    fn head(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
        let mut head = format!("{method} {}{path} HTTP/1.1\r\nHost: docker\r\nUser-Agent: dhow\r\n", self.prefix);
        head.push_str(&self.fields);
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body
            && (!body.is_empty() || method == "POST")
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        bytes
    }

    fn receive(&self, mut conn: BufReader<UnixStream>, method: &str) -> Result<Response<'_>> {
        let head = read_head(&mut conn)?;
        if head.status >= 400 {
            return Err(api_error(&head, conn));
        }
        let framing = framing(&head, method);
        let keep = !head.field("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"));
        Ok(Response {
            client: self,
            status: head.status,
            keep,
            sender: None,
            body: Body { from: conn, framing },
            headers: head.headers,
        })
    }
}

impl Response<'_> {
    /// A header field by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Sends no more, and fails if the request's body could not be read: for an answer that says that it was not whole.
    pub fn reading_failed(&mut self) -> Result<()> {
        let _ = self.body.from.get_ref().shutdown(std::net::Shutdown::Both);
        self.sent()
    }

    /// Waits until the request's body is sent, or the daemon reads no more of it. An error is one of reading it.
    pub fn sent(&mut self) -> Result<()> {
        match self.sender.take().map(JoinHandle::join) {
            Some(Ok(sent)) => Ok(sent?),
            _ => Ok(()),
        }
    }

    /// The body as a JSON document.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }

    /// The whole body.
    fn bytes(mut self) -> Result<Vec<u8>> {
        let length = self.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut text = Vec::with_capacity(usize::min(length, MAX_ROOM));
        self.body.read_to_end(&mut text)?;
        self.give_back();
        Ok(text)
    }

    /// Reads the body to its end and returns the status.
    pub fn finish(mut self) -> Result<u16> {
        std::io::copy(&mut self.body, &mut std::io::sink())?;
        let status = self.status;
        self.give_back();
        Ok(status)
    }

    fn give_back(self) {
        if self.keep {
            *self.client.idle.borrow_mut() = self.body.reusable();
        }
    }
}

/// An empty name would make another path than the one that is meant.
fn named(path: &str) -> Result<()> {
    match path.strip_prefix("/containers/").and_then(|rest| rest.split(['/', '?']).next()) {
        Some("") => Err(Error::NoName),
        _ => Ok(()),
    }
}

fn framing(head: &Head, method: &str) -> Framing {
    if method == "HEAD" || head.status == 204 || head.status == 304 || head.status < 200 {
        return Framing::Length(0);
    }
    if head.field("transfer-encoding").is_some_and(|t| t.to_ascii_lowercase().contains("chunked")) {
        return Framing::Chunked { left: 0, first: true, done: false };
    }
    match head.field("content-length").and_then(|l| l.parse().ok()) {
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    }
}

fn read_head(conn: &mut BufReader<UnixStream>) -> Result<Head> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        if conn.by_ref().take(MAX_HEAD as u64).read_until(b'\n', &mut raw)? == 0 {
            return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if raw.len() > MAX_HEAD {
            return Err(Error::Protocol(format!("a response head of more than {MAX_HEAD} bytes")));
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    response.parse(&raw).map_err(|e| Error::Protocol(format!("bad response head: {e}")))?;
    let headers = response
        .headers
        .iter()
        .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
        .collect();
    Ok(Head { status: response.code.unwrap_or(0), headers })
}

fn api_error(head: &Head, conn: BufReader<UnixStream>) -> Error {
    #[derive(serde::Deserialize)]
    struct Document {
        message: String,
        #[serde(default)]
        cause: Option<String>,
    }
    let mut text = Vec::new();
    let body = Body { from: conn, framing: framing(head, "GET") };
    if let Err(e) = body.take(MAX_ERROR).read_to_end(&mut text) {
        return Error::Io(e);
    }
    let (message, cause) = match serde_json::from_slice::<Document>(&text) {
        Ok(document) => (document.message, document.cause),
        Err(_) => (String::from_utf8_lossy(&text).trim().to_owned(), None),
    };
    Error::Api { status: head.status, message, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Serves the given answers, one connection or several, and returns what was asked.
    fn daemon(answers: Vec<&'static str>) -> (tempfile::TempDir, Client, std::thread::JoinHandle<Vec<String>>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut answers = answers.into_iter().peekable();
            while answers.peek().is_some() {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                loop {
                    let (mut head, mut line) = (String::new(), String::new());
                    while reader.read_line(&mut line).unwrap_or(0) > 2 {
                        head.push_str(&line);
                        line.clear();
                    }
                    if head.is_empty() {
                        break;
                    }
                    let length =
                        head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |l| l.parse().unwrap());
                    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
                    seen.push(head.lines().next().unwrap().to_owned());
                    let Some(answer) = answers.next() else { return seen };
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                    if answer.contains("close") {
                        break;
                    }
                }
            }
            seen
        });
        (dir, Client::new(path, None), served)
    }

    #[test]
    fn bodies_by_length_by_chunk_and_until_close_on_kept_connections() {
        let (_dir, client, served) = daemon(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\"a\"",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\"b\r\n1;x=y\r\n\"\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\"c\"",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ]);
        assert_eq!(client.get::<String>("/one").unwrap(), "a");
        assert_eq!(client.get::<String>("/two").unwrap(), "b");
        assert_eq!(client.get::<String>("/three").unwrap(), "c");
        assert_eq!(client.post_empty("/four").unwrap(), 204);
        drop(client);
        assert_eq!(served.join().unwrap().len(), 4);
    }

    #[test]
    fn an_error_document_becomes_its_message() {
        let (_dir, client, served) = daemon(vec![
            "HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\nConnection: close\r\n\r\n{\"message\":\"no such\"}\n",
        ]);
        let error = client.get::<String>("/x").unwrap_err();
        assert_eq!(error.status(), Some(404));
        assert_eq!(error.to_string(), "Error response from daemon: no such");
        served.join().unwrap();
    }

    #[test]
    fn fields_of_the_caller_are_sent_but_for_those_of_the_connection() {
        let client = Client::new("/nonexistent", None)
            .with_fields([("X-Team", "a b"), ("content-length", "9"), ("User-Agent", "x")])
            .unwrap();
        let head = String::from_utf8(client.sibling().head("GET", "/x", &[], None)).unwrap();
        assert_eq!(head, "GET /x HTTP/1.1\r\nHost: docker\r\nUser-Agent: dhow\r\nX-Team: a b\r\n\r\n");
        for (name, value) in [("X", "a\r\nY: b"), ("X:", "a"), ("", "a"), ("X\n", "a")] {
            assert!(Client::new("/nonexistent", None).with_fields([(name, value)]).is_err(), "{name:?} {value:?}");
        }
    }

    #[test]
    fn a_container_has_a_name() {
        let client = Client::new("/nonexistent", None);
        for path in ["/containers//json", "/containers/?force=1", "/containers/"] {
            assert!(matches!(client.send("GET", path), Err(Error::NoName)), "{path}");
        }
        assert!(matches!(client.send("GET", "/containers/json"), Err(Error::NoDaemon { .. })));
    }

    #[test]
    fn a_missing_socket_is_told_apart() {
        let error = Client::new("/nonexistent/dhow.sock", None).get::<String>("/x").unwrap_err();
        assert!(matches!(error, Error::NoDaemon { .. }), "{error}");
    }
}
