//! Which versions of the API are spoken, and what is said to a client that wants another one.

use std::fmt;
use std::str::FromStr;

/// A version of the API, such as 1.44.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The part before the dot.
    pub major: u16,
    /// The part after the dot.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest version that is spoken.
    pub const OLDEST: Self = Self::new(1, 24);
    /// The newest version, spoken also where a path names none.
    pub const NEWEST: Self = Self::new(1, 56);

    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Refuses a version outside of [`Self::OLDEST`] to [`Self::NEWEST`], in Docker's words.
    pub fn check(self) -> Result<Self, VersionError> {
        match self {
            old if old < Self::OLDEST => Err(VersionError(format!(
                "client version {old} is too old. Minimum supported API version is {}, please upgrade your client \
                 to a newer version",
                Self::OLDEST
            ))),
            new if new > Self::NEWEST => Err(VersionError(format!(
                "client version {new} is too new. Maximum supported API version is {}",
                Self::NEWEST
            ))),
            fine => Ok(fine),
        }
    }

    /// Takes `/v1.44/containers/json` apart: the version, if the path names one, and the rest.
    /// A first word that only looks like a version (`/v1/x`, `/volumes`) belongs to the rest.
    pub fn split_path(path: &str) -> (Option<Self>, &str) {
        let word = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
        match word.and_then(|(word, rest)| Some((word.parse().ok()?, &path[path.len() - rest.len() - 1..]))) {
            Some((version, rest)) => (Some(version), rest),
            None => (None, path),
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let number = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse::<u16>().ok(),
            false => None,
        };
        let parts = text.split_once('.').and_then(|(major, minor)| Some(Self::new(number(major)?, number(minor)?)));
        parts.ok_or_else(|| {
            VersionError(format!("invalid API version {text:?}: want numbers, such as {}", Self::NEWEST))
        })
    }
}

/// Why a version is not spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionError(pub String);

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for VersionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_a_version() {
        let v = ApiVersion::new;
        for (path, version, rest) in [
            ("/v1.44/containers/json", Some(v(1, 44)), "/containers/json"),
            ("/v1.44/", Some(v(1, 44)), "/"),
            ("/v99.9999/_ping", Some(v(99, 9999)), "/_ping"),
            ("/containers/json", None, "/containers/json"),
            ("/volumes/x", None, "/volumes/x"),
            ("/version", None, "/version"),
            ("/v1.44", None, "/v1.44"),
            ("/v1.+4/x", None, "/v1.+4/x"),
            ("/v1.70000/x", None, "/v1.70000/x"),
            ("/vé.1/x", None, "/vé.1/x"),
        ] {
            assert_eq!(ApiVersion::split_path(path), (version, rest), "{path}");
        }
    }

    #[test]
    fn the_words_are_dockers() {
        let said = |v: &str| v.parse::<ApiVersion>().unwrap().check().map_err(|e| e.0);
        assert_eq!(
            said("1.23").unwrap_err(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a \
             newer version"
        );
        assert_eq!(said("1.57").unwrap_err(), "client version 1.57 is too new. Maximum supported API version is 1.56");
        assert!(said("1.9").is_err() && said("1.24").is_ok() && said("1.56").is_ok() && said("2.0").is_err());
    }
}
