//! One connection: to the host or its proxy, with TLS on it where the address says so.

use crate::address::Origin;
use crate::bounds::Bounds;
use crate::proxy::{Proxies, Proxy};
use crate::secret::Credentials;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tower_service::Service;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    http: HttpConnector,
    tls: Arc<ClientConfig>,
    proxies: Arc<Proxies>,
    connect: Duration,
    handshake: Duration,
    /// What to do if nobody known signed a certificate.
    advice: Arc<str>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Unreachable(String),
    NotTls,
    Certificate(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Certificate(why) => f.write_str(why),
            Self::NotTls => f.write_str("no TLS"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl Connector {
    pub(crate) fn new(tls: ClientConfig, advice: &str, proxies: Arc<Proxies>, bounds: &Bounds) -> Self {
        let (connect, handshake) = (bounds.connect, bounds.handshake);
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(connect));
        http.set_keepalive(Some(connect));
        Self { http, tls: Arc::new(tls), proxies, connect, handshake, advice: advice.into() }
    }

    async fn connect(mut self, uri: http::Uri) -> Result<Conn, ConnectError> {
        let origin = uri.authority().map(|a| Origin::new(uri.scheme_str() == Some("https"), a.as_str()));
        let Some(Ok(origin)) = origin else {
            return Err(ConnectError::Unreachable(format!("{uri} is no address")));
        };
        let proxy = self.proxies.of(&origin).map_err(ConnectError::Unreachable)?;
        let to = match &proxy {
            Some(proxy) => format!("proxy {}", proxy.address.origin().authority()),
            None => origin.authority(),
        };
        let way = async {
            match &proxy {
                None => self.http.call(uri).await.map_err(|e| unreachable(&to, &e)),
                Some(proxy) if origin.is_https() => {
                    tunnel(proxy, self.http, uri).await.map_err(|e| unreachable(&to, &*e))
                }
                Some(proxy) => {
                    let uri = proxy.address.uri().map_err(|e| ConnectError::Unreachable(e.into()))?;
                    self.http.call(uri).await.map_err(|e| unreachable(&to, &e))
                }
            }
        };
        // Name, connection, and the proxy's answer together.
        let tcp = tokio::time::timeout(self.connect, way).await.map_err(|_| {
            let waited = dhow_types::duration::go_text(self.connect);
            ConnectError::Unreachable(format!("dial {to}: i/o timeout: no connection after {waited}"))
        })??;
        if !origin.is_https() {
            return Ok(Conn { io: TokioIo::new(Box::new(tcp.into_inner())), proxied: proxy.is_some() });
        }
        let name = ServerName::try_from(origin.bare_host().to_owned())
            .map_err(|_| ConnectError::Certificate(format!("{} can't stand in a certificate", origin.host())))?;
        let handshake = tokio_rustls::TlsConnector::from(self.tls).connect(name, tcp.into_inner());
        match tokio::time::timeout(self.handshake, handshake).await {
            Ok(Ok(tls)) => Ok(Conn { io: TokioIo::new(Box::new(tls)), proxied: false }),
            Ok(Err(e)) => Err(of_handshake(&e, &origin, &self.advice)),
            Err(_) => Err(ConnectError::Unreachable(format!(
                "{} did not answer the TLS handshake for {}",
                origin.authority(),
                dhow_types::duration::go_text(self.handshake)
            ))),
        }
    }
}

async fn tunnel(
    proxy: &Proxy,
    http: HttpConnector,
    uri: http::Uri,
) -> Result<TokioIo<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
    let mut tunnel = Tunnel::new(proxy.address.uri()?, http);
    if let Some((user, password)) = &proxy.user
        && let Some(header) = Credentials::basic(user, password).basic_header()
    {
        tunnel = tunnel.with_auth(header);
    }
    Ok(tunnel.call(uri).await?)
}

fn unreachable(to: &str, error: &dyn std::error::Error) -> ConnectError {
    let text = crate::body::chain(error);
    // Rust's number of the error says nothing more.
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    // Go's words for both clocks, the kernel's and the client's.
    let text = if text.contains("timed out") || text.contains("deadline has elapsed") { "i/o timeout" } else { &text };
    ConnectError::Unreachable(format!("dial {to}: {text}"))
}

/// What a failed handshake means.
fn of_handshake(error: &io::Error, origin: &Origin, advice: &str) -> ConnectError {
    use rustls::{CertificateError, Error, InvalidMessage};
    let host = origin.authority();
    match error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => ConnectError::NotTls,
        Some(Error::InvalidCertificate(why)) => ConnectError::Certificate(format!(
            "tls: failed to verify certificate of {host}: {}",
            match why {
                CertificateError::UnknownIssuer => format!("it is signed by an unknown authority: {advice}"),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } =>
                    "it is not valid yet".to_owned(),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } =>
                    format!("it is not for the name {}", origin.bare_host()),
                other => format!("{other}"),
            }
        )),
        Some(e) => ConnectError::Certificate(format!("tls: {host}: {e}")),
        None => ConnectError::Unreachable(format!("tls: {host}: the connection broke in the handshake: {error}")),
    }
}

impl Service<http::Uri> for Connector {
    type Response = Conn;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Conn, ConnectError>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, uri: http::Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub(crate) struct Conn {
    io: TokioIo<Box<dyn Stream>>,
    /// Requests name the whole address then.
    proxied: bool,
}

impl Connection for Conn {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
