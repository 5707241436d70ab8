//! Why something could not be had: typed, with registry, repository and part, so that a caller can decide, and in words
//! for people. The words keep what Docker says where scripts look for it.

use crate::address::Origin;
use dhow_types::{Digest, Error, ErrorKind};
use std::fmt;
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The manifest under a tag or digest, as the user wrote it.
    Manifest(String),
    /// A configuration.
    Config(Digest),
    /// A layer.
    Layer(Digest),
    /// The list of tags.
    Tags,
    /// The list of what refers to a manifest.
    Referrers(Digest),
    /// What is sent, in words: `layer 0123456789ab`.
    Sent(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(name) => write!(f, "manifest {name}"),
            Self::Config(digest) => write!(f, "image configuration {}", digest.short()),
            Self::Layer(digest) => write!(f, "layer {}", digest.short()),
            Self::Tags => f.write_str("list of tags"),
            Self::Referrers(digest) => write!(f, "list of referrers to {}", digest.short()),
            Self::Sent(what) => f.write_str(what),
        }
    }
}

/// The cause itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// No connection: refused, no such host, no route, a proxy that does not let through.
    Unreachable(String),
    /// A server that answers in plain text where TLS was spoken.
    NotTls,
    /// The certificate does not hold.
    Certificate(String),
    /// The connection broke in the middle.
    Broken(String),
    /// No answer, or no further byte, for so long.
    Stalled(Duration),
    /// A document that was not whole after so long.
    Slow(Duration),
    /// The server's answer is no success.
    Refused {
        /// Its status.
        status: u16,
        /// Its code, e.g. `DENIED`.
        code: String,
        /// What it said.
        words: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It asks for credentials, and there are none.
    NoCredentials,
    /// It sends the password elsewhere, where it must not go.
    RealmElsewhere(Origin),
    /// What a token server gave is none.
    Token(String),
    /// A redirect that is not followed.
    Redirect(String),
    /// Bytes that are not what the digest says.
    WrongDigest {
        /// What was wanted.
        wanted: Digest,
        /// What came.
        got: Digest,
    },
    /// More or fewer bytes than announced.
    WrongSize {
        /// What was announced.
        wanted: u64,
        /// What came, or is said to come.
        got: u64,
    },
    /// More than is taken of anything of this kind.
    TooLarge(u64),
    /// A document that can't be read, or read in two ways.
    Document(Error),
    /// Its bytes are only elsewhere.
    Foreign,
    /// What is to be sent can't be read.
    Source(Error),
    /// The server does not keep to the protocol.
    Protocol(String),
    /// Settings, certificates or `hosts.toml` that can't be used.
    Settings(String),
}

impl Cause {
    /// Whether the server spoke HTTP with us, so that nothing is to be gained by a weaker way to it.
    pub(crate) fn is_answer(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::NotTls | Self::Certificate(_) | Self::Settings(_))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Broken(why) | Self::Token(why) | Self::Redirect(why) => f.write_str(why),
            Self::Protocol(why) | Self::Settings(why) | Self::Certificate(why) => f.write_str(why),
            Self::NotTls => f.write_str("http: server gave HTTP response to HTTPS client"),
            Self::Stalled(after) => write!(f, "nothing came for {}", dhow_types::duration::go_text(*after)),
            Self::Slow(after) => {
                write!(f, "it was not whole after {}: the server is too slow", dhow_types::duration::go_text(*after))
            }
            Self::Refused { words, retry_after: Some(after), .. } => {
                write!(f, "{words}: it asks to be tried again in {}", dhow_types::duration::go_text(*after))
            }
            Self::Refused { words, .. } => f.write_str(words),
            Self::NoCredentials => f.write_str("no basic auth credentials"),
            Self::RealmElsewhere(realm) => write!(
                f,
                "unauthorized: it wants the password to be sent to {realm}, which is another site, and without one the \
                 answer is no: allow that under auth-realms if you trust it"
            ),
            Self::WrongDigest { wanted, got } => {
                write!(f, "verification failed for digest {wanted}: the bytes are {got}")
            }
            Self::WrongSize { wanted, got } => write!(f, "the size is wrong: {wanted} bytes are announced, {got} came"),
            Self::TooLarge(limit) => write!(f, "it is larger than the limit of {limit} bytes"),
            Self::Document(e) | Self::Source(e) => f.write_str(e.text()),
            Self::Foreign => {
                f.write_str("a foreign layer: its bytes are at other addresses only, which dhow never follows")
            }
        }
    }
}

