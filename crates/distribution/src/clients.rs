//! Client certificates: which of several a server gets. Rule: Go's, as Docker offers all pairs of `certs.d`: the first
//! whose key fits the server's algorithms and which an authority signed that the server names, if it names any.

use crate::roots::bounded;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All pairs of one host.
#[derive(Debug)]
pub(crate) struct Clients {
    pairs: Vec<Arc<CertifiedKey>>,
}

impl Clients {
    /// Reads certificates with their keys.
    pub(crate) fn read(files: &[(PathBuf, PathBuf)], provider: &CryptoProvider) -> Result<Self, String> {
        let pairs = files.iter().map(|(certificate, key)| pair(certificate, key, provider).map(Arc::new));
        Ok(Self { pairs: pairs.collect::<Result<_, _>>()? })
    }
}

impl ResolvesClientCert for Clients {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &&Arc<CertifiedKey>| {
            let named = || pair.cert.iter().filter_map(|c| issuer(c)).any(|i| authorities.contains(&i));
            pair.key.choose_scheme(schemes).is_some() && (authorities.is_empty() || named())
        };
        self.pairs.iter().find(fits).cloned()
    }
    fn has_certs(&self) -> bool {
        !self.pairs.is_empty()
    }
}

fn pair(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let read = |file: &Path| bounded(file).map_err(|e| format!("read {}: {e}", file.display()));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(format!("{} holds no certificate", certificate.display()));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| format!("{} holds no private key", key.display()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|e| format!("{}: {e}", certificate.display()))
}

/// The issuer's name in a certificate, in DER with its head: after version, serial number and algorithm (RFC 5280, 4.1).
fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let (_, body, _) = element(certificate, SEQUENCE)?;
    let (_, mut rest, _) = element(body, SEQUENCE)?;
    if let Some((.., after)) = element(rest, VERSION) {
        rest = after;
    }
    let (.., rest) = element(rest, INTEGER)?;
    let (.., rest) = element(rest, SEQUENCE)?;
    element(rest, SEQUENCE).map(|(whole, ..)| whole)
}

/// The first element if it has this tag: all of it, what it holds, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first().filter(|_| found == tag)?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0usize, |all, b| all << 8 | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (body, after) = rest.split_at_checked(length)?;
    Some((&der[..der.len() - after.len()], body, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_of_a_certificate() {
        let read = |name: &str| {
            let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs")).join(name);
            CertificateDer::from_pem_slice(&std::fs::read(file).unwrap()).unwrap()
        };
        let (ca, client) = (read("ca.pem"), read("client.pem"));
        let name = issuer(&client).unwrap();
        let mut authorities = rustls::RootCertStore::empty();
        authorities.add(ca).unwrap();
        assert_eq!(name, authorities.subjects()[0].as_ref(), "as a server names it");
        // Cut anywhere it is none, and no panic.
        for end in 0..client.len() {
            let _ = issuer(&client[..end]);
        }
        assert_eq!(issuer(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(issuer(b""), None);
    }
}
