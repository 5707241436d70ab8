//! What the tests share: an image, a registry that has it and keeps to the rules, a client, certificates.

use crate::server::{Reply, Request};
use dhow_distribution::{Actions, Bounds, Cause, Credentials, Failure, Registries, Repository, Settings, Step};
use dhow_types::image::{Descriptor, media_type};
use dhow_types::{Digest, Reference};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An image of one layer.
pub struct Image {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
}

impl Image {
    pub fn new() -> Self {
        let layer: Vec<u8> = (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
        let d = |t: &str, b: &[u8]| format!(r#"{{"mediaType":"{t}","digest":"{}","size":{}}}"#, Digest::of(b), b.len());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
            media_type::OCI_MANIFEST,
            d(media_type::OCI_CONFIG, &config),
            d(&format!("{}+gzip", media_type::OCI_LAYER), &layer)
        );
        Self { manifest: manifest.into_bytes(), config, layer }
    }
    pub fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            platform: None,
            annotations: Default::default(),
            urls: vec![],
        }
    }
    /// As a registry that keeps to the rules answers.
    pub fn answer(&self, request: &Request) -> Reply {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        if request.path.contains("/manifests/") {
            let digest = Digest::of(&self.manifest);
            if name == "latest" || name == digest.to_string() {
                return Reply::new(200, self.manifest.clone())
                    .with("content-type", media_type::OCI_MANIFEST)
                    .with("docker-content-digest", digest.to_string());
            }
            return Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
                .with("content-type", "application/json");
        }
        match [&self.config, &self.layer].into_iter().find(|b| name == Digest::of(b).to_string()) {
            None => Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#),
            Some(bytes) => ranged(request, bytes),
        }
    }
}

/// The bytes, or those that `Range` asks for.
pub fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let range = request.header("range").strip_prefix("bytes=").and_then(|r| r.split_once('-'));
    match range.and_then(|(from, _)| from.parse::<usize>().ok()) {
        None => Reply::new(200, bytes),
        Some(from) => Reply::new(206, &bytes[from..])
            .with("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

/// Waits that no busy machine turns into failures, and retries that take no time.
pub fn bounds() -> Bounds {
    let long = Duration::from_secs(120);
    Bounds {
        connect: long,
        handshake: long,
        answer: long,
        stall: long,
        document: long,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        ..Bounds::default()
    }
}

pub fn settings() -> Settings {
    Settings { bounds: bounds(), ..Settings::default() }
}

pub fn registries(settings: Settings) -> Registries {
    Registries::new(settings, Arc::new(rustls::crypto::aws_lc_rs::default_provider())).unwrap()
}

/// `HOST/test/image` with `settings`, for nobody.
pub async fn repository(host: impl std::fmt::Display, settings: Settings) -> Repository {
    with_credentials(host, settings, Credentials::none()).await
}

pub async fn with_credentials(
    host: impl std::fmt::Display,
    settings: Settings,
    credentials: Credentials,
) -> Repository {
    open(&registries(settings), host, credentials).await
}

pub async fn open(registries: &Registries, host: impl std::fmt::Display, credentials: Credentials) -> Repository {
    let name: Reference = format!("{host}/test/image").parse().unwrap();
    registries.repository(&name, credentials, Actions::Pull).await.unwrap()
}

/// All of a layer, and how often it broke off.
pub async fn layer(repository: &Repository, descriptor: &Descriptor) -> Result<(Vec<u8>, Vec<Cause>), Box<Failure>> {
    let mut stream = repository.layer(descriptor)?;
    let (mut bytes, mut breaks) = (Vec::new(), Vec::new());
    loop {
        match stream.next().await? {
            Step::Bytes(piece) => bytes.extend_from_slice(&piece),
            Step::Waiting(_, cause) => breaks.push(cause),
            Step::End => return Ok((bytes, breaks)),
        }
    }
}

pub fn certs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs"))
}

/// TLS with one of the fixed certificates; `asks` wants one of the client as well.
pub fn tls(name: &str, asks: bool) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pem = |file: &str| std::fs::read(certs().join(file)).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&pem(&format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).unwrap();
    let builder =
        rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if asks {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem("ca.pem")).unwrap()).unwrap();
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    builder.with_single_cert(chain, key).unwrap()
}

/// Settings with a `hosts.toml` for `host`; loopback is not trusted blindly then.
pub fn hosts_toml(host: impl std::fmt::Display, text: &str) -> (tempfile::TempDir, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(host.to_string());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("hosts.toml"), text).unwrap();
    let settings = Settings { certs_dirs: vec![dir.path().into()], ..settings() };
    (dir, settings)
}
