//! The client's door: registries, and one repository of one of them with its endpoints and credentials.

use crate::address::Address;
use crate::auth::{Asker, Memory, Proof};
use crate::body::Payload;
use crate::bounds::MAX_CHALLENGES;
use crate::challenge::{Challenge, challenges};
use crate::endpoint::{self, Endpoint, endpoints, host_of};
use crate::failure::{Cause, Failure, Part};
use crate::roots;
use crate::round::Round;
use crate::secret::Credentials;
use crate::settings::{Checked, Settings, Shown};
use crate::transport::{Answer, Call, Transport};
use dhow_types::{Error, Reference};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// All registries, as the settings have them. One for a process.
#[derive(Clone)]
pub struct Registries {
    inner: Arc<Shared>,
}

struct Shared {
    settings: Checked,
    proxies: Arc<crate::proxy::Proxies>,
    provider: Arc<CryptoProvider>,
    /// Read when TLS is first needed: an idle process has none.
    system: OnceLock<RootCertStore>,
    memory: Memory,
}

/// What will be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actions {
    /// Read.
    Pull,
    /// Read and write: mirrors are left out then.
    PullPush,
}

/// One repository. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Repository {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    registries: Registries,
    name: Reference,
    credentials: Credentials,
    scopes: Vec<String>,
    /// Headers for the registry alone.
    meta: HeaderMap,
    pub(crate) endpoints: Vec<(Endpoint, Transport)>,
    /// The endpoint that answered last: asked first for what comes next.
    good: AtomicUsize,
    /// Endpoints that gave wrong bytes.
    distrusted: Mutex<BTreeSet<usize>>,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registries")
    }
}

