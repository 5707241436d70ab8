//! Proof for a registry: what was asked for last time, tokens that still hold, and which credentials go where (R6).
//!
//! Shared by all transfers of a process. Credentials themselves are never kept: a token is found by a mark of them.

use crate::address::{Address, Origin};
use crate::bounds::MAX_REMEMBERED;
use crate::challenge::Challenge;
use crate::failure::Cause;
use crate::realm;
use crate::secret::{Credentials, sensitive};
use crate::token::{self, Realm, Token};
use crate::transport::Transport;
use dhow_types::Digest;
use http::HeaderValue;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What tells one token from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    registry: Origin,
    realm: Realm,
    scopes: String,
    account: Digest,
}

/// One token; whoever holds the lock is asking for it, for a bounded time.
type Slot = Arc<tokio::sync::Mutex<Held>>;

/// What was got for a key.
#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// When it was asked for in vain last, and why.
    failed: Option<(Instant, Cause)>,
}

/// What is remembered.
#[derive(Default)]
pub(crate) struct Memory {
    challenges: Mutex<HashMap<Origin, Vec<Challenge>>>,
    tokens: Mutex<HashMap<Key, Slot>>,
}

/// The proof for one request.
pub(crate) struct Proof {
    pub header: Option<HeaderValue>,
    /// The token server that was not shown the credentials.
    pub withheld: Option<Origin>,
}

/// Whose request it is, and for what.
pub(crate) struct Asker<'a> {
    pub transport: &'a Transport,
    /// The endpoint's root.
    pub home: &'a Address,
    /// Empty for a mirror.
    pub credentials: &'a Credentials,
    pub scopes: &'a [String],
    pub realms: &'a BTreeMap<String, Vec<Origin>>,
}

impl Memory {
    /// What the origin asked for last.
    pub(crate) fn challenge(&self, origin: &Origin) -> Option<Vec<Challenge>> {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }
    /// Remembers what it asks for; only what a proof was accepted for, or one bad answer would stand in the way of all.
    pub(crate) fn remember(&self, origin: &Origin, challenges: &[Challenge]) {
        let mut all = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(origin).is_some_and(|known| known == challenges) {
            return;
        }
        if all.len() >= MAX_REMEMBERED {
            all.clear();
        }
        all.insert(origin.clone(), challenges.to_vec());
    }

    /// The origin takes a request without it, and it can't be had.
    pub(crate) fn forget(&self, origin: &Origin) {
        self.challenges.lock().unwrap_or_else(PoisonError::into_inner).remove(origin);
    }

    /// The proof that satisfies `challenges`; a token that was `refused` is not taken from memory again.
    pub(crate) async fn proof(
        &self,
        asker: &Asker<'_>,
        challenges: &[Challenge],
        refused: Option<&HeaderValue>,
    ) -> Result<Proof, Cause> {
        let open = |header| Ok(Proof { header, withheld: None });
        if !asker.credentials.registry_token.is_empty() {
            return open(sensitive(&format!("Bearer {}", asker.credentials.registry_token)));
        }
        if let Some(bearer) = challenges.iter().find(|c| c.scheme == "bearer") {
            return self.bearer(asker, bearer, refused).await;
        }
        if challenges.iter().any(|c| c.scheme == "basic") {
            return match asker.credentials.basic_header() {
                Some(header) => open(Some(header)),
                None => Err(Cause::NoCredentials),
            };
        }
        let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
        Err(Cause::Protocol(format!("it asks for an authentication that dhow does not have: {}", schemes.join(", "))))
    }

    async fn bearer(
        &self,
        asker: &Asker<'_>,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Proof, Cause> {
        let realm = Realm::of(challenge, asker.home)?;
        let trusted = realm::trusted(asker.home.origin(), realm.address.origin(), asker.realms);
        let nobody = Credentials::none();
        let credentials = if trusted { asker.credentials } else { &nobody };
        let withheld = (!trusted && !asker.credentials.is_empty()).then(|| realm.address.origin().clone());
        let key = Key {
            registry: asker.home.origin().clone(),
            realm: realm.clone(),
            scopes: asker.scopes.join(" "),
            account: credentials.mark(),
        };
        let slot = self.slot(key);
        let since = Instant::now();
        let mut held = slot.lock().await;
        if let Some(known) = held.token.as_ref().filter(|t| t.until > Instant::now() && Some(&t.header) != refused) {
            return Ok(Proof { header: Some(known.header.clone()), withheld });
        }
        // Whoever waited while another one asked in vain has its answer: nobody waits for two.
        if let Some((_, cause)) = held.failed.as_ref().filter(|(at, _)| *at > since) {
            return Err(cause.clone());
        }
        let limit = asker.transport.bounds.document;
        let fetch = token::fetch(asker.transport, &realm, asker.scopes, credentials, false);
        let fetched = tokio::time::timeout(limit, fetch).await.unwrap_or(Err(Cause::Slow(limit)));
        match fetched {
            Ok(token) => {
                let header = token.header.clone();
                *held = Held { token: Some(token), failed: None };
                Ok(Proof { header: Some(header), withheld })
            }
            Err(cause) => {
                let cause = match (cause, withheld) {
                    (Cause::Refused { status: 401 | 403, .. }, Some(elsewhere)) => Cause::RealmElsewhere(elsewhere),
                    (cause, _) => cause,
                };
                held.failed = Some((Instant::now(), cause.clone()));
                Err(cause)
            }
        }
    }

    fn slot(&self, key: Key) -> Slot {
        let mut all = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_REMEMBERED {
            let now = Instant::now();
            all.retain(|_, slot| slot.try_lock().is_ok_and(|h| h.token.as_ref().is_some_and(|t| t.until > now)));
            if all.len() >= MAX_REMEMBERED {
                all.clear();
            }
        }
        all.entry(key).or_default().clone()
    }
}
