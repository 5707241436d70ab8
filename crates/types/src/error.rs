//! One error type for all libraries: a kind, which an adapter maps to an HTTP status or an exit code,
//! and a text for people that names the thing, the cause and the next step.
//!
//! The mapping itself never lives here: HTTP status codes belong to `dhow-server`, exit codes to `dhow`.

use crate::Cause;
use std::fmt;

/// A result with dhow's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong (HTTP 400).
    InvalidParameter,
    /// The thing asked for does not exist (404).
    NotFound,
    /// The state of a thing forbids the request: a name in use, a container that runs (409).
    Conflict,
    /// Nothing to do: already started, already stopped (304).
    NotModified,
    /// A registry wants to know who asks, or does not believe it (401).
    Unauthorized,
    /// Not allowed for this caller (403).
    Forbidden,
    /// dhow does not have this; it is refused by name (501).
    NotImplemented,
    /// Something dhow depends on is away: a controller, a kernel feature, a daemon that stops (503).
    Unavailable,
    /// A named limit was reached: entries, a queue, space that is kept free or promised to others (500).
    Exhausted,
    /// A disk is full, or what a quota gives of it (500).
    DiskFull,
    /// Stored or received bytes are not what they should be (500).
    DataLoss,
    /// The program to run was not found in the container (CLI exit 127; 400).
    CommandNotFound,
    /// The program exists but can't be executed (CLI exit 126; 400).
    CommandNotExecutable,
    /// Anything else (500).
    System,
}

/// An error: kind, text, and the cause where it is known better than by the kind. The text never repeats what its source already says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    cause: Option<Cause>,
}

impl Error {
    /// An error of `kind` that says `text`.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), cause: None }
    }
    /// `InvalidParameter` with `text`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, text)
    }
    /// `NotFound` with `text`.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }
    /// `Conflict` with `text`.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, text)
    }
    /// `System` with `text`.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, text)
    }
    /// `NotImplemented` with `text`.
    pub fn not_implemented(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotImplemented, text)
    }
    /// `Unavailable` with `text`.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }
    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The same error with `prefix: ` before its text.
    pub fn prefixed(mut self, prefix: impl fmt::Display) -> Self {
        self.text = format!("{prefix}: {}", self.text);
        self
    }
    /// The same error with what to do about it after its text.
    pub fn advised(mut self, advice: impl fmt::Display) -> Self {
        self.text = format!("{}: {advice}", self.text);
        self
    }
    /// The same error in other words.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }
    /// The same error, of this cause.
    pub fn because(mut self, cause: impl Into<Option<Cause>>) -> Self {
        self.cause = cause.into().or(self.cause);
        self
    }
    /// The cause, which programs can tell from others.
    pub fn cause(&self) -> Cause {
        self.cause.unwrap_or_else(|| Cause::of_kind(self.kind))
    }
    /// The cause if it is known better than by the kind, to be sent on.
    pub fn own_cause(&self) -> Option<Cause> {
        self.cause
    }
    /// The same text under another kind.
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        let kind = match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::System,
        };
        Self::new(kind, plain_io_text(&e))
    }
}

/// The kernel's words without Rust's "(os error N)".
fn plain_io_text(e: &std::io::Error) -> String {
    /// As Linux numbers it; a disk, or what is behind it, did not do its work.
    const EIO: i32 = 5;
    let text = e.to_string();
    match (e.raw_os_error(), text.find(" (os error")) {
        (Some(EIO), _) => format!("input/output error ({FAILING_DISK})"),
        (Some(_), Some(at)) => text[..at].to_lowercase(),
        _ => text,
    }
}

/// What to do about an input/output error, which says nothing of its cause.
pub const FAILING_DISK: &str = "a disk may be failing: `dmesg` says which";

/// Puts what was being done before the cause: `read("/x").context("read the config")?`.
pub trait Context<T> {
    /// Prefixes the error with `what`.
    fn context(self, what: impl fmt::Display) -> Result<T>;
    /// Prefixes the error with what `f` returns, computed only on failure.
    fn with_context<D: fmt::Display>(self, f: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().prefixed(what))
    }
    fn with_context<D: fmt::Display>(self, f: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.into().prefixed(f()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_prefixes_once_and_keeps_the_kind() {
        let e: Result<()> = Err(Error::not_found("No such image: x"));
        let e = e.context("create").unwrap_err();
        assert_eq!((e.kind(), e.text()), (ErrorKind::NotFound, "create: No such image: x"));
    }

    #[test]
    fn io_errors_lose_the_number() {
        let e = Error::from(std::io::Error::from_raw_os_error(2));
        assert_eq!(e.text(), "no such file or directory");
        for (number, kind, text) in [
            (28, ErrorKind::DiskFull, "no space left on device"),
            (122, ErrorKind::DiskFull, "disk quota exceeded"),
            (5, ErrorKind::System, "input/output error (a disk may be failing: `dmesg` says which)"),
            (30, ErrorKind::System, "read-only file system"),
        ] {
            let e = Error::from(std::io::Error::from_raw_os_error(number));
            assert_eq!((e.kind(), e.text().to_lowercase().as_str()), (kind, text.to_lowercase().as_str()));
        }
    }
}
