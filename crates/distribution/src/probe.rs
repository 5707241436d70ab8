//! The way to an image step by step and endpoint by endpoint, to be looked at: with the endpoints, connections and
//! proofs of a pull, each asked once. What it means is the caller's to judge.

use crate::challenge::{Challenge, challenges};
use crate::failure::Cause;
use crate::manifest::{Fetched, Wanted};
use crate::rate::{self, RateLimit};
use crate::repository::Repository;
use crate::transport::Call;
use dhow_types::image::Descriptor;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::net::{IpAddr, SocketAddr};

/// One that a pull would ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    index: usize,
    /// The root of its API.
    pub address: String,
    /// Its host, without a port.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub https: bool,
    /// Not the registry itself.
    pub mirror: bool,
    /// The one before it without TLS: asked only if that one did not answer.
    pub plain_twin: bool,
    /// Whether it is asked what a tag stands for.
    pub resolves: bool,
    /// Whether it is asked for content.
    pub pulls: bool,
    /// Whether its certificate must hold.
    pub verifies: bool,
    /// The proxy (`host:port`) before it.
    pub proxy: Option<String>,
}

/// What it says to `GET /v2/` without a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ping {
    /// The answer's status.
    pub status: u16,
    /// The server's clock, seconds since 1970.
    pub date: Option<i64>,
    /// What it calls its API, e.g. `registry/2.0`.
    pub api: String,
    /// Which proofs it asks for, in lower case: `bearer`, `basic`.
    pub schemes: Vec<String>,
    /// The token server.
    pub realm: Option<String>,
    challenges: Vec<Challenge>,
}

/// A proof that was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Whether the user's credentials were shown.
    pub shown: bool,
    /// The token server that they were kept from.
    pub withheld: Option<String>,
}

/// A manifest as one place gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The manifest, checked.
    pub fetched: Fetched,
    /// How many pulls are left.
    pub limit: Option<RateLimit>,
}

/// A blob whose first byte came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Who gave it, after redirects, if that is not the place itself.
    pub elsewhere: Option<String>,
    /// Whether a part of it can be asked for: what breaks off goes on then.
    pub resumable: bool,
}

impl Repository {
    /// Whom a pull would ask, in that order.
    pub fn places(&self) -> Vec<Place> {
        let all = self.inner.endpoints.iter().enumerate();
        all.map(|(index, (e, transport))| {
            let origin = e.base.origin();
            Place {
                index,
                address: e.base.to_string(),
                host: origin.bare_host().to_owned(),
                port: origin.port(),
                https: origin.is_https(),
                mirror: e.mirror,
                plain_twin: e.plain_twin,
                resolves: e.resolve,
                pulls: e.pull,
                verifies: origin.is_https() && !e.tls.skip_verify,
                proxy: transport.proxy(origin).map(|p| p.address.origin().authority()),
            }
        })
        .collect()
    }

