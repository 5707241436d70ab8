//! Search: what a registry's index knows about a word. Rule and words: Docker's daemon, which asks the old `/v1/search`.

use crate::address::Address;
use crate::bounds::MAX_SEARCH;
use crate::challenge::challenges;
use crate::endpoint::Endpoint;
use crate::failure::Cause;
use crate::repository::Registries;
use crate::secret::Credentials;
use crate::token::{self, Realm};
use crate::transport::{Answer, Call, Transport};
use crate::{address::Origin, realm};
use dhow_types::Error;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// The most hits that may be asked for.
pub const MOST_HITS: u32 = 100;
/// Docker Hub's index.
const HUB: &str = "index.docker.io";

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// A word, after `host[:port]/` if it is not for Docker Hub.
    pub term: String,
    /// How many hits, 1 to [`MOST_HITS`].
    pub limit: u32,
    /// For the index.
    pub credentials: Credentials,
    /// Headers (`X-Meta-…`) for the index.
    pub meta: Vec<(String, String)>,
}

/// A repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hit {
    /// Its name.
    pub name: String,
    /// What its owner says of it.
    #[serde(deserialize_with = "null_is_empty")]
    pub description: String,
    /// Whether Docker made it.
    pub is_official: bool,
    /// How many like it.
    pub star_count: i64,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    results: Vec<Hit>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(d)?.unwrap_or_default())
}

impl Registries {
    /// Asks an index.
    pub async fn search(&self, search: Search) -> Result<Vec<Hit>, Error> {
        let (registry, term) = split(&search.term)?;
        if search.limit < 1 || search.limit > MOST_HITS {
            return Err(Error::invalid(format!("limit {} is outside the range of [1, {MOST_HITS}]", search.limit)));
        }
        let mut last: Option<(Address, Cause)> = None;
        for mut endpoint in self.endpoints(registry, false).await.map_err(Error::invalid)? {
            let answered = last.as_ref().is_some_and(|(_, cause)| cause.is_answer());
            if endpoint.mirror || (endpoint.plain_twin && answered) {
                continue;
            }
            let origin = match registry {
                "docker.io" => Origin::new(true, HUB).map_err(Error::invalid)?,
                _ => endpoint.base.origin().clone(),
            };
            endpoint.base = Address::new(origin, "/v2", None);
            let transport = self.transport(&endpoint).map_err(Error::invalid)?;
            let at = Address::new(endpoint.base.origin().clone(), "/v1/search", None);
            let at = at.with("q", term).with("n", &search.limit.to_string());
            match self.ask(&endpoint, &transport, &at, &search).await {
                Ok(answer) if answer.status.is_success() => {
                    let bytes = answer.reader.all(MAX_SEARCH).await;
                    let bytes = bytes.map_err(|e| Error::system(format!("Get \"{at}\": {e}")))?;
                    let reply: Reply = serde_json::from_slice(&bytes)
                        .map_err(|e| Error::system(format!("error decoding registry search results: {e}")))?;
                    return Ok(reply.results);
                }
                Ok(answer) => {
                    return Err(Error::system(format!(
                        "unexpected status code {}: search at {}",
                        answer.status.as_u16(),
                        at.origin()
                    )));
                }
                Err(cause) => last = Some((at, cause)),
            }
        }
        Err(match last {
            Some((at, cause)) => Error::system(format!("Get \"{at}\": {cause}")),
            None => Error::invalid(format!("{registry}: its hosts.toml names only mirrors, which are not searched")),
        })
    }

    async fn ask(
        &self,
        endpoint: &Endpoint,
        transport: &Transport,
        at: &Address,
        search: &Search,
    ) -> Result<Answer, Cause> {
        let mut bound: HeaderMap = endpoint.header.iter().cloned().collect();
        bound.insert("x-docker-token", HeaderValue::from_static("true"));
        for (name, value) in &search.meta {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
                && name.as_str().starts_with("x-meta-")
            {
                bound.append(name, value);
            }
        }
        let proof = match search.credentials.identity_token.is_empty() {
            true => search.credentials.basic_header(),
            false => self.token(endpoint, transport, &search.credentials).await?,
        };
        bound.extend(proof.map(|proof| (AUTHORIZATION, proof)));
        transport.send(Call { bound, ..Call::get(at.clone()) }).await
    }

    /// A token for searches, from the token server that the registry names.
    async fn token(
        &self,
        endpoint: &Endpoint,
        transport: &Transport,
        credentials: &Credentials,
    ) -> Result<Option<HeaderValue>, Cause> {
        let origin = endpoint.base.origin();
        let ping = transport.send(Call::get(Address::new(origin.clone(), "/v2/", None))).await?;
        let wants = challenges(&ping.headers);
        let Some(bearer) = wants.iter().find(|c| c.scheme == "bearer").filter(|_| ping.address.origin() == origin)
        else {
            return Ok(None);
        };
        let realm = Realm::of(bearer, &endpoint.base)?;
        if !realm::trusted(origin, realm.address.origin(), self.realms()) {
            return Err(Cause::RealmElsewhere(realm.address.origin().clone()));
        }
        let limit = transport.bounds.document;
        let scopes = ["registry:catalog:search".to_owned()];
        let fetch = token::fetch(transport, &realm, &scopes, credentials, false);
        let token = tokio::time::timeout(limit, fetch).await.unwrap_or(Err(Cause::Slow(limit)))?;
        Ok(Some(token.header))
    }
}

/// The registry and the word.
fn split(term: &str) -> Result<(&str, &str), Error> {
    if term.contains("://") {
        let text = format!("invalid repository name: repository name ({term}) should not have a scheme");
        return Err(Error::invalid(text));
    }
    match term.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => {
            Ok(("docker.io", rest.strip_prefix("library/").unwrap_or(rest)))
        }
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => Ok((host, rest)),
        _ => Ok(("docker.io", term.strip_prefix("library/").unwrap_or(term))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_for_what() {
        for (term, registry, word) in [
            ("busybox", "docker.io", "busybox"),
            ("library/busybox", "docker.io", "busybox"),
            ("me/thing", "docker.io", "me/thing"),
            ("docker.io/library/x", "docker.io", "x"),
            ("localhost/x", "localhost", "x"),
            ("r.example.com:5000/a/b", "r.example.com:5000", "a/b"),
            ("", "docker.io", ""),
        ] {
            assert_eq!(split(term).unwrap(), (registry, word), "{term}");
        }
        assert!(split("http://x").unwrap_err().text().contains("should not have a scheme"));
    }
}
