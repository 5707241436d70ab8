//! Images that stay at their registry: looked at, checked, and copied, without a store.
//!
//! [`inspect`] reads one, [`look`] goes the way of a pull and gathers [`facts`], [`judge`] (pure) says what they mean;
//! [`copy`] brings one from registry to registry, [`manifests`] handles manifests as such.

pub mod copy;
pub mod facts;
pub mod inspect;
pub mod judge;
mod look;
pub mod manifests;
mod referrers;

use crate::core::Core;
pub use dhow_distribution::Referrer;
use dhow_distribution::{Actions, Credentials, Repository, Wanted};
use dhow_types::{Platform, Reference, Result};
use judge::Report;
use std::sync::Arc;

/// Which image, and as whom.
#[derive(Clone, Debug)]
pub struct RemoteRequest {
    /// The image; without tag and digest `latest` is meant.
    pub reference: Reference,
    /// For which platform; `None` is this machine's.
    pub platform: Option<Platform>,
    /// What the registry is shown.
    pub credentials: Credentials,
    /// Headers (`X-Meta-…`) for the registry.
    pub meta: Vec<(String, String)>,
}

impl RemoteRequest {
    async fn repository(&self, core: &Core) -> Result<Repository, Box<dhow_distribution::Failure>> {
        let registries = &core.settings.registries;
        let repository = registries.repository(&self.reference, self.credentials.clone(), Actions::Pull).await?;
        Ok(repository.with_meta(self.meta.clone()))
    }
}

/// The manifest that a name means. As in Docker a tag does not count where there is a digest.
fn wanted(reference: &Reference) -> Wanted {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Wanted::Digest(*digest),
        (None, tag) => Wanted::Tag(tag.unwrap_or(dhow_types::reference::DEFAULT_TAG).to_owned()),
    }
}

/// Goes the way of a pull, and says what is wrong on it.
pub(crate) async fn check(core: &Arc<Core>, request: RemoteRequest) -> Report {
    judge::report(&look::all(core, request).await)
}
