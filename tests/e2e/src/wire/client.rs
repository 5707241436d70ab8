//! A request of the test's own into a daemon's network: for readiness, and for what no client under test says.

use super::http::{self, Head};
use super::{certs, provider};
use crate::daemon::PATIENCE;
use crate::net::Netns;
use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// What came back.
pub struct Told {
    /// First line and fields.
    pub head: Head,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether that was all.
    pub whole: bool,
}

impl Told {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status()
    }
}

/// Asks `127.0.0.1:port` in that network: `METHOD path`, these fields and this body.
pub fn ask(net: &Netns, port: u16, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Told> {
    exchange(connect(net, port)?, &format!("127.0.0.1:{port}"), line, fields, body)
}

/// The same over TLS with the tests' own authority.
pub fn ask_tls(net: &Netns, port: u16, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Told> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certs::CA.as_bytes())?)?;
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from("127.0.0.1")?)?;
    exchange(rustls::StreamOwned::new(session, connect(net, port)?), &format!("127.0.0.1:{port}"), line, fields, body)
}

fn connect(net: &Netns, port: u16) -> Result<TcpStream> {
    let stream = net.within(|| TcpStream::connect(("127.0.0.1", port)))?.with_context(|| format!("port {port}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks over a connection that is there.
pub fn exchange(
    mut io: impl Read + Write,
    host: &str,
    line: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<Told> {
    let (length, mut head) = (body.len().to_string(), Head { start: format!("{line} HTTP/1.1"), fields: vec![] });
    for (name, value) in [("host", host), ("connection", "close"), ("content-length", &length)] {
        head.set(name, Some(value));
    }
    for (name, value) in fields {
        head.set(&name.to_ascii_lowercase(), Some(value));
    }
    io.write_all(&head.bytes())?;
    io.write_all(body)?;
    io.flush()?;
    let mut io = BufReader::new(io);
    let head = Head::read(&mut io)?.context("no answer")?;
    let (body, whole) = if line.starts_with("HEAD ") { (Vec::new(), true) } else { http::body(&head, &mut io)? };
    Ok(Told { head, body, whole })
}
