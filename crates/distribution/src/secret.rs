//! What a registry is shown to know its user. It is never printed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_types::Digest;
use http::HeaderValue;
use std::fmt;

/// The credentials for one registry, as config.json and `X-Registry-Auth` have them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password, or what stands for it.
    pub password: String,
    /// What a token server gave at a login; it stands for user and password there.
    pub identity_token: String,
    /// A token that is sent as it is.
    pub registry_token: String,
}

impl Credentials {
    /// Nobody's.
    pub fn none() -> Self {
        Self::default()
    }
    /// A name and a password.
    pub fn basic(user: &str, password: &str) -> Self {
        Self { user: user.into(), password: password.into(), ..Self::default() }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
    pub(crate) fn has_password(&self) -> bool {
        !self.user.is_empty() && !self.password.is_empty()
    }
    /// The header's value for Basic authentication.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        let words = STANDARD.encode(format!("{}:{}", self.user, self.password));
        sensitive(&format!("Basic {words}")).filter(|_| self.has_password())
    }
    /// Tells credentials apart without keeping them.
    pub(crate) fn mark(&self) -> Digest {
        let parts = [&self.user, &self.password, &self.identity_token, &self.registry_token];
        Digest::of(parts.map(|p| format!("{}:{p}", p.len())).concat().as_bytes())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Credentials(none)" } else { "Credentials(…)" })
    }
}

/// A header's value that is left out of all output.
pub(crate) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_printed() {
        let c = Credentials::basic("user", "s3cret");
        assert_eq!(format!("{c:?}"), "Credentials(…)");
        assert!(!format!("{:?}", c.basic_header()).contains("dXNlcjpzM2NyZXQ"));
        assert_eq!(c.basic_header().unwrap(), "Basic dXNlcjpzM2NyZXQ=");
        assert_eq!(Credentials::basic("user", "").basic_header(), None);
    }

    #[test]
    fn marks_tell_apart() {
        assert_ne!(Credentials::basic("ab", "c").mark(), Credentials::basic("a", "bc").mark());
    }
}
