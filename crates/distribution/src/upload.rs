//! The upload of a blob whose digest is known at its end only: a session, the bytes, and the digest that closes it.
//!
//! ```text
//!          ┌────────── the session is gone, or can't be told ─────────┐
//!          ▼                                                          │
//!  begin (POST) ──► send (PATCH from an offset) ──► close (PUT) ──► done
//!                      ▲                │ broke off, stalled, refused for now
//!                      └── ask (GET) ◄──┘
//! ```
//! The bytes go as one stream. Where a registry does not take that, they go in pieces of a known length. A small blob
//! goes with the PUT.

use crate::address::Address;
use crate::body::Payload;
use crate::bounds::{CHUNK, MAX_CHUNK, MAX_RESUMES, SMALL};
use crate::failure::{Cause, Failure, Part};
use crate::outgoing::{Opened, Piece, Source, Streamed, unfinished};
use crate::repository::{Ask, Repository};
use crate::retry;
use crate::transport::Answer;
use bytes::{Bytes, BytesMut};
use dhow_types::Digest;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::collections::VecDeque;
use std::time::Duration;

/// The shortest piece that a registry takes, but for the last.
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How often a blob is sent anew because the registry forgot the upload, or put its pieces together wrongly.
const MAX_ANEW: u32 = 2;
/// How long taking an upload back may last.
const TAKE_BACK: Duration = Duration::from_secs(10);

/// An upload that was begun at the registry. One that is dropped is taken back there, if that can be done.
pub struct Session {
    repository: Repository,
    endpoint: usize,
    address: Address,
    min_length: u64,
    open: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(&self.address).finish()
    }
}

impl Session {
    /// The one that an answer speaks of.
    pub(crate) fn of(repository: &Repository, endpoint: usize, answer: &Answer) -> Result<Self, Cause> {
        let address = location(answer, &answer.address)?
            .ok_or_else(|| Cause::Protocol("it began an upload and did not say where it goes on".into()))?;
        let min_length = answer.header(MIN_LENGTH).and_then(|l| l.trim().parse().ok()).unwrap_or(0);
        Ok(Self { repository: repository.clone(), endpoint, address, min_length, open: true })
    }

    /// Goes on where the registry says.
    fn moved(&mut self, answer: &Answer) -> Result<(), Cause> {
        if let Some(next) = location(answer, &self.address)? {
            self.address = next;
        }
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        address: Address,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Answer, Cause> {
        let patience = (method == Method::PUT).then_some(self.repository.bounds().commit);
        let ask = Ask { headers, payload, patience, ..Ask::new(self.endpoint, method, address) };
        self.repository.ask_for(ask).await
    }

    /// How many bytes the registry has.
    async fn offset(&mut self) -> Result<u64, Cause> {
        let answer = self.ask(Method::GET, self.address.clone(), HeaderMap::new(), Payload::Empty).await?;
        self.moved(&answer)?;
        let range = answer.header(RANGE).unwrap_or_default();
        received(range).ok_or_else(|| Cause::Protocol(format!("it does not say how far an upload is: {range:?}")))
    }

    /// Sends what is there as the rest of the blob, and its digest.
    async fn close(&mut self, digest: &Digest, rest: Bytes) -> Result<(), Cause> {
        let address = self.address.clone().with("digest", &digest.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let payload = Payload::Bytes(rest);
        let answer = self.ask(Method::PUT, address, headers, payload).await?;
        self.open = false;
        match answer.header("docker-content-digest").and_then(|d| d.parse::<Digest>().ok()) {
            Some(got) if got != *digest => Err(Cause::WrongDigest { wanted: *digest, got }),
            _ => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (true, Ok(runtime)) = (self.open, tokio::runtime::Handle::try_current()) else { return };
        let (repository, endpoint, address) = (self.repository.clone(), self.endpoint, self.address.clone());
        runtime.spawn(async move {
            // If it can't be told the registry forgets the upload by itself after some days.
            let told = repository.call(endpoint, Method::DELETE, address, HeaderMap::new());
            let _ = tokio::time::timeout(TAKE_BACK, told).await;
        });
    }
}

/// Where an answer points: seen from `base`, never from https to plain text.
fn location(answer: &Answer, base: &Address) -> Result<Option<Address>, Cause> {
    let Some(text) = answer.header(LOCATION) else { return Ok(None) };
    let next =
        base.join(text).map_err(|e| Cause::Protocol(format!("its upload goes on at what is no address: {e}")))?;
    if base.origin().is_https() && !next.origin().is_https() {
        return Err(Cause::Protocol(format!(
            "its upload goes on at {}, from https to plain http: refused (a proxy before it may not tell it that its \
             clients speak https: X-Forwarded-Proto)",
            next.origin()
        )));
    }
    Ok(Some(next))
}

/// Bytes that are there, by `0-N`. One byte and none are not told apart: none is meant, then.
fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let (from, to) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    match (from.parse::<u64>().ok()?, to.parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, to) => to.checked_add(1),
        _ => None,
    }
}

/// How the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Stream,
    Pieces,
}

