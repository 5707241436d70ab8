//! One request and its answer, over redirects. What is bound to an origin never leaves it, and nothing goes on in plain
//! text that began encrypted (R6).

use crate::address::{Address, Origin};
use crate::body::{self, Out, Payload, Reader};
use crate::bounds::{Bounds, MAX_ERROR};
use crate::certs::Tls;
use crate::connect::{ConnectError, Connector};
use crate::failure::Cause;
use crate::proxy::Proxies;
use crate::{rate, retry, words};
use http::header::{HOST, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Http = Client<Connector, Out>;

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);

/// Requests to one endpoint, and to where it points.
pub(crate) struct Transport {
    home: Origin,
    own: Http,
    /// For every other origin: the same trust, but no client certificate.
    stranger: Http,
    proxies: Arc<Proxies>,
    pub(crate) bounds: Bounds,
    user_agent: HeaderValue,
    /// The endpoint itself has answered before, by whatever.
    spoke: AtomicBool,
}

/// A request.
pub(crate) struct Call {
    pub method: Method,
    pub address: Address,
    /// What everybody may see.
    pub headers: HeaderMap,
    /// What only the address's own origin may see.
    pub bound: HeaderMap,
    pub payload: Payload,
    /// How long the answer may take once all is sent, if it is not the usual time.
    pub patience: Option<Duration>,
}

impl Call {
    pub(crate) fn get(address: Address) -> Self {
        let (headers, bound) = (HeaderMap::new(), HeaderMap::new());
        Self { method: Method::GET, address, headers, bound, payload: Payload::Empty, patience: None }
    }
}

/// Its answer.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub reader: Reader,
    /// Who gave it, after redirects.
    pub address: Address,
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// What an answer that is no success says.
    pub(crate) async fn refusal(self) -> Cause {
        let retry_after = retry::asked(&self.headers, jiff::Timestamp::now().as_second());
        let status = self.status;
        let body = self.reader.beginning(MAX_ERROR).await;
        let said = words::read(status, &body);
        let words = match rate::explained(status, &self.headers) {
            Some(why) => format!("{}: {why}", said.text),
            None => said.text,
        };
        Cause::Refused { status: status.as_u16(), code: said.code, words, retry_after }
    }
}

impl Transport {
    pub(crate) fn new(
        home: Origin,
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
        system: &RootCertStore,
        proxies: &Arc<Proxies>,
        bounds: &Bounds,
        user_agent: &str,
    ) -> Result<Self, String> {
        let client = |with_client| -> Result<Http, String> {
            let config = tls.config(provider, system, with_client)?;
            let connector = Connector::new(config, &tls.advice, proxies.clone(), bounds);
            Ok(Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector))
        };
        let own = client(true)?;
        let stranger = if tls.client.is_empty() { own.clone() } else { client(false)? };
        let user_agent = HeaderValue::from_str(user_agent).map_err(|e| e.to_string())?;
        let (proxies, bounds, spoke) = (proxies.clone(), bounds.clone(), AtomicBool::new(false));
        Ok(Self { home, own, stranger, proxies, bounds, user_agent, spoke })
    }

    /// The proxy on the way to `origin`.
    pub(crate) fn proxy(&self, origin: &Origin) -> Option<crate::proxy::Proxy> {
        self.proxies.of(origin).ok().flatten()
    }

    /// Whether the endpoint has answered before.
    pub(crate) fn spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Sends `call` and follows redirects: of GET and HEAD all, of others those that keep the method (307, 308), stay
    /// with the origin, and whose body can be sent again.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Cause> {
        let Call { method, mut address, headers, bound, mut payload, patience } = call;
        let reads = method == Method::GET || method == Method::HEAD;
        let mut seen = vec![address.clone()];
        loop {
            let mut all = headers.clone();
            // Once elsewhere, what is bound stays away, also if the way leads back.
            if seen.iter().all(|a| a.origin() == seen[0].origin()) {
                all.extend(bound.clone());
            }
            let answer = self.once(method.clone(), &address, all, payload.take(), patience).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let again = matches!(answer.status.as_u16(), 307 | 308) && payload.is_there();
            if !reads && !again {
                return Err(Cause::Redirect(format!("{address} redirects a {method}, which is not followed")));
            }
            let location =
                answer.header(LOCATION).ok_or_else(|| Cause::Redirect(format!("{address} redirects to nowhere")))?;
            let next = address
                .join(location)
                .map_err(|e| Cause::Redirect(format!("{address} redirects to what is no address: {e}")))?;
            if address.origin().is_https() && !next.origin().is_https() {
                return Err(Cause::Redirect(format!(
                    "{address} redirects to {}, from https to plain http: refused",
                    next.origin()
                )));
            }
            if !reads && next.origin() != address.origin() {
                return Err(Cause::Redirect(format!(
                    "{address} redirects a {method} to {}, which is another site: not followed",
                    next.origin()
                )));
            }
            if seen.contains(&next) {
                return Err(Cause::Redirect(format!("{address} redirects in a circle")));
            }
            if seen.len() > self.bounds.redirects as usize {
                return Err(Cause::Redirect(format!("more than {} redirects", self.bounds.redirects)));
            }
            seen.push(next.clone());
            address = next;
        }
    }

    async fn once(
        &self,
        method: Method,
        address: &Address,
        mut headers: HeaderMap,
        payload: Payload,
        patience: Option<Duration>,
    ) -> Result<Answer, Cause> {
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.remove(HOST);
        if !address.origin().is_https()
            && let Ok(Some(proxy)) = self.proxies.of(address.origin())
            && let Some((user, password)) = proxy.user
            && let Some(value) = crate::secret::Credentials::basic(&user, &password).basic_header()
        {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        let uri = address.uri().map_err(|e| Cause::Protocol(e.into()))?;
        let pulse = match &payload {
            Payload::Stream(streamed) => Some(streamed.pulse()),
            _ => None,
        };
        let mut request = Request::new(payload.out());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let client = if *address.origin() == self.home { &self.own } else { &self.stranger };
        let limit = patience.unwrap_or(self.bounds.answer);
        let mut connection = capture_connection(&mut request);
        let mut response = pin!(client.request(request));
        // The way to the server has limits of its own (connect.rs): who can't be reached is told apart from who is silent.
        let response = tokio::select! {
            biased;
            response = &mut response => response,
            () = async { drop(connection.wait_for_connection_metadata().await) } => match pulse {
                Some(pulse) => pulse.watch(response, self.bounds.stall, limit).await?,
                None => tokio::time::timeout(limit, response).await.map_err(|_| Cause::Stalled(limit))?,
            }
        };
        let (parts, incoming) = response.map_err(|e| of_client(&e))?.into_parts();
        if *address.origin() == self.home {
            self.spoke.store(true, Ordering::Relaxed);
        }
        let reader = Reader::new(incoming, &self.bounds);
        Ok(Answer { status: parts.status, headers: parts.headers, reader, address: address.clone() })
    }
}

fn of_client(error: &hyper_util::client::legacy::Error) -> Cause {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<ConnectError>() {
            Some(ConnectError::Unreachable(why)) => return Cause::Unreachable(why.clone()),
            Some(ConnectError::NotTls) => return Cause::NotTls,
            Some(ConnectError::Certificate(why)) => return Cause::Certificate(why.clone()),
            None => next = cause.source(),
        }
    }
    Cause::Broken(format!("the connection broke before an answer: {}", body::chain(error)))
}
