//! Images of the tests' own, byte by byte: to put into a registry, or to serve from a server that misbehaves.

use crate::registry::Registry;
use crate::wire::{Reply, Request};
use anyhow::{Context as _, Result, ensure};
use dhow_corpus::Tar;
use dhow_corpus::random::Random;
use dhow_corpus::wrap::{self, Packing};
use dhow_types::Digest;
use dhow_types::image::media_type;
use serde_json::{Value, json};

/// Whose media types an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The OCI's.
    Oci,
    /// Docker's, schema 2.
    Docker,
}

/// An image: what its layers hold, and all that a registry has of it.
#[derive(Clone)]
pub struct Made {
    /// The layers' tars.
    pub tars: Vec<Vec<u8>>,
    /// The layers as they are sent.
    pub layers: Vec<Vec<u8>>,
    /// The configuration.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Of the manifest.
    pub media_type: String,
}

impl Made {
    /// Of these tars, packed like this.
    pub fn new(form: Form, tars: &[Vec<u8>], packing: Packing) -> Self {
        let packed: Vec<Vec<u8>> = tars.iter().map(|t| packing.pack(t)).collect();
        Self::of(form, tars, &packed, wrap::config(tars))
    }

    /// The same with a configuration and layers as they are sent, which need not belong together.
    pub fn of(form: Form, tars: &[Vec<u8>], layers: &[Vec<u8>], config: Vec<u8>) -> Self {
        let (manifest, media_type) = match form {
            Form::Oci => (wrap::Layout::manifest(&config, layers), media_type::OCI_MANIFEST),
            Form::Docker => {
                let layers: Vec<Value> = layers.iter().map(|l| wrap::descriptor(media_type::DOCKER_LAYER, l)).collect();
                let config = wrap::descriptor(media_type::DOCKER_CONFIG, &config);
                let document = json!({
                    "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST, "config": config, "layers": layers,
                });
                (document.to_string().into_bytes(), media_type::DOCKER_MANIFEST)
            }
        };
        Self { tars: tars.to_vec(), layers: layers.to_vec(), config, manifest, media_type: media_type.to_owned() }
    }

    /// Two small layers and one of so many bytes that can't be compressed; other seeds give other bytes.
    pub fn sized(seed: u64, bytes: usize) -> Self {
        let tars = [small(seed, "first"), small(seed, "second"), Tar::new().file("large", &noise(seed, bytes)).end()];
        Self::new(Form::Oci, &tars, Packing::Gzip)
    }

    /// Another manifest; what it is about stays.
    pub fn with_manifest(mut self, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut manifest = serde_json::from_slice(&self.manifest)?;
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        Ok(self)
    }

    /// `sha256:…` of the configuration, which is the image's id.
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// `sha256:…` of the manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// `sha256:…` of a layer as it is sent.
    pub fn layer(&self, number: usize) -> String {
        digest(&self.layers[number])
    }

    /// Its first twelve digits.
    pub fn short(&self, number: usize) -> String {
        self.layer(number)[7..19].to_owned()
    }

    /// As a registry that keeps to the rules answers, whatever the repository and the tag.
    pub fn answer(&self, request: &Request) -> Reply {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        if request.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        if request.path.contains("/manifests/") {
            if name.starts_with("sha256:") && name != self.digest() {
                return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
            }
            return Reply::new(200, self.manifest.clone())
                .with("content-type", &self.media_type)
                .with("docker-content-digest", self.digest());
        }
        let blobs = self.layers.iter().chain([&self.config]);
        match blobs.into_iter().find(|b| digest(b) == name) {
            None => Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            Some(bytes) => ranged(request, bytes),
        }
    }

    /// Puts it into a registry, under a tag.
    pub fn put(&self, registry: &Registry, repository: &str, tag: &str) -> Result<()> {
        for blob in self.layers.iter().chain([&self.config]) {
            put_blob(registry, repository, blob)?;
        }
        put_manifest(registry, repository, tag, &self.media_type, &self.manifest)
    }
}

/// The bytes, or those that `Range` asks for.
pub fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let range = request.field("range").strip_prefix("bytes=").and_then(|r| r.split_once('-'));
    match range.and_then(|(from, _)| from.parse::<usize>().ok()) {
        None => Reply::new(200, bytes),
        Some(from) if from >= bytes.len() => Reply::new(416, ""),
        Some(from) => Reply::new(206, &bytes[from..])
            .with("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

/// `sha256:…`.
pub fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// Bytes that no compression makes fewer.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

/// The tar of a small layer.
pub fn small(seed: u64, name: &str) -> Vec<u8> {
    Tar::new().dir("etc/").file(format!("etc/{name}"), format!("{name} of {seed}\n").as_bytes()).end()
}

/// Puts a blob into a registry.
pub fn put_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Result<()> {
    let begun = registry.ask_as_user(&format!("POST /v2/{repository}/blobs/uploads/"), &[], b"")?;
    ensure!(begun.status() == 202, "{:?}", begun.head);
    let to = begun.head.field("location").split_once(&registry.host()).context("an upload elsewhere")?.1;
    let put = registry.ask_as_user(&format!("PUT {to}&digest={}", digest(bytes)), &[], bytes)?;
    ensure!(put.status() == 201, "{:?}", put.head);
    Ok(())
}

/// Puts a manifest or an index into a registry, under a tag.
pub fn put_manifest(registry: &Registry, repository: &str, tag: &str, kind: &str, bytes: &[u8]) -> Result<()> {
    let line = format!("PUT /v2/{repository}/manifests/{tag}");
    let put = registry.ask_as_user(&line, &[("content-type", kind)], bytes)?;
    ensure!(put.status() == 201, "{:?} {}", put.head, String::from_utf8_lossy(&put.body));
    Ok(())
}