/// An upload on its way.
struct Upload<'a> {
    source: Source<'a>,
    session: Option<Session>,
    way: Way,
    /// What the registry has.
    at: u64,
    /// Digest and size, once the source came to its end.
    end: Option<(Digest, u64)>,
}

impl Repository {
    /// Sends a blob and gives its digest and size. `begun` is an upload that the registry began already. Before it waits
    /// and goes on, `told` hears how long and why.
    pub async fn upload(
        &self,
        what: &str,
        begun: Option<Session>,
        source: Source<'_>,
        told: &(dyn Fn(Duration, &Cause) + Send + Sync),
    ) -> Result<(Digest, u64), Box<Failure>> {
        let mut upload = Upload { source, session: begun, way: Way::Stream, at: 0, end: None };
        let (mut failures, mut resumes, mut anew) = (0, 0, 0);
        loop {
            let before = upload.at;
            let mut session = match upload.session.take() {
                Some(session) => session,
                None => {
                    upload.at = 0;
                    self.begin(what, resumes > 0).await?
                }
            };
            let cause = match upload.send(&mut session).await {
                Ok(done) => return Ok(done),
                Err(cause) => cause,
            };
            let endpoint = session.endpoint;
            resumes += 1;
            failures = if upload.at > before { 1 } else { failures + 1 };
            let failed = |cause| Err(self.failed(Part::Sent(what.to_owned()), endpoint, cause));
            if resumes > MAX_RESUMES {
                return failed(cause);
            }
            let wait = match next(&cause, upload.way, failures, self.bounds()) {
                Next::Never => return failed(cause),
                Next::InPieces => {
                    upload.way = Way::Pieces;
                    continue;
                }
                Next::Anew if anew == MAX_ANEW => return failed(cause),
                Next::Anew => {
                    anew += 1;
                    continue;
                }
                Next::Resume(wait) => wait,
            };
            told(wait, &cause);
            tokio::time::sleep(wait).await;
            // A close whose answer was lost may have been heard.
            if let Some((digest, size)) = upload.end
                && let Ok(Some(there)) = self.look(endpoint, &digest).await
                && there == size
            {
                session.open = false;
                return Ok((digest, size));
            }
            match session.offset().await {
                Ok(0) | Err(_) => {}
                Ok(at) => {
                    if at > upload.at {
                        failures = 0;
                    }
                    upload.at = at;
                    upload.session = Some(session);
                }
            }
        }
    }

