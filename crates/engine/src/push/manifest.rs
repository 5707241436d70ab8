//! The manifest of a push: the one with which the image came, byte for byte, if all its layers are at the registry as it
//! says; otherwise a new one. Pure.

use super::layer::Packed;
use dhow_store::{Compression, Form};
use dhow_types::image::{Descriptor, Document, Manifest, media_type};
use dhow_types::{Context as _, Digest, Error, Result};
use std::collections::BTreeMap;

/// The manifest with which an image came.
pub(super) struct Original<'a> {
    bytes: &'a [u8],
    document: Manifest,
}

impl<'a> Original<'a> {
    /// Reads it. One that can't be read is none: a new one will do.
    pub(super) fn read(bytes: Option<&'a [u8]>) -> Option<Self> {
        let bytes = bytes?;
        match Document::parse(bytes, "") {
            Ok(Document::Manifest(document)) => Some(Self { bytes, document: *document }),
            _ => None,
        }
    }
    /// The digests of its layers.
    pub(super) fn layers(&self) -> Vec<Digest> {
        self.document.layers.iter().map(|l| l.digest).collect()
    }
    fn media_type(&self) -> &str {
        match self.document.media_type.as_str() {
            "" => media_type::OCI_MANIFEST,
            said => said,
        }
    }
}

/// The manifest of the image `id`, whose layers are at the registry in these `forms`: its media type and bytes.
pub(super) fn of(
    original: Option<&Original<'_>>,
    id: &Digest,
    config: u64,
    forms: &[Form],
) -> Result<(String, Vec<u8>)> {
    if let Some(original) = original
        && original.document.config.digest == *id
        && original.layers().iter().eq(forms.iter().map(|f| &f.digest))
    {
        return Ok((original.media_type().to_owned(), original.bytes.to_vec()));
    }
    // Docker's types know gzip only.
    let came_as_oci = original.is_some_and(|o| o.media_type() == media_type::OCI_MANIFEST);
    let docker = !came_as_oci && forms.iter().all(|f| Packed::of(&f.media_type) == Packed::Gzip);
    let (own, of_config) = match docker {
        true => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        false => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
    };
    let layers = forms.iter().map(|form| {
        let known = original.and_then(|o| o.document.layers.iter().find(|l| l.digest == form.digest));
        let media_type = match Packed::of(&form.media_type) {
            Packed::Gzip => Compression::Gzip(0).media_type(docker),
            Packed::Zstd => Compression::Zstd(0).media_type(docker),
            Packed::No => media_type::OCI_LAYER.to_owned(),
        };
        let annotations = known.filter(|_| !docker).map(|l| l.annotations.clone()).unwrap_or_default();
        Descriptor { annotations, ..descriptor(&media_type, form.digest, form.size) }
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: own.to_owned(),
        config: descriptor(of_config, *id, config),
        layers: layers.collect(),
        annotations: original.filter(|_| !docker).map(|o| o.document.annotations.clone()).unwrap_or_default(),
    };
    let bytes =
        serde_json::to_vec(&manifest).map_err(|e| Error::system(e.to_string())).context("write the manifest")?;
    Ok((own.to_owned(), bytes))
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
        urls: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, media_type: &str) -> Form {
        Form { digest: Digest::of(name.as_bytes()), size: 7, media_type: media_type.into(), kept: false }
    }

    #[test]
    fn the_images_own_or_a_new_one() {
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        let id = Digest::of(b"config");
        let text = |media_type: &str, layers: &[&str]| {
            let layers: Vec<String> = layers
                .iter()
                .map(|l| {
                    let d = Digest::of(l.as_bytes());
                    format!(r#"{{"digest":"{d}","size":7,"mediaType":"{gzip}","annotations":{{"of":"{l}"}}}}"#)
                })
                .collect();
            format!(
                r#"{{ "schemaVersion":2, "mediaType":"{media_type}", "annotations":{{"a":"b"}},
                "config":{{"digest":"{id}","size":6}},"layers":[{}]}}"#,
                layers.join(",")
            )
            .into_bytes()
        };
        let (oci, docker) = (media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);
        let ab = [form("a", gzip), form("b", media_type::DOCKER_LAYER)];
        let az = [form("a", gzip), form("z", zstd)];
        // Manifest with which it came, forms, whether it is kept, type of what is pushed, types of its layers.
        for (came, forms, same, want, layers) in [
            (Some(text(oci, &["a", "b"])), &ab, true, oci, ["", ""]),
            (Some(text(docker, &["a", "b"])), &ab, true, docker, ["", ""]),
            (Some(text(oci, &["b", "a"])), &ab, false, oci, [gzip, gzip]),
            (Some(text(docker, &["a", "x"])), &ab, false, docker, [media_type::DOCKER_LAYER; 2]),
            (None, &ab, false, docker, [media_type::DOCKER_LAYER; 2]),
            (None, &az, false, oci, [gzip, zstd]),
            (Some(text(docker, &["a", "x"])), &az, false, oci, [gzip, zstd]),
        ] {
            let original = Original::read(came.as_deref());
            let (media_type, bytes) = of(original.as_ref(), &id, 6, forms).unwrap();
            assert_eq!((media_type.as_str(), came.as_ref() == Some(&bytes)), (want, same));
            let Document::Manifest(m) = Document::parse(&bytes, &media_type).unwrap() else { panic!("no manifest") };
            assert_eq!(m.config.digest, id);
            if !same {
                assert_eq!(m.layers.iter().map(|l| l.media_type.as_str()).collect::<Vec<_>>(), layers);
                // What is said of a layer's bytes goes along with these only.
                let told = came.is_some() && want == oci;
                assert_eq!(m.layers[0].annotations.len(), usize::from(told));
                assert_eq!(m.annotations.len(), usize::from(told));
                assert!(m.layers[1].digest != Digest::of(b"z") || m.layers[1].annotations.is_empty());
            }
        }
    }
}
