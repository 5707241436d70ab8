//! A server inside a daemon's network that does what a test tells it, and remembers what it was asked.

use super::answer::{Act, Reply, Request, Then};
use super::http::{self, Framing, Head};
use super::weather::{Exposed, Weather};
use super::{port, provider};
use crate::net::Netns;
use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bodies up to here are read before the handler is asked.
const SMALL: u64 = 1 << 20;
/// Nobody waits longer for a server that stalls.
const SILENCE: Duration = Duration::from_secs(600);

/// A request, and what became of it so far.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What came.
    pub request: Request,
    /// The status that was said; 0 while none was.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
    /// Whether the whole answer was sent.
    pub whole: bool,
}

/// All since a test last forgot them.
#[derive(Default)]
struct Entries {
    /// How many were forgotten.
    gone: usize,
    list: Vec<Entry>,
}

type Handler = dyn Fn(&Request) -> Act + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    /// Where [`Act::Forward`] goes.
    behind: Option<u16>,
    tls: Option<Arc<rustls::ServerConfig>>,
    entries: Mutex<Entries>,
    weather: Weather,
    connections: Mutex<HashMap<usize, TcpStream>>,
}

/// A running server; it ends when this is dropped.
pub struct Server {
    port: u16,
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Server {
    /// One on a port of its own, at each address there is, that asks `handler` about each request.
    pub fn start(net: &Netns, handler: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Result<Self> {
        Self::run(net, None, None, Box::new(handler))
    }

    /// The same with TLS, and with one of [`super::certs`].
    pub fn tls(
        net: &Netns,
        cert: (&str, &str),
        handler: impl Fn(&Request) -> Act + Send + Sync + 'static,
    ) -> Result<Self> {
        let chain = vec![CertificateDer::from_pem_slice(cert.0.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(cert.1.as_bytes())?;
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Self::run(net, Some(Arc::new(config)), None, Box::new(handler))
    }

    /// A proxy before the plain registry on that port.
    pub fn before(net: &Netns, behind: u16, handler: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Result<Self> {
        Self::run(net, None, Some(behind), Box::new(handler))
    }

    fn run(
        net: &Netns,
        tls: Option<Arc<rustls::ServerConfig>>,
        behind: Option<u16>,
        handler: Box<Handler>,
    ) -> Result<Self> {
        let port = port();
        let listener = net.within(|| TcpListener::bind(("0.0.0.0", port)))?.with_context(|| format!("port {port}"))?;
        let shared = Arc::new(Shared {
            handler,
            behind,
            tls,
            entries: Mutex::default(),
            weather: Weather::default(),
            connections: Mutex::default(),
        });
        let (ours, accepting) = (shared.clone(), listener.try_clone()?);
        // Its threads are inside of the namespace, as it is.
        net.within(move || {
            std::thread::spawn(move || {
                for (number, stream) in accepting.incoming().map_while(Result::ok).enumerate() {
                    let shared = ours.clone();
                    std::thread::spawn(move || shared.connection(number, stream));
                }
            });
        })?;
        Ok(Self { port, listener, shared })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.shared.tls.is_some() { "https" } else { "http" }, self.host())
    }

    /// All requests so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.shared.entries.lock().unwrap().list.clone()
    }

    /// `METHOD path` of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.entries().iter().map(|e| e.request.line()).collect()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut entries = self.shared.entries.lock().unwrap();
        entries.gone += entries.list.len();
        entries.list.clear();
    }

    /// Breaks a connection whenever so many further bytes were sent to clients; after the last time lets nobody in, if
    /// wished, until [`Self::heal`].
    pub fn breaks(&self, after: &[u64], then_deaf: bool) {
        self.shared.weather.breaks(after, then_deaf);
    }

    /// Ends all connections and lets nobody in, until [`Self::heal`].
    pub fn deafen(&self) {
        self.shared.weather.deaf(true);
        self.shared.hang_up();
    }

    /// No more breaks, and everybody is let in.
    pub fn heal(&self) {
        self.shared.weather.breaks(&[], false);
        self.shared.weather.deaf(false);
    }

    /// Whether nobody is let in.
    pub fn is_deaf(&self) -> bool {
        self.shared.weather.is_deaf()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A listener that is shut down accepts nothing more: its thread ends.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.shared.weather.deaf(true);
        self.shared.hang_up();
    }
}

impl Shared {
    fn hang_up(&self) {
        for stream in self.connections.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn connection(&self, number: usize, stream: TcpStream) {
        let served = (|| -> Result<()> {
            let _ = stream.set_nodelay(true);
            stream.set_read_timeout(Some(SILENCE))?;
            self.connections.lock().unwrap().insert(number, stream.try_clone()?);
            if self.weather.is_deaf() {
                return Ok(());
            }
            match &self.tls {
                None => self.serve(BufReader::new(stream.try_clone()?)),
                Some(config) => {
                    let session = rustls::ServerConnection::new(config.clone())?;
                    self.serve(BufReader::new(rustls::StreamOwned::new(session, stream.try_clone()?)))
                }
            }
        })();
        // What a client does not like, and what is broken on purpose, ends here; the client under test says what it saw.
        drop(served);
        let _ = stream.shutdown(Shutdown::Both);
        self.connections.lock().unwrap().remove(&number);
    }

    fn serve<T: Read + Write>(&self, mut io: BufReader<T>) -> Result<()> {
        if io.fill_buf()?.first().is_some_and(|b| !b.is_ascii_uppercase()) {
            // As Go answers somebody who begins with TLS.
            io.get_mut().write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")?;
            return Ok(());
        }
        while let Some(head) = Head::read(&mut io)? {
            let mut words = head.start.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut request = Request {
                method: method.to_owned(),
                path: path.to_owned(),
                query: query.to_owned(),
                body: Vec::new(),
                head: head.clone(),
            };
            let framing = head.framing();
            let read = matches!(framing, Framing::Length(length) if length <= SMALL);
            if read {
                http::pass(framing, &mut io, &mut request.body)?;
            }
            let number = {
                let mut entries = self.entries.lock().unwrap();
                entries.list.push(Entry { request: request.clone(), ..Entry::default() });
                entries.gone + entries.list.len() - 1
            };
            match (self.handler)(&request) {
                Act::Close => return Ok(()),
                Act::Answer(reply) => {
                    if !read {
                        http::pass(framing, &mut io, &mut std::io::sink())?;
                    }
                    self.answer(&mut io, &request, &reply, number)?;
                }
                act => self.forward(&mut io, &request, read, &act, number)?,
            }
        }
        Ok(())
    }

    fn note(&self, number: usize, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries.lock().unwrap();
        if let Some(place) = number.checked_sub(entries.gone) {
            change(&mut entries.list[place]);
        }
    }

    fn answer<T: Read + Write>(
        &self,
        io: &mut BufReader<T>,
        request: &Request,
        reply: &Reply,
        number: usize,
    ) -> Result<()> {
        let (head, length) = reply.head();
        let mut out = Exposed(io.get_mut(), &self.weather);
        self.note(number, |e| e.status = reply.status);
        out.write_all(&head)?;
        if request.method == "HEAD" {
            self.note(number, |e| e.whole = true);
            return Ok(());
        }
        let mut send = |bytes: &[u8]| -> Result<()> {
            out.write_all(bytes)?;
            self.note(number, |e| e.sent += bytes.len() as u64);
            Ok(())
        };
        match reply.then {
            Then::Whole => send(&reply.body)?,
            Then::Cut(n) | Then::Stall(n) => send(&reply.body[..n.min(reply.body.len())])?,
            Then::Drip(n, pause) => {
                for piece in reply.body.chunks(n.max(1)) {
                    send(piece)?;
                    // the slowness that this server is for
                    std::thread::sleep(pause);
                }
            }
            Then::Endless => loop {
                send(&reply.body)?;
            },
        }
        match reply.then {
            Then::Stall(_) => silence(io),
            Then::Whole | Then::Drip(..) if length == Some(reply.body.len() as u64) => {
                self.note(number, |e| e.whole = true);
                Ok(())
            }
            _ => bail!("the connection ends with this answer"),
        }
    }

    /// Each request has a connection of its own to the registry behind, so that its answer ends where that ends.
    fn forward<T: Read + Write>(
        &self,
        io: &mut BufReader<T>,
        request: &Request,
        read: bool,
        act: &Act,
        number: usize,
    ) -> Result<()> {
        let behind = self.behind.context("there is no registry behind this server")?;
        let mut upstream = TcpStream::connect(("127.0.0.1", behind))?;
        upstream.set_read_timeout(Some(SILENCE))?;
        let mut head = request.head.clone();
        head.set("connection", Some("close"));
        upstream.write_all(&head.bytes())?;
        let limit = match act {
            Act::CutRequest(n) | Act::StallRequest(n) => *n,
            _ => u64::MAX,
        };
        let mut limited = Limited { to: &mut upstream, left: limit };
        let passed = if read {
            limited.write_all(&request.body).map_err(Into::into)
        } else {
            http::pass(head.framing(), io, &mut limited)
        };
        if passed.is_err() && limited.left == 0 && matches!(act, Act::StallRequest(_)) {
            return silence(io);
        }
        passed?;
        let mut upstream = BufReader::new(upstream);
        let mut told = Head::read(&mut upstream)?.context("the registry said nothing")?;
        if matches!(act, Act::LoseAnswer) {
            bail!("lost on purpose");
        }
        told.set("connection", None);
        self.note(number, |e| e.status = told.status());
        let mut out = Exposed(io.get_mut(), &self.weather);
        out.write_all(&told.bytes())?;
        let mut left = match act {
            Act::CutAnswer(n) | Act::StallAnswer(n) => *n,
            _ => u64::MAX,
        };
        let mut piece = vec![0; 64 << 10];
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = upstream.read(&mut piece[..most])?;
            if n == 0 {
                self.note(number, |e| e.whole = true);
                return Ok(());
            }
            out.write_all(&piece[..n])?;
            self.note(number, |e| e.sent += n as u64);
            left -= n as u64;
        }
        match act {
            Act::StallAnswer(_) => silence(io),
            _ => bail!("cut on purpose"),
        }
    }
}

/// Says nothing more until the client, or the test, has had enough.
fn silence<T: Read>(io: &mut BufReader<T>) -> Result<()> {
    let _ = std::io::copy(io, &mut std::io::sink());
    bail!("the client has gone")
}

/// Lets so many bytes through, then refuses.
struct Limited<'a> {
    to: &'a mut TcpStream,
    left: u64,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if n == 0 && !bytes.is_empty() {
            return Err(std::io::Error::other("cut on purpose"));
        }
        let n = self.to.write(&bytes[..n])?;
        self.left -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
