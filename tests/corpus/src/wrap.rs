//! What layers come in: docker archives and OCI layouts, plain and compressed.

use crate::Tar;
use dhow_types::Digest;
use dhow_types::image::media_type;
use serde_json::{Value, json};
use std::io::Write as _;

/// How a layer, or a whole archive, is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Packing {
    /// The bytes, packed.
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packing::Plain => bytes.to_vec(),
            Packing::Gzip => gzip(bytes),
            Packing::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

/// gzip, fast.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// A configuration for layers with these uncompressed tars.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<Digest> = layers.iter().map(|l| Digest::of(l)).collect();
    json!({
        "architecture": if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }, "os": "linux",
        "created": "2024-01-02T03:04:05.678Z",
        "config": { "Cmd": ["sh"], "Labels": { "a": "b" } },
        "rootfs": { "type": "layers", "diff_ids": ids },
    })
    .to_string()
    .into_bytes()
}

/// A docker archive, layers before the manifest, the tars as given.
pub fn docker_archive(tag: Option<&str>, config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut names = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let name = format!("layer{i}/layer.tar");
        tar = tar.file(&name, layer);
        names.push(name);
    }
    let name = format!("{}.json", Digest::of(config).hex());
    let tags: Vec<&str> = tag.into_iter().collect();
    let manifest = json!([{ "Config": name, "RepoTags": tags, "Layers": names }]).to_string();
    tar.file(&name, config).file("manifest.json", manifest.as_bytes()).end()
}

/// A descriptor of these bytes.
pub fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// An OCI layout; layers are given as they lie in it.
pub struct Layout {
    /// Everything in `blobs/`.
    pub blobs: Vec<Vec<u8>>,
    /// `index.json`.
    pub index: Value,
}

impl Layout {
    /// One image of these layers.
    pub fn new(config: &[u8], layers: &[Vec<u8>], name: Option<&str>) -> Self {
        let manifest = Self::manifest(config, layers);
        let mut entry = descriptor(media_type::OCI_MANIFEST, &manifest);
        if let Some(name) = name {
            entry["annotations"] = json!({ "io.containerd.image.name": name });
        }
        let mut blobs = layers.to_vec();
        blobs.extend([config.to_vec(), manifest]);
        Self { blobs, index: json!({ "schemaVersion": 2, "manifests": [entry] }) }
    }

    /// The manifest of an image.
    pub fn manifest(config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
        let layers: Vec<_> = layers
            .iter()
            .map(|l| {
                let kind = match l.as_slice() {
                    [0x1f, 0x8b, ..] => "+gzip",
                    [0x28, 0xb5, ..] => "+zstd",
                    _ => "",
                };
                descriptor(&format!("{}{kind}", media_type::OCI_LAYER), l)
            })
            .collect();
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(media_type::OCI_CONFIG, config), "layers": layers })
        .to_string()
        .into_bytes()
    }

    /// The archive.
    pub fn tar(&self) -> Vec<u8> {
        let mut tar = Tar::new().dir("blobs").dir("blobs/sha256");
        for blob in &self.blobs {
            tar = tar.file(format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
        }
        tar.file("index.json", self.index.to_string().as_bytes())
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .end()
    }
}

/// An OCI layout of one image with one layer, packed like this.
pub fn layout_of(layer: &[u8], packing: Packing, name: Option<&str>) -> Vec<u8> {
    Layout::new(&config(&[layer.to_vec()]), &[packing.pack(layer)], name).tar()
}

/// A docker archive of one image with one layer, packed like this.
pub fn docker_of(layer: &[u8], packing: Packing, name: Option<&str>) -> Vec<u8> {
    docker_archive(name, &config(&[layer.to_vec()]), &[packing.pack(layer)])
}
