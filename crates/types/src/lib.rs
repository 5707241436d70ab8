//! The vocabulary every other crate speaks: digests, references, platforms, ids, durations, error kinds and
//! image documents.
//!
//! Nothing here does I/O, knows a wire format of the Engine API, or depends on another dhow crate.

pub mod cause;
pub mod digest;
pub mod duration;
pub mod error;
pub mod id;
pub mod image;
pub mod platform;
pub mod reference;
pub mod segment;

pub use cause::Cause;
pub use digest::{Digest, DigestWriter};
pub use error::{Context, Error, ErrorKind, FAILING_DISK, Result};
pub use id::ContainerId;
pub use image::ImageConfig;
pub use platform::Platform;
pub use reference::Reference;