    /// Sends a blob that is all there.
    pub async fn upload_bytes(&self, what: &str, bytes: Bytes) -> Result<Digest, Box<Failure>> {
        let source = |from: u64| {
            let (to, opened) = tokio::sync::mpsc::channel(2);
            let rest = bytes.slice(usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len())..);
            // There is room for both.
            let _ = to.try_send(Ok(Piece::Bytes(rest)));
            let _ = to.try_send(Ok(Piece::End { digest: Digest::of(&bytes), size: bytes.len() as u64 }));
            opened
        };
        self.upload(what, None, &source, &|_, _| {}).await.map(|(digest, _)| digest)
    }

    async fn begin(&self, what: &str, patient: bool) -> Result<Session, Box<Failure>> {
        let mut round = self.round(|e| e.push, patient);
        loop {
            let endpoint = self.next_turn(&mut round, what).await?;
            match self.begin_at(endpoint).await {
                Ok(session) => return Ok(self.through(endpoint, session)),
                Err(cause) => round.failed(cause),
            }
        }
    }

    async fn begin_at(&self, endpoint: usize) -> Result<Session, Cause> {
        let answer = self.ask_for(Ask::new(endpoint, Method::POST, self.address(endpoint, "blobs/uploads/"))).await?;
        Session::of(self, endpoint, &answer)
    }
}

/// What follows a failure.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// After a while the registry is asked how far it is.
    Resume(Duration),
    /// From the beginning, in pieces.
    InPieces,
    /// From the beginning.
    Anew,
    Never,
}

fn next(cause: &Cause, way: Way, failures: u32, bounds: &crate::bounds::Bounds) -> Next {
    match cause {
        Cause::Refused { status: 411 | 413, .. } if way == Way::Stream => Next::InPieces,
        Cause::Refused { status: 404, .. } | Cause::WrongDigest { .. } => Next::Anew,
        Cause::Refused { status: 400, code, .. } if matches!(code.as_str(), "DIGEST_INVALID" | "SIZE_INVALID") => {
            Next::Anew
        }
        // It has another offset than was thought, or does not believe a proof that has become old.
        Cause::Refused { status: 401 | 416, .. } | Cause::Protocol(_) if failures < bounds.attempts => {
            Next::Resume(bounds.first_wait)
        }
        cause => retry::wait(cause, failures, bounds).map_or(Next::Never, Next::Resume),
    }
}

