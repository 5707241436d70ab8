//! What was seen on the way to an image: plain data, without an opinion. `look` fills it, `judge` reads it.

use dhow_distribution::{Cause, Ping, Place, Proven, RateLimit, Reached};
use dhow_types::Digest;
use dhow_types::image::Descriptor;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Everything.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The image, as users write it.
    pub name: String,
    /// The registry of the name.
    pub registry: String,
    /// The platform that it is wanted for.
    pub platform: String,
    /// Whether the client gave credentials.
    pub credentials: bool,
    /// Seconds since 1970, when it began.
    pub now: i64,
    /// How often a pull tries what might pass.
    pub attempts: u32,
    /// Who is asked, in order; or why settings and certificates can't be used.
    pub places: Result<Vec<PlaceFacts>, Cause>,
}

/// A step and how long it took.
#[derive(Clone, Debug)]
pub struct Step<T, E = Cause> {
    /// From its beginning to its end.
    pub took: Duration,
    /// What came of it.
    pub came: Result<T, E>,
}

/// One endpoint. A step that was not gone is `None`.
#[derive(Clone, Debug)]
pub struct PlaceFacts {
    /// Who it is.
    pub place: Place,
    /// It was not asked because the one before it, the same with TLS, answered.
    pub spared: bool,
    /// The addresses of its name, or of its proxy's.
    pub addresses: Option<Step<Vec<IpAddr>, String>>,
    /// A connection.
    pub connection: Option<Step<SocketAddr, String>>,
    /// `GET /v2/`.
    pub ping: Option<Step<Ping>>,
    /// What it asked for.
    pub proof: Option<Step<Proven>>,
    /// The manifest or index.
    pub manifest: Option<Step<Top>>,
    /// The manifest for the platform; an error is words.
    pub choice: Option<Step<Chosen, Choosing>>,
    /// Configuration and layers, in this order.
    pub blobs: Vec<Blob>,
    /// Tags that there are, where the wanted one is not.
    pub tags: Option<Vec<String>>,
}

/// What the name means there.
#[derive(Clone, Debug)]
pub struct Top {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size.
    pub size: u64,
    /// Pulls that are left.
    pub limit: Option<RateLimit>,
}

/// The manifest for the platform.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its digest.
    pub digest: Digest,
    /// Its platform, if the index says it.
    pub platform: Option<String>,
    /// Whether it stands alone, and nothing was to be chosen.
    pub alone: bool,
}

/// Why no manifest was chosen.
#[derive(Clone, Debug)]
pub enum Choosing {
    /// There is none for the platform; Docker's words, with what there is.
    Nothing(String),
    /// It could not be read.
    Unread(Cause),
}

/// A blob of the image.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The configuration, or a layer.
    pub config: bool,
    /// Which.
    pub descriptor: Descriptor,
    /// Its first byte.
    pub reached: Step<Reached>,
}

impl PlaceFacts {
    /// Nothing was asked yet.
    pub fn new(place: Place) -> Self {
        Self {
            place,
            spared: false,
            addresses: None,
            connection: None,
            ping: None,
            proof: None,
            manifest: None,
            choice: None,
            blobs: Vec::new(),
            tags: None,
        }
    }

    /// Whether anything answered there, so that nothing is gained by asking without TLS.
    pub fn answered(&self) -> bool {
        match &self.ping {
            Some(step) => !matches!(
                step.came,
                Err(Cause::Unreachable(_) | Cause::NotTls | Cause::Certificate(_) | Cause::Settings(_))
            ),
            None => false,
        }
    }
}
