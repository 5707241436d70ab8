//! What a manifest says a layer is, against what it turns out to be. Two readers of one layer must not see two things.

use crate::load::sniff::Content;
use dhow_types::image::media_type;
use dhow_types::{Error, Result};

/// The kinds of layers that a manifest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing.
    Anything,
    Tar,
    Gzip,
    Zstd,
}

/// Docker's names, beside the one of the gzip form.
const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// As they were called where layers may only be had from their makers. They are layers like others.
const BOUND: [&str; 2] =
    ["application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"];

/// What `media_type` says, if it is a layer's.
pub(super) fn said(media_type: &str) -> Result<Said> {
    if media_type.is_empty() {
        return Ok(Said::Anything);
    }
    let refused = || Error::invalid(format!("unsupported media type {media_type}"));
    let names = [media_type::OCI_LAYER, DOCKER].into_iter().chain(BOUND);
    let rest = names.into_iter().find_map(|name| media_type.strip_prefix(name)).ok_or_else(refused)?;
    match rest {
        "" => Ok(Said::Tar),
        "+gzip" | ".gzip" => Ok(Said::Gzip),
        "+zstd" | ".zstd" => Ok(Said::Zstd),
        _ => Err(refused()),
    }
}

/// Whether the bytes are what was said.
pub(super) fn agree(said: Said, content: Content, media_type: &str) -> Result<()> {
    let is = match (said, content) {
        (_, Content::Unsupported(what, _)) => what,
        (_, Content::Other) => "no tar, gzip or zstd",
        (Said::Anything, _) | (Said::Tar, Content::Tar) | (Said::Gzip, Content::Gzip) | (Said::Zstd, Content::Zstd) => {
            return Ok(());
        }
        (_, Content::Tar) => "a plain tar",
        (_, Content::Gzip) => "gzip",
        (_, Content::Zstd) => "zstd",
    };
    let text = match said {
        Said::Anything => format!("its bytes are {is}: dhow reads tars, plain or compressed with gzip or zstd"),
        _ => format!("ambiguous layer: it is described as {media_type:?}, but its bytes are {is}"),
    };
    Err(Error::invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_layers() {
        for (media_type, want) in [
            ("", Some(Said::Anything)),
            ("application/vnd.oci.image.layer.v1.tar", Some(Said::Tar)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Said::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Said::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Said::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Said::Zstd)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Said::Tar)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Said::Gzip)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Said::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.in-toto+json", None),
            ("text/plain", None),
        ] {
            assert_eq!(said(media_type).ok(), want, "{media_type}");
        }
    }

    #[test]
    fn bytes_are_what_was_said_or_named() {
        for (said, content, want) in [
            (Said::Anything, Content::Gzip, ""),
            (Said::Anything, Content::Other, "its bytes are no tar"),
            (Said::Gzip, Content::Gzip, ""),
            (Said::Gzip, Content::Zstd, "described as \"m\", but its bytes are zstd"),
            (Said::Zstd, Content::Tar, "but its bytes are a plain tar"),
            (Said::Tar, Content::Gzip, "but its bytes are gzip"),
            (Said::Tar, Content::Unsupported("xz", ""), "but its bytes are xz"),
        ] {
            let text = agree(said, content, "m").err().map(|e| e.text().to_owned()).unwrap_or_default();
            assert!(
                if want.is_empty() { text.is_empty() } else { text.contains(want) },
                "{said:?} {content:?}: {text}"
            );
        }
    }
}
