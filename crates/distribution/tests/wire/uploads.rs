//! A registry that takes blobs and manifests as the specification says, until a test makes it do otherwise.

use crate::server::{Reply, Request};
use dhow_distribution::{Actions, Cause, Credentials, Failure, Opened, Piece, Repository, Settings};
use dhow_types::{Digest, Error, Reference};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it has.
#[derive(Default)]
pub struct Taken {
    pub blobs: HashMap<Digest, Vec<u8>>,
    /// Uploads that were begun, with what came, and which word the next request must bring.
    pub sessions: BTreeMap<String, (Vec<u8>, u32)>,
    /// By the last part of the path.
    pub manifests: HashMap<String, (String, Vec<u8>)>,
    begun: u32,
}

pub const UPLOADS: &str = "/v2/test/image/blobs/uploads/";

pub fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(status, format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
        .with("content-type", "application/json")
}

fn parameter<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.query.split('&').filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
}

fn digest(request: &Request, name: &str) -> Option<Digest> {
    parameter(request, name)?.replace("%3A", ":").parse().ok()
}

impl Taken {
    pub fn answer(&mut self, request: &Request) -> Reply {
        let last = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (request.method.as_str(), request.path.strip_prefix(UPLOADS)) {
            ("POST", Some("")) => {
                if digest(request, "mount").is_some_and(|d| self.blobs.contains_key(&d)) {
                    return Reply::new(201, "");
                }
                self.begun += 1;
                let id = format!("u{}", self.begun);
                self.sessions.insert(id.clone(), (Vec::new(), 0));
                self.told(&id, 202)
            }
            (method, Some(_)) => self.session(method, &last, request),
            ("HEAD", None) if request.path.contains("/blobs/") => {
                match last.parse().ok().and_then(|d| self.blobs.get(&d)) {
                    Some(bytes) => Reply::new(200, bytes.clone()),
                    None => Reply::new(404, ""),
                }
            }
            ("PUT", None) if request.path.contains("/manifests/") => {
                let digest = Digest::of(&request.body).to_string();
                let manifest = (request.header("content-type").to_owned(), request.body.clone());
                self.manifests.insert(last, manifest);
                Reply::new(201, "").with("docker-content-digest", digest)
            }
            _ => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        }
    }

    fn session(&mut self, method: &str, id: &str, request: &Request) -> Reply {
        let unknown = || error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        let Some((bytes, word)) = self.sessions.get_mut(id) else { return unknown() };
        // Who lost an answer knows the one before only, and may ask.
        if method != "GET" && parameter(request, "_state") != Some(&word.to_string()) {
            return error(400, "BLOB_UPLOAD_INVALID", "an old location");
        }
        match method {
            "PATCH" => {
                let range = request.header("content-range");
                if !range.is_empty() && range.split('-').next() != Some(&bytes.len().to_string()) {
                    return error(416, "RANGE_INVALID", "invalid content range");
                }
                bytes.extend_from_slice(&request.body);
                *word += 1;
                self.told(id, 202)
            }
            "GET" => self.told(id, 204),
            "PUT" => {
                bytes.extend_from_slice(&request.body);
                let got = Digest::of(bytes);
                if digest(request, "digest") != Some(got) {
                    return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
                }
                if let Some((bytes, _)) = self.sessions.remove(id) {
                    self.blobs.insert(got, bytes);
                }
                Reply::new(201, "").with("docker-content-digest", got.to_string())
            }
            "DELETE" => {
                self.sessions.remove(id);
                Reply::new(204, "")
            }
            _ => unknown(),
        }
    }

    fn told(&self, id: &str, status: u16) -> Reply {
        let (bytes, word) = &self.sessions[id];
        Reply::new(status, "")
            .with("location", format!("{UPLOADS}{id}?_state={word}&q=%2F"))
            .with("range", format!("0-{}", bytes.len().saturating_sub(1)))
    }
}

pub type Shared = Arc<Mutex<Taken>>;

pub async fn open(host: impl std::fmt::Display, settings: Settings, credentials: Credentials) -> Repository {
    let name: Reference = format!("{host}/test/image").parse().unwrap();
    crate::world::registries(settings).repository(&name, credentials, Actions::PullPush).await.unwrap()
}

/// Bytes that do not repeat.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len.div_ceil(4) as u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}

/// What became of an upload: digest and size, at which offsets the source was opened, and why it waited.
pub struct Told {
    pub result: Result<(Digest, u64), Box<Failure>>,
    pub opened: Vec<u64>,
    pub waits: Vec<Cause>,
}

/// Sends `bytes` in pieces; after `fails` of them the source fails.
pub async fn upload(repository: &Repository, bytes: &Arc<Vec<u8>>, fails: Option<usize>) -> Told {
    let (opened, waits) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let source = |from: u64| {
        opened.lock().unwrap().push(from);
        give(bytes.clone(), from as usize, fails)
    };
    let told = |_: Duration, cause: &Cause| waits.lock().unwrap().push(cause.clone());
    let result = repository.upload("layer 0123456789ab", None, &source, &told).await;
    Told { result, opened: opened.into_inner().unwrap(), waits: waits.into_inner().unwrap() }
}

pub fn give(bytes: Arc<Vec<u8>>, from: usize, fails: Option<usize>) -> Opened {
    let (to, opened) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        for (at, piece) in bytes.chunks(50_000).enumerate() {
            if fails == Some(at) {
                let _ = to.send(Err(Error::new(dhow_types::ErrorKind::DataLoss, "the layer is damaged"))).await;
                return;
            }
            let piece = &piece[from.saturating_sub(at * 50_000).min(piece.len())..];
            if !piece.is_empty() && to.send(Ok(Piece::Bytes(piece.to_vec().into()))).await.is_err() {
                return;
            }
        }
        let _ = to.send(Ok(Piece::End { digest: Digest::of(&bytes), size: bytes.len() as u64 })).await;
    });
    opened
}
