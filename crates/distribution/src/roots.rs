//! The system's certificates: which files, in which order. Rule: Go's, for what Docker trusts on a machine dhow trusts.

use crate::bounds::MAX_FILE;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The first that exists is read.
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The system's, or what `paths` (files and directories) hold. What can't be read is passed over, as everywhere.
pub(crate) fn system(paths: &[PathBuf]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    if paths.is_empty() {
        if let Some(bytes) = FILES.iter().find_map(|f| bounded(Path::new(f)).ok()) {
            add(&mut store, &bytes);
        }
        return store;
    }
    for path in paths {
        let inside =
            std::fs::read_dir(path).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or(vec![path.clone()]);
        for file in inside {
            if let Ok(bytes) = bounded(&file) {
                add(&mut store, &bytes);
            }
        }
    }
    store
}

/// Adds the certificates of a PEM text; how many it were.
pub(crate) fn add(store: &mut RootCertStore, pem: &[u8]) -> usize {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    store.add_parsable_certificates(certificates).0
}

/// A file that is not larger than any of its kind.
pub(crate) fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(std::io::Error::other(format!("it is larger than {MAX_FILE} bytes"))),
        false => Ok(bytes),
    }
}
