//! Servers of the tests' own inside a daemon's network: registries that misbehave on purpose, token servers, and a proxy
//! that counts, cuts and stalls what passes. Blocking, a thread per connection; all of it ends with its [`Server`].

mod answer;
mod client;
mod http;
mod issue;
mod server;
mod weather;

pub use answer::{Act, Reply, Request, Then};
pub use client::{Told, ask, ask_tls, exchange};
pub use issue::{Issued, issue};
pub use server::{Entry, Server};

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Certificates of `crates/distribution/tests/certs`, by name: `ca`, `server`, `elsewhere`, `expired`, `client`.
pub mod certs {
    macro_rules! file {
        ($name:literal) => {
            include_str!(concat!("../../../../crates/distribution/tests/certs/", $name))
        };
    }
    /// The authority that issued all of the others.
    pub const CA: &str = file!("ca.pem");
    /// For 127.0.0.1 and localhost.
    pub const SERVER: (&str, &str) = (file!("server.pem"), file!("server.key"));
    /// For another name.
    pub const ELSEWHERE: (&str, &str) = (file!("elsewhere.pem"), file!("elsewhere.key"));
    /// It ended in 2020.
    pub const EXPIRED: (&str, &str) = (file!("expired.pem"), file!("expired.key"));
    /// What a client shows.
    pub const CLIENT: (&str, &str) = (file!("client.pem"), file!("client.key"));
}

/// A port that nobody else in the test's run uses, in any namespace.
pub fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What does the ciphering.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