impl Upload<'_> {
    /// Sends all from `at` on, and closes the session.
    async fn send(&mut self, session: &mut Session) -> Result<(Digest, u64), Cause> {
        if let Some((digest, size)) = self.end
            && size == self.at
        {
            session.close(&digest, Bytes::new()).await?;
            return Ok((digest, size));
        }
        let mut opened = (self.source)(self.at);
        let (before, end) = ahead(&mut opened, SMALL).await?;
        if let Some((digest, size)) = end {
            self.end = end;
            session.close(&digest, joined(before)).await?;
            return Ok((digest, size));
        }
        let end = match self.way {
            Way::Stream => self.stream(session, before, opened).await?,
            Way::Pieces => self.pieces(session, before, opened).await?,
        };
        session.close(&end.0, Bytes::new()).await?;
        Ok(end)
    }

    /// One PATCH.
    async fn stream(
        &mut self,
        session: &mut Session,
        before: VecDeque<Bytes>,
        opened: Opened,
    ) -> Result<(Digest, u64), Cause> {
        let streamed = Streamed::new(before, opened);
        let pulse = streamed.pulse();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))]);
        let answer = session.ask(Method::PATCH, session.address.clone(), headers, Payload::Stream(streamed)).await;
        if let Some(error) = pulse.failed() {
            return Err(Cause::Source(error));
        }
        self.end = pulse.end().or(self.end);
        let answer = answer?;
        let end = pulse.end().ok_or_else(|| Cause::Broken("it answered before all was sent".into()))?;
        self.taken(session, &answer, self.at + pulse.sent())?;
        Ok(end)
    }

    /// As many PATCHes as are needed.
    async fn pieces(
        &mut self,
        session: &mut Session,
        mut before: VecDeque<Bytes>,
        mut opened: Opened,
    ) -> Result<(Digest, u64), Cause> {
        if session.min_length > MAX_CHUNK {
            return Err(Cause::TooLarge(MAX_CHUNK));
        }
        let length = CHUNK.max(session.min_length) as usize;
        loop {
            let have: usize = before.iter().map(Bytes::len).sum();
            let (more, end) = ahead(&mut opened, length.saturating_sub(have)).await?;
            before.extend(more);
            self.end = end.or(self.end);
            let piece = joined(std::mem::take(&mut before));
            if !piece.is_empty() {
                let to = self.at + piece.len() as u64;
                let range = HeaderValue::try_from(format!("{}-{}", self.at, to - 1));
                let range = range.map_err(|e| Cause::Protocol(e.to_string()))?;
                let headers = HeaderMap::from_iter([
                    (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
                    (CONTENT_RANGE, range),
                ]);
                let payload = Payload::Bytes(piece);
                let answer = session.ask(Method::PATCH, session.address.clone(), headers, payload).await?;
                self.taken(session, &answer, to)?;
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// An answer to bytes that went up to `to`.
    fn taken(&mut self, session: &mut Session, answer: &Answer, to: u64) -> Result<(), Cause> {
        session.moved(answer)?;
        if let Some(range) = answer.header(RANGE)
            && received(range) != Some(to)
            && !(to <= 1 && received(range) == Some(0))
        {
            let text = format!("{to} bytes of the upload were sent, and it says that it has {range:?}");
            return Err(Cause::Protocol(text));
        }
        self.at = to;
        Ok(())
    }
}

/// Takes pieces until there are more than `most` bytes, or the end.
async fn ahead(opened: &mut Opened, most: usize) -> Result<(VecDeque<Bytes>, Option<(Digest, u64)>), Cause> {
    let (mut pieces, mut len) = (VecDeque::new(), 0);
    while len <= most {
        match opened.recv().await {
            Some(Ok(Piece::Bytes(bytes))) => {
                len += bytes.len();
                pieces.push_back(bytes);
            }
            Some(Ok(Piece::End { digest, size })) => return Ok((pieces, Some((digest, size)))),
            Some(Err(error)) => return Err(Cause::Source(error)),
            None => return Err(Cause::Source(unfinished())),
        }
    }
    Ok((pieces, None))
}

fn joined(pieces: VecDeque<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.into_iter().next().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_upload_is() {
        for (text, expected) in [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            (" 0-9 ", Some(10)),
            ("5-9", None),
            ("", None),
            ("0-", None),
            ("0-x", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(received(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_follows_a_failure() {
        let bounds = crate::bounds::Bounds::default();
        let refused =
            |status, code: &str| Cause::Refused { status, code: code.into(), words: String::new(), retry_after: None };
        let soon = Next::Resume(bounds.first_wait);
        for (cause, way, failures, expected) in [
            (Cause::Broken(String::new()), Way::Stream, 1, &soon),
            (Cause::Broken(String::new()), Way::Stream, 5, &Next::Never),
            (refused(413, ""), Way::Stream, 1, &Next::InPieces),
            (refused(413, ""), Way::Pieces, 1, &Next::Never),
            (refused(416, ""), Way::Stream, 1, &soon),
            (refused(401, ""), Way::Stream, 1, &soon),
            (refused(401, ""), Way::Stream, 5, &Next::Never),
            (refused(403, "DENIED"), Way::Stream, 1, &Next::Never),
            (refused(404, "BLOB_UPLOAD_UNKNOWN"), Way::Stream, 1, &Next::Anew),
            (refused(400, "DIGEST_INVALID"), Way::Stream, 1, &Next::Anew),
            (refused(400, "NAME_INVALID"), Way::Stream, 1, &Next::Never),
            (refused(503, ""), Way::Stream, 1, &soon),
            (Cause::Source(dhow_types::Error::system("x")), Way::Stream, 1, &Next::Never),
        ] {
            assert_eq!(&next(&cause, way, failures, &bounds), expected, "{cause:?} {failures}");
        }
    }
}
