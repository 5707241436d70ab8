//! An image of a list as Docker's client keeps it, and the list itself, both with Docker's fields in Docker's order.

use super::super::inspect::indented;
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_api::remote::{ManifestRead, RawManifest};
use dhow_types::Reference;
use dhow_types::image::media_type;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An image of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its full name.
    #[serde(rename = "Ref")]
    pub(super) name: String,
    #[serde(rename = "Descriptor")]
    pub(super) descriptor: Descriptor,
    /// Its bytes in base64.
    #[serde(rename = "Raw", default, skip_serializing_if = "String::is_empty")]
    pub(super) raw: String,
    #[serde(rename = "SchemaV2Manifest", default, skip_serializing_if = "Option::is_none")]
    docker: Option<Box<RawValue>>,
    #[serde(rename = "OCIManifest", default, skip_serializing_if = "Option::is_none")]
    oci: Option<Box<RawValue>>,
}

/// A pointer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

/// What it runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub(super) os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub(super) os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
}

impl Platform {
    /// Whether programs are made for it: Go's systems and architectures, as Docker lists them.
    pub(super) fn is_known(&self) -> bool {
        let known: &[&str] = match self.os.as_str() {
            "darwin" => &["386", "amd64", "arm", "arm64"],
            "dragonfly" | "solaris" => &["amd64"],
            "freebsd" | "netbsd" => &["386", "amd64", "arm"],
            "linux" => &["386", "amd64", "arm", "arm64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"],
            "openbsd" | "plan9" | "windows" => &["386", "amd64"],
            _ => &[],
        };
        known.contains(&self.architecture.as_str())
    }
}

impl Entry {
    /// What a registry has; the platform is its configuration's, unless a list says another.
    pub(super) fn of(name: &Reference, read: &RawManifest, listed: Option<Platform>) -> Result<Self> {
        let bytes = STANDARD.decode(&read.raw).context("a manifest of the daemon")?;
        let manifest: Box<RawValue> = serde_json::from_slice(&bytes).context("a manifest of the daemon")?;
        let config = STANDARD.decode(&read.config).context("a configuration of the daemon")?;
        let platform = match listed {
            Some(platform) => platform,
            None => serde_json::from_slice(&config).unwrap_or_default(),
        };
        let is_oci = read.media_type == media_type::OCI_MANIFEST;
        Ok(Self {
            name: name.to_string(),
            descriptor: Descriptor {
                media_type: read.media_type.clone(),
                digest: read.digest.clone(),
                size: bytes.len() as u64,
                platform: Some(platform),
            },
            raw: read.raw.clone(),
            docker: (!is_oci).then(|| manifest.clone()),
            oci: is_oci.then_some(manifest),
        })
    }

    /// The manifest's own text.
    pub(super) fn text(&self) -> Result<String> {
        match self.docker.as_ref().or(self.oci.as_ref()) {
            Some(manifest) => Ok(manifest.get().to_owned()),
            None => bail!("{} has no payload", self.name),
        }
    }
}

/// The images of a list that a registry has.
pub(super) fn entries(name: &Reference, read: &ManifestRead) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        manifests: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        digest: String,
        platform: Option<Platform>,
    }
    let bytes = STANDARD.decode(&read.top.raw).context("a manifest of the daemon")?;
    let list: List = serde_json::from_slice(&bytes).context("a manifest of the daemon")?;
    let mut left = list.manifests;
    let images = read.images.iter().flatten().map(|image| {
        // One image may be listed for several platforms, in this order.
        let at = left.iter().position(|l| l.digest == image.digest);
        let platform = at.and_then(|at| left.remove(at).platform).unwrap_or_default();
        // As Docker names it: the tag stays.
        let full =
            format!("{name}@{}", image.digest).parse().or_else(|_| image.digest.parse().map(|d| name.with_digest(d)));
        Entry::of(&full.map_err(|e| anyhow::anyhow!("{e}"))?, image, Some(platform))
    });
    images.collect()
}

