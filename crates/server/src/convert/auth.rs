//! What a client shows of its user, for a registry: `X-Registry-Auth`. Nothing of it is ever printed.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use dhow_engine::Credentials;
use http::header::HeaderMap;
use serde::Deserialize;

/// Who the user is at the registry that an image is copied to.
pub(crate) const TARGET_HEADER: &str = "x-registry-auth-target";
/// The header's name.
pub(crate) const HEADER: &str = "x-registry-auth";
/// Its longest value: a token may be long.
const MAX: usize = 64 << 10;
/// base64 with or without its padding.
const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Docker's `AuthConfig`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthConfig {
    username: Option<String>,
    password: Option<String>,
    /// `base64(user:password)`, as config.json has it.
    auth: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<String>,
    /// The registry that the client means. The name of the image says it, too, and is what counts.
    #[serde(rename = "serveraddress")]
    pub(crate) server_address: Option<String>,
}

impl AuthConfig {
    /// The credentials in it.
    pub(crate) fn credentials(self) -> Credentials {
        let mut user = self.username.unwrap_or_default();
        let mut password = self.password.unwrap_or_default();
        if user.is_empty()
            && password.is_empty()
            && let Some(pair) = self.auth.and_then(|auth| STANDARD.decode(auth.trim()).ok())
            && let Ok(pair) = String::from_utf8(pair)
            && let Some((u, p)) = pair.split_once(':')
        {
            // Some tools fill the password up with zeros.
            (user, password) = (u.to_owned(), p.trim_end_matches('\0').to_owned());
        }
        Credentials {
            user,
            password,
            identity_token: self.identity_token.unwrap_or_default(),
            registry_token: self.registry_token.unwrap_or_default(),
        }
    }
}

/// The credentials of a request. As in Docker, no header, an empty one and one that can't be read mean nobody.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials {
    auth(headers).map(AuthConfig::credentials).unwrap_or_default()
}

/// The same of another header.
pub(crate) fn credentials_in(headers: &HeaderMap, header: &str) -> Credentials {
    auth_in(headers, header).map(AuthConfig::credentials).unwrap_or_default()
}

/// What the header says, if it says anything.
pub(crate) fn auth(headers: &HeaderMap) -> Option<AuthConfig> {
    auth_in(headers, HEADER)
}

fn auth_in(headers: &HeaderMap, header: &str) -> Option<AuthConfig> {
    let text = headers.get(header)?.to_str().ok()?.trim();
    if text.is_empty() || text.len() > MAX {
        return None;
    }
    let lax = GeneralPurpose::new(&URL_SAFE, LAX);
    // Clients have sent the other alphabet, too.
    let bytes = lax.decode(text.replace('+', "-").replace('/', "_")).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE as PADDED, URL_SAFE_NO_PAD};

    fn of(value: &str) -> Credentials {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().unwrap());
        credentials(&headers)
    }

    #[test]
    fn as_clients_send_it() {
        let basic = Credentials::basic("me", "s3cret>>>???");
        let text = r#"{"username":"me","password":"s3cret>>>???","serveraddress":"reg"}"#;
        for value in [PADDED.encode(text), URL_SAFE_NO_PAD.encode(text), STANDARD.encode(text)] {
            assert!(of(&value) == basic);
        }
        let pair = STANDARD.encode("me:s3cret>>>???");
        assert!(of(&PADDED.encode(format!(r#"{{"auth":"{pair}","email":"x"}}"#))) == basic);
        let token = of(&PADDED.encode(r#"{"identitytoken":"t","username":null}"#));
        assert!(token == Credentials { identity_token: "t".into(), ..Credentials::none() });
        let token = of(&PADDED.encode(r#"{"registrytoken":"t"}"#));
        assert!(token == Credentials { registry_token: "t".into(), ..Credentials::none() });
    }

    #[test]
    fn what_says_nothing_is_nobody() {
        for value in ["", "e30=", "e30", "bnVsbA==", "no base64 !", "W10=", "InRleHQi"] {
            assert!(of(value).is_empty(), "{value}");
        }
        assert!(credentials(&HeaderMap::new()).is_empty());
    }
}
