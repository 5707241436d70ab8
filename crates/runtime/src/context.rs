//! `dhow_types::Context` for the kernel's error numbers too, which the orphan rule keeps `dhow-types` and this crate
//! from implementing for rustix' type.

use dhow_types::{Error, Result};
use std::fmt::Display;

/// What can be a cause.
pub(crate) trait Cause {
    fn into_error(self) -> Error;
}

impl Cause for Error {
    fn into_error(self) -> Error {
        self
    }
}

impl Cause for std::io::Error {
    fn into_error(self) -> Error {
        self.into()
    }
}

impl Cause for rustix::io::Errno {
    fn into_error(self) -> Error {
        std::io::Error::from(self).into()
    }
}

/// Puts what was being done before the cause.
pub(crate) trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
    fn with_context<D: Display>(self, f: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Cause> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|e| e.into_error().prefixed(what))
    }
    fn with_context<D: Display>(self, f: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.into_error().prefixed(f()))
    }
}
