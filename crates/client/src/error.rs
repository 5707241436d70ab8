//! What can go wrong between a client and a daemon.

use std::fmt;

/// A result with the client's error.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed request.
#[derive(Debug)]
pub enum Error {
    /// Nobody answers on the socket: it does not exist, or nothing listens.
    NoDaemon {
        /// The socket that was tried.
        socket: String,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// The daemon answered with an error status.
    Api {
        /// The HTTP status.
        status: u16,
        /// The `message` of the error document.
        message: String,
        /// Its `cause`, which only dhow's daemon gives.
        cause: Option<String>,
    },
    /// A container without a name was asked for.
    NoName,
    /// The connection broke.
    Io(std::io::Error),
    /// What came back is not what the API promises.
    Protocol(String),
}

impl Error {
    /// The HTTP status, where the daemon gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl Error {
    /// The cause in one word, where the daemon gave one.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Api { cause, .. } => cause.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon { socket, cause } if cause.kind() == std::io::ErrorKind::PermissionDenied => write!(
                f,
                "permission denied while trying to connect to the dhow daemon socket at unix://{socket}: run the command as root, or as a member of the group that owns the socket"
            ),
            // Docker's words, which scripts wait for.
            Self::NoDaemon { socket, .. } => {
                write!(f, "Cannot connect to the dhow daemon at unix://{socket}. Is the dhow daemon running?")
            }
            Self::Api { status, message, .. } => write!(f, "Error response from daemon: {}", one(message, *status)),
            Self::NoName => write!(f, "invalid container name or ID: value is empty"),
            Self::Io(e) => write!(f, "the connection to the daemon broke: {e}"),
            Self::Protocol(text) => write!(f, "unexpected answer of the daemon: {text}"),
        }
    }
}

fn one(message: &str, status: u16) -> String {
    if message.is_empty() { format!("status {status} without a message") } else { message.to_owned() }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Self::Protocol(e.to_string())
    }
}
