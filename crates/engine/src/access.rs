//! Questions to registries that change nothing here: whether credentials hold, what a name stands for, what an index
//! knows. Nothing of credentials is kept.

use crate::core::Core;
use dhow_distribution::{Actions, Cause, Credentials, Failure, Fetched, Hit, Search, Wanted};
use dhow_types::image::{Descriptor, Document};
use dhow_types::{Error, ErrorKind, Platform, Reference, Result};
use serde::Deserialize;

/// Hits if nobody said how many; Docker's number.
const HITS: u32 = 25;

/// What to search, and which of it to show.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// A word, after `host[:port]/` if it is not for Docker Hub.
    pub term: String,
    /// The most hits; 0 leaves it to Docker's number.
    pub limit: u32,
    /// Only those that Docker made, or only others.
    pub official: Option<bool>,
    /// Only those that are built automatically: nobody knows any more which, and there is none.
    pub automated: bool,
    /// Only those with as many stars.
    pub stars: i64,
    /// For the index.
    pub credentials: Credentials,
    /// Headers (`X-Meta-…`) for the index.
    pub meta: Vec<(String, String)>,
}

/// What a registry has under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct DistributionView {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// Which platforms it is for.
    pub platforms: Vec<Platform>,
}

/// Shows credentials to a registry; gives the token that stands for them from now on, if there is one.
pub(crate) async fn login(core: &Core, address: &str, credentials: Credentials) -> Result<String> {
    Ok(core.settings.registries.login(address, credentials).await?.identity_token)
}

/// Asks an index.
pub(crate) async fn search(core: &Core, request: SearchRequest) -> Result<Vec<Hit>> {
    let SearchRequest { term, limit, official, automated, stars, credentials, meta } = request;
    if automated {
        return Ok(Vec::new());
    }
    let limit = if limit == 0 { HITS } else { limit };
    let hits = core.settings.registries.search(Search { term, limit, credentials, meta }).await?;
    let fits = |hit: &Hit| official.is_none_or(|o| o == hit.is_official) && hit.star_count >= stars;
    Ok(hits.into_iter().filter(fits).collect())
}

/// Asks a registry what a name stands for.
pub(crate) async fn describe(core: &Core, reference: Reference, credentials: Credentials) -> Result<DistributionView> {
    let wanted = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => Wanted::Digest(*digest),
        (None, tag) => Wanted::Tag(tag.unwrap_or(dhow_types::reference::DEFAULT_TAG).to_owned()),
    };
    let registries = &core.settings.registries;
    let repository = registries.repository(&reference, credentials, Actions::Pull).await.map_err(refused)?;
    let Fetched { bytes, digest, media_type, document } = repository.manifest(&wanted).await.map_err(refused)?;
    let platforms = match document {
        Document::Index(index) => index.manifests.into_iter().filter_map(|m| m.platform).collect(),
        Document::Manifest(manifest) => {
            // What is no image has no platform, which is no error.
            let config = repository.config(&manifest.config).await.ok();
            config.and_then(|bytes| platform(&bytes)).into_iter().collect()
        }
    };
    let size = bytes.len() as u64;
    let (annotations, urls) = (Default::default(), Vec::new());
    Ok(DistributionView {
        descriptor: Descriptor { media_type, digest, size, platform: None, annotations, urls },
        platforms,
    })
}

/// The platform in a configuration; none if it names none.
fn platform(config: &[u8]) -> Option<Platform> {
    let value = serde_json::from_slice::<serde_json::Value>(config).ok()?;
    Platform::deserialize(value).ok().filter(|p| !p.os.is_empty() || !p.architecture.is_empty())
}

/// As Docker answers here: with the status that the registry's code stands for.
fn refused(failure: Box<Failure>) -> Error {
    let kind = match &failure.cause {
        Cause::NoCredentials | Cause::RealmElsewhere(_) => ErrorKind::Unauthorized,
        Cause::Refused { code, .. } if code == "DENIED" => ErrorKind::Forbidden,
        Cause::Refused { status: 401, .. } => ErrorKind::Unauthorized,
        Cause::Refused { status: 403, .. } => ErrorKind::Forbidden,
        _ => return Error::from(failure),
    };
    Error::new(kind, failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_of_configurations() {
        let of = |text: &str| platform(text.as_bytes()).map(|p| (p.os, p.architecture, p.variant));
        let arm = Some(("linux".into(), "arm".into(), "v7".into()));
        assert_eq!(of(r#"{"os":"linux","architecture":"arm","variant":"v7","rootfs":{}}"#), arm);
        for none in ["{}", "[]", "x", r#"{"os":""}"#, r#"{"os":7}"#] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