impl Registries {
    /// Checks the settings. `provider` does the cryptography; the binary chooses it.
    pub fn new(settings: Settings, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let settings = settings.check().map_err(Error::invalid)?;
        let proxies = Arc::new(settings.proxies.clone());
        let inner = Shared { settings, proxies, provider, system: OnceLock::new(), memory: Memory::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How often something that might pass is tried.
    pub fn attempts(&self) -> u32 {
        self.inner.settings.bounds.attempts
    }
    /// The settings as people may see them.
    pub fn shown(&self) -> Shown {
        self.inner.settings.shown()
    }

    /// The repository of `name`. Certificates and `hosts.toml` are read now, so that a change counts at once.
    pub async fn repository(
        &self,
        name: &Reference,
        credentials: Credentials,
        actions: Actions,
    ) -> Result<Repository, Box<Failure>> {
        self.open(name, credentials, actions, false).await
    }

    /// The same where whoever asks trusts the registry without TLS, whatever the settings say of it.
    pub async fn insecure_repository(
        &self,
        name: &Reference,
        credentials: Credentials,
        actions: Actions,
    ) -> Result<Repository, Box<Failure>> {
        self.open(name, credentials, actions, true).await
    }

    async fn open(
        &self,
        name: &Reference,
        credentials: Credentials,
        actions: Actions,
        trusted: bool,
    ) -> Result<Repository, Box<Failure>> {
        let wrong = |why: String| {
            Box::new(Failure {
                registry: name.domain().to_owned(),
                repository: name.familiar_name(),
                part: Part::Manifest(name.familiar()),
                endpoint: name.domain().to_owned(),
                cause: Cause::Settings(why),
                others: Vec::new(),
            })
        };
        let list = self.endpoints(name.domain(), trusted).await.map_err(wrong)?;
        let mut ready = Vec::with_capacity(list.len());
        let list = if actions == Actions::Pull { list } else { endpoint::to_push(list) };
        for endpoint in list {
            let transport = self.transport(&endpoint).map_err(wrong)?;
            ready.push((endpoint, transport));
        }
        let words = if actions == Actions::Pull { "pull" } else { "pull,push" };
        Ok(Repository {
            inner: Arc::new(Inner {
                registries: self.clone(),
                scopes: vec![format!("repository:{}:{words}", name.path())],
                name: name.clone(),
                credentials,
                meta: HeaderMap::new(),
                endpoints: ready,
                good: AtomicUsize::new(0),
                distrusted: Mutex::default(),
            }),
        })
    }
}

impl Registries {
    /// Who answers for a registry; `trusted` without TLS, whatever the settings say.
    pub(crate) async fn endpoints(&self, registry: &str, trusted: bool) -> Result<Vec<Endpoint>, String> {
        let settings = &self.inner.settings;
        let mut hosts = vec![host_of(registry).to_owned()];
        hosts.extend(settings.mirrors.get(registry).into_iter().flatten().map(|m| m.origin().authority()));
        let mut weak = BTreeSet::new();
        for host in hosts {
            if settings.insecure.names(&host)
                || settings.insecure.covers(&addresses(&host, settings.bounds.connect).await)
            {
                weak.insert(host);
            }
        }
        if trusted {
            weak.insert(host_of(registry).to_owned());
        }
        // Docker Hub itself never is, whatever its name resolves to.
        weak.remove(host_of("docker.io"));
        endpoints(registry, settings, &|host| weak.contains(host))
    }
    /// Connections to an endpoint.
    pub(crate) fn transport(&self, endpoint: &Endpoint) -> Result<Transport, String> {
        let Shared { settings, proxies, provider, system, .. } = &*self.inner;
        let system = system.get_or_init(|| roots::system(&settings.roots));
        let home = endpoint.base.origin().clone();
        Transport::new(home, &endpoint.tls, provider, system, proxies, &settings.bounds, &settings.user_agent)
    }
    /// Token servers on other sites that may be shown a password.
    pub(crate) fn realms(&self) -> &std::collections::BTreeMap<String, Vec<crate::address::Origin>> {
        &self.inner.settings.realms
    }
}

/// The addresses of `host[:port]`; none if nobody knows it in time.
async fn addresses(authority: &str, within: Duration) -> Vec<IpAddr> {
    let Ok(origin) = crate::address::Origin::new(true, authority) else { return Vec::new() };
    if let Ok(ip) = origin.bare_host().parse() {
        return vec![ip];
    }
    match tokio::time::timeout(within, tokio::net::lookup_host((origin.bare_host(), origin.port()))).await {
        Ok(Ok(found)) => found.map(|a| a.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

impl Repository {
    /// The same repository, with headers (`X-Meta-…`) that the registry's own endpoints get with every request.
    pub fn with_meta(mut self, headers: impl IntoIterator<Item = (String, String)>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            for (name, value) in headers {
                let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
                if let (Ok(name), Ok(value)) = parsed
                    && name.as_str().starts_with("x-meta-")
                {
                    inner.meta.append(name, value);
                }
            }
        }
        self
    }
    /// Its name, as it was given.
    pub fn name(&self) -> &Reference {
        &self.inner.name
    }
    /// The roots of the endpoints, in the order in which they are asked.
    pub fn endpoints(&self) -> Vec<String> {
        self.inner.endpoints.iter().map(|(e, _)| e.base.to_string()).collect()
    }

    /// An address below an endpoint's root, in this repository.
    pub(crate) fn address(&self, endpoint: usize, rest: &str) -> Address {
        let base = &self.inner.endpoints[endpoint].0.base;
        Address::new(base.origin().clone(), format!("{}/{}/{rest}", base.path(), self.inner.name.path()), None)
    }

    /// The endpoints for one thing: the one that answered last first, without those that gave wrong bytes.
    pub(crate) fn round(&self, usable: impl Fn(&Endpoint) -> bool, patient: bool) -> Round {
        let distrusted = self.inner.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        let good = self.inner.good.load(Ordering::Relaxed);
        let all = self.inner.endpoints.iter().enumerate();
        // Who ever spoke TLS is not asked in plain text, least of all when its bytes were wrong.
        let spoke = |i: usize| i.checked_sub(1).is_some_and(|b| self.inner.endpoints[b].1.spoke());
        let fit: Vec<_> = all
            .filter(|(i, (e, _))| usable(e) && !distrusted.contains(i) && !(e.plain_twin && spoke(*i)))
            .map(|(i, (e, _))| (i, e.plain_twin))
            .collect();
        // A twin that answered has shown that there is no TLS; elsewhere the order keeps twins behind their like.
        let first = fit.iter().position(|(i, _)| *i == good).unwrap_or(0);
        let (before, from) = fit.split_at(first);
        let before = before.iter().filter(|(i, _)| !from.first().is_some_and(|(g, twin)| *twin && *i + 1 == *g));
        Round::new(from.iter().chain(before).copied(), patient)
    }
    pub(crate) fn answered(&self, endpoint: usize) {
        self.inner.good.store(endpoint, Ordering::Relaxed);
    }
    /// Its bytes were wrong: others are asked from now on, as long as there are any.
    pub(crate) fn distrust(&self, endpoint: usize) {
        self.inner.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint);
    }

    /// The failure that a round ended with.
    pub(crate) fn failure(&self, part: Part, round: &Round) -> Box<Failure> {
        let mut causes = round.causes();
        // What the registry itself says is the cause; of its two ways the one that answered.
        let own = |(i, _): &(usize, Cause)| !self.inner.endpoints[*i].0.mirror;
        let at = causes
            .iter()
            .rposition(|c| own(c) && c.1.is_answer())
            .or_else(|| causes.iter().position(|c| own(c) && c.1 != Cause::NotTls))
            .or_else(|| causes.len().checked_sub(1));
        let none = (0, Cause::Settings("no endpoint is left that could be asked".into()));
        let (endpoint, cause) = at.map_or(none, |at| causes.remove(at));
        let mut failure = self.failed(part, endpoint, cause);
        failure.others = causes.into_iter().map(|(i, cause)| (self.shown(i), cause)).collect();
        failure
    }
    /// A failure at one endpoint.
    pub(crate) fn failed(&self, part: Part, endpoint: usize, cause: Cause) -> Box<Failure> {
        Box::new(Failure {
            registry: self.inner.name.domain().to_owned(),
            repository: self.inner.name.familiar_name(),
            part,
            endpoint: self.shown(endpoint),
            cause,
            others: Vec::new(),
        })
    }
    fn shown(&self, endpoint: usize) -> String {
        let endpoint = self.inner.endpoints.get(endpoint);
        endpoint.map_or_else(|| self.inner.name.domain().to_owned(), |(e, _)| e.base.origin().to_string())
    }
    pub(crate) fn bounds(&self) -> &crate::bounds::Bounds {
        &self.inner.registries.inner.settings.bounds
    }

    /// The proof that an endpoint asks for by `challenges`, and whether the credentials are for it.
    pub(crate) async fn proof_for(&self, endpoint: usize, challenges: &[Challenge]) -> Result<(Proof, bool), Cause> {
        let (at, transport) = &self.inner.endpoints[endpoint];
        let shared = &self.inner.registries.inner;
        let nobody = Credentials::none();
        let credentials = if at.mirror { &nobody } else { &self.inner.credentials };
        let (scopes, realms) = (&self.inner.scopes[..], &shared.settings.realms);
        let asker = Asker { transport, home: &at.base, credentials, scopes, realms };
        let proof = shared.memory.proof(&asker, challenges, None).await?;
        Ok((proof, !credentials.is_empty()))
    }

    /// A request without a body to an endpoint, with whatever proof it asks for. Only a success is an answer.
    pub(crate) async fn call(
        &self,
        endpoint: usize,
        method: Method,
        address: Address,
        headers: HeaderMap,
    ) -> Result<Answer, Cause> {
        self.ask_for(Ask { headers, ..Ask::new(endpoint, method, address) }).await
    }

    /// A request with whatever proof it asks for; to an address of another origin none is given. Only a success is an
    /// answer. After a stream was refused for want of a proof, the next request has it.
    pub(crate) async fn ask_for(&self, ask: Ask) -> Result<Answer, Cause> {
        let Ask { endpoint, method, address, headers, mut payload, patience, scope } = ask;
        let (at, transport) = &self.inner.endpoints[endpoint];
        let shared = &self.inner.registries.inner;
        let nobody = Credentials::none();
        let scopes: Vec<String> = self.inner.scopes.iter().cloned().chain(scope).collect();
        let asker = Asker {
            transport,
            home: &at.base,
            credentials: if at.mirror { &nobody } else { &self.inner.credentials },
            scopes: &scopes,
            realms: &shared.settings.realms,
        };
        let origin = at.base.origin();
        let is_home = address.origin() == origin;
        // What it asked for last, and it took the proof: a guess, which must not stand in anybody's way.
        let mut asked = shared.memory.challenge(origin).filter(|_| is_home);
        let mut guessed: Option<(Vec<Challenge>, Cause)> = None;
        let mut sent: Option<HeaderValue> = None;
        for round in 0..=MAX_CHALLENGES {
            let mut bound = HeaderMap::new();
            if is_home {
                bound.extend(at.header.iter().cloned().collect::<HeaderMap>());
                if !at.mirror {
                    bound.extend(self.inner.meta.clone());
                }
            }
            let mut withheld = None;
            if let Some(wants) = &asked {
                match shared.memory.proof(&asker, wants, sent.as_ref()).await {
                    Ok(proof) => {
                        // The same words again would get the same answer.
                        let stale = round > 0 && proof.header.is_some() && proof.header == sent;
                        withheld = proof.withheld;
                        if !stale && let Some(header) = proof.header {
                            sent = Some(header.clone());
                            bound.insert(AUTHORIZATION, header);
                        }
                    }
                    Err(cause) if round == 0 => guessed = asked.take().map(|wants| (wants, cause)),
                    Err(cause) => return Err(cause),
                }
            }
            let call = Call {
                method: method.clone(),
                address: address.clone(),
                headers: headers.clone(),
                bound,
                payload: payload.take(),
                patience,
            };
            let answer = transport.send(call).await?;
            let status = answer.status.as_u16();
            if (answer.status.is_success() || status == 404)
                && sent.is_some()
                && let Some(wants) = &asked
            {
                shared.memory.remember(origin, wants);
            }
            if answer.status.is_success() {
                if guessed.is_some() {
                    shared.memory.forget(origin);
                }
                return Ok(answer);
            }
            let at_home = is_home && answer.address.origin() == origin;
            let wants = challenges(&answer.headers);
            if status == 401 && at_home && !wants.is_empty() && round < MAX_CHALLENGES {
                // It does want what could not be had: that was answered already.
                if let Some((_, cause)) = guessed.take().filter(|(guess, _)| *guess == wants) {
                    return Err(cause);
                }
                let basic_again = sent.is_some() && wants.iter().all(|c| c.scheme == "basic");
                if !basic_again {
                    asked = Some(wants);
                    if payload.is_there() {
                        continue;
                    }
                }
            }
            let cause = answer.refusal().await;
            return Err(match withheld.filter(|_| at_home && matches!(status, 401 | 403)) {
                Some(elsewhere) => Cause::RealmElsewhere(elsewhere),
                None => cause,
            });
        }
        Err(Cause::Protocol("it asks for a proof again and again".into()))
    }
}

/// A request to an endpoint.
pub(crate) struct Ask {
    pub endpoint: usize,
    pub method: Method,
    pub address: Address,
    pub headers: HeaderMap,
    pub payload: Payload,
    /// How long the answer may take once all is sent, if it is not the usual time.
    pub patience: Option<Duration>,
    /// What must be allowed beside what the repository was opened for.
    pub scope: Option<String>,
}

impl Ask {
    /// One without a body.
    pub(crate) fn new(endpoint: usize, method: Method, address: Address) -> Self {
        let (headers, payload) = (HeaderMap::new(), Payload::Empty);
        Self { endpoint, method, address, headers, payload, patience: None, scope: None }
    }
}
