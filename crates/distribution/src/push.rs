//! What a push asks and says besides the bytes of blobs: whether a blob is there, whether another repository's may be
//! used, and the manifest.

use crate::body::Payload;
use crate::failure::{Cause, Failure, Part};
use crate::repository::{Ask, Repository};
use crate::round::{Round, Turn};
use crate::upload::Session;
use bytes::Bytes;
use dhow_types::Digest;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};

/// What came of asking for a blob of another repository.
#[derive(Debug)]
pub enum Mounted {
    /// It is in this one, too, now.
    Yes,
    /// It is not; the registry began an upload instead.
    Upload(Session),
    /// It is not.
    No,
}

impl Repository {
    /// Whether the repository has a blob, and if so its size. `what` is what it is for people.
    pub async fn has_blob(&self, what: &str, digest: &Digest) -> Result<Option<u64>, Box<Failure>> {
        let mut round = self.round(|e| e.push, false);
        loop {
            let endpoint = self.next_turn(&mut round, what).await?;
            match self.look(endpoint, digest).await {
                Ok(size) => return Ok(self.through(endpoint, size)),
                Err(cause) => round.failed(cause),
            }
        }
    }

    /// The same of one endpoint.
    pub(crate) async fn look(&self, endpoint: usize, digest: &Digest) -> Result<Option<u64>, Cause> {
        let address = self.address(endpoint, &format!("blobs/{digest}"));
        match self.call(endpoint, Method::HEAD, address, HeaderMap::new()).await {
            Ok(answer) => {
                let size = answer.header(CONTENT_LENGTH).and_then(|l| l.parse().ok());
                size.map(Some).ok_or_else(|| Cause::Protocol("it does not say how large a blob is".into()))
            }
            // What it says to a refusal is told by the next request: this one has no body. And some do not know it.
            Err(Cause::Refused { status: 400 | 401 | 403 | 404 | 405, .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Asks that a blob of the repository `from` (a path at the same registry) be in this one. That the registry will not
    /// is no failure.
    pub async fn mount(&self, what: &str, digest: &Digest, from: &str) -> Result<Mounted, Box<Failure>> {
        let mut round = self.round(|e| e.push, false);
        loop {
            let endpoint = self.next_turn(&mut round, what).await?;
            match self.mount_at(endpoint, digest, from).await {
                Ok(mounted) => return Ok(self.through(endpoint, mounted)),
                Err(cause) => round.failed(cause),
            }
        }
    }

    async fn mount_at(&self, endpoint: usize, digest: &Digest, from: &str) -> Result<Mounted, Cause> {
        let address = self.address(endpoint, "blobs/uploads/");
        let address = address.with("mount", &digest.to_string()).with("from", from);
        let scope = Some(format!("repository:{from}:pull"));
        match self.ask_for(Ask { scope, ..Ask::new(endpoint, Method::POST, address) }).await {
            Ok(answer) if answer.status.as_u16() == 201 => Ok(Mounted::Yes),
            Ok(answer) => Ok(Mounted::Upload(Session::of(self, endpoint, &answer)?)),
            // Whether an upload is allowed shows when one is asked for.
            Err(Cause::Refused { status: 400..=428 | 430..=499, .. }) => Ok(Mounted::No),
            Err(cause) => Err(cause),
        }
    }

    /// Puts a manifest under a tag, or under its digest if there is none.
    pub async fn put_manifest(
        &self,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, Box<Failure>> {
        let digest = Digest::of(&bytes);
        let name = self.name().familiar_name();
        let (last, what) = match tag {
            Some(tag) => (tag.to_owned(), format!("manifest {name}:{tag}")),
            None => (digest.to_string(), format!("manifest {name}@{digest}")),
        };
        let mut round = self.round(|e| e.push, false);
        loop {
            let endpoint = self.next_turn(&mut round, &what).await?;
            match self.put_at(endpoint, &last, media_type, &bytes).await {
                Ok(got) => {
                    self.answered(endpoint);
                    return match got {
                        Some(got) if got != digest => {
                            let cause = Cause::WrongDigest { wanted: digest, got };
                            Err(self.failed(Part::Sent(what), endpoint, cause))
                        }
                        _ => Ok(digest),
                    };
                }
                Err(cause) => round.failed(cause),
            }
        }
    }

    /// Gives the digest that the registry says it has now.
    async fn put_at(
        &self,
        endpoint: usize,
        last: &str,
        media_type: &str,
        bytes: &Bytes,
    ) -> Result<Option<Digest>, Cause> {
        let content_type = HeaderValue::from_str(media_type)
            .map_err(|_| Cause::Protocol(format!("{media_type:?} can't be the type of a manifest")))?;
        let answer = self
            .ask_for(Ask {
                headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
                payload: Payload::Bytes(bytes.clone()),
                patience: Some(self.bounds().commit),
                ..Ask::new(endpoint, Method::PUT, self.address(endpoint, &format!("manifests/{last}")))
            })
            .await?;
        Ok(answer.header("docker-content-digest").and_then(|d| d.parse().ok()))
    }

    /// The next endpoint to be asked; the failure when nobody is left.
    pub(crate) async fn next_turn(&self, round: &mut Round, what: &str) -> Result<usize, Box<Failure>> {
        loop {
            match round.turn(self.bounds()) {
                Turn::Wait(wait) => tokio::time::sleep(wait).await,
                Turn::Ask(endpoint) => return Ok(endpoint),
                Turn::Over => return Err(self.failure(Part::Sent(what.to_owned()), round)),
            }
        }
    }
    /// What an endpoint gave; it is asked first from now on.
    pub(crate) fn through<T>(&self, endpoint: usize, value: T) -> T {
        self.answered(endpoint);
        value
    }
}
