//! Manifests: what a tag stands for, and the bytes of it, kept as they came.

use crate::failure::{Cause, Failure, Part};
use crate::repository::Repository;
use crate::round::{Round, Turn};
use crate::transport::Answer;
use dhow_types::image::{Descriptor, Document, MAX_DOCUMENT, media_type};
use dhow_types::{Digest, Error};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

/// Which manifest.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The one a tag stands for now.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
    /// The one an index describes: digest, size and media type must all hold.
    Described(Descriptor),
}

/// What a registry says of a manifest without giving it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its media type; empty if nothing that tells was said.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size, if it was said.
    pub size: Option<u64>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Byte for byte.
    pub bytes: Vec<u8>,
    /// Of these bytes.
    pub digest: Digest,
    /// As it calls itself, or as it was described.
    pub media_type: String,
    /// What it says.
    pub document: Document,
}

/// All that is understood, the better known first.
const ACCEPTED: [&str; 4] =
    [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];

/// What servers say that do not know what they have.
const VAGUE: [&str; 4] = ["text/plain", "application/json", "application/octet-stream", "binary/octet-stream"];

impl Wanted {
    fn last_part(&self) -> String {
        match self {
            Self::Tag(tag) => tag.clone(),
            Self::Digest(digest) => digest.to_string(),
            Self::Described(descriptor) => descriptor.digest.to_string(),
        }
    }
    fn digest(&self) -> Option<Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(*digest),
            Self::Described(descriptor) => Some(descriptor.digest),
        }
    }
}

impl Repository {
    /// What a manifest is, by one request that does not count as a pull anywhere.
    pub async fn head(&self, wanted: &Wanted) -> Result<Described, Box<Failure>> {
        let mut round = self.round_for(wanted);
        loop {
            let endpoint = self.turn(&mut round, wanted).await?;
            match self.describe(endpoint, wanted).await {
                Ok(described) => {
                    self.answered(endpoint);
                    return Ok(described);
                }
                Err(cause) => round.failed(cause),
            }
        }
    }

    /// A manifest, checked.
    pub async fn manifest(&self, wanted: &Wanted) -> Result<Fetched, Box<Failure>> {
        let mut round = self.round_for(wanted);
        loop {
            let endpoint = self.turn(&mut round, wanted).await?;
            match self.get(endpoint, wanted).await {
                Ok(fetched) => {
                    self.answered(endpoint);
                    return Ok(fetched);
                }
                Err(cause) => round.failed(cause),
            }
        }
    }

    fn round_for(&self, wanted: &Wanted) -> Round {
        let by_tag = matches!(wanted, Wanted::Tag(_));
        self.round(|e| if by_tag { e.resolve } else { e.pull }, false)
    }

    /// Who is to be asked now, after the waits between.
    async fn turn(&self, round: &mut Round, wanted: &Wanted) -> Result<usize, Box<Failure>> {
        loop {
            match round.turn(self.bounds()) {
                Turn::Wait(wait) => tokio::time::sleep(wait).await,
                Turn::Ask(endpoint) => return Ok(endpoint),
                Turn::Over => return Err(self.failure(self.part(wanted), round)),
            }
        }
    }

    async fn describe(&self, endpoint: usize, wanted: &Wanted) -> Result<Described, Cause> {
        let answer = match self.ask(endpoint, wanted, Method::HEAD).await {
            Ok(answer) => Some(answer),
            // A refusal's words stand in a body, and there are registries that know no HEAD.
            Err(Cause::Refused { status: 400 | 403 | 404 | 405, .. }) => None,
            Err(cause) => return Err(cause),
        };
        let told = answer.and_then(|a| said_digest(&a).or(wanted.digest()).map(|digest| (a, digest)));
        match told {
            Some((answer, digest)) => {
                let size = answer.header(CONTENT_LENGTH).and_then(|l| l.parse().ok());
                Ok(Described { media_type: said_type(&answer), digest, size })
            }
            // A registry that says nothing in the head says it by the bytes.
            None => {
                let got = self.get(endpoint, wanted).await?;
                Ok(Described { media_type: got.media_type, digest: got.digest, size: Some(got.bytes.len() as u64) })
            }
        }
    }

    fn part(&self, wanted: &Wanted) -> Part {
        let name = self.name().familiar_name();
        Part::Manifest(match wanted {
            Wanted::Tag(tag) => format!("{name}:{tag}"),
            other => format!("{name}@{}", other.last_part()),
        })
    }

    pub(crate) async fn ask(&self, endpoint: usize, wanted: &Wanted, method: Method) -> Result<Answer, Cause> {
        let mut headers = HeaderMap::new();
        for accepted in ACCEPTED {
            headers.append(ACCEPT, HeaderValue::from_static(accepted));
        }
        let address = self.address(endpoint, &format!("manifests/{}", wanted.last_part()));
        self.call(endpoint, method, address, headers).await
    }

