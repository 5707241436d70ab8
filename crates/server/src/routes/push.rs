//! Images to registries, told in Docker's JSON lines.

use super::transfers::{meta, named, reply};
use crate::api::Call;
use crate::convert::{auth, image};
use crate::reply::Reply;
use dhow_api::ApiVersion;
use dhow_engine::{Compression, Engine, PushRequest};
use dhow_types::{Error, Result};

/// `POST /images/{name}/push`. `compression` is dhow's own.
pub(crate) async fn push(engine: &Engine, call: Call) -> Result<Reply> {
    let query = &call.query;
    let request = PushRequest {
        reference: named(&call.name, query.get("tag").unwrap_or_default())?,
        // Older clients sent what older daemons never looked at.
        platform: match call.version >= ApiVersion::new(1, 46) && query.get("platform").is_some_and(|p| !p.is_empty()) {
            true => image::platform(query, call.version.max(ApiVersion::new(1, 48)))?,
            false => None,
        },
        credentials: auth::credentials(&call.headers),
        meta: meta(&call.headers),
        compression: match query.get("compression") {
            None | Some("") => None,
            Some(text) => Some(compression(text)?),
        },
    };
    reply(engine.push(request).await?).await
}

/// `gzip`, `zstd`, or one of them with its level: `gzip:9`.
fn compression(text: &str) -> Result<Compression> {
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    let level = |usual: i32, most: i32| match level {
        None => Ok(usual),
        Some(level) => level.parse().ok().filter(|l| (1..=most).contains(l)).ok_or_else(|| {
            Error::invalid(format!("compression {text:?}: {level:?} is no level of {name}: want 1 to {most}"))
        }),
    };
    match name {
        "gzip" => Ok(Compression::Gzip(level(6, 9)?.unsigned_abs())),
        "zstd" => Ok(Compression::Zstd(level(3, 19)?)),
        _ => Err(Error::invalid(format!(
            "compression {text:?} is not supported: want gzip, zstd, gzip:LEVEL or zstd:LEVEL"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions() {
        for (text, want) in [
            ("gzip", Some(Compression::Gzip(6))),
            ("gzip:1", Some(Compression::Gzip(1))),
            ("zstd", Some(Compression::Zstd(3))),
            ("zstd:19", Some(Compression::Zstd(19))),
            ("zstd:20", None),
            ("gzip:0", None),
            ("gzip:-1", None),
            ("gzip:", None),
            ("estargz", None),
            ("", None),
        ] {
            assert_eq!(compression(text).ok(), want, "{text}");
        }
    }
}
