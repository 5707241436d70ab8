//! What refers to a manifest: signatures, bills of materials, attestations. Rule: distribution-spec, "Listing Referrers",
//! and the tag `sha256-<hex>` where a registry does not have that.

use crate::address::Address;
use crate::bounds::{MAX_PAGES, MAX_REFERRERS};
use crate::failure::{Cause, Failure, Part};
use crate::link;
use crate::manifest::Wanted;
use crate::repository::Repository;
use crate::round::Turn;
use dhow_types::image::{Descriptor, MAX_DOCUMENT, media_type};
use dhow_types::{Digest, Error};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Referrer {
    /// Its manifest.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What it is, e.g. `application/spdx+json`; empty if nobody says.
    #[serde(default, rename = "artifactType")]
    pub artifact_type: String,
}

#[derive(Deserialize)]
struct Page {
    /// Go writes an empty list as `null`.
    manifests: Option<Vec<Referrer>>,
}

impl Repository {
    /// Everything that refers to `subject`, of one type if one is named.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Box<Failure>> {
        let mut round = self.round(|e| e.resolve, false);
        let mut found = loop {
            match round.turn(self.bounds()) {
                Turn::Wait(wait) => tokio::time::sleep(wait).await,
                Turn::Over => return Err(self.failure(Part::Referrers(*subject), &round)),
                Turn::Ask(endpoint) => match self.referrers_of(endpoint, subject, artifact_type).await {
                    Ok(found) => {
                        self.answered(endpoint);
                        break found;
                    }
                    Err(cause) => round.failed(cause),
                },
            }
        };
        // Whether a registry filters is its own choice.
        found.retain(|r| artifact_type.is_none_or(|wanted| wanted == r.artifact_type));
        Ok(found)
    }

    async fn referrers_of(
        &self,
        endpoint: usize,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Cause> {
        let mut first = self.address(endpoint, &format!("referrers/{subject}"));
        if let Some(wanted) = artifact_type {
            first = first.with("artifactType", wanted);
        }
        let mut found = Vec::new();
        let mut next: Option<Address> = Some(first);
        let mut pages = 0;
        while let Some(address) = next {
            pages += 1;
            if pages > MAX_PAGES {
                return Err(Cause::Protocol(format!("its list of referrers has more than {MAX_PAGES} pages")));
            }
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX))]);
            let answer = match self.call(endpoint, Method::GET, address.clone(), headers).await {
                Ok(answer) => answer,
                // A registry without that list.
                Err(Cause::Refused { status: 400 | 404 | 405 | 501, .. }) if pages == 1 => {
                    return self.tagged(endpoint, subject).await;
                }
                Err(cause) => return Err(cause),
            };
            let is_list = answer.header(CONTENT_TYPE).is_some_and(|t| t.starts_with(media_type::OCI_INDEX));
            if pages == 1 && !is_list {
                return self.tagged(endpoint, subject).await;
            }
            next = link::next(&answer.headers, &address)?;
            found.extend(read(&answer.reader.all(MAX_DOCUMENT).await?)?);
            if found.len() > MAX_REFERRERS {
                return Err(Cause::Protocol(format!("it lists more than {MAX_REFERRERS} referrers")));
            }
        }
        Ok(found)
    }

    /// Those that an index under the tag of the fallback lists; none if there is no such tag.
    async fn tagged(&self, endpoint: usize, subject: &Digest) -> Result<Vec<Referrer>, Cause> {
        match self.get(endpoint, &Wanted::Tag(fallback_tag(subject))).await {
            Ok(fetched) => match fetched.document {
                dhow_types::image::Document::Index(_) => read(&fetched.bytes),
                // Somebody else's tag.
                dhow_types::image::Document::Manifest(_) => Ok(Vec::new()),
            },
            Err(Cause::Refused { status: 404, .. }) => Ok(Vec::new()),
            Err(cause) => Err(cause),
        }
    }
}

/// The tag under which the referrers of a manifest are listed where the registry does not list them itself.
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

fn read(bytes: &[u8]) -> Result<Vec<Referrer>, Cause> {
    let page: Page = serde_json::from_slice(bytes)
        .map_err(|e| Cause::Document(Error::invalid(format!("its list of referrers can't be read: {e}"))))?;
    Ok(page.manifests.unwrap_or_default())
}
