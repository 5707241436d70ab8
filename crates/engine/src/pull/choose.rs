//! Which manifest of an index is meant for a platform: Docker's rule, which is containerd's. Pure.

use dhow_types::image::{Descriptor, Index, Manifest, media_type};
use dhow_types::{Error, Platform, Result};

/// The most platforms that are named in an error.
const MAX_NAMED: usize = 20;

/// The manifests that run on `wanted`, the best first. Those that say nothing of their platform come last.
pub(crate) fn candidates<'a>(index: &'a Index, wanted: &Platform) -> Vec<&'a Descriptor> {
    let mut fit: Vec<(u32, &Descriptor)> = index
        .manifests
        .iter()
        .filter_map(|d| match &d.platform {
            Some(p) if !p.os.is_empty() || !p.architecture.is_empty() => Some((p.rank_on(wanted)?, d)),
            _ => Some((u32::MAX, d)),
        })
        .collect();
    fit.sort_by_key(|(rank, _)| *rank);
    fit.into_iter().map(|(_, d)| d).collect()
}

/// Docker's words for an index that has nothing for a platform, and what it has.
pub(crate) fn nothing_for(index: &Index, asked: Option<&Platform>) -> String {
    let host = Platform::host();
    let wanted = asked.unwrap_or(&host);
    let mut offered: Vec<String> = Vec::new();
    for platform in index.manifests.iter().filter_map(|d| d.platform.as_ref()) {
        let platform = Platform::new(&platform.os, &platform.architecture, &platform.variant).to_string();
        if platform != "unknown/unknown" && !offered.contains(&platform) {
            offered.push(platform);
        }
    }
    let more = offered.len().saturating_sub(MAX_NAMED);
    offered.truncate(MAX_NAMED);
    let mut offered = if offered.is_empty() { "no image".to_owned() } else { offered.join(", ") };
    if more > 0 {
        offered.push_str(&format!(" and {more} more"));
    }
    format!("no matching manifest for {wanted} in the manifest list entries: it has {offered}")
}

/// Whether an index's entry is a manifest or an index; others are to be passed over.
pub(crate) fn is_document(descriptor: &Descriptor) -> bool {
    let known =
        [media_type::OCI_MANIFEST, media_type::OCI_INDEX, media_type::DOCKER_MANIFEST, media_type::DOCKER_INDEX];
    descriptor.media_type.is_empty() || known.contains(&descriptor.media_type.as_str())
}

/// Fails unless it is an image's manifest, in Docker's words.
pub(crate) fn check_kind(manifest: &Manifest) -> Result<()> {
    let kind = manifest.config.media_type.as_str();
    match kind {
        media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "" => Ok(()),
        _ => {
            let class = match kind {
                "application/vnd.docker.plugin.v1+json" => "plugin",
                _ => "unknown",
            };
            Err(Error::invalid(format!("Encountered remote {kind:?}({class}) when fetching: it is not an image")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhow_types::Digest;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().map(|text| {
            let platform = (*text != "-").then(|| {
                let parts: Vec<&str> = text.split('/').collect();
                Platform {
                    os: parts[0].into(),
                    architecture: parts[1].into(),
                    variant: parts.get(2).copied().unwrap_or_default().into(),
                    os_version: None,
                }
            });
            Descriptor {
                media_type: String::new(),
                digest: Digest::of(text.as_bytes()),
                size: 1,
                platform,
                annotations: Default::default(),
                urls: vec![],
            }
        });
        Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: manifests.collect(),
            annotations: Default::default(),
        }
    }

    #[test]
    fn as_docker_chooses() {
        let common = &["linux/arm/v6", "linux/amd64", "unknown/unknown", "linux/arm/v7", "linux/arm64/v8"][..];
        for (offered, wanted, want) in [
            (common, "linux/amd64", &["linux/amd64"][..]),
            (common, "linux/arm64", &["linux/arm64/v8", "linux/arm/v7", "linux/arm/v6"]),
            (common, "linux/arm/v7", &["linux/arm/v7", "linux/arm/v6"]),
            (common, "linux/s390x", &[]),
            (
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"],
                "linux/amd64/v2",
                &["linux/amd64/v2", "linux/amd64"],
            ),
            (&["linux/386", "linux/amd64"], "linux/amd64", &["linux/amd64", "linux/386"]),
            (&["-", "linux/amd64", "linux/ppc64le"], "linux/amd64", &["linux/amd64", "-"]),
            (&["linux/amd64", "linux/amd64"], "linux/amd64", &["linux/amd64", "linux/amd64"]),
            (&["unknown/unknown"], "linux/amd64", &[]),
        ] {
            let index = index(offered);
            let got: Vec<Digest> = candidates(&index, &wanted.parse().unwrap()).into_iter().map(|d| d.digest).collect();
            let want: Vec<Digest> = want.iter().map(|text| Digest::of(text.as_bytes())).collect();
            assert_eq!(got, want, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn what_there_is_is_named() {
        let index = index(&["linux/amd64", "unknown/unknown", "linux/arm64/v8", "linux/amd64"]);
        assert_eq!(
            nothing_for(&index, Some(&"linux/s390x".parse().unwrap())),
            "no matching manifest for linux/s390x in the manifest list entries: it has linux/amd64, linux/arm64"
        );
    }
}
