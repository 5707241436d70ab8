//! Tokens: asking a token server, and what it answers. Rule: distribution's "Token Authentication" and its OAuth 2 form.

use crate::address::{Address, escaped};
use crate::body::Payload;
use crate::bounds::MAX_TOKEN;
use crate::challenge::Challenge;
use crate::failure::Cause;
use crate::secret::Credentials;
use crate::transport::{Call, Transport};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::Deserialize;
use std::time::Duration;

/// The shortest life of a token: what older servers do not say is meant to be this.
const SHORTEST: u64 = 60;
/// So long before its end a token is not used any more.
const EARLY: Duration = Duration::from_secs(10);
/// How dhow is called there: some servers know no other client.
const CLIENT: &str = "docker";

/// A token, and until when it is used.
#[derive(Clone)]
pub(crate) struct Token {
    pub header: HeaderValue,
    pub until: tokio::time::Instant,
    /// What stands for user and password from now on, if it was asked for and given.
    pub refresh: String,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    #[serde(default)]
    expires_in: f64,
}

/// What a challenge says of its token server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Realm {
    pub address: Address,
    pub service: String,
}

impl Realm {
    pub(crate) fn of(challenge: &Challenge, home: &Address) -> Result<Self, Cause> {
        let realm = challenge.param("realm").filter(|r| !r.is_empty());
        let realm = realm.ok_or_else(|| Cause::Token("no realm specified for token auth challenge".into()))?;
        let address = home.join(realm).map_err(|e| Cause::Token(format!("invalid token auth challenge realm: {e}")))?;
        if home.origin().is_https() && !address.origin().is_https() {
            return Err(Cause::Token(format!("its token server {} speaks plain http: refused", address.origin())));
        }
        Ok(Self { address, service: challenge.param("service").unwrap_or_default().to_owned() })
    }
}

/// Asks for a token. `credentials` are shown to the realm: whether they may be is decided before. `offline` asks for one
/// that stands for them later, too.
pub(crate) async fn fetch(
    transport: &Transport,
    realm: &Realm,
    scopes: &[String],
    credentials: &Credentials,
    offline: bool,
) -> Result<Token, Cause> {
    let mut call = Call::get(realm.address.clone());
    if credentials.identity_token.is_empty() {
        if !realm.service.is_empty() {
            call.address = call.address.with("service", &realm.service);
        }
        for scope in scopes {
            call.address = call.address.with("scope", scope);
        }
        if offline {
            call.address = call.address.with("offline_token", "true").with("client_id", CLIENT);
        }
        if let Some(header) = credentials.basic_header() {
            call.address = call.address.with("account", &credentials.user);
            call.bound.insert(AUTHORIZATION, header);
        }
    } else {
        let form = [
            ("scope", scopes.join(" ")),
            ("service", realm.service.clone()),
            ("client_id", CLIENT.into()),
            ("grant_type", "refresh_token".into()),
            ("refresh_token", credentials.identity_token.clone()),
        ];
        let form = form.map(|(name, value)| format!("{name}={}", escaped(&value))).join("&");
        call.method = Method::POST;
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        call.payload = Payload::Bytes(form.into());
    }
    let answer = transport.send(call).await?;
    if !answer.status.is_success() {
        return Err(answer.refusal().await);
    }
    let bytes = answer.reader.all(MAX_TOKEN).await?;
    read(&bytes, tokio::time::Instant::now())
}

fn read(bytes: &[u8], now: tokio::time::Instant) -> Result<Token, Cause> {
    // The reader's own words could repeat a part of the token.
    let reply: Reply =
        serde_json::from_slice(bytes).map_err(|_| Cause::Token("unable to decode token response".into()))?;
    let token = if reply.access_token.is_empty() { reply.token } else { reply.access_token };
    if token.is_empty() {
        return Err(Cause::Token("authorization server did not include a token in the response".into()));
    }
    let header = crate::secret::sensitive(&format!("Bearer {token}"));
    let header = header.ok_or_else(|| Cause::Token("the token holds characters that no header may have".into()))?;
    /// A day: a token that claims to live longer is asked for anew by then.
    const LONGEST: u64 = 86_400;
    let seconds = (reply.expires_in.clamp(0.0, LONGEST as f64) as u64).max(SHORTEST);
    let until = now + Duration::from_secs(seconds) - EARLY;
    Ok(Token { header, until, refresh: reply.refresh_token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let now = tokio::time::Instant::now();
        let of = |text: &str| read(text.as_bytes(), now);
        let t = of(r#"{"token":"a","access_token":"b","expires_in":300}"#).map_err(|_| ()).unwrap();
        assert_eq!((t.header.to_str().unwrap(), t.until - now), ("Bearer b", Duration::from_secs(290)));
        for (text, seconds) in [
            (r#"{"token":"a"}"#, 50),
            (r#"{"token":"a","expires_in":1}"#, 50),
            (r#"{"token":"a","expires_in":1e300}"#, 86_390),
            (r#"{"token":"a","expires_in":-5}"#, 50),
        ] {
            assert_eq!(of(text).map_err(|_| ()).unwrap().until - now, Duration::from_secs(seconds), "{text}");
        }
        for (text, words) in [
            ("{}", "did not include a token"),
            ("<html>", "unable to decode"),
            ("{\"token\":\"a\\nX: b\"}", "characters"),
        ] {
            assert!(of(text).err().unwrap().to_string().contains(words), "{text}");
        }
    }
}
