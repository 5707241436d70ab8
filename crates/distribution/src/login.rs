//! Logins: whether credentials hold at a registry, and the token that stands for them from then on. Rule and words:
//! Docker's daemon. The registry itself is asked, never a mirror; who spoke TLS is not asked in plain text.

use crate::address::{Address, Origin};
use crate::challenge::challenges;
use crate::endpoint::Endpoint;
use crate::failure::Cause;
use crate::realm;
use crate::repository::Registries;
use crate::secret::Credentials;
use crate::token::{self, Realm};
use crate::transport::{Answer, Call, Transport};
use crate::words;
use dhow_types::{Error, ErrorKind};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::fmt;

/// A login that succeeded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// Stands for user and password at the token server; empty where there is none.
    pub identity_token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Why there is none.
enum No {
    /// The registry's answer with everything that was asked for.
    Status(StatusCode),
    Cause(Cause),
}

impl From<Cause> for No {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl No {
    /// Whether a weaker way to the server is out of the question now.
    fn is_answer(&self) -> bool {
        match self {
            Self::Status(_) => true,
            Self::Cause(cause) => cause.is_answer(),
        }
    }
    fn error(&self, at: &Address) -> Error {
        match self {
            Self::Status(status) => {
                let kind =
                    if matches!(status.as_u16(), 401 | 403) { ErrorKind::Unauthorized } else { ErrorKind::System };
                Error::new(kind, format!("login attempt to {at} failed with status: {}", words::line(*status)))
            }
            Self::Cause(cause) => {
                let kind = match cause {
                    Cause::Refused { status: 401 | 403, .. } | Cause::NoCredentials | Cause::RealmElsewhere(_) => {
                        ErrorKind::Unauthorized
                    }
                    _ => ErrorKind::System,
                };
                Error::new(kind, format!("Get \"{at}\": {cause}"))
            }
        }
    }
}

impl Registries {
    /// Shows `credentials` to the registry at `address`: `host[:port]`, `https://host/…`, or nothing for Docker Hub.
    pub async fn login(&self, address: &str, credentials: Credentials) -> Result<Login, Error> {
        let registry = registry_of(address).map_err(Error::invalid)?;
        let mut last = None;
        for endpoint in self.endpoints(&registry, false).await.map_err(Error::invalid)? {
            if endpoint.mirror || (endpoint.plain_twin && last.as_ref().is_some_and(|(no, _): &(No, _)| no.is_answer()))
            {
                continue;
            }
            let transport = self.transport(&endpoint).map_err(Error::invalid)?;
            let at = Address::new(endpoint.base.origin().clone(), format!("{}/", endpoint.base.path()), None);
            match self.login_at(&endpoint, &transport, &at, &credentials).await {
                Ok(login) => return Ok(login),
                Err(no) => last = Some((no, at)),
            }
        }
        Err(last.map_or_else(
            || {
                Error::system(format!(
                    "login to {registry}: its hosts.toml names only mirrors, which get no credentials"
                ))
            },
            |(no, at)| no.error(&at),
        ))
    }

    async fn login_at(
        &self,
        endpoint: &Endpoint,
        transport: &Transport,
        at: &Address,
        credentials: &Credentials,
    ) -> Result<Login, No> {
        let ask = async |proof: Option<HeaderValue>| -> Result<Answer, No> {
            let mut bound: HeaderMap = endpoint.header.iter().cloned().collect();
            bound.extend(proof.map(|proof| (AUTHORIZATION, proof)));
            let answer = transport.send(Call { bound, ..Call::get(at.clone()) }).await?;
            match answer.address.origin() == at.origin() {
                true => Ok(answer),
                false => Err(No::Cause(Cause::Redirect(format!(
                    "it redirects to {}, which gets no credentials of {}",
                    answer.address.origin(),
                    at.origin()
                )))),
            }
        };
        let first = ask(None).await?;
        let wants = challenges(&first.headers);
        let kept = Login { identity_token: credentials.identity_token.clone() };
        if first.status.is_success() {
            return Ok(kept);
        }
        let bearer = wants.iter().find(|c| c.scheme == "bearer");
        let (proof, login) = match bearer {
            _ if first.status != StatusCode::UNAUTHORIZED => return Err(No::Status(first.status)),
            Some(challenge) => {
                let realm = Realm::of(challenge, &endpoint.base)?;
                if !realm::trusted(at.origin(), realm.address.origin(), self.realms()) {
                    return Err(No::Cause(Cause::RealmElsewhere(realm.address.origin().clone())));
                }
                let limit = transport.bounds.document;
                let fetch = token::fetch(transport, &realm, &[], credentials, true);
                let token = tokio::time::timeout(limit, fetch).await.unwrap_or(Err(Cause::Slow(limit)))?;
                let login = if token.refresh.is_empty() { kept } else { Login { identity_token: token.refresh } };
                (token.header, login)
            }
            None if wants.iter().any(|c| c.scheme == "basic") => {
                (credentials.basic_header().ok_or(Cause::NoCredentials)?, kept)
            }
            None => return Err(No::Status(first.status)),
        };
        match ask(Some(proof)).await?.status {
            status if status.is_success() => Ok(login),
            status => Err(No::Status(status)),
        }
    }
}

/// The registry that an address means, as names of images have it.
fn registry_of(address: &str) -> Result<String, String> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "" if address.is_empty() => Ok("docker.io".into()),
        "docker.io" | "index.docker.io" => Ok("docker.io".into()),
        // The text is left out: somebody may have written a password into it.
        host if host.contains('@') => Err("unable to parse server address: it holds a user name".into()),
        host => match Origin::new(true, host) {
            Ok(_) => Ok(host.to_owned()),
            Err(e) => Err(format!("unable to parse server address: {host:?}: {e}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_means() {
        for (address, registry) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("r.example.com", "r.example.com"),
            ("http://r.example.com:5000/v2/", "r.example.com:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(registry_of(address).unwrap(), registry, "{address}");
        }
        for bad in ["https://", "a b", "u:secret@h", "ftp://x", "x:99999"] {
            let e = registry_of(bad).unwrap_err();
            assert!(e.starts_with("unable to parse server address") && !e.contains("secret"), "{bad}: {e}");
        }
    }

    #[test]
    fn nothing_is_printed() {
        assert_eq!(format!("{:?}", Login { identity_token: "s3cret".into() }), "Login");
    }
}
