//! A client of the distribution protocol: what a name means, who answers for it, and its manifests and blobs, checked.
//!
//! Asynchronous, without a store: bytes come out in pieces, and the caller keeps them. Nothing here reads the process
//! environment, follows a foreign layer's addresses, or gives a credential to an origin it is not for.

mod address;
mod auth;
mod blob;
mod body;
mod bounds;
mod certs;
mod challenge;
mod clients;
mod connect;
mod endpoint;
mod failure;
mod hosts;
mod insecure;
mod link;
mod login;
mod manifest;
mod outgoing;
mod probe;
mod proxy;
mod push;
mod rate;
mod realm;
mod referrers;
mod repository;
mod retry;
mod roots;
mod round;
mod search;
mod secret;
mod settings;
mod tags;
mod token;
mod transport;
mod upload;
mod words;

pub use address::{Address, Origin};
pub use blob::{BlobStream, Step};
pub use bounds::Bounds;
pub use failure::{Cause, Failure, Part};
pub use login::Login;
pub use manifest::{Described, Fetched, Wanted};
pub use outgoing::{Opened, Piece, Source};
pub use probe::{Given, Ping, Place, Proven, Reached};
pub use proxy::Proxies;
pub use push::Mounted;
pub use rate::RateLimit;
pub use referrers::{Referrer, fallback_tag};
pub use repository::{Actions, Registries, Repository};
pub use search::{Hit, MOST_HITS, Search};
pub use secret::Credentials;
pub use settings::{Settings, Shown};
pub use upload::Session;
