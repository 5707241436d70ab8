//! What the server says of registries.

use crate::document::document;
use crate::image::{OciDescriptor, OciPlatform};

document! {
    /// The answer to `POST /auth`.
    pub struct AuthResponse {
        status: String,
        identity_token: String,
    }

    /// The answer to `GET /distribution/{name}/json`.
    pub struct DistributionInspect {
        descriptor: OciDescriptor,
        platforms: Option<Vec<OciPlatform>>,
    }

    /// One row of the answer to `GET /images/search`.
    pub struct SearchResult {
        #[serde(rename = "star_count")]
        star_count: i64,
        #[serde(rename = "is_official")]
        is_official: bool,
        #[serde(rename = "name")]
        name: String,
        #[serde(rename = "is_automated")]
        is_automated: bool,
        #[serde(rename = "description")]
        description: String,
    }
}