    /// The addresses of its host, or of its proxy's.
    pub async fn look_up(&self, place: &Place) -> Result<Vec<IpAddr>, String> {
        let (host, port) = self.next_hop(place);
        let found = tokio::time::timeout(self.bounds().connect, tokio::net::lookup_host((host.as_str(), port))).await;
        let found = found.map_err(|_| self.waited("no answer"))?.map_err(|e| of_system(&e))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses) }
    }

    /// Connects to the first of `addresses` that lets it.
    pub async fn dial(&self, place: &Place, addresses: &[IpAddr]) -> Result<SocketAddr, String> {
        let (_, port) = self.next_hop(place);
        let mut why = "the name has no address".to_owned();
        let tries = async {
            for ip in addresses {
                let address = SocketAddr::new(*ip, port);
                match tokio::net::TcpStream::connect(address).await {
                    Ok(_) => return Ok(address),
                    Err(e) => why = format!("{address}: {}", of_system(&e)),
                }
            }
            Err(std::mem::take(&mut why))
        };
        match tokio::time::timeout(self.bounds().connect, tries).await {
            Ok(done) => done,
            Err(_) => Err(self.waited("no connection")),
        }
    }

    /// Who is connected to first: its name and port.
    fn next_hop(&self, place: &Place) -> (String, u16) {
        let (endpoint, transport) = &self.inner.endpoints[place.index];
        let origin = match transport.proxy(endpoint.base.origin()) {
            Some(proxy) => proxy.address.origin().clone(),
            None => endpoint.base.origin().clone(),
        };
        (origin.bare_host().to_owned(), origin.port())
    }

    fn waited(&self, what: &str) -> String {
        format!("{what} for {}", dhow_types::duration::go_text(self.bounds().connect))
    }

    /// Asks `GET /v2/` without a proof. Any answer is one.
    pub async fn ping(&self, place: &Place) -> Result<Ping, Cause> {
        let (endpoint, transport) = &self.inner.endpoints[place.index];
        let root = crate::address::Address::new(
            endpoint.base.origin().clone(),
            format!("{}/", endpoint.base.path()),
            endpoint.base.query().map(str::to_owned),
        );
        let mut call = Call::get(root);
        call.bound = endpoint.header.iter().cloned().collect();
        let answer = transport.send(call).await?;
        let challenges = challenges(&answer.headers);
        let date = answer.header(DATE).and_then(|d| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(d).ok());
        let realm = challenges.iter().find(|c| c.scheme == "bearer").and_then(|c| c.param("realm"));
        let shown = |realm: &str| {
            let address = endpoint.base.join(realm);
            address.map_or_else(|_| crate::words::printable(realm), |address| address.to_string())
        };
        Ok(Ping {
            status: answer.status.as_u16(),
            date: date.map(jiff::Timestamp::as_second),
            api: crate::words::printable(answer.header("docker-distribution-api-version").unwrap_or_default()),
            schemes: challenges.iter().map(|c| c.scheme.clone()).collect(),
            realm: realm.map(shown),
            challenges,
        })
    }

    /// Gets the proof that it asked for.
    pub async fn prove(&self, place: &Place, ping: &Ping) -> Result<Proven, Cause> {
        let (proof, shown) = self.proof_for(place.index, &ping.challenges).await?;
        let withheld = proof.withheld.map(|origin| origin.to_string());
        Ok(Proven { shown: shown && withheld.is_none(), withheld })
    }

    /// A manifest of this place.
    pub async fn manifest_at(&self, place: &Place, wanted: &Wanted) -> Result<Given, Cause> {
        let answer = self.ask(place.index, wanted, Method::GET).await?;
        let limit = rate::state(&answer.headers);
        Ok(Given { fetched: Self::read(wanted, answer).await?, limit })
    }

    /// The first byte of a blob, and what is said of its size.
    pub async fn first_byte(&self, place: &Place, blob: &Descriptor) -> Result<Reached, Cause> {
        if !blob.urls.is_empty() {
            return Err(Cause::Foreign);
        }
        let address = self.address(place.index, &format!("blobs/{}", blob.digest));
        // There is no part of nothing.
        let headers = match blob.size {
            0 => HeaderMap::new(),
            _ => HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]),
        };
        let mut answer = self.call(place.index, Method::GET, address, headers).await?;
        let part = answer.status == StatusCode::PARTIAL_CONTENT;
        let size = match part {
            true => answer.header(CONTENT_RANGE).and_then(|r| r.rsplit_once('/')?.1.trim().parse().ok()),
            false => answer.header(CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok()),
        };
        if let Some(got) = size.filter(|size| *size != blob.size) {
            return Err(Cause::WrongSize { wanted: blob.size, got });
        }
        if blob.size > 0 && answer.reader.next().await?.is_none() {
            return Err(Cause::Broken(format!("it ended after 0 of {} bytes", blob.size)));
        }
        let own = self.inner.endpoints[place.index].0.base.origin();
        let elsewhere = (answer.address.origin() != own).then(|| answer.address.origin().to_string());
        Ok(Reached { elsewhere, resumable: part })
    }
}

/// The system's words without Rust's number of the error.
fn of_system(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
