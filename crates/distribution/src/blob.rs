//! Blobs: bytes in pieces, checked while they come, taken up again where they broke off.
//!
//! ```text
//!  Idle ──ask──► Reading ──end──► size and digest are right ──► Done
//!   ▲  ▲            │
//!   │  └──wait──────┘ broke off, stalled, refused for now
//! ```
//! The caller may use pieces before the end, but must throw the result away unless [`Step::End`] comes.

use crate::address::Address;
use crate::body::Reader;
use crate::bounds::MAX_RESUMES;
use crate::failure::{Cause, Failure, Part};
use crate::repository::Repository;
use crate::round::{Round, Turn};
use bytes::Bytes;
use dhow_types::image::{Descriptor, MAX_DOCUMENT};
use dhow_types::{Digest, DigestWriter};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// What comes of a blob.
#[derive(Debug)]
pub enum Step {
    /// The next bytes.
    Bytes(Bytes),
    /// It broke off; the next call waits that long and goes on.
    Waiting(Duration, Cause),
    /// All is there, and right.
    End,
}

/// A blob on its way.
pub struct BlobStream {
    repository: Repository,
    part: Part,
    digest: Digest,
    size: u64,
    round: Round,
    state: State,
    hash: DigestWriter,
    at: u64,
    /// How many bytes the caller brought. If all together are wrong, they may be the ones.
    brought: u64,
    resumes: u32,
}

enum State {
    Idle,
    Sleeping(Duration),
    Reading { reader: Reader, endpoint: usize, skip: u64 },
    Done,
}

impl Repository {
    /// The bytes of a layer, from the beginning.
    pub fn layer(&self, layer: &Descriptor) -> Result<BlobStream, Box<Failure>> {
        self.layer_from(layer, DigestWriter::new(), 0)
    }
    /// The bytes of a layer after the first `at`, which went through `hash` already.
    pub fn layer_from(&self, layer: &Descriptor, hash: DigestWriter, at: u64) -> Result<BlobStream, Box<Failure>> {
        let part = Part::Layer(layer.digest);
        if !layer.urls.is_empty() {
            return Err(self.failed(part, usize::MAX, Cause::Foreign));
        }
        if at > layer.size {
            return Err(self.failed(part, usize::MAX, Cause::WrongSize { wanted: layer.size, got: at }));
        }
        Ok(self.stream(part, layer, hash, at))
    }
    /// A whole configuration.
    pub async fn config(&self, config: &Descriptor) -> Result<Vec<u8>, Box<Failure>> {
        let part = Part::Config(config.digest);
        if config.size > MAX_DOCUMENT as u64 {
            return Err(self.failed(part, usize::MAX, Cause::TooLarge(MAX_DOCUMENT as u64)));
        }
        let limit = self.bounds().document.saturating_mul(self.bounds().attempts);
        let mut stream = self.stream(part.clone(), config, DigestWriter::new(), 0);
        let all = async {
            let mut bytes = Vec::new();
            loop {
                match stream.next().await? {
                    Step::Bytes(piece) => bytes.extend_from_slice(&piece),
                    Step::Waiting(..) => {}
                    Step::End => return Ok(bytes),
                }
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(got) => got,
            Err(_) => Err(self.failed(part, usize::MAX, Cause::Slow(limit))),
        }
    }

    fn stream(&self, part: Part, blob: &Descriptor, hash: DigestWriter, at: u64) -> BlobStream {
        BlobStream {
            repository: self.clone(),
            part,
            digest: blob.digest,
            size: blob.size,
            round: self.round(|e| e.pull, true),
            state: State::Idle,
            hash,
            at,
            brought: at,
            resumes: 0,
        }
    }
}

impl BlobStream {
    /// How many bytes are through.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next step. After an error there is none: what came must be thrown away, unless the cause is one of the
    /// connection, in which case it can be kept for [`Repository::layer_from`].
    pub async fn next(&mut self) -> Result<Step, Box<Failure>> {
        loop {
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Done => {
                    self.state = State::Done;
                    return Ok(Step::End);
                }
                State::Sleeping(wait) => tokio::time::sleep(wait).await,
                State::Idle => {
                    if self.at == self.size {
                        return self.finish(usize::MAX);
                    }
                    match self.round.turn(self.repository.bounds()) {
                        Turn::Over => return Err(self.repository.failure(self.part.clone(), &self.round)),
                        Turn::Wait(wait) => {
                            self.state = State::Sleeping(wait);
                            let cause = self.round.causes().pop().map(|(_, cause)| cause);
                            return Ok(Step::Waiting(wait, cause.unwrap_or(Cause::Broken(String::new()))));
                        }
                        Turn::Ask(endpoint) => match self.open(endpoint).await {
                            Ok((reader, skip)) => self.state = State::Reading { reader, endpoint, skip },
                            Err(cause) => self.round.failed(cause),
                        },
                    }
                }
                State::Reading { mut reader, endpoint, mut skip } => match reader.next().await {
                    Ok(Some(mut piece)) => {
                        let known = skip.min(piece.len() as u64);
                        skip -= known;
                        let piece = piece.split_off(known as usize);
                        if piece.is_empty() {
                            self.state = State::Reading { reader, endpoint, skip };
                            continue;
                        }
                        let after = self.at.saturating_add(piece.len() as u64);
                        if after > self.size {
                            self.repository.distrust(endpoint);
                            let cause = Cause::WrongSize { wanted: self.size, got: after };
                            return Err(self.repository.failed(self.part.clone(), endpoint, cause));
                        }
                        self.hash.update(&piece);
                        self.at = after;
                        self.round.progressed();
                        self.state = State::Reading { reader, endpoint, skip };
                        return Ok(Step::Bytes(piece));
                    }
                    Ok(None) if self.at == self.size => return self.finish(endpoint),
                    Ok(None) => self.broke(Cause::Broken(format!("it ended after {} of {} bytes", self.at, self.size))),
                    Err(cause) => self.broke(cause),
                },
            }
        }
    }

