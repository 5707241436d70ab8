//! Who somebody is at one registry. Its `Debug` shows no secret.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde::Serialize;
use std::fmt;

/// Name and password, or a token; all empty is nobody in particular.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The user's name.
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// The name under which it is kept.
    #[serde(rename = "serveraddress", skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// What the registry gave instead of the password.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
    /// What is sent to the registry as it is.
    #[serde(rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    pub registry_token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login {{ user: {:?}, server: {:?}, .. }}", self.user, self.server)
    }
}

impl Login {
    /// Whether it proves nothing.
    pub fn is_empty(&self) -> bool {
        [&self.user, &self.password, &self.identity_token, &self.registry_token].iter().all(|part| part.is_empty())
    }

    /// The value of `X-Registry-Auth`; none if it proves nothing.
    pub fn header(&self) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        // Text alone: this can't fail.
        serde_json::to_vec(self).ok().map(|text| BASE64_URL_SAFE.encode(text))
    }
}

/// `auth` of config.json: name and password.
pub fn encode(user: &str, password: &str) -> String {
    if user.is_empty() && password.is_empty() {
        return String::new();
    }
    BASE64_STANDARD.encode(format!("{user}:{password}"))
}

/// Name and password of `auth`.
pub fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':').filter(|(user, _)| !user.is_empty())?;
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_dockers_and_debug_shows_no_secret() {
        let login =
            Login { user: "me".into(), password: "pa>ss?word".into(), server: "a:1".into(), ..Login::default() };
        let text = BASE64_URL_SAFE.decode(login.header().unwrap()).unwrap();
        assert_eq!(text, br#"{"username":"me","password":"pa>ss?word","serveraddress":"a:1"}"#);
        assert_eq!(format!("{login:?}"), "Login { user: \"me\", server: \"a:1\", .. }");
        let token = Login { identity_token: "tok".into(), ..Login::default() };
        assert_eq!(BASE64_URL_SAFE.decode(token.header().unwrap()).unwrap(), br#"{"identitytoken":"tok"}"#);
        assert_eq!(Login { server: "a".into(), ..Login::default() }.header(), None);
    }

    #[test]
    fn auth_of_the_file() {
        assert_eq!((encode("me", "a:b").as_str(), encode("", "").as_str()), ("bWU6YTpi", ""));
        for (auth, want) in [
            ("bWU6YTpi", Some(("me", "a:b"))),
            // Old files have zeros behind the password.
            ("bWU6YQAA", Some(("me", "a"))),
            ("OmE=", None),
            ("bWU=", None),
            ("!", None),
            ("", None),
        ] {
            let got = decode(auth);
            assert_eq!(got.as_ref().map(|(u, p)| (u.as_str(), p.as_str())), want, "{auth}");
        }
    }
}