/// A cause, and what it hit. Boxed in results: it is large, and rare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The registry of the name, e.g. `docker.io`.
    pub registry: String,
    /// The repository, as users write it.
    pub repository: String,
    /// What was asked for.
    pub part: Part,
    /// Who gave this answer.
    pub endpoint: String,
    /// Why.
    pub cause: Cause,
    /// What others said before: mirrors, mostly.
    pub others: Vec<(String, Cause)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (repository, endpoint, cause) = (&self.repository, &self.endpoint, &self.cause);
        let code = match cause {
            Cause::Refused { code, .. } => code.as_str(),
            _ => "",
        };
        match (&self.part, code) {
            // Here Docker says nothing else, and scripts look for it at the beginning.
            (Part::Sent(what), _) => write!(f, "{cause}: {what} was not pushed to {repository} at {endpoint}")?,
            (Part::Manifest(_) | Part::Tags, "DENIED") => write!(
                f,
                "pull access denied for {repository}, repository does not exist or may require 'docker login': {cause} (from {endpoint})"
            )?,
            (Part::Manifest(name), "MANIFEST_UNKNOWN") => {
                write!(f, "manifest for {name} not found: {cause} (from {endpoint})")?
            }
            (Part::Manifest(_) | Part::Tags, "NAME_UNKNOWN") => {
                write!(f, "repository {repository} not found: {cause} (from {endpoint})")?
            }
            (Part::Manifest(name), _) => write!(f, "{name} from {endpoint}: {cause}")?,
            (part, _) => write!(f, "{part} of {repository} from {endpoint}: {cause}")?,
        }
        if self.registry != self.endpoint && !self.endpoint.ends_with(&format!("//{}", self.registry)) {
            write!(f, " (registry {})", self.registry)?;
        }
        for (endpoint, cause) in &self.others {
            write!(f, "; before that {endpoint}: {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let sends = matches!(failure.part, Part::Sent(_));
        let kind = match &failure.cause {
            Cause::Refused { status: 401, .. } | Cause::NoCredentials | Cause::RealmElsewhere(_) if sends => {
                ErrorKind::Unauthorized
            }
            Cause::Refused { status: 403, .. } if sends => ErrorKind::Forbidden,
            Cause::Refused { code, .. } if matches!(code.as_str(), "DENIED" | "MANIFEST_UNKNOWN" | "NAME_UNKNOWN") => {
                ErrorKind::NotFound
            }
            Cause::Refused { status: 404, .. } => ErrorKind::NotFound,
            Cause::WrongDigest { .. } | Cause::WrongSize { .. } => ErrorKind::DataLoss,
            Cause::TooLarge(_) => ErrorKind::Exhausted,
            Cause::Document(e) | Cause::Source(e) => e.kind(),
            Cause::Foreign => ErrorKind::NotImplemented,
            _ => ErrorKind::System,
        };
        Error::new(kind, failure.to_string())
    }
}

impl From<Box<Failure>> for Error {
    fn from(failure: Box<Failure>) -> Self {
        Self::from(*failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, words: &str) -> Cause {
        Cause::Refused { status, code: code.into(), words: words.into(), retry_after: None }
    }

    #[test]
    fn dockers_words_stand_first_and_registry_repository_and_cause_are_named() {
        let of = |part: Part, cause| Failure {
            registry: "docker.io".into(),
            repository: "me/x".into(),
            part,
            endpoint: "https://registry-1.docker.io".into(),
            cause,
            others: vec![("https://mirror".into(), Cause::NotTls)],
        };
        let manifest = || Part::Manifest("me/x:1".into());
        let e: Error = of(manifest(), refused(403, "DENIED", "denied: no")).into();
        assert_eq!(e.kind(), ErrorKind::NotFound);
        assert_eq!(
            e.text(),
            "pull access denied for me/x, repository does not exist or may require 'docker login': denied: no (from https://registry-1.docker.io) (registry docker.io); before that https://mirror: http: server gave HTTP response to HTTPS client"
        );
        let e: Error = of(manifest(), refused(404, "MANIFEST_UNKNOWN", "manifest unknown: x")).into();
        assert!(e.text().starts_with("manifest for me/x:1 not found: manifest unknown: x"), "{e}");
        let d = Digest::of(b"");
        let e: Error = of(Part::Layer(d), Cause::WrongDigest { wanted: d, got: Digest::of(b"x") }).into();
        assert_eq!(e.kind(), ErrorKind::DataLoss);
        assert!(e.text().starts_with("layer e3b0c44298fc of me/x from https://registry-1.docker.io: verification failed for digest sha256:e3b0"), "{e}");
    }
}