    fn broke(&mut self, cause: Cause) {
        self.resumes += 1;
        let too_often = self.resumes > MAX_RESUMES;
        self.round.failed(if too_often { Cause::Protocol(format!("it broke off {MAX_RESUMES} times")) } else { cause });
    }

    fn finish(&mut self, endpoint: usize) -> Result<Step, Box<Failure>> {
        let (got, _) = std::mem::take(&mut self.hash).finish();
        if got != self.digest {
            if self.brought == 0 {
                self.repository.distrust(endpoint);
            }
            let cause = Cause::WrongDigest { wanted: self.digest, got };
            return Err(self.repository.failed(self.part.clone(), endpoint, cause));
        }
        if endpoint != usize::MAX {
            self.repository.answered(endpoint);
        }
        self.state = State::Done;
        Ok(Step::End)
    }

    /// Another size is announced. Of bytes that came before it says nothing: they may be right, and stay.
    fn announces(&self, got: u64) -> Cause {
        match self.at {
            0 => Cause::WrongSize { wanted: self.size, got },
            _ => Cause::Protocol(format!("the size is wrong: {} bytes are announced, now {got}", self.size)),
        }
    }

    /// Asks for what is missing; how many bytes of the answer are known already.
    async fn open(&self, endpoint: usize) -> Result<(Reader, u64), Cause> {
        let address: Address = self.repository.address(endpoint, &format!("blobs/{}", self.digest));
        let mut headers = HeaderMap::new();
        if self.at > 0 {
            let range = format!("bytes={}-{}", self.at, self.size - 1);
            headers.insert(RANGE, HeaderValue::try_from(range).map_err(|e| Cause::Protocol(e.to_string()))?);
        }
        let answer = self.repository.call(endpoint, Method::GET, address, headers).await?;
        let length: Option<u64> = answer.header(CONTENT_LENGTH).and_then(|l| l.parse().ok());
        let skip = match answer.status {
            StatusCode::OK => self.at,
            StatusCode::PARTIAL_CONTENT if self.at > 0 => {
                let (first, all) = answer
                    .header(CONTENT_RANGE)
                    .and_then(content_range)
                    .ok_or_else(|| Cause::Protocol("it sends a part of the bytes and does not say which".into()))?;
                if first != self.at {
                    return Err(Cause::Protocol(format!(
                        "it sends bytes from {first} on, asked for were those from {}",
                        self.at
                    )));
                }
                if let Some(all) = all.filter(|all| *all != self.size) {
                    return Err(self.announces(all));
                }
                0
            }
            status => return Err(Cause::Protocol(format!("it answers {}", crate::words::line(status)))),
        };
        match length {
            // `skip` is nothing or all that is there already; what a server announces may be any number.
            Some(length) if length != (self.size - self.at).saturating_add(skip) => {
                Err(self.announces(length.saturating_add(self.at - skip)))
            }
            _ => Ok((answer.reader, skip)),
        }
    }
}

/// `bytes FIRST-LAST/ALL`, where ALL may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, all) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    let all = all.trim();
    if all == "*" { Some((first, None)) } else { Some((first, Some(all.parse().ok()?))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("5-9/10", None),
            ("bytes 5-9", None),
            ("bytes x-9/10", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