    pub(crate) async fn get(&self, endpoint: usize, wanted: &Wanted) -> Result<Fetched, Cause> {
        Self::read(wanted, self.ask(endpoint, wanted, Method::GET).await?).await
    }

    /// The manifest in an answer.
    pub(crate) async fn read(wanted: &Wanted, answer: Answer) -> Result<Fetched, Cause> {
        let announced: Option<u64> = answer.header(CONTENT_LENGTH).and_then(|l| l.parse().ok());
        if announced.is_some_and(|l| l > MAX_DOCUMENT as u64) {
            return Err(Cause::TooLarge(MAX_DOCUMENT as u64));
        }
        let (said, content_type) = (said_digest(&answer), said_type(&answer));
        let bytes = answer.reader.all(MAX_DOCUMENT).await?;
        check(wanted, said, &content_type, bytes)
    }
}

/// Everything that must agree: what was wanted, what was said, and the bytes.
fn check(wanted: &Wanted, said: Option<Digest>, content_type: &str, bytes: Vec<u8>) -> Result<Fetched, Cause> {
    if let Wanted::Described(descriptor) = wanted
        && descriptor.size != bytes.len() as u64
    {
        return Err(Cause::WrongSize { wanted: descriptor.size, got: bytes.len() as u64 });
    }
    let digest = Digest::of(&bytes);
    for expected in [wanted.digest(), said].into_iter().flatten() {
        if expected != digest {
            return Err(Cause::WrongDigest { wanted: expected, got: digest });
        }
    }
    let described = match wanted {
        Wanted::Described(descriptor) => descriptor.media_type.as_str(),
        _ => "",
    };
    if !described.is_empty() && !content_type.is_empty() && described != content_type {
        let text = format!("ambiguous manifest: it is described as {described:?} but sent as {content_type:?}");
        return Err(Cause::Document(Error::invalid(text)));
    }
    let told = if content_type.is_empty() { described } else { content_type };
    let document = Document::parse(&bytes, told).map_err(Cause::Document)?;
    let own = match &document {
        Document::Manifest(m) => m.media_type.clone(),
        Document::Index(i) => i.media_type.clone(),
    };
    let media_type = match (own.as_str(), told, &document) {
        ("", "", Document::Manifest(_)) => media_type::OCI_MANIFEST.to_owned(),
        ("", "", Document::Index(_)) => media_type::OCI_INDEX.to_owned(),
        ("", told, _) => told.to_owned(),
        _ => own,
    };
    Ok(Fetched { bytes, digest, media_type, document })
}

fn said_digest(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.parse().ok()
}

/// `Content-Type` without parameters; empty if it tells nothing.
fn said_type(answer: &Answer) -> String {
    let said = answer.header(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
    let said = said.trim().to_ascii_lowercase();
    if VAGUE.contains(&said.as_str()) { String::new() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_must_agree() {
        let config = format!(r#"{{"digest":"{}","size":0}}"#, Digest::of(b""));
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#).into_bytes();
        let digest = Digest::of(&manifest);
        let tag = Wanted::Tag("t".into());
        let of = |wanted: &Wanted, said, content_type: &str| check(wanted, said, content_type, manifest.clone());
        let described = |media_type: &str, size| {
            Wanted::Described(Descriptor {
                media_type: media_type.into(),
                digest,
                size,
                platform: None,
                annotations: Default::default(),
                urls: vec![],
            })
        };
        let size = manifest.len() as u64;
        // Lawful.
        assert_eq!(of(&tag, None, "").unwrap().media_type, media_type::OCI_MANIFEST);
        assert_eq!(
            of(&tag, Some(digest), media_type::DOCKER_MANIFEST).unwrap().media_type,
            media_type::DOCKER_MANIFEST
        );
        assert_eq!(
            of(&described(media_type::OCI_MANIFEST, size), None, media_type::OCI_MANIFEST).unwrap().bytes,
            manifest
        );
        // Not.
        let other = Digest::of(b"other");
        assert_eq!(
            of(&Wanted::Digest(other), None, "").unwrap_err(),
            Cause::WrongDigest { wanted: other, got: digest }
        );
        assert_eq!(of(&tag, Some(other), "").unwrap_err(), Cause::WrongDigest { wanted: other, got: digest });
        assert_eq!(
            of(&described("", size + 1), None, "").unwrap_err(),
            Cause::WrongSize { wanted: size + 1, got: size }
        );
        for (wanted, content_type) in [
            (described(media_type::OCI_MANIFEST, size), media_type::DOCKER_MANIFEST),
            (tag.clone(), media_type::OCI_INDEX),
            (tag.clone(), "text/html"),
        ] {
            assert!(matches!(of(&wanted, None, content_type), Err(Cause::Document(_))), "{content_type}");
        }
    }
}