/// A list's media type and text.
pub(super) fn list(name: &Reference, entries: &[Entry]) -> Result<(String, String)> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        schema_version: u32,
        media_type: &'a str,
        manifests: Vec<Listed<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed<'a> {
        media_type: &'a str,
        size: u64,
        digest: &'a str,
        platform: Platform,
    }
    let mut manifests = Vec::new();
    for entry in entries {
        let domain = super::named(&entry.name)?.domain().to_owned();
        if domain != name.domain() {
            bail!(
                "cannot use source images from a different registry than the target image: {domain} != {}",
                name.domain()
            );
        }
        let Descriptor { media_type, digest, size, platform } = &entry.descriptor;
        manifests.push(Listed { media_type, size: *size, digest, platform: platform.clone().unwrap_or_default() });
    }
    let oci = manifests.first().is_some_and(|m| m.media_type == media_type::OCI_MANIFEST);
    let media_type = if oci { media_type::OCI_INDEX } else { media_type::DOCKER_INDEX };
    let list = List { schema_version: 2, media_type, manifests };
    Ok((media_type.to_owned(), indented(&serde_json::to_string(&list)?, "   ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, media_type: &str) -> RawManifest {
        RawManifest {
            digest: dhow_types::Digest::of(text.as_bytes()).to_string(),
            media_type: media_type.into(),
            raw: STANDARD.encode(text),
            config: STANDARD.encode(r#"{"architecture":"arm","os":"linux","variant":"v7","config":{}}"#),
        }
    }

    #[test]
    fn as_docker_keeps_and_lists_them() {
        let name: Reference = "r.example.com/x:1".parse().unwrap();
        let text = "{\n  \"schemaVersion\": 2\n}";
        for (kind, index, field) in [
            (media_type::DOCKER_MANIFEST, media_type::DOCKER_INDEX, "SchemaV2Manifest"),
            (media_type::OCI_MANIFEST, media_type::OCI_INDEX, "OCIManifest"),
        ] {
            let entry = Entry::of(&name, &read(text, kind), None).unwrap();
            let kept = serde_json::to_string(&entry).unwrap();
            let start = format!(r#"{{"Ref":"r.example.com/x:1","Descriptor":{{"mediaType":"{kind}","digest":"sha256:"#);
            assert!(kept.starts_with(&start), "{kept}");
            let platform = r#""size":24,"platform":{"architecture":"arm","os":"linux","variant":"v7"}},"Raw":"ew"#;
            assert!(kept.contains(platform) && kept.contains(&format!("\"{field}\":{{")), "{kept}");
            let again: Entry = serde_json::from_str(&kept).unwrap();
            assert_eq!(again.text().unwrap(), text);
            let (media_type, list) = list(&name, &[again]).unwrap();
            assert_eq!(media_type, index);
            let digest = dhow_types::Digest::of(text.as_bytes());
            assert_eq!(
                list,
                format!(
                    "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{index}\",\n   \"manifests\": [\n      {{\n         \
                     \"mediaType\": \"{kind}\",\n         \"size\": 24,\n         \"digest\": \"{digest}\",\n         \
                     \"platform\": {{\n            \"architecture\": \"arm\",\n            \"os\": \"linux\",\n            \
                     \"variant\": \"v7\"\n         }}\n      }}\n   ]\n}}"
                )
            );
        }
        let entry = Entry::of(&name, &read(text, media_type::OCI_MANIFEST), None).unwrap();
        let other: Reference = "other/x".parse().unwrap();
        let e = list(&other, &[entry]).unwrap_err().to_string();
        assert_eq!(
            e,
            "cannot use source images from a different registry than the target image: r.example.com != docker.io"
        );
    }

    #[test]
    fn platforms_that_there_are() {
        for (os, architecture, known) in
            [("linux", "riscv64", true), ("freebsd", "arm", true), ("linux", "vax", false), ("", "", false)]
        {
            let platform = Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() };
            assert_eq!(platform.is_known(), known, "{os}/{architecture}");
        }
    }
}
