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

/// Read if none of them is there.
const DIRS: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// The most files of a directory that are read.
const MOST: usize = 4096;

/// The system's, or what `paths` (files and directories) hold. What can't be read is passed over, as everywhere.
pub(crate) fn system(paths: &[PathBuf]) -> RootCertStore {
    match paths {
        [] => first_or_all(&FILES.map(PathBuf::from), &DIRS.map(PathBuf::from)),
        paths => first_or_all(&[], paths),
    }
}

/// The first of `files` that there is, or else everything in `paths`.
fn first_or_all(files: &[PathBuf], paths: &[PathBuf]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    if let Some(bytes) = files.iter().find_map(|f| bounded(f).ok()) {
        add(&mut store, &bytes);
        return store;
    }
    for path in paths {
        let inside = match std::fs::read_dir(path) {
            Ok(entries) => entries.flatten().map(|e| e.path()).take(MOST).collect(),
            Err(_) => vec![path.clone()],
        };
        for bytes in inside.iter().filter_map(|file| bounded(file).ok()) {
            add(&mut store, &bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_alone_or_else_the_directories() {
        let pem = include_bytes!("../tests/certs/ca.pem");
        let dir = tempfile::tempdir().unwrap();
        let (bundle, many) = (dir.path().join("bundle.pem"), dir.path().join("many"));
        std::fs::create_dir(&many).unwrap();
        std::fs::write(many.join("one.pem"), pem).unwrap();
        std::fs::write(many.join("two.0"), pem).unwrap();
        std::fs::write(many.join("README"), "no certificate").unwrap();
        let count = || first_or_all(&[dir.path().join("none"), bundle.clone()], std::slice::from_ref(&many)).len();
        assert_eq!(count(), 2);
        std::fs::write(&bundle, pem).unwrap();
        assert_eq!(count(), 1);
        assert_eq!(system(&[many.clone(), bundle.clone()]).len(), 3);
    }
}
