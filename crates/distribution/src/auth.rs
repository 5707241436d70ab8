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

/// What tells one token from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    registry: Origin,
    realm: Realm,
    scopes: String,
    account: Digest,
}

/// One token; whoever holds the lock is asking for it.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

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
    /// Remembers what it asks for.
    pub(crate) fn remember(&self, origin: &Origin, challenges: Vec<Challenge>) {
        let mut all = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_REMEMBERED {
            all.clear();
        }
        all.insert(origin.clone(), challenges);
    }

    /// The proof that satisfies `challenges`. `anew` takes no token from memory: the one there was refused.
    pub(crate) async fn proof(&self, asker: &Asker<'_>, challenges: &[Challenge], anew: bool) -> Result<Proof, Cause> {
        let open = |header| Ok(Proof { header, withheld: None });
        if !asker.credentials.registry_token.is_empty() {
            return open(sensitive(&format!("Bearer {}", asker.credentials.registry_token)));
        }
        if let Some(bearer) = challenges.iter().find(|c| c.scheme == "bearer") {
            return self.bearer(asker, bearer, anew).await;
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

    async fn bearer(&self, asker: &Asker<'_>, challenge: &Challenge, anew: bool) -> Result<Proof, Cause> {
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
        let mut token = slot.lock().await;
        if let Some(known) = token.as_ref().filter(|t| !anew && t.until > tokio::time::Instant::now()) {
            return Ok(Proof { header: Some(known.header.clone()), withheld });
        }
        let fetched = token::fetch(asker.transport, &realm, asker.scopes, credentials).await;
        let fetched = fetched.map_err(|cause| match (cause, &withheld) {
            (Cause::Refused { status: 401 | 403, .. }, Some(elsewhere)) => Cause::RealmElsewhere(elsewhere.clone()),
            (cause, _) => cause,
        })?;
        let header = fetched.header.clone();
        *token = Some(fetched);
        Ok(Proof { header: Some(header), withheld })
    }

    fn slot(&self, key: Key) -> Slot {
        let mut all = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_REMEMBERED {
            let now = tokio::time::Instant::now();
            all.retain(|_, slot| slot.try_lock().is_ok_and(|t| t.as_ref().is_some_and(|t| t.until > now)));
            if all.len() >= MAX_REMEMBERED {
                all.clear();
            }
        }
        all.entry(key).or_default().clone()
    }
}
