//! Hostile archives for tests and fuzzers: a builder that decides about every byte, one row for each trick that
//! archives were seen to play, and the wrappings in which a layer comes.
//!
//! A row says what must become of it, and the same row runs through every road into a store: see `Road` in the
//! tests that use this. No part of the product.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "for tests")]

pub mod documents;
pub mod look;
pub mod random;
pub mod rows;
pub mod tar;
pub mod wrap;

pub use look::{LEADS_NOWHERE, describe, outline};
pub use rows::{Row, Want, rows};
pub use tar::{Head, Tar, record, seal};
