//! A small HTTP server that does what a test tells it, down to the byte where a connection breaks. Loopback only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// As in the request line, without the query.
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// It came over TLS.
    pub encrypted: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What happens to the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// All of it is sent.
    Whole,
    /// So many bytes, then the connection is closed.
    Cut(usize),
    /// So many bytes, then silence.
    Stall(usize),
    /// The same bytes again and again, without a length.
    Endless,
    /// The same, one byte after the other, for as long as somebody listens.
    Drip,
}

/// What goes back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Said instead of the true length; `Some(None)` says none and closes at the end.
    pub length: Option<Option<u64>>,
    pub then: Then,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), length: None, then: Then::Whole }
    }
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self.headers.push((name.into(), value.into()));
        self
    }
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
    pub fn length(mut self, length: Option<u64>) -> Self {
        self.length = Some(length);
        self
    }
    pub fn to(status: u16, location: impl Into<String>) -> Self {
        Self::new(status, "").with("location", location)
    }
}

pub type Cut = dyn Fn(&Request) -> Option<usize> + Send + Sync;
pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A running server; it ends with the test's runtime.
pub struct Server {
    pub address: SocketAddr,
    https: bool,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::run(None, false, Arc::new(handler)).await
    }
    pub async fn tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::run(Some(config), false, Arc::new(handler)).await
    }
    /// TLS, and plain text on the same port.
    pub async fn both(
        config: rustls::ServerConfig,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::run(Some(config), true, Arc::new(handler)).await
    }
    /// Plain; of a request for which `cut` gives a number only so many bytes of the body are read, and when the handler
    /// has had them the connection is closed without an answer.
    pub async fn cutting(
        cut: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::cut(None, false, Arc::new(cut), Arc::new(handler)).await
    }
    async fn run(tls: Option<rustls::ServerConfig>, both: bool, handler: Arc<Handler>) -> Self {
        Self::cut(tls, both, Arc::new(|_| None), handler).await
    }
    async fn cut(tls: Option<rustls::ServerConfig>, both: bool, cut: Arc<Cut>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let https = tls.is_some();
        let acceptor = tls.map(|t| tokio_rustls::TlsAcceptor::from(Arc::new(t)));
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let record = seen.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // Head and body go out apart: the second would wait for the other side's word that the first came.
                let _ = tcp.set_nodelay(true);
                let (acceptor, handler, record) = (acceptor.clone(), handler.clone(), record.clone());
                let cut = cut.clone();
                tokio::spawn(async move {
                    /// What a TLS handshake begins with.
                    const HANDSHAKE: u8 = 0x16;
                    let mut first = [0];
                    let plain = both && (tcp.peek(&mut first).await.is_err() || first[0] != HANDSHAKE);
                    match acceptor.filter(|_| !plain) {
                        None => serve(tcp, false, &*cut, &*handler, &record).await,
                        Some(acceptor) => match acceptor.accept(tcp).await {
                            Ok(tls) => serve(tls, true, &*cut, &*handler, &record).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, https, seen }
    }
    pub fn url(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.address)
    }
    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
    /// `METHOD path` of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|r| format!("{} {}", r.method, r.path)).collect()
    }
}

async fn serve(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    encrypted: bool,
    cut: &Cut,
    handler: &Handler,
    record: &Mutex<Vec<Request>>,
) -> Option<()> {
    loop {
        let Some((request, whole)) = read(&mut io, encrypted, cut).await else {
            // As Go answers somebody who begins with TLS.
            io.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.ok()?;
            io.shutdown().await.ok()?;
            return None;
        };
        record.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        if !whole {
            return None;
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let length = if matches!(reply.then, Then::Endless | Then::Drip) {
            None
        } else {
            reply.length.unwrap_or(Some(reply.body.len() as u64))
        };
        head += &length.map_or("connection: close\r\n".to_owned(), |l| format!("content-length: {l}\r\n"));
        head += "\r\n";
        io.write_all(head.as_bytes()).await.ok()?;
        if request.method == "HEAD" {
            io.flush().await.ok()?;
            continue;
        }
        match reply.then {
            Then::Whole => io.write_all(&reply.body).await.ok()?,
            Then::Cut(n) | Then::Stall(n) => io.write_all(&reply.body[..n]).await.ok()?,
            Then::Endless => loop {
                io.write_all(&reply.body).await.ok()?;
            },
            Then::Drip => loop {
                for byte in &reply.body {
                    io.write_all(&[*byte]).await.ok()?;
                    io.flush().await.ok()?;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            },
        }
        io.flush().await.ok()?;
        match reply.then {
            Then::Stall(_) => std::future::pending().await,
            Then::Whole if length == Some(reply.body.len() as u64) => {}
            _ => {
                io.shutdown().await.ok()?;
                return None;
            }
        }
    }
}

/// A request; none if it is no HTTP, or the other side has gone.
async fn read(io: &mut (impl AsyncRead + Unpin), encrypted: bool, cut: &Cut) -> Option<(Request, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.ok()?);
        if !head[0].is_ascii_uppercase() || head.len() > 64 << 10 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let headers: HashMap<String, String> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let chunked = headers.get("transfer-encoding").is_some_and(|e| e == "chunked");
    let mut request = Request { method, path, query, headers, body: Vec::new(), encrypted };
    let most = cut(&request).unwrap_or(usize::MAX);
    if !chunked {
        request.body = vec![0; length.min(most)];
        io.read_exact(&mut request.body).await.ok()?;
        return Some((request, most > length));
    }
    while request.body.len() < most {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(io.read_u8().await.ok()?);
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        let had = request.body.len();
        request.body.resize(had + length.min(most - had), 0);
        io.read_exact(&mut request.body[had..]).await.ok()?;
        if request.body.len() == most {
            break;
        }
        let mut end = [0; 2];
        io.read_exact(&mut end).await.ok()?;
        if length == 0 {
            return Some((request, true));
        }
    }
    Some((request, false))
}
