//! What the server says about images.

use crate::config::Words;
use crate::document::{Empty, document, is_zero};
use crate::{HealthConfig, config};
use std::collections::BTreeMap;

document! {
    /// One image in the answer to `GET /images/json`.
    pub struct ImageSummary {
        containers: i64,
        created: i64,
        id: String,
        labels: Option<BTreeMap<String, String>>,
        parent_id: String,
        #[serde(skip_serializing_if = "is_zero")]
        descriptor: Option<OciDescriptor>,
        repo_digests: Vec<String>,
        repo_tags: Vec<String>,
        shared_size: i64,
        size: i64,
        /// When a container of it was last made, started or ended, seconds since 1970; dhow's own.
        #[serde(skip_serializing_if = "is_zero")]
        last_used: i64,
        /// Why its configuration can't be read, if so; dhow's own.
        #[serde(skip_serializing_if = "is_zero")]
        damaged: String,
        /// Equal to `Size`; only in answers before API 1.44.
        #[serde(skip_serializing_if = "is_zero")]
        virtual_size: i64,
    }

    /// The answer to `GET /images/{name}/json`.
    pub struct ImageInspect {
        id: String,
        repo_tags: Vec<String>,
        repo_digests: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        parent: Option<String>,
        comment: String,
        #[serde(skip_serializing_if = "is_zero")]
        created: String,
        #[serde(skip_serializing_if = "is_zero")]
        docker_version: Option<String>,
        author: String,
        #[serde(skip_serializing_if = "is_zero")]
        config: Option<ImageConfig>,
        architecture: String,
        #[serde(skip_serializing_if = "is_zero")]
        variant: String,
        os: String,
        #[serde(skip_serializing_if = "is_zero")]
        os_version: String,
        size: i64,
        /// Equal to `Size`; only in answers before API 1.44.
        #[serde(skip_serializing_if = "is_zero")]
        virtual_size: i64,
        graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
        metadata: ImageMetadata,
        #[serde(skip_serializing_if = "is_zero")]
        descriptor: Option<OciDescriptor>,
    }

    /// The defaults that an image gives its containers.
    pub struct ImageConfig {
        #[serde(skip_serializing_if = "is_zero")]
        user: String,
        #[serde(skip_serializing_if = "is_zero")]
        exposed_ports: Option<BTreeMap<String, Empty>>,
        #[serde(skip_serializing_if = "is_zero")]
        env: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        entrypoint: Option<config::Words>,
        #[serde(skip_serializing_if = "is_zero")]
        cmd: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        volumes: Option<BTreeMap<String, Empty>>,
        #[serde(skip_serializing_if = "is_zero")]
        working_dir: String,
        #[serde(skip_serializing_if = "is_zero")]
        labels: Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "is_zero")]
        stop_signal: String,
        #[serde(skip_serializing_if = "is_zero")]
        args_escaped: bool,
        #[serde(skip_serializing_if = "is_zero")]
        healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "is_zero")]
        on_build: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_zero")]
        shell: Option<Words>,
    }

    /// Who keeps the file system, and its own words about it.
    pub struct GraphDriver {
        data: Option<BTreeMap<String, String>>,
        name: String,
    }

    /// The layers of an image, by the digests of their tar archives.
    pub struct RootFs {
        r#type: String,
        #[serde(skip_serializing_if = "is_zero")]
        layers: Vec<String>,
    }

    /// What is known about an image here only.
    pub struct ImageMetadata {
        #[serde(skip_serializing_if = "is_zero")]
        last_tag_time: String,
        /// When a container of it was last made, started or ended; dhow's own.
        #[serde(skip_serializing_if = "is_zero")]
        last_used: String,
    }

    /// One thing that `DELETE /images/{name}` did.
    pub struct ImageDeleteItem {
        #[serde(skip_serializing_if = "is_zero")]
        deleted: String,
        #[serde(skip_serializing_if = "is_zero")]
        untagged: String,
    }

    /// A pointer to content.
    pub struct OciDescriptor {
        #[serde(rename = "mediaType")]
        media_type: String,
        #[serde(rename = "digest")]
        digest: String,
        #[serde(rename = "size")]
        size: i64,
        #[serde(rename = "urls", skip_serializing_if = "is_zero")]
        urls: Option<Vec<String>>,
        #[serde(rename = "annotations", skip_serializing_if = "is_zero")]
        annotations: Option<BTreeMap<String, String>>,
        #[serde(rename = "platform", skip_serializing_if = "is_zero")]
        platform: Option<OciPlatform>,
        #[serde(rename = "artifactType", skip_serializing_if = "is_zero")]
        artifact_type: String,
    }

    /// What a program needs to run.
    pub struct OciPlatform {
        #[serde(rename = "architecture")]
        architecture: String,
        #[serde(rename = "os")]
        os: String,
        #[serde(rename = "os.version", skip_serializing_if = "is_zero")]
        os_version: String,
        #[serde(rename = "os.features", skip_serializing_if = "is_zero")]
        os_features: Option<Vec<String>>,
        #[serde(rename = "variant", skip_serializing_if = "is_zero")]
        variant: String,
    }
}
