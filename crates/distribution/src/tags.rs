//! The tags of a repository, page by page. Rule: distribution-spec, "Listing Tags".

use crate::address::Address;
use crate::bounds::{MAX_PAGES, MAX_TAGS};
use crate::failure::{Cause, Failure, Part};
use crate::link;
use crate::repository::Repository;
use crate::round::Turn;
use dhow_types::image::MAX_DOCUMENT;
use http::{HeaderMap, Method};
use serde::Deserialize;

#[derive(Deserialize)]
struct Page {
    /// Go writes an empty list as `null`.
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order. Each is one that a name may have.
    pub async fn tags(&self) -> Result<Vec<String>, Box<Failure>> {
        let mut round = self.round(|e| e.resolve, false);
        loop {
            match round.turn(self.bounds()) {
                Turn::Wait(wait) => tokio::time::sleep(wait).await,
                Turn::Over => return Err(self.failure(Part::Tags, &round)),
                Turn::Ask(endpoint) => match self.tags_of(endpoint).await {
                    Ok(tags) => {
                        self.answered(endpoint);
                        return Ok(tags);
                    }
                    Err(cause) => round.failed(cause),
                },
            }
        }
    }

    /// All pages of one endpoint: another one's would not fit to them.
    async fn tags_of(&self, endpoint: usize) -> Result<Vec<String>, Cause> {
        let mut tags: Vec<String> = Vec::new();
        let mut next: Option<Address> = Some(self.address(endpoint, "tags/list"));
        let mut pages = 0;
        while let Some(address) = next {
            pages += 1;
            if pages > MAX_PAGES {
                return Err(Cause::Protocol(format!("its list of tags has more than {MAX_PAGES} pages")));
            }
            let answer = self.call(endpoint, Method::GET, address.clone(), HeaderMap::new()).await?;
            next = link::next(&answer.headers, &address)?;
            let bytes = answer.reader.all(MAX_DOCUMENT).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|e| Cause::Protocol(format!("its list of tags can't be read: {e}")))?;
            for tag in page.tags.unwrap_or_default() {
                if self.name().with_tag(&tag).is_err() {
                    let tag = crate::words::printable(&tag);
                    return Err(Cause::Protocol(format!("its list of tags has {tag:?}, which is no tag")));
                }
                tags.push(tag);
            }
            if tags.len() > MAX_TAGS {
                return Err(Cause::Protocol(format!("it lists more than {MAX_TAGS} tags")));
            }
        }
        Ok(tags)
    }
}
