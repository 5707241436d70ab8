//! Between the Engine API's documents and the engine's plain data, in both directions. Nowhere else.
//!
//! All functions are pure. A document is taken apart field by field without `..`, so that a field can't be
//! forgotten: it is mapped, or it is refused by name when it is set.

pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod container;
pub(crate) mod events;
mod glob;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod image_list;
pub(crate) mod mounts;
pub(crate) mod network;
#[cfg(test)]
mod order;
pub(crate) mod registry;
pub(crate) mod remote;
pub(crate) mod resources;
pub(crate) mod space;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod transfer;

use dhow_types::{Error, Result};
use jiff::Timestamp;

/// Go's zero time, which Docker writes for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A time as Docker writes it.
fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

/// `None` where Docker has `null` for an empty list or map.
fn or_null<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// Refuses `field` by name if it is set.
fn refuse(field: &str, is_set: bool, why: &str) -> Result<()> {
    match is_set {
        true => Err(Error::not_implemented(format!("{field} is not supported: {why}"))),
        false => Ok(()),
    }
}

/// Height and width of a terminal, if they were given.
fn console_size(field: &str, size: [u32; 2]) -> Result<Option<(u16, u16)>> {
    if size == [0, 0] {
        return Ok(None);
    }
    let [height, width] = size.map(u16::try_from);
    match (height, width) {
        (Ok(height), Ok(width)) => Ok(Some((height, width))),
        _ => Err(Error::invalid(format!("{field} is too large: at most {} rows and columns", u16::MAX))),
    }
}

#[cfg(test)]
mod tests;
